"""The job `review`: a person approves or rejects a release in the UI; an approval publishes it.

`review.decisions` records decisions; the command line calls it without a job.
"""

from collections.abc import Sequence
from enum import Enum
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from d4c_pipeline.chain import run
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.family import Family
from d4c_pipeline.orchestration.assets import Result, step_presentations
from d4c_pipeline.orchestration.choosing import ReleaseConfig, picked, with_dataset
from d4c_pipeline.orchestration.failures import as_dagster_failure, tries_again
from d4c_pipeline.orchestration.instance import system_user
from d4c_pipeline.orchestration.products import product_of
from d4c_pipeline.orchestration.resources import SIGNED_IN_TAG, DeploymentResource
from d4c_pipeline.review import decisions
from d4c_pipeline.watch.families import known_datasets
from d4c_pipeline.workspace.datasets import pick

REVIEW_JOB = "review"


class Decision(Enum):
    """The decisions of a review."""

    approve = "approve"
    reject = "reject"


class ReviewConfig(ReleaseConfig):
    """The decision on a release and its reason. The sign-in to the UI names the reviewer."""

    decision: Decision = Field(description="approve or reject.")
    who: str = Field(
        default="", description="Person on whose behalf the signed-in user decides. Both names are recorded."
    )
    reason: str = Field(description="Reason of the approval or rejection, such as what was compared with the source.")
    publish: bool = Field(default=True, description="Publish an approved release in this run.")


def decider(run: dg.DagsterRun, behalf: str) -> str:
    """Return the reviewer: the user signed in to the UI, or the system's user for a run in this process.

    Raises PermanentError when the run was launched from a UI without a signed-in user.
    """
    who = run.tags.get(SIGNED_IN_TAG)
    if who is None and run.remote_job_origin is None:
        who = system_user()
    if who is None:
        raise PermanentError(
            "Nobody signed in to the UI that launched this run, so the decision has no reviewer",
            "Use 'd4c review', or the UI as 'd4c ui' starts it",
        )
    behalf = behalf.strip()
    return who if behalf in ("", who) else f"{who} on behalf of {behalf}"


def _event(
    result: Result, asset: dg.AssetKey, partition: str, *, approved_by: str
) -> dg.AssetMaterialization | dg.AssetCheckEvaluation:
    metadata: dict[str, Any] = {**(result.metadata or {}), "approved_by": approved_by}
    if isinstance(result, dg.MaterializeResult):
        return dg.AssetMaterialization(asset, partition=partition, metadata=metadata)
    return dg.AssetCheckEvaluation(
        asset_key=asset,
        check_name=str(result.check_name),
        passed=result.passed,
        severity=result.severity,
        metadata=metadata,
        partition=partition,
    )


def review_job(datasets: Sequence[Dataset], families: Sequence[Family]) -> dg.JobDefinition:
    """Return the job over all `datasets` and all members of `families`."""
    defined = {dataset.id: dataset for dataset in datasets}
    config_of_review = with_dataset(ReviewConfig, [*datasets, *families])

    @dg.op(description="Records the decision. Publishes an approved release, abandons a rejected one.", pool="archive")
    def decide(
        context: dg.OpExecutionContext,
        config: config_of_review,  # pyright: ignore[reportInvalidTypeForm] - Dagster reads it
        deployment: DeploymentResource,
    ) -> None:
        chosen: Any = config
        attempt = context.retry_number + 1
        with (
            as_dagster_failure(retries=deployment.retries, attempt=attempt),
            deployment.opened() as opened,
        ):
            who = decider(context.run, chosen.who)
            release = (
                decisions.planned_release(opened, chosen.release)
                if chosen.release
                else picked(chosen, decisions.waiting(opened), families, what="awaits review")
            )
            dataset = pick(known_datasets(opened, defined, families), release.dataset)
            if chosen.decision is Decision.reject:
                decisions.reject(opened, release, who=who, reason=chosen.reason)
                return
            if not chosen.reason.strip():
                raise PermanentError("An approval needs a reason", "State in `reason` what was looked at")
            decisions.approve(opened, release, who=who, reason=chosen.reason)
            if not chosen.publish:
                return
            product, unit = product_of(dataset, release.vintage, families)
            for name in run.AFTER_APPROVAL:
                done = run.run(
                    opened,
                    unit.partition,
                    name,
                    lambda: unit,
                    by=context.run.run_id,
                    passing=partial(tries_again, retries=deployment.retries, attempt=attempt),
                )
                key = unit.partition.key
                for result in step_presentations(product)[name].results(done, product.command(key)):
                    # The UI shows the events as if the asset had run, and the catalogue follows.
                    event: Any = _event(result, dg.AssetKey([product.id, name]), key, approved_by=who)
                    context.log_event(event)  # Dagster's type omits check evaluations, which it accepts

    @dg.job(name=REVIEW_JOB, description="Approves or rejects a release that awaits review.")
    def job() -> None:
        decide()

    return job
