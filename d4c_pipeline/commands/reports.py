"""`d4c datasets`, `status`, `releases` and `settings`: reports that change nothing."""

from __future__ import annotations

from typing import Annotated, Any

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
from d4c_pipeline.model.secrets import sanitise


def datasets(home: Home = None, defs: Defs = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List all datasets with the completeness of their metadata, and check them against each other."""
    from d4c_pipeline.model.completeness import completeness_of
    from d4c_pipeline.workspace.datasets import load_datasets, load_definitions, load_families
    from d4c_pipeline.workspace.shared_names import shared_names

    settings = read_settings(home, defs, debug)
    rows = [
        {
            "dataset": dataset.id,
            "title": dataset.title.en,
            "titre": dataset.title.fr,
            "series": dataset.series,
            "vintages": dataset.vintages if dataset.vintages == "discovered" else list(dataset.vintages),
            "license": dataset.licence_words,
            "completeness": completeness_of(dataset).score,
            "folder": str(dataset.folder),
        }
        for dataset in load_datasets(settings.definitions).values()
    ] + [
        {
            "dataset": family.id,
            "title": family.title.en,
            "titre": family.title.fr,
            "series": family.sample.series,
            "vintages": "members",
            "license": family.sample.licence_words,
            "completeness": completeness_of(family.sample).score,
            "folder": str(family.folder),
        }
        for family in load_families(settings.definitions).values()
    ]
    if as_json:
        print_json(rows)
    else:
        shown = [
            {**row, "vintages": row["vintages"] if isinstance(row["vintages"], str) else ", ".join(row["vintages"])}
            for row in rows
        ]
        print_table(shown, ("dataset", "title", "vintages", "license", "completeness"))
    definitions = load_definitions(settings.definitions)
    for shared in shared_names(definitions.values()):
        raise shared.error(definitions)


def status(home: Home = None, defs: Defs = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show the state of every vintage of every dataset, and of every published or planned member of a family."""
    from d4c_pipeline.watch.families import known_datasets
    from d4c_pipeline.workspace.datasets import load_datasets, load_families
    from d4c_pipeline.workspace.deployment import Deployment
    from d4c_pipeline.workspace.reports import describe_vintages

    settings = read_settings(home, defs, debug)
    datasets, families = load_datasets(settings.definitions), load_families(settings.definitions).values()
    with Deployment.open(settings, archive=False) as deployment:
        known = known_datasets(deployment, datasets, families)
        ordered = [*datasets.values(), *(known[name] for name in sorted(known.keys() - datasets.keys()))]
        _print_releases(describe_vintages(deployment, ordered), as_json=as_json, columns=("dataset", "title"))


def releases(
    dataset: Annotated[str | None, typer.Argument(help="Only this dataset.")] = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List all releases, planned and published."""
    from d4c_pipeline.workspace.datasets import load_datasets, pick
    from d4c_pipeline.workspace.deployment import Deployment
    from d4c_pipeline.workspace.reports import describe_release

    settings = read_settings(home, defs, debug)
    with Deployment.open(settings, archive=False) as deployment:
        found = deployment.ledger.releases.living(dataset)
        if not found and dataset is not None:
            pick(load_datasets(settings.definitions), dataset)
        _print_releases([describe_release(deployment, release) for release in found], as_json=as_json)


def settings(home: Home = None, defs: Defs = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List every setting with its value, default and description; secrets are masked."""
    from dataclasses import asdict

    from d4c_pipeline.model.alerting import AlertSettings
    from d4c_pipeline.model.appraisal_settings import AppraisalSettings
    from d4c_pipeline.model.limits import Limits
    from d4c_pipeline.model.seeding import SeedingSettings
    from d4c_pipeline.model.service_access import ServiceAccess
    from d4c_pipeline.model.service_settings import JobSettings
    from d4c_pipeline.model.settings import ArchiveSecret, has_archive_token
    from d4c_pipeline.model.settings_table import present
    from d4c_pipeline.model.ui_access import UiAccess

    deployment, seeding = read_settings(home, defs, debug), SeedingSettings.from_environment()
    if not as_json:
        groups = (deployment, ArchiveSecret.from_environment(), Limits.from_environment(), seeding)
        kinds = (UiAccess, AlertSettings, AppraisalSettings, JobSettings, ServiceAccess)
        others = [each.from_environment() for each in kinds]
        rows = [setting._asdict() for group in (*groups, *others) for setting in present(group)]
        print_table(rows, ("variable", "value", "default", "unit", "description"))
        return
    values = {name: getattr(deployment, name) for name in type(deployment).model_fields}
    found = {
        name: sanitise(value) if isinstance(value, str) else value  # an address may hold a password
        for name, value in values.items()
    }
    found["stores"] = deployment.stores.model_dump(exclude_unset=True, mode="json")
    fetch = asdict(seeding.fetch) | {"datasets": sorted(seeding.fetch.datasets)}
    found["seeding"] = seeding.model_dump(exclude={"fetch_everything", "fetch_datasets", "fetch_budget"})
    found["seeding"]["fetch"] = fetch
    found["archive_token"] = has_archive_token()
    print_json(found)


def _print_releases(rows: list[dict[str, Any]], *, as_json: bool, columns: tuple[str, ...] = ("dataset",)) -> None:
    if as_json:
        print_json(rows)
        return
    shown = [{**row, "state": "withdrawn" if row.get("withdrawn") else row["state"]} for row in rows]
    print_table(shown, (*columns, "vintage", "version", "state", "rows", "size", "doi"))
