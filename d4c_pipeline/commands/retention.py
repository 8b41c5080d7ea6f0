"""`d4c prune`: retention on request. `upkeep.retention` decides which releases a mirror keeps."""

from __future__ import annotations

from typing import Annotated

import typer

from d4c_pipeline.commands.common import AsJson, Debug, Defs, Home, out, print_json, print_table, read_settings
from d4c_pipeline.model.errors import NeedsPersonError


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the actions without performing them.")] = False,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Push missing releases to each mirror and prune those past their retention."""
    from d4c_pipeline.upkeep import retention
    from d4c_pipeline.workspace.datasets import load_datasets, load_families
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    datasets = list(load_datasets(settings.definitions).values())
    families = list(load_families(settings.definitions).values())
    with Deployment.open(settings) as deployment:
        done = retention.apply(deployment, datasets, families, dry_run=dry_run)
    rows = [
        {
            "release": action.release,
            "mirror": action.mirror,
            "deed": action.action,
            "files": action.files,
            "size": action.size,
            "reason": action.reason,
        }
        for action in done
    ]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(
            [{**row, "action": row["deed"]} for row in rows], ("release", "mirror", "action", "files", "size", "reason")
        )
    else:
        out.print("All mirrors are up to date")
    refused = [
        f"{action.release} on {action.mirror} ({action.reason})"
        for action in done
        if action.action in retention.REFUSED
    ]
    if refused and not dry_run:
        raise NeedsPersonError(
            f"Incomplete: {'; '.join(refused)}",
            "Make the mirror reachable, or restore the missing files, then run 'd4c prune' again",
        )
