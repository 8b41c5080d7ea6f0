"""Dagster's own daemon at work on a source that changes, killed while it starts a run: nothing lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.instance import DAEMON_ENVIRONMENT, dagster_home
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import HOST, Origin, corrected, define, geojson


@dataclass(frozen=True)
class Home:
    """A home whose daemon is started, and killed, by the test."""

    folder: Path
    settings: Settings
    environment: dict[str, str]
    instance: dg.DagsterInstance

    @contextmanager
    def daemon(self, log: str) -> Iterator[subprocess.Popen[bytes]]:
        """Dagster's daemon, alone: killed at the end as it is by the system that runs out of memory."""
        workspace = str(dagster_home(self.settings) / "workspace.yaml")
        with (self.folder / log).open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-w", workspace],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def runs(self) -> list[dg.DagsterRun]:
        """The runs that work on vintages."""
        return [run for run in self.instance.get_runs() if "dagster/partition" in run.tags]

    def published(self) -> list[tuple[str, str]]:
        """Vintage and version of every published release."""
        with Deployment.open(self.settings) as deployment:
            return [(str(one.vintage), str(one.version)) for one in deployment.ledger.releases.published("places")]


def wait_until(true: Callable[[], bool], what: str, log: Path, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: {log.read_text('utf-8', 'replace')[-3000:]}"
        time.sleep(0.5)


@pytest.fixture
def home(tmp_path: Path, origin: Origin) -> Iterator[Home]:
    origin.put(f"{HOST}/places_2021.geojson", geojson())
    # Every 0.36 seconds: the next round begins as soon as a tick looks.
    define(
        tmp_path / "definitions",
        vintages=["2021"],
        noticing={"enabled": True, "observe_hours": 0.0001},
    )
    settings = Settings(home=tmp_path / "home", port=free_port(), definitions=(tmp_path / "definitions",))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("D4C_", "DAGSTER_"))}
    environment = {
        **kept,
        **DAEMON_ENVIRONMENT,
        "D4C_HOME": str(settings.home),
        "D4C_DEFS": str(tmp_path / "definitions"),
        "D4C_PORT": str(settings.port),
        "D4C_ORIGIN_MAP": origin.map,
        "DAGSTER_HOME": str(dagster_home(settings)),
    }
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        yield Home(tmp_path, settings, environment, instance)
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
            end(run)


def end(run: dg.DagsterRun) -> None:
    """End the process of a run that is still at work when the test is over."""
    pid = json.loads(run.tags.get("dagster/grpc_info", "{}")).get("pid")
    if pid:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(420)
def test_a_daemon_that_is_killed_while_it_starts_runs_loses_and_doubles_nothing(home: Home, origin: Origin) -> None:
    with home.daemon("first.log"):
        wait_until(lambda: bool(home.runs()), "a run", home.folder / "first.log", 240)
    with home.daemon("second.log"):
        log = home.folder / "second.log"
        wait_until(lambda: len(home.published()) == 1, "the vintage", log, 300)
        wait_until(lambda: all(run.is_finished for run in home.runs()), "the end of the run", log)
        assert home.published() == [("2021", "0.1.0-beta")]
        (run,) = home.runs()
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert (run.job_name, run.tags["d4c/dataset"], run.tags["d4c/version"]) == (
            "publish_places",
            "places",
            "0.1.0-beta",
        )
        origin.put(f"{HOST}/places_2021.geojson", corrected(), datetime(2024, 6, 1, tzinfo=UTC))
        wait_until(lambda: len(home.published()) == 2, "the change", log, 180)
        assert home.published()[-1] == ("2021", "0.1.1-beta")
        assert len(home.runs()) == 2
