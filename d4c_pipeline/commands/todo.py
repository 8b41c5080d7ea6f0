"""`d4c todo`: everything that waits for a person."""

from __future__ import annotations

from dataclasses import asdict

from d4c_pipeline.commands.common import AsJson, Debug, Defs, Home, out, print_json, print_table, read_settings


def todo(home: Home = None, defs: Defs = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List everything that waits for a person, with the command that settles it."""
    from d4c_pipeline.upkeep.attention import needs_attention
    from d4c_pipeline.workspace.datasets import load_datasets, load_families
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    declared = [*load_datasets(settings.definitions).values(), *load_families(settings.definitions).values()]
    with Deployment.open(settings) as deployment:
        found = needs_attention(deployment, declared)
    rows = [asdict(each) for each in found]
    if as_json:
        print_json(rows)
        return
    if rows:
        shown = [{**row, "detail": ". ".join(filter(None, (row["detail"], row["remedy"])))} for row in rows]
        print_table(shown, ("kind", "subject", "detail", "command"))
    out.print(f"{len(rows)} findings wait for a person" if rows else "Nothing waits for a person")
