"""Once a day: the mirrors hold what the datasets want there, and no more. An asset of its own, after the catalogue.

What is pruned, pushed or held back is decided in `upkeep.retention`; a run that takes its time (a new mirror is filled)
must not keep the catalogue waiting. Concept: https://docs.dagster.io/guides/build/assets
"""

from collections.abc import Sequence

import dagster as dg

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.orchestration.assets import CATALOGUE_KEY
from d4c_pipeline.orchestration.daily.schedule import daily
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.upkeep import retention
from d4c_pipeline.upkeep.retention import RetentionAction

RETENTION_KEY = dg.AssetKey(["retention"])
CHECK_NAME = "as_wanted"


def retention_asset(datasets: Sequence[Dataset], families: Sequence[Family]) -> dg.AssetsDefinition:
    """Return the asset: what the mirrors hold, with a check that warns of what could not be done."""

    @dg.asset(
        key=RETENTION_KEY,
        deps=[CATALOGUE_KEY],
        description="Prunes from the mirrors what `publication.retention` no longer wants there, and pushes what it "
        "does. The primary store and the archive keep everything.",
        group_name="catalogue",
        check_specs=[
            dg.AssetCheckSpec(
                CHECK_NAME,
                asset=RETENTION_KEY,
                description="Every mirror holds what is wanted there: a warning names what was held back, and why.",
            )
        ],
    )
    def asset(context: dg.AssetExecutionContext, deployment: DeploymentResource) -> dg.MaterializeResult:
        attempt = context.op_execution_context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            done = retention.apply(opened, datasets, families)
        refused = [one for one in done if one.action in retention.REFUSED]
        return dg.MaterializeResult(
            metadata={
                "pruned": sum(one.action == "pruned" for one in done),
                "pushed": sum(one.action == "pushed" for one in done),
                "freed": sum(one.size for one in done if one.action == "pruned"),
                "done": _listed(done),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=CHECK_NAME,
                    passed=not refused,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={
                        "refused": _listed(refused),
                        "remedy": "Reach the mirror, or restore what is missing; the next run goes on"
                        if refused
                        else "none needed",
                    },
                )
            ],
        )

    return asset


def _listed(done: Sequence[RetentionAction]) -> dg.MetadataValue:
    lines = [
        f"- {one.release} on {one.mirror}: {one.action}, {one.files} files{f', {one.reason}' if one.reason else ''}"
        for one in done
    ]
    return dg.MetadataValue.md("\n".join(lines) or "nothing")


RETENTION_JOB = dg.define_asset_job(
    "keep_mirrors",
    selection=dg.AssetSelection.assets(RETENTION_KEY),
    description="Has every mirror hold the releases that its datasets want there.",
)
RETENTION_SCHEDULE = daily(RETENTION_JOB, "15 4 * * *", "Every night.")
