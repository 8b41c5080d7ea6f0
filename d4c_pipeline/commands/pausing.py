"""`d4c pause` and `d4c resume`: whether anything is requested from a source. `watch.pauses` does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Defs,
    Home,
    Who,
    out,
    person,
    print_json,
    read_settings,
)

if TYPE_CHECKING:
    from d4c_pipeline.model.settings import Settings

Subject = Annotated[str, typer.Argument(help="Id of a dataset or family.")]


def pause(
    dataset: Subject,
    reason: Annotated[str, typer.Option("--reason", help="Why nothing is requested from the source.")],
    who: Who = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Pause a source: sensors and fetches request nothing from it."""
    from d4c_pipeline.watch import pauses
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    _require(dataset, settings)
    with Deployment.open(settings, archive=False) as deployment:
        pauses.pause(deployment, dataset, who=person(who), reason=reason)
        paused = deployment.ledger.pauses.of(dataset)
    if as_json:
        print_json({"dataset": dataset, "paused": True, "reason": reason})
    else:
        out.print(str(paused), markup=False)


def resume(
    dataset: Subject,
    who: Who = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """End the pause of a source."""
    from d4c_pipeline.watch import pauses
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    with Deployment.open(settings, archive=False) as deployment:
        ended = pauses.resume(deployment, dataset, who=person(who))
        if not ended:
            _require(dataset, settings)
    if as_json:
        print_json({"dataset": dataset, "paused": False, "changed": ended})
    else:
        out.print(f"The source of {dataset} {'is no longer' if ended else 'was not'} paused", markup=False)


def _require(name: str, settings: Settings) -> None:
    """Raise UnknownNameError for a name that is neither a dataset nor a family."""
    from d4c_pipeline.workspace.datasets import load_datasets, load_families, unknown_id

    known = {**load_datasets(settings.definitions), **load_families(settings.definitions)}
    if name not in known:
        raise unknown_id(known, name)
