"""Reads the inputs of a subset: checked, bounded, and in one canonical form whose hash names equal requests.

Only what can be judged without the release belongs here: forms, lengths, numbers. Names of columns and the reach of the
CRS belong to `plan`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
import pyproj
import pyproj.exceptions
import shapely
import shapely.errors
from shapely.geometry.base import BaseGeometry

from d4c_pipeline.services.numbers import decimal_number
from d4c_pipeline.services.problems import ProblemError

MOST_FILTER = 10_000
"""Characters of a filter."""
MOST_VERTICES = 10_000
"""Vertices of the geometry of a request."""
MOST_COLUMNS = 10_000
_MOST_NAME = 200
_CRS84 = "OGC:CRS84"
_CODE = re.compile(r"([A-Za-z]{3,5}):([0-9A-Za-z]{2,9})")
_URI = re.compile(
    r"(?:https?://www\.opengis\.net/def/crs/|urn:ogc:def:crs:)([A-Za-z]{3,5})[/:][0-9.]*[/:]([0-9A-Za-z]{2,9})"
)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_KNOWN = (
    "dataset", "vintage", "version", "bbox", "bbox-crs", "geometry", "filter", "filter-lang", "columns", "crs", "format"
)  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A format of results. `features`: every row needs the geometry column. `streams`: written without a file."""

    name: str
    title: str
    media_type: str
    suffix: str
    features: bool = False
    streams: bool = True


FORMATS = {
    each.name: each
    for each in (
        Format("parquet", "Parquet, with geometry GeoParquet", "application/vnd.apache.parquet", ".parquet"),
        Format("geoparquet", "GeoParquet 1.1", "application/vnd.apache.parquet", ".parquet", features=True),
        Format("csv", "CSV (RFC 4180), geometry as WKT", "text/csv; charset=utf-8", ".csv"),
        Format("geojson", "GeoJSON (RFC 7946)", "application/geo+json", ".geojson", features=True),
        Format("gpkg", "GeoPackage", "application/geopackage+sqlite3", ".gpkg", streams=False),
        Format("flatgeobuf", "FlatGeobuf", "application/flatgeobuf", ".fgb", features=True, streams=False),
        Format("arrow", "Arrow IPC stream", "application/vnd.apache.arrow.stream", ".arrows"),
    )
}


@dataclass(frozen=True)
class Crs:
    """A coordinate reference system of a request: its `text`, and whether coordinates are given y first.

    A URI or URN means the axis order that its authority defines (OGC API - Features, part 2); the short form
    (`EPSG:4326`) means x first, as in GeoParquet and GeoJSON.
    """

    text: str
    known: pyproj.CRS
    y_first: bool


