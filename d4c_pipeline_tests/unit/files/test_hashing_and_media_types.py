"""One read gives all hashes, and a file's media type depends on its name alone."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest

from d4c_pipeline.files.hashing import READ_SIZE, Digests, hash_file, sha256_of
from d4c_pipeline.files.media_types import media_type
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.torrents.pieces import PieceHasher


def test_the_digests_of_a_known_text(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert hash_file(path) == Digests(
        3,
        "900150983cd24fb0d6963f7d28e17f72",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    )


def test_an_empty_file_has_the_digests_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert hash_file(path) == Digests(0, "d41d8cd98f00b204e9800998ecf8427e", hashlib.sha256().hexdigest())


def test_torrent_pieces_share_the_read_across_buffer_borders(tmp_path: Path) -> None:
    content = bytes(range(251)) * (2 * READ_SIZE // 251) + b"tail"
    path = tmp_path / "large"
    path.write_bytes(content)
    hasher = PieceHasher(65_536)
    digests = hash_file(path, hasher)
    pieces = hasher.finish()
    assert digests.sha256 == hashlib.sha256(content).hexdigest() == sha256_of(path)
    cuts = [content[at : at + 65_536] for at in range(0, len(content), 65_536)]
    wanted = [hashlib.sha1(cut, usedforsecurity=False).digest() for cut in cuts]
    assert pieces.sha1 == b"".join(wanted)
    assert pieces.size == digests.size == len(content)


class Slow:
    """Takes its time with every block, in turns more and less, and keeps what it saw."""

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.seen = hashlib.sha256()
        self.threads: set[int] = set()

    def update(self, data: memoryview) -> None:
        self.threads.add(threading.get_ident())
        time.sleep(self.pause * (1 + len(data) % 3))
        self.seen.update(data)


def test_hashers_of_different_speed_all_see_every_byte_in_order(tmp_path: Path) -> None:
    content = hashlib.shake_256(b"order").digest(30 * READ_SIZE + 17)
    path = tmp_path / "large"
    path.write_bytes(content)
    hashers = [Slow(0), Slow(0.002), Slow(0.0005)]
    digests = hash_file(path, *hashers)
    assert digests == Digests(
        len(content), hashlib.md5(content, usedforsecurity=False).hexdigest(), hashlib.sha256(content).hexdigest()
    )
    assert [hasher.seen.hexdigest() for hasher in hashers] == [digests.sha256] * 3
    assert threading.get_ident() not in set().union(*(hasher.threads for hasher in hashers))


def test_what_a_hasher_raises_reaches_the_reader_and_no_thread_is_left(tmp_path: Path) -> None:
    class Failing:
        def update(self, data: memoryview) -> None:
            raise ValueError("no more")

    path = tmp_path / "large"
    path.write_bytes(bytes(40 * READ_SIZE))
    with pytest.raises(ValueError, match="no more"):
        hash_file(path, Failing())
    assert not [thread for thread in threading.enumerate() if thread.name == "d4c-hashing"]


def test_a_file_that_is_not_there_is_a_storage_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"Can't read gone\.parquet: No such file"):
        hash_file(tmp_path / "gone.parquet")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("releases/a/2021/v0.1.0-beta/ca_statcan_x_2021_v0.1.0-beta.parquet", "application/vnd.apache.parquet"),
        ("ca_statcan_x_2021_v0.1.0-beta.parquet.torrent", "application/x-bittorrent"),
        ("ca_statcan_x_2021_v0.1.0-beta.json", "application/json"),
        ("catalogue/catalog.json", "application/json"),
        ("manifest.json", "application/json"),
        ("ca_statcan_x_2021_v0.1.0-beta.csv.gz", "application/gzip"),
        ("ca_statcan_x_2021_v0.1.0-beta_thumbnail.png", "image/png"),
        ("ca_statcan_x_2021_v0.1.0-beta.stac.json", "application/geo+json"),
        ("ca_statcan_x_2021_v0.1.0-beta.item.json", "application/geo+json"),
        ("item.json", "application/geo+json"),
        ("catalogue/stops/2024/0.1.0-beta.json", "application/geo+json"),
        ("SHA256SUMS", "text/plain"),
        ("ca_statcan_x_2021_v0.1.0-beta_checksums", "text/plain"),
        ("ca_statcan_x_2021_v0.1.0-beta.sha256", "text/plain"),
        ("raw/a/2021/0123456789ab/LCD_000A21A_E.ZIP", "application/zip"),
        ("what.xyz", "application/octet-stream"),
    ],
)
def test_media_types(name: str, kind: str) -> None:
    assert media_type(name) == kind
