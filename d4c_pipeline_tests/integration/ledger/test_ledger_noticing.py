"""What the ledger keeps of sources and of failures: fingerprints as they were seen, and what nobody mended."""

from __future__ import annotations

import pytest

from d4c_pipeline.ledger import Ledger

SUBJECT = "places"


def due(ledger: Ledger) -> list[str]:
    return list(ledger.observations.due(SUBJECT))


def test_a_partition_is_due_until_the_chain_went_through_with_what_was_seen(ledger: Ledger) -> None:
    observations = ledger.observations
    assert observations.record_seen(SUBJECT, {"2021": "a", "2022": "x"}) == {"2021", "2022"}
    assert observations.record_seen(SUBJECT, {"2021": "a", "2022": "x"}) == frozenset()
    assert due(ledger) == ["2021", "2022"]
    observations.record_retained(SUBJECT, "2021", "a", before="a")
    assert due(ledger) == ["2021", "2022"], "only fetched"
    observations.record_settled(SUBJECT, "2021")
    assert due(ledger) == ["2022"]
    assert observations.record_seen(SUBJECT, {"2021": "b"}) == {"2021"}
    assert due(ledger) == ["2022", "2021"], "the one that changed first stands first"
    observations.record_settled(SUBJECT, "2021")
    assert "2021" in due(ledger), "settled is what was fetched, not what was seen since"
    assert observations.record_seen(SUBJECT, {"2021": "a"}) == {"2021"}
    assert due(ledger) == ["2022"], "the publisher took the change back"


def test_what_was_never_seen_is_not_due(ledger: Ledger) -> None:
    ledger.observations.record_settled(SUBJECT, "2021")
    assert ledger.observations.of(SUBJECT) == {}
    ledger.observations.record_retained(SUBJECT, "2021", "a", before=None)
    ledger.observations.record_settled(SUBJECT, "2021")
    known = ledger.observations.get(SUBJECT, "2021")
    assert known is not None
    assert (known.seen, known.retained, known.settled) == ("a", "a", "a")
    assert due(ledger) == []


def test_a_fetch_does_not_hide_what_a_sensor_saw_meanwhile(ledger: Ledger) -> None:
    ledger.observations.record_seen(SUBJECT, {"2021": "a"})
    # 'raw' begins when "a" is known and fetches it; a sensor sees "b" before it is done.
    ledger.observations.record_seen(SUBJECT, {"2021": "b"})
    ledger.observations.record_retained(SUBJECT, "2021", "a", before="a")
    ledger.observations.record_settled(SUBJECT, "2021")
    assert due(ledger) == ["2021"]


def test_partitions_of_others_are_left_alone(ledger: Ledger) -> None:
    ledger.observations.record_seen("other", {"2021": "a"})
    assert ledger.observations.get(SUBJECT, "2021") is None
    assert due(ledger) == []


def test_eight_thousand_fingerprints_at_once(ledger: Ledger) -> None:
    first = {f"{number:08}": "2026-01-01T1330" for number in range(8000)}
    assert len(ledger.observations.record_seen("tables", first)) == 8000
    assert ledger.observations.record_seen("tables", first | {"00000007": "2026-01-02T1330"}) == {"00000007"}


def test_a_listing_is_kept_and_its_changes_are_logged(ledger: Ledger) -> None:
    assert ledger.listings.of(SUBJECT) is None
    ledger.listings.record(SUBJECT, ["2021", "2022"])
    ledger.listings.record(SUBJECT, ["2022", "2023"])
    known = ledger.listings.of(SUBJECT)
    assert known is not None
    assert known.entries == ("2022", "2023")
    (first, second) = [event.detail for event in ledger.events.of(SUBJECT) if event.kind == "listing changed"]
    assert first == {"added": ["2021", "2022"], "gone": [], "listed": 2}
    assert second == {"added": ["2023"], "gone": ["2021"], "listed": 2}


def test_members_are_kept_with_what_was_said_of_them_last(ledger: Ledger) -> None:
    ledger.members.record("tables", {"1": {"title_en": "One"}, "2": {"title_en": "Two"}})
    ledger.members.record("tables", {"2": {"title_en": "Deux"}})
    assert ledger.members.keys("tables") == ("1", "2")
    assert ledger.members.of("tables", "1") == {"title_en": "One"}
    assert ledger.members.of("tables", "2") == {"title_en": "Deux"}
    assert ledger.members.of("tables", "3") is None


def fail(ledger: Ledger, step: str = "raw", run: str | None = None, cause: str = "It broke") -> None:
    ledger.failures.record(
        SUBJECT, "2021", step, kind="SourceError", transient=False, cause=cause, remedy="Mend it", run=run
    )


def test_a_failure_stands_until_the_same_step_goes_well(ledger: Ledger) -> None:
    fail(ledger)
    fail(ledger, "deposit")
    ledger.failures.settle(SUBJECT, "2021", "raw")
    ledger.failures.settle(SUBJECT, "2022", "deposit")
    (left,) = ledger.failures.standing()
    assert (left.subject, left.partition, left.step, left.cause, left.remedy) == (
        SUBJECT,
        "2021",
        "deposit",
        "It broke",
        "Mend it",
    )
    assert ledger.failures.standing("other") == ()


@pytest.mark.parametrize(("runs", "times"), [(["1", "1", "1"], 1), (["1", "2", "2"], 2), ([None, None], 2)])
def test_runs_are_counted_and_attempts_of_one_run_are_not(ledger: Ledger, runs: list[str | None], times: int) -> None:
    for run in runs:
        fail(ledger, run=run)
    (left,) = ledger.failures.standing()
    assert left.times == times
    assert left.first_at <= left.last_at


def test_the_log_tells_each_cause_once(ledger: Ledger) -> None:
    for cause in ("It broke", "It broke", "It burnt"):
        fail(ledger, cause=cause)
    told = [event.detail["cause"] for event in ledger.events.of(SUBJECT, "2021") if event.kind == "step failed"]
    assert told == ["It broke", "It burnt"]
