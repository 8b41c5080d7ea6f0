"""REF_DATE in all its forms: the first and last day that a text means."""

from __future__ import annotations

import calendar
import datetime as dt
import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given

from d4c_pipeline.processing.statcan.codes import Frequency
from d4c_pipeline.processing.statcan.ref_date import period


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "frequency", "start", "first", "last"),
    [
        ("2021", None, None, "2021-01-01", "2021-12-31"),
        ("2021", Frequency.EVERY_FIVE_YEARS, None, "2021-01-01", "2021-12-31"),
        ("2021-05", None, None, "2021-05-01", "2021-05-31"),
        ("2020-02", Frequency.MONTHLY, None, "2020-02-01", "2020-02-29"),
        ("2021-04", Frequency.QUARTERLY, None, "2021-04-01", "2021-06-30"),
        ("2021-10", Frequency.QUARTERLY, None, "2021-10-01", "2021-12-31"),
        ("2021-07", Frequency.SEMI_ANNUAL, None, "2021-07-01", "2021-12-31"),
        ("2021-11", Frequency.EVERY_TWO_MONTHS, None, "2021-11-01", "2021-12-31"),
        ("2021-12", Frequency.EVERY_TWO_MONTHS, None, "2021-12-01", "2022-01-31"),
        ("2021-05-07", Frequency.DAILY, None, "2021-05-07", "2021-05-07"),
        ("2021-05-07", Frequency.WEEKLY, None, "2021-05-07", "2021-05-07"),
        (" 2021 ", None, None, "2021-01-01", "2021-12-31"),
        # Years that follow each other: one fiscal year of an annual cube, a two-year estimate of others.
        ("2023/2024", Frequency.ANNUAL, None, "2023-04-01", "2024-03-31"),
        ("2015/2016", Frequency.OCCASIONAL, None, "2015-01-01", "2016-12-31"),
        ("2015/2016", None, None, "2015-01-01", "2016-12-31"),
        ("2023/2024", Frequency.ANNUAL, 9, "2023-09-01", "2024-08-31"),
        ("2023/2024", Frequency.OCCASIONAL, 8, "2023-08-01", "2024-07-31"),
        ("2023/2024", Frequency.ANNUAL, 1, "2023-01-01", "2024-12-31"),
        ("2019/2020", Frequency.ANNUAL, 3, "2019-03-01", "2020-02-29"),
        # Others span from the beginning of the one to the end of the other.
        ("2015/2017", Frequency.ANNUAL, 4, "2015-01-01", "2017-12-31"),
        ("2012-07/2013-06", None, 4, "2012-07-01", "2013-06-30"),
        ("2021-05-07/2021-05-20", None, None, "2021-05-07", "2021-05-20"),
    ],
)
def test_a_text_spans_days(text: str, frequency: int | None, start: int | None, first: str, last: str) -> None:
    assert period(text, frequency=frequency, fiscal_year_start=start) == (day(first), day(last))


@pytest.mark.parametrize(
    "text",
    ["", "..", "21", "2021-13", "2021-00", "2021-02-30", "2021/05", "2021/", "/2021", "2024/2023", "2021/2021",
     "0000", "2021-5", "2021-05-07T00:00", "٢٠٢١", "Q1 2021", "2021/2022/2023"],
)  # fmt: skip
@pytest.mark.parametrize("frequency", [None, Frequency.QUARTERLY, Frequency.ANNUAL])
def test_what_is_no_period_is_none(text: str, frequency: int | None) -> None:
    assert period(text, frequency=frequency) is None


def test_a_frequency_that_is_not_known_changes_nothing() -> None:
    assert period("2021-04", frequency=99) == (day("2021-04-01"), day("2021-04-30"))


@given(st.dates())
def test_a_day_a_month_and_a_year_hold_the_day(moment: dt.date) -> None:
    text = moment.isoformat()
    assert period(text) == (moment, moment)
    last = calendar.monthrange(moment.year, moment.month)[1]
    assert period(text[:7]) == (moment.replace(day=1), moment.replace(day=last))
    assert period(text[:4]) == (dt.date(moment.year, 1, 1), dt.date(moment.year, 12, 31))


@given(st.integers(1, 9998), st.integers(2, 12), st.sampled_from(list(Frequency)))
def test_a_split_year_is_twelve_months_and_meets_the_next(year: int, month: int, frequency: Frequency) -> None:
    spanned = period(f"{year:04}/{year + 1:04}", frequency=frequency, fiscal_year_start=month)
    assert spanned is not None
    assert spanned[0] == dt.date(year, month, 1)
    assert spanned[1] + dt.timedelta(days=1) == dt.date(year + 1, month, 1)


@given(
    st.integers(1, 9990),
    st.sampled_from(
        [(Frequency.EVERY_TWO_MONTHS, 2), (Frequency.QUARTERLY, 3), (Frequency.SEMI_ANNUAL, 6), (Frequency.MONTHLY, 1)]
    ),
)  # fmt: skip
def test_the_periods_of_a_year_leave_no_gap(year: int, rule: tuple[Frequency, int]) -> None:
    frequency, months = rule
    spans = [period(f"{year:04}-{month:02}", frequency=frequency) for month in range(1, 13, months)]
    assert spans[0] is not None
    assert spans[0][0] == dt.date(year, 1, 1)
    for before, after in itertools.pairwise(spans):
        assert before is not None
        assert after is not None
        assert before[1] + dt.timedelta(days=1) == after[0]
    assert spans[-1] is not None
    assert spans[-1][1] == dt.date(year, 12, 31)


@given(st.text(alphabet="0123456789-/ ", max_size=22))
def test_any_text_gives_an_ordered_span_or_none(text: str) -> None:
    spanned = period(text, frequency=Frequency.ANNUAL)
    assert spanned is None or spanned[0] <= spanned[1]
