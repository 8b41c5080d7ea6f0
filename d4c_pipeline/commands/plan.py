"""`d4c plan`: the changes that processing again would publish. `chain.dry_run` finds them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Defs,
    Home,
    Package,
    err,
    out,
    print_json,
    print_table,
    read_settings,
)
from d4c_pipeline.model.errors import PermanentError


def plan(
    dataset: Annotated[str | None, typer.Argument(help="Id of a dataset.")] = None,
    package: Package = None,
    vintage: Annotated[str | None, typer.Option("--vintage", help="Only this vintage.")] = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what processing again would change, without publishing: MAJOR, MINOR, PATCH or none, with reasons."""
    from d4c_pipeline.chain.dry_run import DryRun, dry_runs, retained
    from d4c_pipeline.commands.progress_bar import showing
    from d4c_pipeline.watch.families import known_datasets
    from d4c_pipeline.workspace.datasets import load_datasets, load_families
    from d4c_pipeline.workspace.deployment import Deployment

    if (dataset is None) == (package is None):
        raise PermanentError("Nothing is chosen, or both a dataset and a package", "Name a DATASET or a --package")
    settings = read_settings(home, defs, debug)
    defined, families = load_datasets(settings.definitions), load_families(settings.definitions)
    rows: list[dict[str, Any]] = []
    failed: list[tuple[str, str]] = []
    with Deployment.open(settings, archive=False) as deployment, showing(err, quiet=as_json or debug):
        known = known_datasets(deployment, defined, families.values())
        chosen = retained(deployment, known, package=package, dataset=dataset)
        wanted = [each for each in chosen if vintage is None or str(each[1]) == vintage]
        if not wanted:
            there = ", ".join(sorted({str(each[1]) for each in chosen}))
            raise PermanentError(f"No native files of the vintage {vintage} are retained", f"Retained are: {there}")
        for done in dry_runs(deployment, wanted):
            if isinstance(done, DryRun):
                rows.append(_row(done))
                continue
            of, which, error = done
            rows.append(
                {
                    **dict.fromkeys(_COLUMNS),
                    "dataset": of.id,
                    "vintage": str(which),
                    "outcome": "failed",
                    "reasons": [error.cause],
                }
            )
            failed.append((f"{of.id} {which}: {error.cause}", error.worded("run 'd4c publish' for that vintage again")))
    if as_json:
        print_json(rows)
    else:
        print_table([{**row, "reasons": "; ".join(row["reasons"])} for row in rows], _COLUMNS)
        counts = {
            name: sum(row["outcome"] == name for row in rows) for name in dict.fromkeys(row["outcome"] for row in rows)
        }
        out.print(", ".join(f"{name}: {count}" for name, count in counts.items()))
    if failed:
        raise PermanentError(f"{len(failed)} of {len(rows)} vintages can't be built: {failed[0][0]}", failed[0][1])


_COLUMNS = ("dataset", "vintage", "outcome", "current", "next", "rows", "rows_now", "size", "reasons")


def _row(done: Any) -> dict[str, Any]:
    return {
        "dataset": done.dataset,
        "vintage": str(done.vintage),
        "outcome": done.outcome,
        "current": done.current.name if done.current else None,
        "next": done.next,
        "rows": done.rows,
        "rows_now": done.current.summary.rows if done.current else None,
        "size": done.bytes,
        "reasons": list(done.change.reasons),
    }
