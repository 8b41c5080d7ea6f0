"""Once a day: do all web seeds still serve the bytes of their torrents? A check of the catalogue, which spans it all.

Torrents whose addresses changed are issued again and the catalogue follows; what is tried and written belongs to
`upkeep.reissue`. Concept: https://docs.dagster.io/guides/test/asset-checks
"""

from collections.abc import Sequence

import dagster as dg

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.orchestration.assets import CATALOGUE_KEY
from d4c_pipeline.orchestration.daily.schedule import daily
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.upkeep.reissue import follow_copies

CHECK_NAME = "torrents_current"
_JOB_NAME = "reissue_torrents"
_SHOWN = 50


def torrents_check(datasets: Sequence[Dataset]) -> dg.AssetChecksDefinition:
    """Return the check: it warns of addresses that were left out of a torrent or are kept on trust."""

    @dg.asset_check(
        asset=CATALOGUE_KEY,
        name=CHECK_NAME,
        description="Every address in every torrent serves its bytes. Tried once a day; torrents are issued again.",
    )
    def check(context: dg.AssetCheckExecutionContext, deployment: DeploymentResource) -> dg.AssetCheckResult:
        attempt = context.op_execution_context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            done = follow_copies(opened, datasets)
        remarks = [f"{one.artifact}: {remark}" for one in done for remark in one.remarks]
        remarks += [f"{one.artifact}: no address serves it" for one in done if not one.torrent.web_seeds]
        return dg.AssetCheckResult(
            passed=not remarks,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "torrents": len(done),
                "issued_again": sum(one.changed for one in done),
                "wrong": dg.MetadataValue.md("\n".join(f"- {remark}" for remark in remarks[:_SHOWN]) or "none"),
                "remedy": "Look at the server behind the address; once it serves the file again, this puts it back"
                if remarks
                else "none needed",
            },
        )

    return check


REISSUE_JOB = dg.define_asset_job(
    _JOB_NAME,
    selection=dg.AssetSelection.checks(dg.AssetCheckKey(CATALOGUE_KEY, CHECK_NAME)),
    description="Tries every web seed and issues torrents again where the addresses that serve them changed.",
)
REISSUE_SCHEDULE = daily(REISSUE_JOB, "45 5 * * *", "Every morning.")
