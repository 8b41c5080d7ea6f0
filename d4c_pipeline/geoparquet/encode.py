"""Encodes one row group as a Parquet file in memory: compression, statistics, and the smallest encoding per column.

Cutting rows into groups belongs to `groups`, joining the groups to `stitch`.
https://parquet.apache.org/docs/file-format/data-pages/encodings/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.tables.columns import BBOX, GEOMETRY
from d4c_pipeline.tables.parallel import in_order

COMPRESSION = "zstd"
# Measured, MB and CPU seconds of encoding at levels 1, 2, 3 (above, both only grow):
# 1.5 M points, all but geometry: 30.3 0.49, 30.1 0.52, 30.2 0.63
# 2 M rows of a table: 6.16 0.69, 6.16 0.70, 6.16 0.71
COMPRESSION_LEVEL = 1
# The covering of those points at levels 1, 2, 3, 5: 11.2 0.11, 10.9 0.12, 10.8 0.13, 10.3 0.16
COVERING_LEVEL = 3
# Pairs of level and size ratio. Geometry gets the first level if its size is at most the ratio of that at level 1; it
# gets the second or third level by the ratio of the size at the third to that at the first.
# At levels 1, 3, 4, 5, 7, 9 (conversions of boundaries take 8 to 9 CPU seconds in all):
# 1.5 M points: 19.5 0.12, 19.0 0.18, 18.8 0.31, 18.8 0.39, -, 18.6 0.67
# 500 k buildings: 41.2 0.26, 30.8 0.36, 30.5 0.45, 29.7 0.66, 29.7 0.94, 29.4 1.39
# 5 k boundaries of 10 M vertices: 145 0.4, 139 1.1, -, 123 2.2, 113 2.5, 104 3.1
GEOMETRY_LEVELS = ((3, 0.975), (4, 0.975), (5, 0.95))
CORNERS = ("xmin", "ymin", "xmax", "ymax")
BBOX_TYPE = pa.struct([pa.field(corner, pa.float32(), nullable=False) for corner in CORNERS])
DICTIONARY = "DICTIONARY"
# Encodings to try besides a dictionary, all supported by readers for years: lengths of texts stored apart, differences
# of integers, bytes of floating point numbers split (good for neighbouring coordinates).
_TEXT = ("DELTA_LENGTH_BYTE_ARRAY",)
_WHOLE = ("PLAIN", "DELTA_BINARY_PACKED")
_FLOATING = ("PLAIN", "BYTE_STREAM_SPLIT")
# Another encoding than the default must reach this size ratio and save this many bytes.
_WORTH, _WORTH_BYTES = 0.95, 1_024
# Bytes of geometry in a group that are tried.
_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True)
class Choice:
    """The encoding of each attribute and the compression level of geometry."""

    encodings: Mapping[str, str]
    geometry_level: int = COMPRESSION_LEVEL

    @classmethod
    def usual(cls, names: Iterable[str]) -> Choice:
        """Return the default encodings of columns."""
        return cls(dict.fromkeys(names, DICTIONARY))


def choose(table: pa.Table, threads: int | None = None) -> Choice:
    """Return the smallest encodings of the plain columns of `table`, by trial; `threads` changes only the speed."""
    tried = [
        field for field in table.schema if field.name not in (GEOMETRY, BBOX) and not pa.types.is_nested(field.type)
    ]
    chosen = in_order(lambda field: _smallest(table, field), tried, threads)
    encodings = dict(zip((field.name for field in tried), chosen, strict=True))
    return Choice(encodings, _geometry_level(table))


def _smallest(table: pa.Table, field: pa.Field) -> str:
    usual = _size(table, field.name, DICTIONARY)
    sizes = {encoding: _size(table, field.name, encoding) for encoding in _candidates(field.type)}
    best = min(sizes, key=lambda encoding: sizes[encoding], default=DICTIONARY)
    return best if sizes and sizes[best] < min(usual * _WORTH, usual - _WORTH_BYTES) else DICTIONARY


def _size(table: pa.Table, name: str, encoding: str) -> int:
    return len(encoded(table.select([name]), Choice({name: encoding})))


def _geometry_level(table: pa.Table) -> int:
    if GEOMETRY not in table.schema.names or not table.num_rows:
        return COMPRESSION_LEVEL
    sample = table.select([GEOMETRY])
    sample = sample.slice(0, max(1, sample.num_rows * _SAMPLE_BYTES // max(sample.nbytes, _SAMPLE_BYTES)))
    (usual, worth), (harder, pays), (hardest, pays_well) = GEOMETRY_LEVELS
    sizes = {level: len(encoded(sample, Choice({}, level))) for level in (COMPRESSION_LEVEL, usual, hardest)}
    if sizes[usual] > sizes[COMPRESSION_LEVEL] * worth:
        return COMPRESSION_LEVEL
    share = sizes[hardest] / sizes[usual]
    return hardest if share <= pays_well else harder if share <= pays else usual


def encoded(table: pa.Table, choice: Choice, *, arrow_schema: bool = False) -> pa.Buffer:
    """Return `table` as a Parquet file of one row group, or of no row group if it has no rows.

    `arrow_schema`: also store Arrow's schema in the file.
    """
    encodings = choice.encodings
    kinds = {field.name: field.type for field in table.schema}
    covering = [f"{BBOX}.{corner}" for corner in CORNERS] if kinds.get(BBOX) == BBOX_TYPE else []
    native = [name for name, kind in kinds.items() if isinstance(kind, pa.BaseExtensionType)]
    own = [name for name, kind in kinds.items() if name in encodings and not pa.types.is_nested(kind)]
    others = {name: encodings[name] for name in own if encodings[name] != DICTIONARY}
    # Neighbours share their high bytes: split by byte, the covering takes a fifth of its plain size.
    others |= dict.fromkeys(covering, "BYTE_STREAM_SPLIT")
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        version="2.6",
        data_page_version="1.0",
        compression=COMPRESSION,
        compression_level=(
            {path: COMPRESSION_LEVEL for field in table.schema for path in _paths(field.type, field.name)}
            | dict.fromkeys(covering, COVERING_LEVEL)
            | ({GEOMETRY: choice.geometry_level} if GEOMETRY in kinds else {})
        ),
        use_dictionary=[name for name in own if name not in others],  # pyright: ignore[reportArgumentType]
        column_encoding=others or None,
        # The minimum and maximum of WKB mean nothing and fill every page header; Parquet's own type has boxes.
        write_statistics=[*own, *covering, *native],  # pyright: ignore[reportArgumentType]
        write_page_index=True,
        store_schema=arrow_schema,
    ) as writer:
        if table.num_rows:
            writer.write_table(table, row_group_size=table.num_rows)
    return sink.getvalue()


def _paths(kind: pa.DataType, path: str) -> list[str]:
    # Parquet's paths of the leaves of a column: each leaf needs a compression level.
    if pa.types.is_struct(kind):
        return [leaf for child in kind for leaf in _paths(child.type, f"{path}.{child.name}")]
    if pa.types.is_map(kind):
        pair = f"{path}.key_value"
        return [*_paths(kind.key_type, f"{pair}.key"), *_paths(kind.item_type, f"{pair}.value")]
    if pa.types.is_nested(kind):
        return _paths(kind.value_type, f"{path}.list.element")
    return [path]


def _candidates(kind: pa.DataType) -> tuple[str, ...]:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _TEXT
    if pa.types.is_floating(kind) and not pa.types.is_float16(kind):
        return _FLOATING
    if pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _WHOLE
    return ()
