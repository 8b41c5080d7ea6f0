"""The nightly audit in Dagster: what its checks say of copies that are well, mended, lost, or too few."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.fixity import CopyKind
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.upkeep.fixity import expected_copies
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes import rot


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Deployment]:
    """A home with the embedded default, one store and the archive, and one release."""
    with rot.deployment(tmp_path / "home", stores=1) as opened:
        rot.publish(opened, "1.0.0", {"data.parquet": b"PAR1" * 50, "manifest.json": b"{}\n"})
        yield opened


def audited(
    at: Deployment, *, full: bool = False
) -> tuple[dg.ExecuteInProcessResult, dict[str, dg.AssetCheckEvaluation]]:
    run = (
        build_definitions()
        .resolve_job_def("audit_copies")
        .execute_in_process(
            resources={"deployment": DeploymentResource(home=str(at.settings.home), retries=False)},
            run_config={"ops": {"fixity": {"config": {"full": full}}}},
            raise_on_error=False,
        )
    )
    return run, {found.check_name: found for found in run.get_asset_check_evaluations()}


def said(check: dg.AssetCheckEvaluation) -> dict[str, object]:
    """The metadata of a check by name; of the examples the first."""
    return {
        name: value.records[0].data["finding"] if isinstance(value, dg.TableMetadataValue) else value.value
        for name, value in check.metadata.items()
    }


def harm(at: Deployment, kind: CopyKind, name: str, way: str) -> str:
    copy = next(copy for copy in expected_copies(at) if (copy.kind, copy.name) == (kind, name))
    rot.harm(rot.path_of(at, copy), way, random.Random(1))
    return str(copy)


def test_two_places_where_three_are_wanted_warn_in_words_and_all_else_passes(at: Deployment) -> None:
    run, checks = audited(at)
    assert run.success
    assert {name for name, check in checks.items() if not check.passed} == {"enough_copies"}
    few = checks["enough_copies"]
    assert few.severity is dg.AssetCheckSeverity.WARN
    assert said(few) | {"launch": ""} == {
        "findings": 1,
        "launch": "",
        "expected": "the required number of copies (D4C_COPIES, or publication.copies in the YAML)",
        "actual": "1 releases have fewer",
        "examples": "provinces_2021_v1.0.0: 2 of 3 copies verified (local, primary)",
        "remedy": "Configure another store, which 'd4c prune' fills, or require fewer copies",
    }
    (made,) = run.get_asset_materialization_events()
    assert made.materialization.metadata["copies"].value == 4
    assert made.materialization.metadata["lost"].value == 0


def test_as_many_places_as_the_deployment_wants_pass(at: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_COPIES", "2")
    _, checks = audited(at)
    assert checks["enough_copies"].passed
    assert said(checks["enough_copies"])["remedy"] == "none needed"


def test_what_was_lost_and_put_back_warns_once(at: Deployment) -> None:
    copy = harm(at, CopyKind.RELEASE, "data.parquet", "truncate")
    run, checks = audited(at)
    assert run.success
    found = checks["copies_intact"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert said(found)["actual"] == "1 lost, 1 restored, 0 not"
    assert str(said(found)["examples"]).startswith(f"{copy}: restored from local:")
    assert ", the damaged bytes moved to .quarantine/releases/" in str(said(found)["examples"])
    assert audited(at)[1]["copies_intact"].passed


def test_what_can_not_be_put_back_fails_night_after_night_and_says_what_to_do(at: Deployment) -> None:
    stored = harm(at, CopyKind.RELEASE, "data.parquet", "flip")
    archived = harm(at, CopyKind.ARCHIVE, "data.parquet", "flip")
    for actual in range(2):
        run, checks = audited(at, full=True)
        assert run.success, actual
        lost = checks["copies_intact"]
        assert (lost.passed, lost.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert said(lost)["actual"] == "1 lost, 0 restored, 1 not"
        assert str(said(lost)["examples"]).startswith(
            f"{stored}: no good copy, the damaged bytes moved to .quarantine/"
        )
        assert "then run 'd4c repair'" in str(said(lost)["remedy"])
        at_archive = checks["archive_intact"]
        assert (at_archive.passed, at_archive.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert str(said(at_archive)["examples"]).startswith(f"{archived}: damaged, sha256 ")
        assert said(at_archive)["remedy"] == "Contact the archive's managers: only they can change a published record"


def test_a_store_that_is_not_there_is_told_and_nothing_is_put_into_it(at: Deployment) -> None:
    store = at.settings.home / "store"
    store.rename(store.with_name("unmounted"))
    _, checks = audited(at)
    found = checks["audit_complete"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert said(found)["examples"] == "primary was skipped: it holds none of the 2 copies that the ledger knows of"
    assert "'d4c repair --refill STORE'" in str(said(found)["remedy"])
    assert not store.exists() or not any(store.rglob("*.parquet"))


def test_a_second_audit_at_the_same_time_is_refused(at: Deployment) -> None:
    with at.ledger.leases.hold(lease_keys.FIXITY):
        run, _ = audited(at)
    assert not run.success
