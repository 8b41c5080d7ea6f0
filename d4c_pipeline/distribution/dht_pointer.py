"""The signed pointer in the DHT: a mutable item (BEP 44) whose value is the info hash of the newest catalogue torrent.

Asking and telling over a libtorrent session belong here; the answers come as its alerts, which `seeding` reads. The
session signs, checks signatures, and takes the next sequence number after the one that it finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from d4c_pipeline.distribution.operator_key import OperatorKey

SALT = b"d4c-catalogue"
"""So that the operator's key may point at other things too."""
REFRESH_SECONDS = 3600.0
"""Nodes forget an item after two hours (BEP 44)."""
_INFO_HASH_BYTES = 20


@dataclass(frozen=True)
class Pointer:
    """What an operator's key points at: a v1 info hash in hexadecimal; a higher `seq` is newer."""

    info_hash: str
    seq: int


def tell(session: Any, key: OperatorKey, info_hash: str) -> None:
    """Let the key point at `info_hash`; a `dht_put_alert` says how many nodes took it."""
    session.dht_put_mutable_item(key.expanded, key.public, bytes.fromhex(info_hash), SALT)


def ask(session: Any, public: bytes) -> None:
    """Ask what the key points at; a `dht_mutable_item_alert` answers, several times, the last one authoritative."""
    session.dht_get_mutable_item(public, SALT)


def answered(alert: Any, public: bytes) -> Pointer | None:
    """Return what a `dht_mutable_item_alert` says the key points at; None when it says nothing of use.

    The session has verified the signature. Whatever else an operator may have signed is no info hash.
    """
    value = alert.item
    if bytes(alert.key) != public or bytes(alert.salt) != SALT or not isinstance(value, bytes):
        return None
    return Pointer(value.hex(), alert.seq) if len(value) == _INFO_HASH_BYTES and alert.seq > 0 else None
