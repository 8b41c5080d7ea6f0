"""The home's copy of dagster.yaml: an older one gets the sections that were added since, an operator's changes stay."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.instance import dagster_home

SHIPPED = (Path(__file__).parents[3] / "dagster.yaml").read_text("utf-8")


@pytest.fixture(autouse=True)
def _embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def opened(home: Path, content: str) -> str:
    """The dagster.yaml of a home that has this content when a command opens it."""
    file = home / "dagster" / "dagster.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(content, "utf-8")
    assert dagster_home(Settings(home=home)) == file.parent
    return file.read_text("utf-8")


def test_a_new_home_has_the_shipped_file(tmp_path: Path) -> None:
    assert (dagster_home(Settings(home=tmp_path)) / "dagster.yaml").read_text("utf-8") == SHIPPED


def test_an_older_copy_gets_the_new_section_once_and_keeps_what_it_has(tmp_path: Path) -> None:
    older = "# ours\ntelemetry: {enabled: false}\nconcurrency:\n  runs: {max_concurrent_runs: 9}  # raised\n"
    newer = opened(tmp_path, older)
    assert newer.startswith(older)
    assert newer.removeprefix(older) == (
        "\n# The freshness of `latest` by the rhythm that a dataset declares (publication.frequency).\n"
        "freshness: {enabled: true}\n"
    )
    assert yaml.safe_load(newer)["concurrency"] == {"runs": {"max_concurrent_runs": 9}}
    assert opened(tmp_path, newer) == newer


@pytest.mark.parametrize("content", ["freshness: {enabled: false}\n", "{telemetry: {enabled: false}}\n", "a: [\n"])
def test_what_was_turned_off_or_can_not_be_extended_stays(tmp_path: Path, content: str) -> None:
    assert opened(tmp_path, content) == content


def test_a_folder_that_the_operator_names_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    assert opened(tmp_path, "telemetry: {enabled: false}\n") == "telemetry: {enabled: false}\n"
