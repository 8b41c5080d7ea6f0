"""Torrents by other eyes: torf and libtorrent read what we write, and the golden torrents carry the same fields."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest
import torf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.model.errors import IntegrityError, PermanentError, StorageError
from d4c_pipeline.torrents.pieces import PieceHasher, Pieces, hash_pieces, piece_size_for
from d4c_pipeline.torrents.torrent_files import TorrentFile, pieces_of, reissued, torrent_of

NAME = "ca_statcan_2021A000011124_d4c-datapkg-statistical_provinces_2021_v0.1.0-beta.parquet"
SEEDS = ("https://data.example.org/releases/p/2021/v0.1.0-beta/p.parquet", "https://a.example.org/f.parquet?download=1")
TRACKERS = ("https://tracker.example.org/announce", "udp://tracker.example.net:6969/announce")
CREATED = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


def content_of(size: int) -> bytes:
    return bytes((index * index + 7 * index) % 251 for index in range(min(size, 65_537))) * (size // 65_537 + 1)


def torrent(path: Path, *, hybrid: bool = False, **changes: Any) -> TorrentFile:
    words: dict[str, Any] = {"web_seeds": SEEDS, "trackers": TRACKERS, "comment": "doi:10.5072/é.1", "created": CREATED}
    return torrent_of(hash_pieces(path, hybrid=hybrid), NAME, **(words | changes))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "staged.parquet"
    path.write_bytes(content_of(100_001)[:100_001])
    return path


def test_torf_reads_the_same_torrent(data: Path) -> None:
    ours = torrent(data)
    theirs: Any = torf.Torrent.read_stream(io.BytesIO(ours.data))  # pyright: ignore[reportArgumentType]
    theirs.validate()
    assert theirs.infohash == ours.info_hash
    assert (theirs.name, theirs.size, theirs.piece_size, theirs.pieces) == (NAME, 100_001, 16_384, 7)
    assert theirs.metainfo["url-list"] == list(SEEDS)
    assert list(theirs.trackers) == [[url] for url in TRACKERS]
    assert theirs.comment == "doi:10.5072/é.1"
    assert theirs.creation_date.astimezone(UTC) == CREATED
    assert not theirs.private
    assert theirs.verify_filesize(data)


def test_torf_makes_the_same_info_hash_from_the_file_itself(data: Path) -> None:
    named = data.rename(data.with_name(NAME))
    theirs = torf.Torrent(path=named, piece_size=16_384)
    theirs.generate()
    assert torrent(named).info_hash == theirs.infohash


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 16_385, 5 * 16_384, 100_001, 2_000_000])
@pytest.mark.parametrize("hybrid", [False, True])
def test_libtorrent_makes_the_same_info_from_the_file_itself(tmp_path: Path, size: int, hybrid: bool) -> None:
    path = tmp_path / NAME
    path.write_bytes(content_of(size)[:size])
    ours = torrent(path, hybrid=hybrid)
    flags = 0 if hybrid else lt.create_torrent.v1_only
    creator = lt.create_torrent([lt.create_file_entry(NAME, size)], ours.piece_size, flags)
    lt.set_piece_hashes(creator, str(tmp_path))
    theirs: Any = creator.generate()
    mine: Any = lt.bdecode(ours.data)
    assert mine[b"info"] == theirs[b"info"]
    assert mine.get(b"piece layers") == theirs.get(b"piece layers")
    hashes = lt.load_torrent_buffer(lt.bencode(theirs)).info_hashes
    assert ours.info_hash == str(hashes.v1)
    assert ours.info_hash_v2 == (str(hashes.v2) if hybrid else None)


@given(size=st.integers(1, 700_000), piece=st.sampled_from([16_384, 32_768, 131_072]), cut=st.integers(1, 70_000))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_do_not_depend_on_how_the_read_is_cut(size: int, piece: int, cut: int) -> None:
    content = content_of(size)[:size]
    whole, parts = PieceHasher(piece, hybrid=True), PieceHasher(piece, hybrid=True)
    whole.update(memoryview(content))
    for start in range(0, size, cut):
        parts.update(memoryview(content)[start : start + cut])
    assert whole.finish() == parts.finish()


def test_the_info_hash_outlives_seeds_trackers_comment_and_date(data: Path) -> None:
    first = torrent(data, hybrid=True)
    other = torrent(data, hybrid=True, web_seeds=(), trackers=(), comment="", created=datetime(2030, 1, 1, tzinfo=UTC))
    assert (first.info_hash, first.info_hash_v2) == (other.info_hash, other.info_hash_v2)
    assert first.data != other.data
    decoded: Any = lt.bdecode(other.data)
    assert {b"announce", b"announce-list", b"url-list", b"comment"}.isdisjoint(decoded)


def test_pieces_of_the_shared_read_give_the_same_torrent(data: Path) -> None:
    hasher = PieceHasher(piece_size_for(data.stat().st_size))
    hash_file(data, hasher)
    shared = torrent_of(
        hasher.finish(), NAME, web_seeds=SEEDS, trackers=TRACKERS, comment="doi:10.5072/é.1", created=CREATED
    )
    assert shared == torrent(data)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("size", [1, 16_384, 100_001])
def test_pieces_come_back_out_of_torrent_and_json(tmp_path: Path, size: int, hybrid: bool) -> None:
    path = tmp_path / "data"
    path.write_bytes(content_of(size)[:size])
    pieces = hash_pieces(path, hybrid=hybrid)
    assert pieces_of(torrent(path, hybrid=hybrid).data) == pieces
    assert Pieces.from_json(pieces.to_json()) == pieces
    cuts = [path.read_bytes()[slice(*pieces.span(piece))] for piece in range(pieces.count)]
    assert b"".join(cuts) == path.read_bytes()
    assert [hashlib.sha1(cut, usedforsecurity=False).digest() for cut in cuts] == [
        pieces.sha1_of(piece) for piece in range(pieces.count)
    ]


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_reissue_changes_the_addresses_and_nothing_else(data: Path, hybrid: bool) -> None:
    first = torrent(data, hybrid=hybrid)
    again = reissued(first.data, web_seeds=SEEDS[1:], trackers=TRACKERS[:1])
    # Not a byte differs from the torrent that would have been made with these addresses in the first place.
    assert again == torrent(data, hybrid=hybrid, web_seeds=SEEDS[1:], trackers=TRACKERS[:1])
    assert (again.info_hash, again.info_hash_v2) == (first.info_hash, first.info_hash_v2)
    assert reissued(again.data, web_seeds=SEEDS, trackers=TRACKERS) == first
    none: Any = lt.bdecode(reissued(first.data, web_seeds=(), trackers=()).data)
    assert {b"announce", b"announce-list", b"url-list"}.isdisjoint(none)
    assert none[b"comment"] == "doi:10.5072/é.1".encode()


@pytest.mark.parametrize("data_", [b"", b"nothing", b"d4:infod5:filesleee", b"i1e"])
def test_what_is_no_torrent_of_one_file_is_refused(data_: bytes) -> None:
    with pytest.raises(IntegrityError, match="Not a torrent"):
        pieces_of(data_)


def test_a_single_web_seed_is_still_a_list(data: Path) -> None:
    decoded: Any = lt.bdecode(torrent(data, web_seeds=SEEDS[:1]).data)
    assert decoded[b"url-list"] == [SEEDS[0].encode()]


@pytest.mark.parametrize("hybrid", [False, True])
def test_the_magnet_says_everything_to_libtorrent_and_torf(data: Path, hybrid: bool) -> None:
    made = torrent(data, hybrid=hybrid)
    parameters = lt.parse_magnet_uri(made.magnet)
    assert str(parameters.info_hashes.v1) == made.info_hash
    assert parameters.info_hashes.has_v2() is hybrid
    assert str(parameters.info_hashes.v2) == (made.info_hash_v2 or "0" * 64)
    assert parameters.name == NAME
    assert parameters.trackers == list(TRACKERS)
    assert parameters.url_seeds == list(SEEDS)
    assert "&xl=100001&" in made.magnet
    if not hybrid:
        magnet = torf.Magnet.from_string(made.magnet)
        assert (magnet.infohash, magnet.xl, magnet.dn) == (made.info_hash, 100_001, NAME)
        assert list(magnet.ws) == list(SEEDS)


@pytest.mark.parametrize(
    ("size", "piece_size"),
    [
        (1, 16_384),
        (32 << 20, 16_384),
        ((32 << 20) + 1, 32_768),
        (352_183_068, 262_144),  # as the golden hybrid has it
        (999_999_999, 512 << 10),
        (10**9, 4 << 20),
        (32 << 30, 16 << 20),
        (10**12, 16 << 20),
    ],
)
def test_piece_sizes(size: int, piece_size: int) -> None:
    assert piece_size_for(size) == piece_size


def test_two_processes_make_identical_bytes(data: Path) -> None:
    program = f"""
