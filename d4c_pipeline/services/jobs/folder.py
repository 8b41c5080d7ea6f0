"""The state of jobs on the disk: one file for each job, one folder for each result, which equal requests share.

Every file appears complete or not at all. Whether a result is being made is no file but a lock (`flock`) on its folder:
the system releases it when the worker ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import orjson

from d4c_pipeline.files.disk import storage_errors, write_file

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_RESULT = re.compile(r"[0-9a-f]{64}")
REQUEST, PROGRESS, OUTCOME, ATTEMPTS, LOCK = "request.json", "progress.json", "outcome.json", "attempts.json", "lock"
DATA = "data"


class State(Enum):
    """The states of a job, by their names in OGC API - Processes."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    DISMISSED = "dismissed"


@dataclass(frozen=True)
class Outcome:
    """The end of a result; `problem` is None for success. `left_out`: rows that the format can't hold."""

    finished: float
    problem: str | None = None
    remedy: str = ""
    rows: int = 0
    left_out: int = 0
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Job:
    """A job of `owner`. `result`: the name of the result. `callbacks`: state -> address. Times: POSIX seconds.

    `mail`: who is told of its end; `base`: the public address of the services, for that mail. `told`: the channels that
    are done with; `deliveries` and `tried`: the number of attempts to tell, and the time of the last.
    """

    id: str
    result: str
    owner: str
    created: float
    callbacks: dict[str, str]
    mail: str | None = None
    base: str = ""
    told: tuple[str, ...] = ()
    deliveries: int = 0
    tried: float = 0.0


class JobFolder:
    """The jobs and results below `root`. Several processes may use it at the same time."""

    def __init__(self, root: Path) -> None:
        self._jobs, self._results = root / "jobs", root / "results"

    def submit(
        self,
        owner: str,
        result: str,
        request: Mapping[str, Any],
        callbacks: Mapping[str, str],
        *,
        mail: str | None = None,
        base: str = "",
    ) -> Job:
        """Return the job of `owner` for a result, a new one unless the owner has one. Raises StorageError.

        An unfinished job takes over `callbacks` and `mail` of a further request.
        """
        for job in self.jobs():
            if job.owner == owner and job.result == result and not self._is_failed(job.result):
                if (callbacks or mail) and self.outcome(result) is None:
                    more = replace(job, callbacks={**job.callbacks, **callbacks}, mail=mail or job.mail, base=base)
                    self.save(more)
                    return more
                return job
        with storage_errors(f"write {self._results}"):
            folder = self._results / result
            if self._is_failed(result):
                shutil.rmtree(folder, ignore_errors=True)  # a new request is a new attempt
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / REQUEST).exists():
                write_file(folder / REQUEST, orjson.dumps(dict(request), option=orjson.OPT_SORT_KEYS))
            self._jobs.mkdir(parents=True, exist_ok=True)
            job = Job(secrets.token_urlsafe(16), result, owner, time.time(), dict(callbacks), mail, base)
            self.save(job)
        return job

    def save(self, job: Job) -> None:
        """Write the state of a job."""
        write_file(self._jobs / f"{job.id}.json", orjson.dumps(asdict(job)))

    def job(self, job_id: str) -> Job | None:
        """Return a job, None for an unknown id."""
        if _ID.fullmatch(job_id) is None:
            return None
        return _job(self._jobs / f"{job_id}.json")

    def jobs(self) -> list[Job]:
        """Return all jobs, the newest first."""
        found = [job for path in _listed(self._jobs) if path.suffix == ".json" and (job := _job(path)) is not None]
        return sorted(found, key=lambda job: (-job.created, job.id))

    def dismiss(self, job: Job) -> None:
        """Forget a job, and its result unless another job has it; a worker notices that its folder is gone."""
        (self._jobs / f"{job.id}.json").unlink(missing_ok=True)
        if not any(other.result == job.result for other in self.jobs()):
            self.forget(job.result)

    def forget(self, result: str) -> None:
        """Remove the folder of a result."""
        shutil.rmtree(self.result_folder(result), ignore_errors=True)

    def results(self) -> list[str]:
        """Return the names of all results."""
        return [path.name for path in _listed(self._results) if _RESULT.fullmatch(path.name)]

    def result_folder(self, result: str) -> Path:
        """Return the folder of a result."""
        return self._results / result

    def request(self, result: str) -> dict[str, Any] | None:
        """Return the request of a result, None without one."""
        return _json(self.result_folder(result) / REQUEST)

    def state(self, result: str) -> State:
        """Return the state of a result."""
        outcome = self.outcome(result)
        if outcome is not None:
            return State.FAILED if outcome.problem is not None else State.SUCCESSFUL
        if self.request(result) is None:
            return State.DISMISSED
        return State.RUNNING if self._is_locked(result) else State.ACCEPTED

    def outcome(self, result: str) -> Outcome | None:
        """Return the outcome of a result, None before its end."""
        found = _json(self.result_folder(result) / OUTCOME)
        return None if found is None else Outcome(**found)

    def end(self, result: str, outcome: Outcome) -> None:
        """Write the outcome of a result, unless it was dismissed."""
        folder = self.result_folder(result)
        if folder.is_dir():
            write_file(folder / OUTCOME, orjson.dumps(asdict(outcome)))

    def progress(self, result: str) -> int:
        """Return the rows that a running result has."""
        return int((_json(self.result_folder(result) / PROGRESS) or {}).get("rows", 0))

    def attempt(self, result: str) -> int:
        """Count one more attempt at a result and return their number."""
        number = self.attempts(result) + 1
        write_file(self.result_folder(result) / ATTEMPTS, orjson.dumps({"attempts": number}))
        return number

    def attempts(self, result: str) -> int:
        """Return the number of attempts at a result that have begun."""
        return int((_json(self.result_folder(result) / ATTEMPTS) or {}).get("attempts", 0))

    def data(self, result: str) -> Path:
        """Return the path of the file of a result."""
        return self.result_folder(result) / DATA

    @contextmanager
    def locked(self, result: str) -> Iterator[bool]:
        """Hold the lock of a result in the block; yield False if another process has it, or the result is gone."""
        try:
            descriptor = os.open(self.result_folder(result) / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            yield False
            return
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)

    def _is_locked(self, result: str) -> bool:
        try:
            descriptor = os.open(self.result_folder(result) / LOCK, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _is_failed(self, result: str) -> bool:
        outcome = self.outcome(result)
        return outcome is not None and outcome.problem is not None

    def size(self) -> int:
        """Return the bytes of all results."""
        return sum(path.stat().st_size for name in self.results() for path in _listed(self.result_folder(name)))

    def tell(self, job_id: str, told: Callable[[Job], tuple[str, ...]]) -> None:
        """Call `told`, which tells about a job and returns the channels that are done with, and record it.

        Under the lock of the result: servers that share the folder tell once. A dismissed job stays dismissed.
        """
        job = self.job(job_id)
        if job is None:
            return
        with self.locked(job.result) as mine:
            job = self.job(job_id) if mine else None
            if job is not None:
                done = told(job)
                if self.job(job_id) is not None:
                    self.save(replace(job, told=done, deliveries=job.deliveries + 1, tried=time.time()))


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []


def _json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def _job(path: Path) -> Job | None:
    found = _json(path)
    return None if found is None else Job(**{**found, "told": tuple(found.get("told", ()))})
