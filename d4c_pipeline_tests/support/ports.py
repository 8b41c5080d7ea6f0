"""Ports of the loopback for tests."""

from __future__ import annotations

import os
import socket
from itertools import count

# Below the ports that the system hands out by itself; each worker of pytest-xdist has a thousand of its own.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = count(20_000 + 1_000 * (_WORKER % 12))


def free_port() -> int:
    """Return a port of the loopback that nobody listens on and no other test is given."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("count() has no end")
