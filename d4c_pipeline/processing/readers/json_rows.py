"""JSON as a table: an array of objects, or one object a line (NDJSON), through DuckDB, which streams both.

GeoJSON is read by `vector`. Nothing is guessed: a column's type is what all its values are in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.processing import duckdb_engine
from d4c_pipeline.processing.readers.marks import with_plain_numbers
from d4c_pipeline.processing.readers.native import Native, exactly_unique, plain, with_nulls

_ROWS = 8_192
_OBJECT_BYTES = 256 << 20
_INTEGERS = frozenset({"BIGINT", "UBIGINT"})
# Numbers of more digits than 64 bits hold: as text they stay what they are.
_LONG = "type IN ('UBIGINT', 'DOUBLE') AND length(atom) > 18 AND NOT regexp_matches(atom, '[.eE]')"


def read(path: Path, processing: Processing) -> Native:
    """Read JSON objects as rows; columns are all names that occur, in the order in which they first do.

    Whole numbers become int64, numbers float64, true and false boolean, text string. Nested values and what is not of
    one type throughout become text (JSON for what is nested); null, a missing name and each of `nulls` is null. Raises
    DataError for what is no JSON, and for values that are no objects.
    """
    connection = duckdb_engine.connect()
    try:
        source = f"read_json_objects({duckdb_engine.text_literal(str(path))}, maximum_object_size={_OBJECT_BYTES})"
        kinds = _kinds(connection, source, path)
        reader = connection.execute(_select(source, kinds)).to_arrow_reader(_ROWS)
    except duckdb.Error as error:
        connection.close()
        raise _refusal(path, error) from error
    names = exactly_unique(list(kinds))
    attributes = pa.schema(list(zip(names, [_ARROW[kind] for kind in kinds.values()], strict=True)))
    batches = _batches(connection, reader, attributes, processing, path)
    return Native(path.name, attributes, with_plain_numbers(batches, processing))


_ARROW = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_(), "VARCHAR": pa.string()}


def _kinds(connection: duckdb.DuckDBPyConnection, source: str, path: Path) -> dict[str, str]:
    # Name -> the type of all its values, in the order of first appearance.
    other = connection.execute(f"SELECT json FROM {source} WHERE json_type(json) <> 'OBJECT' LIMIT 1").fetchone()
    if other is not None:
        raise DataError(
            f"{path.name} has a value that is no object: {str(other[0])[:60]}", "Have the publisher deliver objects"
        )
    found: list[tuple[Any, ...]] = connection.execute(
        f"""
        SELECT key, list(DISTINCT type), bool_or({_LONG})
        FROM (SELECT row_number() OVER () AS row, json FROM {source}), json_each(json)
        GROUP BY key ORDER BY min((row, id))
        """
    ).fetchall()
    return {str(name): _kind(set(types) - {"NULL"}, too_long=bool(too_long)) for name, types, too_long in found}


def _kind(types: set[str], *, too_long: bool) -> str:
    if not too_long and types and types <= _INTEGERS:
        return "BIGINT"
    if not too_long and types and types <= _INTEGERS | {"DOUBLE"}:
        return "DOUBLE"
    return "BOOLEAN" if types == {"BOOLEAN"} else "VARCHAR"


def _select(source: str, kinds: dict[str, str]) -> str:
    columns = [
        f"(json ->> {duckdb_engine.text_literal(_pointer(name))})::{kind} AS c{number}"
        for number, (name, kind) in enumerate(kinds.items())
    ]
    return f"SELECT {', '.join(columns) or 'NULL'} FROM {source}"


def _pointer(name: str) -> str:
    # RFC 6901
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _batches(
    connection: duckdb.DuckDBPyConnection,
    reader: pa.RecordBatchReader,
    attributes: pa.Schema,
    processing: Processing,
    path: Path,
) -> Iterator[pa.RecordBatch]:
    try:
        for batch in reader:
            columns = [with_nulls(plain(column), processing.nulls) for column in batch.columns]
            yield pa.record_batch(columns[: len(attributes)], schema=attributes)
    except (duckdb.Error, pa.ArrowException) as error:
        raise _refusal(path, error) from error
    finally:
        connection.close()


def _refusal(path: Path, error: Exception) -> DataError:
    said = " ".join(str(error).replace(f"{path.parent}/", "").split())
    return DataError(f"{path.name} can't be read as JSON: {said[:300]}", "Fetch the vintage again")
