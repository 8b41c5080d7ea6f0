"""Publication of a vintage in this process: the assets of the UI, in one run that the UI shows.

The output of the command line belongs to `commands.publish`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from d4c_pipeline.chain.latest import latest_address_of, newest_release
from d4c_pipeline.chain.run import AFTER_APPROVAL, FIRST_STEP, PLANNING_STEP
from d4c_pipeline.ledger.leases import this_process
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, NeedsPersonError, PermanentError, UnknownNameError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.release import PublishedRelease
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.orchestration.assets import REVIEWED, catalogue_asset, chain_assets, portal_asset
from d4c_pipeline.orchestration.dead_runs import end_dead_runs
from d4c_pipeline.orchestration.instance import embedded_instance
from d4c_pipeline.orchestration.jobs import publish_job
from d4c_pipeline.orchestration.metadata import OUTCOME
from d4c_pipeline.orchestration.products import Product, of_dataset, of_family, product_of
from d4c_pipeline.orchestration.resources import BY_COMMAND_LINE, PROCESS, DeploymentResource, ProcessingDuckDB
from d4c_pipeline.review.decisions import approval
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.watch import families
from d4c_pipeline.watch.pauses import refuse_paused
from d4c_pipeline.watch.vintages import served
from d4c_pipeline.workspace.deployment import Deployment, opened_ledger
from d4c_pipeline.workspace.reports import describe_catalogue, describe_release

_FOR_UI = frozenset({"examples", "command", "launch", "override", OUTCOME, "rows"})
"""Metadata of checks that only the UI shows: long, plotted, or links into it."""


class RunFailedError(D4CError):
    """A step of the run failed; the message is the step's own."""


def choose_vintage(settings: Settings, dataset: Dataset, wanted: str | None) -> Vintage:
    """Return the vintage to publish: `wanted`, else the newest declared or discovered vintage.

    Raises UnknownNameError for a vintage neither declared, discovered nor retained, and what the source raises.
    """
    return _chosen(settings, dataset, wanted)[0]


def _chosen(settings: Settings, dataset: Dataset, wanted: str | None) -> tuple[Vintage, list[str]]:
    """The vintage to publish, and warnings about implausible claims of the source."""
    fixed = dataset.fixed_vintages
    if fixed is not None:
        return (dataset.vintage(wanted) if wanted is not None else fixed[-1]), []
    with Deployment.open(settings) as deployment:
        if wanted is not None and Vintage.parse(wanted) in deployment.ledger.natives.vintages(dataset.id):
            return Vintage.parse(wanted), []
        refuse_paused(deployment, dataset.id)
        there = served(deployment, dataset, open_source(dataset, settings.origins))
    if wanted is None:
        return max(there.vintages), [f"source of {dataset.id}: {there.words}"] if there.words else []
    if Vintage.parse(wanted) not in there.vintages:
        served_now = f"It serves {', '.join(map(str, there.vintages))} now"
        raise UnknownNameError(
            f"The source of {dataset.id} has no vintage {wanted}",
            f"{served_now}: {there.words}" if there.words else served_now,
        )
    return Vintage.parse(wanted), []


def publish_vintage(
    settings: Settings,
    dataset: Dataset,
    wanted: str | None,
    declared: list[Dataset],
    *,
    at_least: str = "NONE",
    debug: bool = False,
) -> dict[str, Any]:
    """Materialize the chain of a vintage and the catalogue, and describe the resulting release.

    `wanted` is the vintage, None for the newest. The result has the keys of `workspace.reports` and an `outcome`:
    `published` for a new release, `unchanged` when the published release is up to date. Raises RunFailedError with
    cause and remedy of the step that failed, AwaitingReviewError when the release awaits review.
    """
    vintage, doubts = _chosen(settings, dataset, wanted)
    with Deployment.open(settings) as deployment:
        published = deployment.ledger.releases.published(dataset.id)
    again = f"d4c publish {dataset.id} --vintage {vintage}"
    warnings = materialize_chain(
        settings, of_dataset(dataset), str(vintage), declared, again, at_least=at_least, debug=debug
    )
    with Deployment.open(settings) as deployment:
        vintage = deployment.ledger.natives.held_by(dataset.id, vintage)
        return _describe(deployment, dataset, vintage, _newest_of(published, vintage), doubts + warnings)


