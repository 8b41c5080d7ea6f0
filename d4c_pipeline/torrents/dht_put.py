"""Puts a mutable item with a dictionary as its value into the DHT (BEP 44), which libtorrent's Python binding can't.

The binding's `dht_put_mutable_item` accepts only strings, and BEP 46 requires `{"ih": ...}`. So this module makes the
lookup and the `put` itself, over its own socket, as a read-only node (BEP 43) that routing tables do not keep. The
content of the item belongs to `dht_pointer`.
Sources: https://www.bittorrent.org/beps/bep_0005.html, 0043, 0044.
"""

from __future__ import annotations

import hashlib
import os
import select
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import libtorrent as lt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from d4c_pipeline.torrents.operator_key import OperatorKey

Endpoint = tuple[str, int]
_NEAREST = 8  # Kademlia's k: the number of nodes that keep an item
_AT_ONCE = 16
_QUERY_SECONDS = 2.0
_DATAGRAM = 4096  # an answer has at most 1,000 bytes of value and eight nodes
_COMPACT = 26


@dataclass(frozen=True)
class Placed:
    """The result of a put: the item's sequence number, and the number of nodes that accepted it."""

    seq: int
    nodes: int


@dataclass(frozen=True)
class _Answer:
    """A node's answer to `get`: its distance to the target, its write token, and the item if the node has it."""

    distance: int
    token: bytes
    seq: int
    value: bytes


def target(public: bytes, salt: bytes) -> bytes:
    """Return the address of an item in the DHT: 20 bytes."""
    return hashlib.sha1(public + salt, usedforsecurity=False).digest()


def signed_text(salt: bytes, seq: int, value: bytes) -> bytes:
    """Return the text that an item's signature signs; `value` is bencoded."""
    return b"4:salt%d:%b3:seqi%de1:v%b" % (len(salt), salt, seq, value)


def put(
    start: Iterable[Endpoint],
    key: OperatorKey,
    value: Any,
    salt: bytes,
    *,
    name: bytes | None = None,
    seconds: float = 15.0,
) -> Placed:
    """Put `value` under the key's address at the nearest nodes; the search begins at the nodes `start`.

    The sequence number is one more than the highest sequence number found, or the same for the same value, so that
    nodes do not expire the item. `name`: the id of a node that others know already, so that they do not add this socket
    as another node (they add nodes after a `put`, read-only or not, and then wait 15 s for a node that is gone). A put
    takes at most `seconds` and skips nodes that don't answer.
    """
    body = lt.bencode(value)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        udp.bind(("", 0))
        queries = _Queries(udp, name or os.urandom(20), time.monotonic() + seconds)
        found = _lookup(queries, _resolved(start), key.public, salt)
        newest = max(((answer.seq, answer.value == body) for answer in found.values()), default=(0, False))
        seq = newest[0] if newest[1] else newest[0] + 1
        arguments = {
            b"k": key.public,
            b"salt": salt,
            b"seq": seq,
            b"sig": key.sign(signed_text(salt, seq, body)),
            b"v": value,
        }
        nearest = sorted(found, key=lambda node: found[node].distance)[:_NEAREST]
        for node in nearest:
            queries.send(node, b"put", arguments | {b"token": found[node].token})
        took = 0
        while queries.waiting and (heard := queries.hear()) is not None:
            took += b"r" in heard[1]
    return Placed(seq, took)


def _resolved(nodes: Iterable[Endpoint]) -> Iterator[Endpoint]:
    """Yield the IPv4 addresses of nodes; a node whose name does not resolve is skipped."""
    for host, port in nodes:
        try:
            found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)
        except socket.gaierror:
            continue
        yield from ((str(address[0]), int(address[1])) for *_, address in found)


