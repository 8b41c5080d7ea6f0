"""`d4c backfill`: processes all retained vintages of a package or a dataset again.

`orchestration.backfilling` does the work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Defs,
    Home,
    Package,
    Who,
    err,
    person,
    print_facts,
    print_json,
    print_table,
    read_settings,
)
from d4c_pipeline.model.errors import NeedsPersonError, PermanentError

_OUTCOMES = ("published", "unchanged", "review waits", "failed")
_COLUMNS = ("id", "scope", "state", "begun", "left", *_OUTCOMES, "reason", "who")


def backfill(
    dataset: Annotated[str | None, typer.Argument(help="Id of a dataset.")] = None,
    package: Package = None,
    reason: Annotated[str, typer.Option("--reason", help="Why they are processed again.")] = "",
    resume: Annotated[int | None, typer.Option("--resume", help="Continue a backfill, and retry what failed.")] = None,
    cancel: Annotated[int | None, typer.Option("--cancel", help="Cancel a backfill.")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List all backfills.")] = False,
    who: Who = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Process all retained vintages of a package or a dataset again, and publish what changed."""
    from d4c_pipeline.chain.dry_run import retained
    from d4c_pipeline.orchestration import backfilling
    from d4c_pipeline.watch.families import known_datasets
    from d4c_pipeline.workspace.datasets import load_datasets, load_families
    from d4c_pipeline.workspace.deployment import Deployment

    chosen = [each for each in (dataset, package, resume, cancel, list_all or None) if each is not None]
    if len(chosen) != 1:
        raise PermanentError(
            "A backfill needs one of a DATASET, --package, --resume, --cancel and --list", "See 'd4c backfill --help'"
        )
    settings = read_settings(home, defs, debug)
    defined, families = load_datasets(settings.definitions), list(load_families(settings.definitions).values())
    with Deployment.open(settings, archive=False) as deployment:
        if list_all or cancel is not None:
            found = deployment.ledger.backfills.all() if cancel is None else (backfilling.cancel(deployment, cancel),)
            rows = [_row(each) for each in found]
            if as_json:
                print_json(rows)
            else:
                print_table(rows, _COLUMNS)
            return
        known = known_datasets(deployment, defined, families)
        if resume is None:
            vintages = retained(deployment, known, package=package, dataset=dataset)
            scope = package or dataset or ""
            begun = backfilling.begin(deployment, vintages, families, scope=scope, reason=reason, who=person(who))
        else:
            begun = backfilling.known_backfill(deployment, resume)
        total = len(deployment.ledger.backfills.left(begun.id))
    if not as_json:
        err.print(f"Backfill {begun.id}: {total} vintages. After an interruption: 'd4c backfill --resume {begun.id}'")
    with _progress(total, quiet=as_json or debug) as done:
        ended = backfilling.work(settings, begun.id, known, families, list(defined.values()), done)
    with Deployment.open(settings, archive=False) as deployment:
        failed = deployment.ledger.backfills.failed(ended.id)
    if as_json:
        print_json(_row(ended))
    else:
        print_facts(_row(ended))
    if failed:
        of, vintage, cause = failed[0]
        raise NeedsPersonError(
            f"{len(failed)} vintages failed: {of} {vintage}: {cause}",
            f"See 'd4c failed', correct the cause, then run 'd4c backfill --resume {ended.id}'",
        )
    if ended.left:
        raise NeedsPersonError(
            f"Backfill {ended.id} was cancelled with {ended.left} vintages left",
            f"Continue it with 'd4c backfill --resume {ended.id}'",
        )


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[str, Any, str, str], None]]:
    """Yield the function to call after each vintage: it moves a bar on a terminal and prints a line elsewhere."""
    counts: Counter[str] = Counter()

    def words() -> str:
        return ", ".join(f"{outcome}: {count}" for outcome, count in counts.items())

    if quiet:
        yield lambda *_: None
        return
    if not err.is_terminal:

        def line(of: str, vintage: Any, outcome: str, detail: str) -> None:
            counts[outcome] += 1
            err.print(f"{counts.total()}/{total} {of} {vintage}  {outcome}  {detail}", markup=False)

        yield line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as bars:
        task = bars.add_task("backfill", total=total)

        def bar(of: str, vintage: Any, outcome: str, detail: str) -> None:
            counts[outcome] += 1
            bars.update(task, advance=1, description=f"{of} {vintage}  ({words()})")
            if outcome == "failed":
                bars.console.print(f"{of} {vintage} failed: {detail}", markup=False)

        yield bar


def _row(found: Any) -> dict[str, Any]:
    return {
        "id": found.id,
        "scope": found.scope,
        "state": found.state.value,
        "begun": found.begun_at.isoformat(timespec="seconds"),
        "left": found.left,
        **{name: found.outcomes[name] for name in _OUTCOMES},
        "reason": found.reason,
        "who": found.who,
    }
