"""The profile depends on the data alone: the same bytes for any number of threads and any order of rows."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.geometry.shapes import Facts
from d4c_pipeline.model.release import Column
from d4c_pipeline.portal.statistics import column_facts
from d4c_pipeline.processing.profile import profile

THREADS = (1, 2, 4)


def test_threads_and_the_order_of_rows_do_not_change_a_byte(tmp_path: Path) -> None:
    count = 6_000  # several row groups, so that threads share the work
    numbers = np.arange(count)
    table = pa.table(
        {
            "zero": np.where(numbers % 2, 0.0, -0.0),  # least and greatest: equal values with different signs
            "least_zero": np.where(numbers % 3, numbers / 7, np.where(numbers % 2, 0.0, -0.0)),
            "single": pa.array(np.where(numbers % 2, 0.0, -0.0).astype(np.float32)),
            "odd": np.where(numbers % 5, numbers / 3, np.nan),
            "text": pa.array([None if n % 11 == 0 else f"é{n % 97}" for n in numbers]),
            "nested": pa.array([[float(n % 4)] for n in numbers]),
        }
    )
    random, profiles = np.random.default_rng(14), set[str]()
    for turn, threads in enumerate(THREADS * 4):
        file = tmp_path / f"{turn}.parquet"
        pq.write_table(table.take(random.permutation(count)), file, row_group_size=2_048)
        spill = tmp_path / f"spill-{turn}"
        spill.mkdir()
        profiles.add(json.dumps(profile([file], None, spill=spill, threads=threads)))
    (only,) = profiles
    columns = json.loads(only)["columns"]
    assert "-0.0" not in only
    zero = {"type": "double", "nulls": 0, "distinct": 1, "min": 0.0, "max": 0.0}
    assert columns["zero"] == {**zero, "top": [{"value": 0.0, "count": count}]}
    assert sum(columns["least_zero"]["histogram"]["counts"]) == count
    assert columns["odd"]["max"] == "nan"


@pytest.mark.parametrize("bounds", [(-0.0, -0.0, 0.0, 0.0), (0.0, -0.0, -0.0, -0.0)])
def test_bounds_have_no_negative_zero(tmp_path: Path, bounds: tuple[float, float, float, float]) -> None:
    pq.write_table(pa.table({"id": [1]}), tmp_path / "data.parquet")

    found = profile(tmp_path / "data.parquet", Facts(total_bounds=bounds), spill=tmp_path)

    assert json.dumps(found["geometry"]["bounds"]) == "[0.0, 0.0, 0.0, 0.0]"


def test_a_column_has_the_same_facts_in_a_wide_table(tmp_path: Path) -> None:
    moment = dt.datetime(2024, 5, 1, 12, 30, tzinfo=dt.UTC)
    columns = {
        "text": pa.array(["é", "z", None, "a" * 300]),
        "decimal": pa.array([Decimal("1.50"), Decimal("-3.25"), None, Decimal("1.50")], pa.decimal128(9, 2)),
        "day": pa.array([dt.date(1900, 2, 28), None, dt.date(2024, 2, 29), dt.date(2024, 2, 29)]),
        "moment": pa.array([moment, None, moment, moment + dt.timedelta(microseconds=1)], pa.timestamp("us", "UTC")),
        "local": pa.array([None, None, moment.replace(tzinfo=None), None], pa.timestamp("ms")),
        "time": pa.array([dt.time(1, 2, 3), None, None, dt.time(23, 59)], pa.time64("us")),
        "large": pa.array([2**64 - 1, 0, 5, None], pa.uint64()),
        "single": pa.array([0.1, np.nan, -0.0, np.inf], pa.float32()),
        "flag": pa.array([True, None, False, True]),
        "bytes": pa.array([b"\xff" * 200, b"", None, b"\x00"]),
        "nested": pa.array([[1.0], None, [1.0], [2.0]]),
        "struct": pa.array([{"x": 1}, None, {"x": 1}, {"x": 2}]),
    }
    filler = {f"c{number}": pa.array([number] * 4) for number in range(250)}
    pq.write_table(pa.table(columns), tmp_path / "narrow.parquet")
    pq.write_table(pa.table({**filler, **columns}), tmp_path / "wide.parquet", row_group_size=3)

    narrow, wide = (
        profile(tmp_path / f"{name}.parquet", None, spill=tmp_path)["columns"] for name in ("narrow", "wide")
    )

    assert wide["moment"]["max"] == "2024-05-01T12:30:00.000001+00:00"
    seven = {"type": "int64", "nulls": 0, "distinct": 1, "min": 7, "max": 7}
    assert wide["c7"] == {**seven, "top": [{"value": 7, "count": 4}]}
    assert {each["value"]: each["count"] for each in narrow["single"]["top"]} == {
        0.0: 1,
        0.10000000149011612: 1,
        "inf": 1,
    }
    json.dumps(narrow, allow_nan=False)
    assert {name: wide[name] for name in columns} == narrow


def test_numbers_have_a_histogram_and_texts_that_repeat_their_most_frequent_values(tmp_path: Path) -> None:
    rows = 1_000
    columns = {
        "even": pa.array([number % 100 for number in range(rows)]),
        "skewed": pa.array([Decimal(1 if number else 10**6) / 7 + number % 20 for number in range(rows)]),
        "few": pa.array([number % 3 for number in range(rows)], pa.uint8()),
        "kind": pa.array([None if number < 10 else "abcd"[min(number % 7, 3)] for number in range(rows)]),
        "name": pa.array([f"name {number}" for number in range(rows)]),
    }
    pq.write_table(pa.table(columns), tmp_path / "data.parquet")

    found = profile(tmp_path / "data.parquet", None, spill=tmp_path)["columns"]

    assert found["even"]["histogram"] == {"counts": [50] * 20}
    assert found["skewed"]["histogram"]["counts"] == [999, *[0] * 18, 1]
    assert found["few"]["top"] == [{"value": 0, "count": 334}, {"value": 1, "count": 333}, {"value": 2, "count": 333}]
    assert [each["value"] for each in found["kind"]["top"]] == ["d", "a", "b"]
    assert "top" not in found["name"]

    # A profile of an earlier release has none of them: the portal computes the same.
    shown = [Column(name, found[name]["type"]) for name in columns]
    kept = ("type", "nulls", "distinct", "min", "max")
    earlier = {name: {key: facts[key] for key in kept} for name, facts in found.items()}
    recorded, computed = (
        column_facts(shown, {"rows": rows, "columns": known}, [tmp_path / "data.parquet"], temp=tmp_path)
        for known in (found, earlier)
    )
    assert computed == recorded
    assert recorded["even"].histogram == (50,) * 20
    assert [path.name for path in tmp_path.iterdir()] == ["data.parquet"]
