"""Failures are remembered until they are mended: by steps, by checks, for runs that died; and listed every day."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from d4c_pipeline.chain import raw
from d4c_pipeline.commands.main import app
from d4c_pipeline.ledger.failures import Failed
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.orchestration import failures
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.integration.orchestration.conftest import Project
from d4c_pipeline_tests.support.samples import PLACES, PLACES_URL, define, geojson

STOPS_RETRIES = "dagster/retry_on_asset_or_op_failure"


@pytest.fixture
def defined(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    define(project.definitions)
    project.origin.put(PLACES_URL, geojson())
    monkeypatch.setattr(failures, "RETRIES", dg.RetryPolicy(max_retries=1, delay=0.01))
    return project


def standing(project: Project) -> list[Failed]:
    with project.opened() as deployment:
        return list(deployment.ledger.failures.standing())


def run_of(project: Project, result: dg.ExecuteInProcessResult) -> dg.DagsterRun:
    run = project.instance.get_run_by_id(result.run_id)
    assert run is not None
    return run


def test_a_failure_that_stays_is_remembered_with_its_run_and_no_run_is_retried_for_it(defined: Project) -> None:
    defined.origin.codes["/places_2021.geojson"] = 404
    result = defined.materialize("places", "2021", "raw", "processed")
    (failed,) = standing(defined)
    assert (failed.subject, failed.partition, failed.step) == ("places", "2021", "raw")
    assert (failed.kind, failed.transient, failed.times, failed.run) == ("SourceError", False, 1, result.run_id)
    assert "does not exist (the server answered 404)" in failed.cause
    assert run_of(defined, result).tags[STOPS_RETRIES] == "false"
    defined.materialize("places", "2021", "raw")
    assert standing(defined)[0].times == 2
    del defined.origin.codes["/places_2021.geojson"]
    assert defined.materialize("places", "2021", "raw").success
    assert standing(defined) == []


def test_a_failure_that_may_pass_is_remembered_once_and_leaves_run_retries_alone(
    defined: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    defined.origin.codes["/places_2021.geojson"] = 503
    monkeypatch.setattr(raw, "open_source", partial(open_source, patience=Patience(attempts=1)))
    seen: list[int] = []
    retain = raw.retain

    def watched(*args: object) -> raw.Retained:
        seen.append(len(standing(defined)))
        return retain(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(raw, "retain", watched)
    result = defined.materialize("places", "2021", "raw")
    assert seen == [0, 0], "what is tried again is no failure yet"
    (failed,) = standing(defined)
    assert (failed.kind, failed.transient, failed.times) == ("TransientError", True, 1)
    assert STOPS_RETRIES not in run_of(defined, result).tags


def test_a_bug_is_remembered_as_one(defined: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of token=secret")

    monkeypatch.setattr(raw, "retain", broken)
    result = defined.materialize("places", "2021", "raw")
    (failed,) = standing(defined)
    assert failed.kind == "ZeroDivisionError"
    assert failed.cause == "A bug stopped it (ZeroDivisionError: of token=***"
    assert run_of(defined, result).tags[STOPS_RETRIES] == "false"


def test_a_check_that_stops_the_chain_is_remembered_until_the_data_is_right(defined: Project) -> None:
    defined.origin.put(PLACES_URL, geojson([*PLACES, PLACES[0]]))
    assert not defined.materialize("places", "2021").success
    (failed,) = standing(defined)
    assert (failed.step, failed.kind, failed.transient) == ("processed", "CheckFailed", False)
    assert failed.cause == (
        "keys_identify_rows: expected no null and no duplicate in id, found 0 rows with a null key, 1 duplicate key"
    )
    defined.origin.put(PLACES_URL, geojson())
    assert defined.materialize("places", "2021").success
    assert standing(defined) == []


def daily(project: Project) -> dg.AssetCheckEvaluation:
    """What the daily job finds."""
    definitions = build_definitions([project.definitions])
    result = definitions.resolve_job_def("check_health").execute_in_process(instance=project.instance)
    assert result.success
    found = {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
    assert found.keys() == {
        "nothing_stays_failed",
        "dois_registered",
        "places_agree",
        "torrents_current",
        "keywords_are_current",
    }
    assert found["keywords_are_current"].passed
    return found["nothing_stays_failed"]


def test_the_daily_check_lists_what_stays_failed_with_the_way_out(defined: Project) -> None:
    found = daily(defined)
    assert (found.check_name, found.passed) == ("nothing_stays_failed", True)
    defined.origin.codes["/places_2021.geojson"] = 404
    defined.materialize("places", "2021", "raw")
    with defined.opened() as deployment:  # of a dataset that is no longer declared
        deployment.ledger.failures.record(
            "gone", "2020", "raw", kind="SourceError", transient=False, cause="It broke", remedy=""
        )
    found = daily(defined)
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert found.description == "1 failed partitions"
    table = found.metadata["failures"]
    assert isinstance(table, dg.TableMetadataValue)
    (row,) = [record.data for record in table.records]
    assert (row["dataset"], row["partition"], row["step"], row["times"]) == ("places", "2021", "raw", 1)
    assert row["remedy"] == "Correct the address or the vintage"
    assert row["command"] == "d4c publish places --vintage 2021"


def killed(project: Project, work: Callable[[], object]) -> dg.DagsterRun:
    """The run of a process that ends without a word, as Dagster's monitoring finds it."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(3)
    assert os.waitpid(child, 0)[1] != 3 << 8, "it should have died"
    (run,) = project.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    project.instance.report_run_failed(run, message="The process of this run was killed.")
    return run


