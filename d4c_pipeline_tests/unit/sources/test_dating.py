"""Which dates of a source may become a vintage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.sources.dating import require_dated
from d4c_pipeline.sources.http import served_vintage
from d4c_pipeline.sources.port import FileMark

NOW = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(minutes=14), timedelta(days=-9000)])
def test_a_clock_that_is_minutes_ahead_is_believed(ahead: timedelta) -> None:
    assert require_dated(NOW + ahead, "a.csv", NOW) == NOW + ahead


@pytest.mark.parametrize(
    ("ahead", "kind", "words"),
    [
        (timedelta(minutes=16), TransientError, "a.csv is dated 2026-03-05 12:16 UTC, 16 minutes in the future"),
        (timedelta(hours=7), TransientError, "7 hours in the future"),
        (timedelta(hours=26), TransientError, "26 hours in the future"),
        (timedelta(hours=27), SourceError, "27 hours in the future"),
        (timedelta(days=26_000), SourceError, "26,000 days in the future"),
    ],
)
def test_a_date_ahead_is_waited_for_where_a_time_zone_explains_it_and_refused_beyond(
    ahead: timedelta, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        require_dated(NOW + ahead, "a.csv", NOW)


@pytest.mark.parametrize("zero", ["1970-01-01T00:00", "1969-12-31T19:00", "1980-01-01T00:00"])
def test_the_zero_of_a_clock_is_no_date(zero: str) -> None:
    with pytest.raises(SourceError, match="the zero of a clock"):
        require_dated(datetime.fromisoformat(zero).replace(tzinfo=UTC), "a.csv", NOW)


def test_one_file_of_several_that_is_dated_ahead_is_named() -> None:
    marks = [
        FileMark("https://x/a.csv", None, "Tue, 05 Mar 2024 10:00:00 GMT", 1),
        FileMark("https://x/b.csv", None, "Thu, 01 Jan 2099 00:00:00 GMT", 1),
    ]
    with pytest.raises(SourceError, match=r"https://x/b\.csv is dated 2099-01-01 00:00 UTC"):
        served_vintage(marks)
    assert str(served_vintage(marks[:1])) == "2024-03-05"
