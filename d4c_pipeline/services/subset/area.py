"""Brings the area of a request into the CRS of the data, and decides which geometries intersect it.

The area moves, not the data: the edges of a geometry are straight in its own CRS, so the edges of the area are curved
there and get vertices until a chord deviates less than a decimetre. An area in degrees is first cut to the extent of
the data, because a projection maps places far outside of it to infinity or to a wrong place; it is then transformed in
slices of longitude that begin where the projection cuts the Earth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from d4c_pipeline.geometry import projection
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.subset.request import Crs
from d4c_pipeline.services.subset.source import Box, Source

_TURNS = (-360.0, 0.0, 360.0)
_SLICE = 45.0  # degrees
_STEP = 0.01  # degrees between vertices of an edge: 2.5 cm from chord to parallel at latitude 80
_MOST_VERTICES = 200_000
_MARGIN = 0.01  # of the extent of the data: its bounds in degrees are computed from 100 places of each edge
_WIDEST = 0.1  # metres from a chord to its edge
_EDGE = 1_000  # places of an edge of a slice: half a metre from chord to arc at most
_FARTHEST = 179.99  # degrees, farther from 180 than a shift of datum
_BESIDE = 1e-9  # degrees from the cut of a projection, on which a place has two images


@dataclass(frozen=True)
class Region:
    """An area in the CRS of the data. `boxes`: those of its parts. `is_boxes`: the area is exactly these boxes."""

    shape: BaseGeometry
    boxes: tuple[Box, ...]
    is_boxes: bool = False

    @classmethod
    def of(cls, shape: BaseGeometry, *, is_boxes: bool = False) -> Region:
        """Return the region of polygons; without any, nothing intersects it."""
        shapely.prepare(shape)
        parts = shapely.get_parts(shape) if is_boxes else [shape]
        boxes = [part.bounds for part in parts if not part.is_empty]
        return cls(shape, tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in boxes), is_boxes)

    def surely(self, bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which geometries with these `bounds` (n, 4) intersect the region, seen from their bounds alone."""
        sure = np.zeros(len(bounds), bool)
        if self.is_boxes:
            west, south, east, north = bounds.T
            for box in self.boxes:
                sure |= (west >= box[0]) & (south >= box[1]) & (east <= box[2]) & (north <= box[3])
        return sure

    def intersects(self, geometries: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
        """Return which geometries intersect the region; a missing or empty geometry does not."""
        return shapely.intersects(self.shape, geometries)


def region(area: BaseGeometry, crs: Crs, source: Source, *, is_box: bool) -> Region:
    """Return `area`, polygons in `crs`, as a region in the CRS of the data.

    Raises ProblemError (400) when the data has no geometry, and for an area that has no place in that CRS.
    """
    if source.geometry is None or source.crs is None:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, "The dataset is a table without geometry", "Remove bbox and geometry; use filter"
        )
    own = source.crs
    if projection.same_crs(crs.known, projection.horizontal(own)):
        return Region.of(area, is_boxes=is_box)
    if source.bounds is None:
        return Region.of(shapely.Polygon())  # no row has a geometry
    if crs.known.is_geographic:
        return _from_degrees(area, crs.known, own, source.bounds)
    moved = _moved(shapely.segmentize(area, _length(area) / 10_000), crs.known, own)
    _require_faithful(moved, crs.known, own, shapely.box(*source.bounds))
    return Region.of(moved)


def _length(area: BaseGeometry) -> float:
    west, south, east, north = area.bounds
    return max(east - west, north - south, 1e-9)


def _from_degrees(area: BaseGeometry, crs: pyproj.CRS, own: pyproj.CRS, bounds: Box) -> Region:
    extent = _extent(own, crs, bounds)
    west, south, east, north = extent
    around = shapely.box(west, south, east, north)
    shifted = shapely.union_all([shapely.transform(area, lambda xy, by=by: xy + np.array((by, 0.0))) for by in _TURNS])
    if shapely.contains(shifted, around):
        return Region.of(shapely.box(*bounds), is_boxes=True)  # the area has all of the data
    pieces = [
        _moved(_dense(piece), crs, own)
        for slice_west in np.arange(west, east, _SLICE)
        for piece in _areas(shifted & shapely.box(slice_west, south, min(slice_west + _SLICE, east), north))
    ]
    shape = shapely.union_all([shapely.make_valid(piece) for piece in pieces]) if pieces else shapely.Polygon()
    if not shape.is_empty:
        _require_faithful(shape, crs, own, shapely.box(*bounds))
    return Region.of(shape)


