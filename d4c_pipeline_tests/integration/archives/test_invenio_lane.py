"""Deposits and bad input at a real InvenioRDM: what the fake is trusted for, once more where it can't be wrong."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.archives import deposit
from d4c_pipeline.archives.invenio.client import InvenioArchive
from d4c_pipeline.archives.invenio.publication import Waits
from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.errors import IntegrityError, NeedsPersonError, PermanentError, TransientError
from d4c_pipeline.model.licences import Licence
from d4c_pipeline.model.release import Release
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.fakes.deposits import Home

pytestmark = pytest.mark.invenio
Metadata = Callable[..., RecordMetadata]
WAITS = Waits(publish=30.0, poll=0.5, search=1.0)


@dataclass
class LaneHome(Home):
    """A home whose archive is the real one."""

    url: str = ""
    token: str = ""
    opened: list[InvenioArchive] = field(default_factory=list)

    def archive(self) -> Any:
        archive = InvenioArchive("lane", self.url, self.token, test=True, waits=WAITS, patience=Patience(attempts=2))
        self.opened.append(archive)
        return archive

    def close(self) -> None:
        while self.opened:
            self.opened.pop().close()

    def records(self) -> Any:
        raise NotImplementedError


@pytest.fixture
def place(invenio_lane: tuple[str, str], tmp_path: Path) -> Iterator[LaneHome]:
    (tmp_path / "home").mkdir()
    url, token = invenio_lane
    with closing(LaneHome(tmp_path / "home", url, token)) as home:
        yield home


@pytest.fixture
def release(place: LaneHome) -> Release:
    # The bytes decide the release's identifier: no other run may have had it.
    return place.plan("0.1.0", uuid.uuid4().bytes, extra={"profile.json": b"{}"})


def files_of(place: LaneHome, record_id: str | None) -> dict[str, int]:
    record = place.archive().read(str(record_id))
    assert record is not None
    return {file.name: file.size for file in record.files}


def test_two_versions_of_a_vintage_are_two_records_of_one_concept(place: LaneHome, release: Release) -> None:
    first = place.publish(release)
    second_release = place.plan("0.1.1", uuid.uuid4().bytes + b"!", extra={"profile.json": b"{}"})
    second = place.publish(second_release)
    again = place.publish(second_release)

    assert again.doi == second.doi
    assert first.doi != second.doi
    assert first.concept_doi == second.concept_doi
    assert files_of(place, first.record_id)["data.parquet"] == 16
    assert files_of(place, second.record_id)["data.parquet"] == 17
    assert set(files_of(place, second.record_id)) == {"data.parquet", "manifest.json", "profile.json"}
    found = place.archive().find_published(second_release.identifier)
    assert found is not None
    assert found.doi == second.doi


def test_a_crash_around_any_call_leads_to_one_record(
    place: LaneHome, clock: Callable[..., Any], crash: type[BaseException]
) -> None:
    at = 1
    while True:
        release = place.plan(f"0.{at}.0", uuid.uuid4().bytes)
        counted = clock(at=at)
        with closing(place.ledger()) as ledger:
            try:
                deposit_all(place, release, counted.wrap_ledger(ledger), counted.wrap(place.archive()))
            except crash:
                pass
            else:
                break
            done = deposit_all(place, release, ledger, place.archive())
            ledger.releases.mark_published(release)
        found = place.archive().find_published(release.identifier)
        assert found is not None
        assert found.record_id == done.record_id
        assert list(place.archive().find_drafts(release.identifier)) == []
        at += 7
    assert at > 40


def deposit_all(place: LaneHome, release: Release, ledger: Any, archive: Any) -> Any:
    metadata = place.metadata(release)
    deposit.reserve(ledger, archive, release, metadata)
    return deposit.complete(ledger, archive, release, place.staged(str(release.version)), metadata)


def test_a_wrong_token_is_told(place: LaneHome, metadata: Metadata) -> None:
    with (
        closing(InvenioArchive("lane", place.url, "wrong", test=True)) as archive,
        pytest.raises(NeedsPersonError) as caught,
    ):
        archive.create_draft(metadata())
    assert str(caught.value) == (
        "The archive refused POST /records: Permission denied (403). Check the archive's token: it may be wrong, "
        "expired, without the scopes deposit:write and deposit:actions, or of an account that does not own the record."
    )


def test_a_licence_that_is_unknown_there_is_told(place: LaneHome, metadata: Metadata) -> None:
    wrong = replace(metadata(), licence=Licence("no-such-licence", "X", "No such licence", "https://example.org/"))
    with pytest.raises(
        PermanentError, match=r"Invalid value no-such-licence \(400\)\. The archive's vocabularies lack"
    ):
        place.archive().create_draft(wrong)


def test_more_than_the_quota_is_told_and_leaves_nothing_pending(
    place: LaneHome, metadata: Metadata, tmp_path: Path
) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(70_000_000)  # the lane's quota is 64 MB
    archive = place.archive()
    draft = archive.create_draft(metadata())
    with pytest.raises(
        PermanentError, match=r"quota exceeded \(400\)\. .* request a larger quota, .* or split the dataset"
    ):
        archive.upload(draft, "large.bin", tmp_path / "large")
    (tmp_path / "small").write_bytes(b"hello")
    archive.upload(draft, "small.bin", tmp_path / "small")
    assert [file.name for file in archive.publish(draft).files] == ["small.bin"]


def test_names_with_letters_of_all_kinds_arrive(place: LaneHome, metadata: Metadata, tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello")
    archive = place.archive()
    draft = archive.create_draft(metadata())
    name = "résumé 100% #1?&=+;.txt"
    assert archive.upload(draft, name, tmp_path / "hello").name == name
    with pytest.raises(PermanentError, match="has a file résumé 100% #1"):
        archive.upload(draft, name, tmp_path / "hello")
    archive.delete_file(draft, name)
    assert archive.list_files(draft) == ()


def test_a_staged_file_that_differs_is_no_release(place: LaneHome, release: Release) -> None:
    (place.staged("0.1.0")["data.parquet"]).write_bytes(b"x" * 16)
    with pytest.raises((IntegrityError, TransientError), match=r"data\.parquet differs from the ledger's record"):
        place.publish(release)


def test_a_foreign_draft_in_the_concept_asks_for_a_person(
    place: LaneHome, release: Release, metadata: Metadata
) -> None:
    record = place.publish(release).record_id
    archive = place.archive()
    foreign = archive.new_version(str(record))
    archive.put_metadata(foreign, metadata("foreign"))
    second = place.plan("0.1.1", uuid.uuid4().bytes)
    with pytest.raises(NeedsPersonError, match=rf"has an open foreign draft: {foreign.url}\. Publish or delete"):
        place.publish(second)
    archive.discard(foreign)
    assert place.publish(second).state.value == "published"


def test_a_draft_that_was_deleted_is_told_and_reserved_anew(place: LaneHome, release: Release) -> None:
    with closing(place.ledger()) as ledger:
        known = deposit.reserve(ledger, place.archive(), release, place.metadata(release))
        draft = place.archive().draft(str(known.record_id))
        assert draft is not None
        place.archive().discard(draft)
        files = place.staged("0.1.0")
        with pytest.raises(PermanentError, match=r"no longer has the draft \d+ of .*\. Run 'd4c publish provinces"):
            deposit.complete(ledger, place.archive(), release, files, place.metadata(release))
    assert place.publish(release).record_id != known.record_id
