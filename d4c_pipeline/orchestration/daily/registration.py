"""The daily check `dois_registered` of the asset `health`: every published DOI is registered with its agency.

Publication succeeds while the DOI agency is down, so the check runs later. `upkeep.registration` does the work.
Concept: https://docs.dagster.io/guides/test/asset-checks
"""

import dagster as dg

from d4c_pipeline.orchestration.daily.health import HEALTH_KEY
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.launching import launch
from d4c_pipeline.orchestration.metadata import of_findings
from d4c_pipeline.orchestration.resources import DeploymentResource

CHECK_NAME = "dois_registered"


def registration_check() -> dg.AssetChecksDefinition:
    """Return the check; it warns of published DOIs that are not registered yet."""

    @dg.asset_check(
        asset=HEALTH_KEY,
        name=CHECK_NAME,
        description="Every published DOI is registered, so that it resolves. Runs daily.",
    )
    def check(context: dg.AssetCheckExecutionContext, deployment: DeploymentResource) -> dg.AssetCheckResult:
        from d4c_pipeline.upkeep.registration import check_registrations  # noqa: PLC0415

        attempt = context.op_execution_context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            found = check_registrations(opened)
        missing = [registration for registration in found if not registration.registered]
        return dg.AssetCheckResult(
            passed=not missing,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "checked": len(found),
                **of_findings(
                    [f"{entry.doi} ({entry.release})" for entry in missing],
                    expected="every published DOI is registered with its agency",
                    actual=f"{len(missing)} of {len(found)} are not",
                    remedy="Wait a day and check again, then ask the archive's managers to register them",
                    launch=launch("check_health"),
                ),
            },
        )

    return check
