"""What every archive must do: one suite, run against each archive that `conftest.ARCHIVES` names."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from d4c_pipeline.archives.port import Archive, Draft, PublishedRecord, RemoteFile
from d4c_pipeline.metadata.record import Grant, RecordMetadata
from d4c_pipeline.model.errors import PermanentError

Metadata = Callable[..., RecordMetadata]
HELLO = RemoteFile("data.parquet", 5, "5d41402abc4b2a76b9719d911017c592")  # md5 of "hello"


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    path = tmp_path / "hello"
    path.write_bytes(b"hello")
    return path


@pytest.fixture
def published(archive: Archive, metadata: Metadata, hello: Path) -> PublishedRecord:
    draft = archive.reserve_doi(archive.create_draft(metadata()))
    archive.upload(draft, "data.parquet", hello)
    return archive.publish(draft)


def test_a_draft_is_found_as_a_draft_only(archive: Archive, metadata: Metadata) -> None:
    draft = archive.create_draft(metadata())

    assert draft.identifier == metadata().identifier
    assert (draft.doi, draft.concept_doi) == (None, None)
    assert archive.draft(draft.record_id) == draft
    assert archive.find_drafts(metadata().identifier) == (draft,)
    assert archive.find_drafts(metadata("second").identifier) == ()
    assert archive.read(draft.record_id) is None
    assert archive.find_published(metadata().identifier) is None


def test_an_unknown_id_is_neither_draft_nor_record(archive: Archive) -> None:
    assert archive.draft("00000-00000") is None
    assert archive.read("00000-00000") is None


def test_two_drafts_of_one_identifier_are_both_found(archive: Archive, metadata: Metadata) -> None:
    drafts = {archive.create_draft(metadata()).record_id for _ in range(2)}

    assert len(drafts) == 2
    assert {draft.record_id for draft in archive.find_drafts(metadata().identifier)} == drafts


def test_a_reserved_doi_stays(archive: Archive, metadata: Metadata) -> None:
    draft = archive.create_draft(metadata())
    reserved = archive.reserve_doi(draft)

    assert reserved.doi is not None
    assert reserved.doi.startswith("10.")
    assert archive.reserve_doi(draft).doi == reserved.doi
    assert archive.put_metadata(draft, metadata(version="0.2.0")).doi == reserved.doi
    current = archive.draft(draft.record_id)
    assert current is not None
    assert current.doi == reserved.doi


def test_put_metadata_changes_the_identifier(archive: Archive, metadata: Metadata) -> None:
    draft = archive.create_draft(metadata())
    changed = archive.put_metadata(draft, metadata("second"))

    assert changed.identifier == metadata("second").identifier
    assert archive.find_drafts(metadata().identifier) == ()


def test_the_archive_measures_what_arrives(archive: Archive, metadata: Metadata, hello: Path) -> None:
    draft = archive.create_draft(metadata())

    assert archive.upload(draft, "data.parquet", hello) == HELLO
    assert archive.list_files(draft) == (HELLO,)


def test_files_are_listed_by_name(archive: Archive, metadata: Metadata, hello: Path) -> None:
    draft = archive.create_draft(metadata())
    for name in ("b.txt", "a.txt", "c.txt"):
        archive.upload(draft, name, hello)

    assert [file.name for file in archive.list_files(draft)] == ["a.txt", "b.txt", "c.txt"]


def test_a_name_is_uploaded_once_until_deleted(
    archive: Archive, metadata: Metadata, hello: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other bytes")
    draft = archive.create_draft(metadata())
    archive.upload(draft, "data.parquet", hello)

    with pytest.raises(PermanentError, match=r"data\.parquet"):
        archive.upload(draft, "data.parquet", other)
    assert archive.list_files(draft) == (HELLO,)

    archive.delete_file(draft, "data.parquet")
    archive.delete_file(draft, "data.parquet")
    assert archive.list_files(draft) == ()
    assert archive.upload(draft, "data.parquet", other).md5 == hashlib.md5(b"other bytes").hexdigest()  # noqa: S324


@pytest.mark.parametrize("name", ["", "a/b.txt", "../a.txt", "a\\b.txt", ".hidden", "..", "line\nbreak"])
def test_names_that_are_no_plain_file_names_are_refused(
    archive: Archive, metadata: Metadata, hello: Path, name: str
) -> None:
    draft = archive.create_draft(metadata())

    with pytest.raises(PermanentError, match="can't be the name"):
        archive.upload(draft, name, hello)
    assert archive.list_files(draft) == ()


def test_an_empty_file_is_refused(archive: Archive, metadata: Metadata, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    draft = archive.create_draft(metadata())

    with pytest.raises(PermanentError, match="is empty"):
        archive.upload(draft, "empty.txt", empty)
    assert archive.list_files(draft) == ()


def test_the_hundred_and_first_file_is_refused(archive: Archive, metadata: Metadata, hello: Path) -> None:
    draft = archive.create_draft(metadata())
    for number in range(100):
        archive.upload(draft, f"{number:03}.txt", hello)

    with pytest.raises(PermanentError, match="101 files are more than the 100"):
        archive.upload(draft, "100.txt", hello)
    assert len(archive.list_files(draft)) == 100


def test_more_than_fifty_gigabytes_are_refused(archive: Archive, metadata: Metadata, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(50 * 10**9 + 1)  # sparse: takes no room
    draft = archive.create_draft(metadata())

    with pytest.raises(PermanentError, match=r"50\.0 GB that a record holds"):
        archive.upload(draft, "huge.bin", huge)


def test_publication_keeps_doi_and_files(archive: Archive, metadata: Metadata, hello: Path) -> None:
    draft = archive.reserve_doi(archive.create_draft(metadata()))
    archive.upload(draft, "data.parquet", hello)
    record = archive.publish(draft)

    assert record.record_id == draft.record_id
    assert record.doi == draft.doi
    assert record.concept_doi.startswith("10.")
    assert record.concept_doi != record.doi
    assert record.files == (HELLO,)
    assert archive.read(draft.record_id) == record
    assert archive.find_published(metadata().identifier) == record
    assert archive.draft(draft.record_id) is None
    assert archive.find_drafts(metadata().identifier) == ()


def test_publishing_twice_gives_the_same_record(archive: Archive, metadata: Metadata, hello: Path) -> None:
    draft = archive.create_draft(metadata())
    archive.upload(draft, "data.parquet", hello)

    assert archive.publish(draft) == archive.publish(draft)


def test_without_a_file_nothing_is_published(archive: Archive, metadata: Metadata) -> None:
    draft = archive.create_draft(metadata())

    with pytest.raises(PermanentError, match="no files"):
        archive.publish(draft)
    assert archive.draft(draft.record_id) is not None


def _as_draft(record: PublishedRecord) -> Draft:
    """A draft object that outlived its publication."""
    return Draft(record.record_id, record.concept_id, record.identifier, record.doi, record.concept_doi, record.url)


def test_a_published_record_can_not_change(
    archive: Archive, metadata: Metadata, published: PublishedRecord, hello: Path
) -> None:
    stale = _as_draft(published)

    with pytest.raises(PermanentError):
        archive.upload(stale, "more.txt", hello)
    with pytest.raises(PermanentError):
        archive.delete_file(stale, "data.parquet")
    with pytest.raises(PermanentError):
        archive.put_metadata(stale, metadata(version="9.9.9"))
    archive.discard(stale)
    assert archive.read(published.record_id) == published


def test_a_new_version_starts_empty_in_the_same_concept(archive: Archive, published: PublishedRecord) -> None:
    draft = archive.new_version(published.record_id)

    assert draft.record_id != published.record_id
    assert draft.concept_id == published.concept_id
    assert draft.concept_doi == published.concept_doi
    assert draft.doi is None
    assert archive.list_files(draft) == ()
    assert archive.new_version(published.record_id) == draft
    assert archive.read(published.record_id) == published


def test_a_new_version_without_its_own_metadata_is_not_published(
    archive: Archive, published: PublishedRecord, hello: Path
) -> None:
    draft = archive.new_version(published.record_id)
    archive.upload(draft, "data.parquet", hello)

    with pytest.raises(PermanentError, match="version"):
        archive.publish(draft)


def test_versions_share_the_concept_doi(
    archive: Archive, metadata: Metadata, published: PublishedRecord, hello: Path
) -> None:
    draft = archive.put_metadata(archive.new_version(published.record_id), metadata("second", version="0.1.1"))
    archive.upload(draft, "data.parquet", hello)
    second = archive.publish(archive.reserve_doi(draft))

    assert second.concept_doi == published.concept_doi
    assert second.doi != published.doi
    third = archive.new_version(published.record_id)  # asked from the oldest
    assert third == archive.new_version(second.record_id)
    assert third.record_id not in (published.record_id, second.record_id)
    assert archive.find_published(metadata().identifier) == published


def test_only_a_published_record_has_new_versions(archive: Archive, metadata: Metadata) -> None:
    draft = archive.create_draft(metadata())

    for record_id in (draft.record_id, "00000-00000"):
        with pytest.raises(PermanentError, match="no published record"):
            archive.new_version(record_id)


def test_a_new_version_takes_over_the_files_before_it(
    archive: Archive, metadata: Metadata, published: PublishedRecord, hello: Path
) -> None:
    draft = archive.new_version(published.record_id)
    assert archive.import_files(draft) == (HELLO,)
    assert archive.import_files(draft) == (HELLO,)  # has files: stays as it is

    archive.upload(draft, "more.txt", hello)
    archive.put_metadata(draft, metadata("second", version="0.1.1"))
    second = archive.publish(archive.reserve_doi(draft))
    assert [file.name for file in second.files] == ["data.parquet", "more.txt"]
    assert archive.read(published.record_id) == published


def test_an_imported_file_can_be_deleted_and_replaced(
    archive: Archive, published: PublishedRecord, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other bytes")
    draft = archive.new_version(published.record_id)
    archive.import_files(draft)
    archive.delete_file(draft, "data.parquet")
    archive.upload(draft, "data.parquet", other)

    assert [file.size for file in archive.list_files(draft)] == [11]
    assert archive.read(published.record_id) == published


def test_a_first_version_has_nothing_to_import(archive: Archive, metadata: Metadata) -> None:
    draft = archive.create_draft(metadata())

    assert archive.import_files(draft) == ()
    archive.discard(draft)
    with pytest.raises(PermanentError, match="no draft"):
        archive.import_files(draft)


def test_dropping_what_is_pending_leaves_what_has_arrived(archive: Archive, metadata: Metadata, hello: Path) -> None:
    draft = archive.create_draft(metadata())
    archive.upload(draft, "data.parquet", hello)
    archive.drop_pending(draft)

    assert archive.list_files(draft) == (HELLO,)


def test_all_drafts_are_listed(archive: Archive, metadata: Metadata, published: PublishedRecord) -> None:
    made = archive.create_draft(metadata("second"))
    version = archive.new_version(published.record_id)
    time.sleep(archive.search_lag)
    listed = {draft.record_id: draft for draft in archive.drafts()}

    assert listed[made.record_id] == made
    assert listed[version.record_id] == version
    assert published.record_id not in listed


def test_a_discarded_draft_is_gone(archive: Archive, metadata: Metadata, hello: Path) -> None:
    draft = archive.create_draft(metadata())
    archive.upload(draft, "data.parquet", hello)
    archive.discard(draft)
    archive.discard(draft)

    assert archive.draft(draft.record_id) is None
    assert archive.find_drafts(metadata().identifier) == ()
    with pytest.raises(PermanentError):
        archive.upload(draft, "data.parquet", hello)
    with pytest.raises(PermanentError):
        archive.publish(draft)


def test_a_discarded_new_version_leaves_room_for_another(archive: Archive, published: PublishedRecord) -> None:
    first = archive.new_version(published.record_id)
    archive.discard(first)

    assert archive.new_version(published.record_id).record_id != first.record_id


def test_addresses_are_known_from_the_draft_on(
    archive: Archive, metadata: Metadata, published: PublishedRecord
) -> None:
    draft = archive.create_draft(metadata("second"))
    address = archive.file_url(draft.record_id, "a b.parquet")

    assert address is not None
    assert draft.record_id in address
    assert address.endswith("a%20b.parquet")
    assert published.url == archive.record_url(published.record_id)


def test_what_is_no_longer_declared_does_not_come_back(archive: Archive, metadata: Metadata, hello: Path) -> None:
    rich = replace(
        metadata(),
        funding=(Grant("City of Example", number="G-1"),),
        languages=("deu",),
        bounds=(-71.5, 46.25, -71.0, 46.5),
        columns={"en": "<p>a (int8): Number of inhabitants</p>"},
    )
    draft = archive.put_metadata(archive.create_draft(rich), rich)
    said = json.dumps(archive.described(draft))
    assert all(word in said for word in ("City of Example", "-71.5", "Number of inhabitants"))
    archive.upload(draft, "data.parquet", hello)
    record = archive.publish(draft)
    # The next version begins as a copy of it, and its definition has none of that any more.
    draft = archive.put_metadata(archive.new_version(record.record_id), metadata("second", version="0.1.1"))
    said = json.dumps(archive.described(draft))
    assert [
        word for word in ("City of Example", "G-1", '"deu"', '"language": "de"', "-71.5", "Number of") if word in said
    ] == []
