"""What is set in the resource `duckdb` reaches every DuckDB that a run opens, and changes no byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.resources import ProcessingDuckDB
from d4c_pipeline.sandbox import call as child
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline_tests.integration.orchestration.conftest import Project
from d4c_pipeline_tests.support.samples import DAY, HOST, corrected, define, geojson

SETTINGS = ("memory_limit", "threads", "temp_directory")
STEPS = ("raw", "processed", "checksums", "doi", "copies", "torrent", "stac_item", "deposit", "latest")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The settings of each DuckDB that the processing opens, as DuckDB itself says them."""
    found: list[tuple[Any, ...]] = []
    original = duckdb_engine.connect

    def connect(**options: Any) -> Any:
        connection = original(**options)
        answer = connection.execute(f"SELECT {', '.join(f'current_setting({name!r})' for name in SETTINGS)}")
        found.append(answer.fetchone() or ())
        return connection

    monkeypatch.setattr(duckdb_engine, "connect", connect)
    # What a build opens is seen from here only where it is made here, with the very arguments that its process gets.
    monkeypatch.setattr(child, "run", lambda work, *arguments, **_: json.loads(json.dumps(work(*arguments))))
    return found


def run(project: Project, *steps: str, **resources: Any) -> dict[str, list[str]]:
    """Materialize the steps; return the checksums of what was built."""
    definitions = build_definitions([project.definitions], resources=resources)
    done = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=[dg.AssetKey(["places", step]) for step in steps],
        partition_key="2021",
        instance=project.instance,
        raise_on_error=False,
    )
    assert done.success
    mark = project.home / "staging" / "places" / "2021" / "build" / "build.json"
    if not mark.exists():  # `latest` removes it
        return {}
    built = json.loads(mark.read_text("utf-8"))
    return {"data": [each["sha256"] for each in built["data"]]}


@contextmanager
def prepared(project: Project) -> Iterator[None]:
    define(project.definitions, sql="SELECT *, population / 3 AS third FROM source")
    project.origin.put(f"{HOST}/places_2021.geojson", geojson())
    yield


def test_values_of_the_resource_reach_duckdb(project: Project, opened: list[tuple[Any, ...]], tmp_path: Path) -> None:
    temp = tmp_path / "fast disk"
    temp.mkdir()
    with prepared(project):
        usual = run(project, "raw", "processed")
        assert len(opened) >= 4  # SQL, profile, keys, checks
        before = len(opened)
        engine = ProcessingDuckDB(threads=1, memory_limit="300MB", temp_directory=str(temp))
        limited = run(project, "processed", duckdb=engine)
    assert limited == usual
    assert {limit for limit, _, _ in opened[before:]} == {"286.1 MiB"}
    assert {threads for _, threads, _ in opened[before:]} == {1}
    assert all(Path(folder).is_relative_to(temp) for _, _, folder in opened[before:])
    assert list(temp.iterdir()) == []
    assert "286.1 MiB" not in {limit for limit, _, _ in opened[:before]}


def test_the_comparison_with_the_last_release_is_limited_as_well(
    project: Project, opened: list[tuple[Any, ...]]
) -> None:
    engine = ProcessingDuckDB(threads=1, memory_limit="512MiB")
    with prepared(project):
        run(project, *STEPS, duckdb=engine)
        project.origin.put(f"{HOST}/places_2021.geojson", corrected(), DAY + timedelta(days=1))
        run(project, "raw", "processed", duckdb=engine)
        opened.clear()
        run(project, "checksums", duckdb=engine)
    # The comparison, and the proof of the changes that the release carries.
    assert [(limit, threads) for limit, threads, _ in opened] == [("512.0 MiB", 1)] * 2


def test_the_environment_decides_where_the_resource_says_nothing(
    project: Project, opened: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("D4C_MEMORY_LIMIT", "400MB")
    monkeypatch.setenv("D4C_THREADS", "1")
    with prepared(project):
        run(project, "raw", "processed", duckdb=ProcessingDuckDB(memory_limit="350MB"))
    assert {(limit, threads) for limit, threads, _ in opened} == {("333.7 MiB", 1)}


def test_its_connection_has_spatial_and_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_MEMORY_LIMIT", "400MB")
    with ProcessingDuckDB(threads=2).get_connection() as connection:
        answer = connection.execute(
            "SELECT ST_AsText(ST_Point(-75, 45)), current_setting('threads'), current_setting('memory_limit')"
        ).fetchone()
    assert answer == ("POINT (-75 45)", 2, "381.4 MiB")


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (ProcessingDuckDB(memory_limit="plenty"), r"The memory limit is 'plenty'\. Write it as 4GB"),
        (ProcessingDuckDB(temp_directory="/nonexistent/x"), "temporary files /nonexistent/x does not exist"),
        (ProcessingDuckDB(connection_config={"threads": 2}), "of which the processing knows nothing"),
    ],
)
def test_what_can_not_be_understood_is_refused(engine: ProcessingDuckDB, message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        engine.applied_to(Settings(home=Path("home")))


def test_operators_see_it_among_the_resources() -> None:
    shown = build_definitions().get_repository_def().get_top_level_resources()
    assert set(shown) == {"deployment", "duckdb"}
    fields = shown["duckdb"].config_schema.config_type.fields  # type: ignore[union-attr]
    assert {"threads", "memory_limit", "temp_directory"} <= set(fields)
