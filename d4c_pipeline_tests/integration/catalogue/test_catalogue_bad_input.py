"""Hostile and extreme releases through the rebuild: every document is well formed, escaped, and of a bounded size."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import feedparser
import pyarrow.parquet as pq
import pytest
import shapely
import yaml
from lxml import etree

from d4c_pipeline.chain import catalogue
from d4c_pipeline.model.licences import DeclaredLicence
from d4c_pipeline.model.release import Column, PublishedRelease, Release
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.catalogued import publish, publish_as
from d4c_pipeline_tests.support.published import HOSTILE_TEXT, in_parts, many_columns
from d4c_pipeline_tests.support.releases import PROVINCES, RATES, a_release

_BIDI_OR_CONTROL = re.compile("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a public deployment with a dataset for each case, rebuilt once."""
    home = tmp_path_factory.mktemp("bad") / "home"
    with Deployment.open(Settings(home=home, store_url="https://data.example.ca"), archive=False) as opened:
        publish(opened.ledger, 1, "ordinary", "2021", "1.0.0")
        texts = dict.fromkeys(("title", "description", "d4c:title_fr", "d4c:description_fr"), HOSTILE_TEXT)
        cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
            "texts": ({}, texts | {"keywords": [HOSTILE_TEXT], "d4c:keywords_fr": [HOSTILE_TEXT]}),
            "long_texts": ({}, {"description": "word " * 2_000, "d4c:description_fr": "é" * 10_000}),
            "short_texts": ({}, {"description": "Digital boundaries.", "d4c:description_fr": "Limites."}),
            "columns": ({"columns": 2_000}, {}),
            "parts": ({"parts": 45}, {}),
            "own_licence": ({"licence": True}, {}),
            "no_place": ({"table": True}, {}),
            "names": ({"table": True, "named": ("geometry", "bbox")}, {}),
        }
        for number, (name, (form, replaced)) in enumerate(cases.items(), 2):
            publish_as(opened.ledger, number, *_made(name, form), **replaced)
        done = catalogue.rebuild(opened)
        assert (done.releases, done.left_out, done.without_records) == (9, (), ())
    return home / "store"


def _made(name: str, form: dict[str, Any]) -> tuple[Any, Release]:
    base = RATES if "table" in form else PROVINCES
    changes: dict[str, Any] = {"id": name, "name": base.name.model_copy(update={"theme": name})}
    if "licence" in form:
        changes["license"] = DeclaredLicence.model_validate(
            {"title": {"en": "City licence", "fr": "Licence de la ville"}, "url": "https://city.example.ca/licence"}
            | {"text": "Use it."}
        )
    dataset = base.model_copy(update=changes)
    planned = a_release(base.model_copy(update={"name": dataset.name}), "2021", "1.0.0")
    release = replace(planned, dataset=name)
    if "columns" in form:
        release = replace(release, summary=replace(release.summary, columns=many_columns(form["columns"])))
    if "named" in form:
        texts = tuple(Column(name, "string") for name in form["named"])
        release = replace(release, summary=replace(release.summary, columns=texts))
    if "parts" in form:
        published = PublishedRelease(**vars(release), published_at=datetime(2026, 1, 1, tzinfo=UTC))
        release = in_parts(published, form["parts"])
    return dataset, release


def test_every_document_is_well_formed_and_free_of_control_and_direction_characters(store: Path) -> None:
    seen: set[str] = set()
    for path in sorted(store.rglob("*")):
        address = str(path.relative_to(store))
        if path.is_dir() or not address.startswith(("catalogue/", "llms", "sitemap")) or path.suffix == ".parquet":
            continue
        content = path.read_bytes()
        seen.add(path.suffix)
        is_stac = re.fullmatch(r"catalogue/(catalog|\w+/collection|\w+/[\w-]+/([\d.]+|latest))\.json", address)
        if path.suffix in (".json", ".jsonld"):
            json.loads(content)
        elif path.suffix in (".xml", ".atom", ".rss"):
            etree.fromstring(content)
        elif path.suffix == ".cff":
            assert yaml.safe_load(content)["cff-version"] == "1.2.0"
        if not is_stac:  # its texts are those of the deposited item, which is immutable
            assert not _BIDI_OR_CONTROL.search(content.decode()), address
            if path.suffix not in (".cff", ".bib", ".ris"):  # plain text, which no reader takes as HTML
                assert b"<script" not in content, address
            assert b"<b>" not in content, address
    assert seen == {".json", ".jsonld", ".xml", ".atom", ".rss", ".cff", ".bib", ".ris", ".md", ".txt"}


def test_descriptions_have_the_length_that_search_engines_take(store: Path) -> None:
    for name in ("long_texts", "short_texts", "texts", "columns"):
        for language in ("", ".fr"):
            path = store / f"catalogue/{name}/2021/1.0.0/schema{language}.jsonld"
            assert 50 <= len(json.loads(path.read_bytes())["description"]) <= 5_000, path


def test_two_thousand_columns_make_documents_that_are_read(store: Path) -> None:
    folder = store / "catalogue/columns/2021/1.0.0"
    assert max(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    fields = json.loads((folder / "croissant.json").read_bytes())["recordSet"][0]["field"]
    names = {field["source"]["extract"]["column"] for field in fields}
    assert len(fields) == 1_999  # a struct, here `bbox`, is no field of Croissant
    assert {"geometry", 'q"uo`te|', "c1996"} <= names


def test_forty_five_parts_are_one_entry_of_a_feed(store: Path) -> None:
    read = feedparser.parse((store / "catalogue/releases.en.atom").read_bytes())
    assert len(read.entries) == 9
    # The ordinary release lies in three parts.
    assert sorted(len(entry.enclosures) for entry in read.entries) == [1, 1, 1, 1, 1, 1, 1, 3, 45]
    assert len(feedparser.parse((store / "catalogue/torrents.rss").read_bytes()).entries) == 7 + 3 + 45


def test_a_licence_unknown_to_spdx_is_named_by_its_address(store: Path) -> None:
    folder = store / "catalogue/own_licence/2021/1.0.0"
    schema = json.loads((folder / "schema.jsonld").read_bytes())
    assert schema["license"] == "https://city.example.ca/licence"
    cff = yaml.safe_load((folder / "CITATION.cff").read_bytes())
    assert (cff.get("license"), cff["license-url"]) == (None, "https://city.example.ca/licence")


def test_a_table_has_the_place_of_its_geography(store: Path) -> None:
    schema = json.loads((store / "catalogue/no_place/2021/1.0.0/schema.jsonld").read_bytes())
    (shape,) = schema["spatialCoverage"]["geo"]
    assert shape["box"] == "41.66 -141.03 83.15 -52.6"  # Canada, by its DGUID


def test_columns_of_a_table_named_as_those_of_the_catalogue_are_columns_of_text(store: Path) -> None:
    folder = store / "catalogue/names/2021/1.0.0"
    (records,) = json.loads((folder / "croissant.json").read_bytes())["recordSet"]
    assert [(each["source"]["extract"]["column"], each["dataType"]) for each in records["field"]] == [
        ("geometry", "sc:Text"),
        ("bbox", "sc:Text"),
    ]
    (item,) = pq.read_table(store / "catalogue/names/items.parquet").to_pylist()
    assert [each["name"] for each in item["table:columns"]] == ["geometry", "bbox"]
    assert item["bbox"] == {"xmin": -141.03, "ymin": 41.66, "xmax": -52.6, "ymax": 83.15}
    assert shapely.from_wkb(item["geometry"]).geom_type == "Polygon"
