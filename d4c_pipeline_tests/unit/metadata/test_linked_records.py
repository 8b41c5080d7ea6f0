"""Records in JSON-LD and linksets, read by the programs they are made for; hostile texts stay texts."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.registry import record_documents, record_format
from d4c_pipeline_tests.support.published import a_published, hostile

LINKED = ("schema_org", "schema_org_fr", "croissant", "ro_crate", "linkset")


@cache
def _hostile() -> dict[str, PublishedMetadata]:
    return hostile()


def _rendered(name: str, published: PublishedMetadata) -> dict[str, Any]:
    return json.loads(record_format(name).render(published))


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("name", LINKED)
def test_no_text_closes_a_script_element_or_turns_its_direction(name: str) -> None:
    for published in _hostile().values():
        content = record_format(name).render(published).decode()
        assert "<" not in content
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x09\x0b-\x1f\u2028]", content)
        assert "alert(1)" not in "".join(_texts(json.loads(content)))  # the content of a script element is no text


@pytest.mark.parametrize("case", list(hostile()))
def test_a_description_has_the_length_that_dataset_search_takes(case: str) -> None:
    for name in ("schema_org", "schema_org_fr"):
        document = _rendered(name, _hostile()[case])
        assert 50 <= len(document["description"]) <= 5_000
        assert document["name"]
        assert document["license"].startswith("https://")
        assert document["distribution"]


def test_schema_org_states_version_place_and_files_in_each_language() -> None:
    published = a_published()
    english, french = _rendered("schema_org", published), _rendered("schema_org_fr", published)
    assert english["name"] == "Provinces and territories, 2021"
    assert french["name"] == "Provinces et territoires, Québec compris, 2021"
    assert french["description"].endswith(
        "13 enregistrements, 3 colonnes. Licence : Open Government Licence - Canada 2.0."
    )
    assert english["version"] == "1.0.0"
    assert english["@id"] == english["url"] == "https://doi.org/10.5281/d4c.2021.1.0.0"
    assert english["spatialCoverage"]["geo"][0]["box"] == "41.68 -141.02 83.14 -52.62"
    download = english["distribution"][0]
    assert download["contentUrl"] == published.url(published.data_files[0])
    assert download["sha256"] == published.data_files[0].sha256
    crossing = _rendered("schema_org", _hostile()["across 180"])["spatialCoverage"]["geo"]
    assert [shape["box"] for shape in crossing] == ["-50.0 170.0 -30.0 180.0", "-50.0 -180.0 -30.0 -170.0"]
    assert "spatialCoverage" not in _rendered("schema_org", _hostile()["no place"])


def test_a_test_doi_is_a_value_and_no_address() -> None:
    for name in LINKED:
        assert "doi.org" not in record_format(name).render(_hostile()["test DOI"]).decode()


@pytest.mark.parametrize("case", list(hostile()))
def test_json_ld_expands_without_loss(case: str) -> None:
    from pyld import jsonld

    def offline(url: str, _options: Any) -> dict[str, Any]:
        vocabulary = {"@vocab": "http://schema.org/", "File": "http://schema.org/MediaObject"}
        return {"contextUrl": None, "documentUrl": url, "document": {"@context": vocabulary}}

    for name in LINKED[:-1]:
        document = _rendered(name, _hostile()[case])
        options = {"documentLoader": offline, "base": "https://data.example.ca/catalogue/record"}
        expanded = json.dumps(jsonld.expand(document, options))
        assert _hostile()[case].data_files[-1].sha256 in expanded


@pytest.mark.parametrize("case", list(hostile()))
def test_mlcroissant_finds_no_fault(case: str, tmp_path: Path) -> None:
    import mlcroissant

    path = tmp_path / "croissant.json"
    path.write_bytes(record_format("croissant").render(_hostile()[case]))
    dataset = mlcroissant.Dataset(path)
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    assert str(dataset.metadata.version) == str(_hostile()[case].version)


@pytest.mark.parametrize("parts", [0, 3])
def test_mlcroissant_reads_the_rows(parts: int, tmp_path: Path) -> None:
    import mlcroissant

    published = a_published(parts=parts)
    document, mapping = _rendered("croissant", published), {}
    for number, file in enumerate(published.data_files):
        path = tmp_path / file.name
        pq.write_table(pa.table({"dguid": ["a"], "prname": [f"Québec {number}"], "geometry": [b"\x01"]}), path)
        document["distribution"][number]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        mapping[file.name] = path
    (tmp_path / "croissant.json").write_text(json.dumps(document))
    dataset = mlcroissant.Dataset(tmp_path / "croissant.json", mapping=mapping)
    name = "rows-part-02" if parts else "rows"
    assert [row[f"{name}/prname"].decode() for row in dataset.records(name)] == [f"Québec {1 if parts else 0}"]


def test_croissant_of_many_columns_in_many_parts_stays_small() -> None:
    published = a_published(parts=45, columns=_hostile()["columns"].columns)
    assert len(record_format("croissant").render(published)) < 2_000_000
    assert len(_rendered("croissant", published)["recordSet"]) == 1


@pytest.mark.parametrize("case", list(hostile()))
def test_rocrate_reads_every_file(case: str, tmp_path: Path) -> None:
    from rocrate.rocrate import ROCrate

    path = tmp_path / "ro-crate-metadata.json"
    path.write_bytes(record_format("ro_crate").render(_hostile()[case]))
    crate = ROCrate(str(path))
    published = _hostile()[case]
    assert crate.version == "1.2"
    assert len(crate.root_dataset["hasPart"]) == len(published.files)
    assert {part["sha256"] for part in crate.root_dataset["hasPart"]} == {file.sha256 for file in published.files}
    assert crate.root_dataset["license"]["name"]


def test_the_linkset_leads_from_the_landing_page_to_files_records_and_versions_and_back() -> None:
    published = _hostile()["superseded"]
    context, *others = _rendered("linkset", published)["linkset"]
    assert context["anchor"] == published.landing_page
    assert context["cite-as"] == [{"href": "https://doi.org/10.5281/d4c.2021.1.0.0"}]
    assert [link["href"] for link in context["item"]] == [published.url(file) for file in published.files]
    assert context["predecessor-version"][0]["href"].endswith("0.9.0")
    base = "https://data.example.ca/catalogue/provinces"
    assert context["latest-version"][0]["href"] == f"{base}/2021/latest.json"
    assert context["version-history"][0]["href"] == f"{base}/versions.json"
    assert context["author"] == [{"href": "https://ror.org/05k71ja87"}]
    anchors = {entry["anchor"] for entry in others}
    described = {link["href"] for link in context["describedby"][:-1]}
    assert anchors == described | {published.url(file) for file in published.files}


def test_a_newer_version_changes_no_static_record() -> None:
    newest, superseded = a_published(previous="0.9.0"), a_published(previous="0.9.0", superseded_by="1.0.1")
    assert not superseded.latest
    assert dict(record_documents(newest)) == dict(record_documents(superseded))


def test_hostile_words_survive_as_words() -> None:
    document = _rendered("schema_org", _hostile()["texts"])
    assert "\"quoted\" 'single' & ampersand \\ back {brace}" in document["description"]
