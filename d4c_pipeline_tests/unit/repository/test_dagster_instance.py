"""Dagster's own view of dagster.yaml and workspace.yaml, in the embedded form and as the Dockerfile makes them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance
from dagster._config import process_config
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.instance.config import PoolGranularity
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager
from dagster_celery.launcher import CeleryRunLauncher
from dagster_postgres import DagsterPostgresStorage

REPOSITORY = Path(__file__).parents[3]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[DagsterInstance]:
    shutil.copy(REPOSITORY / "dagster.yaml", tmp_path)
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def run_line_of_the_dockerfile(pattern: str, folder: Path) -> None:
    """Run one `RUN` of the Dockerfile in `folder`, so that the test sees what the image will hold."""
    command = re.search(rf"^RUN ({pattern}.*)$", DOCKERFILE, re.MULTILINE)
    assert command is not None, f"the Dockerfile has no line RUN {pattern}"
    subprocess.run(["sh", "-ec", command[1]], cwd=folder, check=True)


def test_the_embedded_instance_keeps_everything_below_its_home(embedded: DagsterInstance, tmp_path: Path) -> None:
    assert isinstance(embedded.run_storage, SqliteRunStorage)
    assert Path(embedded.root_directory) == tmp_path
    assert not embedded.telemetry_enabled
    assert not embedded.nux_enabled


def test_a_failed_step_does_not_start_the_run_again_but_a_lost_process_does(embedded: DagsterInstance) -> None:
    assert embedded.run_retries_enabled
    assert embedded.run_retries_max_retries == 2
    # Dagster's default is True, which would multiply the steps' own retries.
    assert embedded.run_retries_retry_on_asset_or_op_failure is False


def test_runs_that_hang_end_and_give_back_their_slots(embedded: DagsterInstance) -> None:
    assert embedded.run_monitoring_enabled
    assert embedded.run_monitoring_max_runtime_seconds == 12 * 3600
    # A run may wait in the broker while workers are in long builds.
    assert embedded.run_monitoring_start_timeout_seconds == 12 * 3600
    assert embedded.run_monitoring_settings["free_slots_after_run_end_seconds"] > 0


def test_runs_queue_and_pools_limit_steps(embedded: DagsterInstance) -> None:
    assert isinstance(embedded.run_coordinator, QueuedRunCoordinator)
    concurrency = embedded.get_concurrency_config()
    assert concurrency.run_queue_config is not None
    assert concurrency.run_queue_config.max_concurrent_runs == 4
    assert concurrency.pool_config.pool_granularity is PoolGranularity.OP
    assert concurrency.pool_config.default_pool_limit == 2


def test_skipped_ticks_are_forgotten_before_failed_ones(embedded: DagsterInstance) -> None:
    days = embedded.get_tick_retention_settings(InstigatorType.SENSOR)
    assert (days[TickStatus.SKIPPED], days[TickStatus.FAILURE]) == (7, 180)


def test_the_image_s_instance_is_the_embedded_one_on_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: DagsterInstance
) -> None:
    url = "postgresql://d4c@postgresql:5432/dagster"
    monkeypatch.setenv("D4C_BROKER_URL", "redis://broker:6379/0")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    image = tmp_path / "image"
    image.mkdir()
    shutil.copy(REPOSITORY / "dagster.yaml", image / "embedded.yaml")
    run_line_of_the_dockerfile("sed -E 's/", image)

    ref = InstanceRef.from_dir(str(image))  # validates every field, connects to nothing

    storage = ref.storage_data
    assert storage is not None
    assert storage.class_name == DagsterPostgresStorage.__name__
    config = process_config(DagsterPostgresStorage.config_type(), storage.config_dict)
    assert config.success
    assert config.value is not None
    assert config.value["postgres_url"] == url
    # The webserver shows the logs of runs that another container wrote: both have the volume of D4C_HOME.
    assert ref.compute_logs_data.config_dict["base_dir"] == "/var/lib/d4c/dagster/logs"
    assert ref.settings["run_retries"] == embedded.get_settings("run_retries")
    launcher = ref.run_launcher_data
    assert launcher is not None
    made = launcher.rehydrate(as_type=CeleryRunLauncher)
    assert (made.broker, made.backend) == ("redis://broker:6379/0", "redis://broker:6379/0")
    # A worker that takes a second run in advance loses it when it is killed.
    assert made.celery.conf.worker_disable_prefetch is True
    assert made.celery.conf.task_acks_late is False


def test_logs_of_runs_in_a_bucket_are_dagster_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_LOGS_BUCKET", "logs")
    monkeypatch.setenv("D4C_LOGS_ENDPOINT", "http://127.0.0.1:9")
    settings = (REPOSITORY / "dagster.yaml").read_text("utf-8")
    (tmp_path / "dagster.yaml").write_text(re.sub(r"^#s3\| ", "", settings, flags=re.MULTILINE), "utf-8")
    logs = InstanceRef.from_dir(str(tmp_path)).compute_logs_data
    config = process_config(S3ComputeLogManager.config_type(), logs.config_dict)
    assert config.success, config.errors
    assert config.value is not None
    assert (config.value["bucket"], config.value["endpoint_url"]) == ("logs", "http://127.0.0.1:9")


def test_the_workspace_names_one_location() -> None:
    (origin,) = location_origins_from_yaml_paths([str(REPOSITORY / "workspace.yaml")])
    assert isinstance(origin, ManagedGrpcPythonEnvCodeLocationOrigin)
    assert origin.location_name == "d4c_pipeline"
    assert origin.loadable_target_origin.module_name == "d4c_pipeline.definitions"


def test_the_image_s_workspace_names_the_same_location_on_the_code_server(tmp_path: Path) -> None:
    run_line_of_the_dockerfile("echo 'load_from", tmp_path)
    (origin,) = location_origins_from_yaml_paths([str(tmp_path / "workspace.yaml")])
    assert isinstance(origin, GrpcServerCodeLocationOrigin)
    assert (origin.location_name, origin.host, origin.port) == ("d4c_pipeline", "code-location", 4000)
