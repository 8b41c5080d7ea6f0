"""Shared by all commands: options, settings, output as text and as JSON, the exit after an error.

The commands are in the other modules of this room. `d4c --help` imports no settings and no pydantic.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from d4c_pipeline.ledger import Ledger
    from d4c_pipeline.model.settings import Settings

out = Console(highlight=False, soft_wrap=True)
if not out.is_terminal:
    out.width = 240  # a pipe or a file has no width to wrap at
err = Console(stderr=True, highlight=False, soft_wrap=True)

Home = Annotated[Path | None, typer.Option("--home", help="Folder of ledger, store, archive and staging [D4C_HOME].")]
Defs = Annotated[list[Path] | None, typer.Option("--defs", help="Folder with further datasets, repeatable [D4C_DEFS].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and the complete log.")]

Package = Annotated[
    str | None, typer.Option("--package", help="All datasets of a package; 'd4c-datapkg-' may be left out.")
]
Who = Annotated[str | None, typer.Option("--who", help="Person who decides; by default the user of this system.")]

# Whether --debug was given, and whether D4C_LOG is json; read at the end of the process, where no context is left.
_debug = False
_log_as_json = False


def read_settings(home: Path | None, defs: Sequence[Path] | None, debug: bool) -> Settings:
    """Read the settings from the environment; options override its variables. The environment stays as it is."""
    from d4c_pipeline.model.settings import Settings

    global _debug, _log_as_json  # noqa: PLW0603 - see there
    _debug = debug
    settings = Settings.from_environment(environment_with(home, defs))
    if settings.log == "json":
        from d4c_pipeline.telemetry.json_logs import log_as_json

        log_as_json()
        _log_as_json = True
    return settings


@contextmanager
def open_ledger(
    home: Path | None, debug: bool, defs: Sequence[Path] | None = None
) -> Iterator[tuple[Ledger, Settings]]:
    """Read the settings and open the ledger, for commands that need neither store nor archive."""
    from d4c_pipeline.workspace.deployment import opened_ledger

    settings = read_settings(home, defs, debug)
    with opened_ledger(settings) as ledger:
        yield ledger, settings


def environment_with(home: Path | None, defs: Sequence[Path] | None) -> dict[str, str]:
    """Return the environment of the process, its variables overridden by the options."""
    changed: dict[str, str] = {}
    if home is not None:
        changed["D4C_HOME"] = str(home.expanduser().absolute())
    if defs:
        known = os.environ.get("D4C_DEFS")
        changed["D4C_DEFS"] = os.pathsep.join([*([known] if known else []), *(str(path) for path in defs)])
    return {**os.environ, **changed}


def person(who: str | None) -> str:
    """Return the person who decides: as named, else the user of this system."""
    return who or getpass.getuser()


def end_by_interrupt() -> None:
    """Make SIGTERM end a service like Ctrl-C: cleanly, with exit code 0."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # Both, because a script starts its background commands with SIGINT ignored, and Dagster would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def print_facts(facts: dict[str, Any]) -> None:
    """Print names and values, one pair per line."""
    # Not a rich table, which would wrap paths and hashes that people copy.
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        out.print(f"  [dim]{name:<{width}}[/dim]{escape(str(value))}")


def print_table(rows: list[dict[str, Any]], columns: Sequence[str], *, headers: Sequence[str] | None = None) -> None:
    """Print `columns` of rows as a table; `headers` are their names unless given."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in headers or columns:
        table.add_column(escape(name), overflow="fold")
    for row in rows:
        table.add_row(*("" if row[name] is None else escape(str(row[name])) for name in columns))
    out.print(table)


def print_json(value: Any) -> None:
    """Print JSON and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def report(line: str) -> None:
    """Report the progress of a service: a line on stdout, or a record of the log where D4C_LOG is json."""
    if _log_as_json:
        logging.getLogger(__name__).info(line)
    else:
        out.print(line, markup=False)


def end_with(error: Exception, sentence: str) -> NoReturn:
    """End the process with code 1 and a sentence (a log record where D4C_LOG is json), or a traceback under --debug."""
    if _debug:
        raise error
    if _log_as_json:
        logging.getLogger(__name__).error(sentence)
        sys.exit(1)
    err.print(f"[bold red]Error:[/bold red] {escape(sentence)}")
    sys.exit(1)
