"""The job `plan`: what processing again would change, as a table on the page of the run. Nothing is published.

`chain.dry_run` finds the changes; `d4c plan` prints the same.
"""

from collections import Counter
from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.texts import markdown_table
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.watch.families import known_datasets

PLAN_JOB = "plan"
_MOST_SHOWN = 500
_MOST_REASONS = 5


class PlanConfig(dg.Config):
    """The datasets to build: those of a package, or one."""

    package: str = Field(default="", description="A package, such as d4c-datapkg-statistical; or name a dataset.")
    dataset: str = Field(default="", description="Id of a dataset; or name a package.")


def plan_job(datasets: Sequence[Dataset], families: Sequence[Family]) -> dg.JobDefinition:
    """Return the job over all `datasets` and all members of `families`."""
    defined = {dataset.id: dataset for dataset in datasets}

    @dg.op(
        name="find_changes",
        description="Builds every retained vintage in a folder of its own and compares it with its newest release.",
        out=dg.Out(dict, description="The number of vintages by outcome."),
    )
    def find(context: dg.OpExecutionContext, config: PlanConfig, deployment: DeploymentResource) -> dict[str, int]:
        from d4c_pipeline.chain.dry_run import DryRun, dry_runs, retained  # noqa: PLC0415

        attempt = context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            if bool(config.package) == bool(config.dataset):
                raise PermanentError(
                    "Nothing is chosen, or both", "Write a package or a dataset into the configuration"
                )
            known = known_datasets(opened, defined, families)
            chosen = retained(opened, known, package=config.package or None, dataset=config.dataset or None)
            rows: list[tuple[str, ...]] = []
            counts: Counter[str] = Counter()
            for done in dry_runs(opened, chosen):
                if isinstance(done, DryRun):
                    counts[done.outcome] += 1
                    reasons = "; ".join(done.change.reasons[:_MOST_REASONS])
                    cells = (done.dataset, str(done.vintage), done.outcome, done.next or "", f"{done.rows:,}", reasons)
                else:
                    of, vintage, error = done
                    counts["failed"] += 1
                    cells = (of.id, str(vintage), "failed", "", "", error.cause)
                rows.append(cells)
                context.log.info("%s %s: %s", *cells[:3])
        table = markdown_table(("dataset", "vintage", "change", "release", "rows", "reasons"), rows[:_MOST_SHOWN])
        context.add_output_metadata(
            {
                "changes": dg.MetadataValue.md("\n".join(table)),
                "vintages": len(rows),
                **{f"outcome {name}": count for name, count in counts.items()},
            }
        )
        return dict(counts)

    @dg.job(
        name=PLAN_JOB,
        description="Shows what processing again would change, before a backfill: MAJOR, MINOR, PATCH or none. "
        "Nothing is published.",
    )
    def job() -> None:
        find()

    return job
