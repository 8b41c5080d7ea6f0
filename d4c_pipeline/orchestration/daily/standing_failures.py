"""Standing failures: the daily check that lists them with their remedies, and the sensor that records dead runs.

Steps record their own failures (`watch.failures`); a killed process can't. Retries belong to `failures.py`.
Concept: https://docs.dagster.io/guides/test/asset-checks
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from d4c_pipeline.chain.run import STEPS
from d4c_pipeline.orchestration.daily.health import HEALTH_KEY
from d4c_pipeline.orchestration.resources import PARTITION, DeploymentResource
from d4c_pipeline.watch.failures import RUN_DIED, describe_failures

CHECK = "nothing_stays_failed"
_MOST_SHOWN = 200
_LAUNCH = "[needs_attention](/assets/needs_attention) has the launch of each"


def failures_definitions(products: Sequence[str]) -> dg.Definitions:
    """The check over all datasets and families with these ids, and the sensor of dead runs."""
    return dg.Definitions(asset_checks=[_check(products)], sensors=[_runs_that_died(products)])


def _check(products: Sequence[str]) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=HEALTH_KEY,
        name=CHECK,
        description="No partition remains failed. A warning lists each failed partition with its recovery command.",
    )
    def check(deployment: DeploymentResource) -> dg.AssetCheckResult:
        with deployment.opened() as opened:
            standing = describe_failures(opened, products)
        shown = ("dataset", "partition", "step", "since", "times", "cause", "remedy", "command")
        return dg.AssetCheckResult(
            passed=not standing,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{len(standing)} failed partitions" if standing else "No failed partitions",
            metadata={
                "expected": "no partition stays failed",
                "actual": f"{len(standing)} failed partitions",
                "failed": len(standing),
                **({"launch": dg.MetadataValue.md(_LAUNCH)} if standing else {}),
                "failures": dg.MetadataValue.table(
                    [dg.TableRecord({name: row[name] for name in shown}) for row in standing[:_MOST_SHOWN]],
                    schema=dg.TableSchema(
                        columns=[dg.TableColumn(name, "int" if name == "times" else "string") for name in shown]
                    ),
                ),
            },
        )

    return check


def _runs_that_died(products: Sequence[str]) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name="runs_that_died",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Records the failure of a run whose process was killed. Steps record other failures.",
    )
    def remember(context: dg.RunFailureSensorContext, deployment: DeploymentResource) -> dg.SkipReason:
        run = context.dagster_run
        partition = run.tags.get(PARTITION)
        steps = {
            step.step_key: step.status.value if step.status else None
            for step in context.instance.get_run_step_stats(run.run_id)
        }
        if partition is None or "FAILURE" in steps.values():
            return dg.SkipReason("A failed step recorded the failure")
        planned = [key for key in _planned(context) if key.path[0] in products and len(key.path) == 2]
        left = [key for key in planned if steps.get("__".join(key.path)) != "SUCCESS"]
        if not left:
            return dg.SkipReason("Every planned asset was materialized")
        product, step = min(left, key=lambda key: list(STEPS).index(key.path[1])).path
        with deployment.opened() as opened:
            opened.ledger.failures.record(
                product,
                partition,
                step,
                kind=RUN_DIED,
                transient=True,
                cause=f"The run died at '{step}': {context.failure_event.message or 'killed'}".rstrip("."),
                remedy="If it happens again, check memory and disk space",
                run=run.run_id,
            )
        return dg.SkipReason(f"Recorded {product} {partition}")

    return remember


def _planned(context: dg.RunFailureSensorContext) -> list[dg.AssetKey]:
    """The assets planned by a run."""
    events = context.instance.get_records_for_run(
        context.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    )
    return [
        record.event_log_entry.dagster_event.asset_key
        for record in events.records
        if record.event_log_entry.dagster_event is not None
        and record.event_log_entry.dagster_event.asset_key is not None
    ]
