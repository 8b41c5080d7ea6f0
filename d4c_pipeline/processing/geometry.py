"""Geometry made fit to publish: EPSG:4326, longitude first, two dimensions, valid, rings oriented, nulls for nothing.

Reading geometry belongs to `readers`, the order of rows to `order`, the covering and metadata to `write`. Whatever is
changed is counted in a `Tally`, so that no loss is silent.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyproj
import pyproj.exceptions
import pyproj.network
import shapely
from pyproj.transformer import AreaOfInterest, TransformerGroup

from d4c_pipeline.model.errors import DataError

CRS = "EPSG:4326"
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
_MULTI_OF = {0: 4, 1: 5, 3: 6}
_MAKE_MULTI = {4: shapely.multipoints, 5: shapely.multilinestrings, 6: shapely.multipolygons}
# What rounding in a transformation may overshoot the antimeridian or a pole by, in degrees.
_OVERSHOOT = 1e-9

Geometries = npt.NDArray[np.object_]


@dataclass
class Tally:
    """What cleaning noticed, added up over all batches."""

    invalid_repaired: int = 0
    repaired_to_nothing: int = 0
    null_geometries: int = 0
    empty_geometries: int = 0
    dimensions_dropped: int = 0
    promoted_to_multi: int = 0
    _area: float = field(default=0.0, repr=False)
    _area_changed: float = field(default=0.0, repr=False)

    def repaired(self, before: Geometries, after: Geometries) -> None:
        """Count repairs and the area they changed; an invalid ring's area is what its signed formula gives."""
        self.invalid_repaired += len(before)
        areas = np.abs(shapely.area(before)), shapely.area(after)
        self._area += float(np.maximum(*areas).sum())
        self._area_changed += float(np.abs(areas[1] - areas[0]).sum())

    def report(self) -> dict[str, Any]:
        """Return the counts; `repaired_area_change` is relative to the area of what was repaired, from 0 to 1."""
        counts: dict[str, Any] = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        if self.invalid_repaired:
            change = self._area_changed / self._area if self._area else 0.0
            # What is below this is rounding, and would depend on the order in which it was added up.
            counts["repaired_area_change"] = round(change, 9)
        return counts


@dataclass(frozen=True)
class GeometryColumn:
    """Clean geometry with what is known of each row. All arrays are of one length.

    `wkb`: ISO WKB, little-endian. `bounds`: float64 (n, 4) of west, south, east, north, NaN where null. `types`: ids of
    `TYPE_NAMES`, -1 where null. `vertices`: number of coordinates.
    """

    wkb: pa.ChunkedArray
    bounds: npt.NDArray[np.float64]
    types: npt.NDArray[np.int8]
    vertices: npt.NDArray[np.int64]

    @property
    def type_names(self) -> tuple[str, ...]:
        """The GeoParquet names of the types that occur, sorted."""
        return tuple(sorted(TYPE_NAMES[type_id] for type_id in np.unique(self.types) if type_id >= 0))

    @property
    def total_bounds(self) -> tuple[float, float, float, float] | None:
        """West, south, east, north over all rows; None when every geometry is null."""
        if not (self.types >= 0).any():
            return None
        west, south = np.nanmin(self.bounds[:, :2], axis=0)
        east, north = np.nanmax(self.bounds[:, 2:], axis=0)
        return float(west), float(south), float(east), float(north)


def operation_to_wgs84(crs: pyproj.CRS) -> pyproj.Transformer | None:
    """Return the one operation that takes `crs` to EPSG:4326 (longitude first), None when coordinates stay as they are.

    One operation for the whole dataset, the best over the CRS's own area of use among those that need no grid file:
    it depends neither on the rows nor on what a machine has downloaded. Raises DataError when there is none.
    """
    if crs.equals(pyproj.CRS.from_epsg(4326), ignore_axis_order=True):
        return None
    pyproj.network.set_network_enabled(active=False)  # pyright: ignore[reportPrivateImportUsage]
    area = crs.area_of_use
    interest = AreaOfInterest(*area.bounds) if area else None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Best transformation is not available", category=UserWarning)
            group = TransformerGroup(crs, CRS, always_xy=True, area_of_interest=interest, allow_ballpark=False)
    except pyproj.exceptions.ProjError as error:
        raise _no_operation(crs) from error
    if not group.transformers:
        raise _no_operation(crs)
    return group.transformers[0]


