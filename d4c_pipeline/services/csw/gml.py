"""Geometries of filters: GML 2, 3.1 and 3.2 as trees of CQL2, in longitude and latitude.

The axes are those of `srsName`: latitude comes first by default and in URNs of EPSG:4326, longitude in CRS84 and the
older `EPSG:4326`. A default box whose latitudes can't be such, but whose longitudes could, has longitude first: many
clients write it so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from d4c_pipeline.services.csw.errors import invalid
from d4c_pipeline.services.csw.reading import children, local

_SEPARATOR = re.compile(r"[,\s]+")
_LATITUDE_FIRST = re.compile(r"urn:(?:x-)?ogc:def:crs:EPSG:[\d.]*:4326|https?://www\.opengis\.net/def/crs/EPSG/0/4326")
_LONGITUDE_FIRST = re.compile(
    r"EPSG:4326|urn:(?:x-)?ogc:def:crs:OGC:[\d.]*:CRS84|(?:OGC:)?CRS84"
    r"|https?://www\.opengis\.net/def/crs/OGC/(?:1\.3|0)/CRS84|https?://www\.opengis\.net/gml/srs/epsg\.xml#4326",
    re.IGNORECASE,
)
_MOST = 10_000
"""Vertices of a geometry."""


def geometry_of(element: etree._Element) -> dict[str, Any]:
    """Return a geometry as a box or GeoJSON. Raises CswError for others and other reference systems."""
    latitude_first = _latitude_first(_system(element))
    kind = local(element)
    if kind in ("Envelope", "Box"):
        numbers = [number for part in children(element) for number in _numbers(part.text or "")]
        if len(numbers) != 4:
            raise invalid("constraint", f"An {kind} has {len(numbers)} numbers: give two corners of two numbers")
        return {"bbox": _box(numbers, latitude_first)}
    if kind == "Point":
        points = _points(element, latitude_first is not False)
        return {"type": "Point", "coordinates": points[0]} if len(points) == 1 else _wrong(kind)
    if kind == "LineString":
        return {"type": kind, "coordinates": _points(element, latitude_first is not False)}
    if kind == "Polygon":
        rings = [_points(ring, latitude_first is not False) for ring in element.iter("{*}LinearRing")]
        return {"type": kind, "coordinates": rings} if rings else _wrong(kind)
    raise invalid("constraint", f"'{kind[:60]}' is not a geometry here: use Envelope, Point, LineString or Polygon")


def box_of(text: str) -> dict[str, Any]:
    """Return the box of a parameter: four numbers and perhaps a reference system. Longitude first without one."""
    parts = [part.strip() for part in text.split(",")]
    system = ",".join(parts[4:])
    numbers = _numbers(" ".join(parts[:4]), "bbox")
    if len(numbers) != 4:
        raise invalid("bbox", f"'{text[:80]}' is not a box: write west,south,east,north")
    first = _latitude_first(system or "CRS84", "bbox")
    return {"bbox": _box(numbers, first)}


def _box(numbers: list[float], latitude_first: bool | None) -> list[float]:
    if latitude_first is None:
        fits = all(abs(numbers[place]) <= 90 for place in (0, 2))
        latitude_first = fits or not all(abs(numbers[place]) <= 90 for place in (1, 3))
    first, second, third, fourth = numbers
    return [second, first, fourth, third] if latitude_first else numbers


def _points(element: etree._Element, latitude_first: bool) -> list[list[float]]:
    numbers = list(_coordinates(element))
    if len(numbers) % 2 or not numbers:
        raise invalid("constraint", f"A geometry has {len(numbers)} numbers, and each point has two")
    if len(numbers) > 2 * _MOST:
        raise invalid("constraint", f"A geometry has more than {_MOST:,} vertices: simplify it")
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return [[y, x] if latitude_first else [x, y] for x, y in pairs]


def _coordinates(element: etree._Element) -> Iterator[float]:
    for part in element.iter("{*}pos", "{*}posList", "{*}coordinates", "{*}lowerCorner"):
        yield from _numbers(part.text or "")


def _numbers(text: str, locator: str = "constraint") -> list[float]:
    try:
        found = [float(part) for part in _SEPARATOR.split(text.strip()) if part]
    except ValueError as error:
        raise invalid(locator, f"'{text[:80]}' are not numbers") from error
    if not all(map(math.isfinite, found)):
        raise invalid(locator, f"'{text[:80]}' are not finite numbers")
    return found


def _system(element: etree._Element) -> str:
    return next((str(each.get("srsName")) for each in element.iter() if each.get("srsName")), "")


def _latitude_first(system: str, locator: str = "constraint") -> bool | None:
    """Return the order of axes, None where no system is stated."""
    if not system:
        return None
    if _LATITUDE_FIRST.fullmatch(system):
        return True
    if _LONGITUDE_FIRST.fullmatch(system):
        return False
    raise invalid(locator, f"'{system[:80]}' is not a reference system here: use urn:ogc:def:crs:EPSG::4326 or CRS84")


def _wrong(kind: str) -> Any:
    raise invalid("constraint", f"A {kind} has no coordinates or too many")
