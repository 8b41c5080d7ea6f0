"""Concurrent fetch of the files of a vintage: in threads; the first failure ends the others.

`transport.hosts` limits the requests to one host. The fetch of one file belongs to `download.py`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.errors import TransientError
from d4c_pipeline.sources.fetch.download import Download, Wanted
from d4c_pipeline.sources.fetch.notes import Notes
from d4c_pipeline.sources.fetch.web import Web
from d4c_pipeline.sources.port import Fetched, Progress
from d4c_pipeline.transport.patience import is_retryable

_LOG = logging.getLogger("d4c_pipeline.sources")
_AT_ONCE = 16
_REPORT_SECONDS = 0.1  # seconds
_LOG_SECONDS = 30.0


class _StoppedError(TransientError):
    """Another file of the vintage failed."""


def fetch_all(
    web: Web,
    wanted: Sequence[Wanted],
    into: Path,
    progress: Progress | None = None,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> tuple[Fetched, ...]:
    """Fetch `wanted` into the folder `into`, and return them in their order. See `Source.fetch`.

    Raises a permanent failure before a transient one. Fetched files stay for the next attempt.
    """
    with storage_errors(f"write in {into}"):
        into.mkdir(parents=True, exist_ok=True)
    stop, over = threading.Event(), threading.Event()
    news: dict[str, tuple[int, int | None]] = {}
    ends: list[Future[Fetched]] = []

    def ended() -> None:
        if stop.is_set():
            raise _StoppedError("Another file of the vintage failed", "Try again")

    def waiting(seconds: float) -> None:
        if pause is time.sleep:
            stop.wait(seconds)  # sleeps too, but ends with the fetch
        else:
            pause(seconds)
        ended()

    def note(name: str, done: int, total: int | None) -> None:
        news[name] = (done, total)

    def download(each: Wanted) -> Fetched:
        ended()
        return Download(web, each, into, notes, pause=waiting, report=note, stop=ended).run()

    def count(future: Future[Fetched]) -> None:
        if future.exception() is not None:
            stop.set()
        ends.append(future)
        if len(ends) == len(wanted):
            over.set()

    reporter = _Reporter(progress, news)
    # More threads than places at the hosts would only wait.
    places = web.places(mirror for each in wanted for mirror in each.mirrors)
    at_once = min(_AT_ONCE, places, len(wanted)) or 1
    with Notes(into) as notes, ThreadPoolExecutor(at_once, thread_name_prefix="fetch") as pool:
        futures = [pool.submit(download, each) for each in wanted]
        for future in futures:
            future.add_done_callback(count)
        try:
            # Polled, not woken by each file: hundreds of files may end in a second.
            while wanted and not over.wait(_REPORT_SECONDS):
                reporter.report()
        finally:
            stop.set()  # also when this thread is interrupted
    reporter.report()
    failures = [error for future in futures if (error := future.exception()) and not isinstance(error, _StoppedError)]
    if failures:
        raise min(failures, key=is_retryable)
    return tuple(future.result() for future in futures)


class _Reporter:
    """Reports `news`, which threads write by file name, to the caller and to the log, in the caller's thread."""

    def __init__(self, progress: Progress | None, news: dict[str, tuple[int, int | None]]) -> None:
        self._progress = progress
        self._news = news
        self._logged = time.monotonic()

    def report(self) -> None:
        now = time.monotonic()
        to_log = now - self._logged > _LOG_SECONDS
        if to_log:
            self._logged = now
        for _ in range(len(self._news)):  # threads add more meanwhile
            name, (done, total) = self._news.popitem()
            if self._progress is not None:
                self._progress(name, done, total)
            if done == total:
                _LOG.info("%s fetched, %s bytes", name, f"{done:,}")
            elif to_log:
                _LOG.info("%s: %s of %s bytes", name, f"{done:,}", "?" if total is None else f"{total:,}")
