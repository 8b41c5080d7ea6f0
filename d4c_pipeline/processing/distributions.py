"""How the values of a column are distributed: a histogram of numbers, or the most frequent other values.

One statement per column over published Parquet. The other facts of columns belong to `profile`.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Mapping
from typing import Any

import duckdb

from d4c_pipeline.tables.sql_names import identifier

BINS = 20
"""The bins of a histogram, of equal width between least and greatest value."""
MOST_COLUMNS = 400
"""The columns of a table with a distribution, the first of it; the others would double the time of a wide table."""
MOST_TOP = 3
_FEW = 12  # a number with so few values is shown like a text
_MOST_SHARE = 0.5  # texts that hardly repeat have no frequent values
_NUMBERS = ("int", "uint", "float", "double", "decimal")
_TEXTS = ("string", "large_string", "bool")
_LONGEST = 80


def distribution(
    connection: duckdb.DuckDBPyConnection, source: str, name: str, facts: Mapping[str, Any], rows: int
) -> dict[str, Any]:
    """Return `histogram` (`counts`: one per bin) or `top` (value and count, the most frequent first), or nothing.

    `source`: a table expression with the column `name`; `facts`: its `type` (Arrow's name), `distinct`, `min` and `max`
    of the profile. The same values give the same answer for any order of rows and any number of threads.
    """
    kind, distinct = str(facts["type"]), int(facts.get("distinct") or 0)
    number = kind.startswith(_NUMBERS)
    if number and distinct > _FEW and (extremes := _range(facts.get("min"), facts.get("max"))) is not None:
        return {"histogram": {"counts": _histogram(connection, source, name, *extremes)}}
    if distinct and (number or kind in _TEXTS) and distinct <= max(_FEW, rows * _MOST_SHARE):
        return {"top": _top(connection, source, name)}
    return {}


def _range(least: Any, greatest: Any) -> tuple[float, float] | None:
    """Return least and greatest value as numbers, None without a width that can be divided."""
    try:
        low, high = float(least), float(greatest)
    except (TypeError, ValueError):
        return None
    return (low, high) if math.isfinite(high - low) and high > low else None


def _histogram(
    connection: duckdb.DuckDBPyConnection, source: str, name: str, least: float, greatest: float
) -> list[int]:
    column = f"{identifier(name)}::DOUBLE"
    counted = connection.execute(
        f"SELECT least(floor(({column} - $least) / $width * {BINS}), {BINS - 1})::INT AS bin, count(*)"
        f" FROM {source} WHERE isfinite({column}) GROUP BY bin",
        {"least": least, "width": greatest - least},
    ).fetchall()
    # A decimal may lie below the double of the least value by its last digit.
    counts = [0] * BINS
    for place, count in counted:
        counts[max(0, place)] += count
    return counts


def _top(connection: duckdb.DuckDBPyConnection, source: str, name: str) -> list[dict[str, Any]]:
    column = identifier(name)
    counted = connection.execute(
        f"SELECT {column}, count(*) AS n FROM {source} WHERE {column} IS NOT NULL"
        f" GROUP BY {column} ORDER BY n DESC, {column} LIMIT {MOST_TOP}"
    ).fetchall()
    return [{"value": _plain(value), "count": count} for value, count in counted]


def _plain(value: Any) -> Any:
    match value:
        case str():
            return value[:_LONGEST]
        case float():
            # JSON has no NaN and no infinity; 0.0 and -0.0 are one group, named by its first row.
            return value + 0.0 if math.isfinite(value) else str(value)
        case decimal.Decimal():
            return float(value)
        case dt.date():
            return value.isoformat()
        case _:
            return value
