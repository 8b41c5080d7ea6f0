"""What an audit looks at and when, what it finds, and what it must not take for damage."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy import create_engine, text

from d4c_pipeline.ledger import events, lease_keys
from d4c_pipeline.model.errors import BusyError, StorageError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.fixity import CopyKind, CopyState, ExpectedCopy, FixityPolicy
from d4c_pipeline.model.release import Release
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.stores.port import Facts
from d4c_pipeline.upkeep import fixity as audits
from d4c_pipeline.upkeep.coverage import shortfalls
from d4c_pipeline.upkeep.fixity import audit, expected_copies
from d4c_pipeline.upkeep.repair import repair
from d4c_pipeline.workspace.datasets import load_families
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes import rot
from d4c_pipeline_tests.fakes.deposits import DATASET
from d4c_pipeline_tests.integration.upkeep.fixity.conftest import DATA, ON_FOLDERS

POLICY = FixityPolicy()
DAY = timedelta(days=1)


def copy_of(at: Deployment, place: str, name: str = "data.parquet") -> ExpectedCopy:
    return next(copy for copy in expected_copies(at) if (copy.place, copy.name) == (place, name))


def flip(path: Path) -> None:
    rot.harm(path, "flip", random.Random(1))


def kinds(at: Deployment) -> list[str]:
    return [event.kind for event in at.ledger.events.of("provinces") if event.kind.startswith("copy ")]


class Clock:
    """Another hour for the ledger and the audit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = timedelta()
        for module in (events, audits):
            monkeypatch.setattr(module, "now", self.now)
        from d4c_pipeline.ledger import fixity, publications

        monkeypatch.setattr(fixity, "now", self.now)
        monkeypatch.setattr(publications, "now", self.now)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_what_was_just_published_is_glanced_at_and_not_read_again(at: Deployment, release: Release) -> None:
    found = audit(at, POLICY)
    # The archive's two files were never looked at by an audit: a folder of this machine, they are read.
    assert (found.expected, found.checked, found.read, found.lost) == (6, 6, 2, ())
    assert found.read_bytes == sum(artifact.size for artifact in release.artifacts)
    again = audit(at, POLICY)
    assert (again.checked, again.read, again.read_bytes) == (4, 0, 0)


@pytest.mark.parametrize(
    ("way", "state", "said"),
    [
        ("truncate", CopyState.DAMAGED, f" bytes instead of {len(DATA)}"),
        ("append", CopyState.DAMAGED, f"{len(DATA) + 7} bytes instead of {len(DATA)}"),
        ("delete", CopyState.MISSING, "nothing is there"),
    ],
)
def test_a_wrong_size_is_found_the_next_time(
    at: Deployment, release: Release, way: str, state: CopyState, said: str
) -> None:
    audit(at, POLICY)
    copy = copy_of(at, "mirror")
    rot.harm_copy(at, copy, way, random.Random(1))
    (look,) = audit(at, POLICY).lost
    assert (look.copy, look.state) == (copy, state)
    assert look.detail.endswith(said)
    (stored,) = [c for c in at.ledger.copies.of(release) if (c.store, c.artifact) == ("mirror", "data.parquet")]
    assert not stored.intact


@ON_FOLDERS
def test_a_flipped_bit_is_found_once_the_cycle_comes_round(at: Deployment, release: Release, clock: Clock) -> None:
    audit(at, POLICY)
    copy = copy_of(at, "mirror")
    flip(rot.path_of(at, copy))
    clock.offset = 29 * DAY
    assert audit(at, POLICY).lost == ()
    clock.offset = 31 * DAY
    (look,) = audit(at, POLICY).lost
    assert look.copy == copy
    assert look.detail.startswith("sha256 ")
    assert look.detail.endswith(f" instead of {copy.sha256}")


