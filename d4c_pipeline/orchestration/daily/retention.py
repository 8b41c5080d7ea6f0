"""The asset `retention` and its check: once a day, push missing releases to the mirrors and prune old ones.

A separate asset downstream of the catalogue: filling a new mirror takes long and must not delay the catalogue.
`upkeep.retention` decides the actions. Concept: https://docs.dagster.io/guides/build/assets
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.orchestration.assets import CATALOGUE_KEY
from d4c_pipeline.orchestration.daily.schedule import daily
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.launching import launch
from d4c_pipeline.orchestration.metadata import of_findings
from d4c_pipeline.orchestration.resources import DeploymentResource

if TYPE_CHECKING:
    from d4c_pipeline.upkeep.retention import RetentionAction

RETENTION_KEY = dg.AssetKey(["retention"])
CHECK_NAME = "as_wanted"


def retention_asset(datasets: Sequence[Dataset], families: Sequence[Family]) -> dg.AssetsDefinition:
    """Return the asset, with a check that warns of actions that failed."""

    @dg.asset(
        key=RETENTION_KEY,
        deps=[CATALOGUE_KEY],
        description="Pushes missing releases to each mirror and prunes those past `publication.retention`. The primary "
        "store and the archive keep everything.",
        group_name="catalogue",
        check_specs=[
            dg.AssetCheckSpec(
                CHECK_NAME,
                asset=RETENTION_KEY,
                description="Every mirror holds its retained releases. A warning lists each failed action.",
            )
        ],
    )
    def asset(context: dg.AssetExecutionContext, deployment: DeploymentResource) -> dg.MaterializeResult:
        from d4c_pipeline.upkeep import retention  # noqa: PLC0415

        attempt = context.op_execution_context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            done = retention.apply(opened, datasets, families)
        refused = [action for action in done if action.action in retention.REFUSED]
        return dg.MaterializeResult(
            metadata={
                "pruned": sum(action.action == "pruned" for action in done),
                "pushed": sum(action.action == "pushed" for action in done),
                "freed": sum(action.size for action in done if action.action == "pruned"),
                "actions": _listed(done),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=CHECK_NAME,
                    passed=not refused,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata=of_findings(
                        [_line(action) for action in refused],
                        expected="every mirror holds its retained releases and no others",
                        actual=f"{len(refused)} of {len(done)} actions failed",
                        remedy="Restore the connection to the mirror or the missing files; the next run continues",
                        launch=launch("keep_mirrors"),
                    ),
                )
            ],
        )

    return asset


def _listed(done: "Sequence[RetentionAction]") -> dg.MetadataValue:
    return dg.MetadataValue.md("\n".join(f"- {_line(action)}" for action in done) or "none")


def _line(action: "RetentionAction") -> str:
    reason = f", {action.reason}" if action.reason else ""
    return f"{action.release} on {action.mirror}: {action.action}, {action.files} files{reason}"


RETENTION_JOB = dg.define_asset_job(
    "keep_mirrors",
    selection=dg.AssetSelection.assets(RETENTION_KEY),
    description="Pushes missing releases to each mirror and prunes those past their retention.",
)
RETENTION_SCHEDULE = daily(RETENTION_JOB, "15 4 * * *", "Daily at 04:15 UTC.")
