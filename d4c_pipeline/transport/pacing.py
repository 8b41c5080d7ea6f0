"""How fast a server may be asked: what its rate-limit headers say, obeyed by all threads of this process at once.

One `Pace` belongs to one host (`pace_of`). Whether a refused request is sent again belongs to `transport.patience`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx

from d4c_pipeline.transport.patience import seconds_asked

_TOO_MANY_REQUESTS = 429


class Pace:
    """Until when a host wants no request; shared by threads.

    InvenioRDM sends its headers (`X-RateLimit-Limit`, `-Remaining`, `-Reset` and `Retry-After`) on every answer: only
    429, or a `Remaining` of 0, means that there is something to wait for.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open_from = 0.0

    def wait(self, pause: Callable[[float], None] = time.sleep) -> None:
        """Wait until the host may be asked."""
        with self._lock:
            left = self._open_from - self._clock()
        if left > 0:
            pause(left)

    def note(self, response: httpx.Response, longest: float) -> None:
        """Take note of what an answer says; a wait is never longer than `longest` seconds."""
        left = response.headers.get("X-RateLimit-Remaining", "").strip()
        if response.status_code != _TOO_MANY_REQUESTS and left != "0":
            return
        now = datetime.now(UTC)
        asked = seconds_asked(response.headers.get("Retry-After"), now)
        if asked is None:
            reset = response.headers.get("X-RateLimit-Reset", "").strip()
            asked = float(reset) - now.timestamp() if reset.isascii() and reset.isdigit() else 1.0
        with self._lock:
            self._open_from = max(self._open_from, self._clock() + min(max(asked, 0.0), longest))


_paces: dict[str, Pace] = {}
_lock = threading.Lock()


def pace_of(host: str) -> Pace:
    """Return the one pace of a host (`name` or `name:port`) in this process."""
    with _lock:
        return _paces.setdefault(host, Pace())
