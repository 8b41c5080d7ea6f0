"""Putting a mutable item whose value is a dictionary into the DHT (BEP 44), which libtorrent's Python binding can't.

Its `dht_put_mutable_item` takes strings alone, and BEP 46 wants `{"ih": ...}`. So the lookup and the `put` of it
are made here, over a socket of their own, as a read-only node (BEP 43) that leaves no trace in routing tables.
What is pointed at belongs to `dht_pointer`. Sources: https://www.bittorrent.org/beps/bep_0005.html, 0043, 0044.
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
_NEAREST = 8  # Kademlia's k: that many nodes keep an item
_AT_ONCE = 16
_QUERY_SECONDS = 2.0
_DATAGRAM = 4096  # an answer has at most 1,000 bytes of value and eight nodes
_COMPACT = 26


@dataclass(frozen=True)
class Placed:
    """What a put came to: the item's sequence number, and how many nodes took it."""

    seq: int
    nodes: int


@dataclass(frozen=True)
class _Answer:
    """A node's answer to `get`: its distance to the target, the token it wants back, and the item if it has it."""

    distance: int
    token: bytes
    seq: int
    value: bytes


def target(public: bytes, salt: bytes) -> bytes:
    """Return the address of an item in the DHT: 20 bytes."""
    return hashlib.sha1(public + salt, usedforsecurity=False).digest()


def signed_text(salt: bytes, seq: int, value: bytes) -> bytes:
    """Return what an item's signature is over; `value` is bencoded."""
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
    """Put `value` under the key's address at the nodes nearest to it, beginning the search at the nodes `start`.

    The sequence number is one more than the highest that is found there, or the same when the value is the same, so
    that nodes keep what they would else forget. `name`: the id of a node that others know already, for which they don't
    take this socket as well (they do so after a `put`, read-only or not, and then wait 15 s for a node that is gone).
    It takes at most `seconds`; nodes that don't answer are passed over.
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
    """Yield the IPv4 addresses of nodes; one whose name nobody knows is passed over, like one that is gone."""
    for host, port in nodes:
        try:
            found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)
        except socket.gaierror:
            continue
        yield from ((str(address[0]), int(address[1])) for *_, address in found)


def _lookup(queries: _Queries, start: Iterable[Endpoint], public: bytes, salt: bytes) -> dict[Endpoint, _Answer]:
    """Ask ever nearer nodes for the item until the nearest have all answered or stayed silent; return the answers."""
    where = target(public, salt)
    goal = int.from_bytes(where)
    # The nodes to begin with are nearest of all, so that they are asked whatever their place.
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
    # A node behind eight that have answered can't be among the nearest eight.
    before = nearest[: nearest.index(node)]
    return sum(other in found for other in before) < _NEAREST


def _item(answer: dict[bytes, Any], public: bytes, salt: bytes) -> tuple[int, bytes]:
    """The sequence number and bencoded value of a validly signed item, (0, b"") without one."""
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
    """Queries that are under way over one socket (KRPC, BEP 5). `waiting`: node -> when its answer is due."""

    def __init__(self, udp: socket.socket, name: bytes, deadline: float) -> None:
        self._udp, self._name, self._deadline = udp, name, deadline
        self._numbers: dict[bytes, Endpoint] = {}
        self.waiting: dict[Endpoint, float] = {}

    def send(self, node: Endpoint, query: bytes, arguments: dict[bytes, Any]) -> None:
        """Send a query; a node that the network can't reach stays silent."""
        number = len(self._numbers).to_bytes(2)
        words = {b"t": number, b"y": b"q", b"q": query, b"ro": 1, b"a": {b"id": self._name} | arguments}
        try:
            self._udp.sendto(lt.bencode(words), node)
        except OSError:
            return  # no route there, or not from this machine: like a node that is gone
        self._numbers[number] = node
        self.waiting[node] = time.monotonic() + _QUERY_SECONDS

    def hear(self) -> tuple[Endpoint, dict[bytes, Any]] | None:
        """Return the next answer and its node; one without words when a node stays silent; None when time is up."""
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
                continue  # "connection refused" by a node that is gone, which its deadline tells as well
            message = _decoded(data)
            # Only an answer of the very node that was asked counts.
            number = message.get(b"t")
            if node in self.waiting and isinstance(number, bytes) and self._numbers.get(number) == node:
                del self.waiting[node]
                return node, message


def _decoded(data: bytes) -> dict[bytes, Any]:
    try:
        message = lt.bdecode(data)
    except RuntimeError:  # what the binding makes of bytes that are no bencoding
        return {}
    return (
        {name: value for name, value in message.items() if isinstance(name, bytes)} if isinstance(message, dict) else {}
    )
