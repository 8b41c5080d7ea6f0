"""Findings of a diagnosis, and the run of its checks: all at once, each bounded in time.

The checks themselves belong to the other modules of this package.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from d4c_pipeline.model.errors import D4CError


class Health(StrEnum):
    """The verdict of a check. A check that could not run has failed."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """The result of a check: its subject, the verdict, what was found, and the remedy unless the verdict is OK."""

    subject: str
    health: Health
    detail: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """Detail and remedy as one line."""
        return ". ".join(" ".join(part.split()).rstrip(".") for part in (self.detail, self.remedy) if part)


def good(subject: str, detail: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(subject, Health.OK, detail)


def warning(subject: str, detail: str, remedy: str) -> Finding:
    """Return a finding that stops no publication."""
    return Finding(subject, Health.WARNING, detail, remedy)


def failed(subject: str, detail: str, remedy: str) -> Finding:
    """Return a finding that stops a publication, or makes it wrong."""
    return Finding(subject, Health.FAILED, detail, remedy)


@dataclass(frozen=True)
class Check:
    """A named check. `run` returns its findings; a D4CError that it raises is a failure with its remedy."""

    subject: str
    run: Callable[[], Iterable[Finding]]


@dataclass
class _Running:
    check: Check
    findings: list[Finding] = field(default_factory=list[Finding])
    thread: threading.Thread = field(default_factory=threading.Thread)

    def work(self) -> None:
        subject = self.check.subject
        try:
            self.findings = list(self.check.run())
        except D4CError as error:
            self.findings = [failed(subject, error.cause, error.remedy)]
        except Exception as error:  # noqa: BLE001 - a bug in one check must not hide the findings of the others
            cause = f"A bug stopped this check ({type(error).__name__}: {error})"
            self.findings = [failed(subject, cause, "Report it with the output of 'd4c doctor --json'")]


def diagnose(checks: Sequence[Check], seconds: float) -> tuple[Finding, ...]:
    """Run all checks at once and return their findings in the order of `checks`.

    A check that does not end within `seconds` has failed. Its thread is left behind and ends with the process.
    """
    running = [_Running(check) for check in checks]
    for each in running:
        each.thread = threading.Thread(target=each.work, name=each.check.subject, daemon=True)
        each.thread.start()
    deadline = time.monotonic() + seconds
    found: list[Finding] = []
    for each in running:
        each.thread.join(max(0.0, deadline - time.monotonic()))
        if each.thread.is_alive():
            detail = f"The check did not end within {seconds:g} s"
            remedy = "Allow more time with --seconds; if it still hangs, the disk or the server does not answer"
            found.append(failed(each.check.subject, detail, remedy))
        else:
            found += each.findings
    return tuple(found)
