"""Torrents of data artifacts: single-file, v1 or hybrid v1+v2, reproducible to the byte, with web seeds.

The info dictionary depends on the file alone, so a torrent reissued with other seeds or trackers keeps its info hash.
Verifying a web seed belongs to `web_seeds`. Formats: BEP 3, 9, 12, 19, 52, 53.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from d4c_pipeline.model.errors import IntegrityError, PermanentError
from d4c_pipeline.torrents.pieces import Pieces

# Without a version: an upgrade of this package must not change the bytes of a rebuilt torrent.
_CREATED_BY = b"d4c_pipeline"
_ADDRESSES = (b"announce", b"announce-list", b"url-list")
_TRACKER_SCHEMES = ("http", "https", "udp", "ws", "wss")


@dataclass(frozen=True)
class TorrentFile:
    """A torrent: `data` is the `.torrent`; info hashes in hexadecimal, v2 for hybrids only; `piece_size` in bytes."""

    data: bytes
    info_hash: str
    info_hash_v2: str | None
    piece_size: int
    magnet: str


def torrent_of(
    pieces: Pieces,
    name: str,
    *,
    web_seeds: Sequence[str],
    trackers: Sequence[str],
    comment: str,
    created: datetime,
) -> TorrentFile:
    """Return the torrent of the file with these `pieces` and this `name`; a hybrid if the pieces have a v2 tree.

    `web_seeds` are full file URLs, best first. `trackers` are announce URLs, each a tier of its own. `created`
    (time-zone aware) comes from the release, so that a rebuilt torrent has the same bytes. Raises PermanentError for an
    empty file, or for a name or URL that clients do not accept.
    """
    if created.tzinfo is None:
        raise ValueError("created must be time-zone aware: a naive time gives other bytes elsewhere")
    _check_file(pieces, name)
    torrent: dict[bytes, Any] = {
        b"info": _info(pieces, name),
        b"created by": _CREATED_BY,
        b"creation date": int(created.timestamp()),
    }
    if comment:
        torrent[b"comment"] = comment.encode()
    if pieces.root is not None:
        torrent[b"piece layers"] = {pieces.root: pieces.layer} if pieces.layer else {}
    return _announced(torrent, web_seeds, trackers)


def reissued(data: bytes, *, web_seeds: Sequence[str], trackers: Sequence[str], note: str = "") -> TorrentFile:
    """Return the torrent `data` with other web seeds and trackers; its info hash and all else stay.

    `note`: a sentence for the beginning of its comment, which clients show. Raises IntegrityError when `data` is not a
    single-file torrent, PermanentError for a URL that clients do not accept.
    """
    torrent = _decoded(data)
    if note:
        torrent[b"comment"] = b"\n".join(filter(None, (note.encode(), torrent.get(b"comment"))))
    return _announced(torrent, web_seeds, trackers)


def same_torrent(first: bytes, other: bytes) -> bool:
    """Return whether two torrents differ only in web seeds, trackers and comment; False if either is not a torrent."""
    differing = (*_ADDRESSES, b"comment")
    try:
        stripped = [
            {key: value for key, value in _decoded(data).items() if key not in differing} for data in (first, other)
        ]
    except IntegrityError:
        return False
    return stripped[0] == stripped[1]


def info_hash_of(data: bytes) -> str | None:
    """Return the v1 info hash (hexadecimal) of a torrent file, None for other bytes."""
    import libtorrent as lt  # noqa: PLC0415 - as below

    try:
        return str(lt.load_torrent_buffer(data).info_hashes.v1)
    except RuntimeError:  # the binding raises it for every parser error
        return None


def web_seeds_of(data: bytes) -> list[str]:
    """Return the web seeds of a torrent. Raises IntegrityError when `data` is not a single-file torrent."""
    return [url.decode() for url in _decoded(data).get(b"url-list", [])]


def pieces_of(data: bytes) -> Pieces:
    """Return the piece hashes of a torrent. Raises IntegrityError when `data` is not a single-file torrent."""
    torrent = _decoded(data)
    info = torrent[b"info"]
    (tree,) = info.get(b"file tree", {b"": {}}).values()
    root = tree.get(b"", {}).get(b"pieces root")
    layer = torrent.get(b"piece layers", {}).get(root, b"")
    return Pieces(info[b"length"], info[b"piece length"], info[b"pieces"], root, layer)


def _decoded(data: bytes) -> dict[bytes, Any]:
    import libtorrent as lt  # noqa: PLC0415 - most processes that import this module make no torrent

    try:
        torrent: Any = lt.bdecode(data)
    except RuntimeError:  # the binding's error for every failure of its parser
        torrent = None
    info = torrent.get(b"info") if isinstance(torrent, dict) else None
    wanted = {b"length": int, b"piece length": int, b"pieces": bytes, b"name": bytes}
    if not isinstance(info, dict) or any(not isinstance(info.get(key), kind) for key, kind in wanted.items()):
        raise IntegrityError("Not a torrent of a single file", "Restore the .torrent from another copy of the release")
    return torrent


def _announced(known: Mapping[bytes, Any], web_seeds: Sequence[str], trackers: Sequence[str]) -> TorrentFile:
    """Return the torrent `known` with these addresses in place of its own."""
    import libtorrent as lt  # noqa: PLC0415 - as above

    _check_addresses(web_seeds, trackers)
    torrent = {key: value for key, value in known.items() if key not in _ADDRESSES}
    info = torrent[b"info"]
    if trackers:
        torrent[b"announce"] = trackers[0].encode()
        torrent[b"announce-list"] = [[tracker.encode()] for tracker in trackers]
    if web_seeds:
        # Always a list: BEP 19 allows a single string, but not every client reads it.
        torrent[b"url-list"] = [url.encode() for url in web_seeds]
    data = lt.bencode(torrent)
    # libtorrent reads the torrent back, so the reference implementation accepts every published torrent.
    hashes = lt.load_torrent_buffer(data).info_hashes
    v1, v2 = str(hashes.v1), str(hashes.v2) if hashes.has_v2() else None
    magnet = _magnet(v1, v2, info[b"name"].decode(), info[b"length"], web_seeds, trackers)
    return TorrentFile(data, v1, v2, info[b"piece length"], magnet)


def _info(pieces: Pieces, name: str) -> dict[bytes, Any]:
    info: dict[bytes, Any] = {
        b"length": pieces.size,
        b"name": name.encode(),
        b"piece length": pieces.piece_size,
        b"pieces": pieces.sha1,
    }
    if pieces.root is not None:
        info[b"meta version"] = 2
        info[b"file tree"] = {name.encode(): {b"": {b"length": pieces.size, b"pieces root": pieces.root}}}
    return info


def _magnet(v1: str, v2: str | None, name: str, size: int, web_seeds: Sequence[str], trackers: Sequence[str]) -> str:
    # 1220 is the multihash prefix of a SHA-256 (BEP 9, BEP 52).
    topics = [f"xt=urn:btih:{v1}"] + ([f"xt=urn:btmh:1220{v2}"] if v2 else [])
    rest = [("dn", name), ("xl", str(size)), *(("tr", url) for url in trackers), *(("ws", url) for url in web_seeds)]
    return "magnet:?" + "&".join([*topics, *(f"{key}={quote(value, safe='')}" for key, value in rest)])


def _check_file(pieces: Pieces, name: str) -> None:
    if pieces.size == 0:
        raise PermanentError(f"{name} is empty, and an empty file can't have a torrent", "Publish a file with data")
    if not name or "/" in name or "\\" in name or name in {".", ".."} or not name.isprintable():
        raise PermanentError(f"'{name}' can't name a torrent's file", "Use a plain file name without folders")


def _check_addresses(web_seeds: Sequence[str], trackers: Sequence[str]) -> None:
    for url in web_seeds:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.endswith("/") or not parts.path:
            raise PermanentError(f"'{url}' can't be a web seed", "Give the full http(s) URL of the file itself")
    for url in trackers:
        if urlsplit(url).scheme not in _TRACKER_SCHEMES or not urlsplit(url).netloc:
            raise PermanentError(
                f"'{url}' is not a tracker",
                "Give an announce URL (D4C_TRACKERS), such as https://t.example.org/announce",
            )
