"""Politeness towards a host, shared by everything that this process asks of it: how many at once, and when to rest.

How long to wait after a failure of one's own request is `transport.patience`.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Hosts:
    """Turns at hosts. `clock` in seconds; `wait` is called with a condition and the seconds to wait at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._busy: dict[str, int] = defaultdict(int)
        self._rest_until: dict[str, float] = {}

    @contextmanager
    def turn(self, host: str, at_once: int) -> Generator[None]:
        """Hold one of `at_once` places at `host`; wait for it, and for as long as the host asked to be left alone."""
        with self._changed:
            while (left := self._rest_until.get(host, 0.0) - self._clock()) > 0 or self._busy[host] >= at_once:
                self._changed.wait(left if left > 0 else None)
            self._busy[host] += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy[host] -= 1
                self._changed.notify_all()

    def rest(self, host: str, seconds: float) -> None:
        """Begin nothing at `host` for so many seconds: one request was told to come back later, so all wait."""
        with self._changed:
            self._rest_until[host] = max(self._rest_until.get(host, 0.0), self._clock() + seconds)


HOSTS = Hosts()
"""Those of this process: a limit per host means little if every dataset had its own."""
