"""Reader of the columns of a GeoPackage whose values do not have their declared type, and which GDAL converts.

SQLite stores any value in any column. In a column of integers, GDAL reads text as 0 and 3.7 as 3; it reads a date in
another form as 1970-01-01. Queries find such values in all columns but text and geometry. GDAL leaves out columns of
types that the specification does not have, such as BIGINT and VARCHAR(50); they are read here. Specification:
https://www.geopackage.org/spec/ (table 1, data types) and https://sqlite.org/datatype3.html.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.processing import Processing, VectorProcessing
from d4c_pipeline.readers import sqlite_bounds
from d4c_pipeline.readers.exact import Exact, declared_text, null_texts
from d4c_pipeline.tables.gdal import pyogrio
from d4c_pipeline.tables.parallel import in_order, workers
from d4c_pipeline.tables.sql_names import identifier

_RANGES = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 32, "INT": 64, "INTEGER": 64}
_KINDS = {
    "TINYINT": pa.int16(), "SMALLINT": pa.int16(), "MEDIUMINT": pa.int32(), "INT": pa.int64(), "INTEGER": pa.int64(),
    "BOOLEAN": pa.bool_(), "FLOAT": pa.float32(), "DOUBLE": pa.float64(), "REAL": pa.float64(), "DATE": pa.date32(),
    "DATETIME": pa.timestamp("ms", "UTC"),
}  # fmt: skip
# The specification's type for each type of GDAL's, which reads other types (INT4, NUMERIC) as one of these.
_KINDS_OF_GDAL = {
    pa.bool_(): "BOOLEAN", pa.int16(): "SMALLINT", pa.int32(): "MEDIUMINT", pa.int64(): "INTEGER",
    pa.float32(): "FLOAT", pa.float64(): "DOUBLE", pa.date32(): "DATE",
}  # fmt: skip
_SAFE = 1 << 53  # float64 holds each integer up to here
_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_ROWS = 16_384
_HEAD = 5  # bytes


@dataclass(frozen=True)
class _Column:
    name: str
    kind: str
    nulls: tuple[str, ...]

    @property
    def quoted(self) -> str:
        return identifier(self.name)

    @property
    def suspicion(self) -> str:
        """Return a condition that every misfit and few other values meet; cheap, since it is evaluated for all rows.

        `_screening` finds numbers with a fraction in a column of integers.
        """
        c = self.quoted
        match self.kind:
            case "BOOLEAN":
                return f"{c} NOT IN (0, 1)"
            case "FLOAT" | "DOUBLE" | "REAL":
                # Numbers sort before text, text before blobs.
                return f"{c} NOT BETWEEN -{_SAFE} AND {_SAFE}"
            case "DATE" | "DATETIME":
                return self.misfit
            case _:
                low, high = -(1 << (_RANGES[self.kind] - 1)), (1 << (_RANGES[self.kind] - 1)) - 1
                return f"{c} NOT BETWEEN {low} AND {high}"

    @property
    def misfit(self) -> str:
        """Return the condition that a value would be changed by GDAL."""
        c = self.quoted
        match self.kind:
            case "BOOLEAN":
                return f"{c} NOT IN (0, 1)"
            case "FLOAT" | "DOUBLE" | "REAL":
                return (
                    f"typeof({c}) IN ('text', 'blob') OR (typeof({c}) = 'integer'"
                    f" AND abs({c}) > {_SAFE} AND CAST(CAST({c} AS REAL) AS INTEGER) <> {c})"
                )
            case "DATE":
                return f"({c} IS NOT NULL AND ({c} NOT GLOB '{_DAY}' OR {_no_day(c)}))"
            case "DATETIME":
                # No time, an invalid hour or minute, or a fraction finer than milliseconds.
                return (
                    f"({c} IS NOT NULL AND ({c} NOT GLOB '{_DAY}[T ][0-9][0-9]:[0-9][0-9]*'"
                    f" OR {_no_day(f'substr({c}, 1, 10)')} OR substr({c}, 12, 2) > '23' OR substr({c}, 15, 2) > '59'"
                    f" OR ({c} GLOB '*.[0-9][0-9][0-9][0-9]*' AND {c} NOT GLOB '*.[0-9][0-9][0-9]000*')))"
                )
            case _:
                low, high = -(1 << (_RANGES[self.kind] - 1)), (1 << (_RANGES[self.kind] - 1)) - 1
                within = f" OR {c} NOT BETWEEN {low} AND {high}" if _RANGES[self.kind] < 64 else ""
                return f"typeof({c}) NOT IN ('integer', 'null'){within}"


def examine(path: Path, layer: str, schema: Mapping[str, pa.DataType], processing: Processing) -> Exact:
    """Return the columns of a layer with values that do not have the declared type, and those that GDAL leaves out.

    `schema`: GDAL's types of the attributes. A column that GDAL leaves out has the type of its values. Columns with a
    value that GDAL would change, and columns declared as strings, become the text that SQLite stores (numbers in their
    shortest form). `rows` is the number of rows that the file states. Raises DataError if SQLite can't read the file.
    """
    try:
        with closing(_connect(path)) as connection:
            return _examined(connection, path, layer, schema, processing)
    except sqlite_bounds.TROUBLE as error:
        raise sqlite_bounds.refusal(path, error, layer) from error


def _examined(
    connection: sqlite3.Connection,
    path: Path,
    layer: str,
    schema: Mapping[str, pa.DataType],
    processing: Processing,
) -> Exact:
    table = identifier(layer)
    columns: list[_Column] = []
    # Generated columns too, which table_info omits.
    info: list[tuple[Any, ...]] = connection.execute(f"PRAGMA table_xinfo({table})").fetchall()
    for _, name, declared, *_ in info:
        if name not in schema:
            continue
        kind = re.sub(r"\s*\(.*", "", str(declared).upper())
        if kind not in _KINDS:
            kind = "DATETIME" if pa.types.is_timestamp(schema[name]) else _KINDS_OF_GDAL.get(schema[name], "")
        if kind:
            columns.append(_Column(str(name), kind, null_texts(processing, str(name))))
    exact = Exact()
    exact.rows = _stated(connection, layer)
    exact.counted_by = "its table gpkg_ogr_contents"
    wanted = declared_text(processing, [column.name for column in columns])
    types: dict[str, pa.DataType] = dict.fromkeys(wanted, pa.string())
    reasons = dict.fromkeys(sorted(wanted), "declared as a string")
    rest = [column for column in columns if column.name not in wanted]
    for column in _suspects(connection, path, table, rest):
        found = connection.execute(f"SELECT {column.quoted} FROM {table} WHERE {column.misfit}")
        misfits = False
        for (value,) in found:
            misfits = True
            if value not in column.nulls:
                types[column.name] = pa.string()
                reasons[column.name] = f"as text: {value!r} is no {column.kind}"
                break
        else:
            if misfits:
                types[column.name], reasons[column.name] = _KINDS[column.kind], "declared nulls"
    for column in rest:
        if column.kind == "DATETIME" and column.name not in types and _zones_differ(connection, table, column):
            types[column.name] = pa.string()
            reasons[column.name] = "as text: some values have a time zone, some have none"
    for column in rest:
        if (
            schema[column.name] == pa.float32()
            and column.name not in types
            and _exceeds_float32(connection, table, column)
        ):
            types[column.name], reasons[column.name] = pa.float64(), "numbers of 64 bits in a column of 32"
    if isinstance(processing, VectorProcessing) and not processing.override_crs:
        _check_systems(connection, path, layer)
    described = [(str(row[1]), str(row[2]), row[5]) for row in info]
    added, geometries = _left_out(connection, path, layer, described, schema, processing)
    if geometries:
        exact.report["geometry_columns_dropped"] = geometries
    reasons |= {column.name: f"GDAL does not know the type {column.kind}" for column in added}
    exact.added = {column.name: _type_of_values(connection, table, column, processing) for column in added}
    if types or added:
        exact.types, exact.report["read_from_bytes"] = types, reasons
        nulls = {column.name: column.nulls for column in (*columns, *added)}
        exact.take = _taker(path, table, {**exact.added, **types}, nulls)
    return exact


def _exceeds_float32(connection: sqlite3.Connection, table: str, column: _Column) -> bool:
    # SQLite stores all numbers in 64 bits, and SQL says FLOAT for those too. Rounded, 45.123456789 is 45.12345886.
    c = column.quoted
    found = connection.execute(f"SELECT {c} FROM {table} WHERE typeof({c}) IN ('real', 'integer')")
    while rows := found.fetchmany(_ROWS):
        numbers = np.fromiter((value for (value,) in rows), np.float64, len(rows))
        with np.errstate(over="ignore"):  # a number beyond 32 bits becomes infinite, hence differs
            if (numbers.astype(np.float32) != numbers).any():
                return True
    return False


def _check_systems(connection: sqlite3.Connection, path: Path, layer: str) -> None:
    """Raise DataError for geometries that state another reference system than their layer, which GDAL does not read.

    GeoPackage 1.3, 2.1.3: both are the same; 0 and -1 are undefined.
    """
    query = "SELECT column_name, srs_id FROM gpkg_geometry_columns WHERE lower(table_name) = lower(?)"
    described = connection.execute(query, [layer]).fetchone()
    if described is None:
        return
    name, stated = described
    c = identifier(str(name))
    # After `GP` and the version: flags, of which the lowest bit tells the order of bytes, and the number.
    heads = connection.execute(
        f"SELECT substr({c}, 4, 5), count(*) FROM {identifier(layer)} WHERE typeof({c}) = 'blob' GROUP BY 1"
    )
    others: dict[int, int] = {}
    for head, count in heads:
        if len(head) == _HEAD:
            number = int.from_bytes(head[1:], "little" if head[0] & 1 else "big", signed=True)
            if number not in (stated, 0, -1):
                others[number] = others.get(number, 0) + count
    if others:
        number, count = max(others.items(), key=lambda each: each[1])
        raise DataError(
            f"{count:,} geometries of layer {layer} of {path.name} state the reference system {number}, the layer"
            f" states {stated}",
            "Have the publisher correct the file, or declare the right processing.crs with override_crs",
        )


def _left_out(
    connection: sqlite3.Connection,
    path: Path,
    layer: str,
    info: Sequence[tuple[str, str, int]],
    schema: Mapping[str, pa.DataType],
    processing: Processing,
) -> tuple[list[_Column], list[str]]:
    """Return the columns of `info` (name, type, position in the key) that GDAL leaves out: attributes, geometries."""
    query = "SELECT column_name FROM gpkg_geometry_columns WHERE lower(table_name) = lower(?)"
    left_out = {str(name).lower() for (name,) in connection.execute(query, [layer])}
    left_out |= {name.lower() for name in schema}
    missing = [each for each in info if each[0].lower() not in left_out and not each[2]]
    if not missing:
        return [], []
    fid = pyogrio.read_info(path, layer=layer)["fid_column"].lower()  # of a view, which has no key
    found: list[_Column] = []
    geometries: list[str] = []
    for name, declared, _ in missing:
        if name.lower() == fid:
            continue
        column = _Column(name, declared or "none", null_texts(processing, name))
        c = column.quoted
        shapes = f"typeof({c}) = 'blob' AND substr({c}, 1, 2) = CAST('GP' AS BLOB)"
        (all_shapes,) = connection.execute(
            f"SELECT min({shapes}) FROM {identifier(layer)} WHERE {c} IS NOT NULL"
        ).fetchone()
        if all_shapes:
            geometries.append(name)
        else:
            found.append(column)
    return found, geometries


def _type_of_values(connection: sqlite3.Connection, table: str, column: _Column, processing: Processing) -> pa.DataType:
    c = column.quoted
    if declared_text(processing, [column.name]):
        return pa.string()
    marks = ", ".join("?" * len(column.nulls))
    query = (
        f"SELECT typeof({c}), max({c} NOT BETWEEN -{_SAFE} AND {_SAFE}) FROM {table}"
        f" WHERE {c} IS NOT NULL AND {c} NOT IN ({marks}) GROUP BY 1"
    )
    kinds = {str(kind): bool(wide) for kind, wide in connection.execute(query, column.nulls)}
    match sorted(kinds):
        case ["integer"]:
            return pa.int64()
        case ["real"]:
            return pa.float64()
        case ["integer", "real"] if not kinds["integer"]:
            return pa.float64()
        case ["blob"]:
            return pa.binary()
        case _:
            return pa.string()


def _suspects(connection: sqlite3.Connection, path: Path, table: str, columns: Sequence[_Column]) -> Sequence[_Column]:
    if not columns:
        return []
    query = _screening(table, columns)
    if not _has_row_ids(connection, table):
        return columns if _finds_any(connection, query) else []
    first, last = (
        connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid {way} LIMIT 1").fetchone() for way in ("", "DESC")
    )
    if first is None:
        return []
    # Ranges in parallel: SQLite releases Python's lock while it scans.
    count = workers(None) if last[0] - first[0] > _ROWS else 1
    step = (last[0] - first[0]) // count + 1

    def found(start: int) -> bool:
        with closing(_connect(path)) as own:
            return _finds_any(own, f"{query} AND rowid BETWEEN {start} AND {start + step - 1}")

    starts = [first[0] + step * number for number in range(count)]
    return columns if any(list(in_order(found, starts, count))) else []


def _screening(table: str, columns: Sequence[_Column]) -> str:
    # A query that accepts further conditions and whose only value is a real number if any row is suspicious.
    any_of = " OR ".join(f"({column.suspicion})" for column in columns)
    whole = [column.quoted for column in columns if column.kind in _RANGES]
    if not whole:
        return f"SELECT 0.5 FROM {table} WHERE ({any_of})"
    # A sum is an integer if all its terms are integers. A condition on each value (`a <> a | 0`) takes 0.05 s longer
    # for a million values, a fortieth of the time of their conversion.
    terms = " + ".join(f"ifnull({name}, 0)" for name in whole)
    return f"SELECT sum(CASE WHEN {any_of} THEN 0.5 ELSE ({terms}) * 0 END) FROM {table} WHERE true"


def _finds_any(connection: sqlite3.Connection, query: str) -> bool:
    answer = connection.execute(f"{query} LIMIT 1").fetchone()
    return answer is not None and isinstance(answer[0], float)


def _has_row_ids(connection: sqlite3.Connection, table: str) -> bool:
    # A view has no row ids.
    name = table[1:-1].replace('""', '"')
    query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)"
    return bool(connection.execute(query, [name]).fetchone()[0])


def _no_day(text: str) -> str:
    # The condition that a text in the form of a date is not a date. SQLite's calendar is used for days above 28 only.
    month, day = f"substr({text}, 6, 2)", f"substr({text}, 9, 2)"
    return (
        f"{month} NOT BETWEEN '01' AND '12' OR {day} NOT BETWEEN '01' AND '31'"
        f" OR ({day} > '28' AND date({text}, '+0 days') IS NOT {text})"
    )


def _zones_differ(connection: sqlite3.Connection, table: str, column: _Column) -> bool:
    c = column.quoted
    zoned = f"({c} GLOB '*Z' OR substr({c}, 17) GLOB '*[-+]*')"
    answer = connection.execute(f"SELECT min({zoned}), max({zoned}) FROM {table} WHERE {c} IS NOT NULL").fetchone()
    return answer[0] != answer[1]


def _stated(connection: sqlite3.Connection, layer: str) -> int | None:
    try:
        answer = connection.execute(
            "SELECT feature_count FROM gpkg_ogr_contents WHERE lower(table_name) = lower(?)", [layer]
        ).fetchone()
    except sqlite3.OperationalError:  # the table is a GDAL extension, and missing
        return None
    return int(answer[0]) if answer is not None and answer[0] is not None else None


def _taker(
    path: Path, table: str, types: Mapping[str, pa.DataType], nulls: Mapping[str, tuple[str, ...]]
) -> Callable[[int], Mapping[str, pa.Array]]:
    names = list(types)

    def rows() -> Iterator[tuple[Any, ...]]:
        with closing(
            sqlite_bounds.connect(path)
        ) as connection:  # without a time limit: the caller takes rows one batch after the other
            # GDAL reads in the order of the key, which is SQLite's row id.
            ordered = _has_row_ids(connection, table)
            selected = ", ".join(identifier(name) for name in names)
            yield from connection.execute(f"SELECT {selected} FROM {table}{' ORDER BY rowid' if ordered else ''}")

    coming = rows()

    def take(count: int) -> Mapping[str, pa.Array]:
        try:
            batch = list(islice(coming, count))
        except sqlite_bounds.TROUBLE as error:
            raise sqlite_bounds.refusal(path, error) from error
        return {
            name: _array([row[at] for row in batch], types[name], nulls[name], name, path)
            for at, name in enumerate(names)
        }

    return take


def _array(values: list[Any], kind: pa.DataType, nulls: tuple[str, ...], name: str, path: Path) -> pa.Array:
    if not pa.types.is_string(kind):
        kept = [None if value in nulls else value for value in values]
        if pa.types.is_boolean(kind):
            return pa.array([None if value is None else bool(value) for value in kept], kind)
        if pa.types.is_temporal(kind):
            return pa.array(kept, pa.string()).cast(kind)
        return pa.array(kept, kind)
    if any(isinstance(value, bytes) for value in values):
        raise DataError(
            f"Column {name} of {path.name} has both binary and other values", "Have the publisher correct the file"
        )
    return pa.array([value if value is None or isinstance(value, str) else repr(value) for value in values], kind)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite_bounds.connect(path, seconds=sqlite_bounds.seconds_for(path, Limits.from_environment()))
