"""Publishing a vintage in this process: the very assets that the UI runs, in one run that the UI shows as well.

The output of the command line belongs to `commands.publish`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any

import dagster as dg

from d4c_pipeline.chain.latest import latest_address_of, newest_release
from d4c_pipeline.chain.run import AFTER_APPROVAL, FIRST_STEP, PLANNING_STEP
from d4c_pipeline.ledger.leases import is_gone, this_process
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, NeedsPersonError, PermanentError, UnknownNameError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.release import Release
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.orchestration.assets import BY_COMMAND_LINE, REVIEWED, catalogue_asset, chain_assets
from d4c_pipeline.orchestration.instance import embedded_instance
from d4c_pipeline.orchestration.products import Product, of_dataset, of_family, product_of
from d4c_pipeline.orchestration.resources import PROCESS, DeploymentResource, ProcessingDuckDB
from d4c_pipeline.review.decisions import approval
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.watch import families
from d4c_pipeline.watch.vintages import served
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.reports import describe_catalogue, describe_release


class RunFailedError(D4CError):
    """A step of the run failed; the message is the step's own."""


def choose_vintage(settings: Settings, dataset: Dataset, wanted: str | None) -> Vintage:
    """Return the vintage to publish: the one asked for, or the newest that is declared or discovered at the source.

    Raises UnknownNameError for one that is neither declared nor discovered nor retained already, and what the
    source raises.
    """
    return _chosen(settings, dataset, wanted)[0]


def _chosen(settings: Settings, dataset: Dataset, wanted: str | None) -> tuple[Vintage, list[str]]:
    """The vintage to publish, and what the source says of it that is not believed."""
    fixed = dataset.fixed_vintages
    if fixed is not None:
        return (dataset.vintage(wanted) if wanted is not None else fixed[-1]), []
    with Deployment.open(settings) as deployment:
        if wanted is not None and Vintage.parse(wanted) in deployment.ledger.natives.vintages(dataset.id):
            return Vintage.parse(wanted), []
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
    """Materialize the whole chain of a vintage and the catalogue, and describe the release that came of it.

    `wanted` is the vintage, None for the newest. The answer has the keys of `workspace.reports` and an `outcome`:
    `published` for a new release, `unchanged` when the published one is still right. Raises RunFailedError with cause
    and remedy of the step that failed, AwaitingReviewError when the release waits for a person.
    """
    vintage, said = _chosen(settings, dataset, wanted)
    with Deployment.open(settings) as deployment:
        published = deployment.ledger.releases.published(dataset.id)
    again = f"d4c publish {dataset.id} --vintage {vintage}"
    warnings = _materialize(
        settings, of_dataset(dataset), str(vintage), declared, again, at_least=at_least, debug=debug
    )
    with Deployment.open(settings) as deployment:
        vintage = deployment.ledger.natives.held_by(dataset.id, vintage)
        return _describe(deployment, dataset, vintage, _newest_of(published, vintage), said + warnings)


def publish_approved(
    settings: Settings, dataset: Dataset, vintage: Vintage, declared: list[Dataset], families_of: list[Family]
) -> dict[str, Any]:
    """Publish the planned release of a vintage that a person approved, and describe it as `publish_vintage` does.

    Nothing is fetched or built again: what was approved is published, or nothing. `families_of` are all families, one
    of which the dataset may be a member of. Raises PermanentError for a member that was fetched anew meanwhile.
    """
    product, unit = product_of(dataset, vintage, families_of)
    again = f"d4c publish {dataset.id} --vintage {vintage}"
    if unit.listed_as is not None:
        again = f"d4c publish {product.id} --member {unit.partition.key}"
        with Deployment.open(settings) as deployment:
            in_hand = families.vintage_in_hand(deployment, dataset)
        if in_hand != vintage:
            raise PermanentError(
                f"{dataset.id} was fetched again since: its vintage is {in_hand} by now, not {vintage}",
                f"Publish that one: {again}",
            )
    warnings = _materialize(settings, product, unit.partition.key, declared, again, first=AFTER_APPROVAL[0])
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
    """Materialize the whole chain of a member of a family in its present vintage, and the catalogue.

    The answer and the errors are those of `publish_vintage`; UnknownNameError for a key that the source does not list.
    """
    with Deployment.open(settings) as deployment:
        if deployment.ledger.members.of(family.id, key) is None:
            families.discover(deployment, family)
        dataset = families.member(deployment, family, key)
        published = deployment.ledger.releases.published(dataset.id)
    again = f"d4c publish {family.id} --member {key}"
    warnings = _materialize(settings, of_family(family), key, declared, again, at_least=at_least, debug=debug)
    with Deployment.open(settings) as deployment:
        vintage = families.vintage_in_hand(deployment, dataset)
        return _describe(deployment, dataset, vintage, _newest_of(published, vintage), warnings)


