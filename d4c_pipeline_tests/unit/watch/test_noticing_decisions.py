"""What is decided when sources are noticed: which round goes on, which listing is believed, what is told when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.ledger.noticing import Observation
from d4c_pipeline.watch.noticing import REPORTS, Round, report, suspicion

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SIX_HOURS = timedelta(hours=6)


def observed(seen: str = "a" * 64) -> Observation:
    return Observation("2021", seen=seen, retained=None, settled=None, seen_at=NOON, changed_at=NOON)


@given(st.datetimes(timezones=st.just(UTC)), st.text(), st.booleans())
def test_a_cursor_is_read_as_it_was_written(began: datetime, after: str, complete: bool) -> None:
    assert Round.parse(str(Round(began, after, complete))) == Round(began, after, complete)


@given(
    st.none()
    | st.text()
    | st.sampled_from(
        [
            "[]",
            "null",
            "7",
            '{"began": "yesterday", "after": "", "complete": false}',
            '{"began": "2026-03-04", "after": "", "complete": false}',  # of no time zone
            '{"after": "2021"}',
            "\ud800",
        ]
    )
)
def test_a_cursor_that_cannot_be_read_starts_over(text: str | None) -> None:
    assert Round.now_or_next(text, SIX_HOURS, NOON) == Round(NOON, "", complete=False)


@pytest.mark.parametrize(
    ("known", "hours", "goes_on"),
    [
        (Round(NOON, "2021", complete=False), 7, True),  # not yet through, however late
        (Round(NOON, "2021", complete=True), 5.9, True),
        (Round(NOON, "2021", complete=True), 6, False),
        (Round(NOON, "2021", complete=False), -1, False),  # the clock was set back
    ],
)
def test_a_round_ends_and_the_next_one_begins_in_time(known: Round, hours: float, goes_on: bool) -> None:
    moment = NOON + timedelta(hours=hours)
    assert Round.now_or_next(str(known), SIX_HOURS, moment) == (known if goes_on else Round(moment))


def test_an_empty_or_shrunken_listing_is_not_believed() -> None:
    assert suspicion([], [], 0.5) == "lists nothing"
    assert suspicion(["a", "b"], [], 0.5) == "lists nothing, and listed 2 before"
    assert suspicion(["a", "b", "c"], ["a", "b"], 0.0) == "lists 2 where it listed 3 before (gone: c)"
    many = [f"{number:08}" for number in range(8000)]
    assert suspicion(many, many[400:], 0.05) is None
    told = suspicion(many, many[401:], 0.05)
    assert told == (
        "lists 7599 where it listed 8000 before (gone: 00000000, 00000001, 00000002, 00000003, 00000004 and 396 more)"
    )


def test_a_listing_that_grows_or_moves_on_is_believed() -> None:
    assert suspicion([], ["a"], 0.0) is None
    assert suspicion(["a"], ["a", "b"], 0.0) is None
    assert suspicion(["2026-03-03"], ["2026-03-04"], 0.0) is None, "a source that only serves its newest vintage"


def never() -> datetime:
    raise AssertionError("nobody needs to know when")


def test_a_change_is_told_at_once() -> None:
    assert report(observed(), None, hopeless=False, reported_at=never) == "a" * 16
    assert report(observed(), "b" * 16, hopeless=False, reported_at=never) == "a" * 16
    assert report(observed(), f"{'b' * 16}.5", hopeless=True, reported_at=never) == "a" * 16, (
        "another change gives hope"
    )


def test_what_did_not_go_through_is_told_again_less_and_less_often() -> None:
    token = "a" * 16

    def wait_after(told: str) -> tuple[str, int] | None:
        """The next version and after how many hours it is told; None when that is never."""
        for hours in range(200):
            moment = NOON + timedelta(hours=hours)
            version = report(observed(), told, hopeless=False, reported_at=lambda: NOON, now=moment)
            if version is not None:
                return version, hours
        return None

    waits: list[tuple[str, int]] = []
    while (following := wait_after(waits[-1][0] if waits else token)) is not None:
        waits.append(following)
    assert waits == [(f"{token}.2", 2), (f"{token}.3", 4), (f"{token}.4", 8), (f"{token}.5", 16)]
    assert len(waits) == REPORTS - 1


def test_what_is_hopeless_is_told_once() -> None:
    assert report(observed(), "a" * 16, hopeless=True, reported_at=never) is None
