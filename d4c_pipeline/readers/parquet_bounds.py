"""Bounds the decoded size of a Parquet file by its footer and dictionaries, before its pages are decoded.

A thousand bytes can hold 500 million nulls, or a text of a megabyte a million times: a value stored once is decoded for
every row. https://parquet.apache.org/docs/file-format/data-pages/encodings/
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from d4c_pipeline.model.limits import Limits, beyond
from d4c_pipeline.readers import bounded

_BATCH_BYTES = 32 << 20
_BATCH_ROWS = 16_384
# Minimum bytes of a decoded value; for values of variable length, of the offset.
_WIDTHS = {"BOOLEAN": 0.125, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}
# A value within lists or structs becomes a Python object, then JSON.
_NESTED_WIDTH = 64
_SMALL = 1 << 12  # bytes of a column's pages; the longest value times the rows of a batch is then harmless


def check(file: pq.ParquetFile, path: Path, limits: Limits) -> None:
    """Raise DataError when the number of columns or the decoded size of the file exceeds `limits`."""
    metadata = file.metadata
    bounded.check_columns(path.name, metadata.num_columns, limits)
    size = path.stat().st_size
    total = 0.0
    widths = [_width(file.schema.column(at)) for at in range(metadata.num_columns)]
    for group in range(metadata.num_row_groups):
        described = metadata.row_group(group)
        for at, width in enumerate(widths):
            column = described.column(at)
            total += width * max(column.num_values, described.num_rows)
            unpacked, packed = column.total_uncompressed_size, column.total_compressed_size
            if unpacked > limits.value_bytes and unpacked > limits.expansion * max(packed, 1):
                raise bounded.expanded(f"Column {column.path_in_schema} of {path.name}", unpacked, packed, limits)
    if total > limits.expansion_from and total > limits.expansion * size:
        raise bounded.expanded(path.name, int(total), size, limits)


def check_depth(schema: pa.Schema, path: Path, limits: Limits) -> None:
    """Raise DataError when the lists and structs of a column are nested deeper than the limit."""
    for field in schema:
        depth, level = 0, [field.type]
        while level := [
            inner.field(at).type for inner in level if pa.types.is_nested(inner) for at in range(inner.num_fields)
        ]:
            depth += 1
            if depth > limits.depth:
                raise beyond(f"Column {field.name} of {path.name}", f"is nested more than {limits.depth} deep", "depth")


class Batches:
    """The number of rows of each row group to decode at a time, so that a batch takes tens of megabytes."""

    def __init__(self, file: pq.ParquetFile, path: Path) -> None:
        self._file, self._path = file, path
        schema = file.schema
        self._nested = [schema.column(at).max_repetition_level > 0 for at in range(len(schema))]
        self._widths = [_width(schema.column(at)) for at in range(len(schema))]
        # Texts at the top level, whose dictionary can be read by column name.
        self._texts = [
            at for at in range(len(schema))
            if schema.column(at).physical_type == "BYTE_ARRAY" and schema.column(at).path == schema.column(at).name
        ]  # fmt: skip
        self._dictionaries: pq.ParquetFile | None = None

    def rows(self, group: int) -> int:
        """Return the number of rows of a row group to decode at a time."""
        described = self._file.metadata.row_group(group)
        count = described.num_rows
        size = float(described.total_byte_size)
        nested = 0.0
        for at, width in enumerate(self._widths):
            nested += described.column(at).num_values * (_NESTED_WIDTH if self._nested[at] else width)
        # An array holds at most 2 GiB of text, so the size of rows limits their number.
        rows = max(1, min(_BATCH_ROWS, int(count * _BATCH_BYTES / max(size, nested, 1.0))))
        longest = self._longest(described, group)
        return max(1, min(rows, 8 * _BATCH_BYTES // longest)) if longest else rows

    def _longest(self, described: Any, group: int) -> int:
        """Return the length of the longest value of all columns that may be repeated."""
        names: list[str] = []
        longest = 0
        for at in self._texts:
            column = described.column(at)
            if column.total_uncompressed_size <= _SMALL:
                continue
            if column.has_dictionary_page:
                names.append(column.path_in_schema)
            elif "DELTA_BYTE_ARRAY" in column.encodings:
                # The prefix that a value shares with the previous value is not stored again.
                longest = max(longest, min(column.total_uncompressed_size, _BATCH_BYTES // 64))
        if not names:
            return longest
        if self._dictionaries is None:
            self._dictionaries = pq.ParquetFile(self._path, read_dictionary=self._named(), memory_map=True)
        batch = next(self._dictionaries.iter_batches(1, row_groups=[group], columns=names, use_threads=False), None)
        for column in batch.columns if batch is not None else ():
            storage = column.storage if isinstance(column, pa.ExtensionArray) else column
            if pa.types.is_dictionary(storage.type) and len(storage.dictionary):
                longest = max(longest, pc.max(pc.binary_length(storage.dictionary)).as_py() or 0)
        return longest

    def _named(self) -> list[str]:
        return [self._file.schema.column(at).path for at in self._texts]


def _width(column: Any) -> float:
    return float(_WIDTHS.get(column.physical_type, column.length or 0))
