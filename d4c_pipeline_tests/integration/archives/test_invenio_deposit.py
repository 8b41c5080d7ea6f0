"""A release on its way into an InvenioRDM: what is imported, what hands did in between, who has to approve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.archives import deposit
from d4c_pipeline.archives.port import Draft
from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.errors import (
    AwaitingReviewError,
    BusyError,
    NeedsPersonError,
    PermanentError,
    TransientError,
)
from d4c_pipeline.model.release import DepositState, Release
from d4c_pipeline_tests.fakes.deposits import Home, InvenioHome
from d4c_pipeline_tests.fakes.invenio import FakeInvenio

Metadata = Callable[..., RecordMetadata]
PROFILE = {"profile.json": b'{"rows": 13}'}


@pytest.fixture
def place(fake: FakeInvenio, tmp_path: Path) -> Iterator[InvenioHome]:
    (tmp_path / "home").mkdir()
    with closing(InvenioHome(tmp_path / "home", fake)) as home:
        yield home


@pytest.fixture
def release(place: InvenioHome) -> Release:
    return place.plan("0.1.0", b"first release", extra=PROFILE)


@pytest.fixture(params=["local", "fake"])
def any_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "any").mkdir()
    if request.param == "local":
        yield Home(tmp_path / "any")
        return
    with closing(InvenioHome(tmp_path / "any", request.getfixturevalue("fake"))) as home:
        yield home


def reserved(place: Home, release: Release) -> Draft:
    """Reserve a DOI and return the draft as the archive has it."""
    with closing(place.ledger()) as ledger:
        known = deposit.reserve(
            ledger, place.archive(), release, place.metadata(release), previous=place.previous(ledger)
        )
    draft = place.archive().draft(known.record_id)
    assert draft is not None
    return draft


def test_a_first_version_goes_through_every_state(place: InvenioHome, release: Release) -> None:
    done = place.publish(release)

    place.check_published_once(release)
    assert (done.doi, done.concept_doi, done.test) == ("10.5072/zenodo.2", "10.5072/zenodo.1", True)
    assert done.url == f"{place.fake.url}/records/2"
    assert done.files["data.parquet"] == f"{place.fake.url}/records/2/files/data.parquet"
    with closing(place.ledger()) as ledger:
        kinds = [event.kind for event in ledger.events.of("provinces") if event.kind.startswith("deposit ")]
    assert " ".join(kind.removeprefix("deposit ") for kind in kinds) == (
        "planned draft_open doi_reserved files_synced verified publishing published"
    )


def test_a_later_version_imports_what_is_unchanged(place: InvenioHome, release: Release) -> None:
    place.publish(release)
    second = place.plan("0.1.1", b"second release", extra=PROFILE)
    place.fake.begin()
    done = place.publish(second)

    place.check_published_once(release, second)
    assert done.concept_doi == "10.5072/zenodo.1"
    assert place.fake.calls.count("POST /records/{id}/draft/actions/files-import") == 1
    assert place.fake.calls.count("PUT /records/{id}/draft/files/{name}/content") == 2  # data and manifest, no profile


def test_nothing_is_imported_where_nothing_is_the_same(place: InvenioHome, release: Release) -> None:
    place.publish(release)
    second = place.plan("0.1.1", b"second release", name="other.parquet", extra={"profile.json": b"{}"})
    place.fake.begin()
    place.publish(second)

    place.check_published_once(release, second)
    assert "POST /records/{id}/draft/actions/files-import" not in place.fake.calls


def test_what_an_interrupted_upload_left_behind_does_not_block(place: InvenioHome, release: Release) -> None:
    draft = reserved(place, release)
    path = f"/records/{draft.record_id}/draft/files"
    for name in ("data.parquet", "foreign.bin"):
        assert place.fake.state.answer("POST", path, {}, "1", [{"key": name}], None, "").status == 201
    place.fake.state.unreadable_when_pending = True

    place.publish(release)
    place.check_published_once(release)


def test_bytes_that_are_damaged_at_the_archive_are_deleted_and_sent_again(place: InvenioHome, release: Release) -> None:
    place.fake.state.corrupting = 1
    with pytest.raises(TransientError, match=r"The file data\.parquet is incomplete at fake\. Run again"):
        place.publish(release)
    assert [one.files for one in place.fake.state.drafts()] == [{}]

    place.publish(release)
    place.check_published_once(release)


# Hands in between (the local archive behaves the same)


def test_a_draft_that_was_edited_by_hand_is_put_right(any_place: Home, metadata: Metadata, tmp_path: Path) -> None:
    release = any_place.plan("0.1.0", b"first release")
    draft = reserved(any_place, release)
    (tmp_path / "other").write_text("by hand")
    any_place.archive().put_metadata(draft, metadata("by hand", version="9.9.9"))
    any_place.archive().upload(draft, "data.parquet", tmp_path / "other")
    any_place.archive().upload(draft, "notes.txt", tmp_path / "other")

    done = any_place.publish(release)
    any_place.check_published_once(release)
    assert done.record_id == draft.record_id


def test_a_draft_that_was_deleted_is_told_and_reserved_anew(any_place: Home) -> None:
    release = any_place.plan("0.1.0", b"first release")
    draft = reserved(any_place, release)
    any_place.archive().discard(draft)
    files = any_place.staged("0.1.0")
    with closing(any_place.ledger()) as ledger, pytest.raises(PermanentError) as caught:
        deposit.complete(ledger, any_place.archive(), release, files, any_place.metadata(release))
    assert str(caught.value) == (
        f"The archive no longer has the draft {draft.record_id} of {release.name}. Run 'd4c publish provinces "
        "--vintage 2021': it reserves a DOI and rebuilds the files that state it."
    )

    assert any_place.publish(release).record_id != draft.record_id
    any_place.check_published_once(release)


def test_a_foreign_draft_in_the_concept_asks_for_a_person(any_place: Home, metadata: Metadata) -> None:
    first = any_place.plan("0.1.0", b"first release")
    record = any_place.publish(first).record_id
    foreign = any_place.archive().new_version(record)
    any_place.archive().put_metadata(foreign, metadata("foreign"))
    second = any_place.plan("0.1.1", b"second release")
    with pytest.raises(NeedsPersonError) as caught:
        any_place.publish(second)
    assert str(caught.value) == (
        f"The concept of {second.name} has an open foreign draft: {foreign.url}. "
        "Publish or delete that draft at the archive, then run again."
    )

    any_place.archive().discard(foreign)
    any_place.publish(second)
    any_place.check_published_once(first, second)


def test_the_metadata_of_a_published_record_may_be_edited_by_hand(place: InvenioHome, release: Release) -> None:
    done = place.publish(release)
    place.fake.state.answer("POST", f"/records/{done.record_id}/draft", {}, "1", None, None, "")  # an edit is open
    second = place.plan("0.1.1", b"second release", extra=PROFILE)

    assert place.publish(release) == done
    place.publish(second)
    place.check_published_once(release, second)


# Refusals leave the deposit where it can go on


def test_a_wrong_token_stops_before_anything_is_there(place: InvenioHome, release: Release) -> None:
    place.fake.users.clear()
    with pytest.raises(NeedsPersonError, match=r"Permission denied \(403\)\. Check the archive's token"):
        place.publish(release)
    assert place.fake.state.records == {}

    place.fake.users["t0ken-of-alice-which-nobody-may-ever-see"] = "1"
    place.publish(release)
    place.check_published_once(release)


def test_a_token_that_expires_in_the_middle_is_no_loss(place: InvenioHome, release: Release) -> None:
    draft = reserved(place, release)
    kept = dict(place.fake.users)
    place.fake.users.clear()
    with pytest.raises(NeedsPersonError, match="expired"):
        place.publish(release)

    place.fake.users.update(kept)
    assert place.publish(release).record_id == draft.record_id
    place.check_published_once(release)


def test_a_licence_the_archive_does_not_know_is_told(
    place: InvenioHome, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("d4c_pipeline_tests.fakes.invenio_state._LICENCES", {"cc0-1.0"})
        with pytest.raises(PermanentError) as caught:
            place.publish(release)
    assert str(caught.value) == (
        "The archive refused POST /records: Invalid value cc-by-4.0 (400). The archive's vocabularies lack that "
        "id (licence, language, resource type, role; ids are in lower case): correct it in the dataset's YAML and run "
        "again."
    )
    place.publish(release)
    place.check_published_once(release)


def test_a_quota_that_was_raised_holds_for_another_draft(place: InvenioHome, release: Release) -> None:
    place.fake.state.quota = 20
    with pytest.raises(PermanentError, match="request a larger quota, then replace the draft"):
        place.publish(release)

    place.fake.state.quota = 10**6
    with pytest.raises(PermanentError, match="exceed the archive's quota"):
        place.publish(release)  # a draft keeps the quota that it was created with
    (draft,) = place.fake.state.drafts()
    draft.quota = 10**6  # what an archive's manager can do for one draft
    place.publish(release)
    place.check_published_once(release)


# Approval


class Person:
    """Says no until asked to say yes."""

    def __init__(self) -> None:
        self.approves = False
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1
        if not self.approves:
            raise AwaitingReviewError("It waits for a review", "Run 'd4c review approve'")


def test_a_deposit_waits_for_a_person_and_goes_on(any_place: Home) -> None:
    release = any_place.plan("0.1.0", b"first release")
    draft = reserved(any_place, release)
    person = Person()
    metadata, files = any_place.metadata(release), any_place.staged("0.1.0")
    with closing(any_place.ledger()) as ledger:
        for _ in range(2):
            with pytest.raises(AwaitingReviewError, match="waits for a review"):
                deposit.complete(ledger, any_place.archive(), release, files, metadata, approval=person)
            known = ledger.deposits.of(release)
            assert known is not None
            assert (known.state, known.record_id) == (DepositState.AWAITING_REVIEW, draft.record_id)
        # Whoever reviews finds all files in the draft.
        assert {file.name for file in any_place.archive().list_files(draft)} == {"data.parquet", "manifest.json"}
        kinds = [event.kind for event in ledger.events.of("provinces")]
        assert kinds.count("deposit awaiting_review") == 1
        assert kinds.count("deposit verified") == 1

        person.approves = True
        deposit.complete(ledger, any_place.archive(), release, files, metadata, approval=person)
        ledger.releases.mark_published(release)
    any_place.check_published_once(release)
    assert person.asked == 3


# Two workers, without a lease between them


class Stalled:
    """A lease that was lost while a call was under way."""

    def __init__(self, renewals: int) -> None:
        self.left = renewals

    def renew(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise BusyError("The lease went to another process", "Run again")


def test_a_draft_that_was_made_after_the_lease_was_lost_is_deleted(any_place: Home) -> None:
    release = any_place.plan("0.1.0", b"first release")
    late: Any = Stalled(1)
    with closing(any_place.ledger()) as ledger, pytest.raises(BusyError):
        deposit.reserve(ledger, any_place.archive(), release, any_place.metadata(release), lease=late)
    assert list(any_place.archive().drafts()) == []
    any_place.publish(release)
    any_place.check_published_once(release)


def test_a_draft_nobody_noted_is_found_once_the_search_has_caught_up(
    place: InvenioHome, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        """The process was killed between the draft and the note of its id."""

    class Dying:
        def __init__(self, archive: Any) -> None:
            self._archive = archive

        def __getattr__(self, name: str) -> Any:
            return getattr(self._archive, name)

        def create_draft(self, metadata: RecordMetadata) -> Draft:
            self._archive.create_draft(metadata)
            raise Died

    place.fake.state.search_lag = 0.5
    with pytest.raises(Died):
        place.publish(release, archive=Dying(place.archive()))
    monkeypatch.setattr("d4c_pipeline.archives.invenio.client.InvenioArchive.search_lag", 0.6)
    place.fake.state.search_lag = 0.0

    place.publish(release)
    place.check_published_once(release)
    assert place.fake.state.drafts() == []
