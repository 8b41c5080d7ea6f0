"""The nightly asset `retention` in Dagster: what it shows, and what it warns of."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.upkeep import retention
from d4c_pipeline.upkeep.retention import RetentionAction


def ran(home: Path) -> tuple[dg.AssetMaterialization, dg.AssetCheckEvaluation]:
    run = (
        build_definitions()
        .resolve_job_def("keep_mirrors")
        .execute_in_process(resources={"deployment": DeploymentResource(home=str(home), retries=False)})
    )
    assert run.success
    (made,) = run.asset_materializations_for_node("retention")
    (found,) = run.get_asset_check_evaluations()
    assert (found.asset_key, found.check_name) == (dg.AssetKey("retention"), "as_wanted")
    return made, found


def test_without_mirrors_nothing_is_done(tmp_path: Path) -> None:
    made, found = ran(tmp_path / "home")
    assert [made.metadata[name].value for name in ("pruned", "pushed", "freed")] == [0, 0, 0]
    assert made.metadata["actions"].value == "none"
    assert found.passed


def test_what_was_held_back_warns_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = (
        RetentionAction("a_v0.1.0", "west", "pruned", 9, 1000),
        RetentionAction("a_v0.2.0", "west", "pushed", 8, 500),
        RetentionAction("b_v0.1.0", "west", "held back", 9, 70, "the archive has no b.parquet"),
    )
    monkeypatch.setattr(retention, "apply", lambda *_: done)
    made, found = ran(tmp_path / "home")
    assert [made.metadata[name].value for name in ("pruned", "pushed", "freed")] == [1, 1, 1000]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    examples = found.metadata["examples"]
    assert isinstance(examples, dg.TableMetadataValue)
    assert examples.records[0].data["finding"] == "b_v0.1.0 on west: held back, 9 files, the archive has no b.parquet"


def test_it_is_scheduled_every_night_and_follows_the_catalogue() -> None:
    definitions = build_definitions()
    schedule = definitions.resolve_schedule_def("keep_mirrors_daily")
    assert schedule.cron_schedule == "15 4 * * *"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    graph = definitions.resolve_asset_graph()
    assert graph.get(dg.AssetKey("retention")).parent_keys == {dg.AssetKey("catalogue")}
