"""The values of columns where a profile lacks them: histograms of numbers and the most frequent other values.

One statement per column over the published Parquet; a release never changes, so each is computed once.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from d4c_pipeline.model.release import Column
from d4c_pipeline.portal.facts import BINS, ColumnFacts
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline.tables.sql_names import identifier

MOST_COLUMNS = 400
"""Columns of a release with computed values; the others show what the profile has."""
MOST_TOP = 3
_FEW = 12  # a number with so few values is shown like a text
_MOST_SHARE = 0.5  # texts that hardly repeat have no frequent values
_NUMBERS = ("int", "uint", "float", "double", "decimal")
_TEXTS = ("string", "large_string", "bool")
_LONGEST = 80


def column_facts(
    columns: Sequence[Column], profile: Mapping[str, Any], data: Sequence[Path], *, memory_limit: str | None = None
) -> dict[str, ColumnFacts]:
    """Return the facts of the profiled columns; `profile` is a release's `profile.json`, `data` its files.

    Raises DataError when the data can't be read.
    """
    profiled: Mapping[str, Mapping[str, Any]] = profile["columns"]
    rows = int(profile["rows"])
    found: dict[str, ColumnFacts] = {}
    connection = duckdb_engine.connect(memory_limit=memory_limit)
    try:
        source = duckdb_engine.parquet(tuple(data))
        for place, column in enumerate(column for column in columns if column.name in profiled):
            values = profiled[column.name]
            histogram, top = _recorded(values)
            if not histogram and not top and place < MOST_COLUMNS:
                histogram, top = _computed(connection, source, column, values, rows)
            found[column.name] = ColumnFacts(
                nulls=int(values["nulls"]),
                distinct=values.get("distinct"),
                least=values.get("min"),
                greatest=values.get("max"),
                histogram=histogram,
                top=top,
            )
    except duckdb.Error as error:
        raise duckdb_engine.explained(error, f"Reading the values of {data[0].name}") from error
    finally:
        connection.close()
    return found


def _recorded(values: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[tuple[Any, int], ...]]:
    histogram = values.get("histogram") or {}
    top = tuple((each["value"], int(each["count"])) for each in values.get("top") or ())
    return tuple(map(int, histogram.get("counts", ()))), top[:MOST_TOP]


def _computed(
    connection: duckdb.DuckDBPyConnection, source: str, column: Column, values: Mapping[str, Any], rows: int
) -> tuple[tuple[int, ...], tuple[tuple[Any, int], ...]]:
    distinct = int(values.get("distinct") or 0)
    least, greatest = values.get("min"), values.get("max")
    number = column.type.startswith(_NUMBERS)
    if number and distinct > _FEW and (extremes := _range(least, greatest)) is not None:
        return _histogram(connection, source, column.name, *extremes), ()
    if distinct and (number or column.type in _TEXTS) and distinct <= max(_FEW, rows * _MOST_SHARE):
        return (), _top(connection, source, column.name)
    return (), ()


def _range(least: Any, greatest: Any) -> tuple[float, float] | None:
    """Return least and greatest value as numbers, None without a width that can be divided."""
    try:
        low, high = float(least), float(greatest)
    except (TypeError, ValueError):
        return None
    return (low, high) if math.isfinite(high - low) and high > low else None


def _histogram(
    connection: duckdb.DuckDBPyConnection, source: str, name: str, least: float, greatest: float
) -> tuple[int, ...]:
    column = f"{identifier(name)}::DOUBLE"
    counted = connection.execute(
        f"SELECT least(floor(({column} - $least) / $width * {BINS}), {BINS - 1})::INT AS bin, count(*)"
        f" FROM {source} WHERE isfinite({column}) GROUP BY bin",
        {"least": least, "width": greatest - least},
    ).fetchall()
    counts = {place: count for place, count in counted if place is not None and place >= 0}
    return tuple(counts.get(place, 0) for place in range(BINS))


def _top(connection: duckdb.DuckDBPyConnection, source: str, name: str) -> tuple[tuple[Any, int], ...]:
    column = identifier(name)
    counted = connection.execute(
        f"SELECT {column}, count(*) AS n FROM {source} WHERE {column} IS NOT NULL"
        f" GROUP BY {column} ORDER BY n DESC, {column} LIMIT {MOST_TOP}"
    ).fetchall()
    return tuple((_plain(value), count) for value, count in counted)


def _plain(value: Any) -> Any:
    match value:
        case str():
            return value[:_LONGEST]
        case decimal.Decimal():
            return float(value)
        case dt.date():
            return value.isoformat()
        case _:
            return value
