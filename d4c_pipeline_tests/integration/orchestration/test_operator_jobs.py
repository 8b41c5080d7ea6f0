"""Jobs of an operator: a paused source gets no request, lost copies are repaired, the site is rebuilt."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from d4c_pipeline.commands.main import app
from d4c_pipeline.model.errors import D4CError, UnknownNameError
from d4c_pipeline.model.fixity import FixityPolicy
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.daily.attention import launch_of
from d4c_pipeline.upkeep.attention import Attention, Kind, needs_attention
from d4c_pipeline.upkeep.fixity import audit
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline_tests.integration.orchestration.conftest import Daemon, Project
from d4c_pipeline_tests.support.samples import PLACES_URL, define, geojson

REASON = "The publisher asked us to stop for a week"


def launch(project: Project, job: str, op: str, **config: Any) -> dg.ExecuteInProcessResult:
    found = build_definitions([project.definitions]).resolve_job_def(job)
    return found.execute_in_process(
        instance=project.instance, run_config={"ops": {op: {"config": config}}}, raise_on_error=False
    )


def d4c(project: Project, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--defs", str(project.definitions), "--json"])


def test_a_paused_source_gets_no_request(project: Project) -> None:
    define(project.definitions)
    project.origin.put(PLACES_URL, geojson())
    assert launch(project, "pause_source", "decide_on_source", dataset="places", reason=REASON).success
    assert not launch(project, "pause_source", "decide_on_source", dataset="places").success, "without a reason"
    with pytest.raises(dg.DagsterInvalidConfigError, match="not in enum type"):  # a list of ids
        launch(project, "pause_source", "decide_on_source", dataset="towns", reason=REASON)

    daemon = Daemon(project)
    result = daemon.tick("observe_places")
    assert REASON in str(result.skip_reason)
    assert not result.asset_events
    failed = project.materialize("places", "2021", "raw")
    assert not failed.success
    with project.opened() as deployment:
        (standing,) = deployment.ledger.failures.standing()
        known = load_datasets([project.definitions])
        (found,) = [each for each in needs_attention(deployment, known.values()) if each.kind is Kind.PAUSED]
    assert (standing.kind, standing.transient) == ("PausedError", False)
    assert REASON in standing.cause
    assert "d4c resume places" in standing.remedy
    assert (found.subject, found.command) == ("places", "d4c resume places")
    assert project.origin.asked == []

    assert json.loads(d4c(project, "resume", "places").stdout)["changed"] is True
    assert json.loads(d4c(project, "resume", "places").stdout)["changed"] is False
    assert isinstance(d4c(project, "pause", "towns", "--reason", REASON).exception, UnknownNameError)
    assert project.materialize("places", "2021", "raw").success
    assert json.loads(d4c(project, "pause", "places", "--reason", REASON).stdout)["paused"] is True
    assert isinstance(d4c(project, "pause", "places", "--reason", " ").exception, D4CError)
    with project.opened() as deployment:
        events = [event.kind for event in deployment.ledger.events.of("places") if event.kind.startswith("source ")]
    assert events == ["source paused", "source resumed", "source paused"]


def test_a_listing_that_shrank_is_accepted_in_the_ui(project: Project) -> None:
    folder = project.definitions.parent / "published"
    for year in ("2020", "2021", "2022", "2023"):
        (folder / year).mkdir(parents=True)
        (folder / year / "places.geojson").write_bytes(geojson())
    source = {"kind": "folder", "path": f"{folder}/{{vintage:yyyy}}", "stable_seconds": 0}
    define(project.definitions, vintages="discovered", source=source)
    (declared,) = [each for each in load_datasets([project.definitions]).values() if each.id == "places"]

    def waits() -> Attention | None:
        with project.opened() as deployment:
            found = needs_attention(deployment, [declared])
        return next((each for each in found if each.kind is Kind.SHRUNK), None)

    assert launch(project, "check_source", "check_source_now", dataset="places").success
    for year in ("2021", "2022", "2023"):
        (folder / year / "places.geojson").unlink()
    assert not launch(project, "check_source", "check_source_now", dataset="places").success
    shrunk = waits()
    assert shrunk is not None
    link = urlsplit(launch_of(shrunk) or "")
    assert link.path.endswith("/jobs/check_source/playground/setup")
    config = yaml.safe_load(parse_qs(link.query)["config"][0])["ops"]["check_source_now"]["config"]
    assert config == {"dataset": "places", "accept_shrunken_listing": True}
    assert launch(project, "check_source", "check_source_now", **config).success
    assert waits() is None


def test_copies_are_repaired_and_the_site_is_rebuilt_by_jobs(project: Project) -> None:
    define(project.definitions)
    project.origin.put(PLACES_URL, geojson())
    assert project.materialize("places", "2021").success
    built = launch(project, "rebuild_site", "rebuild_pages", complete=True)
    assert built.output_for_node("rebuild_pages") | {"pages": 0} == {"releases": 1, "datasets": 1, "pages": 0}
    assert built.output_for_node("rebuild_pages")["pages"] > 0
    (data,) = (project.home / "store" / "releases").rglob("*_v0.1.0-beta.parquet")
    good = data.read_bytes()
    data.chmod(0o644)
    data.write_bytes(good[:-1] + b"!")
    with project.opened() as deployment:
        audit(deployment, FixityPolicy(), full=True)
    done = launch(project, "repair_copies_of_releases", "repair_copies", datasets=["places"])
    assert done.success
    assert done.output_for_node("repair_copies")["restored"] >= 1
    assert data.read_bytes() == good