import sys
from datetime import datetime
from pathlib import Path
from d4c_pipeline.torrents.pieces import hash_pieces
from d4c_pipeline.torrents.torrent_files import torrent_of
made = torrent_of(hash_pieces(Path({str(data)!r}), hybrid=True), {NAME!r}, web_seeds={SEEDS!r}, trackers={TRACKERS!r},
    comment="c", created=datetime.fromisoformat("2026-11-21T12:30:00+00:00"))
sys.stdout.buffer.write(made.data)
"""
    made = [
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C", "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed, zone in (("1", "America/St_Johns"), ("2", "Asia/Tokyo"))
    ]
    assert made[0] == made[1] == torrent(data, hybrid=True, comment="c").data


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"web_seeds": ["https://data.example.org/releases/"]}, "can't be a web seed"),
        ({"web_seeds": ["ftp://data.example.org/a"]}, "can't be a web seed"),
        ({"web_seeds": ["releases/a.parquet"]}, "can't be a web seed"),
        ({"trackers": ["tracker.example.org"]}, "is not a tracker"),
    ],
)
def test_addresses_no_client_takes_are_refused(data: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        torrent(data, **changes)


def test_empty_absent_and_badly_named_files_are_refused(tmp_path: Path, data: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(PermanentError, match="is empty"):
        torrent(tmp_path / "empty", hybrid=True)
    with pytest.raises(StorageError, match="Can't read gone"):
        torrent(tmp_path / "gone")
    with pytest.raises(PermanentError, match="can't name a torrent's file"):
        torrent_of(hash_pieces(data, hybrid=False), "a/b", web_seeds=(), trackers=(), comment="", created=CREATED)


@pytest.mark.parametrize(
    ("pattern", "size", "piece_size", "seeds", "hybrid"),
    [
        ("ca_statcan_*dissemination_areas*.torrent", 352_183_068, 262_144, 2, True),
        ("canvec_*.torrent", 3_368_941_336, 2_097_152, 3, False),
        ("ca-yt_whitehorse*.torrent", 2_552_818_550, 16_777_216, 3, False),
    ],
)
def test_golden_torrents_carry_the_fields_ours_carry(
    fixtures: Path, data: Path, pattern: str, size: int, piece_size: int, seeds: int, hybrid: bool
) -> None:
    (path,) = (fixtures / "14_d4c_torrents").glob(pattern)
    golden: Any = lt.bdecode(path.read_bytes())
    assert (golden[b"info"][b"length"], golden[b"info"][b"piece length"]) == (size, piece_size)
    assert len(golden[b"url-list"]) == seeds
    ours: Any = lt.bdecode(torrent(data, hybrid=hybrid).data)
    # `source` and `md5sum` would change the info hash for no reader's good.
    assert set(golden[b"info"]) - {b"source", b"md5sum"} == set(ours[b"info"])
    assert set(golden) <= set(ours)
    for key in set(golden) - {b"info", b"piece layers"}:
        assert type(golden[key]) is type(ours[key]), key
    assert lt.load_torrent_buffer(path.read_bytes()).info_hashes.has_v2() is hybrid


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        ("ca_statcan_*dissemination_areas*.torrent", 1344),
        ("canvec_*.torrent", 1607),
        ("ca-yt_whitehorse*.torrent", 153),
    ],
)
def test_golden_torrents_are_issued_again_with_their_info_hash(fixtures: Path, pattern: str, pieces: int) -> None:
    (path,) = (fixtures / "14_d4c_torrents").glob(pattern)
    golden = path.read_bytes()
    hashes = lt.load_torrent_buffer(golden).info_hashes
    again = reissued(golden, web_seeds=SEEDS, trackers=TRACKERS)
    assert again.info_hash == str(hashes.v1)
    assert again.info_hash_v2 == (str(hashes.v2) if hashes.has_v2() else None)
    assert pieces_of(golden) == pieces_of(again.data)
    assert pieces_of(golden).count == pieces == len(pieces_of(golden).sha1) // 20
