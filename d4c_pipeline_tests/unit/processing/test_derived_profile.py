"""The facts of a column: counted exactly, ordered, and ready for JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.processing.derived.profile_extra import column_facts
from d4c_pipeline.processing.preview import profile_markdown
from d4c_pipeline.tables import duckdb_engine


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb_engine.connect()
    yield connection
    connection.close()


def facts(connection: duckdb.DuckDBPyConnection, values: pa.Array) -> dict[str, Any]:
    connection.register("rows_of_test", pa.table({'a "name"': values}))
    found = column_facts(connection, "rows_of_test", 'a "name"')
    connection.unregister("rows_of_test")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_texts(connection: duckdb.DuckDBPyConnection) -> None:
    assert facts(connection, pa.array(["b", "é", "b", None, "z" * 300, "é", "a"])) == {
        "nulls": 1,
        "distinct": 4,
        "min": "a",
        "max": "é",
        # As frequent as each other: by value.
        "top": [{"value": "b", "count": 2}, {"value": "é", "count": 2}],
    }


def test_numbers_have_a_histogram_over_what_is_finite(connection: duckdb.DuckDBPyConnection) -> None:
    found = facts(connection, pa.array([0.0, -0.0, 1.0, 0.5, 0.5, float("nan"), float("inf"), None]))
    assert (found["nulls"], found["distinct"], found["not_finite"]) == (1, 5, 2)
    assert found["top"] == [{"value": 0.0, "count": 2}, {"value": 0.5, "count": 2}]
    histogram = found["histogram"]
    assert (histogram["from"], histogram["to"]) == (0.0, 1.0)
    assert {n: count for n, count in enumerate(histogram["counts"]) if count} == {0: 2, 10: 2, 19: 1}
    assert len(histogram["counts"]) == 20


def test_one_value_has_one_bin(connection: duckdb.DuckDBPyConnection) -> None:
    assert facts(connection, pa.array([7, 7, 7], pa.int16()))["histogram"] == {"from": 7.0, "to": 7.0, "counts": [3]}


def test_a_range_that_a_double_can_not_hold_has_no_histogram(connection: duckdb.DuckDBPyConnection) -> None:
    assert "histogram" not in facts(connection, pa.array([-1.7e308, 1.7e308]))


def test_nested_and_empty_columns_have_counts(connection: duckdb.DuckDBPyConnection) -> None:
    assert facts(connection, pa.array([[1], [1], None])) == {"nulls": 1, "distinct": 1}
    assert facts(connection, pa.array([None, None], pa.float64())) == {
        "nulls": 2, "distinct": 0, "min": None, "max": None, "top": []
    }  # fmt: skip


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3)), min_size=1, max_size=60))
def test_every_value_is_counted_once(values: list[int | None]) -> None:
    connection = duckdb_engine.connect(threads=1)
    found = facts(connection, pa.array(values, pa.int64()))
    connection.close()
    known = Counter(value for value in values if value is not None)
    assert found["nulls"] == values.count(None)
    assert found["distinct"] == len(known)
    assert [(each["value"], each["count"]) for each in found["top"]] == sorted(
        ((value, count) for value, count in known.items() if count > 1), key=lambda pair: (-pair[1], pair[0])
    )[:10]
    assert sum(found.get("histogram", {"counts": []})["counts"]) == known.total()


def test_a_profile_is_shown_as_a_table() -> None:
    column = {"type": "int16", "nulls": 1, "distinct": 2, "min": 1, "max": 2, "top": [{"value": 1, "count": 2}]}
    histogram = {"from": 1.0, "to": 2.0, "counts": [8, 0, 1]}
    geometry = {"types": {"Point": 3}, "nulls": 1, "bounds": None, "vertices": 3, "most_vertices": 1}
    shown = profile_markdown({"columns": {"a|b": {**column, "histogram": histogram}}, "geometry": geometry})
    assert shown.splitlines()[2:] == [
        "| a\\|b | int16 | 1 | 2 | 1 | 2 | 1 (2) | █·▁ |",
        "",
        "Geometry: 3 Point; 1 rows without; 3 vertices, 1 at most in one",
    ]
