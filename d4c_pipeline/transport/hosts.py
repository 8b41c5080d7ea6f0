"""The state of each host in this process: requests under way, requested pauses, failures, unanswered HEAD requests.

One registry serves all rooms, because a limit per host means little if every dataset had its own. The wait after a
failed request belongs to `transport.patience`; reading rate-limit headers belongs to `transport.pacing`.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class _Host:
    busy: int = 0
    rests_until: float = 0.0
    failures: int = 0
    ignores_head: bool = False


class Hosts:
    """The states of hosts, by `name` or `name:port`. Safe in several threads. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._hosts: dict[str, _Host] = defaultdict(_Host)

    @contextmanager
    def turn(self, host: str, at_once: int) -> Generator[None]:
        """Hold one of `at_once` places at `host`; wait for a free place and for the end of a requested pause."""
        with self._changed:
            state = self._hosts[host]
            while (left := state.rests_until - self._clock()) > 0 or state.busy >= at_once:
                self._changed.wait(left if left > 0 else None)
            state.busy += 1
        try:
            yield
        finally:
            with self._changed:
                state.busy -= 1
                self._changed.notify_all()

    def rest(self, host: str, seconds: float) -> None:
        """Start no request at `host` for `seconds`; a later, shorter pause does not shorten an earlier one."""
        with self._changed:
            state = self._hosts[host]
            state.rests_until = max(state.rests_until, self._clock() + seconds)

    def rest_left(self, host: str) -> float:
        """Return the seconds until `host` accepts requests again; 0 or less when it accepts them now."""
        with self._changed:
            return self._hosts[host].rests_until - self._clock()

    def healthiest_first(self, urls: tuple[str, ...]) -> tuple[str, ...]:
        """Return `urls` by the consecutive failures of their hosts; equal hosts keep their order."""
        with self._changed:
            return tuple(sorted(urls, key=lambda url: self._hosts[urlsplit(url).netloc].failures))

    def is_well(self, url: str) -> bool:
        """Return whether the last recorded request to the host of `url` succeeded; True without a record."""
        with self._changed:
            return not self._hosts[urlsplit(url).netloc].failures

    def record(self, url: str, *, well: bool) -> None:
        """Record the outcome of a request; a success resets the failures of the host."""
        with self._changed:
            state = self._hosts[urlsplit(url).netloc]
            state.failures = 0 if well else state.failures + 1

    def record_unanswered_head(self, host: str) -> None:
        """Record that `host` left a HEAD request unanswered, so that no other file waits for the same time-out."""
        with self._changed:
            self._hosts[host].ignores_head = True

    def answers_head(self, host: str) -> bool:
        """Return False when `host` left a HEAD request unanswered."""
        with self._changed:
            return not self._hosts[host].ignores_head

    def forgive(self) -> None:
        """Reset failures, pauses and unanswered HEAD requests of all hosts."""
        with self._changed:
            for state in self._hosts.values():
                state.rests_until, state.failures, state.ignores_head = 0.0, 0, False
            self._changed.notify_all()


HOSTS = Hosts()
"""The registry of this process."""
