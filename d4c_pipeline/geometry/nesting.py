"""Finds deeply nested geometry before GEOS reads it: GEOS recurses, and a full stack ends the process.

Only geometry of a nestable type and sufficient length is parsed; the rest costs a comparison of numbers. Reading the
geometry belongs to `cleaning` and to `readers`.
"""

from __future__ import annotations

import re
import struct

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# A collection takes at least 9 bytes: byte order, type, number of parts.
_LEAST = 9
# On a stack of 8 MiB, GEOS 3.13 fails at 10,000 nested multipolygons and at 20,000 nested collections. Valid multi
# geometries are not nested, so they are parsed only if their bytes allow half of that.
_UNMIXED_BYTES = 5_000 * _LEAST
_SRID = 0x20000000
_LITTLE, _BIG = struct.Struct("<I"), struct.Struct(">I")
_LINES, _AREAS = frozenset({2, 8}), frozenset({3, 17})
_UNMIXED, _MIXED = frozenset({4, 5, 6}), frozenset({7, 9, 10, 11, 12, 13, 14, 15, 16})
_OPENS = re.compile(r"[()\[\]{}]|\"(?:[^\"\\]|\\.)*\"")
_LETTERS_A_LEVEL = 2
# Types of text whose parts have their own type names, or JSON.
_NESTS = re.compile(r"\s*(?:SRID\s*=\s*\d+\s*;)?\s*(?:GEOMETRYCOLL|COMPOUND|CURVEP|MULTIC|MULTIS|\{)", re.IGNORECASE)


def deep_rows(chunk: pa.Array, depth: int) -> npt.NDArray[np.int64]:
    """Return the positions of the WKB in `chunk` that is nested more than `depth` deep."""
    if not (pa.types.is_binary(chunk.type) or pa.types.is_large_binary(chunk.type)) or not len(chunk):
        return np.empty(0, np.int64)
    offset_type = np.int32 if pa.types.is_binary(chunk.type) else np.int64
    _, offset_buffer, data = chunk.buffers()
    if data is None:
        return np.empty(0, np.int64)
    offsets = np.frombuffer(offset_buffer, offset_type)[chunk.offset : chunk.offset + len(chunk) + 1]
    rows = np.flatnonzero(np.diff(offsets) > _LEAST * depth)
    if not len(rows):
        return rows
    content = np.frombuffer(data, np.uint8)
    starts = offsets[rows].astype(np.int64)
    # The type code; modulo 1000 it is the type without dimensions, 7 for 1007, 2007, 3007 (ISO 13249-3).
    heads = content[starts[:, None] + np.arange(1, 5)].astype(np.uint32)
    little = content[starts] == 1
    codes = np.where(
        little,
        heads[:, 0] | heads[:, 1] << 8 | heads[:, 2] << 16 | heads[:, 3] << 24,
        heads[:, 3] | heads[:, 2] << 8 | heads[:, 1] << 16 | heads[:, 0] << 24,
    )
    kinds = (codes & 0x0FFFFFFF) % 1000
    lengths = offsets[rows + 1].astype(np.int64) - starts
    suspects = np.isin(kinds, list(_MIXED)) | (np.isin(kinds, list(_UNMIXED)) & (lengths > _UNMIXED_BYTES))
    view = memoryview(data)
    deep = [
        row
        for row, start, length in zip(rows[suspects], starts[suspects], lengths[suspects], strict=True)
        if is_deep(view[int(start) : int(start + length)], depth)
    ]
    return np.asarray(deep, np.int64)


def is_deep(wkb: bytes | memoryview, depth: int) -> bool:
    """Whether `wkb` (ISO or EWKB) is nested more than `depth` deep; broken WKB counts up to its fault."""
    at, left = 0, [1]  # remaining parts of each open geometry
    numbers, kinds = (_BIG.unpack_from, _LITTLE.unpack_from), _KINDS
    try:
        while left:
            if not left[-1]:
                left.pop()
                continue
            left[-1] -= 1
            number = numbers[wkb[at] == 1]
            (code,) = number(wkb, at + 1)
            kind, size = kinds.get(code) or _kind(code)
            at += 9 if code & _SRID else 5
            if kind == 1:
                at += size
                continue
            (count,) = number(wkb, at)
            at += 4
            if kind in _LINES:
                at += count * size
            elif kind in _AREAS:
                for _ in range(count):
                    (points,) = number(wkb, at)
                    at += 4 + points * size
            elif kind in _UNMIXED or kind in _MIXED:
                left.append(count)
                if len(left) - 1 > depth:
                    return True
            else:
                return False
    except (struct.error, IndexError):
        return False
    return False


def _kind(code: int) -> tuple[int, int]:
    # The type without dimensions and the bytes of a coordinate (ISO 13249-3, flags of PostGIS's EWKB).
    plain = code & 0x0FFFFFFF
    thousands = plain // 1000
    heights, measures = bool(code & 0x80000000) or thousands in (1, 3), bool(code & 0x40000000) or thousands > 1
    return plain % 1000, 8 * (2 + heights + measures)


_KINDS = {kind: _kind(kind) for kind in (1, 2, 3, 1001, 1002, 1003)}


def is_deep_text(text: str, depth: int) -> bool:
    """Whether Well-Known Text or GeoJSON is nested more than `depth` deep."""
    if len(text) <= _LETTERS_A_LEVEL * depth or _NESTS.match(text) is None:
        return False
    now = 0
    for found in _OPENS.finditer(text):
        mark = found[0]
        now += 1 if mark in "([{" else -1 if mark in ")]}" else 0
        # The innermost geometry has up to three more brackets; each level of GeoJSON has two.
        if now > 2 * depth + 4:
            return True
    return False
