"""The progress display of the command line: the steps of the chain and the bytes of a transfer.

Reports come from `workspace.progress`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from d4c_pipeline.workspace.progress import Listener, listening
from d4c_pipeline.workspace.progress import Progress as Report


@contextmanager
def showing(console: Console, *, quiet: bool) -> Iterator[None]:
    """Show the chain's progress during the block: live on a terminal, a line per step elsewhere."""
    if quiet:
        yield
        return
    if not console.is_terminal:
        with listening(_lines(console)):
            yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), _Bytes(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars, listening(_bars(bars)):
        yield


class _Bytes(DownloadColumn):
    """The transferred bytes of a file; empty for a step."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields.get("counts_bytes") else Text()


def _lines(console: Console) -> Listener:
    def show(report: Report) -> None:
        if report.name is None:
            console.print(f"{report.dataset} {report.vintage}  {report.step}")

    return show


def _bars(bars: Progress) -> Listener:
    step: list[TaskID] = []
    files: dict[str, TaskID] = {}

    def show(report: Report) -> None:
        if report.name is None:
            for task in step:
                bars.update(task, total=1, completed=1)
                bars.stop_task(task)
            step[:] = [bars.add_task(f"{report.dataset} {report.vintage}  [bold]{report.step}[/bold]", total=None)]
            return
        if report.name not in files:
            files[report.name] = bars.add_task(f"  {escape(report.name)}", total=report.total, counts_bytes=True)
        bars.update(files[report.name], completed=report.done, total=report.total)

    return show