def publish_approved(
    settings: Settings, dataset: Dataset, vintage: Vintage, declared: list[Dataset], families_of: list[Family]
) -> dict[str, Any]:
    """Publish an approved planned release, and describe it as `publish_vintage` does.

    Nothing is fetched or built again. `families_of`: all families; the dataset may be a member of one. Raises
    PermanentError for a member that was fetched again since the approval.
    """
    product, unit = product_of(dataset, vintage, families_of)
    again = f"d4c publish {dataset.id} --vintage {vintage}"
    if unit.listed_as is not None:
        again = f"d4c publish {product.id} --member {unit.partition.key}"
        with Deployment.open(settings) as deployment:
            in_hand = families.vintage_in_hand(deployment, dataset)
        if in_hand != vintage:
            raise PermanentError(
                f"{dataset.id} was fetched again since the approval: its vintage is {in_hand}, not {vintage}",
                f"Publish the present vintage: {again}",
            )
    warnings = materialize_chain(settings, product, unit.partition.key, declared, again, first=AFTER_APPROVAL[0])
    with Deployment.open(settings) as deployment:
        return _describe(deployment, dataset, vintage, None, warnings)


def publish_member(
    settings: Settings,
    family: Family,
    key: str,
    declared: list[Dataset],
    *,
    at_least: str = "NONE",
    debug: bool = False,
) -> dict[str, Any]:
    """Materialize the chain of a family's member in its present vintage, and the catalogue.

    Returns and raises the same as `publish_vintage`; UnknownNameError for a key that the source does not list.
    """
    with Deployment.open(settings) as deployment:
        if deployment.ledger.members.of(family.id, key) is None:
            families.discover(deployment, family)
        dataset = families.member(deployment, family, key)
        published = deployment.ledger.releases.published(dataset.id)
    again = f"d4c publish {family.id} --member {key}"
    warnings = materialize_chain(settings, of_family(family), key, declared, again, at_least=at_least, debug=debug)
    with Deployment.open(settings) as deployment:
        vintage = families.vintage_in_hand(deployment, dataset)
        return _describe(deployment, dataset, vintage, _newest_of(published, vintage), warnings)


def _newest_of(published: Iterable[PublishedRelease], vintage: Vintage) -> PublishedRelease | None:
    return max(
        (release for release in published if release.vintage == vintage),
        key=lambda release: release.version,
        default=None,
    )


def _describe(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, before: PublishedRelease | None, warnings: list[str]
) -> dict[str, Any]:
    """Describe the published release of a vintage. Raises AwaitingReviewError when a review is pending."""
    planned = deployment.ledger.releases.planned(dataset.id, vintage)
    if planned is not None:
        approval(deployment, dataset, planned)()
    release = deployment.ledger.releases.newest_published(dataset.id, vintage)
    serving = newest_release(deployment, dataset, vintage)
    if planned is not None or release is None or (serving is None and release.withdrawn is None):
        raise NeedsPersonError(f"The run succeeded but published nothing of {dataset.id} {vintage}", "Report this bug")
    return {
        **describe_release(deployment, release),
        "outcome": "unchanged" if before is not None and before.id == release.id else "published",
        "latest_url": deployment.primary.url(latest_address_of(dataset, serving)) if serving else None,
        "catalogue": describe_catalogue(deployment)["path"],
        "warnings": warnings,
    }


