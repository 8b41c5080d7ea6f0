"""The sensor that publishes changes: it starts one run of `publish_<id>` for each reported change of a source.

`noticing.py` reports changes as data versions of the asset `source`; this module starts the runs.
Concept: https://docs.dagster.io/guides/automate/sensors
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import dagster as dg
from dagster._core.storage.tags import RUN_KEY_TAG

from d4c_pipeline.ledger.noticing import Observation
from d4c_pipeline.orchestration.products import Product
from d4c_pipeline.orchestration.resources import DATASET, PUBLISH, SOURCE_VERSION, DeploymentResource
from d4c_pipeline.orchestration.sensors.noticing import busy, reported_versions
from d4c_pipeline.watch.noticing import named

_RUNS_AT_ONCE = 100  # Dagster creates the runs of a tick one by one


def changes_are_published(products: Collection[Product], jobs: Iterable[dg.JobDefinition]) -> dg.SensorDefinition:
    """Return the sensor over all products; `jobs` are their `publish_<id>`. Started by default.

    A run key names the product, the partition and the reported version, whose number grows with each report of the same
    change: a run is requested once per report, whenever the daemon is killed, and again when a failed one is reported
    again. An idle tick makes one query of the ledger.
    """
    by_id = {product.id: product for product in products}

    @dg.sensor(
        name="changes_are_published",
        jobs=list(jobs),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Publishes each partition whose source has a reported change: one run per partition. Does nothing "
        "until an observation reports a change.",
    )
    def publish(context: dg.SensorEvaluationContext, deployment: DeploymentResource) -> dg.SensorResult:
        with deployment.opened() as opened:
            observations = opened.ledger.observations
            due = {
                name: observations.due(name, fetched_before=by_id[name].new_partitions_wait)
                for name in observations.subjects_due()
                if name in by_id
            }
        requests = [
            request
            for name, partitions in due.items()
            for request in _requests(context.instance, by_id[name], partitions)
        ][:_RUNS_AT_ONCE]
        if not requests:
            waiting = sum(map(len, due.values()))
            return dg.SensorResult(
                skip_reason=f"{waiting} changed partitions have their run or wait to be reported"
                if waiting
                else "No source has changed"
            )
        started = named([f"{(each.tags or {})[DATASET]} {each.partition_key}" for each in requests])
        context.log.info("Publishing %s", started)
        return dg.SensorResult(run_requests=requests)

    return publish


def _requests(
    instance: dg.DagsterInstance, product: Product, due: Mapping[str, Observation]
) -> Sequence[dg.RunRequest]:
    """Return a request for each due partition that was reported, has no run for that report and none in progress."""
    reported = reported_versions(instance, product, due)
    keys = {f"{product.id}/{partition}/{version}": partition for partition, version in reported.items()}
    if not keys:
        return []
    requested = {run.tags[RUN_KEY_TAG] for run in instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: list(keys)}))}
    new = {key: partition for key, partition in keys.items() if key not in requested}
    unfinished = busy(instance, product, list(new.values())) if new else frozenset()
    return [
        dg.RunRequest(
            run_key=key,
            job_name=PUBLISH + product.id,
            partition_key=partition,
            tags={DATASET: product.id, SOURCE_VERSION: reported[partition]},
        )
        for key, partition in new.items()
        if partition not in unfinished
    ]
