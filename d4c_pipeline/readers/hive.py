"""Partition columns in the path of a file within its delivery (`pruid=24/part-0.parquet`), as Hive and DuckDB write it.

`inputs` chooses the files, `append` concatenates them.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables.native import Native, Part

# Hive's folder name for null.
_NULL = "__HIVE_DEFAULT_PARTITION__"


def columns_of(member: str) -> dict[str, str | None]:
    """Return the columns that the folders of `member` name, with their values; percent-encoding is decoded.

    Raises DataError if two folders of the path give different values of a column.
    """
    found: dict[str, str | None] = {}
    for folder in PurePosixPath(member).parts[:-1]:
        name, mark, text = folder.partition("=")
        if not mark or not name:
            continue
        name, value = unquote(name), None if text in (_NULL, "") else unquote(text)
        if name in found and found[name] != value:
            raise DataError(
                f"The path {member} has two values of {name}: {found[name]} and {value}",
                "Declare a processing.member that excludes it",
            )
        found[name] = value
    return found


def with_path_columns(part: Part) -> Part:
    """Return `part` with the columns of its path appended as text; the report lists them as `path_columns`.

    A column of the file with the same name, ignoring case, is kept. The batches raise DataError if its values differ
    from the value in the path.
    """
    columns = columns_of(part.member)
    if not columns:
        return part

    def opened() -> Native:
        native = part.open()
        there = {name.lower(): name for name in native.attributes.names}
        own = {there[name.lower()]: value for name, value in columns.items() if name.lower() in there}
        added = {name: value for name, value in columns.items() if name.lower() not in there}
        position = len(native.attributes)

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in native.batches:
                for name, value in own.items():
                    _compare(batch.column(native.attributes.get_field_index(name)), name, value, part)
                out = batch
                for offset, (name, value) in enumerate(added.items()):
                    constant = pa.repeat(pa.scalar(value, pa.string()), batch.num_rows)
                    out = out.add_column(position + offset, pa.field(name, pa.string()), constant)
                yield out

        native.report["path_columns"] = ", ".join(columns)
        fields = [*native.attributes, *(pa.field(name, pa.string()) for name in added)]
        return replace(native, attributes=pa.schema(fields), batches=batches())

    return replace(part, open=opened)


def _compare(column: pa.Array, name: str, value: str | None, part: Part) -> None:
    for distinct in pc.unique(column).to_pylist():
        if not _same(distinct, value):
            raise DataError(
                f"Column {name} of {part.member} has the value {distinct!r}, but its folder states {value!r}",
                "Have the publisher correct the file, or declare a processing.member that excludes it",
            )


def _same(own: object, path: str | None) -> bool:
    if own is None or path is None:
        return own is path
    if str(own) == path or (isinstance(own, bool) and str(own).lower() == path.lower()):
        return True
    try:
        return float(str(own)) == float(path)
    except ValueError:  # texts that are not numbers and differ
        return False
