"""What tests of the Dagster side share: an origin, a home, and the assets of a small dataset run in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from d4c_pipeline.chain import run
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.assets import CATALOGUE_KEY
from d4c_pipeline.orchestration.build import build_definitions, definitions_of
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import HOST, Origin

STEPS = tuple(run.STEPS)


@dataclass(frozen=True)
class Project:
    """A home with an operator's folder of definitions and the origin they fetch from."""

    home: Path
    definitions: Path
    origin: Origin
    instance: dg.DagsterInstance

    def materialize(
        self, dataset: str, vintage: str, *steps: str, catalogue: bool = False, config: dict[str, object] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Materialize `steps` (all nine by default) as a run worker does, and the catalogue when asked for."""
        built = definitions_of([dataset], [self.definitions], spanning=catalogue)
        assert built is not None
        keys = [dg.AssetKey([dataset, step]) for step in steps or STEPS]
        return built.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=[*keys, CATALOGUE_KEY] if catalogue else keys,
            partition_key=vintage,
            instance=self.instance,
            run_config={"ops": config} if config else None,
            raise_on_error=False,
        )

    @contextmanager
    def opened(self) -> Iterator[Deployment]:
        """The deployment that the runs worked on."""
        with Deployment.open(Settings.from_environment()) as deployment:
            yield deployment


@dataclass
class Daemon:
    """What Dagster's daemon does with our sensors, one tick at a time."""

    project: Project
    group: str = "places"
    cursors: dict[str, str | None] = field(default_factory=dict[str, str | None])

    def __post_init__(self) -> None:
        self.definitions = build_definitions([self.project.definitions])

    def tick(self, sensor: str) -> dg.SensorResult:
        """Evaluate a sensor and do what it asks for, as the daemon does it: events, partitions, cursor."""
        result = self.evaluate(sensor)
        assert not result.run_requests, "one sensor alone starts runs"
        for event in result.asset_events:
            self.project.instance.report_runless_asset_event(event)
        for request in result.dynamic_partitions_requests or ():
            assert isinstance(request, dg.AddDynamicPartitionsRequest), "a sensor that only discovers never deletes"
            self.project.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        self.cursors[sensor] = result.cursor
        return result

    def evaluate(self, sensor: str) -> dg.SensorResult:
        """Evaluate a sensor as a daemon does that is killed before it did anything about the answer."""
        found = self.definitions.resolve_sensor_def(sensor)
        with dg.build_sensor_context(
            instance=self.project.instance,
            cursor=self.cursors.get(sensor),
            definitions=self.definitions,
            sensor_name=sensor,
            resources={"deployment": DeploymentResource()},
        ) as context:
            result = found(context)
        assert isinstance(result, dg.SensorResult)
        return result

    def asked_for(self) -> set[str]:
        """One tick of the sensor that publishes changes: the partitions of the runs that the daemon starts for it.

        The runs are stored as finished, as the daemon stores them before it starts them.
        """
        requests = self.evaluate("changes_are_published").run_requests or []
        for request in requests:
            assert request.job_name == f"publish_{self.group}"
            assert request.partition_key is not None
            tags = {**request.tags, "dagster/partition": request.partition_key, "dagster/run_key": str(request.run_key)}
            create_run_for_test(self.project.instance, request.job_name, tags=tags, status=dg.DagsterRunStatus.SUCCESS)
        asked = [str(request.partition_key) for request in requests]
        assert len(set(asked)) == len(asked)
        return set(asked)


def reported(result: dg.SensorResult) -> dict[str, str]:
    """Partition -> data version, as a tick reported them."""
    return {
        str(event.partition): (event.tags or {})["dagster/data_version"]
        for event in result.asset_events
        if isinstance(event, dg.AssetObservation)
    }


@contextmanager
def new_project(folder: Path) -> Iterator[Project]:
    """An empty home that the environment names, so that the resource finds it the way a worker does."""
    origin = Origin(folder / "origin")
    origin.host(HOST)
    definitions = folder / "definitions"
    definitions.mkdir()
    with pytest.MonkeyPatch.context() as environment, dg.instance_for_test() as instance:
        for name in [name for name in os.environ if name.startswith("D4C_") and name != "D4C_FIXTURES"]:
            environment.delenv(name)
        environment.setenv("D4C_HOME", str(folder / "home"))
        environment.setenv("D4C_PORT", str(free_port()))
        environment.setenv("D4C_ORIGIN_MAP", origin.map)
        yield Project(folder / "home", definitions, origin, instance)
    origin.close()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project of this test's own."""
    with new_project(tmp_path) as made:
        yield made


Shown = Callable[[dg.ExecuteInProcessResult, str], dict[str, dg.MetadataValue]]


@pytest.fixture(scope="session")
def shown() -> Shown:
    """The metadata that an asset of a finished run left, as the UI shows it."""

    def of(run: dg.ExecuteInProcessResult, key: str) -> dict[str, dg.MetadataValue]:
        found = [
            event.materialization.metadata
            for event in run.get_asset_materialization_events()
            if event.asset_key is not None and event.asset_key.to_user_string() == key
        ]
        assert len(found) == 1, f"{key} was materialized {len(found)} times"
        return dict(found[0])

    return of
