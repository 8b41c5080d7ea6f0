"""The daily check of DOIs in Dagster: what it shows when all are registered, and when one is not."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.upkeep import registration
from d4c_pipeline.upkeep.registration import Registration


def evaluated(home: Path) -> dg.AssetCheckEvaluation:
    run = (
        build_definitions()
        .resolve_job_def("check_health")
        .execute_in_process(resources={"deployment": DeploymentResource(home=str(home), retries=False)})
    )
    assert run.success
    (found,) = [each for each in run.get_asset_check_evaluations() if each.check_name == "dois_registered"]
    assert found.asset_key == dg.AssetKey("health")
    return found


def test_nothing_published_nothing_asked(tmp_path: Path) -> None:
    found = evaluated(tmp_path / "home")
    assert found.passed
    assert found.metadata["checked"].value == 0


def test_a_doi_that_is_not_registered_warns_and_names_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = (Registration("a_v1.0.0", "10.5281/1", True), Registration("b_v1.0.0", "10.5281/2", False))
    monkeypatch.setattr(registration, "check_registrations", lambda _: answers)
    found = evaluated(tmp_path / "home")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    examples = found.metadata["examples"]
    assert isinstance(examples, dg.TableMetadataValue)
    assert [record.data for record in examples.records] == [{"finding": "10.5281/2 (b_v1.0.0)"}]
    assert found.metadata["actual"].value == "1 of 2 are not"
    assert found.metadata["launch"].value == "/locations/__repository__@d4c_pipeline/jobs/check_health/playground"
    assert found.metadata["checked"].value == 2
