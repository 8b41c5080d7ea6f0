"""The fault matrix: every call of a deposit broken in every way, then a plain run again, judged by what there is then.

The calls are counted from a run that nothing disturbs, so that the matrix follows the code by itself. A case survives
when there is exactly one published record per release with exactly its files, no draft is left over, and the ledger
says the same.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.release import Release
from d4c_pipeline_tests.fakes.deposits import SURE, Home, InvenioHome
from d4c_pipeline_tests.fakes.faults import Fault, Kind, Unreachable
from d4c_pipeline_tests.fakes.invenio import FakeInvenio
from d4c_pipeline_tests.fakes.invenio_state import State

_KILLS = (Kind.KILLED_BEFORE, Kind.KILLED_AFTER)
# Time-outs have to be waited for, by a client that gives up quickly.
_HASTY = replace(SURE, read_timeout=0.2)


@dataclass(frozen=True)
class Start:
    """Where the cases of a scenario begin: a home and an archive to copy, what is published there, what is to be."""

    name: str
    home: InvenioHome
    state: State
    before: tuple[Release, ...]
    release: Release
    calls: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A fault in a scenario, met by a client that tries again by itself or by one that gives up at once."""

    start: Start
    fault: Fault
    persistent: bool

    @property
    def call(self) -> str:
        return self.start.calls[self.fault.at]

    @property
    def name(self) -> str:
        how = "from then on" if self.fault.lasting else "once"
        client = "tries again" if self.persistent else "gives up"
        return f"{self.start.name}: {self.fault.kind} at {self.fault.at} {self.call}, {how}, client {client}"


def starts(folder: Path, fake: FakeInvenio) -> tuple[Start, Start]:
    """Make both scenarios: a first version, and a later one that repeats one of its files."""
    fake.restore(State())
    planned = Home(folder / "planned")
    planned.folder.mkdir()
    first = planned.plan("0.1.0", b"first release", extra={"profile.json": b"{}"})
    home = InvenioHome(planned.folder, fake)
    fresh = fake.snapshot()
    done = home.copy(folder / "done")
    fake.begin()
    done.publish(first)
    calls = tuple(fake.calls)
    second = done.plan("0.1.1", b"second release, corrected", extra={"profile.json": b"{}"})
    published = fake.snapshot()
    fake.begin()
    counted = done.copy(folder / "counted")
    counted.publish(second)
    later = tuple(fake.calls)
    done.close()
    counted.close()
    return (
        Start("first version", home, fresh, (), first, calls),
        Start("later version", done, published, (first,), second, later),
    )


def cases(start: Start, *, every: int = 1) -> Iterator[Case]:
    """Every fault at every call of a scenario, once and for good, with a client that tries again and one that doesn't.

    `every` above 1: of calls and kinds each so-many-th only, with these variants in turn.
    """
    turn = 0
    for at in range(len(start.calls)):
        for number, kind in enumerate(Kind):
            if (at + number) % every:
                continue
            variants = [Case(start, Fault(kind, at), persistent=False)]
            if kind not in _KILLS:
                variants.append(Case(start, Fault(kind, at), persistent=True))
                variants.append(Case(start, Fault(kind, at, lasting=True), persistent=False))
            yield from variants if every == 1 else [variants[turn % len(variants)]]
            turn += 1


def try_case(case: Case, folder: Path) -> str | None:
    """Break a deposit as the case says and run it again; returns what is wrong then, None when nothing is."""
    start, fake = case.start, case.start.home.fake
    fake.restore(start.state)
    place = start.home.copy(Path(tempfile.mkdtemp(dir=folder)) / "home")
    try:
        wrong = _break(case, place)
        fake.begin()
        place.patience, place.transport = SURE, None
        place.publish(start.release)
        place.check_published_once(*start.before, start.release)
        left = [draft.id for draft in fake.state.drafts()]
        return wrong or (f"drafts left over: {left}" if left else None)
    except (D4CError, AssertionError, LookupError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        place.close()
        shutil.rmtree(place.folder.parent)


def _break(case: Case, place: InvenioHome) -> str | None:
    fake = place.fake
    patience = SURE if case.fault.kind is not Kind.TIMEOUT_AFTER else _HASTY
    place.patience = replace(patience, attempts=3 if case.persistent else 1)
    place.transport = None
    if case.fault.kind in _KILLS:
        return _killed(case, place)
    if case.fault.kind is Kind.REFUSED:
        fake.begin()
        place.transport = Unreachable(case.fault.at, lasting=case.fault.lasting)
    else:
        fake.begin(case.fault)
    try:
        place.publish(case.start.release)
    except D4CError:
        return None
    if case.fault.lasting and case.fault.at < len(case.start.calls) - 1 and case.fault.kind is not Kind.HTML_AFTER:
        return "a fault that lasts went unnoticed"
    return None


def _killed(case: Case, place: InvenioHome) -> str | None:
    """Run the deposit in a process of its own, which the server kills at the call."""
    place.fake.begin(case.fault)
    child = os.fork()
    if child == 0:
        try:
            place.publish(case.start.release)
        finally:
            os._exit(1)
    place.fake.name_victim(child)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if status == -signal.SIGKILL else f"the process ended with {status} before it was killed"


def table(tried: Iterable[tuple[Case, str | None]]) -> str:
    """The matrix as text: per call and scenario, how many cases of each kind survived of how many."""
    done: Counter[tuple[str, str, Kind]] = Counter()
    survived: Counter[tuple[str, str, Kind]] = Counter()
    rows: dict[tuple[str, str], None] = {}
    for case, wrong in tried:
        row = (case.start.name, f"{case.fault.at:2} {case.call}")
        rows.setdefault(row)
        done[(*row, case.fault.kind)] += 1
        survived[(*row, case.fault.kind)] += wrong is None
    width = max((len(call) for _, call in rows), default=0)
    lines: list[str] = []
    scenario = ""
    for name, call in rows:
        if name != scenario:
            scenario = name
            lines += ["", name, " " * width + "".join(f" {_short(kind):>6}" for kind in Kind)]
        cells = (f"{survived[name, call, kind]}/{done[name, call, kind]}" for kind in Kind)
        lines.append(call.ljust(width) + "".join(f" {cell if cell != '0/0' else '-':>6}" for cell in cells))
    return "\n".join(lines)


def _short(kind: Kind) -> str:
    words = {
        Kind.REFUSED: "refuse",
        Kind.RESET_BEFORE: "rst<",
        Kind.RESET_AFTER: "rst>",
        Kind.TIMEOUT_AFTER: "time>",
        Kind.GATEWAY_TIMEOUT_AFTER: "504>",
        Kind.TRUNCATED_AFTER: "cut>",
        Kind.HTML_AFTER: "html>",
        Kind.ERRORS_AFTER: "errs>",
        Kind.KILLED_BEFORE: "kill<",
        Kind.KILLED_AFTER: "kill>",
    }
    return words.get(kind, str(kind))
