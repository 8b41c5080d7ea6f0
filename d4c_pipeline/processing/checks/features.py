"""Reads the geometry of a file once, by row groups: validity, types, bounds, rings, covering, extent.

It reads every geometry, without sampling, in the memory of a few row groups. The checks judge the findings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from d4c_pipeline.geometry import rings
from d4c_pipeline.geometry.shapes import WITH_Z, type_name
from d4c_pipeline.model.dataset import Extent
from d4c_pipeline.tables.columns import BBOX, GEOMETRY
from d4c_pipeline.tables.parallel import in_order

CORNERS = ("xmin", "ymin", "xmax", "ymax")
_MOST_EXAMPLES = 5
_AREA = 3  # a polygon, as shapely numbers types
Mask = npt.NDArray[np.bool_]


@dataclass
class Finding:
    """The number of rows with a fault, and the first few of them: by key, or by position in a file without a key."""

    count: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def add(self, other: Finding) -> None:
        """Add the finding of later rows."""
        self.count += other.count
        self.examples = (self.examples + other.examples)[:_MOST_EXAMPLES]


@dataclass
class Features:
    """The geometry of a file: counts and findings. `bounds` in its own CRS; types by GeoParquet's names.

    `unreadable`: bytes that are not WKB. `outside`: bounds beyond the declared extent. `uncovered`: bounds outside of
    their box in the covering, or one of the two missing. `clockwise`: a ring that runs the wrong way.
    """

    rows: int = 0
    nulls: int = 0
    types: Counter[str] = field(default_factory=Counter[str])
    bounds: tuple[float, float, float, float] | None = None
    unreadable: Finding = field(default_factory=Finding)
    empty: Finding = field(default_factory=Finding)
    invalid: Finding = field(default_factory=Finding)
    outside: Finding = field(default_factory=Finding)
    uncovered: Finding = field(default_factory=Finding)
    clockwise: Finding = field(default_factory=Finding)

    @classmethod
    def read(cls, data: Path, key: Sequence[str], extent: Extent | None, *, threads: int | None = None) -> Features:
        """Read the geometry of the GeoParquet file `data`; examples carry the values of the columns `key`."""
        found = cls()
        with pq.ParquetFile(data, memory_map=True) as parquet:
            box = _in_crs(extent, parquet) if extent is not None else None
            for part in in_order(lambda group: _found(*group, key, box), _groups(parquet, key), threads):
                found.add(part)
        return found

    def add(self, other: Features) -> None:
        """Add the geometry of later rows."""
        self.rows += other.rows
        self.nulls += other.nulls
        self.types.update(other.types)
        if other.bounds is not None:
            mine = self.bounds or other.bounds
            self.bounds = (
                min(mine[0], other.bounds[0]),
                min(mine[1], other.bounds[1]),
                max(mine[2], other.bounds[2]),
                max(mine[3], other.bounds[3]),
            )
        for name in ("unreadable", "empty", "invalid", "outside", "uncovered", "clockwise"):
            getattr(self, name).add(getattr(other, name))


def _groups(parquet: pq.ParquetFile, key: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    there = set(parquet.schema_arrow.names)
    names = [name for name in (*key, GEOMETRY, BBOX) if name in there]
    first = 0
    for number in range(parquet.num_row_groups):
        table = parquet.read_row_group(number, columns=names, use_threads=False)
        yield first, table
        first += table.num_rows


# The check reports NaN coordinates itself, without numpy's warnings.
@np.errstate(invalid="ignore")
def _found(first: int, table: pa.Table, key: Sequence[str], extent: _Box | None) -> Features:
    column = table.column(GEOMETRY).combine_chunks()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    there: Mask = ~np.asarray(column.is_null(), np.bool_)
    bounds, fine = _without_fault(column)
    rows = np.flatnonzero(~fine)
    # Only geometry that the quick test does not pass becomes objects.
    geometries = shapely.from_wkb(column.take(pa.array(rows)).to_numpy(zero_copy_only=False), on_invalid="ignore")
    known, empty, invalid, clockwise, filled, finite = (np.zeros(len(fine), np.bool_) for _ in range(6))
    bounds[rows] = shapely.bounds(geometries)
    known[rows] = ~shapely.is_missing(geometries)
    empty[rows] = shapely.is_empty(geometries)
    filled[rows] = known[rows] & ~empty[rows]
    # GEOS passes NaN and infinity in points as valid.
    finite[rows] = np.isfinite(bounds[rows]).all(axis=1)
    invalid[rows] = filled[rows] & ~(shapely.is_valid(geometries) & finite[rows])
    clockwise[rows] = _turning_wrong(geometries)
    known, filled, finite = known | fine, filled | fine, finite | fine
    named = _Named(first, table, key)
    part = Features(rows=table.num_rows, nulls=int((~there).sum()))
    some = geometries[known[rows]]
    ids = shapely.get_type_id(some) + WITH_Z * shapely.has_z(some)
    for number, count in zip(*np.unique(ids, return_counts=True), strict=True):
        part.types[type_name(int(number))] += int(count)
    if fine.any():
        part.types[type_name(_AREA)] += int(fine.sum())
    measured = bounds[filled & finite]
    if len(measured):
        low, high = measured[:, :2].min(axis=0), measured[:, 2:].max(axis=0)
        part.bounds = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    part.unreadable = named.finding(there & ~known)
    part.empty = named.finding(empty)
    at = {int(row): position for position, row in enumerate(rows)}
    part.invalid = named.finding(invalid, reason=lambda row: str(shapely.is_valid_reason(geometries[at[row]])))
    if extent is not None:
        part.outside = named.finding(
            filled & finite & extent.excludes(bounds), bounds=lambda row: _rounded(bounds[row])
        )
    if BBOX in table.column_names:
        boxes, missing = _boxes(table)
        within = (boxes[:, :2] <= bounds[:, :2]).all(axis=1) & (boxes[:, 2:] >= bounds[:, 2:]).all(axis=1)
        part.uncovered = named.finding(
            np.where(filled, missing | ~within, ~missing), bounds=lambda row: _rounded(bounds[row])
        )
    part.clockwise = named.finding(clockwise)
    return part


def _without_fault(column: pa.Array) -> tuple[npt.NDArray[np.float64], Mask]:
    # Bounds and mask of the areas of one ring that are finite, valid and counterclockwise.
    bounds, fine = np.full((len(column), 4), np.nan), np.zeros(len(column), np.bool_)
    simple = rings.read(column)
    if simple is None:
        return bounds, fine
    finite: Mask = np.logical_and.reduceat(np.isfinite(simple.coordinates).all(axis=1), simple.starts)
    for judge in (lambda _: finite, lambda some: some.ways() > 0):
        good = judge(simple)
        simple = simple if good.all() else simple.some(good)
        if not len(simple.rows):
            return bounds, fine
    bounds[simple.rows], fine[simple.rows] = simple.bounds(), True
    return bounds, fine


def _turning_wrong(geometries: npt.NDArray[np.object_]) -> Mask:
    wrong: Mask = np.zeros(len(geometries), np.bool_)
    areal = np.flatnonzero(np.isin(shapely.get_type_id(geometries), (3, 6)) & ~shapely.is_empty(geometries))
    parts, owner = shapely.get_parts(geometries[areal], return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    if len(rings):
        exterior = np.r_[True, part[1:] != part[:-1]]
        wrong[areal[owner[part[shapely.is_ccw(rings) != exterior]]]] = True
    return wrong


def _boxes(table: pa.Table) -> tuple[npt.NDArray[np.float64], Mask]:
    column = table.column(BBOX).combine_chunks()
    corners = [column.field(corner).cast(pa.float64()).to_numpy(zero_copy_only=False) for corner in CORNERS]
    boxes = np.column_stack(corners)
    # A missing box is null or has null corners.
    return boxes, np.asarray(column.is_null(), np.bool_) | np.asarray(np.isnan(boxes).any(axis=1))


def _rounded(bounds: npt.NDArray[np.float64]) -> list[float | None]:
    return [round(float(value), 6) if np.isfinite(value) else None for value in bounds]


@dataclass(frozen=True)
class _Named:
    first: int
    table: pa.Table
    key: Sequence[str]

    def finding(self, mask: Mask, **facts: Any) -> Finding:
        rows = np.flatnonzero(mask)
        examples = [
            {**self._name(int(row)), **{name: fact(row) for name, fact in facts.items()}}
            for row in rows[:_MOST_EXAMPLES]
        ]
        return Finding(len(rows), examples)

    def _name(self, row: int) -> dict[str, Any]:
        if not self.key:
            return {"row": self.first + row}
        values = {name: self.table.column(name)[row].as_py() for name in self.key if name in self.table.column_names}
        return {
            name: value if isinstance(value, str | int | float | None) else str(value)
            for name, value in values.items()
        }  # fmt: skip


@dataclass(frozen=True)
class _Box:
    west: float
    south: float
    east: float
    north: float

    def excludes(self, bounds: npt.NDArray[np.float64]) -> Mask:
        """Whether a bounding box leaves this box; for a box across the antimeridian, whether it lies in the gap."""
        with np.errstate(invalid="ignore"):
            vertical = (bounds[:, 1] < self.south) | (bounds[:, 3] > self.north)
            if self.west > self.east:
                return vertical | ((bounds[:, 0] > self.east) & (bounds[:, 2] < self.west))
            return vertical | (bounds[:, 0] < self.west) | (bounds[:, 2] > self.east)


def _in_crs(extent: Extent, parquet: pq.ParquetFile) -> _Box:
    # The box around the extent in the CRS of the file: features in its corners may pass.
    import pyproj  # noqa: PLC0415 - needed only for an extent of projected data

    from d4c_pipeline.processing.checks.metadata import geo_metadata  # noqa: PLC0415

    crs = geo_metadata(parquet).get("columns", {}).get(GEOMETRY, {}).get("crs")
    known = pyproj.CRS.from_user_input(crs if crs else "OGC:CRS84")
    if known.is_geographic:
        return _Box(*extent.bounds)
    transformer = pyproj.Transformer.from_crs("EPSG:4326", known, always_xy=True)
    west, south, east, north = extent.bounds
    halves = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    boxes = np.array([transformer.transform_bounds(w, south, e, north, densify_pts=100) for w, e in halves])
    return _Box(*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())