def boxes_around(box: Box, crs: pyproj.CRS, own: pyproj.CRS) -> tuple[Box, ...]:
    """Return the boxes in `own`, the CRS of the data, that together have all places of a box in degrees.

    `box`: west, south, east, north in the geographic `crs`, west at most east. One box in a geographic CRS, else one
    for each slice of at most 45 degrees on a side of the projection's cut: the edges of a larger box can leave out most
    of its inside. What the CRS can't show has no box. A box of the whole Earth has infinite sides.
    """
    if box[2] - box[0] >= 360.0 and box[1] <= -90.0 and box[3] >= 90.0:
        return ((-math.inf, -math.inf, math.inf, math.inf),)
    way = _operation(crs, own)
    if own.is_geographic:
        west, _, east, _ = box
        # The shift of a datum can move a place at 180 degrees to the other end of the Earth.
        inside = (max(west, -_FARTHEST), box[1], min(east, _FARTHEST), box[3])
        left, bottom, right, top = _around(inside, way) or box
        return ((west if west < -_FARTHEST else left, bottom, east if east > _FARTHEST else right, top),)
    slices = _slices(box, _central_meridian(own) - 180.0)
    return tuple(found for each in slices if (found := _around(each, way)) is not None)


def _slices(box: Box, cut: float) -> Iterator[Box]:
    west, south, east, north = box
    cuts = [cut + turn for turn in _TURNS if west < cut + turn < east]
    for first, last in itertools.pairwise([west, *cuts, east]):
        start, end = first + _BESIDE * (first in cuts), last - _BESIDE * (last in cuts)
        for x in np.arange(start, max(end, start + _BESIDE), _SLICE):
            for y in np.arange(south, max(north, south + _BESIDE), _SLICE):
                yield float(x), float(y), min(float(x) + _SLICE, end), min(float(y) + _SLICE, north)


def _around(box: Box, way: pyproj.Transformer) -> Box | None:
    west, south, east, north = box
    across, up = np.linspace(west, east, _EDGE), np.linspace(south, north, _EDGE)
    x = np.concatenate([across, across, np.full(_EDGE, west), np.full(_EDGE, east)])
    y = np.concatenate([np.full(_EDGE, south), np.full(_EDGE, north), up, up])
    moved = np.column_stack(way.transform(x, y, errcheck=False))
    moved = moved[np.isfinite(moved).all(axis=1)]
    if not len(moved):
        return None
    (left, bottom), (right, top) = moved.min(axis=0), moved.max(axis=0)
    return float(left), float(bottom), float(right), float(top)


def _extent(own: pyproj.CRS, crs: pyproj.CRS, bounds: Box) -> Box:
    """Return the extent of the data in degrees with a margin; its west begins where the projection cuts the Earth."""
    back = _operation(own, crs)
    west, south, east, north = bounds
    spread = max(east - west, north - south) * _MARGIN + 1e-9
    wide = (west - spread, south - spread, east + spread, north + spread)
    west, south, east, north = back.transform_bounds(*wide, densify_pts=200)
    if not all(map(math.isfinite, (west, south, east, north))):
        west, south, east, north = -180.0, -90.0, 180.0, 90.0
    if west > east:  # across 180 degrees
        east += 360.0
    cut = _central_meridian(own) - 180.0
    if east - west >= 359.0:
        west, east = cut, cut + 360.0
    else:
        turns = math.floor((west - cut) / 360.0) * 360.0
        west, east = west - turns, east - turns
    return west, max(south, -90.0), east, min(north, 90.0)


def _central_meridian(crs: pyproj.CRS) -> float:
    operation = projection.horizontal(crs).coordinate_operation
    for parameter in operation.params if operation is not None else ():
        if parameter.name.lower().startswith("longitude of"):
            return float(parameter.value) * (parameter.unit_conversion_factor or 1.0) * 180.0 / math.pi
    return 0.0


