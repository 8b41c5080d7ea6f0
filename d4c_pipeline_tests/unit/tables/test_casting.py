"""Casting declared types: right values, and errors instead of loss."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables.casting import cast


def column(*values: object, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(
    ("kind", "texts", "expected"),
    [
        ("integer", [" 24", "-7", "007", "", None], [24, -7, 7, None, None]),
        ("float", ["98.84069746", "+1e3", ".5", "1.", " "], [98.84069746, 1000.0, 0.5, 1.0, None]),
        ("boolean", ["t", "No", "1", None], [True, False, True, None]),
        (
            "date",
            ["1981-05-04", "20210101", "2021/12/31", None],
            [dt.date(1981, 5, 4), dt.date(2021, 1, 1), dt.date(2021, 12, 31), None],
        ),
        (
            "timestamp",
            ["2021-01-01T08:30", "2021-01-01 08:30:00-05:00", "2021-01-01T00:00:00.5Z", "2021-01-01"],
            [
                dt.datetime(2021, 1, 1, 8, 30),  # noqa: DTZ001 - no zone was given
                dt.datetime(2021, 1, 1, 13, 30),  # noqa: DTZ001
                dt.datetime(2021, 1, 1, 0, 0, 0, 500_000),  # noqa: DTZ001
                dt.datetime(2021, 1, 1),  # noqa: DTZ001
            ],
        ),
        ("string", ["01", " x "], ["01", " x "]),
    ],
)
def test_text_is_cast(kind: str, texts: list[str], expected: list[object]) -> None:
    assert cast(column(*texts, kind=pa.string()), kind, "c").to_pylist() == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("integer", "1.5"),  # rounding would return 2
        ("integer", "99999999999999999999"),
        ("float", "1,5"),
        ("float", "nan"),
        ("boolean", "maybe"),
        ("date", "2021-02-30"),
        ("date", "1981-05"),
        ("timestamp", "2021-01-01T25:00"),
    ],
)
def test_a_value_that_does_not_fit_is_named(kind: str, text: str) -> None:
    with pytest.raises(DataError, match=f"Column c .*{kind}") as refusal:
        cast(column("", text, kind=pa.string()), kind, "c")
    assert repr(text) in str(refusal.value)


def test_numbers_are_cast_without_loss_or_not_at_all() -> None:
    assert cast(column(35.0, None), "integer", "c").to_pylist() == [35, None]
    assert cast(column(35, None), "string", "c").to_pylist() == ["35", None]
    with pytest.raises(DataError, match=r"35\.5"):
        cast(column(35.0, 35.5), "integer", "c")
