"""`d4c backup`, `d4c restore` and `d4c reconcile`: recovery after a disaster."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Home,
    out,
    print_facts,
    print_json,
    print_table,
    read_settings,
)

if TYPE_CHECKING:
    from d4c_pipeline.upkeep.reconciliation import Differing


def backup(
    file: Annotated[Path, typer.Argument(help="The new file, such as d4c-2027-03-31.tar.gz.")],
    with_secrets: Annotated[bool, typer.Option("--with-secrets", help="Include tokens and passwords.")] = False,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Back up ledger, settings and keys into one file, which only you can read; a running platform goes on."""
    from d4c_pipeline.upkeep.backup import back_up

    contents = back_up(read_settings(home, None, debug), file.absolute(), os.environ, with_secrets=with_secrets)
    size = file.stat().st_size
    if as_json:
        print_json({**asdict(contents), "file": str(file), "size": size})
        return
    print_facts(
        {
            "file": file,
            "size": f"{size:,} bytes",
            "ledger": f"revision {contents.revision}, {sum(contents.rows.values()):,} rows",
            "files": ", ".join(each.name for each in contents.files),
            "left out": ", ".join(contents.omitted) or "nothing",
        }
    )
    out.print("The file holds private keys: keep it away from this machine, encrypted.")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that 'd4c backup' wrote.")],
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Restore a backup into an empty home, then compare archive, stores and catalogue with the ledger."""
    from d4c_pipeline.upkeep.reconciliation import reconcile as compared
    from d4c_pipeline.upkeep.restore import restore as restored
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, None, debug)
    begun = time.monotonic()
    done = restored(settings, file.absolute(), os.environ)
    with Deployment.open(settings) as deployment:
        differences = compared(deployment)
    facts: dict[str, Any] = {
        "home": str(settings.home),
        "made_at": done.contents.made_at,
        "releases": done.contents.rows.get("release", 0),
        "seconds": round(time.monotonic() - begun, 2),
        "unset": dict(done.unset),
        "omitted": list(done.contents.omitted),
        "differences": [asdict(each) for each in differences],
    }
    if as_json:
        print_json(facts)
        return
    print_facts({name: facts[name] for name in ("home", "made_at", "releases", "seconds")})
    for name, value in done.unset.items():
        out.print(f"Set {name}={value}, as in {settings.home / 'settings.env'}", markup=False)
    if done.contents.omitted:
        out.print(f"Set the secrets that the backup leaves out: {', '.join(done.contents.omitted)}", markup=False)
    _show(differences)


def reconcile(
    set_aside: Annotated[
        str | None,
        typer.Option(
            "--set-aside", metavar="STORE", help="Move the files that the ledger does not know to quarantine."
        ),
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare archive, stores, catalogue, torrents and portal with the ledger; the command for each difference."""
    from d4c_pipeline.model.errors import UnknownNameError
    from d4c_pipeline.upkeep.extra_files import set_aside as moved
    from d4c_pipeline.upkeep.reconciliation import reconcile as compared
    from d4c_pipeline.workspace.deployment import Deployment

    with Deployment.open(read_settings(home, None, debug)) as deployment:
        if set_aside is not None:
            stores = {store.name: store for store in deployment.stores}
            if set_aside not in stores:
                raise UnknownNameError(f"No store is named '{set_aside}'", f"There are: {', '.join(stores)}")
            paths = moved(deployment, stores[set_aside])
            if as_json:
                print_json({"set_aside": paths})
            else:
                for path in paths:
                    out.print(path, markup=False)
                out.print(f"{len(paths)} files moved to the quarantine of {set_aside}", markup=False)
            return
        differences = compared(deployment)
    if as_json:
        print_json([asdict(each) for each in differences])
    else:
        _show(differences)
    if differences:
        raise typer.Exit(1)


def _show(differences: Sequence[Differing]) -> None:
    if differences:
        print_table([asdict(each) for each in differences], ("kind", "subject", "detail", "command"))
    out.print(
        f"{len(differences)} differences"
        if differences
        else "Archive, stores, catalogue, torrents and portal agree with the ledger"
    )
