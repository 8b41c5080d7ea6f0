"""Noticing changes at sources: an observed asset per product, a discovery sensor and an observation sensor.

Neither sensor starts a run: discovery adds partitions, observation reports data versions, and the sensor in
`publishing.py` starts runs. `watch.noticing` decides what to report.
Concept: https://docs.dagster.io/guides/automate/sensors
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import dagster as dg

from d4c_pipeline.ledger.leases import is_gone
from d4c_pipeline.ledger.noticing import Observation
from d4c_pipeline.model.errors import TransientError
from d4c_pipeline.orchestration.products import SOURCE, Product, source_words
from d4c_pipeline.orchestration.resources import PARTITION, PROCESS, PUBLISH, DeploymentResource
from d4c_pipeline.watch import noticing
from d4c_pipeline.watch.failures import DISCOVER, OBSERVE
from d4c_pipeline.workspace.deployment import Deployment

# https://docs.dagster.io/guides/build/assets/asset-versioning-and-caching
_DATA_VERSION = "dagster/data_version"
_UNFINISHED = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_REPORTS_AT_ONCE = 200  # Dagster stores the events of a tick one by one
_HOUR = timedelta(hours=1)  # a source that was down is checked again on the same day
_LONGEST_INTERVAL = 600  # seconds: an unfinished round continues in the next tick


def source_asset(product: Product) -> dg.AssetsDefinition | dg.SourceAsset:
    """The source as an asset upstream of the chain, observed by its sensor or by hand ("Observe" in the UI)."""

    def observe(context: dg.OpExecutionContext) -> dg.DataVersionsByPartition:
        deployment: DeploymentResource = context.resources.deployment
        with deployment.opened() as opened:
            found = product.observe(opened, _known(product, context.instance), None)
            context.log.info(found.words)
            due = reports(context.instance, opened, product, found.current)
        with _calm():
            return dg.DataVersionsByPartition({key: version for key, (version, _) in due.items()})

    with _calm():
        return dg.observable_source_asset(
            key=dg.AssetKey([product.id, SOURCE]),
            description="The data as its publisher serves it. It is observed, never changed; each data version is one "
            f"state of the source.\n\n**{product.title.en}** / {product.title.fr}",
            group_name=product.id,
            partitions_def=product.partitions,
            required_resource_keys={"deployment"},
            metadata={"source": source_words(product.sample)},
            tags={"d4c/step": SOURCE, "d4c/series": product.sample.series, "dagster/kind/source": ""},
        )(observe)


@contextmanager
def _calm() -> Iterator[None]:
    """Silence Dagster's warning, one per asset, that observable assets are beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        yield


def sensors_of(product: Product) -> list[dg.SensorDefinition]:
    """The observation sensor, and the discovery sensor if the product has dynamic partitions."""
    observation = _observation_sensor(product)
    return [observation] if product.partitions_name is None else [_discovery_sensor(product), observation]


def _discovery_sensor(product: Product) -> dg.SensorDefinition:
    every = timedelta(hours=product.noticing.discover_hours)

    @dg.sensor(
        name=f"discover_{product.id}",
        minimum_interval_seconds=round(min(every, _HOUR).total_seconds()),
        default_status=_status(product),
        description=f"Lists the partitions of '{product.title.en}' at the source every"
        f" {product.noticing.discover_hours:g} hours and adds new ones. Never removes a partition. Refuses an empty or"
        " shrunken listing.",
    )
    def discover(context: dg.SensorEvaluationContext, deployment: DeploymentResource) -> dg.SensorResult:
        with deployment.opened() as opened:
            listing = opened.ledger.listings.of(product.id)
            if listing is not None and datetime.now(UTC) - listing.listed_at < every:
                # Listed recently, by this sensor or a command; the partitions may still be missing.
                listed: Sequence[str] = listing.entries
            else:
                try:
                    listed = product.discover(opened)
                except TransientError as error:  # recorded; a failed tick is for errors that need a person
                    return dg.SensorResult(skip_reason=f"Source unreachable: {error}")
        known = _known(product, context.instance)
        new = [key for key in listed if key not in known]
        count = f"The source lists {len(listed)}"
        if not new or product.partitions_name is None:
            return dg.SensorResult(skip_reason=f"{count}, all known")
        return dg.SensorResult(
            skip_reason=f"Added {len(new)} partitions: {noticing.named(new)}. {count}",
            dynamic_partitions_requests=[dg.AddDynamicPartitionsRequest(product.partitions_name, new)],
        )

    return discover


