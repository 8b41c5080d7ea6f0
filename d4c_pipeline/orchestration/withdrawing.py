"""The job `withdraw`: a person withdraws a published release in the UI, or reverses that.

`upkeep.withdrawal` does the work; the command line calls it without a job.
"""

from collections.abc import Sequence
from enum import Enum

import dagster as dg
from pydantic import Field

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.products import product_of
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.orchestration.reviewing import decider
from d4c_pipeline.watch.families import known_datasets
from d4c_pipeline.workspace.datasets import pick

WITHDRAW_JOB = "withdraw"


class WithdrawalDecision(Enum):
    """The decisions on a published release."""

    withdraw = "withdraw"
    reinstate = "reinstate"


class WithdrawalConfig(dg.Config):
    """The decision on a published release and its reason. The sign-in to the UI names the person who decides."""

    release: str = Field(description="Name of the published release, as 'd4c releases' prints it.")
    reason: str = Field(description="Reason. That of a withdrawal is public: every reader sees it.")
    decision: WithdrawalDecision = Field(
        default=WithdrawalDecision.withdraw, description="withdraw, or reinstate to reverse a withdrawal."
    )
    who: str = Field(
        default="", description="Person on whose behalf the signed-in user decides. Both names are recorded."
    )


def withdraw_job(datasets: Sequence[Dataset], families: Sequence[Family]) -> dg.JobDefinition:
    """Return the job over all `datasets` and all members of `families`."""
    defined = {dataset.id: dataset for dataset in datasets}

    @dg.op(
        name="decide_on_published",
        description="Records the decision, then updates `/processed/`, torrents, catalogue and portal.",
    )
    def decide(context: dg.OpExecutionContext, config: WithdrawalConfig, deployment: DeploymentResource) -> None:
        from d4c_pipeline.upkeep import withdrawal  # noqa: PLC0415

        attempt = context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            who = decider(context.run, config.who)
            release = withdrawal.published_release(opened, config.release)
            apply = withdrawal.withdraw if config.decision is WithdrawalDecision.withdraw else withdrawal.reinstate
            done = apply(opened, release, datasets, who=who, reason=config.reason)
            dataset = pick(known_datasets(opened, defined, families), release.dataset)
            product, unit = product_of(dataset, release.vintage, families)
        # The UI shows the decision on the asset that serves readers.
        context.log_event(
            dg.AssetMaterialization(
                dg.AssetKey([product.id, "latest"]),
                description=f"{config.decision.value}: {config.reason}",
                partition=unit.partition.key,
                metadata={
                    "release": release.name,
                    "decision": config.decision.value,
                    "decided_by": who,
                    "reason": config.reason,
                    "serving": done.serving.name if done.serving else "none",
                    "url": dg.MetadataValue.url(done.url),
                },
            )
        )

    @dg.job(name=WITHDRAW_JOB, description="Withdraws a published release, or reverses a withdrawal. The files stay.")
    def job() -> None:
        decide()

    return job