@ON_FOLDERS
def test_a_file_that_somebody_wrote_to_is_read_at_once(at: Deployment, release: Release) -> None:
    audit(at, POLICY)
    path = rot.path_of(at, copy_of(at, "mirror"))
    flip(path)
    os.utime(path)
    assert [look.copy.place for look in audit(at, POLICY).lost] == ["mirror"]
    untouched = rot.path_of(at, copy_of(at, "primary"))
    os.utime(untouched)
    assert [look.copy.place for look in audit(at, POLICY).lost] == ["mirror"]
    assert audit(at, POLICY).read == 1  # the lost one alone: the other's new time is known by now


def test_the_day_has_a_budget_and_what_was_read_longest_ago_goes_first(
    at: Deployment, clock: Clock, dice: random.Random
) -> None:
    for number in range(6):
        clock.offset = number * timedelta(hours=1)
        rot.publish(at, f"1.0.{number}", {f"data_{number}.parquet": dice.randbytes(1000)})
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + 40 * DAY
    clock.offset = midnight + timedelta(hours=1) - datetime.now(UTC)
    policy = FixityPolicy(bytes_per_day=3500)
    first = audit(at, policy)
    # A file that was begun is read to its end: three whole ones, and the one that the budget ends in.
    assert (first.read, first.read_bytes, first.overdue) == (4, 4000, 14)
    # The archive's were never read at all; of the stores' those of the first release are the oldest.
    assert audit(at, policy).read == 0
    clock.offset += DAY
    assert (audit(at, policy).read, audit(at, policy).overdue) == (4, 10)
    seen = {key for key, known in at.ledger.fixity.known().items() if known.read_bytes}
    clock.offset += 3 * DAY
    for _ in range(3):
        audit(at, policy)
        clock.offset += DAY
    done = {key for key, known in at.ledger.fixity.known().items() if known.read_bytes}
    assert seen < done
    assert len(done) == 18
    assert audit(at, policy).overdue == 0


def test_full_reads_everything_whatever_the_budget(at: Deployment, release: Release) -> None:
    found = audit(at, FixityPolicy(bytes_per_day=1), full=True)
    assert (found.read, found.overdue) == (6, 0)


def test_only_the_datasets_that_were_asked_for(at: Deployment, dice: random.Random) -> None:
    for dataset in ("one", "two"):
        rot.publish(at, "1.0.0", {f"{dataset}.parquet": dice.randbytes(500)}, dataset=dataset)
    for copy in expected_copies(at):
        if copy.kind is CopyKind.RELEASE and copy.place == "mirror":
            rot.put_content(at, copy, None)
            break
    assert audit(at, POLICY, datasets={"two"}).lost == ()
    # All that it asked for of the mirror is gone, and yet the mirror is there.
    (look,) = audit(at, POLICY, datasets={"one"}).lost
    assert look.copy.dataset == "one"


@ON_FOLDERS
def test_a_store_that_holds_nothing_is_left_alone_until_a_person_looked(at: Deployment, release: Release) -> None:
    mirror = rot.root_of(at.settings.home, "mirror")
    mirror.rename(mirror.with_name("unmounted"))
    found = audit(at, POLICY)
    assert dict(found.refused) == {"mirror": "it holds none of the 2 copies that the ledger knows of"}
    assert found.lost == ()
    assert repair(at) == ()
    assert not mirror.exists()
    assert [one.outcome.value for one in repair(at, refill=["mirror"])] == ["restored", "restored"]
    assert audit(at, POLICY, full=True).lost == ()


class Dead(FolderStore):
    asked = 0

    def facts(self, address: str) -> Facts | None:
        self.asked += 1
        raise StorageError(f"Can't reach {address}", "Wait")


