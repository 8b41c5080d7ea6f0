"""Spatial operators over geometries in WKB, by DuckDB's extension spatial, which the caller has loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson
import shapely

from d4c_pipeline.services.cql2.columns import Kind
from d4c_pipeline.services.cql2.expressions import Piece, joined
from d4c_pipeline.services.cql2.limits import Limits, bad_filter

OPERATORS: Mapping[str, str] = {
    "s_intersects": "ST_Intersects",
    "s_equals": "ST_Equals",
    "s_disjoint": "ST_Disjoint",
    "s_touches": "ST_Touches",
    "s_within": "ST_Within",
    "s_overlaps": "ST_Overlaps",
    "s_crosses": "ST_Crosses",
    "s_contains": "ST_Contains",
}
TYPES = frozenset(
    "Point LineString Polygon MultiPoint MultiLineString MultiPolygon GeometryCollection".split()  # noqa: SIM905
)
_BOX_REMEDY = "Write west, south, east, north in degrees, such as BBOX(-80, 45, -70, 50)"


def comparison(operator: str, first: Piece, second: Piece) -> Piece:
    """Return a spatial operator over two geometries."""
    for piece in (first, second):
        if piece.kind is not Kind.GEOMETRY:
            raise bad_filter(
                f"{piece.name} is {piece.kind.value}, and {operator} compares geometries", "Name a geometry"
            )
    exact = joined(f"{OPERATORS[operator]}({{}}, {{}})", first, second, kind=Kind.TRUTH, name=operator)
    near = None if operator == "s_disjoint" else _near(first, second) or _near(second, first)
    return exact if near is None else joined("({} AND {})", near, exact, kind=Kind.TRUTH, name=operator)


def geometry(document: Mapping[str, Any], limits: Limits) -> Piece:
    """Return a GeoJSON geometry that the filter states. Raises ProblemError unless it is valid and within `limits`."""
    return _stated(valid_geometry(document, limits))


def valid_geometry(document: Mapping[str, Any], limits: Limits) -> shapely.Geometry:
    """Return a GeoJSON geometry. Raises ProblemError unless it is valid, not empty and within `limits`."""
    try:
        found = shapely.from_geojson(orjson.dumps(document))
    except (shapely.GEOSException, TypeError, orjson.JSONEncodeError) as error:
        raise bad_filter(f"a geometry is not GeoJSON ({' '.join(str(error).split())[:200]})", "Correct it") from error
    vertices = int(shapely.get_num_coordinates(found))
    if vertices > limits.vertices:
        raise bad_filter(
            f"a geometry has {vertices:,} vertices, and {limits.vertices:,} are allowed", "Simplify the geometry"
        )
    if vertices == 0:
        raise bad_filter("a geometry has no vertices", "State the coordinates of the geometry")
    if not all(map(math.isfinite, shapely.bounds(found))):
        raise bad_filter("a geometry has coordinates that are not finite", "Correct them")
    if not shapely.is_valid(found):
        raise bad_filter(f"a geometry is not valid: {shapely.is_valid_reason(found)}", "Correct the geometry")
    return found


def box(numbers: Any) -> Piece:
    """Return a bounding box that the filter states, in two parts when it crosses the 180th meridian."""
    if not isinstance(numbers, list) or len(numbers) not in (4, 6) or not all(map(_is_number, numbers)):
        raise bad_filter("a box does not have 4 or 6 numbers", _BOX_REMEDY)
    half = len(numbers) // 2
    (west, south), (east, north) = numbers[:2], numbers[half : half + 2]
    if south > north:
        raise bad_filter(f"the south of a box, {south}, is above its north, {north}", _BOX_REMEDY)
    if west <= east:
        return _stated(shapely.box(west, south, east, north))
    if not (east >= -180 and west <= 180):
        raise bad_filter(f"the west of a box, {west}, is east of its east, {east}", _BOX_REMEDY)
    return _stated(shapely.multipolygons([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]))


def _stated(found: shapely.Geometry) -> Piece:
    wkb = shapely.to_wkb(found, flavor="iso")
    return Piece("ST_GeomFromWKB(CAST(? AS BLOB))", (wkb,), Kind.GEOMETRY, "the geometry", found)


def _near(column: Piece, stated: Piece) -> Piece | None:
    if column.box is None or not stated.is_literal:
        return None
    west, south, east, north = column.box
    xmin, ymin, xmax, ymax = map(float, shapely.bounds(stated.value))
    sql = f"({east} >= ? AND {west} <= ? AND {north} >= ? AND {south} <= ?)"
    return Piece(sql, (xmin, xmax, ymin, ymax), Kind.TRUTH, "box")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
