"""Dates in a declared form: another form or a day that does not exist raises an error with row and value."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Column, TableProcessing
from d4c_pipeline.tables.casting import cast
from d4c_pipeline.tables.columns import plan

DAY = dt.date(2021, 5, 6)
MOMENT = dt.datetime(2021, 5, 6, 15, 4, 5)  # noqa: DTZ001 - the type has no zone


@pytest.mark.parametrize(
    ("form", "text", "kind", "expected"),
    [
        ("%d/%m/%Y", "06/05/2021", "date", DAY),
        ("%m/%d/%Y", "05/06/2021", "date", DAY),
        ("%-d.%-m.%y", "6.5.21", "date", DAY),
        ("%y%m%d", "690506", "date", dt.date(1969, 5, 6)),
        ("%d-%b-%Y", "06-MAY-2021", "date", DAY),
        ("%e %B %Y", "6 août 2021", "date", dt.date(2021, 8, 6)),
        ("%d %b %Y", "06 févr. 2021", "date", dt.date(2021, 2, 6)),
        ("%B %d, %Y", "May 6, 2021", "date", DAY),
        ("%d/%m/%Y", "06/05/2021", "timestamp", MOMENT.replace(hour=0, minute=0, second=0)),
        ("%d/%m/%Y %H:%M:%S", "06/05/2021 15:04:05", "timestamp", MOMENT),
        ("%m/%d/%Y %I:%M:%S %p", "5/6/2021 3:04:05 PM", "timestamp", MOMENT),
        ("%m/%d/%Y %I:%M %p", "5/6/2021 12:04 a.m.", "timestamp", MOMENT.replace(hour=0, second=0)),
        ("%Y%m%dT%H%M%S%z", "20210506T100405-0500", "timestamp", MOMENT),
        ("%Y-%m-%d %H:%M:%S.%f", "2021-05-06 15:04:05.25", "timestamp", MOMENT.replace(microsecond=250_000)),
    ],
)
def test_text_in_the_declared_form_is_read(form: str, text: str, kind: str, expected: Any) -> None:
    column = pa.array([None, f" {text} ", ""])
    assert cast(column, kind, "c", date_format=form).to_pylist() == [None, expected, None]


@pytest.mark.parametrize("text", ["31/02/2021", "2021-05-06", "06/13/2021", "06/05/21", "06/05/2021 08:00", "0/1/2021"])
def test_another_form_or_no_day_is_refused_with_row_and_value(text: str) -> None:
    schema = pa.schema([("d", pa.string())])
    declared = TableProcessing.model_validate(
        {"kind": "table", "columns": {"d": {"type": "date", "date_format": "%d/%m/%Y"}}}
    )
    batch = pa.RecordBatch.from_pydict({"d": ["06/05/2021", text]})
    with pytest.raises(DataError, match=f"Column d has '{text}' in row 102, which is not a day"):
        plan(schema, declared).batch(batch, 100)


@given(st.dates(dt.date(1000, 1, 1)), st.sampled_from(["%d/%m/%Y", "%Y%m%d", "%b %d %Y", "%d %B %Y"]))
def test_what_python_writes_is_read_back(day: dt.date, form: str) -> None:
    assert cast(pa.array([day.strftime(form)]), "date", "c", date_format=form).to_pylist() == [day]


@pytest.mark.parametrize(
    ("form", "kind"),
    [("%d/%m/%Y", None), ("%d/%m/%Y", "string"), ("%d/%m", "date"), ("%d/%m/%Y %H", "date"),
     ("%d/%m/%Y %I", "timestamp"),
     ("%d/%m/%Y/%y", "date"), ("%j %Y", "date"), ("%d/%m/%Y %S", "timestamp"), ("%d/%m/%Y%", "date")],
)  # fmt: skip
def test_forms_that_make_no_date_are_refused_when_declared(form: str, kind: Any) -> None:
    with pytest.raises(ValidationError, match="date_format"):
        Column(type=kind, date_format=form)


def test_words_of_both_languages_are_booleans() -> None:
    yes, no = ["Oui", "yes", "VRAI", "o", "1", "T"], ["Non", "no", "faux", "N", "0", "f"]
    assert cast(pa.array([*yes, *no]), "boolean", "c").to_pylist() == [True] * 6 + [False] * 6


def test_a_typesetters_minus_is_one_where_a_number_is_declared() -> None:
    assert cast(pa.array(["\u22125", "7"]), "integer", "c").to_pylist() == [-5, 7]
    assert cast(pa.array(["\u22125.5", "7"]), "float", "c").to_pylist() == [-5.5, 7.0]


def test_a_misfit_is_named_with_its_row() -> None:
    with pytest.raises(DataError, match=r"declared type integer: 'x' \(the first in row 13\)"):
        cast(pa.array(["1", None, "x"]), "integer", "c", first_row=10)
