"""The pace that a server's rate-limit headers allow, shared by all threads of this process.

The pauses are kept in `transport.hosts`. Whether a refused request is sent again belongs to `transport.patience`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx

from d4c_pipeline.transport.hosts import HOSTS, Hosts
from d4c_pipeline.transport.patience import requested_seconds

_TOO_MANY_REQUESTS = 429


class Pace:
    """The pace of one host (`name` or `name:port`).

    InvenioRDM sends its headers (`X-RateLimit-Limit`, `-Remaining`, `-Reset` and `Retry-After`) with every answer: only
    429, or a `Remaining` of 0, requires a pause.
    """

    def __init__(self, host: str, hosts: Hosts = HOSTS) -> None:
        self._host = host
        self._hosts = hosts

    def wait(self, pause: Callable[[float], None] = time.sleep) -> None:
        """Wait until the host accepts requests."""
        if (left := self._hosts.rest_left(self._host)) > 0:
            pause(left)

    def note(self, response: httpx.Response, longest: float) -> None:
        """Record the pause that an answer requires, at most `longest` seconds."""
        left = response.headers.get("X-RateLimit-Remaining", "").strip()
        if response.status_code != _TOO_MANY_REQUESTS and left != "0":
            return
        now = datetime.now(UTC)
        seconds = requested_seconds(response.headers.get("Retry-After"), now)
        if seconds is None:
            reset = response.headers.get("X-RateLimit-Reset", "").strip()
            seconds = float(reset) - now.timestamp() if reset.isascii() and reset.isdigit() else 1.0
        self._hosts.rest(self._host, min(max(seconds, 0.0), longest))
