"""Makes the results of waiting subset jobs by runs of Dagster, where `D4C_JOBS_RUNNER` is `dagster`.

The run calls the function of the services' own worker processes (`services.jobs.worker`). The folder of jobs
(`D4C_JOBS`) is the only thing that both sides share.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from d4c_pipeline.model.service_settings import JobSettings
from d4c_pipeline.model.settings import Settings

if TYPE_CHECKING:
    from d4c_pipeline.services.jobs import JobFolder

SUBSET_JOB, SUBSET_SENSOR = "subsets", "subsets_are_made"
_SECONDS, _MOST = 10, 20


class ResultConfig(dg.Config):
    """The name of a result, which is that of its folder."""

    result: str


def subset_definitions() -> dg.Definitions:
    """Return the job and the sensor of subsets; nothing where the services make results themselves."""
    if JobSettings.from_environment().runner != "dagster":
        return dg.Definitions()
    return dg.Definitions(jobs=[subset_job], sensors=[subset_sensor])


@dg.op(name="subset", description="Makes one result, unless it is made or another process makes it.")
def _subset(context: dg.OpExecutionContext, config: ResultConfig) -> None:
    from d4c_pipeline.services.jobs.worker import MEMORY, run  # noqa: PLC0415

    settings = JobSettings.from_environment()
    jobs = _folder(settings)
    made = run(jobs, config.result, seconds=settings.seconds, memory=MEMORY, most_cells=settings.cells)
    outcome = jobs.outcome(config.result)
    if outcome is not None and outcome.problem is not None:
        context.log.warning("%s. %s", outcome.problem, outcome.remedy)  # whoever asked reads it in the job's status
    elif outcome is not None:
        context.log.info("%s rows, %s bytes%s", outcome.rows, outcome.size, "" if made else " (made before)")


@dg.job(name=SUBSET_JOB, description="Makes the result of a subset that is too large for one request.")
def subset_job() -> None:
    """One result a run."""
    _subset()


@dg.sensor(
    name=SUBSET_SENSOR,
    job_name=SUBSET_JOB,
    minimum_interval_seconds=_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a run for each subset that waits in the folder D4C_JOBS; an attempt that died is followed by "
    "another, three in all.",
)
def subset_sensor(_context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Yield a run for each waiting result; its key has the number of attempts, so that a dead one is repeated."""
    from d4c_pipeline.services.jobs import State  # noqa: PLC0415

    jobs = _folder(JobSettings.from_environment())
    waiting = [result for result in jobs.results() if jobs.state(result) is State.ACCEPTED][:_MOST]
    if not waiting:
        yield dg.SkipReason("No subset waits")
    for result in waiting:
        yield dg.RunRequest(
            run_key=f"{result}-{jobs.attempts(result)}",
            run_config=dg.RunConfig(ops={"subset": ResultConfig(result=result)}),
        )


def _folder(settings: JobSettings) -> "JobFolder":
    from d4c_pipeline.services.jobs import JobFolder  # noqa: PLC0415

    return JobFolder(settings.jobs_folder(Settings.from_environment().home))
