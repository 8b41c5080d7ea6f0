"""Subsets that runs of Dagster make, of the requests that the services leave in a folder."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.orchestration.subsets import SUBSET_SENSOR, subset_definitions, subset_job, subset_sensor
from d4c_pipeline.services.jobs import JobFolder, State


def test_a_waiting_subset_is_made_by_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_HOME", str(tmp_path / "home"))
    assert not subset_definitions().sensors
    monkeypatch.setenv("D4C_JOBS_RUNNER", "dagster")
    assert [sensor.name for sensor in subset_definitions().sensors or ()] == [SUBSET_SENSOR]
    pq.write_table(pa.table({"id": [1, 2, 3]}), file := tmp_path / "data.parquet")
    release = {"name": "r", "dataset": "d", "vintage": "2021", "version": "1.0.0", "files": [str(file)],
               "urls": [], "rows": 3, "sha256": "0"}  # fmt: skip
    jobs = JobFolder(tmp_path / "home" / "services" / "jobs")
    inputs = {"dataset": "d", "filter": "id > 1", "format": "csv"}
    job = jobs.submit("a", "5" * 64, {"inputs": inputs, "release": release}, {})
    with dg.DagsterInstance.ephemeral() as instance:
        first, again = (
            subset_sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).run_requests or [] for _ in range(2)
        )
        assert [each.run_key for each in first] == [each.run_key for each in again] == [f"{job.result}-0"]
        assert subset_job.execute_in_process(first[0].run_config, instance).success
        assert jobs.data(job.result).read_bytes() == b"id\r\n2\r\n3\r\n"
        assert jobs.state(job.result) is State.SUCCESSFUL
        assert not subset_sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).run_requests
        # A run that died leaves an attempt: the next look begins another run.
        dead = jobs.submit("a", "6" * 64, {"inputs": inputs, "release": release}, {})
        jobs.attempt(dead.result)
        (request,) = subset_sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).run_requests or []
        assert request.run_key == f"{dead.result}-1"
