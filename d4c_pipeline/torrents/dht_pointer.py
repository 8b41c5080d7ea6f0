"""The signed pointer in the DHT: a mutable item whose value is the info hash of the newest catalogue torrent (BEP 46).

Requests go over a libtorrent session, whose alerts `seeder.py` reads; publication belongs to `dht_put.py`. Clients that
support BEP 46 follow the pointer by the link of `link`.
Source: https://www.bittorrent.org/beps/bep_0046.html.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import libtorrent as lt

from d4c_pipeline.torrents import dht_put
from d4c_pipeline.torrents.operator_key import OperatorKey

SALT = b"d4c-catalogue"
"""Separates the pointer from other items of the operator's key."""
REFRESH_SECONDS = 3600.0
"""Nodes drop an item after two hours (BEP 44)."""
_INFO_HASH_BYTES = _ID_BYTES = 20
_COMPACT = 6  # an address of IPv4 and a port


@dataclass(frozen=True)
class Pointer:
    """The target of an operator's key: a v1 info hash in hexadecimal; a higher `seq` is newer."""

    info_hash: str
    seq: int


@dataclass(frozen=True)
class Whereabouts:
    """A session's view of the DHT: its own id (None: not part of it yet), and its known nodes."""

    name: bytes | None
    nodes: tuple[tuple[str, int], ...]


def whereabouts(session: Any, more: Iterable[tuple[str, int]] = ()) -> Whereabouts:
    """Return the view of `session` on the DHT, with the nodes `more`."""
    state = session.save_state(lt.save_state_flags_t.save_dht_state).get(b"dht state", {})
    known = [
        (socket.inet_ntoa(entry[:4]), int.from_bytes(entry[4:]))
        for entry in state.get(b"nodes", ())
        if len(entry) == _COMPACT
    ]
    names = [
        bytes(entry[:_ID_BYTES]) for entry in state.get(b"node-id", ()) if len(entry) == _ID_BYTES + 4
    ]  # those of IPv4
    return Whereabouts(names[0] if names else None, (*more, *known))


def publish(where: Whereabouts, key: OperatorKey, info_hash: str) -> dht_put.Placed:
    """Point the key at `info_hash`, starting at the known nodes. Takes up to 15 s."""
    return dht_put.put(where.nodes, key, {b"ih": bytes.fromhex(info_hash)}, SALT, name=where.name)


def request(session: Any, public: bytes) -> None:
    """Request the pointer of a key. Several `dht_mutable_item_alert` respond; the last is authoritative."""
    session.dht_get_mutable_item(public, SALT)


def answered(alert: Any, public: bytes) -> Pointer | None:
    """Return the pointer in a `dht_mutable_item_alert`; None if it has no valid pointer.

    The session has verified the signature.
    """
    value = alert.item
    if bytes(alert.key) != public or bytes(alert.salt) != SALT or not isinstance(value, dict):
        return None
    info_hash = value.get(b"ih")
    if not isinstance(info_hash, bytes) or len(info_hash) != _INFO_HASH_BYTES or alert.seq <= 0:
        return None
    return Pointer(info_hash.hex(), alert.seq)


def link(public: bytes) -> str:
    """Return the magnet link of the pointer for other clients (BEP 46)."""
    return f"magnet:?xs=urn:btpk:{public.hex()}&s={SALT.hex()}"
