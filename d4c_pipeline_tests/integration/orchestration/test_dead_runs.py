"""A run whose process was killed is listed at once, and ended, freed and retried by the next tick."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.plan.objects import StepSuccessData
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test, instance_for_test
from dagster_celery.launcher import CeleryRunLauncher

from d4c_pipeline.ledger import leases, schema
from d4c_pipeline.ledger.database import database_now
from d4c_pipeline.orchestration import dead_runs
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.dead_runs import end_dead_runs
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.watch.failures import describe_failures
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.integration.orchestration.conftest import Project
from d4c_pipeline_tests.support.samples import PLACES_URL, define, geojson

STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture
def defined(project: Project) -> Project:
    define(project.definitions)
    project.origin.put(PLACES_URL, geojson())
    return project


def killed(work: Callable[[], object]) -> None:
    """Do the work in a process that ends without a word in the middle."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(3)
    assert os.waitpid(child, 0)[1] == 1 << 8, "it should have died"


def die_at_processed(project: Project, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance) -> dg.DagsterRun:
    with monkeypatch.context() as patched:
        patched.setattr("d4c_pipeline.chain.processed.process", lambda *_: os._exit(1))
        killed(
            lambda: Project(project.home, project.definitions, project.origin, instance).materialize("places", "2021")
        )
    (run,) = instance.get_runs(dg.RunsFilter(statuses=[STARTED]))
    return run


def tick(project: Project, instance: dg.DagsterInstance) -> str:
    sensor = build_definitions([project.definitions]).resolve_sensor_def("dead_runs_are_ended")
    assert sensor.minimum_interval_seconds == 30
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    with dg.build_sensor_context(instance=instance, resources={"deployment": DeploymentResource()}) as context:
        result = sensor(context)
    assert isinstance(result, dg.SkipReason)
    return result.skip_message or ""


