"""A folder store: immutable addresses never change, mutable ones switch whole, modes don't depend on the umask."""

from __future__ import annotations

import errno
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.model.errors import IntegrityError, PermanentError, StorageError, UnknownNameError
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.stores.port import Store

ADDRESS = "releases/stops/2024-06/v0.1.0-beta/stops.parquet"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "home" / "store", "http://127.0.0.1:8763/")


def a_file(tmp_path: Path, content: bytes, name: str = "source") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def everything(store: FolderStore) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


def test_what_is_put_is_there_with_its_public_url(store: FolderStore, tmp_path: Path) -> None:
    source = a_file(tmp_path, b"data")
    as_protocol: Store = store
    stored = as_protocol.put_immutable(source, ADDRESS, hash_file(source))
    assert stored.changed
    assert stored.size == 4
    assert stored.url == "http://127.0.0.1:8763/releases/stops/2024-06/v0.1.0-beta/stops.parquet"
    assert store.read_bytes(ADDRESS) == b"data"
    assert store.stat(ADDRESS) == 4
    assert store.local_path(ADDRESS) == store.root / ADDRESS
    assert everything(store) == [ADDRESS]


def test_the_same_bytes_again_are_no_work(store: FolderStore, tmp_path: Path) -> None:
    source = a_file(tmp_path, b"data")
    store.put_immutable(source, ADDRESS, hash_file(source))
    before = (store.root / ADDRESS).stat()
    again = store.put_immutable(source, ADDRESS, hash_file(source))
    after = (store.root / ADDRESS).stat()
    assert not again.changed
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_other_bytes_at_an_immutable_address_are_refused_and_the_old_ones_stay(
    store: FolderStore, tmp_path: Path
) -> None:
    first, second = a_file(tmp_path, b"old!", "a"), a_file(tmp_path, b"new!", "b")
    store.put_immutable(first, ADDRESS, hash_file(first))
    with pytest.raises(
        IntegrityError, match=r"other bytes at the immutable address releases/stops/2024-06/v0\.1\.0-beta"
    ):
        store.put_immutable(second, ADDRESS, hash_file(second))
    assert store.read_bytes(ADDRESS) == b"old!"
    assert everything(store) == [ADDRESS]


def test_a_source_that_changed_since_it_was_hashed_is_not_stored(store: FolderStore, tmp_path: Path) -> None:
    source = a_file(tmp_path, b"hashed")
    digests = hash_file(source)
    source.write_bytes(b"edited")
    with pytest.raises(IntegrityError, match="source is not the file that was hashed"):
        store.put_immutable(source, ADDRESS, digests)
    assert everything(store) == []


def test_the_stored_bytes_have_no_second_name(store: FolderStore, tmp_path: Path) -> None:
    source = a_file(tmp_path, b"data")
    store.put_immutable(source, ADDRESS, hash_file(source))
    source.write_bytes(b"evil")
    assert store.read_bytes(ADDRESS) == b"data"
    assert (store.root / ADDRESS).stat().st_nlink == 1


def test_modes_are_for_a_web_server_whatever_the_umask(store: FolderStore, tmp_path: Path) -> None:
    source = a_file(tmp_path, b"data")
    before = os.umask(0o077)
    try:
        store.put_immutable(source, ADDRESS, hash_file(source))
        store.replace(b"latest", "processed/stops.parquet")
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE((store.root / path).stat().st_mode) for path in (ADDRESS, "processed/stops.parquet")}
    assert modes == {ADDRESS: 0o444, "processed/stops.parquet": 0o644}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in [store.root, *store.root.rglob("*")] if path.is_dir()}
    assert folders == {0o755}


def test_replace_switches_bytes_and_files_and_leaves_equal_ones_alone(store: FolderStore, tmp_path: Path) -> None:
    address = "catalogue/catalog.json"
    assert store.replace(b"one", address).changed
    assert not store.replace(a_file(tmp_path, b"one"), address).changed
    switched = store.replace(a_file(tmp_path, b"two"), address)
    assert switched.changed
    assert switched.sha256 == hash_file(store.root / address).sha256
    assert store.read_bytes(address) == b"two"
    assert store.replace(b"", address).size == 0
    assert everything(store) == [address]


