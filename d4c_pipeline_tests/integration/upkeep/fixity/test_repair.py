"""Mending: where the right bytes come from, what happens when nobody has them, and whose turn it is."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import BinaryIO

import pytest

from d4c_pipeline.archives.local.archive import LocalArchive
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.errors import BusyError
from d4c_pipeline.model.fixity import CopyKind, CopyState, ExpectedCopy, FixityPolicy
from d4c_pipeline.model.release import Release
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.upkeep import repair as repairs
from d4c_pipeline.upkeep.fixity import audit, expected_copies
from d4c_pipeline.upkeep.repair import Outcome, repair
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes import rot
from d4c_pipeline_tests.integration.upkeep.fixity.conftest import DATA, ON_FOLDERS

POLICY = FixityPolicy()


def copy_of(at: Deployment, place: str, name: str = "data.parquet") -> ExpectedCopy:
    return next(copy for copy in expected_copies(at) if (copy.place, copy.name) == (place, name))


def harm(at: Deployment, *places: str, way: str = "flip") -> list[ExpectedCopy]:
    copies = [copy_of(at, place) for place in places]
    for copy in copies:
        rot.harm_copy(at, copy, way, random.Random(copy.place))
    return copies


def audited(at: Deployment) -> set[ExpectedCopy]:
    return {look.copy for look in audit(at, POLICY, full=True).lost}


def events(at: Deployment) -> list[str]:
    return [event.kind for event in at.ledger.events.of("provinces") if event.kind.startswith("copy ")]


def test_a_damaged_copy_is_moved_aside_and_put_back_from_another_store(at: Deployment, release: Release) -> None:
    (copy,) = harm(at, "mirror")
    bad = rot.content_of(at, copy)
    assert bad is not None
    assert audited(at) == {copy}
    (done,) = repair(at)
    assert (done.copy, done.outcome) == (copy, Outcome.RESTORED)
    assert done.source == f"primary:{copy.address}"
    assert rot.content_of(at, copy) == DATA
    assert rot.set_aside(at, copy.place) == [bad]
    tag = hashlib.sha256(bad).hexdigest()[:16]
    assert done.quarantine == f".quarantine/{copy.address}.{tag}"
    assert audited(at) == set()
    assert repair(at) == ()


def test_the_ledger_keeps_that_it_was_damaged_where_the_rot_lies_and_that_it_was_restored(
    at: Deployment, release: Release
) -> None:
    (copy,) = harm(at, "mirror")
    audited(at)
    (done,) = repair(at)
    told = [event for event in at.ledger.events.of("provinces") if event.kind.startswith("copy ")]
    assert [event.kind for event in told] == ["copy damaged", "copy quarantined", "copy restored"]
    assert told[0].detail["expected_sha256"] == copy.sha256
    assert told[0].detail["found"].startswith("sha256 ")
    assert told[1].detail["quarantine"] == done.quarantine
    assert told[2].detail["restored_from"] == done.source
    assert {event.detail["address"] for event in told} == {copy.address}
    known = at.ledger.fixity.known()[copy.key]
    assert (known.state, known.quarantine) == (CopyState.INTACT, done.quarantine)
    assert all(stored.intact for stored in at.ledger.copies.of(release))


def test_the_archive_is_the_last_resort(at: Deployment, release: Release) -> None:
    lost = harm(at, "primary", "mirror", way="truncate")
    assert audited(at) == set(lost)
    done = repair(at)
    assert [one.outcome for one in done] == [Outcome.RESTORED] * 2
    # The first comes from the archive; it is as good as any by then.
    assert done[0].source == str(copy_of(at, "local"))
    assert audited(at) == set()


class Remote(LocalArchive):
    """The archive as one across the net: its files are had by their addresses alone."""

    def local_path(self, record_id: str, name: str) -> Path | None:
        return None


def test_what_an_archive_serves_is_downloaded_and_verified(at: Deployment, release: Release) -> None:
    lost = harm(at, "primary", "mirror", way="delete")
    with serving({"/": at.settings.home / "archive"}) as url:
        far = Remote(at.settings.home / "archive", url)
        across = Deployment(at.settings, at.ledger, at.stores, far)
        assert audited(across) == set(lost)
        assert [one.outcome for one in repair(across)] == [Outcome.RESTORED] * 2
        assert audited(across) == set()
        # An archive that serves other bytes than it says is no source.
        lost = harm(at, "primary", "mirror", "local")[:2]
        assert set(lost) <= audited(across)
        assert [one.outcome for one in repair(across)] == [Outcome.NO_GOOD_COPY] * 2
    assert not any(rot.content_of(at, copy) for copy in lost)


def test_where_nothing_good_is_left_it_is_told_and_nothing_damaged_is_served(at: Deployment, release: Release) -> None:
    lost = harm(at, "primary", "mirror", "local")
    bad = {copy.place: rot.content_of(at, copy) for copy in lost}
    assert audited(at) == set(lost)
    done = repair(at)
    assert {one.copy for one in done} == set(lost[:2])
    for one in done:
        assert one.outcome is Outcome.NO_GOOD_COPY
        assert one.reason == f"no other copy has the right bytes; the damaged ones lie at {one.quarantine}"
        assert rot.content_of(at, one.copy) is None
        assert rot.set_aside(at, one.copy.place) == [bad[one.copy.place]]
    # The archive's is not ours to touch.
    assert rot.content_of(at, lost[2]) == bad["local"]
    # Each time the same is said, and where to look; once somebody brings it back, all is mended.
    again = repair(at)
    assert [(one.outcome, one.quarantine) for one in again] == [(one.outcome, one.quarantine) for one in done]
    rot.put_content(at, lost[0], DATA)
    assert {one.copy.place: one.outcome for one in repair(at)} == {
        "primary": Outcome.INTACT,
        "mirror": Outcome.RESTORED,
    }
    assert audited(at) == {lost[2]}
    assert rot.content_of(at, lost[1]) == DATA


def test_a_source_that_turns_out_to_be_lost_is_mended_as_well(at: Deployment, release: Release) -> None:
    (known,) = harm(at, "mirror", way="delete")
    assert audited(at) == {known}
    # Since the audit, the copy that it would be copied from has rotted too.
    (unknown,) = harm(at, "primary")
    done = repair(at)
    assert [(one.copy, one.outcome) for one in done] == [(known, Outcome.RESTORED), (unknown, Outcome.RESTORED)]
    assert done[0].source == str(copy_of(at, "local"))
    assert audited(at) == set()


def test_a_native_file_is_restored_from_a_copy_of_the_same_bytes_or_reported(at: Deployment, release: Release) -> None:
    alone = rot.retain(at, "alone.zip", b"PK" * 300)
    twin = rot.retain(at, "twin.zip", DATA)
    for native in (alone, twin):
        (rot.root_of(at.settings.home, "primary") / native.address).unlink()
    lost = {look.copy.address: look.copy for look in audit(at, POLICY, full=True).lost}
    assert {copy.kind for copy in lost.values()} == {CopyKind.NATIVE}
    outcome = {one.copy.address: one.outcome for one in repair(at)}
    assert outcome == {alone.address: Outcome.NO_GOOD_COPY, twin.address: Outcome.RESTORED}


class Flickering(FolderStore):
    """A disk that gives other bytes at the first readings and the right ones later."""

    left = 2

    def open(self, address: str) -> BinaryIO:
        stream = super().open(address)
        if self.left and address.endswith(".parquet"):
            self.left -= 1
            stream.seek(1)
        return stream


@ON_FOLDERS
def test_what_reads_right_the_next_time_is_not_moved(at: Deployment, release: Release) -> None:
    flickering = Flickering(rot.root_of(at.settings.home, "mirror"), "https://m.example.org", "mirror")
    doubtful = Deployment(at.settings, at.ledger, (at.primary, flickering), at.archive)
    flickering.left = 2  # the audit's reading and the one by which it makes sure
    assert [copy.place for copy in audited(doubtful)] == ["mirror"]
    flickering.left = 1  # the repair looks, then measures what it is about to move
    (done,) = repair(doubtful)
    assert done.outcome is Outcome.FAILED
    assert "at one reading and others at the next" in done.reason
    assert rot.path_of(at, done.copy).read_bytes() == DATA
    assert audited(doubtful) == set()
    assert events(at) == ["copy damaged", "copy intact again"]


def test_one_repair_at_a_time_and_none_beside_a_publication(
    at: Deployment, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repairs, "_WAIT_SECONDS", 0.1)
    (copy,) = harm(at, "mirror")
    audited(at)
    with at.ledger.leases.hold(lease_keys.FIXITY), pytest.raises(BusyError):
        repair(at)
    with at.ledger.leases.hold("provinces/2021"):
        (done,) = repair(at)
    assert done.outcome is Outcome.BUSY
    assert rot.set_aside(at, copy.place) == []
    assert [one.outcome for one in repair(at)] == [Outcome.RESTORED]


def test_whoever_lost_the_lease_moves_nothing(
    at: Deployment, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy,) = harm(at, "mirror")
    bad = rot.content_of(at, copy)
    audited(at)

    def lost(_lease: object) -> None:
        raise BusyError("The lease on provinces/2021 was lost", "Run it again")

    monkeypatch.setattr(repairs.Lease, "renew", lost)
    (done,) = repair(at)
    assert done.outcome is Outcome.BUSY
    assert rot.content_of(at, copy) == bad