@ON_FOLDERS
def test_a_store_that_does_not_answer_is_asked_three_times_and_its_copies_stay_what_they_were(
    at: Deployment, dice: random.Random
) -> None:
    for number in range(5):
        rot.publish(at, f"1.0.{number}", {f"data_{number}.parquet": dice.randbytes(100)})
    dead = Dead(rot.root_of(at.settings.home, "mirror"), "https://m.example.org", "mirror")
    broken = Deployment(at.settings, at.ledger, (at.primary, dead), at.archive)
    found = audit(broken, POLICY)
    assert list(found.refused) == ["mirror"]
    assert (dead.asked, found.lost) == (3, ())
    assert {copy.intact for release in at.ledger.releases.published() for copy in at.ledger.copies.of(release)} == {
        True
    }


class BadSector(FolderStore):
    code = errno.EIO

    def open(self, address: str) -> BinaryIO:
        if address.endswith(".parquet"):
            cause = OSError(self.code, os.strerror(self.code))
            raise StorageError("Can't read it", "Look at that disk") from cause
        return super().open(address)


@ON_FOLDERS
def test_a_sector_that_can_not_be_read_is_damage_and_a_refused_access_is_not(at: Deployment, release: Release) -> None:
    bad = BadSector(rot.root_of(at.settings.home, "mirror"), "https://m.example.org", "mirror")
    broken = Deployment(at.settings, at.ledger, (at.primary, bad), at.archive)
    (look,) = audit(broken, POLICY, full=True).lost
    assert (look.copy.place, look.detail) == ("mirror", "the disk can't read it")
    bad.code = errno.EACCES
    refused = audit(broken, POLICY, full=True)
    assert ([look.copy.place for look in refused.unreachable], refused.lost) == (["mirror"], ())


def test_what_the_archive_has_is_compared_and_told(at: Deployment, release: Release) -> None:
    copy = copy_of(at, "local", "manifest.json")
    rot.harm_copy(at, copy, "delete", random.Random(1))
    (look,) = audit(at, POLICY).lost
    assert (look.copy, look.state, look.detail) == (copy, CopyState.MISSING, "the record has no such file")
    flip(rot.path_of(at, copy_of(at, "local")))
    assert {look.copy.name for look in audit(at, POLICY, full=True).lost} == {"data.parquet", "manifest.json"}
    assert repair(at) == ()


def test_both_facts_are_kept(at: Deployment, release: Release) -> None:
    copy = copy_of(at, "primary")
    flip(rot.path_of(at, copy))
    audit(at, POLICY, full=True)
    repair(at)
    assert kinds(at) == ["copy damaged", "copy quarantined", "copy restored"]
    told = [event for event in at.ledger.events.of("provinces") if event.kind.startswith("copy ")]
    assert {event.detail["address"] for event in told} == {copy.address}
    assert told[2].detail["restored_from"] == f"mirror:{copy.address}"
    assert told[0].release_id == release.id
    assert at.ledger.fixity.known()[copy.key].state is CopyState.INTACT
    assert all(one.intact for one in at.ledger.copies.of(release))


def test_what_somebody_else_put_back_is_intact_again(at: Deployment, release: Release) -> None:
    copy = copy_of(at, "mirror")
    rot.harm_copy(at, copy, "flip", random.Random(1))
    audit(at, POLICY, full=True)
    rot.put_content(at, copy, DATA)
    assert audit(at, POLICY).lost == ()
    assert kinds(at) == ["copy damaged", "copy intact again"]


def test_what_was_pruned_is_not_missing_and_forgotten(at: Deployment, release: Release) -> None:
    audit(at, POLICY)
    with create_engine(f"sqlite:///{at.settings.home / 'ledger.sqlite'}").begin() as connection:
        connection.execute(text("DELETE FROM copy WHERE store = 'mirror'"))
    for copy in ("data.parquet", "manifest.json"):
        at.stores[1].delete(f"releases/provinces/2021/v1.0.0/{copy}")
    found = audit(at, POLICY)
    assert (found.expected, found.lost, dict(found.refused)) == (4, (), {})
    assert {place for _, place, _ in at.ledger.fixity.known()} == {"primary", "local"}