@dataclass(frozen=True)
class SubsetRequest:
    """The inputs of a subset. `area`: polygons in `area_crs`, x first; its box if `is_box`. None: no restriction."""

    dataset: str
    vintage: str | None = None
    version: str = "latest"
    area: BaseGeometry | None = None
    area_crs: Crs | None = None
    is_box: bool = False
    filter: str | dict[str, Any] | None = None
    columns: tuple[str, ...] | None = None
    crs: Crs | None = None
    format: Format = FORMATS["parquet"]

    def canonical(self) -> dict[str, Any]:
        """Return the inputs in one form: the same for requests that mean the same in other words or order."""
        area = None
        if self.area is not None and self.area_crs is not None:
            area = {"wkb": shapely.to_wkb(self.area, hex=True, byte_order=1), "crs": _crs_name(self.area_crs)}
            if self.is_box:
                area = {"boxes": [list(part.bounds) for part in shapely.get_parts(self.area)], "crs": area["crs"]}
        stated = {
            "dataset": self.dataset,
            "vintage": self.vintage,
            "version": self.version,
            "area": area,
            "filter": self.filter,
            "columns": list(self.columns) if self.columns is not None else None,
            "crs": _crs_name(self.crs) if self.crs is not None else None,
            "format": self.format.name,
        }
        return {name: value for name, value in stated.items() if value is not None}

    def identity(self, release: str, sha256: str) -> str:
        """Return the name of the result: equal for equal requests of the same release and bytes."""
        asked = self.canonical() | {"vintage": None, "version": None}
        text = orjson.dumps([asked, release, sha256], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(text).hexdigest()


def read_request(inputs: Any) -> SubsetRequest:
    """Read the `inputs` of an execution. Raises ProblemError (400, 413) for anything that is not one of its forms."""
    if not isinstance(inputs, dict):
        raise _bad("The inputs are no JSON object", 'Send {"inputs": {"dataset": "..."}}')
    if unknown := sorted(str(name)[:_MOST_NAME] for name in inputs if name not in _KNOWN):
        raise _bad(f"Unknown input {', '.join(unknown[:5])}", f"Use {', '.join(_KNOWN)}")
    area, area_crs, is_box = _area(inputs)
    version = _name(inputs, "version") or "latest"
    return SubsetRequest(
        dataset=_name(inputs, "dataset") or _missing(),
        vintage=_name(inputs, "vintage"),
        version=version.removeprefix("v"),
        area=area,
        area_crs=area_crs,
        is_box=is_box,
        filter=_filter(inputs),
        columns=_columns(inputs),
        crs=None if inputs.get("crs") is None else read_crs(inputs["crs"], "crs"),
        format=_format(inputs),
    )


def read_crs(text: Any, what: str) -> Crs:
    """Return the CRS that `text` names, such as `EPSG:3347` or the URI of OGC. Raises ProblemError for other texts."""
    remedy = f"Write {what} as EPSG:3347, or as http://www.opengis.net/def/crs/EPSG/0/3347"
    if not isinstance(text, str) or len(text) > _MOST_NAME:
        raise _bad(f"{what} is no name of a coordinate reference system", remedy)
    uri = _URI.fullmatch(text.strip())
    found = uri or _CODE.fullmatch(text.strip())
    if found is None:
        raise _bad(f"{what} is '{text}', which is no name of a coordinate reference system", remedy)
    authority, code = found.group(1).upper(), found.group(2)
    try:
        known = pyproj.CRS.from_authority(authority, code)
    except pyproj.exceptions.CRSError as error:
        raise _bad(f"{what} is '{text}', which is not known", remedy) from error
    if not (known.is_geographic or known.is_projected) or len(known.axis_info) != 2:
        raise _bad(f"{what} is '{text}' ({known.type_name}), not a two-dimensional CRS of maps", remedy)
    # North, or east along another meridian, first: the axis that PROJ swaps for "x first".
    y_first = uri is not None and known.axis_info[0].direction.lower() in ("north", "south")
    return Crs(f"{authority}:{code}", known, y_first)


def _area(inputs: Mapping[str, Any]) -> tuple[BaseGeometry | None, Crs | None, bool]:
    box, geometry = inputs.get("bbox"), inputs.get("geometry")
    if box is not None and geometry is not None:
        raise _bad("Both bbox and geometry are given", "Send one of them")
    if box is None and geometry is None:
        if inputs.get("bbox-crs") is not None:
            raise _bad("bbox-crs is given without bbox or geometry", "Send bbox too, or remove bbox-crs")
        return None, None, False
    stated = inputs.get("bbox-crs")
    if isinstance(box, dict):
        stated, box = box.get("crs", stated), box.get("bbox")
    crs = read_crs(_CRS84 if stated is None else stated, "bbox-crs")
    if geometry is not None:
        return _polygons(geometry, crs), crs, False
    return _boxes(box, crs), crs, True


def _boxes(box: Any, crs: Crs) -> BaseGeometry:
    remedy = "Send four numbers: west, south, east, north, such as [-80, 43, -79, 44]"
    if isinstance(box, str):
        box = box.split(",")[:7]
        try:
            box = [decimal_number(number) for number in box]
        except ValueError as error:
            raise _bad("bbox is not a list of numbers", remedy) from error
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(number) for number in box):
        raise _bad("bbox is not a list of four finite numbers", remedy)
    west, south, east, north = (float(number) for number in box)
    if crs.y_first:
        west, south, east, north = south, west, north, east
    if south > north:
        raise _bad(f"The south of bbox ({south:g}) is greater than its north ({north:g})", remedy)
    if crs.known.is_geographic:
        _require_degrees(west, south, east, north, "bbox")
        if west > east:  # across 180 degrees
            return shapely.multipolygons([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])
    elif west > east:
        raise _bad(f"The west of bbox ({west:g}) is greater than its east ({east:g})", remedy)
    return shapely.box(west, south, east, north)


