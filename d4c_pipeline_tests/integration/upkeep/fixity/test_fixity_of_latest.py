"""What `/processed/` serves is audited like any copy, and put right by the switch: rot, older data, half a switch."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from d4c_pipeline.chain import latest
from d4c_pipeline.ledger.publications import Publications
from d4c_pipeline.model.fixity import CopyKind, CopyState, ExpectedCopy, FixityPolicy
from d4c_pipeline.upkeep.fixity import audit, expected_copies
from d4c_pipeline.upkeep.repair import Outcome, repair
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes import rot
from d4c_pipeline_tests.integration.chain.conftest import Chain, chain, definitions
from d4c_pipeline_tests.integration.upkeep.retention.conftest import mirrored, thrice, west
from d4c_pipeline_tests.support.inspection import tree
from d4c_pipeline_tests.support.samples import PLACES_URL, corrected, define

__all__ = [
    "chain",
    "definitions",
    "mirrored",
    "thrice",
    "west",
]  # fixtures, found by their names here

POLICY = FixityPolicy()
ON_FOLDERS = pytest.mark.parametrize("west", ["folder"], indirect=True)


def served(at: Deployment) -> dict[str, ExpectedCopy]:
    """The data in `/processed/`, by store."""
    found = [copy for copy in expected_copies(at) if copy.kind is CopyKind.LATEST]
    return {copy.place: copy for copy in found if copy.name.endswith(".parquet")}


def content_at(chain: Chain, copy: ExpectedCopy) -> bytes | None:
    """What lies at an address of a mirror, which is beside the store here."""
    if rot.in_bucket(chain.opened, copy.place) is not None:
        return rot.content_of(chain.opened, copy)
    path = chain.home / ("store" if copy.place == "primary" else copy.place) / copy.address
    return path.read_bytes() if path.is_file() else None


def put_at(chain: Chain, copy: ExpectedCopy, content: bytes | None) -> None:
    if rot.in_bucket(chain.opened, copy.place) is not None:
        rot.put_content(chain.opened, copy, content)
        return
    path = chain.home / ("store" if copy.place == "primary" else copy.place) / copy.address
    if path.exists():
        path.chmod(0o644)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def contents(chain: Chain) -> Mapping[str, bytes | None]:
    return {place: content_at(chain, copy) for place, copy in served(chain.opened).items()}


def test_what_is_served_is_read_in_every_store_and_put_right_by_the_switch(mirrored: Chain) -> None:
    at = mirrored.opened
    right = contents(mirrored)
    assert set(right) == {"primary", "west", "east"}
    assert len(set(right.values())) == 1
    assert audit(at, POLICY, full=True).lost == ()
    copy = served(at)["west"]
    whole = right["west"]
    assert whole is not None
    put_at(mirrored, copy, rot.rotten(whole, "flip", random.Random(1)))
    (look,) = audit(at, POLICY).lost
    assert (look.copy, look.state) == (copy, CopyState.DAMAGED)
    (done,) = repair(at)
    assert (done.copy, done.outcome, done.source) == (copy, Outcome.RESTORED, mirrored.newest().name)
    assert contents(mirrored) == right
    assert (audit(at, POLICY, full=True).lost, repair(at)) == ((), ())
    told = [event.kind for event in at.ledger.events.of("places") if event.kind.startswith("copy ")]
    assert [kind for kind in told if kind != "copy quarantined"] == ["copy damaged", "copy restored"]
    # In a bucket, the metadata go on naming the right sha256, so that the rot has to make room first.
    assert told.count("copy quarantined") == (0 if rot.in_bucket(at, "west") is None else 1)


def test_a_mirror_that_serves_an_older_release_is_found_and_switched(mirrored: Chain) -> None:
    at = mirrored.opened
    audit(at, POLICY)
    missing, older = served(at)["west"], served(at)["east"]
    put_at(mirrored, missing, None)
    first = next(release for release in at.ledger.releases.published("places") if str(release.version) == "0.1.0-beta")
    put_at(mirrored, older, at.primary.read_bytes(f"releases/places/2021/v0.1.0-beta/{first.name}.parquet"))
    found = {look.copy.place: look.state for look in audit(at, POLICY).lost}
    assert found == {"west": CopyState.MISSING, "east": CopyState.DAMAGED}
    # One switch mends both; the other is right when its turn comes.
    assert sorted(one.outcome for one in repair(at)) == [Outcome.INTACT, Outcome.RESTORED]
    assert set(contents(mirrored).values()) == {at.primary.read_bytes(served(at)["primary"].address)}


@ON_FOLDERS
def test_a_mirror_that_was_down_at_the_switch_is_found_although_nothing_was_written_there(
    mirrored: Chain, tmp_path: Path
) -> None:
    at = mirrored.opened
    audit(at, POLICY, full=True)
    east = mirrored.home / "east"
    east.rename(tmp_path / "unmounted")
    mirrored.origin.put(PLACES_URL, corrected())
    mirrored.run()
    newest = mirrored.newest()
    (tmp_path / "unmounted").rename(east)
    with Deployment.open(mirrored.settings) as again:
        found = audit(again, POLICY)
        assert {look.copy.place for look in found.lost} == {"east"}
        assert {look.copy.kind for look in found.lost} == {CopyKind.LATEST}
        outcomes = {one.copy.name: one.outcome for one in repair(again)}
        assert outcomes[newest.data_files[0].name] in (Outcome.RESTORED, Outcome.INTACT)
        assert audit(again, POLICY, full=True).lost == ()
        assert (east / served(again)["east"].address).read_bytes() == again.primary.read_bytes(
            f"releases/places/2021/v{newest.version}/{newest.data_files[0].name}"
        )


class Died(BaseException):
    """The process ends here."""


@ON_FOLDERS
def test_a_switch_that_died_before_the_ledger_knew_is_ended(mirrored: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    at = mirrored.opened
    before = mirrored.newest()
    mirrored.origin.put(PLACES_URL, corrected())
    mirrored.run_up_to("deposit")

    def die(*_arguments: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Publications, "switch_latest", die)
        with pytest.raises(Died):
            latest.switch(at, mirrored.dataset, before.vintage)
    assert set(at.ledger.publications.latest().values()) == {before.id}
    lost = audit(at, POLICY).lost
    assert {look.copy.place for look in lost} == {"primary", "west", "east"}
    assert {one.outcome for one in repair(at)} <= {Outcome.RESTORED, Outcome.INTACT}
    newest = mirrored.newest()
    assert newest.version != before.version
    assert set(at.ledger.publications.latest().values()) == {newest.id}
    assert audit(at, POLICY, full=True).lost == ()


def test_rot_without_a_source_is_served_no_more_but_an_older_release_is(mirrored: Chain) -> None:
    at = mirrored.opened
    newest, older = mirrored.newest(), at.ledger.releases.published("places")[0]
    right = at.primary.read_bytes(served(at)["primary"].address)
    before = at.primary.read_bytes(f"releases/places/2021/v{older.version}/{older.data_files[0].name}")
    (record,) = (mirrored.home / "archive" / "records").rglob(newest.data_files[0].name)
    record.chmod(0o644)
    record.write_bytes(b"?")
    for copy in expected_copies(at):
        if copy.sha256 == newest.data_files[0].sha256 and copy.kind.is_stored:
            put_at(mirrored, copy, before if copy == served(at)["east"] else right[:-1] + b"?")
    audit(at, POLICY, full=True)
    done = {one.copy: one for one in repair(at) if one.copy.kind is CopyKind.LATEST}
    assert {(one.copy.place, one.outcome) for one in done.values()} == {
        (place, Outcome.NO_GOOD_COPY) for place in ("primary", "west", "east")
    }
    assert contents(mirrored) == {"primary": None, "west": None, "east": before}
    # Once a person brings the file back, one repair puts it everywhere.
    copies = (copy for copy in expected_copies(at) if copy.kind is CopyKind.RELEASE and copy.place == "primary")
    put_at(mirrored, next(copy for copy in copies if copy.name == newest.data_files[0].name), right)
    assert {one.outcome for one in repair(at)} <= {Outcome.RESTORED, Outcome.INTACT}
    assert set(contents(mirrored).values()) == {right}


def test_parts_and_derived_files_are_audited_one_by_one(chain: Chain) -> None:
    define(chain.settings.definitions[0], outputs={"partition": {"by": "id", "over": 0}, "thumbnail": True})
    chain.run()
    at = chain.opened
    right = tree(chain.home / "store" / "processed")
    copies = {copy.address: copy for copy in expected_copies(at) if copy.kind is CopyKind.LATEST}
    stem = "ca_example_2021A000011124_d4c-datapkg-foundation_places_2021"
    assert set(copies) == {
        *(f"processed/{stem}/id-{number}.parquet" for number in (1, 2, 3, 4)),
        f"processed/{stem}_thumbnail.png",
    }
    assert audit(at, POLICY, full=True).lost == ()
    put_at(chain, copies[f"processed/{stem}/id-3.parquet"], None)
    put_at(chain, copies[f"processed/{stem}_thumbnail.png"], b"?")
    assert {look.copy.address for look in audit(at, POLICY).lost} == {
        f"processed/{stem}/id-3.parquet",
        f"processed/{stem}_thumbnail.png",
    }
    assert {one.outcome for one in repair(at)} == {Outcome.RESTORED, Outcome.INTACT}
    assert tree(chain.home / "store" / "processed") == right


@ON_FOLDERS
def test_what_one_mirror_still_serves_is_the_last_source_of_all(mirrored: Chain) -> None:
    at = mirrored.opened
    newest = mirrored.newest()
    data = newest.data_files[0]
    everywhere = [copy for copy in expected_copies(at) if copy.sha256 == data.sha256 and copy.kind.is_stored]
    assert len(everywhere) == 6
    right = at.primary.read_bytes(served(at)["primary"].address)
    for copy in everywhere:
        if copy != served(at)["east"]:
            put_at(mirrored, copy, right[:-1] + b"?")
    (record,) = (mirrored.home / "archive" / "records").rglob(data.name)
    record.chmod(0o644)
    record.write_bytes(right[:-1] + b"?")
    audit(at, POLICY, full=True)
    done = {str(one.copy): one for one in repair(at)}
    release = next(one for one in done.values() if one.copy.kind is CopyKind.RELEASE and one.copy.place == "primary")
    assert (release.outcome, release.source) == (Outcome.RESTORED, str(served(at)["east"]))
    assert {one.outcome for one in done.values()} <= {Outcome.RESTORED, Outcome.INTACT}
    assert set(contents(mirrored).values()) == {right}
