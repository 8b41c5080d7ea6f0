"""The sensors that send alerts, and the weekly report: failed runs, failed checks, sources not checked, all that waits.

`upkeep.alerts` groups and sends; a failed delivery fails no tick and no run, and `needs_attention` lists it.
Concept: https://docs.dagster.io/guides/automate/sensors/run-status-sensors
"""

from collections.abc import Callable, Collection, Iterable, Iterator

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from d4c_pipeline.model.alerting import AlertSettings
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.orchestration.daily.attention import launch_of
from d4c_pipeline.orchestration.resources import PARTITION, DeploymentResource
from d4c_pipeline.upkeep.alerts import Sent, alerts_of, send, weekly_report
from d4c_pipeline.upkeep.attention import Attention, Kind, needs_attention

REPORT_JOB = "report_collection"
_UNSET = "D4C_ALERTS names no address"
_SECONDS = 600


def alerting_definitions(declared: Collection[Dataset | Family]) -> dg.Definitions:
    """Return the two sensors, the job of the report and its schedule."""
    job = _report_job(declared)
    return dg.Definitions(sensors=[_waiting(declared), _failed_runs(declared)], jobs=[job], schedules=[_schedule(job)])


def _waiting(declared: Collection[Dataset | Family]) -> dg.SensorDefinition:
    @dg.sensor(
        name="alerts_are_sent",
        minimum_interval_seconds=_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the addresses in D4C_ALERTS what waits for a person, failed checks and sources that are not "
        "checked in their rhythm: grouped by cause, once per cause and day.",
    )
    def tell(context: dg.SensorEvaluationContext, deployment: DeploymentResource) -> dg.SkipReason:
        return _tell(deployment, declared, lambda: failed_checks(context.instance, context.repository_def))

    return tell


def _failed_runs(declared: Collection[Dataset | Family]) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name="failed_runs_are_told",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the addresses in D4C_ALERTS at once when a run fails, by the cause that its step recorded.",
    )
    def tell(context: dg.RunFailureSensorContext, deployment: DeploymentResource) -> dg.SkipReason:
        return _tell(deployment, declared, lambda: failed_run(context.dagster_run, context.failure_event.message))

    return tell


def failed_run(run: dg.DagsterRun, message: str | None) -> Iterator[Attention]:
    """Yield the finding of a failed run of no partition; the failure of a partition is in the ledger."""
    if PARTITION not in run.tags:
        detail, command = message or "it was killed", f"open the run {run.run_id} in the UI"
        yield Attention(Kind.RUN, run.job_name, detail, command, run=run.run_id)


def failed_checks(instance: dg.DagsterInstance, repository: dg.RepositoryDefinition | None) -> Iterator[Attention]:
    """Yield the asset checks whose last evaluation failed and blocks; warnings are listed by other findings."""
    if repository is None:
        return
    keys = list(repository.asset_graph.asset_check_keys)
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    for key, record in found.items():
        if record.status is not AssetCheckExecutionRecordStatus.FAILED or record.event is None:
            continue
        event = record.event.dagster_event
        evaluation = event.asset_check_evaluation_data if event is not None else None
        if evaluation is None or evaluation.passed or evaluation.severity is not dg.AssetCheckSeverity.ERROR:
            continue
        detail = f"{key.name}: {evaluation.description or 'no description'}"
        partition = evaluation.partition or ""
        product, step = key.asset_key.path[0], key.asset_key.path[-1]
        subject = " ".join(filter(None, (product, partition)))
        yield Attention(
            Kind.CHECK,
            subject,
            detail,
            "d4c failed",
            dataset=product,
            partition=partition,
            step=step,
            check=key.name,
        )


def _tell(
    deployment: DeploymentResource,
    declared: Collection[Dataset | Family],
    more: Callable[[], Iterable[Attention]] = tuple,
) -> dg.SkipReason:
    settings = AlertSettings.from_environment()
    if not settings.places():
        return dg.SkipReason(_UNSET)
    with deployment.opened() as opened:
        found = [*needs_attention(opened, declared), *more()]
        sent = send(opened.ledger, alerts_of(found, launch_of, settings.ui), settings)
    return dg.SkipReason(_worded(sent))


def _worded(sent: Sent) -> str:
    failed = f"; not delivered to {', '.join(sent.failed)} ('d4c todo' says why)" if sent.failed else ""
    return f"Sent {sent.delivered} alerts{failed}"


def _report_job(declared: Collection[Dataset | Family]) -> dg.JobDefinition:
    @dg.op(name="report", description="Sends the state of the collection to the addresses in D4C_ALERTS.")
    def report(context: dg.OpExecutionContext, deployment: DeploymentResource) -> None:
        settings = AlertSettings.from_environment()
        if not settings.places():
            context.log.info(_UNSET)
            return
        with deployment.opened() as opened:
            message = weekly_report(opened, needs_attention(opened, declared))
            context.log.info(_worded(send(opened.ledger, [message], settings)))

    @dg.job(name=REPORT_JOB, description="Sends the state of the collection: numbers, new releases, what waits.")
    def job() -> None:
        report()

    return job


def _schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=f"{REPORT_JOB}_weekly",
        job=job,
        cron_schedule="0 6 * * 1",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Mondays at 06:00 UTC.",
    )
