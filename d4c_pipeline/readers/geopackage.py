"""The values of a GeoPackage against their types: SQLite lets any value into any column, and GDAL converts it.

Text in a column of integers comes as 0, 3.7 as 3, a date of another form as 1970-01-01. SQLite is asked for the columns
in which that can be (no text, no geometry). Specification: https://www.geopackage.org/spec/ (table 1, data types) and
https://sqlite.org/datatype3.html.
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

import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import sqlite_bounds
from d4c_pipeline.readers.exact import Exact, declared_text, null_texts
from d4c_pipeline.tables.parallel import in_order, workers
from d4c_pipeline.tables.sql_names import identifier

_RANGES = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 32, "INT": 64, "INTEGER": 64}
_KINDS = {
    "TINYINT": pa.int16(), "SMALLINT": pa.int16(), "MEDIUMINT": pa.int32(), "INT": pa.int64(), "INTEGER": pa.int64(),
    "BOOLEAN": pa.bool_(), "FLOAT": pa.float32(), "DOUBLE": pa.float64(), "REAL": pa.float64(), "DATE": pa.date32(),
    "DATETIME": pa.timestamp("ms", "UTC"),
}  # fmt: skip
_SAFE = 1 << 53  # float64 holds each whole number up to here
_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_ROWS = 16_384


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
        """A condition that each misfit fulfils, and few other values; cheap, since it is asked of all rows.

        Numbers with a fraction among whole ones are left to `_asked`.
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
        """A condition on a value that GDAL would change."""
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
                # No time, an hour or minute that does not exist, or more digits than those of milliseconds.
                return (
                    f"({c} IS NOT NULL AND ({c} NOT GLOB '{_DAY}[T ][0-9][0-9]:[0-9][0-9]*'"
                    f" OR {_no_day(f'substr({c}, 1, 10)')} OR substr({c}, 12, 2) > '23' OR substr({c}, 15, 2) > '59'"
                    f" OR ({c} GLOB '*.[0-9][0-9][0-9][0-9]*' AND {c} NOT GLOB '*.[0-9][0-9][0-9]000*')))"
                )
            case _:
                low, high = -(1 << (_RANGES[self.kind] - 1)), (1 << (_RANGES[self.kind] - 1)) - 1
                within = f" OR {c} NOT BETWEEN {low} AND {high}" if _RANGES[self.kind] < 64 else ""
                return f"typeof({c}) NOT IN ('integer', 'null'){within}"


def examine(path: Path, layer: str, processing: Processing) -> Exact:
    """Compare the values of a layer with the types of its columns.

    Columns with a value that GDAL would change, and those that are declared as strings, become text as SQLite has it
    (numbers in their shortest form). `rows` is what the file states of the layer. Raises DataError when SQLite can't
    read the file.
    """
    try:
        with closing(_connect(path)) as connection:
            return _examined(connection, path, layer, processing)
    except sqlite_bounds.TROUBLE as error:
        raise sqlite_bounds.refusal(path, error, layer) from error


def _examined(connection: sqlite3.Connection, path: Path, layer: str, processing: Processing) -> Exact:
    table = identifier(layer)
    columns: list[_Column] = []
    info: list[tuple[Any, ...]] = connection.execute(f"PRAGMA table_info({table})").fetchall()
    for _, name, declared, _, _, key in info:
        kind = re.sub(r"\s*\(.*", "", str(declared).upper())
        if kind in _KINDS and not key:
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
    if types:
        exact.types, exact.report["read_from_bytes"] = types, reasons
        nulls = {column.name: column.nulls for column in columns}
        exact.take = _taker(path, table, types, nulls)
    return exact


def _suspects(connection: sqlite3.Connection, path: Path, table: str, columns: Sequence[_Column]) -> Sequence[_Column]:
    if not columns:
        return []
    asked = _asked(table, columns)
    if not _has_row_ids(connection, table):
        return columns if _says_so(connection, asked) else []
    first, last = (
        connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid {way} LIMIT 1").fetchone() for way in ("", "DESC")
    )
    if first is None:
        return []
    # Ranges side by side: SQLite lets other threads run while it looks.
    count = workers(None) if last[0] - first[0] > _ROWS else 1
    step = (last[0] - first[0]) // count + 1

    def found(start: int) -> bool:
        with closing(_connect(path)) as own:
            return _says_so(own, f"{asked} AND rowid BETWEEN {start} AND {start + step - 1}")

    starts = [first[0] + step * number for number in range(count)]
    return columns if any(list(in_order(found, starts, count))) else []


def _asked(table: str, columns: Sequence[_Column]) -> str:
    # A query, to which conditions can be added, whose only value is a real number when a row is suspicious.
    any_of = " OR ".join(f"({column.suspicion})" for column in columns)
    whole = [column.quoted for column in columns if column.kind in _RANGES]
    if not whole:
        return f"SELECT 0.5 FROM {table} WHERE ({any_of})"
    # A sum is an integer if all of its terms are. Asked of each value (`a <> a | 0`), it took 0.05 s longer for a
    # million values, a fortieth of their conversion.
    terms = " + ".join(f"ifnull({name}, 0)" for name in whole)
    return f"SELECT sum(CASE WHEN {any_of} THEN 0.5 ELSE ({terms}) * 0 END) FROM {table} WHERE true"


def _says_so(connection: sqlite3.Connection, query: str) -> bool:
    answer = connection.execute(f"{query} LIMIT 1").fetchone()
    return answer is not None and isinstance(answer[0], float)


def _has_row_ids(connection: sqlite3.Connection, table: str) -> bool:
    # A view has none.
    name = table[1:-1].replace('""', '"')
    asked = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)"
    return bool(connection.execute(asked, [name]).fetchone()[0])


def _no_day(text: str) -> str:
    # Whether a text of the right form is no day. SQLite's own calendar is only asked of the last days of a month.
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
    except sqlite3.OperationalError:  # the table is an extension of GDAL's
        return None
    return int(answer[0]) if answer is not None and answer[0] is not None else None


def _taker(
    path: Path, table: str, types: Mapping[str, pa.DataType], nulls: Mapping[str, tuple[str, ...]]
) -> Callable[[int], Mapping[str, pa.Array]]:
    names = list(types)

    def rows() -> Iterator[tuple[Any, ...]]:
        with closing(
            sqlite_bounds.connect(path)
        ) as connection:  # as long as it takes: rows are taken one after the other
            # GDAL reads in the order of the key, which is SQLite's row id.
            ordered = _has_row_ids(connection, table)
            asked = ", ".join(identifier(name) for name in names)
            yield from connection.execute(f"SELECT {asked} FROM {table}{' ORDER BY rowid' if ordered else ''}")

    coming = rows()

    def take(count: int) -> Mapping[str, pa.Array]:
        try:
            some = list(islice(coming, count))
        except sqlite_bounds.TROUBLE as error:
            raise sqlite_bounds.refusal(path, error) from error
        return {
            name: _array([row[at] for row in some], types[name], nulls[name], name, path)
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
            f"Column {name} of {path.name} has binary values among others", "Have the publisher correct the file"
        )
    return pa.array([value if value is None or isinstance(value, str) else repr(value) for value in values], kind)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite_bounds.connect(path, seconds=sqlite_bounds.seconds_for(path, Limits.from_environment()))
