"""Reads WKB that GEOS cannot process: straightens curves, turns triangles into areas and surfaces into footprints.

`cleaning` passes only the rows that GEOS cannot read, and cleans the result. Type codes are those of ISO 13249-3
(SQL/MM) and of PostGIS's EWKB.
"""

from __future__ import annotations

import itertools
import math
import re
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

# The greatest distance of a chord from its arc, in units of the source's CRS: a centimetre, in metres and in degrees.
TOLERANCE_PLANE = 0.01
TOLERANCE_DEGREES = 1e-7
# GDAL's greatest angle between two vertices of an arc, which keeps small circles round.
_STEP = math.radians(4.0)
_NAMES = {
    1: "Point", 2: "LineString", 3: "Polygon", 4: "MultiPoint", 5: "MultiLineString", 6: "MultiPolygon",
    7: "GeometryCollection", 8: "CircularString", 9: "CompoundCurve", 10: "CurvePolygon", 11: "MultiCurve",
    12: "MultiSurface", 15: "PolyhedralSurface", 16: "TIN", 17: "Triangle",
}  # fmt: skip
_POINT, _LINE, _POLYGON, _COLLECTION, _ARC, _COMPOUND, _CURVE_POLYGON, _TRIANGLE = 1, 2, 3, 7, 8, 9, 10, 17
_SURFACES = (15, 16)
_PARTS_OF = {4: 4, 5: 5, 6: 6, 7: 7, 11: 5, 12: 6}
_DEEPEST = 32
# The flags of EWKB; old GDAL sets the first for heights.
_EWKB_Z, _EWKB_M, _EWKB_SRID = 0x80000000, 0x40000000, 0x20000000

# The bytes of a header of type 8 to 17 in either byte order with any dimensions, and bytes that look like it.
_FLAGS = rb"[\x00\x20\x40\x60\x80\xa0\xc0\xe0]"
_FOREIGN = re.compile(
    rb"\x01(?:[\x08-\x11]\x00|[\xf0-\xf9]\x03|[\xd8-\xe1]\x07|[\xc0-\xc9]\x0b)\x00" + _FLAGS
    + rb"|\x00" + _FLAGS + rb"\x00(?:\x00[\x08-\x11]|\x03[\xf0-\xf9]|\x07[\xd8-\xe1]|\x0b[\xc0-\xc9])",
    re.DOTALL,
)  # fmt: skip

Floats = npt.NDArray[np.float64]


def may_hide_in(wkb: bytes) -> bool:
    """Whether the WKB of a collection may hold curves or surfaces; False is certain."""
    return _FOREIGN.search(wkb, 1) is not None


class CurveError(ValueError):
    """WKB that is broken or of an unknown type, or a surface without the option `footprint`."""


class SurfaceError(CurveError):
    """A TIN or polyhedral surface (a multipatch) without the option `footprint`."""


@dataclass
class Reading:
    """The options of reading WKB, and its counts: `straightened` curves and `footprints` of surfaces.

    `tolerance`: the greatest distance of a chord from its arc, in units of the coordinates. `footprint`: replaces
    surfaces in space by the area that they cover on the ground; without it they raise SurfaceError.
    """

    tolerance: float
    footprint: bool = False
    straightened: int = 0
    footprints: int = 0
    with_measures: bool = field(default=False, repr=False)

    def geometry(self, wkb: bytes) -> Any:
        """Return the geometry of `wkb` (ISO or EWKB) without curves and surfaces; measures are dropped.

        Raises CurveError for WKB that cannot be read.
        """
        cursor = _Cursor(wkb)
        self._curved = self._covered = self.with_measures = False
        try:
            made = self._read(cursor, 0)
        except (struct.error, IndexError, shapely.errors.ShapelyError, ValueError) as error:
            if isinstance(error, CurveError):
                raise
            raise CurveError(f"it is broken ({error})") from error
        self.straightened += self._curved
        self.footprints += self._covered
        return made

    _curved: bool = field(default=False, repr=False)
    _covered: bool = field(default=False, repr=False)

    def _read(self, cursor: _Cursor, depth: int) -> Any:
        if depth > _DEEPEST:
            raise CurveError(f"it is nested more than {_DEEPEST} deep")
        kind, axes, measured = cursor.header()
        self.with_measures |= measured
        dimensions = axes - measured
        if kind == _POINT:
            point = cursor.coordinates(1, axes)[0, :dimensions]
            return shapely.Point() if np.isnan(point[:2]).all() else shapely.Point(point)
        if kind in (_LINE, _ARC):
            coordinates = cursor.coordinates(cursor.count(), axes)[:, :dimensions]
            return shapely.LineString(self._arcs(coordinates) if kind == _ARC else coordinates)
        if kind in (_POLYGON, _TRIANGLE):
            rings = [cursor.coordinates(cursor.count(), axes)[:, :dimensions] for _ in range(cursor.count())]
            return shapely.Polygon(rings[0], rings[1:]) if rings else shapely.Polygon()
        if kind not in _NAMES:
            raise CurveError(f"its type {kind} is not known")
        parts = [self._read(cursor, depth + 1) for _ in range(cursor.count())]
        if kind == _COMPOUND:
            return _joined(parts)
        if kind == _CURVE_POLYGON:
            rings = [shapely.get_coordinates(part, include_z=dimensions == 3) for part in parts]
            return shapely.Polygon(rings[0], rings[1:]) if rings else shapely.Polygon()
        if kind in _SURFACES:
            return self._footprint(parts, _NAMES[kind])
        return self._several(kind, parts)

    def _several(self, kind: int, parts: list[Any]) -> Any:
        match _PARTS_OF[kind]:
            case 4:
                return shapely.MultiPoint(parts)
            case 5:
                return shapely.multilinestrings(parts)
            case 6:
                return shapely.multipolygons(parts)
            case _:
                # GDAL writes a multipatch of strips and rings as a collection of surfaces and areas.
                areas = all(shapely.get_type_id(part) in (3, 6) for part in parts)
                return _united(parts) if self._covered and areas else shapely.GeometryCollection(parts)

    def _footprint(self, parts: list[Any], name: str) -> Any:
        if not self.footprint:
            raise SurfaceError(f"it is a {name}, a surface in space")
        self._covered = True
        return _united(parts)

    def _arcs(self, controls: Floats) -> Floats:
        # The control points: start, a point of the arc, end, a point of the next arc, end, ...
        self._curved = True
        if len(controls) < 3:
            return controls
        if len(controls) % 2 == 0:
            raise CurveError(f"an arc of it has {len(controls)} points, not an odd number")
        pieces = [
            _arc(controls[at], controls[at + 1], controls[at + 2], self.tolerance)
            for at in range(0, len(controls) - 2, 2)
        ]
        return np.vstack([controls[:1], *(piece[1:] for piece in pieces)])


