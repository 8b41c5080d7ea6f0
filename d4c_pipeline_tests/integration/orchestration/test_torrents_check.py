"""The daily trial of web seeds in Dagster: what it shows when all serve, and when one does not."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from d4c_pipeline.model.release import Torrent
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.upkeep import reissue
from d4c_pipeline.upkeep.reissue import Reissued


def evaluated(home: Path) -> dg.AssetCheckEvaluation:
    run = (
        build_definitions()
        .resolve_job_def("check_health")
        .execute_in_process(resources={"deployment": DeploymentResource(home=str(home), retries=False)})
    )
    assert run.success
    (found,) = [each for each in run.get_asset_check_evaluations() if each.check_name == "torrents_current"]
    assert found.asset_key == dg.AssetKey("health")
    return found


def test_nothing_published_nothing_tried(tmp_path: Path) -> None:
    found = evaluated(tmp_path / "home")
    assert found.passed
    assert (found.metadata["torrents"].value, found.metadata["reissued"].value) == (0, 0)


def test_a_seed_that_was_left_out_warns_and_names_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = Torrent("ab" * 20, None, "magnet:", 16384, ("https://a.example.org/x",), "torrents/x.torrent")
    none = Torrent("cd" * 20, None, "magnet:", 16384, (), "torrents/y.torrent")
    done = (
        Reissued(None, "x.parquet", good, (), (), (), changed=False),  # pyright: ignore[reportArgumentType]
        Reissued(None, "y.parquet", none, (), (), ("https://b.example.org/y answered 404",), changed=True),  # pyright: ignore[reportArgumentType]
    )
    monkeypatch.setattr(reissue, "follow_copies", lambda *_: done)
    found = evaluated(tmp_path / "home")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    examples = found.metadata["examples"]
    assert isinstance(examples, dg.TableMetadataValue)
    assert [record.data["finding"] for record in examples.records] == [
        "y.parquet: https://b.example.org/y answered 404",
        "y.parquet: no address serves it",
    ]
    assert (found.metadata["torrents"].value, found.metadata["reissued"].value) == (2, 1)
