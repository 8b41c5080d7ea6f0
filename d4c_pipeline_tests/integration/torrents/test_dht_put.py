"""Putting into a DHT of many nodes, some of which lie, stay silent or talk nonsense."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest

from d4c_pipeline.torrents import dht_put
from d4c_pipeline.torrents.operator_key import OperatorKey, make_key

SALT = b"test"


class Node:
    """A node of the DHT of our own, which answers as the test says: by number `place`, from near to far."""

    def __init__(self, where: bytes, place: int) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.endpoint = self.udp.getsockname()
        self.id = (int.from_bytes(where) ^ (place + 1 << 100)).to_bytes(20)
        self.compact = self.id + socket.inet_aton("127.0.0.1") + self.endpoint[1].to_bytes(2)
        self.knows: list[Node] = []
        self.put: list[dict[bytes, Any]] = []
        self.answer: Any = self.as_it_should

    def as_it_should(self, query: bytes, arguments: dict[bytes, Any]) -> dict[bytes, Any] | bytes | None:
        if query == b"put":
            if arguments[b"token"] != b"token of " + self.id:
                return None
            self.put.append(arguments)
            return {b"id": self.id}
        return {b"id": self.id, b"token": b"token of " + self.id, b"nodes": b"".join(n.compact for n in self.knows)}

    def serve(self) -> None:
        while True:
            data, sender = self.udp.recvfrom(4096)
            if data == b"stop":
                return
            message = lt.bdecode(data)
            answer = self.answer(message[b"q"], message[b"a"])
            if isinstance(answer, bytes):
                self.udp.sendto(answer, sender)
            elif answer is not None:
                self.udp.sendto(lt.bencode({b"t": message[b"t"], b"y": b"r", b"r": answer}), sender)


@pytest.fixture
def key(tmp_path: Path) -> OperatorKey:
    return make_key(tmp_path / "key.pem")


@pytest.fixture
def nodes(key: OperatorKey) -> Iterator[list[Node]]:
    """Thirty nodes, the nearest first; each knows the four before and after it."""
    where = dht_put.target(key.public, SALT)
    made = [Node(where, place) for place in range(30)]
    for place, node in enumerate(made):
        node.knows = made[max(0, place - 4) : place] + made[place + 1 : place + 5]
    threads = [threading.Thread(target=node.serve, daemon=True) for node in made]
    for thread in threads:
        thread.start()
    with ExitStack() as stack:
        for node in made:
            stack.callback(node.udp.close)
        yield made
        for node in made:
            node.udp.sendto(b"stop", node.endpoint)
        for thread in threads:
            thread.join(5)


def test_the_eight_nearest_get_it_though_only_the_farthest_is_known(nodes: list[Node], key: OperatorKey) -> None:
    placed = dht_put.put([nodes[-1].endpoint], key, {b"ih": b"a" * 20}, SALT)
    assert placed == dht_put.Placed(1, 8)
    assert [len(node.put) for node in nodes] == [1] * 8 + [0] * 22
    (item,) = nodes[0].put
    assert (item[b"v"], item[b"seq"], item[b"salt"], item[b"k"]) == ({b"ih": b"a" * 20}, 1, SALT, key.public)


def test_nodes_that_lie_or_talk_nonsense_are_passed_over(nodes: list[Node], key: OperatorKey) -> None:
    forged = {b"id": nodes[1].id, b"token": b"x", b"k": key.public, b"seq": 1 << 40, b"v": b"x", b"sig": b"0" * 64}
    nodes[0].answer = lambda *_: None
    nodes[1].answer = lambda query, _: forged if query == b"get" else None
    nodes[2].answer = lambda *_: b"no bencoding"
    nodes[3].answer = lambda *_: b"d1:tle1:y1:re"
    nodes[4].answer = lambda *_: {b"id": b"short", b"nodes": 5}
    nodes[5].answer = lambda *_: {b"id": os.urandom(20), b"token": b"x", b"nodes": b"z" * 25}
    placed = dht_put.put([nodes[-1].endpoint], key, {b"ih": b"a" * 20}, SALT)
    # The forged number is not believed: its signature is not the key's.
    assert placed.seq == 1
    assert [len(node.put) for node in nodes[6:13]] == [1] * 7


def test_the_number_follows_the_highest_that_the_key_signed(nodes: list[Node], key: OperatorKey) -> None:
    old = lt.bencode({b"ih": b"b" * 20})
    item = {
        b"k": key.public,
        b"seq": 41,
        b"v": {b"ih": b"b" * 20},
        b"sig": key.sign(dht_put.signed_text(SALT, 41, old)),
    }
    nodes[3].answer = lambda query, arguments: (
        nodes[3].as_it_should(query, arguments) | (item if query == b"get" else {})  # pyright: ignore[reportOperatorIssue]
    )
    assert dht_put.put([nodes[-1].endpoint], key, {b"ih": b"a" * 20}, SALT).seq == 42
    assert dht_put.put([nodes[-1].endpoint], key, {b"ih": b"b" * 20}, SALT).seq == 41


def test_with_nobody_there_it_ends_and_says_so(key: OperatorKey) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        assert dht_put.put([silent.getsockname()], key, b"x", SALT, seconds=0.3) == dht_put.Placed(1, 0)
    assert dht_put.put([], key, b"x", SALT) == dht_put.Placed(1, 0)
