"""One Parquet file out of many that hold one row group each, so that row groups can be encoded side by side; and
several files out of one, each of some of its row groups.

The pages are copied as they are; only the positions in footers and offset indexes are shifted. The metadata are read
and written in Thrift's compact protocol, all fields kept, known or not. What is in the row groups belongs to `write`.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift,
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

_MAGIC = b"PAR1"
_BOOLEANS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = (1, 2), 7, 8, (9, 10), 11, 12

# Field numbers of parquet.thrift.
_FILE_ROWS, _FILE_GROUPS = 3, 4
_GROUP_CHUNKS, _GROUP_ROWS, _GROUP_OFFSET, _GROUP_ORDINAL = 1, 3, 5, 7
_CHUNK_FILE_OFFSET, _CHUNK_META, _CHUNK_OFFSET_INDEX, _CHUNK_COLUMN_INDEX = 2, 3, 4, 6
_META_PAGES = (9, 10, 11)  # the first data, index and dictionary page
_INDEX_LOCATIONS, _LOCATION_OFFSET = 1, 1
_LAST_ORDINAL = (1 << 15) - 1


@dataclass
class _Struct:
    # Field number -> (type, value), in the order of the file; values are numbers, bytes, lists or structs.
    fields: dict[int, tuple[int, Any]]

    def get(self, field: int) -> Any:
        return self.fields[field][1] if field in self.fields else None

    def put(self, field: int, value: Any) -> None:
        self.fields[field] = (self.fields[field][0], value)

    def shift(self, field: int, distance: int) -> None:
        if self.get(field):
            self.put(field, self.get(field) + distance)


def stitch(out: BinaryIO, template: bytes, parts: Iterable[memoryview]) -> int:
    """Write to `out` the row groups of `parts`, Parquet files of one row group each; return the number of rows.

    `template` is a Parquet file without rows: the schema, key-value metadata and `created_by` are its. The result has
    the page indexes of the parts behind all data, as Arrow itself would put them. Raises OSError when the disk does.
    """
    stitched = _Stitched(out)
    for part in parts:
        part = part.cast("B")  # noqa: PLW2901 - Arrow's buffers count in signed bytes
        meta, end = _footer(part)
        for group in meta.get(_FILE_GROUPS)[1]:
            stitched.add(part, group, len(_MAGIC), min([*_index_starts(group), end]))
    return stitched.finish(template)


def excerpt(out: BinaryIO, template: bytes, whole: memoryview, groups: range) -> int:
    """Write to `out` the row groups number `groups` of the Parquet file `whole`; return the number of rows.

    `template`, the result and the errors are as those of `stitch`.
    """
    stitched = _Stitched(out)
    meta, end = _footer(whole)
    every: list[_Struct] = meta.get(_FILE_GROUPS)[1]
    # Data of all groups come first, one after the other, then the indexes.
    data_end = min([start for group in every for start in _index_starts(group)] + [end])
    starts = [*map(_data_start, every), data_end]
    for number in groups:
        stitched.add(whole, every[number], starts[number], starts[number + 1])
    return stitched.finish(template)


class _Stitched:
    """A Parquet file that grows by row groups of other files."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._groups: list[_Struct] = []
        self._indexes: list[list[tuple[bytes, _Struct | None]]] = []
        self._rows = 0
        out.write(_MAGIC)
        self._position = len(_MAGIC)

    def add(self, part: memoryview, group: _Struct, start: int, end: int) -> None:
        """Append `group`, the data of which lie from `start` to `end` of the file `part`."""
        chunks: list[_Struct] = group.get(_GROUP_CHUNKS)[1]
        shift = self._position - start
        self._indexes.append([_indexes(part, chunk, shift) for chunk in chunks])
        _shift(group, chunks, shift)
        group.fields.pop(_GROUP_ORDINAL, None)
        if len(self._groups) <= _LAST_ORDINAL:
            group.fields[_GROUP_ORDINAL] = (4, len(self._groups))
        self._out.write(part[start:end])
        self._position += end - start
        self._groups.append(group)
        self._rows += group.get(_GROUP_ROWS)

    def finish(self, template: bytes) -> int:
        """Write the indexes and the footer, the rest of which is that of `template`; return the number of rows."""
        for which, field in ((0, _CHUNK_COLUMN_INDEX), (1, _CHUNK_OFFSET_INDEX)):
            for group, group_indexes in zip(self._groups, self._indexes, strict=True):
                for chunk, pair in zip(group.get(_GROUP_CHUNKS)[1], group_indexes, strict=True):
                    index = pair[which]
                    if not index:
                        continue
                    raw = index if isinstance(index, bytes) else _encoded(index)
                    chunk.put(field, self._position)
                    chunk.put(field + 1, len(raw))
                    self._out.write(raw)
                    self._position += len(raw)
        footer = _footer(memoryview(template))[0]
        footer.put(_FILE_ROWS, self._rows)
        footer.put(_FILE_GROUPS, (_STRUCT, self._groups))
        raw = _encoded(footer)
        self._out.write(raw + struct.pack("<I", len(raw)) + _MAGIC)
        return self._rows


