"""Once a day: are the DOIs of everything published known to the world? A check of the catalogue, which spans it all.

Publication succeeds while the DOI agency is down; what is asked, and what is written down, belongs to
`upkeep.registration`. Concept: https://docs.dagster.io/guides/test/asset-checks
"""

import dagster as dg

from d4c_pipeline.orchestration.assets import CATALOGUE_KEY
from d4c_pipeline.orchestration.daily.schedule import daily
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.upkeep.registration import check_registrations

CHECK_NAME = "dois_registered"
_JOB_NAME = "check_dois"


def registration_check() -> dg.AssetChecksDefinition:
    """Return the check: it warns of DOIs that are published and not registered yet."""

    @dg.asset_check(
        asset=CATALOGUE_KEY,
        name=CHECK_NAME,
        description="Every DOI that was published is registered, so that it resolves. Asked once a day.",
    )
    def check(context: dg.AssetCheckExecutionContext, deployment: DeploymentResource) -> dg.AssetCheckResult:
        attempt = context.op_execution_context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            found = check_registrations(opened)
        missing = [one for one in found if not one.registered]
        return dg.AssetCheckResult(
            passed=not missing,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "asked": len(found),
                "missing": dg.MetadataValue.md("\n".join(f"- {one.doi} ({one.release})" for one in missing) or "none"),
                "remedy": "none needed"
                if not missing
                else "Wait a day; then ask the archive's managers to register them again",
            },
        )

    return check


REGISTRATION_JOB = dg.define_asset_job(
    _JOB_NAME,
    selection=dg.AssetSelection.checks(dg.AssetCheckKey(CATALOGUE_KEY, CHECK_NAME)),
    description="Asks the DOI resolver for every published DOI that is not known to be registered.",
)
REGISTRATION_SCHEDULE = daily(REGISTRATION_JOB, "30 5 * * *", "Every morning.")
