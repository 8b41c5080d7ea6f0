"""`d4c archive`: compare the archive with the ledger and resolve differences. `upkeep` does the work."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from d4c_pipeline.commands.common import AsJson, Debug, Defs, Home, out, print_json, print_table, read_settings
from d4c_pipeline.model.errors import IntegrityError, NeedsPersonError

archive_app = typer.Typer(no_args_is_help=True, help="Compare the archive with the ledger and resolve differences.")


@archive_app.command()
def drafts(home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List drafts that no release owns, and deposits without progress for a day."""
    from d4c_pipeline.upkeep import inventory
    from d4c_pipeline.workspace.deployment import Deployment

    with Deployment.open(read_settings(home, None, debug)) as deployment:
        found = inventory.drafts(deployment)
    orphans = [asdict(draft) for draft in found.orphans]
    hanging = [
        {
            "release": each.release.name,
            "state": each.deposit.state.value,
            "record_id": each.deposit.record_id,
            "doi": each.deposit.doi,
            "since": each.deposit.updated_at.isoformat(timespec="seconds") if each.deposit.updated_at else None,
        }
        for each in found.hanging
    ]
    if as_json:
        print_json({"orphans": orphans, "hanging": hanging})
        return
    out.print(f"Orphaned drafts: {len(orphans)}", style="bold")
    if orphans:
        print_table(orphans, ("record_id", "identifier", "doi", "url"))
        out.print("Check each draft at the archive; publish or delete it there.")
    out.print(f"Deposits without progress for a day: {len(hanging)}", style="bold")
    if hanging:
        print_table(hanging, ("release", "state", "record_id", "doi", "since"))
        out.print("'d4c publish' of the dataset and vintage resumes each deposit.")


@archive_app.command()
def verify(
    doi: Annotated[str, typer.Argument(help="DOI of a published release.")],
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare the files of a published record with the ledger, by name, size and md5."""
    from d4c_pipeline.upkeep import inventory
    from d4c_pipeline.workspace.deployment import Deployment

    with Deployment.open(read_settings(home, None, debug)) as deployment:
        files = inventory.verify(deployment, doi)
    rows = [asdict(file) for file in files]
    if as_json:
        print_json({"doi": doi, "files": rows})
    else:
        print_table(rows, ("name", "state", "detail"))
    wrong = [f"{file.name} is {file.state}" for file in files if file.state != "same"]
    if wrong:
        raise IntegrityError(
            f"The record of {doi} differs from the ledger: {'; '.join(wrong)}", "Ask the archive's managers"
        )


@archive_app.command()
def dois(home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Check whether every published DOI is registered at the resolver."""
    from d4c_pipeline.upkeep.registration import check_registrations
    from d4c_pipeline.workspace.deployment import Deployment

    with Deployment.open(read_settings(home, None, debug)) as deployment:
        found = check_registrations(deployment)
    rows = [asdict(each) for each in found]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ("release", "doi", "registered"))
    missing = [each.doi for each in found if not each.registered]
    if missing:
        raise NeedsPersonError(
            f"Published but not registered yet: {', '.join(missing)}",
            "Wait a day; then ask the archive's managers to register them again",
        )


@archive_app.command()
def adopt(
    dataset: Annotated[str, typer.Argument(help="Id of a dataset, as 'd4c datasets' lists it.")],
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Adopt published releases of a dataset that the ledger does not have."""
    from d4c_pipeline.upkeep.recovery import adopt as adopt_all
    from d4c_pipeline.workspace.datasets import load_datasets, pick
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    known = pick(load_datasets(settings.definitions), dataset)
    with Deployment.open(settings) as deployment:
        rows = [asdict(each) for each in adopt_all(deployment, known)]
    if as_json:
        print_json(rows)
        return
    print_table(rows, ("release", "doi"))
    out.print(f"Adopted: {len(rows)}. 'd4c publish {dataset}' continues from there.", style="bold")


@archive_app.command()
def edits(
    release: Annotated[str, typer.Argument(help="Name of a planned release.")],
    keep: Annotated[str | None, typer.Option("--keep", help="Version to keep: archive or ours.")] = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List edits of a release's draft at the archive, or resolve conflicting edits."""
    from d4c_pipeline.review.decisions import planned_release
    from d4c_pipeline.upkeep import recovery
    from d4c_pipeline.workspace.deployment import Deployment

    with Deployment.open(read_settings(home, None, debug)) as deployment:
        planned = planned_release(deployment, release)
        if keep is not None:
            recovery.decide(deployment, planned, keep)
        rows = [{"field": name} for name in recovery.edits(deployment, planned)]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ("field",))


@archive_app.command()
def restart(
    release: Annotated[str, typer.Argument(help="Name of a planned release.")],
    home: Home = None,
    debug: Debug = False,
) -> None:
    """Delete the draft of a planned release, so that the next run opens another (after a raised quota, for example)."""
    from d4c_pipeline.review.decisions import planned_release
    from d4c_pipeline.upkeep import recovery
    from d4c_pipeline.workspace.deployment import Deployment

    with Deployment.open(read_settings(home, None, debug)) as deployment:
        planned = planned_release(deployment, release)
        recovery.restart(deployment, planned)
    out.print(f"'d4c publish {planned.dataset} --vintage {planned.vintage}' continues with a new draft.")


@archive_app.command()
def forget(
    dataset: Annotated[str, typer.Argument(help="Id of a dataset.")],
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Delete records from the ledger that a test archive lost (a reset sandbox)."""
    from d4c_pipeline.upkeep import recovery
    from d4c_pipeline.workspace.deployment import Deployment

    with Deployment.open(read_settings(home, None, debug)) as deployment:
        rows = [{"doi": doi} for doi in recovery.forget_lost(deployment, dataset)]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ("doi",))
