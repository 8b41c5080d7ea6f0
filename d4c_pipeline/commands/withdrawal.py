"""`d4c withdraw` and `d4c reinstate`: published releases that readers should not use.

`upkeep.withdrawal` does the work.
"""

from __future__ import annotations

from typing import Annotated

import typer

from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Defs,
    Home,
    Who,
    person,
    print_facts,
    print_json,
    read_settings,
)

Name = Annotated[str, typer.Argument(help="Name of the release, as 'd4c releases' prints it.")]


def withdraw(
    release: Name,
    reason: Annotated[str, typer.Option("--reason", help="Public reason, shown to every reader.")],
    who: Who = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Withdraw a published release: readers see the reason, its files stay."""
    _decide(release, reason, who, read=(home, defs, debug), as_json=as_json, withdrawing=True)


def reinstate(
    release: Name,
    reason: Annotated[str, typer.Option("--reason", help="Reason why the release stands again.")],
    who: Who = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Reverse the withdrawal of a release."""
    _decide(release, reason, who, read=(home, defs, debug), as_json=as_json, withdrawing=False)


def _decide(
    release: str,
    reason: str,
    who: str | None,
    *,
    read: tuple[Home, Defs, Debug],
    as_json: bool,
    withdrawing: bool,
) -> None:
    from d4c_pipeline.upkeep import withdrawal
    from d4c_pipeline.workspace.datasets import load_datasets
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(*read)
    declared = tuple(load_datasets(settings.definitions).values())
    decide = withdrawal.withdraw if withdrawing else withdrawal.reinstate
    with Deployment.open(settings, archive=False) as deployment:
        found = withdrawal.published_release(deployment, release)
        done = decide(deployment, found, declared, who=person(who), reason=reason)
    withdrawn = done.release.withdrawn
    facts = {
        "release": done.release.name,
        "state": "withdrawn" if withdrawn else "published",
        "reason": withdrawn.reason if withdrawn else None,
        "serving": done.serving.name if done.serving else None,
        "latest_url": done.url,
        "changed": done.changed,
    }
    if as_json:
        print_json(facts)
    else:
        shown = facts | {"serving": facts["serving"] or "none: readers get 410 with the reason"}
        print_facts({name: value for name, value in shown.items() if value is not None})
