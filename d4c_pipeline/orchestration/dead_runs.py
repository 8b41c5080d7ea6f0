"""Dead runs: unfinished runs whose process has ended, and the sensor that ends them.

Dagster's own monitoring finds a run that was killed together with its code server by its age alone (12 hours), and
until then it holds the slots of its pools. The evidence of death is the heartbeat in the ledger, else the process tag
of a command, else the code server that launched the run. A run of a Celery worker has no code server: without a
heartbeat it counts as dead if it left the broker's queue, no step is in progress, and nothing happened for minutes.
Concept: https://docs.dagster.io/deployment/execution/run-monitoring
"""

from __future__ import annotations

import json
import logging
import socket
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster_shared.serdes import deserialize_value

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.ledger.leases import is_gone
from d4c_pipeline.orchestration.resources import BY_COMMAND_LINE, PROCESS, DeploymentResource

_log = logging.getLogger(__name__)

# A run that the launcher has just started has no heartbeat yet.
_SETTLED = timedelta(minutes=1)
# A started run has a heartbeat from before its first step until after its last one. Before it, the run may wait for a
# ledger that does not answer; after it, the run sends its logs.
_STEPLESS = timedelta(minutes=5)
_FORGOTTEN = timedelta(days=1)
_CELERY_TASK = "dagster-celery/task_id"
_CELERY_QUEUE = "dagster-celery/queue"
_TAKEN = "d4c/taken_by_worker"
_CONNECT_SECONDS = 2.0
_STEP_ENDS = (dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.STEP_SKIPPED)
_UNFINISHED = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def end_dead_runs(instance: dg.DagsterInstance, ledger: Ledger) -> list[str]:
    """End every unfinished run whose process has ended, free its pool slots, and return a sentence for each.

    A run that did every step succeeds. Any other run by the daemon fails, so that Dagster retries it by its retry
    policy. A run that was to be cancelled, or of a command, whose user runs it again, is cancelled.
    """
    records = {
        record.dagster_run.run_id: record
        for record in instance.get_run_records(dg.RunsFilter(statuses=list(_UNFINISHED)))
    }
    alive = ledger.active_runs.alive(records)
    ended: list[str] = []
    for run_id, record in records.items():
        cause = _cause_of_death(instance, record, alive.get(run_id))
        run = instance.get_run_by_id(run_id)
        if cause is None or run is None or run.is_finished:
            continue
        if run.status is dg.DagsterRunStatus.CANCELING or _is_by_command(run):
            instance.report_run_canceled(run, message=cause)
        elif _did_every_step(instance, run):
            # A failed run without a step to retry can't be retried, and its partition would count as failed.
            instance.report_dagster_event(
                dg.DagsterEvent(
                    dg.DagsterEventType.RUN_SUCCESS.value, run.job_name, message=f"{cause} Every step was done."
                ),
                run.run_id,
            )
        else:
            instance.report_run_failed(run, message=cause)
        # Dagster frees them two minutes after the end.
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        ended.append(f"{run.job_name} {run_id}: {cause}")
    _forget_ended(instance, ledger)
    return ended


def _is_by_command(run: dg.DagsterRun) -> bool:
    return BY_COMMAND_LINE.items() <= run.tags.items()


def _did_every_step(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    if run.execution_plan_snapshot_id is None:
        return False
    planned = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id).step_keys_to_execute
    done = {each.step_key for each in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)}
    return bool(planned) and done.issuperset(planned)


def _cause_of_death(instance: dg.DagsterInstance, record: dg.RunRecord, alive: bool | None) -> str | None:
    """Return why the process of a run has ended; None while it runs or nothing proves the end."""
    run = record.dagster_run
    if alive is not None:
        return None if alive else "The process of this run was killed: its heartbeat in the ledger stopped."
    if (process := run.tags.get(PROCESS)) is not None:
        return "The process of this run was killed." if is_gone(process) else None
    updated = record.update_timestamp.replace(tzinfo=record.update_timestamp.tzinfo or UTC)
    silent = datetime.now(UTC) - updated
    if _CELERY_TASK in run.tags:
        return _lost_by_worker(instance, run) if silent >= _STEPLESS else None
    if silent < _SETTLED or GRPC_INFO_TAG not in run.tags:
        return None
    return _lost_by_server(run, silent)


