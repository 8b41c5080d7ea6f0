"""Reads JSON as a table through DuckDB: an array of objects, an object per line (NDJSON), or the list in a response.

GeoJSON belongs to `vector`, finding the rows in a document to `json_records`. A column has the type of all its values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import bounded, json_bytes, json_records
from d4c_pipeline.readers.json_records import Rows
from d4c_pipeline.readers.marks import with_plain_numbers
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline.tables.native import Native, exactly_unique, plain, with_nulls

_ROWS = 8_192
_INTEGERS = frozenset({"BIGINT", "UBIGINT"})
_NUMBERS = _INTEGERS | {"DOUBLE"}
_WORDS = {"BIGINT": "integer", "UBIGINT": "integer", "DOUBLE": "number", "VARCHAR": "string"}
_ARROW = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_(), "VARCHAR": pa.string()}
# Integers with more digits than 64 bits (or a float, in a column with decimals) hold for certain are kept as text.
_LONG, _LONG_FOR_FLOATS = 18, 15


def read(path: Path, processing: Processing) -> Native:
    """Read JSON objects as rows; columns are all names, in the order of their first appearance.

    Integers become int64, numbers float64, true and false boolean, text string. Nested values, values of mixed types
    and numbers that exceed their type become text (nested values as JSON). Null, a missing name and each of `nulls` is
    null. The report has the list of the rows (`records`) and the columns with values of several types (`mixed_types`).
    Raises DataError for invalid JSON, rows that are not objects, a repeated name in a row, NaN and infinity, and an
    incomplete response.
    """
    report: dict[str, Any] = {}
    source = json_bytes.plain(path, report)
    connection = duckdb_engine.connect()
    try:
        rows = json_records.find(connection, source, processing.records, processing.header, report)
        names = _names(connection, rows, path)
        bounded.check_columns(path.name, len(names), Limits.from_environment())
        kinds = _kinds(connection, rows, names, processing.nulls, path, report)
        reader = connection.execute(_select(rows, names, kinds, processing.nulls)).to_arrow_reader(_ROWS)
    except duckdb.Error as error:
        connection.close()
        raise _refusal(path, error) from error
    except DataError:
        connection.close()
        raise
    unique = exactly_unique(list(rows.names or names))
    attributes = pa.schema(list(zip(unique, [_ARROW[kind] for kind in kinds], strict=True)))
    batches = _batches(connection, reader, attributes, processing, path)
    return Native(path.name, attributes, with_plain_numbers(batches, processing), report=report)


def _names(connection: duckdb.DuckDBPyConnection, rows: Rows, path: Path) -> list[str]:
    # The names of the columns in the order of first appearance, or the positions if rows are lists.
    kind, noun = ("OBJECT", "an object") if rows.names is None else ("ARRAY", "a list")
    other = connection.execute(f"SELECT json FROM {rows.source} WHERE json_type(json) <> '{kind}' LIMIT 1").fetchone()
    if other is not None:
        raise DataError(
            f"{path.name} has a value that is not {noun}: {str(other[0])[:60]}",
            "Have the publisher deliver objects, or declare processing.header if rows are lists"
            if str(other[0]).startswith("[")
            else "Have the publisher deliver objects",
        )
    if rows.names is not None:
        longest = connection.execute(f"SELECT max(json_array_length(json)) FROM {rows.source}").fetchone()
        if longest is not None and (longest[0] or 0) > len(rows.names):
            raise DataError(
                f"{path.name} has a row of {longest[0]} values, but names for {len(rows.names)} columns",
                "Declare the names of all columns as processing.header",
            )
        return [str(position) for position in range(len(rows.names))]
    keys: list[tuple[list[str], int, str]] = connection.execute(
        f"""
        SELECT keys, min(row), arg_min(json, row) FROM (
            SELECT json_keys(json) AS keys, row_number() OVER () AS row, json FROM {rows.source}
        ) GROUP BY keys ORDER BY min(row)
        """
    ).fetchall()
    for each, _, row in keys:
        if len(set(each)) < len(each):
            name = Counter(each).most_common(1)[0][0]
            raise DataError(
                f"{path.name} has a row with the name {name} twice: {row[:100]}", "Have the publisher repair the file"
            )
    return list(dict.fromkeys(name for each, _, _ in keys for name in each))


def _kinds(
    connection: duckdb.DuckDBPyConnection,
    rows: Rows,
    names: list[str],
    nulls: tuple[str, ...],
    path: Path,
    report: dict[str, Any],
) -> list[str]:
    if not names:
        return []
    found: list[set[str]] = [set() for _ in names]
    # A row per column and type, not per set of types: the sets of 5,000 rows with 5,000 names had 25 M values.
    query = f"""
        SELECT DISTINCT place, kind FROM (
            SELECT unnest(types) AS kind, generate_subscripts(types, 1) - 1 AS place
            FROM (SELECT {_types(names, nulls)} AS types FROM {rows.source})
        ) WHERE kind <> 'NULL'
        """
    for at, kind in connection.execute(query).fetchall():
        found[at].add(kind)
    long = _long(connection, rows, names, found, nulls, path)
    output = list(rows.names or names)
    mixed = {
        output[at]: sorted({_WORDS.get(each, each.lower()) for each in types})
        for at, types in enumerate(found)
        if len(types) > 1 and not types <= _NUMBERS
    }
    if mixed:
        report["mixed_types"] = mixed
    return [_kind(types, too_long=at in long) for at, types in enumerate(found)]


def _kind(types: set[str], *, too_long: bool) -> str:
    if types and types <= _NUMBERS and not too_long:
        return "BIGINT" if types <= _INTEGERS else "DOUBLE"
    return "BOOLEAN" if types == {"BOOLEAN"} else "VARCHAR"


def _long(
    connection: duckdb.DuckDBPyConnection,
    rows: Rows,
    names: list[str],
    found: list[set[str]],
    nulls: tuple[str, ...],
    path: Path,
) -> set[int]:
    # Columns with numbers that exceed their type. Raises DataError for a number that JSON does not allow.
    numeric = [at for at, types in enumerate(found) if types and types <= _NUMBERS]
    if not numeric:
        return set()
    tests: list[str] = []
    for number, at in enumerate(numeric, 1):
        most = _LONG_FOR_FLOATS if "DOUBLE" in found[at] else _LONG
        text = f"v[{number}]"
        # Without point and exponent: DuckDB keeps the digits of integers beyond 64 bits.
        tests.append(f"bool_or(regexp_full_match({text}, '-?[0-9]{{{most + 1},}}'))")
        tests.append(
            f"max(CASE WHEN isfinite(TRY_CAST({text} AS DOUBLE)) THEN NULL ELSE {text} END)"
            if "DOUBLE" in found[at]
            else "NULL"
        )
    texts = _texts([names[at] for at in numeric], nulls)
    answer = connection.execute(f"SELECT {', '.join(tests)} FROM (SELECT {texts} AS v FROM {rows.source})").fetchone()
    out: set[int] = set()
    for number, at in enumerate(numeric):
        is_long, strange = answer[2 * number : 2 * number + 2] if answer else (False, None)
        if strange is not None and not is_long:
            raise DataError(
                f"Column {(rows.names or names)[at]} of {path.name} has {strange}, which is not a JSON number",
                f"Add it to processing.nulls if it means no value: nulls: ['{strange}']",
            )
        if is_long:
            out.add(at)
    return out


def _texts(names: list[str], nulls: tuple[str, ...]) -> str:
    # The values of a row as a list of texts.
    texts = f"json_extract_string(json, [{', '.join(map(_pointer, names))}])"
    if not nulls:
        return texts
    return f"list_transform({texts}, lambda x: CASE WHEN x IN ({_listed(nulls)}) THEN NULL ELSE x END)"


def _types(names: list[str], nulls: tuple[str, ...]) -> str:
    types = f"json_type(json, [{', '.join(map(_pointer, names))}])"
    if not nulls:
        return types
    return (
        f"list_transform(list_zip({types}, {_texts(names, ())}),"
        f" lambda x: CASE WHEN x[2] IN ({_listed(nulls)}) THEN 'NULL' ELSE x[1] END)"
    )


def _select(rows: Rows, names: list[str], kinds: list[str], nulls: tuple[str, ...]) -> str:
    if not names:
        return f"SELECT NULL FROM {rows.source}"
    columns = [f"v[{number}]::{kind} AS c{number}" for number, kind in enumerate(kinds, 1)]
    return f"SELECT {', '.join(columns)} FROM (SELECT {_texts(names, nulls)} AS v FROM {rows.source})"


def _listed(texts: tuple[str, ...]) -> str:
    return ", ".join(map(duckdb_engine.text_literal, texts))


def _pointer(name: str) -> str:
    # RFC 6901
    return duckdb_engine.text_literal("/" + name.replace("~", "~0").replace("/", "~1"))


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
    message = " ".join(str(error).replace(f"{path.parent}/", "").split())
    return DataError(f"{path.name} can't be read as JSON: {message[:300]}", "Fetch the vintage again")
