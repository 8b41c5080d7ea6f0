"""The daily check `places_agree` of the asset `health`: every place has what the ledger states, and nothing else.

`upkeep.reconciliation` finds the differences; `d4c reconcile` prints the same.
Concept: https://docs.dagster.io/guides/test/asset-checks
"""

import dagster as dg

from d4c_pipeline.orchestration.daily.health import HEALTH_KEY
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.launching import launch
from d4c_pipeline.orchestration.metadata import of_findings
from d4c_pipeline.orchestration.resources import DeploymentResource

CHECK_NAME = "places_agree"


def reconciliation_check() -> dg.AssetChecksDefinition:
    """Return the check; it warns of the differences, with the command for each. Notes alone do not fail it."""

    @dg.asset_check(
        asset=HEALTH_KEY,
        name=CHECK_NAME,
        description="Every file and fact of the ledger is in the stores, the archive, the catalogue, the torrents and "
        "the portal, and nothing else is. Runs daily.",
    )
    def check(context: dg.AssetCheckExecutionContext, deployment: DeploymentResource) -> dg.AssetCheckResult:
        from d4c_pipeline.upkeep.reconciliation import reconcile  # noqa: PLC0415

        attempt = context.op_execution_context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            found = reconcile(opened)
        return dg.AssetCheckResult(
            passed=all(each.kind.is_note for each in found),
            severity=dg.AssetCheckSeverity.WARN,
            metadata=of_findings(
                [f"{each.kind.value}: {each.subject}: {each.detail}. {each.command}" for each in found],
                expected="every place agrees with the ledger",
                actual=f"{len(found)} differences",
                remedy="Run the command of each difference, in this order; 'd4c reconcile' lists all of them",
                launch=launch("check_health"),
            ),
        )

    return check
