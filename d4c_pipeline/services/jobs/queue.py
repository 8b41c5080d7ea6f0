"""Starts a worker process for each waiting result, ends those beyond their limits, and removes what expired.

One thread of the server looks after workers, another tells of the ends of jobs, because foreign servers may be slow.
After a restart, or a kill, both continue from the files of `folder`.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.service_settings import JobSettings
from d4c_pipeline.services.jobs.folder import Job, JobFolder, Outcome, State
from d4c_pipeline.services.jobs.notices import pending, tell
from d4c_pipeline.services.jobs.worker import MEMORY

_TICK_SECONDS = 0.5
_CLEAN_SECONDS = 60.0
_GRACE_SECONDS = 30.0
_PAUSES = (0.0, 10.0, 60.0)  # before each attempt to tell
_log = logging.getLogger(__name__)


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    since: float


class JobQueue:
    """The workers of one server; a context manager. `wake` looks for new results at once."""

    def __init__(self, root: Path, settings: JobSettings) -> None:
        self.folder = JobFolder(root)
        self._root, self.settings = root, settings
        self._running: dict[str, _Running] = {}
        self._woken, self._ended = threading.Event(), threading.Event()
        self._cleaned = 0.0
        self._thread = threading.Thread(target=self._watch, name="d4c-jobs", daemon=True)
        self._teller = threading.Thread(target=self._tell, name="d4c-job-notices", daemon=True)
        self._mail_server = settings.mail_server()

    def __enter__(self) -> JobQueue:
        self._thread.start()
        self._teller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._woken.set()
        self._thread.join()
        self._teller.join(1.0)  # an attempt that takes longer is repeated by the next server
        for running in self._running.values():
            running.process.kill()  # the next server begins this result again
            running.process.wait()

    @property
    def sends_mail(self) -> bool:
        """Whether users can be told by mail."""
        return self._mail_server is not None

    def wake(self) -> None:
        """Look for new results now."""
        self._woken.set()

    def _watch(self) -> None:
        while not self._ended.is_set():
            try:
                self._tick()
            except (D4CError, OSError) as error:
                _log.warning("Jobs: %s", error)
            self._woken.wait(_TICK_SECONDS)
            self._woken.clear()

    def _tick(self) -> None:
        self._look_after_workers()
        if self.settings.runner == "server":
            self._start_workers()
        if time.monotonic() - self._cleaned > _CLEAN_SECONDS:
            self._cleaned = time.monotonic()
            self._forget_expired()

    def _look_after_workers(self) -> None:
        for result, running in list(self._running.items()):
            if running.process.poll() is not None:
                del self._running[result]
                continue
            state = self.folder.state(result)
            if state is State.DISMISSED:
                self._kill(result, None)
            elif time.monotonic() - running.since > self.settings.seconds + _GRACE_SECONDS:
                self._kill(result, f"The job took more than {self.settings.seconds:,} seconds")
            elif _memory(running.process.pid) > self.settings.memory:
                self._kill(result, f"The job needs more than {self.settings.memory:,} bytes of memory")

    def _kill(self, result: str, why: str | None) -> None:
        running = self._running.pop(result)
        running.process.kill()
        running.process.wait()
        if why is not None:
            remedy = "Name a smaller area, fewer columns, or another format"
            self.folder.end(result, Outcome(time.time(), why, remedy))

    def _start_workers(self) -> None:
        for result in self.folder.results():
            if len(self._running) >= self.settings.at_once:
                return
            if result not in self._running and self.folder.state(result) is State.ACCEPTED:
                arguments = ["--seconds", str(self.settings.seconds), "--memory", MEMORY,
                             "--cells", str(self.settings.cells)]  # fmt: skip
                command = [sys.executable, "-m", "d4c_pipeline.services.jobs.worker", str(self._root), result]
                self._running[result] = _Running(
                    subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL), time.monotonic()
                )

    def _tell(self) -> None:
        while not self._ended.wait(_TICK_SECONDS):
            try:
                self._notify()
            except (D4CError, OSError) as error:
                _log.warning("Jobs: %s", error)

    def _notify(self) -> None:
        for job in self.folder.jobs():
            if self._is_due(job) and self.folder.outcome(job.result) is not None:
                self.folder.tell(job.id, self._told)

    def _is_due(self, job: Job) -> bool:
        return pending(job) and job.deliveries < len(_PAUSES) and time.time() - job.tried >= _PAUSES[job.deliveries]

    def _told(self, job: Job) -> tuple[str, ...]:
        outcome = self.folder.outcome(job.result)
        if outcome is None or not self._is_due(job):  # another server was faster
            return job.told
        state = State.SUCCESSFUL if outcome.problem is None else State.FAILED
        release = (self.folder.request(job.result) or {}).get("release", {})
        return tell(job, state, outcome, str(release.get("title") or release.get("dataset", "")), self._mail_server)

    def _forget_expired(self) -> None:
        now, kept = time.time(), self.settings.days * 86_400
        for job in self.folder.jobs():
            outcome = self.folder.outcome(job.result)
            if outcome is not None and now - max(outcome.finished, job.created) > kept:
                self.folder.dismiss(job)
        named = {job.result for job in self.folder.jobs()}
        for result in self.folder.results():
            if result not in named and now - self.folder.result_folder(result).stat().st_mtime > _CLEAN_SECONDS:
                self.folder.forget(result)


def _memory(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.NoSuchProcess:
        return 0
