"""The daily check `torrents_current` of the asset `health`: every web seed serves the bytes of its torrent.

The check reissues torrents whose web seeds changed and rebuilds the catalogue; `upkeep.reissue` does the work.
Concept: https://docs.dagster.io/guides/test/asset-checks
"""

from collections.abc import Sequence

import dagster as dg

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.orchestration.daily.health import HEALTH_KEY
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.launching import launch
from d4c_pipeline.orchestration.metadata import of_findings
from d4c_pipeline.orchestration.resources import DeploymentResource

CHECK_NAME = "torrents_current"


def torrents_check(datasets: Sequence[Dataset]) -> dg.AssetChecksDefinition:
    """Return the check; it warns of web seeds that were removed or did not answer."""

    @dg.asset_check(
        asset=HEALTH_KEY,
        name=CHECK_NAME,
        description="Every web seed of every torrent serves its bytes. Runs daily and reissues torrents.",
    )
    def check(context: dg.AssetCheckExecutionContext, deployment: DeploymentResource) -> dg.AssetCheckResult:
        from d4c_pipeline.upkeep.reissue import follow_copies  # noqa: PLC0415

        attempt = context.op_execution_context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            done = follow_copies(opened, datasets)
        remarks = [f"{result.artifact}: {remark}" for result in done for remark in result.remarks]
        remarks += [f"{result.artifact}: no address serves it" for result in done if not result.torrent.web_seeds]
        return dg.AssetCheckResult(
            passed=not remarks,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "torrents": len(done),
                "reissued": sum(result.changed for result in done),
                **of_findings(
                    remarks,
                    expected="every web seed serves the bytes of its torrent",
                    actual=f"{len(remarks)} problems in {len(done)} torrents",
                    remedy="Check the server at the address; the check adds it again once it serves the file",
                    launch=launch("check_health"),
                ),
            },
        )

    return check