def test_a_killed_run_is_listed_then_failed_with_its_slots_freed_and_will_be_retried(
    defined: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    retries = {"run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}}
    with instance_for_test(overrides=retries, temp_dir=str(tmp_path)) as instance:
        run = die_at_processed(defined, monkeypatch, instance)
        storage = instance.event_log_storage
        storage.set_concurrency_slots("process", 1)
        assert storage.claim_concurrency_slot("process", run.run_id, "places__processed").is_claimed
        with defined.opened() as deployment:
            (row,) = describe_failures(deployment, ["places"])
        assert (row["partition"], row["step"], row["kind"], row["run"]) == ("2021", "processed", "RunDied", run.run_id)
        assert row["command"] == "d4c publish places --vintage 2021"
        assert tick(defined, instance).startswith(f"Ended __ASSET_JOB {run.run_id}: The process of this run was killed")
        ended = instance.get_run_by_id(run.run_id)
        assert ended is not None
        assert (ended.status, ended.tags["dagster/will_retry"]) == (dg.DagsterRunStatus.FAILURE, "true")
        assert storage.get_concurrency_info("process").active_slot_count == 0
        with defined.opened() as deployment:
            assert deployment.ledger.active_runs.dead() == ()
        assert tick(defined, instance) == "Every unfinished run is alive"


def expired(deployment: Deployment, *, minutes: float) -> None:
    """Let every lease have expired so long ago."""
    with deployment.ledger._engine.begin() as connection:
        moment = database_now(connection) - timedelta(minutes=minutes)
        connection.execute(schema.lease.update().values(expires_at=moment))


def test_a_living_run_is_left_alone_even_if_it_slept_past_its_lease(defined: Project) -> None:
    run = create_run_for_test(defined.instance, "publish_places", tags={"dagster/partition": "2021"}, status=STARTED)
    with defined.opened() as deployment, deployment.ledger.active_runs.hold(run.run_id, {"places"}, "2021"):
        expired(deployment, minutes=60)
        assert end_dead_runs(defined.instance, deployment.ledger) == []
        assert describe_failures(deployment, ["places"]) == []


def test_the_run_of_another_machine_dies_a_minute_after_its_last_heartbeat(
    defined: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run_for_test(defined.instance, "publish_places", status=STARTED)
    boot = leases._this_start()
    monkeypatch.setattr(leases, "this_process", lambda: f"elsewhere|1|2|abc.{boot}")
    with defined.opened() as deployment, deployment.ledger.active_runs.hold(run.run_id, (), ""):
        expired(deployment, minutes=0.5)
        assert end_dead_runs(defined.instance, deployment.ledger) == []
        expired(deployment, minutes=1.5)
        assert len(end_dead_runs(defined.instance, deployment.ledger)) == 1
    assert defined.instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("status", "after"),
    [
        (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.FAILURE),
        (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE),
        (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED),
    ],
)
def test_a_run_without_heartbeat_dies_with_its_code_server(
    defined: Project,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    status: dg.DagsterRunStatus,
    after: dg.DagsterRunStatus,
) -> None:
    address = str(tmp_path / "grpc.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)  # nobody listens any more: what a killed server leaves
    tags = {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": address})}
    run = create_run_for_test(defined.instance, "publish_places", tags=tags, status=status)
    with defined.opened() as deployment:
        assert end_dead_runs(defined.instance, deployment.ledger) == [], "it was only just launched"
        monkeypatch.setattr(dead_runs, "_SETTLED", timedelta(0))
        end_dead_runs(defined.instance, deployment.ledger)
    found = defined.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is after


def report(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType, minute: int) -> None:
    """Record an event of the step `latest`, so many minutes from now."""
    data = StepSuccessData(duration_ms=1.0) if kind is dg.DagsterEventType.STEP_SUCCESS else None
    event = dg.DagsterEvent(kind.value, run.job_name, step_key="latest", event_specific_data=data)
    instance.report_dagster_event(event, run.run_id, timestamp=time.time() + 60 * minute)


@pytest.fixture
def at_minute(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the clock to so many minutes from now."""

    class Later(datetime):
        minutes = 0

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(minutes=cls.minutes)

    monkeypatch.setattr(dead_runs, "datetime", Later)
    return lambda minutes: setattr(Later, "minutes", minutes)


def test_a_run_of_a_worker_that_was_killed_before_its_first_step_fails(
    defined: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {"dagster-celery/task_id": "1"}
    started = create_run_for_test(defined.instance, "publish_places", tags=tags, status=STARTED)
    queued = create_run_for_test(defined.instance, "publish_places", tags=tags, status=dg.DagsterRunStatus.STARTING)
    with defined.opened() as deployment:
        assert end_dead_runs(defined.instance, deployment.ledger) == [], "its heartbeat may be about to begin"
        monkeypatch.setattr(dead_runs, "_STEPLESS", timedelta(0))
        (ended,) = end_dead_runs(defined.instance, deployment.ledger)
    assert "The worker that executed this run was killed" in ended
    states = [defined.instance.get_run_by_id(run.run_id).status for run in (started, queued)]  # type: ignore[union-attr]
    assert states == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTING]


def test_a_run_of_a_worker_that_was_killed_after_its_last_step_fails(
    defined: Project, at_minute: Callable[[int], None]
) -> None:
    # Its heartbeat ended with its last step, and the end of the run was not recorded yet.
    tags = {"dagster-celery/task_id": "1"}
    run = create_run_for_test(defined.instance, "publish_places", tags=tags, status=STARTED)
    kinds = dg.DagsterEventType
    with defined.opened() as deployment:

        def ended_at(minutes: int) -> int:
            at_minute(minutes)
            return len(end_dead_runs(defined.instance, deployment.ledger))

        report(defined.instance, run, kinds.STEP_START, 1)
        assert ended_at(60) == 0, "a long step whose run found no ledger for its heartbeat"
        report(defined.instance, run, kinds.STEP_UP_FOR_RETRY, 60)
        assert ended_at(70) == 0, "it waits for its next attempt"
        report(defined.instance, run, kinds.STEP_SUCCESS, 80)
        assert ended_at(84) == 0, "it may send its logs before it records its end"
        assert ended_at(86) == 1
    assert defined.instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]


def test_a_run_that_did_every_step_succeeds_though_its_worker_was_killed(
    defined: Project, at_minute: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with instance_for_test(temp_dir=str(tmp_path)) as instance:
        project = Project(defined.home, defined.definitions, defined.origin, instance)
        with monkeypatch.context() as patched:
            patched.setattr("dagster._core.events.DagsterEvent.job_success", lambda *_: os._exit(1))
            killed(lambda: project.materialize("places", "2021"))
        (run,) = instance.get_runs(dg.RunsFilter(statuses=[STARTED]))
        instance.add_run_tags(run.run_id, {"dagster-celery/task_id": "1"})
        at_minute(6)
        with defined.opened() as deployment:
            assert len(end_dead_runs(instance, deployment.ledger)) == 1
            assert describe_failures(deployment, ["places"]) == []
        # As a failed run it has no step that Dagster could retry.
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.SUCCESS  # type: ignore[union-attr]


def test_a_run_waits_in_the_broker_for_hours_and_minutes_at_a_worker_that_was_killed(
    defined: Project, at_minute: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Kombu's broker in memory stands in for Redis; it shares its queues between connections of a process.
    launcher = CeleryRunLauncher(default_queue="slow", broker="memory://", backend="cache+memory://")
    monkeypatch.setattr(type(defined.instance), "run_launcher", property(lambda _: launcher))
    starting = dg.DagsterRunStatus.STARTING
    ids = ("in the queue", "at a worker", "lost")
    runs = [
        create_run_for_test(defined.instance, "publish_places", tags={"dagster-celery/task_id": each}, status=starting)
        for each in ids
    ]
    with launcher.celery.connection_for_write() as connection, connection.SimpleQueue("slow") as queue:
        queue.put("the first run")
        launcher.celery.backend.store_result("at a worker", None, "STARTED")
        with defined.opened() as deployment:

            def ended_at(minutes: int) -> set[str]:
                at_minute(minutes)
                end_dead_runs(defined.instance, deployment.ledger)
                states = [defined.instance.get_run_by_id(run.run_id).status for run in runs]  # type: ignore[union-attr]
                return {each for each, state in zip(ids, states, strict=True) if state is not starting}

            assert ended_at(4) == ended_at(120) == set()
            assert ended_at(4) == set(), "it was seen at its worker just now"
            assert ended_at(6) == {"at a worker"}
            queue.get().ack()
            assert ended_at(120) == {"at a worker"}, "the minutes begin when it left the queue"
            assert ended_at(6) == set(ids)


def test_a_run_that_nothing_proves_dead_stays(defined: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_runs, "_SETTLED", timedelta(0))
    run = create_run_for_test(defined.instance, "of_another_launcher", status=STARTED)
    with defined.opened() as deployment:
        assert end_dead_runs(defined.instance, deployment.ledger) == []
    assert defined.instance.get_run_by_id(run.run_id).status is STARTED  # type: ignore[union-attr]
