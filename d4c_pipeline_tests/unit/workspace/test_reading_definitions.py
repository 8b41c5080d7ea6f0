"""Definitions as the chain reads them: which file, line and field is wrong, and what YAML's habits may not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.model.errors import DefinitionError, UnknownNameError
from d4c_pipeline.workspace.datasets import COMPONENT_TYPE, load_datasets, pick, read_definitions
from d4c_pipeline_tests.support.samples import declared, define


def wrong(file: Path) -> str:
    with pytest.raises(DefinitionError) as caught:
        list(read_definitions(file))
    return str(caught.value)


def line_of(file: Path, text: str) -> int:
    return next(n for n, line in enumerate(file.read_text("utf-8").splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("changes", "field", "line_with", "says"),
    [
        ({"license": "nope"}, "license", "license: nope", "nope"),
        ({"title": None}, "title", "id: places", "Field required"),
        ({"creators": []}, "creators", "creators: []", "at least 1 item"),
        ({"creators": [{"name": "X", "ror": "12"}]}, "creators.0.ror", "ror: '12'", "not a ROR id"),
        ({"vintages": ["2021", "2021"]}, "attributes", "id: places", "one is listed twice"),
        ({"vintages": []}, "attributes", "id: places", "list at least one"),
        ({"series": "weekly"}, "series", "series: weekly", "'editions' or 'rolling'"),
        ({"surprise": 1}, "surprise", "surprise: 1", "Extra inputs"),
        (
            {"processing": {"kind": "vector", "sql": "../other/transform.sql"}},
            "processing.vector.sql",
            "sql: ../other",
            "the dataset's own folder",
        ),
        ({"processing": {"kind": "raster"}}, "processing", "kind: raster", "'vector', 'table'"),
        ({"publication": {"initial_version": "1.0.0-beta"}}, "publication.initial_version", "1.0.0-beta", "the stage"),
        ({"source": {"kind": "http", "urls": []}}, "source", "kind: http", "at least one"),
        (
            {"source": {"kind": "http", "urls": ["https://a.ca/{vintage:yyy-q}"]}},
            "source.urls.0",
            "{vintage:yyy-q}",
            "not a vintage format",
        ),
    ],
)
def test_a_wrong_field_is_told_with_its_line(
    tmp_path: Path, changes: dict[str, Any], field: str, line_with: str, says: str
) -> None:
    file = define(tmp_path, **changes)
    told = wrong(file)
    place = f"{file}:{line_of(file, line_with)}: "
    assert told.startswith(place), told
    assert told.removeprefix(place).startswith(field.split(".vector", maxsplit=1)[0]), told
    assert says in told


def test_all_wrong_fields_are_told_at_once(tmp_path: Path) -> None:
    told = wrong(define(tmp_path, license="nope", series="weekly", surprise=1, title={"en": "", "fr": "x"}))
    assert [part.split(": ")[1] for part in told.split("; ")[:4]] == ["title.en", "license", "series", "surprise"]


@pytest.mark.parametrize("vintage", ["2020-10-02", "2021", "2024-06", "2025-06-04T1230"])
def test_an_unquoted_vintage_is_the_text_that_it_is(tmp_path: Path, vintage: str) -> None:
    # YAML would read a date of the first and a number of the second; Dagster's own reader leaves the date alone.
    file = define(tmp_path)
    file.write_text(file.read_text("utf-8").replace("- '2021'", f"- {vintage}"), "utf-8")
    (dataset,) = read_definitions(file)
    assert dataset.vintages == (vintage,)


def test_other_components_and_empty_documents_are_passed_over(tmp_path: Path) -> None:
    file = define(tmp_path)
    good = file.read_text("utf-8")
    file.write_text(f"---\ntype: dagster.DefsFolderComponent\n---\n{good}---\n", "utf-8")
    assert [dataset.id for dataset in read_definitions(file)] == ["places"]
    # The line is that of the file, not of the document.
    file.write_text(f"---\ntype: dagster.DefsFolderComponent\n---\n{good}".replace("id: places", "id: Places"), "utf-8")
    assert wrong(file).startswith(f"{file}:{line_of(file, 'id: Places')}: id: 'Places' is not an identifier")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "type: d4c_pipeline.PublishDataset\n",
            ":1: type: 'd4c_pipeline.PublishDataset' is not a component of d4c_pipeline",
        ),
        ("\nattributes: {}\n", ":2: type: is missing"),
        ("- 1\n", ":1: type: is missing"),
        (f"type: {COMPONENT_TYPE}\nattributes: [1]\n", ":2: attributes: "),
        (f"type: {COMPONENT_TYPE}\n", ":1: id: Field required"),
        ("a: [1\nb: 2\n", " is not YAML: "),
        ("a: !!python/object:os.system x\n", " is not YAML: "),
    ],
)
def test_documents_that_are_no_definition(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "defs.yaml"
    file.write_text(text, "utf-8")
    assert wrong(file).startswith(f"{file}{says}")


def test_a_definition_knows_its_folder_and_shipped_ones_are_always_there(tmp_path: Path) -> None:
    define(tmp_path, "parks", sql="SELECT * FROM source")
    datasets = load_datasets([tmp_path])
    assert datasets["parks"].folder == tmp_path / "parks"
    assert list(datasets) == sorted(datasets)
    assert {"statcan_provinces_territories_digital", "geonames_populated_places_canada"} < set(datasets)


def test_a_shipped_id_can_not_be_taken(tmp_path: Path) -> None:
    file = define(tmp_path, "natural_earth_countries")
    with pytest.raises(DefinitionError, match="natural_earth_countries is declared in") as caught:
        load_datasets([tmp_path])
    assert str(file) in str(caught.value)


def test_close_names_are_suggested() -> None:
    known: dict[str, Any] = dict.fromkeys(["census_divisions", "census_subdivisions", "rates"])
    with pytest.raises(UnknownNameError, match="Did you mean census_divisions or census_subdivisions"):
        pick(known, "census_division")
    with pytest.raises(UnknownNameError) as caught:
        pick(known, "zzz")
    assert caught.value.remedy == "List them with 'd4c datasets'"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.dates(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(sorted(declared())),
)
def test_whatever_stands_in_a_field_is_an_error_with_a_line_or_fine(
    tmp_path_factory: pytest.TempPathFactory, value: Any, field: str
) -> None:
    folder = tmp_path_factory.mktemp("any") / "places"
    folder.mkdir()
    file = folder / "defs.yaml"
    file.write_text(yaml.safe_dump({"type": COMPONENT_TYPE, "attributes": declared() | {field: value}}), "utf-8")
    try:
        told = f"{file}: {next(read_definitions(file)).id}"
    except DefinitionError as error:
        told = str(error)
    assert told.startswith(f"{file}:")


@pytest.mark.parametrize(
    ("title", "what"),
    [
        (r'"Parks \x07"', r"a control character \(U\+0007\)"),
        (r'"Parks \u202e"', "a character that turns the direction"),
        ('"<script>alert(1)</script>"', "HTML"),
    ],
)
def test_a_text_that_no_record_may_have_is_refused_with_its_line(tmp_path: Path, title: str, what: str) -> None:
    (tmp_path / "parks").mkdir()
    file = tmp_path / "parks" / "defs.yaml"
    file.write_text(
        f"type: d4c_pipeline.PublishedDataset\nattributes:\n  id: parks\n  title:\n    en: {title}\n    fr: Parcs\n",
        "utf-8",
    )
    with pytest.raises(DefinitionError, match=rf"defs\.yaml:5: a text has {what}"):
        list(read_definitions(file))
