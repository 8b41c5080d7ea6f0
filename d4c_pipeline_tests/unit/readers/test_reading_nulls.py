"""Markers for "no value" in columns of text, numbers, dates: the same value is null in every format."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from d4c_pipeline.model.processing import TableProcessing
from d4c_pipeline.tables.columns import plan
from d4c_pipeline.tables.native import Native, with_nulls, with_typed_nulls

DAY = dt.date(1900, 1, 1)


@pytest.mark.parametrize(
    ("values", "kind", "markers", "expected"),
    [
        ([1, -9999, None], pa.int64(), ["-9999"], [1, None, None]),
        ([1, -9999], pa.int16(), ["-9999.00"], [1, None]),
        ([1, -99], pa.int8(), ["-9999", "-99.0"], [1, None]),  # -9999 exceeds 8 bits
        ([1.5, -9999.0], pa.float64(), ["-9999"], [1.5, None]),
        ([1.5, -9999.0], pa.float32(), ["-9999.0"], [1.5, None]),
        ([1.5, -3.4028234663852886e38], pa.float32(), ["-3.4028234663852886e+38"], [1.5, None]),
        ([1.5, float("nan")], pa.float64(), ["NaN"], [1.5, None]),
        ([1.5, -99.0], pa.float16(), ["-99"], [1.5, None]),
        ([Decimal("1.10"), Decimal("-9999.00")], pa.decimal128(38, 2), ["-9999"], [Decimal("1.10"), None]),
        (
            [Decimal("1.1"), Decimal("-9.9")],
            pa.decimal128(2, 1),
            ["-9999", "0.25", "nan", "-9.90"],
            [Decimal("1.1"), None],
        ),
        ([Decimal(1), Decimal(-9999)], pa.decimal256(60, 0), ["-9999"], [Decimal(1), None]),
        ([255, 1], pa.uint8(), ["255", "-1"], [None, 1]),
        ([9007199254740993], pa.int64(), ["9007199254740992"], [9007199254740993]),  # equal as floats
        ([0, 1], pa.int64(), ["x", "", "-", "1.5"], [0, 1]),
        ([DAY, dt.date(2021, 1, 1)], pa.date32(), ["1900-01-01"], [None, dt.date(2021, 1, 1)]),
        (["-9999", "-9999.0", "007"], pa.string(), ["-9999", "7"], [None, "-9999.0", "007"]),
        ([True, False], pa.bool_(), ["1", "true"], [True, False]),
    ],
)
def test_a_marker_is_null_in_columns_of_any_type(values: Any, kind: Any, markers: Any, expected: Any) -> None:
    assert with_nulls(pa.array(values, kind), markers).to_pylist() == expected
    native = Native("x", pa.schema([("c", kind)]), iter([pa.record_batch([pa.array(values, kind)], ["c"])]))
    found = pa.Table.from_batches(with_typed_nulls(native, markers).batches).column(0).to_pylist()
    assert found == (values if kind == pa.string() else expected)


@pytest.mark.parametrize("kind", ["integer", "float"])
def test_a_marker_of_a_declared_number_is_null_in_every_notation(kind: str) -> None:
    declared = {"kind": "table", "nulls": [-9999], "columns": {"pop": {"type": kind, "nulls": ["-1.0"]}}}
    planned = plan(pa.schema([("pop", pa.string()), ("t", pa.string())]), TableProcessing.model_validate(declared))
    batch = pa.RecordBatch.from_pydict({"pop": ["5", "-9999.00", "-9999", " -1 "], "t": ["-9999.00"] * 4})
    assert planned.batch(batch).to_pydict() == {"pop": [5, None, None, None], "t": ["-9999.00"] * 4}


def test_markers_may_be_written_as_numbers() -> None:
    assert TableProcessing.model_validate({"kind": "table", "nulls": [-9999, -99.5, ".."]}).nulls == (
        "-9999",
        "-99.5",
        "..",
    )
