"""`d4c seed`, `d4c keys` and `d4c torrents`: BitTorrent. `upkeep` and `torrents` do the work."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Defs,
    Home,
    end_by_interrupt,
    out,
    print_facts,
    print_json,
    print_table,
    read_settings,
    report,
)
from d4c_pipeline.model.errors import PermanentError, UnknownNameError

if TYPE_CHECKING:
    from d4c_pipeline.torrents.seeding_status import SeederStatus

torrents_app = typer.Typer(no_args_is_help=True, help="Verify and reissue torrents.")


def seed(
    catalogue: Annotated[str | None, typer.Option(help="Address of a stac.parquet, to seed without a ledger.")] = None,
    from_key: Annotated[
        str | None, typer.Option(help="Public key of the operator, to find the catalogue in the DHT.")
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch everything [D4C_SEED_FETCH].")] = False,
    dataset: Annotated[
        list[str] | None, typer.Option(help="Fetch only this dataset, repeatable [D4C_SEED_DATASETS].")
    ] = None,
    budget: Annotated[
        str, typer.Option(help="Fetch at most this amount, rarest files first: 500GB [D4C_SEED_BUDGET].")
    ] = "",
    folder: Annotated[Path | None, typer.Option(help="Folder of fetched files; by default in the home.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Show the status of this home's seeder.")] = False,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Seed the published files over BitTorrent."""
    from d4c_pipeline.model.seeding import SeedingSettings, byte_count
    from d4c_pipeline.torrents.operator_key import public_key
    from d4c_pipeline.torrents.seeding_status import read_status
    from d4c_pipeline.upkeep.seedable import Downloads
    from d4c_pipeline.upkeep.seeding import opened_source
    from d4c_pipeline.upkeep.seeding import seed as seeding

    settings = read_settings(home, None, debug)
    place = folder.expanduser().absolute() if folder else settings.home / "seeding"
    if status:
        _print_status(read_status(place), as_json=as_json)
        return
    if catalogue and from_key:
        raise PermanentError("Both a catalogue and a key are given", "Give only one of them")
    seeding_settings = SeedingSettings.from_environment()
    if fetch or dataset or budget:
        given = {
            "fetch_everything": fetch,
            "fetch_datasets": frozenset(dataset or ()),
            "fetch_budget": byte_count(budget),
        }
        seeding_settings = seeding_settings.model_copy(update=given)
    public = public_key(from_key) if from_key else None
    end_by_interrupt()
    try:
        with (
            closing(Downloads(place)) as downloads,
            opened_source(settings, seeding_settings, place, downloads, catalogue=catalogue, public=public) as source,
        ):
            seeding(source, seeding_settings, place, downloads, stopped=lambda: False, on_refresh=_report_progress)
    except KeyboardInterrupt:
        return  # the normal end of this service


def keys(
    make: Annotated[bool, typer.Option("--make", help="Create a key if none exists.")] = False,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show the operator's public key for 'd4c seed --from-key'."""
    from d4c_pipeline.model.seeding import SeedingSettings
    from d4c_pipeline.torrents.dht_pointer import link
    from d4c_pipeline.torrents.operator_key import make_key, read_key
    from d4c_pipeline.upkeep.seeding import key_place

    settings = read_settings(home, None, debug)
    path = SeedingSettings.from_environment().key_file or key_place(settings)
    if not make and not path.is_file():
        raise UnknownNameError(f"No key at {path}", "Create one with 'd4c keys --make', or set D4C_OPERATOR_KEY")
    key = make_key(path) if make else read_key(path)
    facts = {"public_key": key.public_text, "link": link(key.public), "file": str(path)}
    if as_json:
        print_json(facts)
    else:
        print_facts(
            {"public key": key.public_text, "link for other clients": facts["link"], "private key file": facts["file"]}
        )


@torrents_app.command()
def reissue(
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Verify all web seeds and reissue torrents whose addresses changed."""
    from d4c_pipeline.upkeep.reissue import follow_copies
    from d4c_pipeline.workspace.datasets import load_datasets
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    with Deployment.open(settings, archive=False) as deployment:
        done = follow_copies(deployment, list(load_datasets(settings.definitions).values()))
    rows = [
        {
            "torrent": result.artifact,
            "info_hash": result.torrent.info_hash,
            "web_seeds": list(result.torrent.web_seeds),
            "added": list(result.added),
            "removed": list(result.removed),
            "remarks": list(result.remarks),
            "changed": result.changed,
        }
        for result in done
    ]
    if as_json:
        print_json(rows)
        return
    out.print(f"{sum(result.changed for result in done)} of {len(done)} torrents reissued.")
    for row in rows:
        for word in ("added", "removed", "remarks"):
            for line in row[word]:
                out.print(f"{row['torrent']}: {'' if word == 'remarks' else f'{word} '}{line}", markup=False)


def _report_progress(status: SeederStatus) -> None:
    states = [torrent.state for torrent in status.torrents]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"
    report(f"{status.updated_at} {status.offered} offered; torrents: {counted}")
    for words in filter(None, (status.problem, status.deaf)):
        report(f"{status.updated_at} {words}")


def _print_status(status: SeederStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(status) | {"uploaded": status.uploaded, "downloaded": status.downloaded})
        return
    print_facts(
        {
            "since": status.started_at,
            "updated": status.updated_at,
            "ports": ", ".join(map(str, status.listens)) or "none",
            "DHT nodes": status.dht_nodes,
            "offered": status.offered,
            "uploaded": f"{status.uploaded:,} bytes",
            "downloaded": f"{status.downloaded:,} bytes",
            "catalogue": status.pointer or "no pointer",
            "problem": "; ".join(filter(None, (status.problem, status.deaf))) or "none",
        }
    )
    rows = [asdict(torrent) | {"torrent": torrent.name} for torrent in status.torrents]
    print_table(rows, ("torrent", "state", "size", "done", "uploaded", "peers", "problem"))
