"""Checks in the chain: a build that lost half its rows is stopped before anything is planned, and what failed stays."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from d4c_pipeline.chain.checksums import plan
from d4c_pipeline.chain.processed import process
from d4c_pipeline.commands.demo import serve
from d4c_pipeline.ledger.judgements import CheckResult
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import BusyError, NeedsPersonError
from d4c_pipeline.model.release import Release
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.assets import dataset_assets, step_presentations
from d4c_pipeline.orchestration.instance import embedded_instance
from d4c_pipeline.orchestration.products import of_dataset
from d4c_pipeline.orchestration.publishing import RunFailedError, publish_vintage
from d4c_pipeline.orchestration.resources import DeploymentResource, ProcessingDuckDB
from d4c_pipeline.processing.checks.run import CHECKS
from d4c_pipeline.review.verdicts import judge, refuse_failed
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.declarations import declaration, write_definition

# What Dagster says of an attribute that the chain's assets read is not the matter here.
pytestmark = pytest.mark.filterwarnings("ignore:AssetExecutionContext:DeprecationWarning")

HOST = "data.example.org"
Serve = Callable[..., None]


def declared(checks: dict[str, Any]) -> dict[str, Any]:
    return declaration(
        "checked_stops",
        name={"theme": "stops"},
        title={"en": "Stops", "fr": "Arrêts"},
        description={"en": "Stops of a test.", "fr": "Arrêts d'un essai."},
        source={"kind": "http", "urls": [f"https://{HOST}/stops.csv"]},
        processing={"kind": "vector", "key": ["id"], "longitude": "longitude", "latitude": "latitude"},
        checks=checks,
    )


def rows(count: int, name: str = "Montréal") -> str:
    # The first and the last stop stand at the corners, so that the bounds are those of all.
    lines = [f"{n},{name},{-73.9 + 0.1 * (n % 10) / 9:.6f},{45.4 + 0.1 * (n % 7) / 6:.6f}" for n in range(count)]
    return "\n".join(["id,name,longitude,latitude", *lines, ""])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Put other rows at the source, or another declaration of checks beside them."""
    folder = tmp_path / "defs" / "checked_stops"
    folder.mkdir(parents=True)
    (tmp_path / "web" / HOST).mkdir(parents=True)
    monkeypatch.setenv("D4C_PORT", str(_free_port()))
    monkeypatch.setenv("D4C_DEFS", str(tmp_path / "defs"))
    monkeypatch.setenv("D4C_HOME", str(tmp_path / "home"))

    def put(text: str | None = None, checks: dict[str, Any] | None = None) -> None:
        write_definition(folder / "defs.yaml", declared(checks or {}))
        if text is not None:
            (tmp_path / "web" / HOST / "stops.csv").write_text(text, "utf-8")

    put(rows(200))
    with serve(tmp_path / "web") as origins:
        monkeypatch.setenv("D4C_ORIGIN_MAP", ",".join(f"{old}={new}" for old, new in origins.items()))
        yield put


def dataset_of(settings: Settings) -> Dataset:
    return load_datasets(settings.definitions)["checked_stops"]


def publish() -> dict[str, Any]:
    settings = Settings.from_environment()
    dataset = dataset_of(settings)
    return publish_vintage(settings, dataset, "2021", [dataset])


def state() -> tuple[list[Release], list[CheckResult]]:
    """The releases that live, and what was said of the build in staging."""
    settings = Settings.from_environment()
    dataset = dataset_of(settings)
    with Deployment.open(settings) as deployment:
        built = process(deployment, dataset, dataset.vintage("2021"))
        return list(deployment.ledger.releases.living(dataset.id)), list(
            deployment.ledger.judgements.checks(built.sha256)
        )


def served(tmp_path: Path) -> bytes:
    (latest,) = (tmp_path / "home" / "store" / "processed").rglob("*.parquet")
    return latest.read_bytes()


