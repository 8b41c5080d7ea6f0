"""Joins Parquet files of one row group each into one file, and copies row groups of a file into several files.

This lets threads encode row groups in parallel. Pages are copied unchanged; only the positions in footers and offset
indexes shift. The metadata are read and written in Thrift's compact protocol, with unknown fields preserved. Encoding
row groups belongs to `encode`.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift,
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

from d4c_pipeline.files import magic

_INTEGERS = (4, 5, 6)
_BOOLEANS, _BYTE, _DOUBLE, _BINARY, _LISTS, _STRUCT = (1, 2), 3, 7, 8, (9, 10), 12
_MORE = 0x80

# Field numbers of parquet.thrift.
_FILE_ROWS, _FILE_GROUPS = 3, 4
_GROUP_CHUNKS, _GROUP_ROWS, _GROUP_OFFSET, _GROUP_ORDINAL = 1, 3, 5, 7
_CHUNK_FILE_OFFSET, _CHUNK_META, _CHUNK_OFFSET_INDEX, _CHUNK_COLUMN_INDEX = 2, 3, 4, 6
_META_PAGES = (9, 10, 11)  # the first data, index and dictionary page
_META_STATISTICS = (13, 16)  # of encodings and of sizes
_INDEX_LOCATIONS, _LOCATION_OFFSET = 1, 1
_LAST_ORDINAL = (1 << 15) - 1

# The fields of a structure to parse: structures and lists of structures. All other fields stay bytes.
_Parts = dict[int, "_Parts"]
_OF_FILE: _Parts = {_FILE_GROUPS: {_GROUP_CHUNKS: {_CHUNK_META: {}}}}
_OF_INDEX: _Parts = {_INDEX_LOCATIONS: {}}


@dataclass
class _Struct:
    # Field number -> (type, value): the bytes of a value, or the parsed structure or list of structures.
    fields: dict[int, tuple[int, Any]]

    def structs(self, field: int) -> list[_Struct]:
        return self.fields[field][1]

    def struct(self, field: int) -> _Struct:
        return self.fields[field][1]

    def number(self, field: int) -> int:
        """Return a number, 0 if the field is missing."""
        return _signed(self.fields[field][1], 0)[0] if field in self.fields else 0

    def put(self, field: int, value: int) -> None:
        self.fields[field] = (self.fields[field][0], _signed_bytes(value))

    def shift(self, field: int, distance: int) -> None:
        if at := self.number(field):
            self.put(field, at + distance)


def stitch(out: BinaryIO, template: bytes, parts: Iterable[memoryview]) -> int:
    """Write to `out` the row groups of `parts`, Parquet files of one row group each; return the number of rows.

    `template`: a file without rows, the source of schema, key-value metadata and `created_by`. The page indexes
    of the parts follow all data, as Arrow writes them. Raises OSError when a write fails.
    """
    stitched = Stitched(out)
    for part in parts:
        stitched.add_file(part)
    return stitched.finish(template)


def excerpt(out: BinaryIO, template: bytes, source: memoryview, groups: range) -> int:
    """Write to `out` the row groups `groups` of the Parquet file `source`; return the number of rows.

    `template`, the result and the errors are those of `stitch`.
    """
    stitched = Stitched(out)
    stitched.add_file(source, groups)
    return stitched.finish(template)


class Stitched:
    """A Parquet file that grows by row groups of other files.

    `lean`: without the statistics of encodings and sizes, which few readers use and which are a third of a long footer.
    """

    def __init__(self, out: BinaryIO, *, lean: bool = False) -> None:
        self._out, self._lean = out, lean
        self._groups: list[_Struct] = []
        self._indexes: list[list[tuple[bytes, _Struct | None]]] = []
        self._rows = 0
        self.tail = b""  # indexes and footer, once they are written
        out.write(magic.PARQUET)
        self._position = len(magic.PARQUET)

    def add_file(self, whole: memoryview, groups: range | None = None) -> None:
        """Append the row groups number `groups` of the Parquet file `whole`, all by default."""
        whole = whole.cast("B")  # Arrow's buffers count in signed bytes
        self.add_groups(Footer(whole), groups)

    def add_groups(self, source: Footer, groups: range | None = None) -> None:
        """Append row groups of a file the footer of which was read; each of them once."""
        for number in range(len(source.groups)) if groups is None else groups:
            self.add(source.whole, source.groups[number], source.starts[number], source.starts[number + 1])

    def add(self, part: memoryview, group: _Struct, start: int, end: int) -> None:
        """Append `group`, whose data is at `start` to `end` of the file `part`."""
        chunks = group.structs(_GROUP_CHUNKS)
        shift = self._position - start
        self._indexes.append([_indexes(part, chunk, shift) for chunk in chunks])
        _shift(group, chunks, shift)
        if self._lean:
            for chunk in chunks:
                for field in _META_STATISTICS:
                    chunk.struct(_CHUNK_META).fields.pop(field, None)
        group.fields.pop(_GROUP_ORDINAL, None)
        if len(self._groups) <= _LAST_ORDINAL:
            group.fields[_GROUP_ORDINAL] = (4, _signed_bytes(len(self._groups)))
        self._out.write(part[start:end])
        self._position += end - start
        self._groups.append(group)
        self._rows += group.number(_GROUP_ROWS)

    def finish(self, template: bytes) -> int:
        """Write the indexes and the footer, completed from `template`; return the number of rows."""
        tail = bytearray()
        for which, field in ((0, _CHUNK_COLUMN_INDEX), (1, _CHUNK_OFFSET_INDEX)):
            for group, group_indexes in zip(self._groups, self._indexes, strict=True):
                for chunk, pair in zip(group.structs(_GROUP_CHUNKS), group_indexes, strict=True):
                    index = pair[which]
                    if not index:
                        continue
                    raw = index if isinstance(index, bytes) else _encoded(index)
                    chunk.put(field, self._position)
                    chunk.put(field + 1, len(raw))
                    tail += raw
                    self._position += len(raw)
        footer = _footer(memoryview(template))[0]
        footer.put(_FILE_ROWS, self._rows)
        footer.fields[_FILE_GROUPS] = (footer.fields[_FILE_GROUPS][0], self._groups)
        raw = _encoded(footer)
        self.tail = bytes(tail + raw + struct.pack("<I", len(raw)) + magic.PARQUET)
        self._out.write(self.tail)
        return self._rows


class Footer:
    """The footer of the Parquet file `whole` (bytes), to copy row groups from."""

    def __init__(self, whole: memoryview) -> None:
        self.whole = whole
        meta, end = _footer(whole)
        self.groups = meta.structs(_FILE_GROUPS)
        # Data of all groups come first, one after the other, then the indexes.
        data_end = min([start for group in self.groups for start in _index_starts(group)] + [end])
        self.starts = [*map(_data_start, self.groups), data_end]


def _index_starts(group: _Struct) -> list[int]:
    chunks = group.structs(_GROUP_CHUNKS)
    starts = [chunk.number(field) for chunk in chunks for field in (_CHUNK_OFFSET_INDEX, _CHUNK_COLUMN_INDEX)]
    return [start for start in starts if start]


def _data_start(group: _Struct) -> int:
    metas = [chunk.struct(_CHUNK_META) for chunk in group.structs(_GROUP_CHUNKS)]
    return min(page for meta in metas for field in _META_PAGES if (page := meta.number(field)))


def _footer(part: memoryview) -> tuple[_Struct, int]:
    (length,) = struct.unpack("<I", part[-8:-4])
    start = len(part) - 8 - length
    return _structure(bytes(part[start:]), 0, _OF_FILE)[0], start


def _indexes(part: memoryview, chunk: _Struct, shift: int) -> tuple[bytes, _Struct | None]:
    # The column index has no positions and is copied unchanged.
    at, length = chunk.number(_CHUNK_COLUMN_INDEX), chunk.number(_CHUNK_COLUMN_INDEX + 1)
    column_index = bytes(part[at : at + length]) if at else b""
    at, length = chunk.number(_CHUNK_OFFSET_INDEX), chunk.number(_CHUNK_OFFSET_INDEX + 1)
    if not at:
        return column_index, None
    offset_index, _ = _structure(bytes(part[at : at + length]), 0, _OF_INDEX)
    for location in offset_index.structs(_INDEX_LOCATIONS):
        location.shift(_LOCATION_OFFSET, shift)
    return column_index, offset_index


def _shift(group: _Struct, chunks: list[_Struct], distance: int) -> None:
    group.shift(_GROUP_OFFSET, distance)
    for chunk in chunks:
        chunk.shift(_CHUNK_FILE_OFFSET, distance)
        for field in _META_PAGES:
            chunk.struct(_CHUNK_META).shift(field, distance)


def _structure(data: bytes, at: int, wanted: _Parts) -> tuple[_Struct, int]:
    """Return the structure at `at`, and its end."""
    fields: dict[int, tuple[int, Any]] = {}
    number = 0
    while header := data[at]:
        kind, step = header & 0x0F, header >> 4
        if step:
            number, at = number + step, at + 1
        else:
            number, at = _signed(data, at + 1)
        start, inner = at, wanted.get(number)
        if inner is None:
            at = _end(data, at, kind)
            fields[number] = kind, data[start:at]
        elif kind == _STRUCT:
            structure, at = _structure(data, at, inner)
            fields[number] = kind, structure
        else:
            _, count, at = _list(data, at)
            structures: list[_Struct] = []
            for _ in range(count):
                structure, at = _structure(data, at, inner)
                structures.append(structure)
            fields[number] = kind, structures
    return _Struct(fields), at + 1


def _end(data: bytes, at: int, kind: int) -> int:
    """Return the end of the value of type `kind` at `at`."""
    if kind in _INTEGERS:
        while data[at] & _MORE:
            at += 1
        return at + 1
    if kind == _BINARY:
        length, at = _unsigned(data, at)
        return at + length
    if kind == _STRUCT:
        while header := data[at]:
            at = _end(data, at + 1 if header >> 4 else _end(data, at + 1, _INTEGERS[0]), header & 0x0F)
        return at + 1
    if kind in _LISTS:
        element, count, at = _list(data, at)
        if element in _BOOLEANS:
            return at + count  # in a list each boolean is a byte; in a field the type is the value
        for _ in range(count):
            at = _end(data, at, element)
        return at
    if kind in _BOOLEANS:
        return at
    if kind == _BYTE:
        return at + 1
    if kind == _DOUBLE:
        return at + 8
    raise ValueError(f"Parquet's metadata has no values of type {kind}")


def _list(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the type and number of the elements of a list, and the position of the first."""
    header = data[at]
    count, at = (header >> 4, at + 1) if header >> 4 < 15 else _unsigned(data, at + 1)
    return header & 0x0F, count, at


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, at
        shift += 7


