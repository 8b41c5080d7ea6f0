"""One attack by foreign bytes, and what became of it: a child of its own with limits of memory and time tries it.

How the bytes are made belongs to the modules named after what they pretend to be.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, PermanentError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline_tests.support.declarations import a_dataset

SECONDS = 10
MEMORY = 1_500_000_000
"""What an attack may take: seconds of a processor, and bytes resident."""
_ADDRESSES = 6 << 30
_DISK = 1 << 30


@dataclass(frozen=True)
class Attack:
    """Bytes that `make` writes to a file called `file`, processed as `processing` declares.

    `words`: one of them has to be in the refusal; empty where the file may be taken (within the limits) as well.
    """

    name: str
    file: str
    make: Callable[[Path], object]
    words: tuple[str, ...] = ()
    kind: str = "table"
    processing: dict[str, Any] = field(default_factory=dict[str, Any])
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: int = SECONDS
    """Seconds of a processor that it may take."""
    quick: bool = True
    """Whether its bytes are made in less than a second or so."""


@dataclass(frozen=True)
class Outcome:
    """How an attack ended: `refused`, `built`, `bug`, `killed` or `late`; `said` is the sentence or the traceback."""

    end: str
    said: str
    seconds: float
    peak: int
    written: int

    def wrong(self, attack: Attack) -> str | None:
        """Return what is wrong with this end, None when the attack was withstood."""
        if self.end not in ("refused", "built"):
            return f"{self.end}: {self.said[-300:]}"
        if self.seconds > attack.seconds:
            return f"took {self.seconds:.1f} s"
        if self.peak > MEMORY:
            return f"took {self.peak / 1e9:.2f} GB"
        if self.written > _DISK:
            return f"left {self.written / 1e9:.2f} GB on the disk"
        if attack.words and not (self.end == "refused" and any(word in self.said for word in attack.words)):
            return f"{self.end}, but not because of the attack: {self.said}"
        return None


def dataset(attack: Attack) -> Dataset:
    """Return a dataset that reads the attack's file."""
    processing = {"kind": attack.kind, **attack.processing}
    return a_dataset("attacked", processing=processing, outputs=attack.outputs or None)


def tried(attack: Attack) -> Outcome:
    """Make the attack's file, process it in a child with limits, and return what became of it."""
    with tempfile.TemporaryDirectory(prefix="d4c-attack-") as name:
        folder = Path(name)
        file = folder / attack.file
        # Made in a child too: threads that a library starts here would not be there after the next fork.
        if (maker := os.fork()) == 0:
            attack.make(file)
            os._exit(0)
        if os.waitpid(maker, 0)[1]:
            raise RuntimeError(f"the file of '{attack.name}' could not be made")
        child = os.fork()
        if child == 0:
            _in_child(attack, file, folder)
        _, status, usage = _waited(child, time.monotonic() + 30 * attack.seconds)
        took = usage.ru_utime + usage.ru_stime
        written = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file() and path != file)
        answer = folder / "answer.json"
        peak = usage.ru_maxrss * 1024
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            end = "late" if number in (signal.SIGKILL, signal.SIGXCPU) else "killed"
            return Outcome(end, signal.Signals(number).name, took, peak, written)
        if not answer.is_file():
            return Outcome("killed", f"ended with {os.waitstatus_to_exitcode(status)} and said nothing", took, peak, 0)
        end, said = json.loads(answer.read_text("utf-8"))
        return Outcome(end, said, took, peak, written)


def _waited(child: int, until: float) -> tuple[int, int, resource.struct_rusage]:
    while True:
        found = os.wait4(child, os.WNOHANG)
        if found[0]:
            return found
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            return os.wait4(child, 0)
        time.sleep(0.01)


def _in_child(attack: Attack, file: Path, folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (3 * attack.seconds, 3 * attack.seconds))
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - no path of ours
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        (folder / "out").mkdir()
        done = build(dataset(attack), Vintage.parse("2021"), [file], folder / "out", threads=2, memory_limit="1GB")
        answer = ("built", f"{done.summary.rows} rows")
    except D4CError as error:
        # A refusal in DuckDB's words on syntax is about our own SQL: once it hid a reserved word in a query of ours.
        ours = not isinstance(error, PermanentError) or "Parser Error" in str(error)
        answer = ("bug", str(error)) if ours else ("refused", str(error))
    except BaseException:  # noqa: BLE001 - told as what it is
        answer = ("bug", "".join(traceback.format_exc()[-1500:]))
    (folder / "answer.json").write_text(json.dumps(answer), "utf-8")
    os._exit(0)
