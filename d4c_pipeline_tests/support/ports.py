"""Ports of the loopback for tests."""

from __future__ import annotations

import socket
from collections.abc import Iterator

_FIRST, _LAST = 20_000, 32_000  # below the ports that the system assigns by itself
_BLOCK = 250
_CLAIMS: list[socket.socket] = []
"""The claims of this process, open until it ends."""


def _ports_of_this_process() -> Iterator[int]:
    """Yield the ports of blocks that no other process has: workers of pytest-xdist, another run of the tests.

    A claim is a name of an abstract socket. The system frees it when the process ends, however it ends, and keeps the
    names of a network namespace apart, like its ports.
    """
    for first in range(_FIRST, _LAST, _BLOCK):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0d4c-test-ports-{first}")
        except OSError:
            claim.close()
            continue
        _CLAIMS.append(claim)
        yield from range(first, first + _BLOCK)
    raise AssertionError(f"Every block of ports from {_FIRST} to {_LAST} is claimed: end other runs of the tests")


_PORTS = _ports_of_this_process()


def free_port() -> int:
    """Return a port of the loopback that nobody listens on and no other process of the tests gets."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("the ports have no end")
