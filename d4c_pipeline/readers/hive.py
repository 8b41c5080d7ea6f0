"""Columns that stand in the path of a file (`pruid=24/part-0.parquet`), as Hive, Spark, Arrow and DuckDB write them.

The path is that within the delivery. Which files are read is chosen by `inputs`, several become one in `append`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
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

# What Hive writes for null, in which a folder could have no name.
_NULL = "__HIVE_DEFAULT_PARTITION__"


def columns_of(member: str) -> dict[str, str | None]:
    """Return the columns that the folders of `member` name, with their value; percent-encoding is undone.

    Raises DataError when a folder within another says another value of the same column.
    """
    found: dict[str, str | None] = {}
    for folder in PurePosixPath(member).parts[:-1]:
        name, mark, text = folder.partition("=")
        if not mark or not name:
            continue
        name, value = unquote(name), None if text in (_NULL, "") else unquote(text)
        if name in found and found[name] != value:
            raise DataError(
                f"The path {member} says twice what {name} is: {found[name]} and {value}",
                "Declare a processing.member that leaves it out",
            )
        found[name] = value
    return found


def with_path_columns(part: Part) -> Part:
    """Return `part` with the columns of its path as text, behind its own; the report names them as `path_columns`.

    A column that the file has itself (whatever the case of its name) stays as it is, if its values are those of the
    path; going through the batches raises DataError where they are not.
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
                f"Column {name} of {part.member} has the value {distinct!r}, and its folder says {value!r}",
                "Have the publisher correct one of them, or declare a processing.member that leaves the file out",
            )


def _same(own: object, path: str | None) -> bool:
    if own is None or path is None:
        return own is path
    if str(own) == path or (isinstance(own, bool) and str(own).lower() == path.lower()):
        return True
    try:
        return float(str(own)) == float(path)
    except ValueError:  # that is the answer
        return False
