"""Progress reaches whoever listens, and nobody else; the command line shows it on a terminal and in a pipe."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from d4c_pipeline.commands.progress_bar import showing
from d4c_pipeline.workspace.progress import Progress, listening, report

STEP = Progress("places", "2021", "raw")
HALF = Progress("places", "2021", "raw", "places.geojson", 50, 100)


def test_only_the_listener_of_the_moment_is_told() -> None:
    outer: list[Progress] = []
    inner: list[Progress] = []
    report(STEP)
    with listening(outer.append):
        report(STEP)
        with listening(inner.append):
            report(HALF)
        # Another thread has listeners of its own.
        thread = threading.Thread(target=report, args=(HALF,))
        thread.start()
        thread.join()
    report(HALF)
    assert (outer, inner) == ([STEP], [HALF])


def test_a_pipe_gets_one_line_per_step() -> None:
    told = io.StringIO()
    with showing(Console(file=told), quiet=False):
        report(STEP)
        report(HALF)
        report(Progress("places", "2021", "processed"))
    assert told.getvalue() == "places 2021  raw\nplaces 2021  processed\n"


def test_quiet_is_quiet() -> None:
    told = io.StringIO()
    with showing(Console(file=told), quiet=True):
        report(STEP)
    assert told.getvalue() == ""


@pytest.mark.parametrize("total", [100, None])
def test_a_terminal_gets_bars_of_steps_and_files(total: int | None) -> None:
    told = io.StringIO()
    console = Console(file=told, force_terminal=True, width=100, legacy_windows=False, _environ={"TERM": "xterm"})
    with showing(console, quiet=False):
        report(STEP)
        report(Progress("places", "2021", "raw", "a [b].zip", 0, total))
        report(Progress("places", "2021", "raw", "a [b].zip", 100, total))
        report(Progress("places", "2021", "processed"))
    assert "places 2021" in told.getvalue()
    assert "a [b].zip" in told.getvalue()
    assert "processed" in told.getvalue()
