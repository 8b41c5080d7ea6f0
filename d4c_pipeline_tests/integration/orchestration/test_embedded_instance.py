"""The databases of a run: its instance's stay open, and its ledger is opened once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from sqlalchemy import Engine

from d4c_pipeline.ledger import ledger as ledger_module
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.instance import embedded_instance, kept_open
from d4c_pipeline_tests.integration.orchestration.conftest import Project
from d4c_pipeline_tests.support.samples import HOST, PLACES, define, geojson


def write(path: Path) -> None:
    """What Dagster does for each event: open, write, close."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS ours (number INTEGER)")
        connection.execute("INSERT INTO ours VALUES (1)")


def test_a_run_keeps_the_logs_of_its_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with embedded_instance(Settings(home=tmp_path)) as instance:
        run = create_run_for_test(instance, "publish_places").run_id
        instance.report_engine_event("Started", dg.DagsterRun("publish_places", run))
        history = tmp_path / "dagster" / "history"
        databases = [history / "runs.db", history / "runs" / "index.db", history / "runs" / f"{run}.db"]
        logs = [path.with_name(f"{path.name}-wal") for path in databases]
        with kept_open(instance, run):
            for path in databases:
                write(path)
            # The close of the last connection copies the log into the database, syncs both and removes the log.
            assert [log.exists() for log in logs] == [True, True, True]
        assert [log.exists() for log in logs] == [False, False, False]


def test_the_steps_of_a_run_share_its_ledger(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    define(project.definitions)
    project.origin.put(f"{HOST}/places_2021.geojson", geojson(PLACES))
    opened: list[str] = []
    open_engine = ledger_module.open_engine

    def counting(url: str) -> Engine:
        opened.append(url)
        return open_engine(url)

    monkeypatch.setattr(ledger_module, "open_engine", counting)
    assert project.materialize("places", "2021").success
    assert opened == [f"sqlite:///{project.home}/ledger.sqlite"]
    assert project.materialize("places", "2021", "raw").success
    assert len(opened) == 2, "the ledger of an ended run is closed"
