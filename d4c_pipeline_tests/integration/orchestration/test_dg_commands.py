"""`dg` works with the component: it lists, checks and scaffolds. In a copy of the project, since it writes into it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from d4c_pipeline.workspace.datasets import read_definitions
from d4c_pipeline_tests.support.samples import define

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, copied."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "d4c_pipeline", folder / "d4c_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, folder)
    return folder


def dg(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("D4C_", "DAGSTER_"))}
    return subprocess.run(
        [str(BIN / "dg"), *arguments],
        cwd=project,
        # `dg` starts `python` and `dagster` by name. The copy is imported instead of what is installed.
        env={
            **kept,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(project),
            "D4C_HOME": str(project / "home"),
            "COLUMNS": "300",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_check_yaml_passes_and_list_defs_tells_machines_everything(copied: Path, tmp_path: Path) -> None:
    checked = dg(copied, "check", "yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    define(tmp_path)
    listed = dg(copied, "list", "defs", "--json", D4C_DEFS=str(tmp_path))
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    assets = {asset["asset_key"]: asset for asset in found["assets"]}
    # Seven shipped datasets, a family and our own, and what is of all.
    of_all = {"catalogue", "portal", "retention", "fixity", "health", "needs_attention", "assessments"}
    assert {key for key in assets if "/" not in key} == of_all
    assert len(assets) == 9 * 10 + len(of_all)
    assert assets["places/latest"]["dependency_keys"] == ["places/deposit"]
    assert "places/latest" in assets["catalogue"]["dependency_keys"]
    assert assets["statcan_provinces_territories_digital/processed"]["kinds"] == ["duckdb", "parquet"]
    assert "publish_places" in {job["name"] for job in found["jobs"]}


def test_the_component_is_listed_with_its_schema(copied: Path) -> None:
    listed = dg(copied, "list", "components", "--json")
    assert listed.returncode == 0, listed.stderr
    assert "d4c_pipeline.PublishedDataset" in {component["key"] for component in json.loads(listed.stdout)["items"]}


def test_a_scaffolded_dataset_is_valid_as_it_stands(copied: Path) -> None:
    made = dg(copied, "scaffold", "defs", "d4c_pipeline.PublishedDataset", "my_dataset")
    assert made.returncode == 0, made.stdout + made.stderr
    file = copied / "d4c_pipeline" / "defs" / "my_dataset" / "defs.yaml"
    try:
        (dataset,) = read_definitions(file)
        assert dataset.id == "my_dataset"
        assert (dataset.vintages, dataset.series, dataset.license) == (("2021",), "editions", "ogl-canada-2.0")
        assert dataset.publication.initial_version == "0.1.0"
        # Named by its folder: of several files of one component, `dg check yaml` of 1.13 checks the last it meets.
        folder = str(file.parent.relative_to(copied))
        checked = dg(copied, "check", "yaml", folder)
        assert checked.returncode == 0, checked.stdout + checked.stderr

        text = file.read_text("utf-8")
        line = next(n for n, said in enumerate(text.splitlines(), 1) if said.strip() == "series: editions")
        file.write_text(text.replace("series: editions", "series: weekly"), "utf-8")
        checked = dg(copied, "check", "yaml", folder)
        said = checked.stdout + checked.stderr
        assert checked.returncode == 1
        assert f"{file}:{line} - d4c_pipeline.PublishedDataset attributes.series 'weekly' is not one of" in said, said

        # Rules that no schema can say are told when the definitions are loaded, of all files at once.
        file.write_text(text.replace("license: ogl-canada-2.0", "license: ogl-moon"), "utf-8")
        checked = dg(copied, "check", "defs")
        said = " ".join((checked.stdout + checked.stderr).split())
        assert checked.returncode == 1
        assert (
            f"{file}:{text[: text.index('license:')].count(chr(10)) + 1}: license: 'ogl-moon' is not a known licence"
            in said
        )
    finally:
        shutil.rmtree(file.parent)


def test_check_defs_refuses_two_datasets_of_one_name(copied: Path, tmp_path: Path) -> None:
    """A YAML copied for a second dataset, its id changed and its naming parts forgotten."""
    first = define(tmp_path / "defs", "parks")
    name = {"region": "ca", "source": "example", "dguid": "2021A000011124", "package": "d4c-datapkg-foundation"}
    second = define(tmp_path / "defs", "trails", name={**name, "theme": "parks"})
    checked = dg(copied, "check", "defs", D4C_DEFS=str(tmp_path / "defs"))
    said = " ".join((checked.stdout + checked.stderr).split())
    assert checked.returncode == 1
    assert (
        "Several datasets have the naming parts of ca_example_2021A000011124_d4c-datapkg-foundation_parks, so each "
        f"would replace the files of the others: parks in {first.parent}; trails in {second.parent}. "
        "Change 'name' of the copied one"
    ) in said, said
