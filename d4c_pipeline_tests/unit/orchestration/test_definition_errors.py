"""A wrong definition stops the code location with file, line and field, before Dagster builds anything of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline.model.errors import DefinitionError
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline_tests.support.samples import declared, define


def line_of(file: Path, beginning: str) -> int:
    lines = file.read_text("utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.strip().startswith(beginning))


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        ("license: ogl-canada-2.0", "license: ogl-moon", "license", "'ogl-moon' is not a known licence"),
        ("series: editions", "serie: editions", "serie", "Extra inputs are not permitted"),
        ("region: ca", "region: Canada", "name.region", "'Canada' is not a region"),
        ("dguid: 2021A000011124", "dguid: 2021A00001112", "name.dguid", "not a well-formed DGUID"),
        ("initial_version: 0.1.0", "initial_version: '1'", "publication.initial_version", "not a semantic version"),
        ("kind: vector", "kind: raster", "processing", "does not match any of the expected tags"),
        ("- '2021'", "- yesterday", "vintages", "'yesterday' is not a vintage"),
    ],
)
def test_a_wrong_field_is_named_with_file_and_line(
    tmp_path: Path, old: str, new: str, field: str, message: str
) -> None:
    file = define(tmp_path)
    replace(file, old, new)
    with pytest.raises(DefinitionError) as caught:
        build_definitions([tmp_path])
    cause = caught.value.cause
    assert message in cause
    place = line_of(file, new) if field != "processing" else line_of(file, "kind: raster")
    assert any(f"{file}:{line}: {field}" in cause for line in {place, line_of(file, new)}), cause


def test_every_wrong_field_is_told_at_once(tmp_path: Path) -> None:
    file = define(tmp_path, license="ogl-moon", series="weekly")
    with pytest.raises(DefinitionError) as caught:
        build_definitions([tmp_path])
    assert f"{file}:{line_of(file, 'license')}: license" in caught.value.cause
    assert f"{file}:{line_of(file, 'series')}: series" in caught.value.cause


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    file = define(tmp_path, title=None)
    with pytest.raises(DefinitionError, match=r"title: Field required") as caught:
        build_definitions([tmp_path])
    assert str(file) in caught.value.cause


def test_an_id_that_is_declared_twice_names_both_files(tmp_path: Path) -> None:
    define(tmp_path / "mine", "natural_earth_countries")
    with pytest.raises(DefinitionError) as caught:
        build_definitions([tmp_path / "mine"])
    assert str(tmp_path / "mine" / "natural_earth_countries" / "defs.yaml") in caught.value.cause
    assert str(Path("defs") / "natural_earth_countries") in caught.value.cause


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="nowhere does not exist"):
        build_definitions([tmp_path / "nowhere"])


def test_two_datasets_of_one_name_are_refused_where_definitions_are_loaded(tmp_path: Path) -> None:
    """A YAML copied for a second dataset, its id changed and its naming parts forgotten."""
    first = define(tmp_path, "parks")
    build_definitions([tmp_path])
    second = define(tmp_path, "trails", name=declared("parks")["name"])
    third = define(tmp_path, "paths", name=declared("parks")["name"], series="rolling")
    with pytest.raises(DefinitionError) as caught:
        build_definitions([tmp_path])
    said = str(caught.value)
    assert said.startswith(
        "Several datasets have the naming parts of ca_example_2021A000011124_d4c-datapkg-foundation_parks"
    )
    for one, file in (("parks", first), ("paths", third), ("trails", second)):
        assert f"{one} in {file.parent}" in said
    define(tmp_path, "trails")
    define(tmp_path, "paths")
    build_definitions([tmp_path])
