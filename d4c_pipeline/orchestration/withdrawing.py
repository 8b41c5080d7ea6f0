"""The job `withdraw`: a person withdraws a published release in the UI, or reverses that.

`upkeep.withdrawal` does the work; the command line calls it without a job.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.orchestration.choosing import ReleaseConfig, picked, with_dataset
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


class WithdrawalConfig(ReleaseConfig):
    """The decision on a published release and its reason. The sign-in to the UI names the person who decides."""

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
    config_of_withdrawal = with_dataset(WithdrawalConfig, [*datasets, *families])

    @dg.op(
        name="decide_on_published",
        description="Records the decision, then updates `/processed/`, torrents, catalogue and portal.",
    )
    def decide(
        context: dg.OpExecutionContext,
        config: config_of_withdrawal,  # pyright: ignore[reportInvalidTypeForm] - Dagster reads it
        deployment: DeploymentResource,
    ) -> None:
        from d4c_pipeline.upkeep import withdrawal  # noqa: PLC0415

        chosen: Any = config
        withdraws = chosen.decision is WithdrawalDecision.withdraw
        attempt = context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            who = decider(context.run, chosen.who)
            release = (
                withdrawal.published_release(opened, chosen.release)
                if chosen.release
                else picked(
                    chosen,
                    [each for each in opened.ledger.releases.published() if (each.withdrawn is None) == withdraws],
                    families,
                    what="is published" if withdraws else "is withdrawn",
                )
            )
            apply = withdrawal.withdraw if withdraws else withdrawal.reinstate
            done = apply(opened, release, datasets, who=who, reason=chosen.reason)
            dataset = pick(known_datasets(opened, defined, families), release.dataset)
            product, unit = product_of(dataset, release.vintage, families)
        # The UI shows the decision on the asset that serves readers.
        context.log_event(
            dg.AssetMaterialization(
                dg.AssetKey([product.id, "latest"]),
                description=f"{chosen.decision.value}: {chosen.reason}",
                partition=unit.partition.key,
                metadata={
                    "release": release.name,
                    "decision": chosen.decision.value,
                    "decided_by": who,
                    "reason": chosen.reason,
                    "serving": done.serving.name if done.serving else "none",
                    "url": dg.MetadataValue.url(done.url),
                },
            )
        )

    @dg.job(name=WITHDRAW_JOB, description="Withdraws a published release, or reverses a withdrawal. The files stay.")
    def job() -> None:
        decide()

    return job
