"""Jobs of an operator with typed configuration: pause or check a source, repair copies, rebuild catalogue and portal.

`watch.pauses`, `watch.noticing_report`, `upkeep.repair` and `chain.run` do the work. The job `audit_copies` verifies.
"""

from collections import Counter
from collections.abc import Sequence
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field, create_model

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError, PermanentError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.texts import markdown_table
from d4c_pipeline.orchestration.choosing import declared_ids
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.orchestration.reviewing import decider
from d4c_pipeline.watch import pauses
from d4c_pipeline.watch.noticing_report import ask_now

_MOST_SHOWN = 200


class PauseDecision(Enum):
    """The decisions on a source."""

    pause = "pause"
    resume = "resume"


class PauseConfig(dg.Config):
    """The source to pause, and why; a job adds `dataset`. The sign-in to the UI names the person who decides."""

    reason: str = Field(default="", description="Reason. Required for a pause.")
    decision: PauseDecision = Field(default=PauseDecision.pause, description="pause, or resume to end a pause.")
    who: str = Field(
        default="", description="Person on whose behalf the signed-in user decides. Both names are recorded."
    )


class CheckConfig(dg.Config):
    """How a source is checked now; a job adds `dataset`."""

    accept_shrunken_listing: bool = Field(
        default=False, description="Accept a listing that lost more than noticing.shrink_allowed; an empty one never."
    )


class RepairConfig(dg.Config):
    """The copies to repair: by default all that the last audit found lost."""

    datasets: list[str] = Field(default=[], description="Ids of datasets; empty for all.")
    refill: list[str] = Field(default=[], description="Names of emptied stores to fill again.")


class RebuildConfig(dg.Config):
    """How much of the catalogue and the portal is written again."""

    complete: bool = Field(default=False, description="Write every document again, not only those that changed.")
    portal: bool = Field(default=True, description="Build the portal after the catalogue.")


def maintenance_jobs(datasets: Sequence[Dataset], families: Sequence[Family]) -> list[dg.JobDefinition]:
    """Return the jobs over all `datasets` and `families`."""
    declared = [*datasets, *families]
    return [_pause_job(declared), _check_job(declared), _repair_job(), _rebuild_job(datasets)]


def _of_source(base: type[dg.Config], declared: Sequence[Dataset | Family]) -> Any:
    """Return the configuration `base` with the field `dataset`, which the UI completes from the declared ids."""
    ids = declared_ids("Source", declared)
    field: Any = (ids, Field(description="Id of a dataset or family: Ctrl+Space lists them."))
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, dataset=field)


def _pause_job(declared: Sequence[Dataset | Family]) -> dg.JobDefinition:
    config_of_source = _of_source(PauseConfig, declared)

    @dg.op(name="decide_on_source", description="Records the decision. Sensors follow it at their next tick.")
    def decide(
        context: dg.OpExecutionContext,
        config: config_of_source,  # pyright: ignore[reportInvalidTypeForm] - Dagster reads it
        deployment: DeploymentResource,
    ) -> None:
        chosen: Any = config
        with as_dagster_failure(retries=False), deployment.opened() as opened:
            who = decider(context.run, chosen.who)
            if chosen.decision is PauseDecision.resume:
                pauses.resume(opened, chosen.dataset.value, who=who)
            else:
                pauses.pause(opened, chosen.dataset.value, who=who, reason=chosen.reason)

    @dg.job(name="pause_source", description="Pauses a source with a reason, or resumes it. No data changes.")
    def job() -> None:
        decide()

    return job


def _check_job(declared: Sequence[Dataset | Family]) -> dg.JobDefinition:
    known = {each.id: each for each in declared}
    config_of_source = _of_source(CheckConfig, declared)

    @dg.op(name="check_source_now", description="Lists the source and compares it with what was published.")
    def check(
        context: dg.OpExecutionContext,
        config: config_of_source,  # pyright: ignore[reportInvalidTypeForm] - Dagster reads it
        deployment: DeploymentResource,
    ) -> None:
        chosen: Any = config
        with as_dagster_failure(retries=False), deployment.opened() as opened:
            row = ask_now(opened, known[chosen.dataset.value], accept=chosen.accept_shrunken_listing)
            if row["failed"] is not None:
                raise PermanentError(row["failed"], "Apply the remedy above, then run again")
        context.add_output_metadata({"listed": row["listed"], "due": ", ".join(row["due"]) or "none"})

    @dg.job(name="check_source", description="Checks a source at once; may accept a listing that shrank.")
    def job() -> None:
        check()

    return job


def _repair_job() -> dg.JobDefinition:
    @dg.op(
        name="repair_copies",
        description="Replaces damaged and missing copies by verified ones; damaged bytes go to quarantine.",
        out=dg.Out(dict, description="The number of copies by outcome."),
    )
    def mend(context: dg.OpExecutionContext, config: RepairConfig, deployment: DeploymentResource) -> dict[str, int]:
        from d4c_pipeline.upkeep import repair  # noqa: PLC0415

        attempt = context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            done = repair.repair(opened, datasets=config.datasets or None, refill=config.refill)
            counts = Counter(each.outcome.value for each in done)
            rows = [(str(each.copy), each.outcome.value, str(each.source or ""), each.reason) for each in done]
            table = markdown_table(("copy", "outcome", "source", "reason"), rows[:_MOST_SHOWN])
            context.add_output_metadata({"copies": len(done), "repairs": dg.MetadataValue.md("\n".join(table))})
            left = [each for each in done if each.outcome not in (repair.Outcome.RESTORED, repair.Outcome.INTACT)]
            if left:
                raise IntegrityError(
                    f"{len(left)} of {len(done)} copies are not repaired, such as {left[0].copy}: {left[0].reason}",
                    "Restore the file from a backup, or remove the cause, then run again",
                )
        return dict(counts)

    @dg.job(name="repair_copies_of_releases", description="Repairs the copies that the last audit found lost.")
    def job() -> None:
        mend()

    return job


def _rebuild_job(datasets: Sequence[Dataset]) -> dg.JobDefinition:
    @dg.op(
        name="rebuild_pages",
        description="Writes the catalogue again from the ledger, then the portal.",
        out=dg.Out(dict, description="The number of releases, datasets and pages."),
    )
    def rebuild(
        context: dg.OpExecutionContext, config: RebuildConfig, deployment: DeploymentResource
    ) -> dict[str, int]:
        from d4c_pipeline.chain import catalogue, run  # noqa: PLC0415

        attempt = context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            done = catalogue.rebuild(opened, datasets, complete=config.complete)
            found = {"releases": done.releases, "datasets": done.datasets}
            if config.portal:
                found["pages"] = run.portal(opened, datasets).pages
        context.add_output_metadata(dict(found))
        return found

    @dg.job(name="rebuild_site", description="Rebuilds the catalogue and the portal from the ledger.")
    def job() -> None:
        rebuild()

    return job