def materialize_chain(
    settings: Settings,
    product: Product,
    key: str,
    declared: list[Dataset],
    again: str,
    *,
    at_least: str = "NONE",
    first: str = FIRST_STEP,
    debug: bool = False,
    site: bool = True,
    tags: Mapping[str, str] | None = None,
) -> list[str]:
    """Materialize the chain of a partition from the step `first` on, the catalogue and the portal, in process.

    The run uses the embedded instance, so that the UI of the home shows it. `again` is the command that continues after
    a failure. `site`: whether catalogue and portal follow. `tags`: further tags of the run. Returns the warnings of
    checks. Raises RunFailedError with cause and remedy of the step that failed.
    """
    # A killed process never releases its pool slot: the next run would wait for it silently.
    assets = chain_assets(product, pooled=False)
    names = [asset.key.path[-1] for asset in assets]
    following = [catalogue_asset([assets[-1].key], declared), portal_asset(declared)] if site else []
    chosen = [*assets[names.index(first) :], *following]
    planning = assets[names.index(PLANNING_STEP)]
    # Dagster logs a page per step to stderr; the command line prints one line.
    level = "DEBUG" if debug else "CRITICAL"
    logging.getLogger("dagster").setLevel(level)
    with embedded_instance(settings) as instance:
        with opened_ledger(settings) as ledger:
            end_dead_runs(instance, ledger)
        if product.partitions_name is not None:
            instance.add_dynamic_partitions(product.partitions_name, [key])
        resources = {
            "deployment": DeploymentResource.of(settings, product.id, retries=False),
            "duckdb": ProcessingDuckDB(),
        }
        run = publish_job(product, chosen, resources).execute_in_process(
            instance=instance,
            partition_key=key,
            run_config={
                "loggers": {"console": {"config": {"log_level": level}}},
                "ops": {planning.op.name: {"config": {"at_least": at_least}}} if planning in chosen else {},
            },
            raise_on_error=False,
            tags={**BY_COMMAND_LINE, PROCESS: this_process(), **(tags or {})},
        )
    if not run.success:
        raise _explanation(run, f"run '{again}' again: it continues from there")
    # A pending review raises an error of its own; examples are for the UI, which has room.
    return [
        f"{event.check_name} of {'/'.join(event.asset_key.path)}: "
        + "; ".join(f"{name} {value.value}" for name, value in event.metadata.items() if name not in _FOR_UI)
        for event in run.get_asset_check_evaluations()
        if not event.passed and event.severity is dg.AssetCheckSeverity.WARN and event.check_name != REVIEWED
    ]


def _explanation(run: dg.ExecuteInProcessResult, again: str) -> D4CError:
    # A blocking check fails its step as well, with an exception that explains nothing.
    failed = [
        event
        for event in run.get_asset_check_evaluations()
        if not event.passed and event.blocking and event.severity is dg.AssetCheckSeverity.ERROR
    ]
    if failed:
        return _failed_checks(failed, again)
    for event in run.filter_events(lambda event: event.is_step_failure):
        data: Any = event.event_specific_data
        if data.user_failure_data is not None:
            metadata = data.user_failure_data.metadata
            return RunFailedError(_text(metadata, "cause"), _with(_text(metadata, "remedy"), again))
        error = data.error.cause or data.error
        return NeedsPersonError(
            f"The step {event.step_key} stopped on a bug: {' '.join(error.message.split())}",
            "Run again with --debug for the traceback and report it",
        )
    return NeedsPersonError(f"The run {run.run_id} failed without a reason", "Open it in the UI ('make ui')")


def _failed_checks(failed: list[dg.AssetCheckEvaluation], again: str) -> RunFailedError:
    remedies = "; ".join(dict.fromkeys(_text(event.metadata, "remedy") for event in failed))
    return RunFailedError(
        "; ".join(
            f"The check {event.check_name} of {'/'.join(event.asset_key.path)} failed: expected"
            f" {_text(event.metadata, 'expected')}, found {_text(event.metadata, 'actual')}"
            for event in failed
        ),
        _with(remedies, again),
    )


def _with(remedy: str, again: str) -> str:
    """Append the command, in place of a final "run again" of the remedy."""
    first = re.sub(r"(,? (then|and) run again|^Run again)$", "", remedy)
    return f"{first}; then {again}" if first else f"{again[:1].upper()}{again[1:]}"


def _text(metadata: Any, key: str) -> str:
    value = metadata.get(key)
    return str(value.value) if value is not None else ""