@pytest.mark.parametrize("address", [ADDRESS, "raw/stops/2024-06/0123456789ab/stops.zip"])
def test_immutable_addresses_can_not_be_replaced(store: FolderStore, address: str) -> None:
    with pytest.raises(PermanentError, match="is immutable"):
        store.replace(b"x", address)
    assert store.stat(address) is None


def test_a_reader_never_sees_a_mixture_while_replace_runs(store: FolderStore) -> None:
    address = "processed/stops.parquet"
    versions = [bytes([number]) * (50_000 + number) for number in range(20)]
    store.replace(versions[0], address)
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(store.read_bytes(address))

    reader = threading.Thread(target=read)
    reader.start()
    for version in versions:
        store.replace(version, address)
    done.set()
    reader.join()
    assert seen <= set(versions)


def test_of_many_writers_of_one_immutable_address_one_wins_and_the_others_know(
    store: FolderStore, tmp_path: Path
) -> None:
    sources = [a_file(tmp_path, b"version %d" % number, f"s{number}") for number in range(8)]
    barrier = threading.Barrier(len(sources))
    outcomes: list[str] = []

    def put(source: Path) -> None:
        digests = hash_file(source)
        barrier.wait()
        try:
            outcomes.append("won" if store.put_immutable(source, ADDRESS, digests).changed else "same")
        except IntegrityError:
            outcomes.append("refused")

    threads = [threading.Thread(target=put, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 7 + ["won"]
    assert everything(store) == [ADDRESS]


def test_verify_finds_truncation_flipped_bytes_and_absence(store: FolderStore, tmp_path: Path) -> None:
    source = a_file(tmp_path, b"data")
    digests = hash_file(source)
    assert not store.verify(ADDRESS, 4, digests.sha256)
    store.put_immutable(source, ADDRESS, digests)
    assert store.verify(ADDRESS, 4, digests.sha256)
    path = store.root / ADDRESS
    for damaged in (b"dat", b"dbta", b"data!"):
        path.chmod(0o644)
        path.write_bytes(damaged)
        assert not store.verify(ADDRESS, 4, digests.sha256)


def test_delete_removes_and_forgives_absence(store: FolderStore) -> None:
    store.replace(b"x", "torrents/a.torrent")
    store.delete("torrents/a.torrent")
    store.delete("torrents/a.torrent")
    store.delete("torrents/never/there.torrent")
    assert store.stat("torrents/a.torrent") is None


def test_reading_what_is_not_there_names_store_and_address(store: FolderStore) -> None:
    with pytest.raises(UnknownNameError, match=r"Store primary has no file at processed/gone\.parquet"):
        store.read_bytes("processed/gone.parquet")
    assert store.stat("processed/gone.parquet") is None
    assert store.local_path("processed") is None


@pytest.mark.parametrize(
    "address",
    ["", "/etc/passwd", "../up", "a/../../up", "a/./b", "a//b", "a/", "a\\b", "a/.hidden", ".x.part", "a\nb", "a\0b"],
)
def test_addresses_that_leave_the_store_or_hide_are_refused(store: FolderStore, address: str, tmp_path: Path) -> None:
    for deed in (store.stat, store.url, store.read_bytes, store.delete, store.local_path):
        with pytest.raises(PermanentError, match="is not an address in a store"):
            deed(address)
    with pytest.raises(PermanentError):
        store.replace(b"x", address)
    source = a_file(tmp_path, b"x")
    with pytest.raises(PermanentError):
        store.put_immutable(source, address, hash_file(source))


def test_a_url_is_percent_encoded(store: FolderStore) -> None:
    assert store.url("raw/é/2024/x y#1.zip") == "http://127.0.0.1:8763/raw/%C3%A9/2024/x%20y%231.zip"


def test_a_file_system_without_hard_links_still_refuses_other_bytes(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stands for exFAT and some network shares, which a test can't mount.
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first, second = a_file(tmp_path, b"old!", "a"), a_file(tmp_path, b"new!", "b")
    assert store.put_immutable(first, ADDRESS, hash_file(first)).changed
    assert not store.put_immutable(first, ADDRESS, hash_file(first)).changed
    with pytest.raises(IntegrityError):
        store.put_immutable(second, ADDRESS, hash_file(second))
    assert everything(store) == [ADDRESS]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("after", range(4))
def test_a_crash_among_many_leaves_each_old_or_new_and_the_next_call_completes(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    old = {f"catalogue/set/{number}/a.json": b"old" for number in range(4)}
    new = dict.fromkeys(old, b"new")
    store.replace_many(old)
    owner = os if call == "fsync" else Path
    real, done = getattr(owner, call), [0]

    def dying(*arguments: object) -> object:
        done[0] += 1
        if done[0] > after:
            raise OSError(errno.EIO, "the disk is gone")
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(owner, call, dying)
        with pytest.raises(StorageError, match=r"Can't write catalogue/set/0/a\.json in store primary"):
            store.replace_many(new)
    # All are synced before the first is moved.
    assert [store.read_bytes(address) for address in old] == [b"new"] * (after if call == "replace" else 0) + [
        b"old"
    ] * (4 - (after if call == "replace" else 0))
    assert everything(store) == sorted(old)
    store.replace_many(new)
    assert {address: store.read_bytes(address) for address in old} == new


def test_a_disk_that_returns_other_bytes_changes_none_of_many(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.replace_many({"catalogue/a.json": b"old", "catalogue/b.json": b"old"})
    real = os.fsync

    def rotting(descriptor: int) -> None:
        if os.fstat(descriptor).st_size == 4:  # the file of b.json
            os.pwrite(descriptor, b"X", 0)
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", rotting)
        with pytest.raises(IntegrityError, match=r"returns other bytes than were written at catalogue/b\.json"):
            store.replace_many({"catalogue/a.json": b"new", "catalogue/b.json": b"new!"})
    assert store.read_bytes("catalogue/a.json") == store.read_bytes("catalogue/b.json") == b"old"
    assert everything(store) == ["catalogue/a.json", "catalogue/b.json"]


def test_a_shared_file_keeps_its_bytes_when_the_mutable_address_is_replaced(store: FolderStore, tmp_path: Path) -> None:
    source = a_file(tmp_path, b"data")
    digests = hash_file(source)
    store.put_immutable(source, ADDRESS, digests, frozen=True)
    store.replace(b"before", "catalogue/stac.parquet")
    stored = store.share(ADDRESS, "catalogue/stac.parquet", digests)
    assert stored is not None
    assert (stored.size, stored.sha256, stored.changed) == (4, digests.sha256, True)
    facts = store.facts("catalogue/stac.parquet")
    assert facts is not None
    assert (facts.size, facts.etag) == (4, stored.etag)
    assert source.stat().st_ino == (store.root / "catalogue/stac.parquet").stat().st_ino
    assert (store.root / ADDRESS).stat().st_mode & 0o777 == 0o444
    assert store.share(ADDRESS, "catalogue/stac.parquet", digests) is not None  # again: no other name is left
    store.replace(b"after!", "catalogue/stac.parquet")
    assert (store.read_bytes(ADDRESS), store.read_bytes("catalogue/stac.parquet")) == (b"data", b"after!")
    assert everything(store) == ["catalogue/stac.parquet", ADDRESS]
    with pytest.raises(PermanentError, match="is immutable"):
        store.share("catalogue/stac.parquet", ADDRESS, digests)


def test_a_finished_file_of_this_disk_is_shared_and_read_only(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = a_file(tmp_path, b"data")
    source.chmod(0o600)
    digests = hash_file(source)
    assert store.share(source, "catalogue/records.parquet", digests) is not None
    status = (store.root / "catalogue/records.parquet").stat()
    assert (status.st_ino, status.st_mode & 0o777) == (source.stat().st_ino, 0o444)
    assert store.share(source, "catalogue/other.parquet", replace(digests, size=5)) is None

    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "another disk", str(path), None, str(target))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert store.share(source, "catalogue/other.parquet", digests) is None
    assert everything(store) == ["catalogue/records.parquet"]