def test_a_build_with_half_the_rows_is_stopped_and_the_earlier_release_stays(source: Serve, tmp_path: Path) -> None:
    first = publish()
    assert (first["outcome"], first["version"]) == ("published", "0.1.0-beta")
    before = served(tmp_path)
    _, results = state()
    assert {result.check: result.verdict for result in results} == {
        check.name: "pass" for check in CHECKS if check.name not in {"dguids_well_formed", "expected_totals"}
    }

    source(rows(100))
    with pytest.raises(RunFailedError) as stopped:
        publish()
    assert "The check rows_against_previous of checked_stops/processed failed: expected about 200 rows" in str(
        stopped.value
    )
    assert "found 100 rows (-50.00%)" in stopped.value.cause
    assert "raise the threshold under checks.rows" in stopped.value.remedy
    releases, results = state()
    assert [(str(release.version), release.state) for release in releases] == [("0.1.0-beta", "published")]
    assert {result.check: result.verdict for result in results}["rows_against_previous"] == "failure"
    assert served(tmp_path) == before

    # Whoever goes around the run and plans by hand is stopped where nothing could be undone.
    settings = Settings.from_environment()
    dataset = dataset_of(settings)
    with Deployment.open(settings) as deployment:
        planned = plan(deployment, dataset, dataset.vintage("2021")).release
        with pytest.raises(NeedsPersonError, match=r"rows_against_previous: 100 rows \(-50\.00%\)"):
            refuse_failed(deployment, dataset, planned)

    # What the dataset declares decides: with wider thresholds the same rows are published.
    source(checks={"rows": {"shrink_warning": 0.4, "shrink_failure": 0.6}})
    second = publish()
    assert (second["outcome"], second["rows"]) == ("published", 100)
    _, results = state()
    assert {result.check: result.verdict for result in results}["rows_against_previous"] == "warning"

    # The same data again are compared with themselves: the record keeps the comparison with the release before.
    assert publish()["outcome"] == "unchanged"
    _, again = state()
    assert again == results


def test_a_check_that_was_never_made_refuses(source: Serve) -> None:
    settings = Settings.from_environment()
    publish_before = dataset_of(settings)
    vintage = publish_before.vintage("2021")
    publish()
    source(checks={"totals": [{"rows": 200}]})
    dataset = dataset_of(settings)
    with Deployment.open(settings) as deployment:
        release = deployment.ledger.releases.newest_published(dataset.id, vintage)
        assert release is not None
        refuse_failed(deployment, publish_before, release)
        with pytest.raises(NeedsPersonError, match="never checked for expected_totals"):
            refuse_failed(deployment, dataset, release)
        built = process(deployment, dataset, vintage)
        judge(deployment, dataset, vintage, built)
        refuse_failed(deployment, dataset, release)
        with pytest.raises(BusyError, match="was replaced before it was checked"):
            judge(deployment, dataset, vintage, replace(built, data=(replace(built.data[0], sha256="0" * 64),)))


def test_dagster_shows_what_was_expected_and_a_warning_blocks_nothing(source: Serve) -> None:
    settings = Settings.from_environment()
    source(rows(200, "QuÃ©bec"), checks={"mojibake_allowed": 200, "totals": [{"rows": 201}]})
    dataset = dataset_of(settings)
    specs = {spec.name: spec for spec in step_presentations(of_dataset(dataset))["processed"].checks}
    assert list(specs) == [check.name for check in CHECKS if check.name != "dguids_well_formed"]
    assert all(spec.blocking for spec in specs.values())

    def materialize() -> dict[str, dg.AssetCheckEvaluation]:
        with embedded_instance(settings) as instance:
            run = dg.materialize(
                dataset_assets(dataset_of(settings))[:3],
                instance=instance,
                partition_key="2021",
                resources={
                    "deployment": DeploymentResource(home=str(settings.home), retries=False),
                    "duckdb": ProcessingDuckDB(),
                },
                raise_on_error=False,
            )
        ran = {key.path[-1] for event in run.get_asset_materialization_events() if (key := event.asset_key)}
        assert ("checksums" in ran) is run.success
        return {event.check_name: event for event in run.get_asset_check_evaluations()}

    found = materialize()
    failed = found["expected_totals"]
    assert (failed.passed, failed.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert failed.metadata["expected"].value == "rows 201"
    assert failed.metadata["actual"].value == "1 of 1 totals differ"
    examples = failed.metadata["examples"]
    assert isinstance(examples, dg.TableMetadataValue)
    assert [column.name for column in examples.schema.columns] == ["total", "expected", "actual", "tolerance"]
    assert [dict(record.data) for record in examples.records] == [
        {"total": "rows", "expected": 201, "actual": 200, "tolerance": 0.0}
    ]
    assert failed.metadata["command"].value == f"d4c publish {dataset.id} --vintage 2021"
    assert failed.metadata["override"].value == (
        f"d4c review override {dataset.id} --vintage 2021 --check expected_totals --reason '...'"
    )
    assert failed.partition == "2021"
    assert str(failed.metadata["remedy"].value).startswith("Compare with the source")
    warned = found["encoding_sane"]
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert {name for name, event in found.items() if not event.passed} == {"expected_totals", "encoding_sane"}

    source(checks={"mojibake_allowed": 200})
    assert {name for name, event in materialize().items() if not event.passed} == {"encoding_sane"}