def _index_starts(group: _Struct) -> list[int]:
    chunks: list[_Struct] = group.get(_GROUP_CHUNKS)[1]
    starts = [chunk.get(field) for chunk in chunks for field in (_CHUNK_OFFSET_INDEX, _CHUNK_COLUMN_INDEX)]
    return [start for start in starts if start]


def _data_start(group: _Struct) -> int:
    chunks: list[_Struct] = group.get(_GROUP_CHUNKS)[1]
    return min(page for chunk in chunks for field in _META_PAGES if (page := chunk.get(_CHUNK_META).get(field)))


def _footer(part: memoryview) -> tuple[_Struct, int]:
    (length,) = struct.unpack("<I", part[-8:-4])
    start = len(part) - 8 - length
    return _Reader(part, start).structure(), start


def _indexes(part: memoryview, chunk: _Struct, shift: int) -> tuple[bytes, _Struct | None]:
    # The column index has no positions in it and is kept as it is.
    at, length = chunk.get(_CHUNK_COLUMN_INDEX), chunk.get(_CHUNK_COLUMN_INDEX + 1)
    column_index = bytes(part[at : at + length]) if at else b""
    at = chunk.get(_CHUNK_OFFSET_INDEX)
    if not at:
        return column_index, None
    offset_index = _Reader(part, at).structure()
    for location in offset_index.get(_INDEX_LOCATIONS)[1]:
        location.shift(_LOCATION_OFFSET, shift)
    return column_index, offset_index


def _shift(group: _Struct, chunks: list[_Struct], distance: int) -> None:
    group.shift(_GROUP_OFFSET, distance)
    for chunk in chunks:
        chunk.shift(_CHUNK_FILE_OFFSET, distance)
        for field in _META_PAGES:
            chunk.get(_CHUNK_META).shift(field, distance)


class _Reader:
    def __init__(self, data: memoryview, position: int) -> None:
        self._data = data
        self._position = position

    def structure(self) -> _Struct:
        fields: dict[int, tuple[int, Any]] = {}
        number = 0
        while header := self._byte():
            kind, step = header & 0x0F, header >> 4
            number = number + step if step else self._signed()
            fields[number] = (kind, self._value(kind))
        return _Struct(fields)

    def _value(self, kind: int) -> Any:
        if kind in _BOOLEANS:
            return None  # the type says it
        if kind == _STRUCT:
            return self.structure()
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind in _LISTS:
            header = self._byte()
            size, element = header >> 4, header & 0x0F
            size = self._unsigned() if size == 15 else size
            # In lists a boolean is a byte of its own.
            read = self._byte if element in _BOOLEANS else lambda: self._value(element)
            return element, [read() for _ in range(size)]
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == 3:
            return self._byte()
        if kind == _MAP:
            raise ValueError("Parquet's metadata have no maps")
        return self._signed()

    def _byte(self) -> int:
        byte = self._data[self._position]
        self._position += 1
        return byte

    def _bytes(self, length: int) -> bytes:
        start = self._position
        self._position += length
        return bytes(self._data[start : self._position])

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)


def _encoded(structure: _Struct) -> bytes:
    out = bytearray()
    _write_struct(out, structure)
    return bytes(out)


def _write_struct(out: bytearray, structure: _Struct) -> None:
    last = 0
    for number in sorted(structure.fields):
        kind, value = structure.fields[number]
        step = number - last
        if 0 < step <= 15:
            out.append(step << 4 | kind)
        else:
            out.append(kind)
            _write_signed(out, number)
        _write_value(out, kind, value)
        last = number
    out.append(0)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in _BOOLEANS:
        return
    if kind == _STRUCT:
        _write_struct(out, value)
    elif kind == _BINARY:
        _write_unsigned(out, len(value))
        out += value
    elif kind in _LISTS:
        element, items = value
        if len(items) < 15:
            out.append(len(items) << 4 | element)
        else:
            out.append(0xF0 | element)
            _write_unsigned(out, len(items))
        for item in items:
            if element in _BOOLEANS:
                out.append(item)
            else:
                _write_value(out, element, item)
    elif kind == _DOUBLE:
        out += value
    elif kind == 3:
        out.append(value)
    else:
        _write_signed(out, value)


def _write_unsigned(out: bytearray, value: int) -> None:
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _write_signed(out: bytearray, value: int) -> None:
    _write_unsigned(out, value << 1 if value >= 0 else (-value << 1) - 1)
