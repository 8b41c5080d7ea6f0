"""Moving a file to its immutable address: what every store promises, and what a process that dies there leaves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient

from d4c_pipeline.files.hashing import Digests, hash_file
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.stores.port import Store
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline_tests.fakes.s3 import PART, FakeS3
from d4c_pipeline_tests.support.strides import stride

HIDDEN = "hidden/0123456789abcdef0123456789abcdef/stops.parquet"
TARGET = "releases/stops/2024/v0.1.0/stops.parquet"


@pytest.fixture
def four(tmp_path: Path) -> tuple[Path, Digests]:
    path = tmp_path / "four"
    path.write_bytes(b"four")
    return path, hash_file(path)


def test_a_file_moves_once_and_moving_it_again_is_no_work(store: Store, four: tuple[Path, Digests]) -> None:
    path, digests = four
    assert not store.move(HIDDEN, TARGET, digests)  # nothing is there
    store.put_immutable(path, HIDDEN, digests)
    assert store.move(HIDDEN, TARGET, digests)
    assert (store.stat(HIDDEN), store.read_bytes(TARGET)) == (None, b"four")
    before = store.facts(TARGET)
    assert store.move(HIDDEN, TARGET, digests)
    assert store.facts(TARGET) == before
    # A process that died between the copy and the deletion leaves both.
    store.put_immutable(path, HIDDEN, digests)
    assert store.move(HIDDEN, TARGET, digests)
    assert (store.stat(HIDDEN), store.read_bytes(TARGET)) == (None, b"four")


def test_other_bytes_at_either_address_stay_as_they_are(store: Store, four: tuple[Path, Digests]) -> None:
    _, digests = four
    store.replace(b"five", HIDDEN)
    assert not store.move(HIDDEN, TARGET, digests)
    assert (store.read_bytes(HIDDEN), store.stat(TARGET)) == (b"five", None)
    store.put_immutable(four[0], HIDDEN.replace("stops.p", "other.p"), digests)
    (path := four[0].with_name("six!")).write_bytes(b"six!")
    store.put_immutable(path, TARGET, hash_file(path))
    with pytest.raises(IntegrityError, match="holds other bytes at the immutable address releases/stops"):
        store.move(HIDDEN.replace("stops.p", "other.p"), TARGET, digests)
    assert store.read_bytes(HIDDEN.replace("stops.p", "other.p")) == b"four"
    assert store.read_bytes(TARGET) == b"six!"


def test_a_large_file_is_copied_in_parts_and_nothing_of_it_is_left(s3_store: S3Store, large: Path) -> None:
    digests = hash_file(large)
    store = S3Store(s3_store.bucket, s3_store.base_url, part_size=PART, copy_size=PART)
    store.put_immutable(large, HIDDEN, digests)
    assert store.move(HIDDEN, TARGET, digests)
    assert store.verify(TARGET, digests.size, digests.sha256)
    assert (store.stat(HIDDEN), store.open_uploads()) == (None, 0)


def test_what_a_reader_is_told_changes_with_the_address(s3_store: S3Store, four: tuple[Path, Digests]) -> None:
    path, digests = four
    s3_store.put_immutable(path, HIDDEN, digests)
    client, name = s3_store.bucket.client(), s3_store.bucket.name
    before = client.head_object(Bucket=name, Key=s3_store.bucket.key(HIDDEN))
    assert before["CacheControl"] == "private, no-store"
    s3_store.move(HIDDEN, TARGET, digests)
    after = client.head_object(Bucket=name, Key=s3_store.bucket.key(TARGET))
    assert after["CacheControl"] == "public, max-age=31536000, immutable"
    assert after["ContentType"] == before["ContentType"] == "application/vnd.apache.parquet"
    assert after["Metadata"]["sha256"] == digests.sha256


def test_a_small_object_moves_in_six_requests_without_being_read(fake: FakeS3, four: tuple[Path, Digests]) -> None:
    path, digests = four
    store = fake.store("moving")
    store.put_immutable(path, HIDDEN, digests)
    fake.requests.clear()
    store.move(HIDDEN, TARGET, digests)
    # HEAD of both, the copy, HEAD of the copy, the deletion and a look for uploads that were never completed.
    assert fake.requests == ["HEAD", "HEAD", "PUT", "HEAD", "DELETE", "GET uploads"]


def test_a_copy_that_came_out_wrong_is_taken_away_and_the_original_stays(
    s3_store: S3Store, four: tuple[Path, Digests], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digests = four
    s3_store.put_immutable(path, HIDDEN, digests)

    def copied(upload: Any, *_: object) -> None:
        upload.client.put_object(Bucket=upload.bucket.name, Key=upload.bucket.key(upload.address), Body=b"f0ur")

    monkeypatch.setattr("d4c_pipeline.stores.s3.copy_object", copied)
    with pytest.raises(IntegrityError, match=r"copied other bytes to releases/stops.* than it had"):
        s3_store.move(HIDDEN, TARGET, digests)
    assert (s3_store.stat(TARGET), s3_store.read_bytes(HIDDEN)) == (None, b"four")


class Killed(Exception):  # noqa: N818 - no fault, a death
    """The process died."""


def dying(monkeypatch: pytest.MonkeyPatch, fatal: int, moment: str) -> None:
    """Let the client die at its call number `fatal`: before it is made, or before its answer is known."""
    original: Callable[..., Any] = BaseClient._make_api_call
    calls = 0

    def call(self: Any, operation: str, arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > fatal:
            if moment == "after" and calls == fatal + 1:
                original(self, operation, arguments)
            raise Killed
        return original(self, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("size", ["small", "parts"])
def test_killed_at_any_call_the_bytes_lie_at_one_address_or_both_and_the_next_call_ends_it(
    s3_store: S3Store, large: Path, four: tuple[Path, Digests], moment: str, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = four[0] if size == "small" else large
    digests = hash_file(path)
    for fatal in range(0, 30, stride(3)):
        store = S3Store(s3_store.bucket, s3_store.base_url, part_size=PART, copy_size=PART)
        target = TARGET.replace("2024", f"{2000 + fatal}")
        store.put_immutable(path, HIDDEN, digests)
        with monkeypatch.context() as patch:
            dying(patch, fatal, moment)
            try:
                done = store.move(HIDDEN, target, digests)
            except Killed:
                done = False
        again = S3Store(s3_store.bucket, s3_store.base_url, part_size=PART, copy_size=PART)
        there = [address for address in (HIDDEN, target) if again.verify(address, digests.size, digests.sha256)]
        assert there, fatal
        assert again.stat(target) in (None, digests.size)
        assert again.move(HIDDEN, target, digests)
        assert again.verify(target, digests.size, digests.sha256)
        assert (again.stat(HIDDEN), again.open_uploads()) == (None, 0)
        if done:
            break
    assert 6 <= fatal < 29


@pytest.mark.parametrize("fatal", ["os.link", "os.remove", "os.rmdir"])
def test_a_folder_killed_at_any_act(
    tmp_path: Path, four: tuple[Path, Digests], fatal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digests = four
    store = FolderStore(tmp_path / "store", "http://x")
    store.put_immutable(path, HIDDEN, digests)

    def die(*_: object, **__: object) -> None:
        raise Killed

    name = {"os.link": "hardlink_to", "os.remove": "unlink", "os.rmdir": "rmdir"}[fatal]
    with monkeypatch.context() as patch:
        patch.setattr(Path, name, die)
        with pytest.raises(Killed):
            store.move(HIDDEN, TARGET, digests)
    assert {store.stat(HIDDEN), store.stat(TARGET)} <= {None, 4}
    assert store.move(HIDDEN, TARGET, digests)
    assert (store.stat(HIDDEN), store.read_bytes(TARGET)) == (None, b"four")


def test_a_disk_without_hard_links_moves_by_renaming(
    tmp_path: Path, four: tuple[Path, Digests], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digests = four
    store = FolderStore(tmp_path / "store", "http://x")
    (tmp_path / "store" / HIDDEN).parent.mkdir(parents=True)
    shutil.copy(path, tmp_path / "store" / HIDDEN)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert store.move(HIDDEN, TARGET, digests)
    assert (store.stat(HIDDEN), store.read_bytes(TARGET)) == (None, b"four")


def test_a_hidden_folder_is_closed_to_other_users_and_goes_with_its_last_file(
    tmp_path: Path, four: tuple[Path, Digests]
) -> None:
    path, digests = four
    store = FolderStore(tmp_path / "store", "http://x")
    store.put_immutable(path, HIDDEN, digests)
    assert (tmp_path / "store" / "hidden").stat().st_mode & 0o777 == 0o700
    store.move(HIDDEN, TARGET, digests)
    assert list((tmp_path / "store" / "hidden").iterdir()) == []
    # What readers open has the rights of every published file.
    assert (tmp_path / "store" / TARGET).stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "store" / TARGET).parent.stat().st_mode & 0o777 == 0o755
