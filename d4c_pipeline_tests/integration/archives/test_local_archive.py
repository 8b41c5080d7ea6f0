"""What is the local archive's own: its place on disk, its addresses, its behaviour between processes."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import threading
import tracemalloc
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from d4c_pipeline.archives.local.archive import LocalArchive
from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.errors import IntegrityError, PermanentError, StorageError
from d4c_pipeline_tests.fakes.children import in_child

Metadata = Callable[..., RecordMetadata]
Children = Callable[[list[Callable[[], str]]], Iterator[str]]


@pytest.fixture
def local(tmp_path: Path) -> LocalArchive:
    return LocalArchive(tmp_path / "archive", "http://127.0.0.1:1/")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(b"some data")
    return path


def test_its_dois_are_visibly_test_dois(local: LocalArchive, metadata: Metadata, data: Path) -> None:
    draft = local.create_draft(metadata())
    local.upload(draft, "a.txt", data)
    record = local.publish(draft)

    assert local.test is True
    assert record.doi == f"10.5072/d4c-local.{record.record_id}"
    assert record.concept_doi == f"10.5072/d4c-local.{record.concept_id}"


def test_nothing_is_written_by_reading(tmp_path: Path) -> None:
    archive = LocalArchive(tmp_path / "archive")

    assert archive.find_published("urn:d4c:x") is None
    assert archive.find_drafts("urn:d4c:x") == ()
    assert list(tmp_path.iterdir()) == []


def test_without_a_base_url_there_are_no_addresses(tmp_path: Path, metadata: Metadata) -> None:
    archive = LocalArchive(tmp_path / "archive")

    assert archive.create_draft(metadata()).url is None
    assert archive.file_url("abcde-fghjk", "a.txt") is None


def test_a_file_server_on_the_folder_serves_the_addresses(tmp_path: Path, metadata: Metadata, data: Path) -> None:
    root = tmp_path / "archive"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        archive = LocalArchive(root, f"http://127.0.0.1:{server.server_port}")
        draft = archive.create_draft(metadata())
        name = "donnees de Québec.csv"
        address = archive.file_url(draft.record_id, name)
        archive.upload(draft, name, data)
        record = archive.publish(draft)
        assert address is not None
        assert record.url is not None
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.read() == b"some data"
        with urllib.request.urlopen(record.url, timeout=10) as answer:
            assert json.load(answer)["doi"] == record.doi
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_published_files_are_read_only_for_everybody(
    local: LocalArchive, metadata: Metadata, data: Path, tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        draft = local.create_draft(metadata())
        local.upload(draft, "a.txt", data)
        record = local.publish(draft)
    finally:
        os.umask(before)

    path = tmp_path / "archive" / "records" / record.record_id / "files" / "a.txt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert path.stat().st_ino != data.stat().st_ino
    data.write_bytes(b"changed later")
    assert path.read_bytes() == b"some data"


def test_memory_does_not_grow_with_the_file(local: LocalArchive, metadata: Metadata, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(64 << 20)
    draft = local.create_draft(metadata())
    tracemalloc.start()
    try:
        arrived = local.upload(draft, "large.bin", large)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (arrived.size, arrived.md5) == (64 << 20, "7f614da9329cd3aebf59b91aadc30bf0")  # of 64 MiB of zeros
    assert peak < 8 << 20


def test_the_limit_counts_the_files_that_are_there(tmp_path: Path, metadata: Metadata, data: Path) -> None:
    archive = LocalArchive(tmp_path / "archive", max_bytes=20)
    draft = archive.create_draft(metadata())
    archive.upload(draft, "1.txt", data)
    archive.upload(draft, "2.txt", data)

    with pytest.raises(PermanentError, match="are more than the"):
        archive.upload(draft, "3.txt", data)


def test_a_disk_that_refuses_is_a_storage_error_and_leaves_the_draft_usable(
    local: LocalArchive, metadata: Metadata, data: Path, tmp_path: Path, in_children: Children
) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 300_000)
    draft = local.create_draft(metadata())

    def upload_with_a_full_disk() -> str:
        # The kernel's own limit on the size of written files stands for a disk that is full half-way.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(StorageError) as caught:
            local.upload(draft, "large.bin", large)
        return str(caught.value)

    (message,) = in_children([upload_with_a_full_disk])
    assert "File too large" in message
    assert local.list_files(draft) == ()
    assert [path.name for path in (tmp_path / "archive" / "drafts" / draft.record_id / "incoming").iterdir()] == []
    local.upload(draft, "large.bin", large)
    assert local.publish(draft).files[0].size == 300_000


def test_a_root_that_is_a_file_is_a_storage_error(tmp_path: Path, metadata: Metadata) -> None:
    (tmp_path / "archive").write_text("in the way")

    with pytest.raises(StorageError, match="local archive can't use"):
        LocalArchive(tmp_path / "archive").create_draft(metadata())


def test_a_damaged_record_is_named(local: LocalArchive, metadata: Metadata, tmp_path: Path) -> None:
    draft = local.create_draft(metadata())
    path = tmp_path / "archive" / "drafts" / draft.record_id / "record.json"
    path.write_text(path.read_text(encoding="utf-8")[:50], encoding="utf-8")

    with pytest.raises(IntegrityError, match=draft.record_id):
        local.draft(draft.record_id)


def test_a_draft_that_lost_a_file_is_not_published(
    local: LocalArchive, metadata: Metadata, data: Path, tmp_path: Path
) -> None:
    draft = local.create_draft(metadata())
    local.upload(draft, "a.txt", data)
    (tmp_path / "archive" / "drafts" / draft.record_id / "files" / "a.txt").unlink()

    assert local.list_files(draft) == ()
    with pytest.raises(IntegrityError, match=r"lost its file a\.txt"):
        local.publish(draft)


def test_a_file_without_an_entry_is_not_published(
    local: LocalArchive, metadata: Metadata, data: Path, tmp_path: Path
) -> None:
    draft = local.create_draft(metadata())
    local.upload(draft, "a.txt", data)
    folder = tmp_path / "archive" / "drafts" / draft.record_id
    (folder / "files" / "stray.txt").write_text("of a killed deletion")
    (folder / "incoming" / "half.part").write_text("of a killed upload")
    record = local.publish(draft)

    published = tmp_path / "archive" / "records" / record.record_id
    assert sorted(str(p.relative_to(published)) for p in published.rglob("*")) == [
        "files",
        "files/a.txt",
        "record.json",
    ]


def test_a_repeated_upload_deletes_what_a_killed_one_left(
    local: LocalArchive, metadata: Metadata, data: Path, tmp_path: Path
) -> None:
    draft = local.create_draft(metadata())

    def killed() -> None:
        import d4c_pipeline.archives.local.archive as module

        module.os.fsync = lambda _handle: os.kill(os.getpid(), signal.SIGKILL)
        local.upload(draft, "a.txt", data)

    incoming = tmp_path / "archive" / "drafts" / draft.record_id / "incoming"
    for _ in range(2):
        assert in_child(killed) == -signal.SIGKILL
        assert len(list(incoming.iterdir())) == 1
    local.upload(draft, "a.txt", data)
    assert list(incoming.iterdir()) == []


def test_processes_that_create_at_once_get_different_ids(
    local: LocalArchive, metadata: Metadata, in_children: Children
) -> None:
    def create() -> str:
        return " ".join(local.create_draft(metadata()).record_id for _ in range(5))

    ids = " ".join(in_children([create] * 4)).split()
    assert len(set(ids)) == 20
    assert {draft.record_id for draft in local.find_drafts(metadata().identifier)} == set(ids)


def test_processes_that_upload_at_once_lose_nothing(
    local: LocalArchive, metadata: Metadata, data: Path, in_children: Children
) -> None:
    draft = local.create_draft(metadata())

    def upload(name: str) -> str:
        return local.upload(draft, name, data).name

    names = sorted(in_children([partial(upload, f"{number}.txt") for number in range(6)]))
    assert [file.name for file in local.list_files(draft)] == names == [f"{number}.txt" for number in range(6)]


def test_processes_that_publish_at_once_make_one_record(
    local: LocalArchive, metadata: Metadata, data: Path, tmp_path: Path, in_children: Children
) -> None:
    draft = local.create_draft(metadata())
    local.upload(draft, "a.txt", data)

    def publish() -> str:
        return local.publish(draft).doi

    assert set(in_children([publish] * 4)) == {f"10.5072/d4c-local.{draft.record_id}"}
    assert len(list((tmp_path / "archive" / "records").iterdir())) == 1


def test_processes_that_open_a_version_at_once_get_the_same_draft(
    local: LocalArchive, metadata: Metadata, data: Path, in_children: Children
) -> None:
    draft = local.create_draft(metadata())
    local.upload(draft, "a.txt", data)
    record = local.publish(draft)

    def open_version() -> str:
        return local.new_version(record.record_id).record_id

    assert len(set(in_children([open_version] * 4))) == 1