class _Cursor:
    """A position in the bytes of WKB that advances with each read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._order = "<"

    def header(self) -> tuple[int, int, bool]:
        """Return the type, the number of values of a coordinate, and whether the last value is a measure."""
        self._order = "<" if self._data[self._at] == 1 else ">"
        (code,) = struct.unpack_from(f"{self._order}I", self._data, self._at + 1)
        self._at += 9 if code & _EWKB_SRID else 5
        plain = code & 0x0FFFFFFF
        thousands = plain // 1000
        heights, measures = bool(code & _EWKB_Z) or thousands in (1, 3), bool(code & _EWKB_M) or thousands in (2, 3)
        return plain % 1000, 2 + heights + measures, measures

    def count(self) -> int:
        (count,) = struct.unpack_from(f"{self._order}I", self._data, self._at)
        self._at += 4
        if count > len(self._data):
            raise CurveError("it is broken (a count beyond its end)")
        return count

    def coordinates(self, count: int, axes: int) -> Floats:
        # Nested geometry has its own byte order: the coordinates belong to the header read last.
        end = self._at + 8 * count * axes
        if end > len(self._data):
            raise CurveError("it is broken (cut off)")
        numbers = np.frombuffer(self._data, f"{self._order}f8", count * axes, self._at).astype(np.float64)
        self._at = end
        return numbers.reshape(count, axes)


def _joined(parts: list[Any]) -> Any:
    # Each part begins at the end of the previous part.
    lines = [shapely.get_coordinates(part, include_z=bool(shapely.has_z(part))) for part in parts]
    lines = [line for line in lines if len(line)]
    for before, after in itertools.pairwise(lines):
        if not (before[-1, :2] == after[0, :2]).all():
            raise CurveError("the parts of a CompoundCurve in it do not meet")
    if not lines:
        return shapely.LineString()
    return shapely.LineString(np.vstack([lines[0], *(line[1:] for line in lines[1:])]))


def _united(parts: list[Any]) -> Any:
    # Walls cover no ground; faces above each other cover it once.
    flat = shapely.force_2d(np.array(parts, object))
    covered = shapely.union_all(shapely.make_valid(flat, method="structure", keep_collapsed=False))
    # Nothing is left of walls only; repair reports that.
    return flat[0] if len(flat) and covered.is_empty else covered


def _arc(start: Floats, middle: Floats, end: Floats, tolerance: float) -> Floats:
    # Both directions of the arc give the same vertices, so that neighbours share them; heights are interpolated.
    if tuple(start) > tuple(end):
        return _arc(end, middle, start, tolerance)[::-1]
    circle = (start[:2] == end[:2]).all()
    if circle:
        if (start[:2] == middle[:2]).all():
            return np.vstack([start, middle, end])
        centre, turn = (start[:2] + middle[:2]) / 2, 1.0
    else:
        chord, leg = end[:2] - start[:2], middle[:2] - start[:2]
        cross = float(chord[0] * leg[1] - chord[1] * leg[0])
        if abs(cross) <= tolerance * math.hypot(*chord):  # the chord is within the tolerance
            return np.vstack([start, middle, end])
        chord2, leg2 = float(chord @ chord), float(leg @ leg)
        offset = np.array([leg[1] * chord2 - chord[1] * leg2, chord[0] * leg2 - leg[0] * chord2]) / (-2 * cross)
        centre, turn = start[:2] - offset, 1.0 if cross < 0 else -1.0
    radius = math.hypot(*(start[:2] - centre))
    angles = [math.atan2(*(point[1::-1] - centre[::-1])) for point in (start, middle, end)]
    halves = [(turn * (angles[at + 1] - angles[at])) % (2 * math.pi) for at in (0, 1)]
    if circle:
        halves = [math.pi, math.pi]
    step = min(_STEP, 2 * math.acos(max(-1.0, 1 - tolerance / radius))) if tolerance < radius else _STEP
    pieces: list[Floats] = [start[None]]
    for at, (first, last) in enumerate(((start, middle), (middle, end))):
        count = max(1, math.ceil(halves[at] / step))
        share = np.arange(1, count)[:, None] / count
        angle = angles[at] + turn * halves[at] * share
        inner = centre + radius * np.hstack([np.cos(angle), np.sin(angle)])
        pieces += [np.hstack([inner, first[2:] + (last[2:] - first[2:]) * share]), last[None]]
    return np.vstack(pieces)