def _lost_by_worker(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """Return that the worker of a run without a change for minutes was killed; None if nothing proves it."""
    if run.status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING):
        if not _rests(instance, run):
            return None
        return "The worker that executed this run was killed: no step is in progress, and nothing happens any more."
    if run.status is not dg.DagsterRunStatus.STARTING or not _is_taken(instance, run):
        return None  # it may wait in the broker for as long as other runs take
    if _TAKEN in run.tags:
        return "The worker that took this run was killed before the run began, or the broker lost it."
    # Celery does not record when. The tag sets the time of the record of the run, and so begins the minutes to wait.
    instance.add_run_tags(run.run_id, {_TAKEN: "yes"})
    return None


def _is_taken(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether a run no longer waits in the broker: a worker took it, or it is lost. False if unreadable."""
    from dagster_celery.launcher import CeleryRunLauncher  # noqa: PLC0415 - of the extra `cluster`, as such runs are
    from kombu.exceptions import ChannelError, OperationalError  # noqa: PLC0415
    from redis.exceptions import RedisError  # noqa: PLC0415

    launcher = instance.run_launcher
    if not isinstance(launcher, CeleryRunLauncher):
        return False
    try:
        with launcher.celery.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=_CONNECT_SECONDS)
            try:
                queue = run.tags.get(_CELERY_QUEUE, launcher.default_queue)
                waiting = connection.default_channel.queue_declare(queue, passive=True).message_count
            except ChannelError:  # Redis has no empty queues
                waiting = 0
        return not waiting or launcher.check_run_worker_health(run).status is not WorkerStatus.UNKNOWN
    except (OperationalError, RedisError) as error:
        _log.warning("Whether a worker took the run %s can't be read from the broker yet: %s", run.run_id, error)
        return False


def _rests(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether a started run has no step in progress, and no new event for minutes."""
    # Newest first: the time of the record of the run changes with its state and its tags alone.
    events = instance.event_log_storage.get_logs_for_run(run.run_id, ascending=False)
    if events and datetime.now(UTC) - datetime.fromtimestamp(events[0].timestamp, UTC) < _STEPLESS:
        return False
    steps = {
        kind: {
            each.step_key for each in events if each.is_dagster_event and each.get_dagster_event().event_type is kind
        }
        for kind in (dg.DagsterEventType.STEP_START, *_STEP_ENDS)
    }
    return steps[dg.DagsterEventType.STEP_START] <= frozenset().union(*(steps[kind] for kind in _STEP_ENDS))


def _lost_by_server(run: dg.DagsterRun, silent: timedelta) -> str | None:
    """Return that the code server which launched the run is gone or does not execute it; None if it may."""
    server = json.loads(run.tags[GRPC_INFO_TAG])
    try:
        if "socket" in server:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(_CONNECT_SECONDS)
                probe.connect(server["socket"])
        else:
            socket.create_connection((server["host"], server["port"]), _CONNECT_SECONDS).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return "The code server that launched this run has ended, and the run with it."
    except OSError:  # a timeout or a name that does not resolve proves nothing
        return None
    if run.status is not dg.DagsterRunStatus.STARTED and silent < _STEPLESS:
        return None  # the server may be about to start it
    from dagster._grpc.client import DagsterGrpcClient  # noqa: PLC0415 - the command line never comes here

    client = DagsterGrpcClient(
        host=server.get("host"),
        port=server.get("port"),
        socket=server.get("socket"),
        use_ssl=bool(server.get("use_ssl", False)),
    )
    try:
        answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id))
    except DagsterUserCodeUnreachableError:  # busy or just ending: the next tick decides
        return None
    if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
        return None
    return "The code server no longer executes this run."


def _forget_ended(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """Remove the records of runs that ended in Dagster; those of an unknown run (another instance) after a day."""
    for active in ledger.active_runs.dead():
        run = instance.get_run_by_id(active.run)
        if run.is_finished if run is not None else datetime.now(UTC) - active.started_at > _FORGOTTEN:
            ledger.active_runs.forget(active.run)


def dead_runs_sensor() -> dg.SensorDefinition:
    """Return the sensor that ends dead runs every half minute."""

    @dg.sensor(
        name="dead_runs_are_ended",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fails runs whose process was killed (a crash, a power cut), so that their pool slots are free and "
        "Dagster retries them. The evidence is the heartbeat that each run keeps in the ledger.",
    )
    def end(context: dg.SensorEvaluationContext, deployment: DeploymentResource) -> dg.SkipReason:
        with deployment.opened() as opened:
            ended = end_dead_runs(context.instance, opened.ledger)
        return dg.SkipReason("Ended " + "; ".join(ended) if ended else "Every unfinished run is alive")

    return end
