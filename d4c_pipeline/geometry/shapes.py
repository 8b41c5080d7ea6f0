"""Types of clean geometry: the shapes of a batch, rules and counts of cleaning, facts of a dataset, promotion to multi.

Cleaning belongs to `cleaning`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from d4c_pipeline.geometry.curves import TOLERANCE_DEGREES, TOLERANCE_PLANE
from d4c_pipeline.geometry.hilbert import places
from d4c_pipeline.geometry.projection import Target
from d4c_pipeline.tables.arrays import as_arrow

TYPE_NAMES = (
    "Point",
    "LineString",
    "LinearRing",
    "Polygon",
    "MultiPoint",
    "MultiLineString",
    "MultiPolygon",
    "GeometryCollection",
)
# Added to the id of a type with heights, "Point Z" in GeoParquet.
WITH_Z = 16
_MULTI_OF = {0: 4, 1: 5, 3: 6}

# Counts that the report omits if they are 0.
_SELDOM = (
    "antimeridian_split",
    "repaired_by_linework",
    "collapsed_parts",
    "nested_parts",
    "curves_straightened",
    "surfaces_flattened",
    "points_at_zero",
)

Geometries = npt.NDArray[np.object_]


@dataclass
class Tally:
    """The counts of cleaning; those of all batches are added in order."""

    invalid_repaired: int = 0
    repaired_to_nothing: int = 0
    null_geometries: int = 0
    empty_geometries: int = 0
    dimensions_dropped: int = 0
    promoted_to_multi: int = 0
    antimeridian_split: int = 0
    repaired_by_linework: int = 0
    collapsed_parts: int = 0
    nested_parts: int = 0
    curves_straightened: int = 0
    surfaces_flattened: int = 0
    points_at_zero: int = 0
    _area: float = field(default=0.0, repr=False)
    _area_changed: float = field(default=0.0, repr=False)

    def repaired(self, before: Geometries, after: Geometries) -> None:
        """Count repairs and the area that they change; the area of an invalid ring is that of the signed formula."""
        self.invalid_repaired += len(before)
        areas = np.abs(shapely.area(before)), shapely.area(after)
        self._area += float(np.maximum(*areas).sum())
        self._area_changed += float(np.abs(areas[1] - areas[0]).sum())

    def add(self, other: Tally) -> None:
        """Add the counts of another batch."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def report(self) -> dict[str, Any]:
        """Return the counts; `repaired_area_change` is relative to the area of the repaired geometry, from 0 to 1."""
        counts: dict[str, Any] = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        for name in _SELDOM:
            if not counts[name]:
                del counts[name]
        if self.curves_straightened:
            counts["curve_tolerance"] = f"{TOLERANCE_PLANE} of the source's unit, {TOLERANCE_DEGREES:.7f} of degrees"
        if self.invalid_repaired:
            change = self._area_changed / self._area if self._area else 0.0
            # Smaller digits are rounding errors, which depend on the order of addition.
            counts["repaired_area_change"] = round(change, 9)
        return counts


@dataclass(frozen=True)
class Rules:
    """The declared rules of cleaning: target CRS, whether heights stay, whether geometry is cut at 180 degrees.

    `accept_lost`: geometry of which repair leaves nothing becomes null. `footprints`: surfaces in space become the area
    that they cover. Without these rules such geometry is rejected.
    """

    target: Target
    keep_z: bool = False
    split: bool = True
    accept_lost: bool = False
    footprints: bool = False


@dataclass(frozen=True)
class Shapes:
    """The clean geometry of one batch with the facts of each row. All arrays have the same length.

    `wkb`: ISO WKB, little-endian. `bounds`: float64 (n, 4) of xmin, ymin, xmax, ymax, NaN where null. `types`: ids of
    `TYPE_NAMES`, plus `WITH_Z` for heights, -1 where null. `vertices`: number of coordinates. `places`: positions on
    the Hilbert curve.
    """

    wkb: pa.Array
    bounds: npt.NDArray[np.float64]
    types: npt.NDArray[np.int8]
    vertices: npt.NDArray[np.int32]
    places: npt.NDArray[np.int64]
    tally: Tally


