"""The asset `health`: the state of the collection in numbers, once a day, with the daily checks attached.

An asset of its own, because a run of an asset runs the checks attached to it: on the catalogue they would test every
web seed again after each release. The checks are in `registration`, `reconciliation`,
`standing_failures` and `torrents`.
Concept: https://docs.dagster.io/guides/test/asset-checks
"""

import dagster as dg

from d4c_pipeline.orchestration.daily.schedule import daily
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.workspace.reports import collection_numbers

HEALTH_KEY = dg.AssetKey(["health"])


def health_asset() -> dg.AssetsDefinition:
    """Return the asset; Dagster plots its numbers over time."""

    @dg.asset(
        key=HEALTH_KEY,
        description="The state of the collection in numbers: releases, bytes, failures, pending reviews. Its checks "
        "test DOIs, web seeds, failed partitions and whether all places agree, once a day.",
        group_name="catalogue",
    )
    def asset(context: dg.AssetExecutionContext, deployment: DeploymentResource) -> dg.MaterializeResult:
        attempt = context.op_execution_context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            return dg.MaterializeResult(metadata=dict(collection_numbers(opened)))

    return asset


HEALTH_JOB = dg.define_asset_job(
    "check_health",
    selection=dg.AssetSelection.assets(HEALTH_KEY),
    description="Tests every DOI not yet registered and every web seed, reissues torrents whose seeds changed, "
    "lists failed partitions, and compares stores, archive, catalogue, torrents and portal with the ledger.",
)
HEALTH_SCHEDULE = daily(HEALTH_JOB, "30 5 * * *", "Daily at 05:30 UTC.")
