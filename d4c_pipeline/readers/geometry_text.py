"""Conversion of geometry in text to WKB: from Well-Known Text, hexadecimal WKB as databases export it, and GeoJSON.

Types that GEOS does not support (curves, surfaces) keep their type: `geometry` converts them. `coordinates` determines
the column and its coordinate reference system.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

from d4c_pipeline.geometry.nesting import is_deep_text
from d4c_pipeline.model.limits import Limits, beyond

_SRID = re.compile(r"\s*SRID\s*=\s*(\d+)\s*;", re.IGNORECASE)
_HEX = re.compile(r"(?:\\x|0x)?((?:00|01)(?:[0-9a-f]{2}){4,})", re.IGNORECASE)
_TOKEN = re.compile(r"\s*(?:([A-Za-z]+)|([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|([(),]))")
_EWKB_SRID = 0x20000000
_CODES = {
    "POINT": 1, "LINESTRING": 2, "LINEARRING": 2, "POLYGON": 3, "MULTIPOINT": 4, "MULTILINESTRING": 5,
    "MULTIPOLYGON": 6, "GEOMETRYCOLLECTION": 7, "CIRCULARSTRING": 8, "COMPOUNDCURVE": 9, "CURVEPOLYGON": 10,
    "MULTICURVE": 11, "MULTISURFACE": 12, "POLYHEDRALSURFACE": 15, "TIN": 16, "TRIANGLE": 17,
}  # fmt: skip
# Type of a collection -> type of its parts that have no name.
_UNNAMED = {4: 1, 5: 2, 6: 3, 9: 2, 10: 2, 11: 2, 12: 3, 15: 3, 16: 17}
_LINES, _AREAS = (2, 8), (3, 17)
_AXES = {"Z": (1000, 3), "M": (2000, 3), "ZM": (3000, 4)}
_DEEPEST = 32


class GeometryTextError(ValueError):
    """A text that is not geometry, or geometry in another coordinate reference system, whose code is then `srid`."""

    def __init__(self, text: str, srid: int | None = None) -> None:
        super().__init__(text)
        self.srid = srid


def to_wkb(texts: Sequence[str | None], srid: str) -> Sequence[bytes | None]:
    """Return each text as WKB, little-endian unless the text is hexadecimal WKB; None for null and blank texts.

    `srid`: the EPSG code that a stated SRID must equal. Raises GeometryTextError for the first invalid text, DataError
    for geometry that is nested too deep.
    """
    bare = [_without_srid(text, srid) for text in texts]
    depth = Limits.from_environment().depth
    if any(text is not None and is_deep_text(text, depth) for text in bare):
        raise beyond("The column of geometry", f"has a geometry that is nested more than {depth} deep", "depth")
    # GEOS fails on curves with a floating point flag set, of which numpy would warn.
    with np.errstate(invalid="ignore"):
        try:
            return _made(shapely.from_wkt(bare))
        except (shapely.errors.ShapelyError, NotImplementedError):
            return [None if text is None else _wkb(text, srid) for text in bare]


def srid_of(wkb: bytes) -> int | None:
    """Return the SRID that EWKB states, None if it states none or 0."""
    if len(wkb) < 9:
        return None
    code, srid = struct.unpack_from("<II" if wkb[0] == 1 else ">II", wkb, 1)
    return srid or None if code & _EWKB_SRID else None


def _made(shapes: Any) -> Any:
    return shapely.to_wkb(shapes, byte_order=1, output_dimension=4, flavor="iso")


def _without_srid(text: str | None, srid: str) -> str | None:
    if text is None or not text.strip():
        return None
    found = _SRID.match(text)
    if found is None:
        return text
    _same(text, int(found[1]), srid)
    return text[found.end() :]


def _wkb(text: str, srid: str) -> bytes:
    if (digits := _HEX.fullmatch(text.strip())) is not None:
        wkb = bytes.fromhex(digits[1])
        if (stated := srid_of(wkb)) is not None:
            _same(text, stated, srid)
        return wkb
    try:
        if text.lstrip().startswith("{"):
            return _made(shapely.from_geojson(text))
        return _made(shapely.from_wkt(text))
    except NotImplementedError:
        return _Text(text).wkb()
    except shapely.errors.ShapelyError as error:
        try:
            return _Text(text).wkb()
        except GeometryTextError:
            raise GeometryTextError(text) from error


def _same(text: str, stated: int, srid: str) -> None:
    # 0 means unknown.
    if stated and str(stated) != srid:
        raise GeometryTextError(text, stated)


class _Text:
    """Parser of Well-Known Text, with the types that GEOS does not read, into ISO WKB."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._tokens = text, 0, list[str]()
        end = len(text.rstrip())
        at = 0
        while at < end:
            found = _TOKEN.match(text, at)
            if found is None:
                raise GeometryTextError(text)
            self._tokens.append(found[0].strip())
            at = found.end()

    def wkb(self) -> bytes:
        """Return the geometry as ISO WKB. Raises GeometryTextError for text that is not geometry."""
        made = self._geometry(None, 0)
        if self._at != len(self._tokens):
            raise GeometryTextError(self._text)
        return made

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise GeometryTextError(self._text)
        self._at += 1
        return self._tokens[self._at - 1]

    def _peek(self) -> str:
        return self._tokens[self._at].upper() if self._at < len(self._tokens) else ""

    def _geometry(self, unnamed: tuple[int, int, int] | None, depth: int) -> bytes:
        # `unnamed`: for a part without a name, its type, the code of its dimensions, and the numbers of a coordinate.
        if depth > _DEEPEST:
            raise GeometryTextError(self._text)
        if self._peek() in ("(", "EMPTY"):
            if unnamed is None:
                raise GeometryTextError(self._text)
            kind, added, axes = unnamed
        else:
            word = self._next().upper()
            suffix = next((s for s in ("ZM", "Z", "M") if word.endswith(s) and word.removesuffix(s) in _CODES), "")
            kind = _CODES.get(word.removesuffix(suffix) if suffix else word, 0)
            if not kind:
                raise GeometryTextError(self._text)
            if self._peek() in _AXES:
                suffix = self._next().upper()
            added, axes = _AXES.get(suffix, unnamed[1:] if unnamed else (0, 2))
        if self._peek() == "EMPTY":
            self._next()
            numbers = struct.pack(f"<{axes}d", *[float("nan")] * axes) if kind == 1 else struct.pack("<I", 0)
            return struct.pack("<BI", 1, kind + added) + numbers
        if kind == 1:
            body = self._coordinates(axes)[4:]
        elif kind in _LINES:
            body = self._coordinates(axes)
        elif kind in _AREAS:
            body = self._list(lambda: self._coordinates(axes))
        else:
            part = (_UNNAMED.get(kind, 0), added, axes)
            body = self._list(lambda: self._geometry(part if part[0] else None, depth + 1))
        return struct.pack("<BI", 1, kind + added) + body

    def _list(self, read: Any) -> bytes:
        if self._next() != "(":
            raise GeometryTextError(self._text)
        parts = [read()]
        while (mark := self._next()) == ",":
            parts.append(read())
        if mark != ")":
            raise GeometryTextError(self._text)
        return struct.pack("<I", len(parts)) + b"".join(parts)

    def _coordinates(self, axes: int) -> bytes:
        return self._list(lambda: self._coordinate(axes))

    def _coordinate(self, axes: int) -> bytes:
        try:
            return struct.pack(f"<{axes}d", *(float(self._next()) for _ in range(axes)))
        except ValueError as error:
            raise GeometryTextError(self._text) from error
