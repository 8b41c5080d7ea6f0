"""What an operator sees of a mirror that is down: a warning on `copies` that blocks nothing and goes with its cause."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from d4c_pipeline_tests.integration.orchestration.conftest import Project
from d4c_pipeline_tests.support.samples import PLACES_URL, define, geojson


def test_a_mirror_that_is_down_is_a_warning_with_cause_and_remedy(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(project.definitions)
    project.origin.put(PLACES_URL, geojson())
    document = tmp_path / "stores.yaml"
    document.write_text(
        "mirrors: [{name: attic, kind: folder, path: attic, url: 'https://attic.example.ca'}]\n", "utf-8"
    )
    monkeypatch.setenv("D4C_STORES", str(document))

    def every_store(run: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
        assert run.success
        (found,) = (one for one in run.get_asset_check_evaluations() if one.check_name == "every_store")
        assert found.severity is dg.AssetCheckSeverity.WARN
        return found

    down = every_store(project.materialize("places", "2021"))
    assert not down.passed
    said = {name: value.value for name, value in down.metadata.items()}
    cause = f"The folder {tmp_path / 'attic'} of store attic does not exist"
    examples = said.pop("examples")
    assert isinstance(examples, dg.TableMetadataValue)
    (record,) = examples.records
    assert record.data == {"mirror": "attic", "cause": cause, "remedy": "Mount its disk, or create the folder"}
    assert said == {
        "expected": "every mirror holds the release",
        "actual": f"attic lacks it: {cause}",
        "remedy": "Mount its disk, or create the folder",
        "command": "d4c publish places --vintage 2021",
        "launch": "/locations/__repository__@d4c_pipeline/jobs/publish_places/playground",
    }
    with project.opened() as opened:
        (release,) = opened.ledger.releases.published("places")

    (tmp_path / "attic").mkdir()
    mended = every_store(project.materialize("places", "2021"))
    assert mended.passed
    assert mended.metadata["actual"].value == "every mirror holds it"
    with project.opened() as opened:
        assert {copy.store for copy in opened.ledger.copies.of(release)} == {"attic", "primary"}
