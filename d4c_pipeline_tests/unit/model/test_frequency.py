"""How often there is new data: declared forms, the expected day, the freshness, and the vocabularies of records."""

from __future__ import annotations

from datetime import date

import pytest

from d4c_pipeline.model import frequency
from d4c_pipeline.model.frequency import Freshness
from d4c_pipeline.model.publication import Publication


@pytest.mark.parametrize(
    ("text", "same"), [("P7D", "P1W"), ("P12M", "P1Y"), ("P5Y", "P5Y"), ("continual", "continual")]
)
def test_one_rhythm_has_one_form(text: str, same: str) -> None:
    assert Publication(frequency=text).frequency == same


@pytest.mark.parametrize("text", ["yearly", "P0D", "P1Y2M", "PT1H", "1Y", "p1y"])
def test_another_form_is_refused_with_the_right_ones(text: str) -> None:
    with pytest.raises(ValueError, match=r"P1D, P1W, P1M, P3M, P1Y, P5Y\), continual, irregular or not_planned"):
        Publication(frequency=text)


@pytest.mark.parametrize(
    ("rhythm", "end", "day"),
    [
        ("P1M", date(2024, 1, 31), date(2024, 2, 29)),
        ("P1M", date(2024, 2, 29), date(2024, 3, 31)),
        ("P1M", date(2024, 1, 30), date(2024, 2, 29)),
        ("P5Y", date(2021, 12, 31), date(2026, 12, 31)),
        ("P2W", date(2026, 12, 25), date(2027, 1, 8)),
        ("P1Y", date(2024, 2, 29), date(2025, 2, 28)),
        ("irregular", date(2024, 2, 29), None),
    ],
)
def test_the_expected_day(rhythm: str, end: date, day: date | None) -> None:
    assert frequency.expected(rhythm, end) == day


def test_new_data_is_due_for_one_period_and_late_after_it() -> None:
    end = date(2024, 12, 31)
    days = [date(2025, 12, 31), date(2026, 1, 1), date(2026, 12, 31), date(2027, 1, 1)]
    assert [frequency.freshness("P1Y", end, day) for day in days] == [
        Freshness.CURRENT,
        Freshness.DUE,
        Freshness.DUE,
        Freshness.LATE,
    ]
    assert frequency.freshness("continual", end, days[-1]) is None


def test_the_terms_of_the_vocabularies() -> None:
    rhythms = ("P3M", "P2Y", "P3D", "continual", "not_planned")
    assert [frequency.european(each) for each in rhythms] == ["QUARTERLY", "BIENNIAL", "OTHER", "CONT", "NEVER"]
    assert [frequency.iso_19115(each) for each in rhythms] == [
        "quarterly",
        "asNeeded",
        "asNeeded",
        "continual",
        "notPlanned",
    ]
    assert [frequency.repeating(each) for each in rhythms] == ["R/P3M", "R/P2Y", "R/P3D", "R/PT1S", "irregular"]
