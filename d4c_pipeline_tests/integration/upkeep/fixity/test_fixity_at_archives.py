"""Copies at an InvenioRDM are audited by what its API says of them: the fake's, and a real one's where it runs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from d4c_pipeline.archives.invenio.client import InvenioArchive
from d4c_pipeline.archives.invenio.publication import Waits
from d4c_pipeline.model.fixity import CopyKind, CopyState, ExpectedCopy, FixityPolicy
from d4c_pipeline.model.release import Release
from d4c_pipeline.upkeep.coverage import shortfalls
from d4c_pipeline.upkeep.fixity import audit, expected_copies
from d4c_pipeline.upkeep.repair import Outcome, repair
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes import rot
from d4c_pipeline_tests.fakes.deposits import DATASET, QUICK_WAITS, SURE
from d4c_pipeline_tests.fakes.faults import Fault, Kind
from d4c_pipeline_tests.fakes.invenio import TOKEN, FakeInvenio
from d4c_pipeline_tests.fakes.invenio_state import Record
from d4c_pipeline_tests.integration.upkeep.fixity.conftest import DATA

POLICY = FixityPolicy()


@pytest.fixture
def fake() -> Iterator[FakeInvenio]:
    with FakeInvenio() as running:
        yield running


@pytest.fixture
def there(fake: FakeInvenio, home: Path) -> Iterator[Deployment]:
    """A deployment of two folders whose archive is the fake."""
    archive = InvenioArchive("fake", fake.url, TOKEN, test=True, patience=SURE, waits=QUICK_WAITS, pause=fake.pause)
    with closing(archive), rot.deployment(home, archive=archive) as opened:
        yield opened


@pytest.fixture
def deposited(there: Deployment, fake: FakeInvenio) -> tuple[Release, Record]:
    """A release of two files and its record, as the server has it."""
    release = rot.publish(there, "1.0.0", {"data.parquet": DATA, "manifest.json": b"{}\n"})
    (record,) = fake.state.published()
    fake.begin()
    return release, record


def at_archive(at: Deployment) -> dict[str, ExpectedCopy]:
    return {copy.name: copy for copy in expected_copies(at) if copy.kind is CopyKind.ARCHIVE}


def test_a_record_is_asked_for_once_and_no_byte_of_it_is_read(
    there: Deployment, deposited: tuple[Release, Record], fake: FakeInvenio
) -> None:
    found = audit(there, POLICY)
    assert (found.expected, found.checked, found.lost, found.unreachable) == (6, 6, (), ())
    assert (found.read, found.read_bytes) == (2, 0)
    assert fake.calls == ["GET /records/{id}"]
    # Again after seven days; until then nobody asks.
    audit(there, POLICY)
    assert fake.calls == ["GET /records/{id}"]
    assert shortfalls(there, [DATASET]) == ()


def test_another_checksum_another_size_and_a_missing_file_are_told_and_left_alone(
    there: Deployment, deposited: tuple[Release, Record], fake: FakeInvenio
) -> None:
    release, record = deposited
    file = record.files["data.parquet"]
    assert file.blob is not None
    good, other = file.blob, "0" * 32
    copy = at_archive(there)["data.parquet"]
    for blob, said in (
        (replace(good, md5=other), f"{copy.size} bytes, md5 {other} instead of {copy.size} bytes, md5 {copy.md5}"),
        (replace(good, size=7), f"7 bytes, md5 {copy.md5} instead of {copy.size} bytes, md5 {copy.md5}"),
    ):
        record.files["data.parquet"] = replace(file, blob=blob)
        (look,) = audit(there, POLICY, full=True).lost
        assert (look.copy, look.state, look.detail) == (copy, CopyState.DAMAGED, said)
    del record.files["data.parquet"]
    (look,) = audit(there, POLICY).lost  # what was not right is asked for each time
    assert (look.state, look.detail) == (CopyState.MISSING, "the record has no such file")
    (short,) = shortfalls(there, [DATASET])
    assert str(short) == f"{release.name}: 2 of 3 copies verified (mirror, primary)"
    # A published record is not ours to change, nor is anything of ours because of it.
    fake.begin()
    assert repair(there) == ()
    assert fake.calls == []
    record.files["data.parquet"] = file
    assert audit(there, POLICY).lost == ()
    told = [event.kind for event in there.ledger.events.of("provinces") if event.kind.startswith("copy ")]
    assert told == ["copy damaged", "copy missing", "copy intact again"]


def gone(fake: FakeInvenio, record: Record) -> None:
    del fake.state.records[record.id]


def withdrawn(_fake: FakeInvenio, record: Record) -> None:
    record.withdrawn = True


@pytest.mark.parametrize(
    ("happened", "said"), [(gone, "the archive has no such record"), (withdrawn, "Record {id} was withdrawn from fake")]
)
def test_a_record_that_is_gone_is_missing_with_all_of_its_files(
    there: Deployment,
    deposited: tuple[Release, Record],
    fake: FakeInvenio,
    happened: Callable[[FakeInvenio, Record], None],
    said: str,
) -> None:
    _, record = deposited
    happened(fake, record)
    found = audit(there, POLICY)
    assert {look.copy.name for look in found.lost} == {"data.parquet", "manifest.json"}
    assert {(look.state, look.detail) for look in found.lost} == {(CopyState.MISSING, said.format(id=record.id))}
    assert found.unreachable == ()
    assert [short.places for short in shortfalls(there, [DATASET])] == [("mirror", "primary")]


def test_an_archive_that_does_not_answer_loses_nothing_and_is_not_waited_for_again_and_again(
    there: Deployment, fake: FakeInvenio
) -> None:
    for number in range(6):
        files = {f"data_{number}_{part}.parquet": bytes([number, part]) for part in range(4)}
        rot.publish(there, f"1.0.{number}", files)
    fake.begin(Fault(Kind.BAD_GATEWAY, at=0, lasting=True))
    found = audit(there, POLICY)
    assert (len(found.unreachable), found.lost) == (24, ())
    # Three records, each as often as patience says; the other three are left for the next night.
    assert len(fake.calls) == 3 * SURE.attempts
    assert {look.copy.kind for look in found.unreachable} == {CopyKind.ARCHIVE}
    assert "fake gave no answer 3 times" in {look.detail for look in found.unreachable}
    fake.begin()
    assert (audit(there, POLICY).unreachable, len(fake.calls)) == ((), 6)


def lost_and_restored(at: Deployment) -> list[ExpectedCopy]:
    """What every store loses comes back from the record; returns the copies it was."""
    copies = [copy for copy in expected_copies(at) if copy.kind.is_stored and copy.name == "data.parquet"]
    for copy in copies:
        rot.put_content(at, copy, None)
    assert {look.copy for look in audit(at, POLICY).lost} == set(copies)
    done = repair(at)
    assert [one.outcome for one in done] == [Outcome.RESTORED] * 2
    assert done[0].source == str(at_archive(at)["data.parquet"])
    assert all(rot.is_right(at, copy) for copy in copies)
    return copies


def test_what_every_store_lost_comes_back_from_the_record_and_only_if_it_is_right(
    there: Deployment, deposited: tuple[Release, Record]
) -> None:
    _, record = deposited
    copies = lost_and_restored(there)
    # The record's own disk rots, and what the API says of the file is what it was told once.
    for copy in copies:
        rot.put_content(there, copy, None)
    blob = record.files["data.parquet"].blob
    assert blob is not None
    assert blob.path is not None
    Path(blob.path).write_bytes(DATA[:-1] + b"?")
    audit(there, POLICY)
    assert [one.outcome for one in repair(there)] == [Outcome.NO_GOOD_COPY] * 2


def test_a_deposit_of_another_archive_is_not_asked_for_here(
    there: Deployment, deposited: tuple[Release, Record], fake: FakeInvenio
) -> None:
    with rot.deployment(there.settings.home) as elsewhere:
        found = audit(elsewhere, POLICY)
    assert (found.expected, found.checked, found.lost, found.unreachable) == (6, 4, (), ())
    assert fake.calls == []


@pytest.mark.invenio
def test_a_real_one_is_asked_and_what_differs_is_told(invenio_lane: tuple[str, str], home: Path) -> None:
    url, token = invenio_lane
    waits = Waits(publish=30.0, poll=0.5, search=1.0)
    archive = InvenioArchive("lane", url, token, test=True, waits=waits, patience=replace(SURE, attempts=2))
    with closing(archive), rot.deployment(home, archive=archive) as at:
        # The server outlives the test: no other run may have had these bytes.
        rot.publish(at, "1.0.0", {"data.parquet": uuid.uuid4().bytes, "manifest.json": b"{}\n"})
        found = audit(at, POLICY)
        assert (found.expected, found.checked, found.read_bytes, found.lost, found.unreachable) == (6, 6, 0, (), ())
        lost_and_restored(at)
        assert audit(at, POLICY, full=True).lost == ()
        # A published record can't be harmed from outside: what was published is made to be something else instead.
        here = at_archive(at)["manifest.json"]
        with create_engine(f"sqlite:///{home / 'ledger.sqlite'}").begin() as ledger:
            ledger.execute(text("UPDATE artifact SET md5 = :md5 WHERE name = 'manifest.json'"), {"md5": "0" * 32})
        (look,) = audit(at, POLICY, full=True).lost
        assert look.detail == f"3 bytes, md5 {here.md5} instead of 3 bytes, md5 {'0' * 32}"
        with create_engine(f"sqlite:///{home / 'ledger.sqlite'}").begin() as ledger:
            ledger.execute(text("UPDATE deposit SET record_id = 'aaaaa-aaa99'"))
        lost = audit(at, POLICY, full=True).lost
        assert {(look.state, look.detail) for look in lost} == {(CopyState.MISSING, "the archive has no such record")}
        assert len(lost) == 2