@dataclass
class Facts:
    """The facts of all geometry of a dataset, collected by batch; `promote_mixed` completes them."""

    types: Counter[int] = field(default_factory=Counter[int])
    nulls: int = 0
    vertices: int = 0
    most_vertices: int = 0
    total_bounds: tuple[float, float, float, float] | None = None

    def add(self, shapes: Shapes) -> None:
        """Add a batch."""
        known = shapes.types >= 0
        self.nulls += int((~known).sum())
        if not known.any():
            return
        complete = bool(known.all())
        counts = np.bincount(shapes.types if complete else shapes.types[known])
        self.types.update({kind: int(counts[kind]) for kind in np.flatnonzero(counts).tolist()})
        self.vertices += int(shapes.vertices.sum())
        self.most_vertices = max(self.most_vertices, int(shapes.vertices.max()))
        west, south, east, north = shapes.bounds.T if complete else shapes.bounds[known].T
        box = (float(west.min()), float(south.min()), float(east.max()), float(north.max()))
        if (total := self.total_bounds) is not None:
            box = (min(box[0], total[0]), min(box[1], total[1]), max(box[2], total[2]), max(box[3], total[3]))
        self.total_bounds = box

    @property
    def type_names(self) -> tuple[str, ...]:
        """The GeoParquet names of the types that occur, sorted."""
        return tuple(sorted(map(type_name, self.types)))

    def promote_mixed(self, tally: Tally) -> tuple[int, ...]:
        """Return the types to promote: those whose multi type (of the same dimension) occurs too."""
        mixed = tuple(
            single + z
            for z in (0, WITH_Z)
            for single, multi in _MULTI_OF.items()
            if single + z in self.types and multi + z in self.types
        )
        for single in mixed:
            count = self.types.pop(single)
            self.types[promoted_type(single)] += count
            tally.promoted_to_multi += count
        return mixed


def of_clean(wkb: pa.Array, box: tuple[float, float, float, float]) -> Shapes:
    """Return the shapes of geometry that was cleaned and written before; `box` of the Hilbert curve as in `Target`."""
    geometries = shapely.from_wkb(wkb.to_numpy(zero_copy_only=False))
    bounds = shapely.bounds(geometries)
    kinds = shapely.get_type_id(geometries)
    types = np.where(kinds < 0, -1, kinds + WITH_Z * shapely.has_z(geometries)).astype(np.int8)
    vertices = shapely.get_num_coordinates(geometries).astype(np.int32)
    return Shapes(wkb, bounds, types, vertices, places(bounds, box), Tally())


def type_name(type_id: int) -> str:
    """Return GeoParquet's name of a type of `Shapes.types`."""
    return TYPE_NAMES[type_id % WITH_Z] + (" Z" if type_id >= WITH_Z else "")


def promote(wkb: pa.Array, types: npt.NDArray[np.int8], singles: tuple[int, ...]) -> pa.Array:
    """Return `wkb` with the geometries of the types `singles` as multi geometries of one part."""
    chosen = np.isin(types, singles)
    if not chosen.any():
        return wkb
    # A multi geometry of one part is a header, the number 1, and the unchanged part.
    headers = {
        single: pa.scalar(struct.pack("<BII", 1, _iso(promoted_type(single)), 1), pa.binary()) for single in singles
    }
    for single, header in headers.items():
        multi = pc.binary_join_element_wise(header, wkb, pa.scalar(b"", pa.binary()))
        wkb = pc.if_else(as_arrow(types == single), multi, wkb)
    return wkb


def promoted_type(single: int) -> int:
    """Return the multi type of a single type."""
    return _MULTI_OF[single % WITH_Z] + single - single % WITH_Z


def _iso(type_id: int) -> int:
    # The number of a type in ISO WKB.
    code = (1, 2, 2, 3, 4, 5, 6, 7)[type_id % WITH_Z]
    return code + 1000 if type_id >= WITH_Z else code
