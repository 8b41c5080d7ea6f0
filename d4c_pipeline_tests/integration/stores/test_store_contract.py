"""What every store promises, whatever it is made of: a folder, moto's server, a real S3 server."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.model.errors import BusyError, IntegrityError, PermanentError, UnknownNameError
from d4c_pipeline.stores import s3_objects
from d4c_pipeline.stores.port import Store

ADDRESS = "releases/stops/2024/v0.1.0/Arrêts d'été (1).parquet"
LATEST = "processed/stops.parquet"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_what_is_put_is_there_and_putting_it_again_is_no_work(store: Store, tmp_path: Path) -> None:
    source = written(tmp_path / "a", b"four")
    digests = hash_file(source)
    assert store.stat(ADDRESS) is None
    assert store.facts(ADDRESS) is None
    assert not store.verify(ADDRESS, 4, digests.sha256)
    first = store.put_immutable(source, ADDRESS, digests)
    assert (first.size, first.sha256, first.changed) == (4, hashlib.sha256(b"four").hexdigest(), True)
    assert first.url.endswith("/releases/stops/2024/v0.1.0/Arr%C3%AAts%20d%27%C3%A9t%C3%A9%20%281%29.parquet")
    assert store.stat(ADDRESS) == 4
    facts = store.facts(ADDRESS)
    assert facts is not None
    assert facts.size == 4
    assert store.read_bytes(ADDRESS) == b"four"
    assert store.verify(ADDRESS, 4, digests.sha256)
    assert not store.put_immutable(source, ADDRESS, digests).changed
    assert store.facts(ADDRESS) == facts


def test_an_immutable_address_never_gets_other_bytes(store: Store, tmp_path: Path) -> None:
    store.put_immutable(one := written(tmp_path / "a", b"four"), ADDRESS, hash_file(one))
    for other in (b"five", b"longer"):
        source = written(tmp_path / "b", other)
        with pytest.raises(IntegrityError, match="other bytes at the immutable address"):
            store.put_immutable(source, ADDRESS, hash_file(source))
    with pytest.raises(PermanentError, match="is immutable"):
        store.replace(b"five", ADDRESS)
    assert store.read_bytes(ADDRESS) == b"four"


@pytest.mark.parametrize("size", [100, None])
def test_a_source_that_changed_since_it_was_hashed_is_not_stored(
    store: Store, tmp_path: Path, large: Path, size: int | None
) -> None:
    content = large.read_bytes()[:size]
    source = written(tmp_path / "a", content)
    digests = hash_file(source)
    written(source, content[:-1] + b"?")
    with pytest.raises(IntegrityError, match="is not the file that was hashed"):
        store.put_immutable(source, ADDRESS, digests)
    assert store.stat(ADDRESS) is None


def test_a_large_file_is_put_read_and_replaced(store: Store, large: Path, tmp_path: Path) -> None:
    digests = hash_file(large)
    assert store.put_immutable(large, ADDRESS, digests).changed
    assert not store.put_immutable(large, ADDRESS, digests).changed
    assert store.verify(ADDRESS, digests.size, digests.sha256)
    with store.open(ADDRESS) as stream:
        assert hashlib.file_digest(stream, "sha256").hexdigest() == digests.sha256
    other = written(tmp_path / "other", large.read_bytes()[::-1])
    with pytest.raises(IntegrityError):
        store.put_immutable(other, ADDRESS, hash_file(other))
    assert store.replace(large, LATEST).changed
    assert not store.replace(large, LATEST).changed
    assert store.replace(other, LATEST).changed
    assert store.read_bytes(LATEST) == other.read_bytes()
    assert getattr(store, "open_uploads", int)() == 0


def test_replace_switches_bytes_and_files_and_leaves_equal_ones_alone(store: Store, tmp_path: Path) -> None:
    assert store.replace(b"one", LATEST).changed
    before = store.facts(LATEST)
    again = store.replace(written(tmp_path / "a", b"one"), LATEST)
    assert (again.changed, again.sha256) == (False, hashlib.sha256(b"one").hexdigest())
    assert store.facts(LATEST) == before
    assert store.replace(written(tmp_path / "a", b"two"), LATEST).changed
    assert store.read_bytes(LATEST) == b"two"
    assert store.replace(b"", LATEST).size == 0
    assert store.read_bytes(LATEST) == b""


def test_many_small_contents_are_put_as_one_by_one(store: Store) -> None:
    contents = {f"catalogue/set/{number}/{name}.json": b"%d" % number for number in range(6) for name in "ab"}
    store.replace_many(contents)
    before = store.facts("catalogue/set/3/a.json")
    store.replace_many(contents | {"catalogue/set/4/b.json": b"new", "catalogue/new.json": b""})
    assert store.facts("catalogue/set/3/a.json") == before
    assert [store.read_bytes(f"catalogue/set/{number}/a.json") for number in range(3)] == [b"0", b"1", b"2"]
    assert store.read_bytes("catalogue/set/4/b.json") == b"new"
    assert store.read_bytes("catalogue/new.json") == b""
    with pytest.raises(PermanentError, match=r"releases/stops/2024/v1\.0\.0/a\.json is immutable"):
        store.replace_many({"releases/stops/2024/v1.0.0/a.json": b"x"})


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize("size", [100, None])
def test_a_guard_that_refuses_leaves_what_was_there(
    store: Store, large: Path, tmp_path: Path, before: bytes | None, size: int | None
) -> None:
    def refuse() -> None:
        raise BusyError("The lease went to another process", "Run again")

    if before is not None:
        store.replace(before, LATEST)
    source = written(tmp_path / "a", large.read_bytes()[:size])
    with pytest.raises(BusyError):
        store.replace(source, LATEST, guard=refuse)
    assert store.stat(LATEST) == (None if before is None else 3)
    assert getattr(store, "open_uploads", int)() == 0


def test_verify_finds_another_length_another_content_and_absence(store: Store) -> None:
    store.replace(b"four", LATEST)
    sha256 = hashlib.sha256(b"four").hexdigest()
    assert store.verify(LATEST, 4, sha256)
    assert not store.verify(LATEST, 5, sha256)
    assert not store.verify(LATEST, 4, hashlib.sha256(b"five").hexdigest())
    assert not store.verify("processed/none.parquet", 4, sha256)


def test_delete_removes_and_forgives_absence(store: Store) -> None:
    store.replace(b"one", LATEST)
    store.replace(b"two", "processed/other.parquet")
    store.delete(LATEST)
    store.delete(LATEST)
    assert store.stat(LATEST) is None
    assert store.read_bytes("processed/other.parquet") == b"two"


def test_reading_what_is_not_there_names_store_and_address(store: Store) -> None:
    for read in (store.open, store.read_bytes):
        with pytest.raises(UnknownNameError, match=r"Store primary has no file at processed/gone\.parquet"):
            read("processed/gone.parquet")
    assert store.local_path("processed/gone.parquet") is None


@pytest.mark.parametrize("address", ["", "../x", "a/../b", "/etc/passwd", "a//b", "a/.hidden", "a\\b", "a\nb"])
def test_addresses_that_leave_the_store_or_hide_are_refused(store: Store, address: str) -> None:
    for deed in (store.stat, store.facts, store.url, store.open, store.delete, store.local_path):
        with pytest.raises(PermanentError, match="is not an address in a store"):
            deed(address)
    with pytest.raises(PermanentError, match="is not an address in a store"):
        store.replace(b"x", address)


def test_a_reader_never_sees_a_mixture_while_replace_runs(store: Store) -> None:
    contents = [bytes([number]) * 300_000 for number in range(4)]
    store.replace(contents[0], LATEST)
    stop = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add(store.read_bytes(LATEST))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(20):
        store.replace(contents[turn % 4], LATEST)
    stop.set()
    reader.join()
    assert seen <= set(contents)


def test_what_is_quarantined_is_served_no_more_and_kept(store: Store, tmp_path: Path) -> None:
    rotten, right = written(tmp_path / "a", b"rotten"), written(tmp_path / "b", b"right")
    assert store.quarantine(ADDRESS, "abc") is None
    store.put_immutable(rotten, ADDRESS, hash_file(rotten))
    assert store.quarantine(ADDRESS, "abc") == f".quarantine/{ADDRESS}.abc"
    assert store.stat(ADDRESS) is None
    assert store.put_immutable(right, ADDRESS, hash_file(right)).changed
    assert store.read_bytes(ADDRESS) == b"right"


def test_a_listing_has_every_file_below_a_folder_and_nothing_else(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_objects, "PAGE", 2)  # of an S3 server's listing
    source = written(tmp_path / "a", b"four")
    expected = [
        ADDRESS,
        "releases/a",
        "releases/stops/2024/v0.1.0/b.parquet",
        "releases/stops.json",
        "releases/z/y/x/w",
    ]
    assert list(store.addresses("releases/")) == []
    for address in (*expected, "releases2/other", "raw/stops/2024/0123/file.zip"):
        store.put_immutable(source, address, hash_file(source))
    store.quarantine("releases/z/y/x/w", "abc")
    store.put_immutable(source, "releases/z/y/x/w", hash_file(source))
    assert sorted(store.addresses("releases/")) == sorted(expected)
    assert dict(store.sizes("releases/")) == {address: store.stat(address) for address in expected}
    assert list(store.addresses("raw/")) == ["raw/stops/2024/0123/file.zip"]
