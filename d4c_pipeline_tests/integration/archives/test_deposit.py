"""The way of a deposit when nothing crashes, and every refusal it knows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.archives import deposit
from d4c_pipeline.archives.local.archive import LocalArchive
from d4c_pipeline.archives.port import Draft, PublishedRecord, RemoteFile
from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.errors import BusyError, IntegrityError, NeedsPersonError, PermanentError, TransientError
from d4c_pipeline.model.release import Artifact, ArtifactRole, DepositState, Release

Homes = tuple[Any, Release]


def test_the_ledger_tells_the_way(home: Homes) -> None:
    place, release = home
    with closing(place.ledger()) as ledger:
        reserved = deposit.reserve(ledger, place.archive(), release, place.metadata(release))
        assert reserved.state is DepositState.DOI_RESERVED
        assert reserved.doi == f"10.5072/d4c-local.{reserved.record_id}"
        assert reserved.concept_doi is None
        assert reserved.test is True
        assert place.records() == []

        done = deposit.complete(ledger, place.archive(), release, place.staged("0.1.0"), place.metadata(release))
        assert done.state is DepositState.PUBLISHED
        assert done.doi == reserved.doi
        assert done.concept_doi == f"10.5072/d4c-local.{done.concept_id}"
        assert done.url == f"http://127.0.0.1:8763/records/{done.record_id}/record.json"
        base = f"http://127.0.0.1:8763/records/{done.record_id}/files"
        assert done.files == {"data.parquet": f"{base}/data.parquet", "manifest.json": f"{base}/manifest.json"}
        kinds = [event.kind for event in ledger.events.of("provinces") if event.kind.startswith("deposit")]
        assert kinds == [
            "deposit planned",
            "deposit draft_open",
            "deposit doi_reserved",
            "deposit files_synced",
            "deposit verified",
            "deposit publishing",
            "deposit published",
        ]
        ledger.releases.mark_published(release)
    place.check_published_once(release)


def test_reserving_twice_keeps_the_doi_and_the_draft(home: Homes) -> None:
    place, release = home
    with closing(place.ledger()) as ledger:
        first = deposit.reserve(ledger, place.archive(), release, place.metadata(release))
        assert deposit.reserve(ledger, place.archive(), release, place.metadata(release)) == first
    assert len(place.archive().find_drafts(release.identifier)) == 1


def test_what_is_published_is_returned_without_a_call(home: Homes) -> None:
    place, release = home
    done = place.publish(release)

    class Silent:
        name, test = "local", True

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"the archive was asked for {name}")

    silent: Any = Silent()
    with closing(place.ledger()) as ledger:
        assert deposit.reserve(ledger, silent, release, place.metadata(release)) == done
        assert deposit.complete(ledger, silent, release, {}, place.metadata(release)) == done


def test_a_later_version_stays_in_the_concept(home_of_two: tuple[Any, Release, Release]) -> None:
    place, first, second = home_of_two
    done = place.publish(second)
    with closing(place.ledger()) as ledger:
        before = ledger.deposits.of(first)

    assert before is not None
    assert done.concept_doi == before.concept_doi
    assert done.doi != before.doi
    place.check_published_once(first, second)


def test_only_differing_bytes_travel(home: Homes, clock: Callable[..., Any]) -> None:
    place, release = home
    counted = clock()
    with closing(place.ledger()) as ledger:
        known = deposit.reserve(ledger, place.archive(), release, place.metadata(release))
    draft = place.archive().draft(known.record_id)
    stray = place.folder / "stray"
    stray.write_text("edited by hand")
    place.archive().upload(draft, "manifest.json", place.staged("0.1.0")["manifest.json"])
    place.archive().upload(draft, "data.parquet", stray)
    place.archive().upload(draft, "notes.txt", stray)

    place.publish(release, archive=counted.wrap(place.archive()))
    assert [label for label in counted.labels if "upload" in label] == ["before upload", "after upload"]
    assert [label for label in counted.labels if label == "before delete_file"] == ["before delete_file"] * 2
    place.check_published_once(release)


def test_a_draft_left_behind_is_adopted(home: Homes) -> None:
    place, release = home
    left = place.archive().create_draft(place.metadata(release))

    assert place.publish(release).record_id == left.record_id
    place.check_published_once(release)


def test_several_drafts_left_behind_ask_for_a_person(home: Homes) -> None:
    place, release = home
    ids = [place.archive().create_draft(place.metadata(release)).record_id for _ in range(2)]

    with pytest.raises(NeedsPersonError, match="has 2 drafts") as caught:
        place.publish(release)
    assert all(record_id in str(caught.value) for record_id in ids)
    place.archive().discard(place.archive().draft(ids[0]))
    assert place.publish(release).record_id == ids[1]


def test_a_foreign_draft_in_the_concept_asks_for_a_person(
    home_of_two: tuple[Any, Release, Release], metadata: Callable[..., RecordMetadata]
) -> None:
    place, first, second = home_of_two
    archive = place.archive()
    foreign = archive.new_version(archive.find_published(first.identifier).record_id)
    archive.put_metadata(foreign, metadata("foreign"))

    with pytest.raises(NeedsPersonError, match=f"open foreign draft.*{foreign.record_id}"):
        place.publish(second)
    archive.discard(foreign)
    place.publish(second)
    place.check_published_once(first, second)


def test_a_lost_draft_is_opened_anew_by_reserving(home: Homes) -> None:
    place, release = home
    with closing(place.ledger()) as ledger:
        first = deposit.reserve(ledger, place.archive(), release, place.metadata(release))
        place.archive().discard(place.archive().draft(first.record_id))
        with pytest.raises(
            PermanentError, match=r"no longer has the draft .*\. Run 'd4c publish provinces --vintage 2021'"
        ):
            deposit.complete(ledger, place.archive(), release, place.staged("0.1.0"), place.metadata(release))
        second = deposit.reserve(ledger, place.archive(), release, place.metadata(release))
    assert second.record_id != first.record_id
    place.publish(release)
    place.check_published_once(release)


def test_without_a_reserved_doi_nothing_is_uploaded(home: Homes) -> None:
    place, release = home
    with closing(place.ledger()) as ledger, pytest.raises(PermanentError, match="no reserved DOI"):
        deposit.complete(ledger, place.archive(), release, place.staged("0.1.0"), place.metadata(release))


def test_a_record_published_by_hand_is_taken_up(home: Homes) -> None:
    place, release = home
    archive = place.archive()
    with closing(place.ledger()) as ledger:
        known = deposit.reserve(ledger, archive, release, place.metadata(release))
        draft = archive.draft(known.record_id)
        for name, path in place.staged("0.1.0").items():
            archive.upload(draft, name, path)
        archive.publish(draft)
    assert place.publish(release).doi == known.doi
    place.check_published_once(release)


def test_a_record_published_with_other_files_asks_for_a_person(home: Homes, tmp_path: Path) -> None:
    place, release = home
    archive = place.archive()
    (tmp_path / "other").write_text("not ours")
    with closing(place.ledger()) as ledger:
        known = deposit.reserve(ledger, archive, release, place.metadata(release))
        draft = archive.draft(known.record_id)
        archive.upload(draft, "data.parquet", tmp_path / "other")
        archive.publish(draft)
        with pytest.raises(IntegrityError, match=r"missing or different: data\.parquet, manifest\.json"):
            deposit.complete(ledger, archive, release, place.staged("0.1.0"), place.metadata(release))
        now = ledger.deposits.of(release)
    assert now is not None
    assert now.state is not DepositState.PUBLISHED


def test_a_lost_ledger_does_not_lead_to_a_second_record(planned_home: Homes, tmp_path: Path) -> None:
    place, release = planned_home[0].copy(tmp_path / "home"), planned_home[1]
    kept = (place.folder / "ledger.sqlite").read_bytes()
    done = place.publish(release)
    for file in place.folder.glob("ledger.sqlite*"):
        file.unlink()
    (place.folder / "ledger.sqlite").write_bytes(kept)

    assert place.publish(release).doi == done.doi
    place.check_published_once(release)


def test_a_staged_file_that_changed_is_not_published(home: Homes) -> None:
    place, release = home
    with closing(place.ledger()) as ledger:
        deposit.reserve(ledger, place.archive(), release, place.metadata(release))
    data = place.staged("0.1.0")["data.parquet"]
    size = data.stat().st_size
    data.write_bytes(b"x" * size)
    with pytest.raises(IntegrityError, match=r"staged file data\.parquet differs from the ledger's record"):
        place.publish(release)
    data.write_bytes(b"short")
    with pytest.raises(IntegrityError, match=r"staged file data\.parquet differs from the ledger's record"):
        place.publish(release)
    assert place.records() == []
    data.write_bytes(b"first release")
    place.publish(release)
    place.check_published_once(release)


def test_a_file_that_arrived_broken_is_deleted_and_sent_again(home: Homes) -> None:
    place, release = home

    class Lossy(LocalArchive):
        """The first upload loses its last byte on the way."""

        broken = False

        def upload(self, draft: Draft, name: str, path: Path) -> RemoteFile:
            if name == "data.parquet" and not self.broken:
                self.broken = True
                short = place.folder / "short"
                short.write_bytes(path.read_bytes()[:-1])
                path = short
            return super().upload(draft, name, path)

    lossy = Lossy(place.folder / "archive", "http://127.0.0.1:8763")
    with pytest.raises(TransientError, match=r"data\.parquet is incomplete"):
        place.publish(release, archive=lossy)
    assert lossy.list_files(lossy.find_drafts(release.identifier)[0]) == ()
    place.publish(release, archive=lossy)
    place.check_published_once(release)


def test_the_files_have_to_be_the_artifacts(home: Homes) -> None:
    place, release = home
    with closing(place.ledger()) as ledger:
        deposit.reserve(ledger, place.archive(), release, place.metadata(release))
        files = place.staged("0.1.0")
        files["extra.txt"] = files.pop("manifest.json")
        with pytest.raises(PermanentError, match=r"missing: manifest\.json; unknown: extra\.txt"):
            deposit.complete(ledger, place.archive(), release, files, place.metadata(release))


def test_artifacts_added_later_are_part_of_the_record(home: Homes) -> None:
    place, release = home
    with closing(place.ledger()) as ledger:
        deposit.reserve(ledger, place.archive(), release, place.metadata(release))
        (place.folder / "staging" / "0.1.0" / "item.json").write_text("{}")
        item = Artifact("item.json", ArtifactRole.METADATA, 2, "99914b932bd37a50b983c5e7c90ae93b", "0" * 64, "x/y")
        ledger.releases.add_artifacts(release, [item])
        done = deposit.complete(ledger, place.archive(), release, place.staged("0.1.0"), place.metadata(release))
    assert set(done.files) == {"data.parquet", "item.json", "manifest.json"}


def test_too_much_is_refused_before_any_call(home: Homes, clock: Callable[..., Any]) -> None:
    place, release = home
    counted = clock()
    with closing(place.ledger()) as ledger:
        deposit.reserve(ledger, place.archive(), release, place.metadata(release))
        many = [
            Artifact(f"{n:03}.bin", ArtifactRole.TILES, 1, "0" * 32, "0" * 64, "application/octet-stream")
            for n in range(99)
        ]
        ledger.releases.add_artifacts(release, many)
        files = place.staged("0.1.0") | {artifact.name: place.folder / artifact.name for artifact in many}
        with pytest.raises(PermanentError, match="101 files are more than the 100 that a record holds"):
            deposit.complete(ledger, counted.wrap(place.archive()), release, files, place.metadata(release))
    assert counted.labels == []


def test_metadata_of_another_release_are_refused(home: Homes, metadata: Callable[..., RecordMetadata]) -> None:
    place, release = home
    with closing(place.ledger()) as ledger, pytest.raises(ValueError, match="not to urn:d4c:"):
        deposit.reserve(ledger, place.archive(), release, metadata())


def test_a_deposit_stays_in_its_archive(home: Homes) -> None:
    place, release = home
    other = LocalArchive(place.folder / "other", name="other")
    with closing(place.ledger()) as ledger:
        deposit.reserve(ledger, place.archive(), release, place.metadata(release))
        for call in (
            lambda: deposit.reserve(ledger, other, release, place.metadata(release)),
            lambda: deposit.abandon(ledger, other, release),
        ):
            with pytest.raises(NeedsPersonError, match="is in archive 'local', not 'other'"):
                call()


def test_an_abandoned_deposit_leaves_no_draft(home: Homes) -> None:
    place, release = home
    with closing(place.ledger()) as ledger:
        deposit.abandon(ledger, place.archive(), release)  # nothing was begun: nothing to do
        deposit.reserve(ledger, place.archive(), release, place.metadata(release))
        deposit.abandon(ledger, place.archive(), release)
        deposit.abandon(ledger, place.archive(), release)
        known = ledger.deposits.of(release)
        assert known is not None
        assert (known.state, known.doi, known.record_id) == (DepositState.ABANDONED, None, None)
        assert place.archive().find_drafts(release.identifier) == ()
        ledger.releases.abandon(release, "overtaken")
        with pytest.raises(PermanentError, match="was abandoned"):
            deposit.reserve(ledger, place.archive(), release, place.metadata(release))
    again = place.plan("0.1.0", b"first release, other bytes")
    place.publish(again)
    place.check_published_once(again)


def test_abandoning_finds_a_draft_the_ledger_never_heard_of(home: Homes) -> None:
    place, release = home
    with closing(place.ledger()) as ledger:
        ledger.deposits.open(release, "local", test=True)
        place.archive().create_draft(place.metadata(release))
        deposit.abandon(ledger, place.archive(), release)
    assert place.archive().find_drafts(release.identifier) == ()


def test_a_published_deposit_is_not_abandoned(home: Homes) -> None:
    place, release = home
    done = place.publish(release)
    with closing(place.ledger()) as ledger:
        with pytest.raises(IntegrityError, match="can't be abandoned"):
            deposit.abandon(ledger, place.archive(), release)
        known = ledger.deposits.of(release)
        assert known is not None
        assert (known.state, known.doi, known.files) == (DepositState.PUBLISHED, done.doi, done.files)


def test_who_lost_the_lease_does_not_publish(home: Homes) -> None:
    place, release = home

    class Lost:
        def renew(self) -> None:
            raise BusyError("The lease went to another process", "Run again")

    lost: Any = Lost()
    with closing(place.ledger()) as ledger:
        deposit.reserve(ledger, place.archive(), release, place.metadata(release))
        with pytest.raises(BusyError):
            deposit.complete(
                ledger, place.archive(), release, place.staged("0.1.0"), place.metadata(release), lease=lost
            )
    assert place.records() == []
    place.publish(release)
    place.check_published_once(release)


def test_a_publication_that_is_not_shown_yet_is_read_back_later(home: Homes) -> None:
    place, release = home

    class Slow(LocalArchive):
        """Publishes, but its reads lag behind."""

        shown = False

        def read(self, record_id: str) -> PublishedRecord | None:
            return super().read(record_id) if self.shown else None

    slow = Slow(place.folder / "archive", "http://127.0.0.1:8763")
    with pytest.raises(TransientError, match="does not show record"):
        place.publish(release, archive=slow)
    with closing(place.ledger()) as ledger:
        known = ledger.deposits.of(release)
    assert known is not None
    assert known.state is DepositState.PUBLISHING
    slow.shown = True
    assert place.publish(release, archive=slow).doi == known.doi
    place.check_published_once(release)