def _lookup(queries: _Queries, start: Iterable[Endpoint], public: bytes, salt: bytes) -> dict[Endpoint, _Answer]:
    """Query ever nearer nodes for the item until the nearest have all answered or timed out; return the answers."""
    where = target(public, salt)
    goal = int.from_bytes(where)
    # The first nodes count as the nearest, so that they are queried at any distance.
    known: dict[Endpoint, int] = dict.fromkeys(start, -1)
    done: set[Endpoint] = set()
    found: dict[Endpoint, _Answer] = {}
    while True:
        silent = done - found.keys() - queries.waiting.keys()
        nearest = sorted((node for node in known if node not in silent), key=lambda node: known[node])
        for node in nearest[: _NEAREST + _AT_ONCE]:
            if node not in done and len(queries.waiting) < _AT_ONCE and _may_help(node, nearest, found):
                done.add(node)
                queries.send(node, b"get", {b"target": where})
        if not queries.waiting:
            return found
        heard = queries.hear()
        if heard is None:
            return found
        node, message = heard
        answer = message.get(b"r")
        if not isinstance(answer, dict) or not isinstance(name := answer.get(b"id"), bytes) or len(name) != 20:
            continue
        known[node] = int.from_bytes(name) ^ goal
        if isinstance(token := answer.get(b"token"), bytes):
            found[node] = _Answer(known[node], token, *_item(answer, public, salt))
        nodes = answer.get(b"nodes", b"")
        for at in range(0, len(nodes) - _COMPACT + 1, _COMPACT) if isinstance(nodes, bytes) else ():
            entry = nodes[at : at + _COMPACT]
            other = (socket.inet_ntoa(entry[20:24]), int.from_bytes(entry[24:]))
            if other[1]:
                known.setdefault(other, int.from_bytes(entry[:20]) ^ goal)


def _may_help(node: Endpoint, nearest: list[Endpoint], found: dict[Endpoint, _Answer]) -> bool:
    # A node behind eight nodes that have answered can't be among the nearest eight.
    before = nearest[: nearest.index(node)]
    return sum(other in found for other in before) < _NEAREST


def _item(answer: dict[bytes, Any], public: bytes, salt: bytes) -> tuple[int, bytes]:
    """Return the sequence number and bencoded value of a validly signed item, else (0, b"")."""
    seq, signature = answer.get(b"seq"), answer.get(b"sig")
    if not isinstance(seq, int) or not isinstance(signature, bytes) or b"v" not in answer:
        return 0, b""
    value = lt.bencode(answer[b"v"])
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed_text(salt, seq, value))
    except InvalidSignature:
        return 0, b""
    return seq, value


class _Queries:
    """Pending queries over one socket (KRPC, BEP 5). `waiting`: node -> when its answer is due."""

    def __init__(self, udp: socket.socket, name: bytes, deadline: float) -> None:
        self._udp, self._name, self._deadline = udp, name, deadline
        self._numbers: dict[bytes, Endpoint] = {}
        self.waiting: dict[Endpoint, float] = {}

    def send(self, node: Endpoint, query: bytes, arguments: dict[bytes, Any]) -> None:
        """Send a query; an unreachable node counts as a node without an answer."""
        number = len(self._numbers).to_bytes(2)
        words = {b"t": number, b"y": b"q", b"q": query, b"ro": 1, b"a": {b"id": self._name} | arguments}
        try:
            self._udp.sendto(lt.bencode(words), node)
        except OSError:
            return  # no route from this machine: the same as a node that is gone
        self._numbers[number] = node
        self.waiting[node] = time.monotonic() + _QUERY_SECONDS

    def hear(self) -> tuple[Endpoint, dict[bytes, Any]] | None:
        """Return the next answer and its node; an empty answer for a node that timed out; None at the deadline."""
        while True:
            now = time.monotonic()
            due = min(*self.waiting.values(), self._deadline)
            if not select.select([self._udp], [], [], max(0.0, due - now))[0]:
                if time.monotonic() >= self._deadline:
                    return None
                late = min(self.waiting, key=lambda node: self.waiting[node])
                del self.waiting[late]
                return late, {}
            try:
                data, node = self._udp.recvfrom(_DATAGRAM)
            except OSError:
                continue  # "connection refused" by a node that is gone: its own deadline ends the wait
            message = _decoded(data)
            # Only an answer of the queried node counts.
            number = message.get(b"t")
            if node in self.waiting and isinstance(number, bytes) and self._numbers.get(number) == node:
                del self.waiting[node]
                return node, message


def _decoded(data: bytes) -> dict[bytes, Any]:
    try:
        message = lt.bdecode(data)
    except RuntimeError:  # the binding's error for bytes that are not bencoded
        return {}
    return (
        {name: value for name, value in message.items() if isinstance(name, bytes)} if isinstance(message, dict) else {}
    )