def test_two_audits_do_not_run_at_once(at: Deployment) -> None:
    with at.ledger.leases.hold(lease_keys.FIXITY), pytest.raises(BusyError):
        audit(at, POLICY)


# While others work


@ON_FOLDERS
def test_a_release_on_its_way_is_never_taken_for_damage(at: Deployment, dice: random.Random) -> None:
    rot.publish(at, "0.9.0", {"data_0.parquet": dice.randbytes(1000)})
    stop = threading.Event()
    lost: list[object] = []
    audits_done = 0

    def keep_looking() -> None:
        nonlocal audits_done
        with rot.deployment(at.settings.home) as own:
            while not stop.is_set():
                lost.extend(audit(own, POLICY, full=True).lost)
                audits_done += 1

    watcher = threading.Thread(target=keep_looking)
    watcher.start()
    try:
        for number in range(12):
            rot.publish(at, f"1.0.{number}", {f"data_{n}_{number}.parquet": dice.randbytes(20_000) for n in range(4)})
    finally:
        stop.set()
        watcher.join()
    assert audits_done > 2
    assert lost == []


def test_a_finding_is_made_sure_of_while_nobody_works_on_the_vintage(
    at: Deployment, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits, "_WAIT_SECONDS", 0.1)
    rot.put_content(at, copy_of(at, "mirror"), None)
    with at.ledger.leases.hold("provinces/2021"):
        found = audit(at, POLICY)
    assert (found.lost, [copy.place for copy in found.busy]) == ((), ["mirror"])
    assert kinds(at) == []


def test_a_copy_that_is_pruned_between_the_two_looks_is_not_missing(
    at: Deployment, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copy_of(at, "mirror")
    rot.put_content(at, copy, None)
    before: Callable[[ExpectedCopy], bool] = at.ledger.fixity.is_expected

    def pruned_by_now(one: ExpectedCopy) -> bool:
        with create_engine(f"sqlite:///{at.settings.home / 'ledger.sqlite'}").begin() as connection:
            connection.execute(text("DELETE FROM copy WHERE store = 'mirror'"))
        return before(one)

    monkeypatch.setattr(at.ledger.fixity, "is_expected", pruned_by_now)
    assert audit(at, POLICY).lost == ()


# How many there should be


def test_fewer_places_than_wanted_are_told_in_words(at: Deployment, release: Release) -> None:
    audit(at, POLICY)
    assert shortfalls(at, [DATASET]) == ()
    rot.put_content(at, copy_of(at, "mirror"), None)
    audit(at, POLICY)
    (short,) = shortfalls(at, [DATASET])
    assert str(short) == "provinces_2021_v1.0.0: 2 of 3 copies verified (local, primary)"
    modest = DATASET.model_copy(update={"publication": DATASET.publication.model_copy(update={"copies": 2})})
    assert shortfalls(at, [modest]) == ()
    assert len(shortfalls(at, [], {"other"})) == 0


def test_members_want_what_their_family_says(at: Deployment) -> None:
    (family,) = load_families([]).values()
    rot.publish(at, "1.0.0", {"data.parquet": DATA}, dataset=f"{family.id}_13100111")
    assert shortfalls(at, [family]) == ()
    wants_more = family.model_dump() | {"dataset": family.dataset | {"publication": {"copies": 4}}}
    (short,) = shortfalls(at, [Family.model_validate(wants_more)])
    assert (short.wanted, short.places) == (4, ("local", "mirror", "primary"))


def test_native_files_are_audited_in_the_primary_store(at: Deployment, release: Release) -> None:
    native = rot.retain(at, "places.zip", b"PK" * 300)
    assert audit(at, POLICY).lost == ()
    flip(rot.root_of(at.settings.home, "primary") / native.address)
    (look,) = audit(at, POLICY, full=True).lost
    assert (look.copy.kind, look.copy.address) == (CopyKind.NATIVE, native.address)
    assert at.ledger.natives.current("provinces", Vintage.parse("2021")) == (native,)