def _observation_sensor(product: Product) -> dg.SensorDefinition:
    every = product.noticing.observe_hours

    @dg.sensor(
        name=f"observe_{product.id}",
        minimum_interval_seconds=round(min(every * 3600, _LONGEST_INTERVAL)),
        default_status=_status(product),
        description=f"Checks the source of '{product.title.en}' for changes every {every:g} hours. Reports each change"
        " as a new data version of the asset 'source', which 'changes_are_published' publishes. Reset the cursor to"
        " check at once.",
    )
    def observe(context: dg.SensorEvaluationContext, deployment: DeploymentResource) -> dg.SensorResult:
        with deployment.opened() as opened:
            try:
                found = product.observe(opened, _known(product, context.instance), context.cursor)
            except TransientError as error:
                return dg.SensorResult(skip_reason=f"Source unreachable: {error}", cursor=context.cursor)
            due = reports(context.instance, opened, product, found.current)
        # Dagster calls every tick without a run "skipped": the text begins with what the tick did.
        reported = f"Reported {len(due)} changes: {noticing.named(due)}. " if due else ""
        return dg.SensorResult(
            skip_reason=f"{reported}{found.words}",
            cursor=found.cursor,
            asset_events=[
                dg.AssetObservation(
                    asset_key=dg.AssetKey([product.id, SOURCE]),
                    partition=key,
                    metadata=_words(version, observation),
                    tags={_DATA_VERSION: version},
                )
                for key, (version, observation) in due.items()
            ],
        )

    return observe


def reports(
    instance: dg.DagsterInstance, deployment: Deployment, product: Product, current: Collection[str]
) -> Mapping[str, tuple[str, Observation]]:
    """Return the observations to report now: partition -> data version and the ledger's observation.

    A partition with an unfinished run waits for a later tick, so that a run for an earlier change never counts for this
    one. Earlier reports are read from Dagster's event log: a tick killed before its events were stored is repeated, one
    killed afterwards reports nothing twice.
    """
    due = {
        key: observation
        for key, observation in deployment.ledger.observations.due(
            product.id, fetched_before=product.new_partitions_wait
        ).items()
        if key in current
    }
    if not due:
        return {}
    hopeless = {
        failed.partition
        for failed in deployment.ledger.failures.standing(product.id)
        if not failed.transient and failed.step not in (DISCOVER, OBSERVE)
    }
    key = dg.AssetKey([product.id, SOURCE])
    versions = reported_versions(instance, product, due)
    unfinished = busy(instance, product, due)
    found: dict[str, tuple[str, Observation]] = {}
    for partition, observation in due.items():
        if partition in unfinished:
            continue
        version = noticing.report(
            observation,
            versions.get(partition),
            hopeless=partition in hopeless,
            reported_at=lambda partition=partition: _reported_at(instance, key, partition),
        )
        if version is not None:
            found[partition] = (version, observation)
            if len(found) == _REPORTS_AT_ONCE:
                break
    return found


def reported_versions(instance: dg.DagsterInstance, product: Product, partitions: Collection[str]) -> Mapping[str, str]:
    """Return the data version of the last report of each of `partitions` that was reported."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey([product.id, SOURCE]),
        dg.DagsterEventType.ASSET_OBSERVATION,
        tag_keys=[_DATA_VERSION],
        asset_partitions=list(partitions),
    )
    return {partition: found[_DATA_VERSION] for partition, found in tags.items() if _DATA_VERSION in found}


def busy(instance: dg.DagsterInstance, product: Product, partitions: Collection[str]) -> frozenset[str]:
    """Return those of `partitions` with an unfinished run of this product."""
    job = PUBLISH + product.id
    unfinished = instance.get_runs(dg.RunsFilter(tags={PARTITION: list(partitions)}, statuses=[*_UNFINISHED]))
    return frozenset(
        run.tags[PARTITION]
        for run in unfinished
        if (run.job_name == job or not run.job_name.startswith(PUBLISH))
        and (run.asset_selection is None or any(key.path[0] == product.id for key in run.asset_selection))
        # A killed command leaves its run as started.
        and not is_gone(run.tags.get(PROCESS, ""))
    )


def _reported_at(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> datetime:
    latest = instance.fetch_observations(dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1)
    return datetime.fromtimestamp(latest.records[0].timestamp, UTC)


def _known(product: Product, instance: dg.DagsterInstance) -> frozenset[str]:
    return frozenset(product.partitions.get_partition_keys(dynamic_partitions_store=instance))


def _status(product: Product) -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if product.noticing.enabled else dg.DefaultSensorStatus.STOPPED


def _words(version: str, observation: Observation) -> dict[str, dg.MetadataValue]:
    number = version.partition(".")[2]
    if number:
        what = f"Reported again (attempt {number}): the chain did not finish"
    elif observation.settled is None:
        what = "Not published yet"
    else:
        what = "The source changed since the last publication"
    changed = observation.changed_at
    return {
        "reason": dg.MetadataValue.text(what),
        "seen": dg.MetadataValue.text(observation.seen or ""),
        "published from": dg.MetadataValue.text(observation.settled or "none"),
        **({"noticed": dg.MetadataValue.timestamp(changed)} if changed else {}),
    }