def test_a_run_that_was_killed_is_remembered_by_the_sensor(defined: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("d4c_pipeline.chain.processed.process", lambda *_: os._exit(1))
        run = killed(defined, lambda: defined.materialize("places", "2021"))
    assert standing(defined) == []
    definitions = build_definitions([defined.definitions])
    sensor = definitions.resolve_sensor_def("runs_that_died")
    (ended,) = [
        record.event_log_entry.dagster_event
        for record in defined.instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    ]
    assert ended is not None
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_event=ended,
        dagster_instance=defined.instance,
        dagster_run=run,
        resources=definitions.resources or {},
    )
    with context:
        sensor(context.for_run_failure())
    (failed,) = standing(defined)
    assert (failed.subject, failed.partition, failed.step) == ("places", "2021", "processed")
    assert (failed.kind, failed.transient, failed.run) == ("RunDied", True, run.run_id)
    assert failed.cause == "The run died at 'processed': The process of this run was killed"
    assert defined.materialize("places", "2021").success
    assert standing(defined) == []


def failed(project: Project, *words: str) -> tuple[Any, BaseException | None]:
    done = CliRunner().invoke(app, ["failed", *words, "--defs", str(project.definitions), "--json"])
    return (json.loads(done.stdout) if done.stdout else None), done.exception


def test_what_failed_has_its_input_and_history_is_queried_and_run_again(defined: Project) -> None:
    define(defined.definitions, sql="SELECT *, nothing FROM source")
    defined.materialize("places", "2021", "raw", "processed")
    (row,), _ = failed(defined)
    assert (row["step"], row["command"]) == ("processed", "d4c publish places --vintage 2021")
    (native,) = row["inputs"]
    assert (native["name"], native["url"]) == ("places_2021.geojson", PLACES_URL)
    assert native["address"] == f"raw/places/2021/{native['sha256'][:12]}/places_2021.geojson"
    assert [(each["event"], each["step"]) for each in row["history"]] == [("step failed", "processed")]
    query = "SELECT kind, count(*) AS n, any_value(inputs->>'$[0].name') AS name FROM failed GROUP BY 1"
    found, _ = failed(defined, "--sql", query)
    assert found == [{"kind": "DataError", "n": 1, "name": "places_2021.geojson"}]
    assert failed(defined, "--cause", "no such cause")[0] == []
    _, error = failed(defined, "--sql", "SELECT * FROM read_text('/etc/passwd')")
    assert isinstance(error, D4CError)

    again, error = failed(defined, "--replay", "--cause", "NOTHING")
    assert isinstance(error, D4CError)
    assert [(each["partition"], each["outcome"]) for each in again] == [("2021", "failed again")]
    define(defined.definitions)
    again, error = failed(defined, "places", "--replay", "--partition", "2021")
    assert ([each["outcome"] for each in again], error) == (["recovered"], None)
    assert failed(defined)[0] == []
    with defined.opened() as deployment:
        kinds = [event.kind for event in deployment.ledger.events.of("places", "2021") if "step" in event.kind]
    assert kinds == ["step failed", "step recovered"]
