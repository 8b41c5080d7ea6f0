"""What the values of one column are: nulls, distinct, extremes, most frequent, a histogram of numbers.

DuckDB counts each value once over the finished file and everything else is asked of these counts, so that the memory
is that of one column's distinct values, and of less where they spill. Which columns there are is known by `profile`.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from typing import Any

import duckdb

from d4c_pipeline.tables.sql_names import identifier

TOP_VALUES = 10
HISTOGRAM_BINS = 20
_LONGEST_TEXT = 200
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_NUMBERS = (*_INTEGERS, *(f"U{name}" for name in _INTEGERS), "FLOAT", "DOUBLE", "DECIMAL")
_COUNTS = "d4c_profile_counts"


def column_facts(connection: duckdb.DuckDBPyConnection, source: str, name: str) -> dict[str, Any]:
    """Return the facts of column `name` of the table expression `source`, ready for JSON and the same each time.

    `nulls`, `distinct` (exact, nulls not counted); `min`, `max` (dates in ISO 8601, texts by code point, cut after 200
    characters); `top`: the ten most frequent values that occur more than once, each with its `count`, the most frequent
    first, then by value; for numbers `histogram`: `counts` of 20 equally wide bins `from` the least `to` the greatest
    finite value (the last bin holds it too), and `not_finite` where there are such. Nested types have counts alone.
    Raises duckdb.Error as the query does.
    """
    column = identifier(name)
    kind = connection.execute(f"DESCRIBE SELECT {column} FROM {source}").fetchall()[0][1]
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION")):
        nulls, distinct = _one(connection, f"SELECT count(*) - count({column}), count(DISTINCT {column}) FROM {source}")
        return {"nulls": nulls, "distinct": distinct}
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {_COUNTS} AS SELECT {column} AS v, count(*) AS n FROM {source} GROUP BY {column}"
    )
    try:
        nulls, distinct, least, greatest = _one(
            connection,
            f"SELECT coalesce(sum(n) FILTER (v IS NULL), 0)::BIGINT, count(v), min(v), max(v) FROM {_COUNTS}",
        )
        top = connection.execute(
            f"SELECT v, n FROM {_COUNTS} WHERE v IS NOT NULL AND n > 1 ORDER BY n DESC, v LIMIT {TOP_VALUES}"
        ).fetchall()
        facts: dict[str, Any] = {
            "nulls": nulls,
            "distinct": distinct,
            "min": plain(least),
            "max": plain(greatest),
            "top": [{"value": plain(value), "count": count} for value, count in top],
        }
        return facts | (_histogram(connection) if kind.startswith(_NUMBERS) and distinct else {})
    finally:
        connection.execute(f"DROP TABLE {_COUNTS}")


def _histogram(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    finite = f"(SELECT v::DOUBLE AS x, n FROM {_COUNTS} WHERE v IS NOT NULL AND isfinite(v::DOUBLE))"
    least, greatest, counted = _one(connection, f"SELECT min(x), max(x), coalesce(sum(n), 0)::BIGINT FROM {finite}")
    (known,) = _one(connection, f"SELECT coalesce(sum(n), 0)::BIGINT FROM {_COUNTS} WHERE v IS NOT NULL")
    facts: dict[str, Any] = {"not_finite": known - counted} if known > counted else {}
    if not counted or not math.isfinite(greatest - least):
        return facts
    bins = HISTOGRAM_BINS if greatest > least else 1
    width = (greatest - least) / bins or 1.0
    rows = connection.execute(
        f"SELECT least(floor((x - $least) / $width), $last)::INTEGER AS bin, sum(n)::BIGINT FROM {finite} GROUP BY bin",
        {"least": least, "width": width, "last": bins - 1},
    ).fetchall()
    counts = [0] * bins
    for number, count in rows:
        counts[number] = count
    return facts | {"histogram": {"from": least, "to": greatest, "counts": counts}}


def plain(value: Any) -> Any:
    """Return what DuckDB answers as a value that JSON knows."""
    match value:
        case str():
            return value[:_LONGEST_TEXT]
        case float():
            # JSON knows neither NaN nor infinity; and which of 0.0 and -0.0 stands for both is a matter of threads.
            return value + 0.0 if math.isfinite(value) else str(value)
        case None | bool() | int():
            return value
        case dt.date() | dt.time():
            return value.isoformat()
        case decimal.Decimal():
            return str(value)
        case bytes():
            return value[: _LONGEST_TEXT // 2].hex()
        case _:
            return str(value)


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return connection.execute(query).fetchone() or ()
