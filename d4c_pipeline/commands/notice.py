"""`d4c notice`: changes at the sources."""

from __future__ import annotations

from typing import Annotated

import typer

from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Defs,
    Home,
    print_json,
    print_table,
    read_settings,
)


def notice(
    dataset: Annotated[list[str] | None, typer.Argument(help="Only these datasets or families.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Accept a listing that lost vintages or members.")] = False,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check sources for new or changed vintages and members, without publishing."""
    from d4c_pipeline.watch.noticing_report import ask_now
    from d4c_pipeline.workspace.datasets import load_datasets, load_families, unknown_id
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    known = {**load_datasets(settings.definitions), **load_families(settings.definitions)}
    for name in dataset or ():
        if name not in known:
            raise unknown_id(known, name)
    with Deployment.open(settings) as deployment:
        rows = [ask_now(deployment, known[name], accept=accept) for name in dataset or known]
    if as_json:
        print_json(rows)
    else:
        shown = [
            {**row, "due": ", ".join(row["due"]), "failed": row["failed"] or "", "remark": row.get("remark", "")}
            for row in rows
        ]
        print_table(shown, ("dataset", "listed", "due", "failed", "remark"))
    if any(row["failed"] for row in rows):
        raise typer.Exit(1)
