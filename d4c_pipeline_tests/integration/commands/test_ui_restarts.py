"""`d4c ui` starts Dagster again when it ends by itself, gives up when that does not help, and ends on an interrupt."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from d4c_pipeline.commands import servers
from d4c_pipeline.model.errors import NeedsPersonError

# Each start leaves its number; the first two end at once, as Dagster does whose daemon was killed.
SCRIPT = """
import os, sys, time
starts = os.path.join(sys.argv[1], str(len(os.listdir(sys.argv[1]))))
open(starts, "w").write(str(os.getpid()))
if os.path.basename(starts) in sys.argv[2].split(","):
    os.kill(os.getpid(), 9) if os.path.basename(starts) == "1" else sys.exit(0)
time.sleep(60)
"""


def command(folder: Path, ends: str) -> list[str]:
    return [sys.executable, "-c", SCRIPT, str(folder), ends]


def test_dagster_that_ended_starts_again_until_an_interrupt(tmp_path: Path) -> None:
    def interrupt() -> None:
        deadline = time.monotonic() + 30
        while not (tmp_path / "2").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    servers.keep_running(command(tmp_path, "0,1"), dict(os.environ), pause=0.05)
    watcher.join()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "2").read_text("utf-8")), 0)


def test_dagster_that_ends_five_times_needs_a_person(tmp_path: Path) -> None:
    with pytest.raises(NeedsPersonError, match=r"Dagster ended 5 times within 10 minutes, last with code 0"):
        servers.keep_running(command(tmp_path, "0,1,2,3,4,5,6"), dict(os.environ), pause=0.0)
    assert len(list(tmp_path.iterdir())) == 5
