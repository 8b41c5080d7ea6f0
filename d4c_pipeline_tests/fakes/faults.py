"""Ways in which one call of a sequence can go wrong, at the server or before it is reached.

Which calls a sequence has is counted by the fake (`FakeInvenio.calls`); every kind can be put at every call.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from enum import StrEnum

import httpx


class Kind(StrEnum):
    """What happens to a call. `after`: the server has done it; all others: it has not."""

    REFUSED = "connection refused"
    RESET_BEFORE = "reset before"
    RESET_AFTER = "reset after"
    TIMEOUT_AFTER = "time-out after"
    TOO_MANY = "429"
    INTERNAL = "500"
    BAD_GATEWAY = "502"
    GATEWAY_TIMEOUT_AFTER = "504 after"
    TRUNCATED_AFTER = "truncated after"
    HTML_AFTER = "HTML after"
    ERRORS_AFTER = "errors on 200 after"
    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"


@dataclass(frozen=True)
class Fault:
    """A kind at the call with that number (from 0), once, or at it and at all that follow."""

    kind: Kind
    at: int
    lasting: bool = False

    def hits(self, number: int) -> bool:
        return number == self.at or (self.lasting and number > self.at)


class Unreachable(httpx.BaseTransport):
    """A way to the server on which one request (the `at`-th, or all from it on) finds nobody listening."""

    def __init__(self, at: int, *, lasting: bool = False) -> None:
        self._at, self._lasting = at, lasting
        self._inner = httpx.HTTPTransport()
        self._lock = threading.Lock()
        self._count = 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._nobody = probe.getsockname()[1]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            number = self._count
            self._count += 1
        if number == self._at or (self._lasting and number > self._at):
            request.url = request.url.copy_with(port=self._nobody)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()