def crs_name(crs: pyproj.CRS) -> str:
    """Return `authority:code` where the CRS is known to be one, else its name."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else crs.name


def clean(wkb: pa.ChunkedArray, operation: pyproj.Transformer | None, tally: Tally) -> GeometryColumn:
    """Clean a geometry column batch by batch; see the module's first sentence for what that means.

    Empty geometries become null. Invalid ones are repaired by the structure method, dropping what collapses. Raises
    DataError for bytes that are no geometry, curves, and coordinates that are no longitude and latitude.
    """
    parts = [_clean_batch(chunk, operation, tally) for chunk in wkb.chunks if len(chunk)]
    return GeometryColumn(
        pa.chunked_array([part.wkb for part in parts], pa.binary()),
        np.concatenate([part.bounds for part in parts]) if parts else np.empty((0, 4)),
        np.concatenate([part.types for part in parts]) if parts else np.empty(0, np.int8),
        np.concatenate([part.vertices for part in parts]) if parts else np.empty(0, np.int64),
    )


def promote_mixed(column: GeometryColumn, tally: Tally) -> GeometryColumn:
    """Make single geometries multi ones where both kinds of a dimension occur in the column, else change nothing."""
    present = set(np.unique(column.types).tolist())
    mixed = [single for single, multi in _MULTI_OF.items() if single in present and multi in present]
    if not mixed:
        return column
    types = column.types.copy()
    chunks: list[pa.Array] = []
    start = 0
    for chunk in column.wkb.chunks:
        values = chunk.to_numpy(zero_copy_only=False)
        here = types[start : start + len(chunk)]
        for single in mixed:
            rows = np.flatnonzero(here == single)
            parts = shapely.from_wkb(values[rows])
            values[rows] = shapely.to_wkb(
                _MAKE_MULTI[_MULTI_OF[single]](parts, indices=np.arange(len(parts))), byte_order=1
            )
            here[rows] = _MULTI_OF[single]
            tally.promoted_to_multi += len(rows)
        chunks.append(pa.array(values, pa.binary()))
        start += len(chunk)
    return GeometryColumn(pa.chunked_array(chunks, pa.binary()), column.bounds, types, column.vertices)


def _no_operation(crs: pyproj.CRS) -> DataError:
    return DataError(f"There is no known way from {crs.name} to EPSG:4326", "Declare processing.crs with override_crs")


@dataclass(frozen=True)
class _Batch:
    wkb: pa.Array
    bounds: npt.NDArray[np.float64]
    types: npt.NDArray[np.int8]
    vertices: npt.NDArray[np.int64]


def _clean_batch(chunk: pa.Array, operation: pyproj.Transformer | None, tally: Tally) -> _Batch:
    geometries = _parsed(chunk)
    raised = shapely.has_z(geometries) | shapely.has_m(geometries)
    if raised.any():
        tally.dimensions_dropped += int(raised.sum())
        geometries = shapely.force_2d(geometries)
    empty = shapely.is_empty(geometries)
    tally.empty_geometries += int(empty.sum())
    geometries[empty] = None
    geometries = _transformed(geometries, operation)
    _repair(geometries, tally)
    types = shapely.get_type_id(geometries).astype(np.int8)
    with_rings = np.flatnonzero(types >= 3)
    geometries[with_rings] = shapely.orient_polygons(geometries[with_rings], exterior_cw=False)
    tally.null_geometries += int((types < 0).sum())
    return _Batch(
        pa.array(shapely.to_wkb(geometries, byte_order=1, output_dimension=2, flavor="iso"), pa.binary()),
        shapely.bounds(geometries),
        types,
        shapely.get_num_coordinates(geometries).astype(np.int64),
    )


def _parsed(chunk: pa.Array) -> Geometries:
    try:
        geometries: Geometries = shapely.from_wkb(chunk.to_numpy(zero_copy_only=False))
    except (shapely.errors.ShapelyError, TypeError) as error:
        raise DataError(
            f"A geometry can't be read: {error}", "Fetch the vintage again, or drop the row in processing.sql"
        ) from error
    curved = shapely.get_type_id(geometries) >= len(TYPE_NAMES)
    if curved.any():
        raise DataError(f"{int(curved.sum())} geometries are curves", "Have the source deliver straight lines")
    return geometries


def _transformed(geometries: Geometries, operation: pyproj.Transformer | None) -> Geometries:
    coordinates = shapely.get_coordinates(geometries)
    if not len(coordinates):
        return geometries
    _refuse(coordinates, np.asarray(~np.isfinite(coordinates).all(axis=1)), "are not numbers")
    x, y = coordinates[:, 0], coordinates[:, 1]
    if operation is not None:
        x, y = operation.transform(x, y, errcheck=False)
    moved = np.column_stack([_snapped(np.asarray(x), 180.0), _snapped(np.asarray(y), 90.0)])
    outside = np.asarray(~(np.abs(moved) <= (180.0, 90.0)).all(axis=1))
    _refuse(
        coordinates,
        outside,
        "are no longitude and latitude" + ("" if operation is None else " after the transformation"),
    )
    return shapely.set_coordinates(geometries, moved)


def _snapped(values: npt.NDArray[np.float64], limit: float) -> npt.NDArray[np.float64]:
    return np.where(np.abs(values) <= limit + _OVERSHOOT, np.clip(values, -limit, limit), values)


def _refuse(coordinates: npt.NDArray[np.float64], bad: npt.NDArray[np.bool_], what: str) -> None:
    if bad.any():
        x, y = coordinates[np.flatnonzero(bad)[0]]
        raise DataError(
            f"{int(bad.sum())} coordinates {what}, for example ({float(x)!r}, {float(y)!r})",
            "Declare the right processing.crs (with override_crs), or drop the rows in processing.sql",
        )


def _repair(geometries: Geometries, tally: Tally) -> None:
    rows = np.flatnonzero(~shapely.is_valid(geometries) & ~shapely.is_missing(geometries))
    if not len(rows):
        return
    before = geometries[rows]
    after = shapely.make_valid(before, method="structure", keep_collapsed=False)
    tally.repaired(before, after)
    gone = shapely.is_empty(after)
    tally.repaired_to_nothing += int(gone.sum())
    after[gone] = None
    geometries[rows] = after
