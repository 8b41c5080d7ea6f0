"""What people do at the archive by hand stays: drafts they opened, corrections in ours, additions to records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.archives import deposit
from d4c_pipeline.archives.edits import LastSent, merge
from d4c_pipeline.model.errors import AwaitingReviewError, NeedsPersonError
from d4c_pipeline.model.release import Release
from d4c_pipeline_tests.fakes.deposits import InvenioHome
from d4c_pipeline_tests.fakes.invenio import FakeInvenio

FUNDING = [{"funder": {"name": "SSHRC"}, "award": {"title": {"en": "Grant 1"}, "number": "1"}}]


@pytest.fixture
def place(fake: FakeInvenio, tmp_path: Path) -> Iterator[InvenioHome]:
    (tmp_path / "home").mkdir()
    with closing(InvenioHome(tmp_path / "home", fake)) as home:
        yield home


def wait(place: InvenioHome, release: Release) -> None:
    """Bring a release to where it waits for a person."""

    def ask() -> None:
        raise AwaitingReviewError("complete", "look at it")

    with closing(place.ledger()) as ledger:
        metadata = place.metadata(release)
        deposit.reserve(ledger, place.archive(), release, metadata, previous=place.previous(ledger))
        files = place.staged(str(release.version))
        with pytest.raises(AwaitingReviewError):
            deposit.complete(ledger, place.archive(), release, files, metadata, approval=ask)


def hand(place: InvenioHome, record: str, **fields: Any) -> None:
    place.fake.state.records[record].metadata.update(fields)


def the_draft(place: InvenioHome) -> Any:
    (draft,) = place.fake.state.drafts()
    return draft


def published(place: InvenioHome, version: str) -> dict[str, Any]:
    (record,) = [one for one in place.fake.state.published() if one.metadata["version"] == version]
    return record.metadata


def test_corrections_in_the_waiting_draft_are_published(place: InvenioHome) -> None:
    release = place.plan("0.1.0", b"first release")
    wait(place, release)
    text = "<p>Corrected by the librarian.</p>"
    hand(place, the_draft(place).id, description=text, funding=FUNDING, subjects=[{"subject": "added"}])
    wait(place, release)  # a second call before the approval loses nothing either
    place.publish(release)
    place.check_published_once(release)
    said = published(place, "0.1.0")
    assert (said["description"], said["funding"], said["subjects"]) == (text, FUNDING, [{"subject": "added"}])
    with closing(place.ledger()) as ledger:
        (told, *_) = [event for event in ledger.events.of("provinces") if event.kind == "archive edits kept"]
    assert told.detail["fields"] == ["metadata.description", "metadata.funding", "metadata.subjects"]


def test_what_a_curator_added_to_a_record_is_in_the_next_two_versions(place: InvenioHome) -> None:
    first = place.plan("0.1.0", b"first release")
    record = place.publish(first).record_id
    hand(place, str(record), funding=FUNDING, subjects=[{"subject": "curated"}])
    for version in ("0.1.1", "0.1.2"):
        place.publish(place.plan(version, version.encode()))
        said = published(place, version)
        assert (said["funding"], said["subjects"]) == (FUNDING, [{"subject": "curated"}])
        assert version in said["description"]


def test_a_text_that_both_sides_changed_stops_until_a_person_says_whose_stays(place: InvenioHome) -> None:
    first = place.plan("0.1.0", b"first release")
    record = place.publish(first).record_id
    hand(place, str(record), description="<p>Rewritten by the librarian.</p>")
    second = place.plan("0.1.1", b"second release")
    with pytest.raises(NeedsPersonError, match=r"metadata\.description: there .*Rewritten.*--keep archive"):
        place.publish(second)
    with closing(place.ledger()) as ledger:
        last = LastSent.from_json(ledger.deposits.described(second))
        ledger.deposits.describe(second, {**vars(last), "decided": "archive"})
    place.publish(second)
    assert published(place, "0.1.1")["description"] == "<p>Rewritten by the librarian.</p>"
    place.check_published_once(first, second)


@pytest.mark.parametrize("with_files", [True, False])
def test_a_draft_that_somebody_opened_by_hand_is_left_as_it_is(place: InvenioHome, with_files: bool) -> None:
    first = place.plan("0.1.0", b"first release")
    record = str(place.publish(first).record_id)
    state = place.fake.state
    assert state.answer("POST", f"/records/{record}/versions", {}, "1", None, None, "").status == 201
    ana = the_draft(place)
    hand(place, ana.id, description="<p>Ana is working on this.</p>")  # with our identifier, as it was copied
    if with_files:
        state.answer("POST", f"/records/{ana.id}/draft/actions/files-import", {}, "1", None, None, "")
        assert ana.files
    before = (dict(ana.metadata), dict(ana.files))
    second = place.plan("0.1.1", b"second release")
    for _ in range(2):
        with pytest.raises(NeedsPersonError, match=rf"has an open foreign draft: .*/records/{ana.id}"):
            place.publish(second)
        assert (dict(the_draft(place).metadata), dict(the_draft(place).files)) == before


def test_a_newer_build_does_not_throw_corrections_away(place: InvenioHome) -> None:
    release = place.plan("0.1.0", b"first release")
    wait(place, release)
    hand(place, the_draft(place).id, description="<p>Corrected.</p>")
    with closing(place.ledger()) as ledger:
        with pytest.raises(NeedsPersonError, match=r"was edited at the archive .*metadata\.description"):
            deposit.abandon(ledger, place.archive(), release)
        assert the_draft(place).metadata["description"] == "<p>Corrected.</p>"
        deposit.abandon(ledger, place.archive(), release, careful=False)  # rejected by a person
    assert place.fake.state.drafts() == []


@pytest.mark.parametrize(
    ("base", "sent", "there", "ours", "keep", "conflicts"),
    [
        ({"a": 1}, {"a": 1}, {"a": 1}, {"a": 2}, {}, []),
        ({"a": 1}, {"a": 1}, {"a": 3}, {"a": 1}, {"a": 3}, []),
        ({"a": 1}, {"a": 1}, {"a": 3}, {"a": 2}, {}, ["a"]),
        ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}, {"a": 2}, []),
        ({"a": 1}, {"a": 1}, {}, {"a": 1}, {"a": None}, []),  # taken out by a person
        ({"a": ["x"]}, {"a": ["x"]}, {"a": ["x", "z"]}, {"a": ["y"]}, {"a": ["y", "z"]}, []),
        ({"a": ["x"]}, {"a": ["x"]}, {"a": ["z"]}, {"a": ["y"]}, {}, ["a"]),
        ({}, {}, {"b": 1}, {"a": 1}, {"b": 1}, []),
        (None, {}, {"a": 1, "b": 1}, {"a": 2}, {"b": 1}, []),  # nothing is noted: a ledger of before
        ({"own": 1}, {"own": 1}, {"own": 9}, {"own": 2}, {}, []),
    ],
)
def test_three_sides(base: Any, sent: Any, there: Any, ours: Any, keep: Any, conflicts: list[str]) -> None:
    merged = merge(LastSent(sent, base, base), there, ours, own={"own"})
    assert (merged.keep, list(merged.conflicts)) == (keep, conflicts)