def _areas(shape: BaseGeometry) -> Iterator[BaseGeometry]:
    for part in shapely.get_parts(shape):
        if shapely.get_type_id(part) == 3 and not part.is_empty:
            yield part
        elif shapely.get_type_id(part) in (1, 2, 0, 5) and not part.is_empty and shapely.area(shape) == 0:
            yield part  # the area touches the extent, or is itself a line or a place


def _dense(piece: BaseGeometry) -> BaseGeometry:
    length = shapely.length(piece)
    return shapely.segmentize(piece, max(_STEP, length / _MOST_VERTICES)) if length else piece


def _operation(source: pyproj.CRS, target: pyproj.CRS) -> pyproj.Transformer:
    return projection.transformer(source, target)


def _moved(shape: BaseGeometry, source: pyproj.CRS, target: pyproj.CRS) -> BaseGeometry:
    way = _operation(source, target)
    moved = shapely.transform(shape, lambda xy: np.column_stack(way.transform(*xy.T, errcheck=False)))
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise _outside(source, target)
    return moved


def _require_faithful(shape: BaseGeometry, source: pyproj.CRS, target: pyproj.CRS, near: BaseGeometry) -> None:
    """Refuse an area whose edges near the data deviate from the edges that were asked for.

    The middle of each chord has to lie where the middle of its ends lies in the CRS of the request. The chord over a
    cut of the projection, or from a place that was mapped to a wrong one, deviates by kilometres.
    """
    rings, number = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(shape)), return_index=True)
    chords = np.flatnonzero(number[1:] == number[:-1])
    middles = (rings[chords] + rings[chords + 1]) / 2
    west, south, east, north = near.bounds
    spread = max(east - west, north - south) + 1e-9
    is_near = (
        (np.maximum(rings[chords, 0], rings[chords + 1, 0]) > west - spread)
        & (np.minimum(rings[chords, 0], rings[chords + 1, 0]) < east + spread)
        & (np.maximum(rings[chords, 1], rings[chords + 1, 1]) > south - spread)
        & (np.minimum(rings[chords, 1], rings[chords + 1, 1]) < north + spread)
    )
    chords, middles = chords[is_near], middles[is_near]
    if not len(chords):
        return
    back = _operation(target, source)
    first, last, middle = (
        np.column_stack(back.transform(*places.T, errcheck=False))
        for places in (rings[chords], rings[chords + 1], middles)
    )
    off = np.abs((first + last) / 2 - middle)
    if source.is_geographic:
        off[:, 0] = np.minimum(off[:, 0] % 180.0, 180.0 - off[:, 0] % 180.0)  # the ends may lie on both sides of a cut
        metres = off * 111_320.0 * np.column_stack([np.cos(np.radians(middle[:, 1])), np.ones(len(off))])
    else:
        metres = off * (source.axis_info[0].unit_conversion_factor or 1.0)
    if not np.isfinite(metres).all() or metres.max() > _WIDEST:
        raise _outside(source, target)


def _outside(source: pyproj.CRS, target: pyproj.CRS) -> ProblemError:
    return ProblemError(
        HTTPStatus.BAD_REQUEST,
        f"The area has places that {projection.crs_name(target)}, the CRS of the data, can't show",
        f"Send a smaller area, or its coordinates in {projection.crs_name(target)} with bbox-crs"
        if source.is_geographic
        else "Send the area in longitude and latitude",
    )


def moved_geometries(
    geometries: npt.NDArray[np.object_], source: pyproj.CRS, target: pyproj.CRS
) -> npt.NDArray[np.object_]:
    """Return `geometries` in another CRS, x first; heights stay.

    Raises PermanentError when a place has no coordinates there: a result with infinite coordinates would be wrong
    unseen.
    """
    way = _operation(source, target)

    def move(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        moved = np.column_stack(way.transform(places[:, 0], places[:, 1], errcheck=False))
        return np.column_stack([moved, places[:, 2:]]) if places.shape[1] > 2 else moved

    flat = shapely.has_z(geometries)
    out = geometries.copy()
    for raised in (False, True):
        these = np.flatnonzero((flat == raised) & ~shapely.is_missing(geometries))
        if len(these):
            out[these] = shapely.transform(geometries[these], move, include_z=raised)
    if not np.isfinite(shapely.get_coordinates(out)).all():
        raise PermanentError(
            f"A place of the data has no coordinates in {projection.crs_name(target)}", "Choose another crs"
        )
    return out