def _newest_of(published: Iterable[Release], vintage: Vintage) -> Release | None:
    return max((one for one in published if one.vintage == vintage), key=lambda one: one.version, default=None)


def _describe(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, before: Release | None, warnings: list[str]
) -> dict[str, Any]:
    """Describe what is published of a vintage. Raises AwaitingReviewError when its release waits for a person."""
    planned = deployment.ledger.releases.planned(dataset.id, vintage)
    if planned is not None:
        approval(deployment, dataset, planned)()
    release = deployment.ledger.releases.newest_published(dataset.id, vintage)
    serving = newest_release(deployment, dataset, vintage)
    if planned is not None or release is None or serving is None:
        raise NeedsPersonError(f"The run ended well but published nothing of {dataset.id} {vintage}", "Report this bug")
    return {
        **describe_release(deployment, release),
        "outcome": "unchanged" if before is not None and before.id == release.id else "published",
        "latest_url": deployment.primary.url(latest_address_of(dataset, serving)),
        "catalogue": describe_catalogue(deployment)["path"],
        "warnings": warnings,
    }


def _materialize(
    settings: Settings,
    product: Product,
    key: str,
    declared: list[Dataset],
    again: str,
    *,
    at_least: str = "NONE",
    first: str = FIRST_STEP,
    debug: bool = False,
) -> list[str]:
    """Materialize the chain of a partition from the step `first` on, and the catalogue, in process.

    That is on the embedded instance, so that the UI of the same home shows the run. `again` is the command that goes
    on after a failure. Returns what the checks that stop nothing warn of. Raises RunFailedError with cause and remedy
    of the step that failed.
    """
    # Nobody gives the slot of a pool back when this process is killed: the next run would wait for it, silently.
    assets = chain_assets(product, pooled=False)
    catalogue = catalogue_asset([assets[-1].key], declared)
    names = [asset.key.path[-1] for asset in assets]
    chosen = [*assets[names.index(first) :], catalogue]
    planning = assets[names.index(PLANNING_STEP)]
    # Dagster prints a page of log per step to stderr; whoever publishes by hand wants one line.
    level = "DEBUG" if debug else "CRITICAL"
    logging.getLogger("dagster").setLevel(level)
    with embedded_instance(settings) as instance:
        _end_killed_runs(instance)
        if product.partitions_name is not None:
            instance.add_dynamic_partitions(product.partitions_name, [key])
        run = dg.materialize(
            chosen,
            instance=instance,
            partition_key=key,
            resources={
                "deployment": DeploymentResource.of(settings, retries=False),
                "duckdb": ProcessingDuckDB(),
            },
            run_config={
                "loggers": {"console": {"config": {"log_level": level}}},
                "ops": {planning.op.name: {"config": {"at_least": at_least}}} if planning in chosen else {},
            },
            raise_on_error=False,
            tags={**BY_COMMAND_LINE, PROCESS: this_process()},
        )
    if not run.success:
        raise _explanation(run, f"run '{again}' again: it goes on from there")
    # That a release waits for a person is told as an error of its own; examples are for the UI, which has room.
    return [
        f"{event.check_name} of {'/'.join(event.asset_key.path)}: "
        + "; ".join(f"{name} {value.value}" for name, value in event.metadata.items() if name != "examples")
        for event in run.get_asset_check_evaluations()
        if not event.passed and event.severity is dg.AssetCheckSeverity.WARN and event.check_name != REVIEWED
    ]


def _end_killed_runs(instance: dg.DagsterInstance) -> None:
    """End the runs of commands that were killed: they would stand as running, and take up the queue, for ever."""
    unfinished = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    for run in instance.get_runs(dg.RunsFilter(tags=BY_COMMAND_LINE, statuses=unfinished)):
        if is_gone(run.tags.get(PROCESS, "")):
            instance.report_run_canceled(run, message="The process of this run was killed.")


def _explanation(run: dg.ExecuteInProcessResult, again: str) -> D4CError:
    # A step whose check blocks is a failed step as well, of an exception that explains nothing.
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
    return NeedsPersonError(f"The run {run.run_id} failed without saying why", "Look at it in the UI ('make ui')")


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
    """Append how to run again, in place of a "run again" that the remedy ends with."""
    first = re.sub(r"(,? (then|and) run again|^Run again)$", "", remedy)
    return f"{first}; then {again}" if first else f"{again[:1].upper()}{again[1:]}"


def _text(metadata: Any, key: str) -> str:
    value = metadata.get(key)
    return str(value.value) if value is not None else ""
