"""The rules of formats of one layer that need few corrections: FlatGeobuf and MapInfo."""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.readers.exact import Exact
from d4c_pipeline.readers.preparation import Layer, LayerRules, read_as_text, with_count
from d4c_pipeline.tables.gdal import pyogrio

_COLUMNS, _NAME, _TYPE = 7, 0, 1  # fields of a header and of a column
_ULONG = 8
_SAFE = 1 << 53


class SingleLayer(LayerRules):
    """The rules of MapInfo's interchange format, which GDAL reads exactly."""

    single_layer = True


class MapInfoTable(SingleLayer):
    """The rules of native MapInfo tables, whose header states the number of features."""

    def examine(self, layer: Layer) -> Exact:
        """Return the stated count."""
        return with_count(Exact(), layer.member.path)


class FlatGeobuf(SingleLayer):
    """The rules of FlatGeobuf: moments whose zones differ are read as text, integers that GDAL rounds are refused."""

    sizes_batches = True

    def examine(self, layer: Layer) -> Exact:
        """Return the moments that GDAL would change, and the stated count."""
        source = layer.source
        _check_unsigned(source.path, layer.member.path.name)
        moments = [name for name, kind in layer.schema if pa.types.is_timestamp(kind) and kind.tz is None]
        return with_count(read_as_text(source.path, source.options, moments), layer.member.path)


def _check_unsigned(path: Path, name: str) -> None:
    """Raise DataError for unsigned integers of 64 bits that GDAL, which reads them as float64, would round."""
    names = _unsigned(path)
    if not names:
        return
    table: pa.Table = pyogrio.read_arrow(path, columns=names, read_geometry=False)[1]
    for column in names:
        largest = pc.max(table.column(column)).as_py()
        if largest is not None and largest >= _SAFE:
            raise DataError(
                f"Column {column} of {name} has unsigned integers beyond 2^53, which can't be read exactly",
                "Have the publisher deliver the column as signed integers or as text",
            )


def _unsigned(path: Path) -> list[str]:
    """Return the columns of the type ULong. FlatGeobuf's header.fbs describes the header."""
    with path.open("rb") as handle:
        (size,) = struct.unpack("<8xI", handle.read(12))
        data = handle.read(size)

    def at(table: int, field: int) -> int:
        """Return the place of a field of a table, 0 if it has its default."""
        vtable = table - struct.unpack_from("<i", data, table)[0]
        if 4 + 2 * field >= struct.unpack_from("<H", data, vtable)[0]:
            return 0
        offset = struct.unpack_from("<H", data, vtable + 4 + 2 * field)[0]
        return table + offset if offset else 0

    def follow(place: int) -> int:
        return place + struct.unpack_from("<I", data, place)[0]

    found: list[str] = []
    if not (columns := at(follow(0), _COLUMNS)):
        return found
    vector = follow(columns)
    for number in range(struct.unpack_from("<I", data, vector)[0]):
        column = follow(vector + 4 + 4 * number)
        if (kind := at(column, _TYPE)) and data[kind] == _ULONG:
            text = follow(at(column, _NAME))
            length = struct.unpack_from("<I", data, text)[0]
            found.append(data[text + 4 : text + 4 + length].decode())
    return found


INTERCHANGE, TABLE, FLATGEOBUF = SingleLayer(), MapInfoTable(), FlatGeobuf()