def _signed(data: bytes, at: int) -> tuple[int, int]:
    value, at = _unsigned(data, at)
    return (value >> 1) ^ -(value & 1), at


def _encoded(structure: _Struct) -> bytes:
    out = bytearray()
    _write_struct(out, structure)
    return bytes(out)


def _write_struct(out: bytearray, structure: _Struct) -> None:
    last = 0
    for number, (kind, value) in sorted(structure.fields.items()):
        step = number - last
        if 0 < step <= 15:
            out.append(step << 4 | kind)
        else:
            out.append(kind)
            out += _signed_bytes(number)
        if isinstance(value, bytes):
            out += value
        elif isinstance(value, _Struct):
            _write_struct(out, value)
        else:
            out += bytes([len(value) << 4 | _STRUCT]) if len(value) < 15 else b"\xfc" + _unsigned_bytes(len(value))
            for item in value:
                _write_struct(out, item)
        last = number
    out.append(0)


def _unsigned_bytes(value: int) -> bytes:
    out = bytearray()
    while value >= _MORE:
        out.append(value & 0x7F | _MORE)
        value >>= 7
    out.append(value)
    return bytes(out)


def _signed_bytes(value: int) -> bytes:
    return _unsigned_bytes(value << 1 if value >= 0 else (-value << 1) - 1)