def _polygons(document: Any, crs: Crs) -> BaseGeometry:
    remedy = "Send a GeoJSON geometry of type Polygon or MultiPolygon with longitude first"
    if isinstance(document, dict) and document.get("type") == "Feature":
        document = document.get("geometry")
    if not isinstance(document, dict) or document.get("type") not in ("Polygon", "MultiPolygon"):
        raise _bad("geometry is not a GeoJSON polygon", remedy)
    count = _vertices(document.get("coordinates"), 4)
    if count > MOST_VERTICES:
        raise _large(f"geometry has {count:,} vertices", f"Simplify it to at most {MOST_VERTICES:,}")
    try:
        shape = shapely.from_geojson(orjson.dumps({"type": document["type"], "coordinates": document["coordinates"]}))
    except (shapely.errors.GEOSException, KeyError, TypeError) as error:
        raise _bad("The coordinates of geometry are not those of a polygon", remedy) from error
    shape = shapely.force_2d(shape)
    if crs.y_first:
        shape = shapely.transform(shape, lambda places: places[:, ::-1])
    if shape.is_empty or not all(map(math.isfinite, shape.bounds)):
        raise _bad("geometry is empty or has coordinates that are not finite", remedy)
    if crs.known.is_geographic:
        _require_degrees(*shape.bounds, "geometry")
    if not shape.is_valid:
        raise _bad(f"geometry is invalid: {shapely.is_valid_reason(shape)}", "Repair it: rings may not cross")
    return shape


def _vertices(coordinates: Any, depth: int) -> int:
    """Return the number of places in nested lists. Raises ProblemError for anything else."""
    if not isinstance(coordinates, list) or not depth:
        raise _bad("The coordinates of geometry are not nested lists of numbers", "Send a GeoJSON geometry")
    if coordinates and all(_is_number(number) for number in coordinates):
        return 1
    return sum(_vertices(each, depth - 1) for each in coordinates)


def _require_degrees(west: float, south: float, east: float, north: float, what: str) -> None:
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise _bad(
            f"{what} leaves the range of degrees",
            "Longitudes are -180 to 180, latitudes -90 to 90; an area across 180 degrees has a west above its east",
        )


def _filter(inputs: Mapping[str, Any]) -> str | dict[str, Any] | None:
    text, language = inputs.get("filter"), inputs.get("filter-lang")
    if language not in (None, "cql2-text", "cql2-json"):
        raise _bad("filter-lang is not known", "Use cql2-text or cql2-json")
    if text is None:
        return None
    kind = dict if language == "cql2-json" else str if language == "cql2-text" else (str, dict)
    if not isinstance(text, kind):
        raise _bad("filter is neither CQL2 text nor a JSON object of CQL2", "Send filter as filter-lang says")
    try:
        length = len(text) if isinstance(text, str) else len(orjson.dumps(text))
    except orjson.JSONEncodeError as error:  # nested more than 254 deep
        raise _bad(f"filter can't be read: {error}", "Nest it less") from error
    if length > MOST_FILTER:
        raise _large(f"filter has {length:,} characters", f"Shorten it to at most {MOST_FILTER:,}")
    return text


def _columns(inputs: Mapping[str, Any]) -> tuple[str, ...] | None:
    columns = inputs.get("columns")
    if columns is None:
        return None
    if isinstance(columns, str):
        columns = columns.split(",")
    if not isinstance(columns, list) or not columns or not all(isinstance(name, str) and name for name in columns):
        raise _bad("columns is not a list of names", 'Send the names of columns, such as ["id", "name"]')
    if len(columns) > MOST_COLUMNS:
        raise _large(f"columns has {len(columns):,} names", "Leave columns out to get all of them")
    if twice := next((name for name in columns if columns.count(name) > 1), None) if len(columns) < 1_000 else None:
        raise _bad(f"columns has {twice[:_MOST_NAME]} twice", "Name each column once")
    return tuple(columns)


def _format(inputs: Mapping[str, Any]) -> Format:
    name = inputs.get("format", "parquet")
    found = FORMATS.get(name) if isinstance(name, str) else None
    if found is None:
        raise _bad(f"format is '{str(name)[:_MOST_NAME]}'", f"Use one of {', '.join(FORMATS)}")
    return found


def _name(inputs: Mapping[str, Any], field: str) -> str | None:
    value = inputs.get(field)
    if value is None:
        return None
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or (_NAME.fullmatch(text) is None and not (field == "version" and "*" in text[:20])):
        raise _bad(f"{field} is no name", f"Send {field} as in the catalogue, such as places, 2021 or 1.0.0")
    return text


def _missing() -> str:
    raise _bad("The input dataset is missing", 'Send {"inputs": {"dataset": "..."}}; /search lists datasets')


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _crs_name(crs: Crs) -> str:
    # OGC:CRS84 and EPSG:4326 are one, x first.
    return "EPSG:4326" if crs.text == _CRS84 else crs.text


def _bad(detail: str, remedy: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, detail, remedy)


def _large(detail: str, remedy: str) -> ProblemError:
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, remedy)
