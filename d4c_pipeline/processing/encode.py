"""One row group as a Parquet file in memory: compression, statistics, and for each column the smallest encoding.

What the rows are and how they fall into groups is decided in `write`, which stitches the groups together.
https://parquet.apache.org/docs/file-format/data-pages/encodings/
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.processing.columns import BBOX, GEOMETRY

COMPRESSION = "zstd"
# Higher levels change geometry by -12 to +0.5 % of size for 10 to 22 times the CPU.
COMPRESSION_LEVEL = 3
CORNERS = ("xmin", "ymin", "xmax", "ymax")
BBOX_TYPE = pa.struct([pa.field(corner, pa.float32(), nullable=False) for corner in CORNERS])
DICTIONARY = "DICTIONARY"
# What is tried besides a dictionary, all of it known to readers for years: texts without their lengths between them,
# whole numbers by their steps, the bytes of floating point numbers apart (good for coordinates that are neighbours).
_TEXT = ("DELTA_LENGTH_BYTE_ARRAY",)
_WHOLE = ("PLAIN", "DELTA_BINARY_PACKED")
_FLOATING = ("PLAIN", "BYTE_STREAM_SPLIT")
# Another encoding than the usual one has to be worth it: so much smaller, and not of a few bytes.
_WORTH, _WORTH_BYTES = 0.95, 1_024


def choose(table: pa.Table) -> dict[str, str]:
    """Return for each attribute of `table` (plain columns) the encoding that makes it smallest, by trying."""
    chosen: dict[str, str] = {}
    for field in table.schema:
        if field.name in (GEOMETRY, BBOX) or pa.types.is_nested(field.type):
            continue
        usual = len(encoded(table.select([field.name]), {field.name: DICTIONARY}))
        sizes = {
            encoding: len(encoded(table.select([field.name]), {field.name: encoding}))
            for encoding in _candidates(field.type)
        }
        best = min(sizes, key=lambda encoding: sizes[encoding], default=DICTIONARY)
        chosen[field.name] = best if sizes and sizes[best] < min(usual * _WORTH, usual - _WORTH_BYTES) else DICTIONARY
    return chosen


def encoded(table: pa.Table, encodings: Mapping[str, str], *, whole_schema: bool = False) -> pa.Buffer:
    """Return `table` as a Parquet file of one row group, none if it has no rows.

    `encodings`: of the attributes, as `choose` returns them; geometry and covering have their own. `whole_schema`: keep
    Arrow's schema in the file, too.
    """
    kinds = {field.name: field.type for field in table.schema}
    covering = [f"{BBOX}.{corner}" for corner in CORNERS] if kinds.get(BBOX) == BBOX_TYPE else []
    native = [name for name, kind in kinds.items() if isinstance(kind, pa.BaseExtensionType)]
    own = [name for name, kind in kinds.items() if name in encodings and not pa.types.is_nested(kind)]
    others = {name: encodings[name] for name in own if encodings[name] != DICTIONARY}
    # Neighbours share their high bytes: splitting them by byte makes the covering a fifth of its plain size.
    others |= dict.fromkeys(covering, "BYTE_STREAM_SPLIT")
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        version="2.6",
        data_page_version="1.0",
        compression=COMPRESSION,
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=[name for name in own if name not in others],  # pyright: ignore[reportArgumentType]
        column_encoding=others or None,
        # Least and greatest WKB say nothing and would stand in every page header; Parquet's own type has boxes.
        write_statistics=[*own, *covering, *native],  # pyright: ignore[reportArgumentType]
        write_page_index=True,
        store_schema=whole_schema,
    ) as writer:
        if table.num_rows:
            writer.write_table(table, row_group_size=table.num_rows)
    return sink.getvalue()


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
