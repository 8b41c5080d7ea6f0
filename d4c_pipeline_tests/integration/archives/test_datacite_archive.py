"""DataCite as an archive over our own store: the common contract where it applies, and what is its own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from d4c_pipeline.archives import deposit
from d4c_pipeline.archives.datacite.client import DataCiteArchive
from d4c_pipeline.archives.port import Draft, RemoteFile
from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.errors import NeedsPersonError, PermanentError, TransientError
from d4c_pipeline.model.release import DepositState, Release
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.fakes.datacite import ACCOUNT, PASSWORD, PREFIX, FakeDataCite
from d4c_pipeline_tests.fakes.deposits import Home, make_metadata
from d4c_pipeline_tests.integration.archives.test_archive_contract import (
    hello,
    published,
    test_a_name_is_uploaded_once_until_deleted,
    test_a_published_record_can_not_change,
    test_an_unknown_id_is_neither_draft_nor_record,
    test_files_are_listed_by_name,
    test_names_that_are_no_plain_file_names_are_refused,
    test_only_a_published_record_has_new_versions,
    test_publication_keeps_doi_and_files,
    test_publishing_twice_gives_the_same_record,
    test_put_metadata_changes_the_identifier,
    test_the_archive_measures_what_arrives,
    test_versions_share_the_concept_doi,
    test_what_is_no_longer_declared_does_not_come_back,
    test_without_a_file_nothing_is_published,
)

__all__ = [
    "hello",
    "published",
    "test_a_name_is_uploaded_once_until_deleted",
    "test_a_published_record_can_not_change",
    "test_an_unknown_id_is_neither_draft_nor_record",
    "test_files_are_listed_by_name",
    "test_names_that_are_no_plain_file_names_are_refused",
    "test_only_a_published_record_has_new_versions",
    "test_publication_keeps_doi_and_files",
    "test_publishing_twice_gives_the_same_record",
    "test_put_metadata_changes_the_identifier",
    "test_the_archive_measures_what_arrives",
    "test_versions_share_the_concept_doi",
    "test_what_is_no_longer_declared_does_not_come_back",
    "test_without_a_file_nothing_is_published",
]

QUICK = Patience(attempts=3, first_wait=0.001, longest_wait=0.01, connect_timeout=2.0, read_timeout=2.0)
Metadata = Callable[..., RecordMetadata]


class Store:
    """A store on the loopback: `folder(identifier)` is where a release's files lie, `locate` its address."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.root = root
        handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(root)))
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def folder(self, identifier: str) -> Path:
        folder = self.root / identifier.rpartition(":")[2][:12]
        folder.mkdir(exist_ok=True)
        return folder

    def locate(self, identifier: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{self.folder(identifier).name}"


class Copying(DataCiteArchive):
    """The archive after the step `copies`: what is uploaded lies in the store already."""

    store: Store

    def upload(self, draft: Draft, name: str, path: Path) -> RemoteFile:
        current = self.draft(draft.record_id)
        if current is not None and current.identifier is not None and re.fullmatch(r"\w+\.\w+", name):
            shutil.copyfile(path, self.store.folder(current.identifier) / name)
        return super().upload(draft, name, path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store")
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def agency() -> Iterator[FakeDataCite]:
    with FakeDataCite() as running:
        yield running


def archive_at(agency: FakeDataCite, store: Store, kind: type[DataCiteArchive] = DataCiteArchive, **how: Any) -> Any:
    settings = {"prefix": PREFIX, "locate": store.locate, "test": True, "patience": QUICK, "pause": lambda _: None}
    return kind(agency.url, ACCOUNT, how.pop("password", PASSWORD), **{**settings, **how})


@pytest.fixture
def archive(agency: FakeDataCite, store: Store) -> Iterator[DataCiteArchive]:
    made = archive_at(agency, store, Copying)
    made.store = store
    with closing(made):
        yield made


def test_a_doi_goes_from_draft_to_findable_with_its_concept(
    archive: DataCiteArchive, agency: FakeDataCite, metadata: Metadata, hello: Path, store: Store
) -> None:
    draft = archive.create_draft(metadata())
    assert agency.state_of(draft.record_id) == "draft"
    assert archive.create_draft(metadata()) == draft, "the DOI follows from the release: a second request makes none"
    assert [one.record_id for one in archive.drafts()] == [draft.record_id]
    archive.upload(draft, "data.parquet", hello)
    record = archive.publish(draft)

    said = agency.dois[record.doi]
    assert (said["state"], said["version"]) == ("findable", "0.1.0")
    assert said["contentUrl"] == [f"{store.locate(metadata().identifier)}/data.parquet"]
    assert said["url"] == f"{store.locate(metadata().identifier)}/README.md"
    concept = agency.dois[record.concept_doi]
    assert (concept["state"], concept["titles"]) == ("findable", said["titles"])
    assert "version" not in concept
    assert [one["relatedIdentifier"] for one in concept["relatedIdentifiers"]] == [record.doi]
    assert archive.file_url(record.record_id, "data.parquet") == said["contentUrl"][0]
    assert list(archive.drafts()) == []


def test_a_second_version_joins_the_concept(
    archive: DataCiteArchive, agency: FakeDataCite, metadata: Metadata, published: Any, hello: Path
) -> None:
    draft = archive.new_version(published.record_id)
    assert draft == archive.new_version(published.record_id)
    draft = archive.put_metadata(draft, metadata("second", version="0.1.1"))
    archive.upload(draft, "data.parquet", hello)
    second = archive.publish(draft)
    assert (published.doi[-3:], second.doi[-3:]) == (".v1", ".v2")
    concept = agency.dois[second.concept_doi]
    assert [one["relatedIdentifier"] for one in concept["relatedIdentifiers"]] == [published.doi, second.doi]


def test_a_publication_that_was_interrupted_before_its_concept_goes_on(
    archive: DataCiteArchive, agency: FakeDataCite, metadata: Metadata, hello: Path
) -> None:
    draft = archive.create_draft(metadata())
    archive.upload(draft, "data.parquet", hello)
    agency.failures = [("POST", 503, False)] * QUICK.attempts
    with pytest.raises(TransientError):
        archive.publish(draft)
    assert agency.state_of(draft.record_id) == "findable"
    assert archive.read(draft.record_id) is None
    assert archive.draft(draft.record_id) is not None
    record = archive.publish(draft)
    assert agency.state_of(record.concept_doi) == "findable"


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
def test_lost_answers_leave_one_doi(
    archive: DataCiteArchive, agency: FakeDataCite, metadata: Metadata, hello: Path, method: str, carried_out: bool
) -> None:
    agency.failures = [(method, 502, carried_out)] * 2
    draft = archive.put_metadata(archive.create_draft(metadata()), metadata())
    archive.upload(draft, "data.parquet", hello)
    archive.publish(draft)
    assert sorted(agency.dois) == sorted([draft.record_id, draft.concept_id])


def test_what_the_store_does_not_serve_is_refused(
    agency: FakeDataCite, store: Store, metadata: Metadata, hello: Path
) -> None:
    with closing(archive_at(agency, store)) as archive:
        draft = archive.create_draft(metadata())
        with pytest.raises(PermanentError, match=r"The store does not serve http.*/data\.parquet \(it answered 404\)"):
            archive.upload(draft, "data.parquet", hello)
        (store.folder(metadata().identifier) / "data.parquet").write_bytes(b"hell")
        with pytest.raises(TransientError, match="serves 4 bytes, the staged file has 5"):
            archive.upload(draft, "data.parquet", hello)


def test_wrong_credentials_and_a_foreign_prefix_are_told(
    agency: FakeDataCite, store: Store, metadata: Metadata
) -> None:
    with (
        closing(archive_at(agency, store, password="wr0ng")) as archive,
        pytest.raises(NeedsPersonError, match=r"DataCite refuses GET /dois.*Check D4C_ARCHIVE_ACCOUNT") as refused,
    ):
        archive.create_draft(metadata())
    assert "wr0ng" not in str(refused.value)
    with (
        closing(archive_at(agency, store, prefix="10.9999")) as archive,
        pytest.raises(NeedsPersonError, match=r"POST /dois \(403\).*that the account has the prefix"),
    ):
        archive.create_draft(metadata())


def test_a_release_goes_all_the_way_and_its_next_version_too(
    agency: FakeDataCite, store: Store, home: tuple[Home, Release]
) -> None:
    place, first = home

    def publish(release: Release, version: str) -> Any:
        said = make_metadata(release.key, version)
        with closing(place.ledger()) as ledger, closing(archive_at(agency, store)) as archive:
            for name, path in place.staged(version).items():
                shutil.copyfile(path, store.folder(release.identifier) / name)
            before = [ledger.deposits.of(one) for one in ledger.releases.published()]
            deposit.reserve(ledger, archive, release, said, previous=before[-1] if before else None)
            done = deposit.complete(ledger, archive, release, place.staged(version), said)
            again = deposit.complete(ledger, archive, release, place.staged(version), said)
            ledger.releases.mark_published(release)
            assert again == done
            return done

    one = publish(first, "0.1.0")
    two = publish(place.plan("0.1.1", b"second release"), "0.1.1")
    assert (one.state, two.state) == (DepositState.PUBLISHED, DepositState.PUBLISHED)
    assert one.concept_doi == two.concept_doi
    assert two.files["data.parquet"] == f"{store.locate(place_identifier(place))}/data.parquet"
    assert sorted(state["state"] for state in agency.dois.values()) == ["findable"] * 3


def place_identifier(place: Home) -> str:
    with closing(place.ledger()) as ledger:
        return ledger.releases.published()[-1].identifier
