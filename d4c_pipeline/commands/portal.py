"""`d4c portal build`: builds the pages of all published releases, only those that changed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from d4c_pipeline.commands.common import AsJson, Debug, Defs, Home, err, print_facts, print_json, read_settings
from d4c_pipeline.model.errors import PermanentError

portal_app = typer.Typer(no_args_is_help=True, help="Build the portal, a static site in English and French.")


@portal_app.callback()
def portal() -> None:
    """Build the portal, a static site in English and French."""


@portal_app.command()
def build(
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder of the site; by default the home's folder `portal`.")
    ] = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Build the pages whose facts changed, and remove the pages of releases that are gone."""
    from d4c_pipeline.chain.portal import build as build_portal
    from d4c_pipeline.workspace.datasets import load_datasets
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    declared = tuple(load_datasets(settings.definitions).values())
    with Deployment.open(settings, archive=False) as deployment:
        built = build_portal(deployment, declared, to.absolute() if to else None)
    facts = {"folder": str(built.folder), "address": built.url, "pages": built.pages, "written": built.written}
    facts |= {"removed": built.removed, "datasets": built.datasets}
    if as_json:
        print_json({**facts, "has_scripts": built.has_scripts, "left_out": [asdict(each) for each in built.left_out]})
    else:
        print_facts(facts)
    if not built.has_scripts:
        err.print("The portal has no map, table and search: 'make web' builds them.", markup=False)
    if built.left_out:
        first = built.left_out[0]
        raise PermanentError(
            f"{len(built.left_out)} datasets have no new pages: {first.dataset}: {first.cause}", first.remedy
        )
