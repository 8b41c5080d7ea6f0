"""The static STAC tree: its addresses, its words and its links."""

from __future__ import annotations

import json
from typing import Any

import pytest

from d4c_pipeline.catalogue.static_stac import static_tree
from d4c_pipeline.catalogue.validation import mismatches
from d4c_pipeline.model.errors import DataError
from d4c_pipeline_tests.support.releases import PROVINCES, RATES, STORE, published

ITEMS = [
    published(PROVINCES, "2021", "0.10.0", previous="0.9.0"),
    published(RATES, "2025-06-04", "1.0.0"),
    published(PROVINCES, "2016", "0.1.0"),
    published(PROVINCES, "2021", "0.9.0", after="0.10.0"),
]


def read(tree: dict[str, bytes], address: str) -> dict[str, Any]:
    return json.loads(tree[address])


@pytest.mark.parametrize("base_url", [None, STORE])
def test_every_document_of_the_tree_validates_and_lies_at_its_address(base_url: str | None) -> None:
    tree = static_tree([PROVINCES, RATES], ITEMS, base_url)
    assert list(tree) == [
        "catalogue/catalog.json",
        "catalogue/exchange_rates/collection.json",
        "catalogue/exchange_rates/2025-06-04/1.0.0.json",
        "catalogue/exchange_rates/latest.json",
        "catalogue/provinces/collection.json",
        "catalogue/provinces/2016/0.1.0.json",
        "catalogue/provinces/2016/latest.json",
        "catalogue/provinces/2021/0.9.0.json",
        "catalogue/provinces/2021/0.10.0.json",
        "catalogue/provinces/2021/latest.json",
    ]
    for address in tree:
        document = read(tree, address)
        assert mismatches(document) == []
        assert tree[address].startswith(b'{\n  "type": "')
        own = [link["href"] for link in document["links"] if link["rel"] == "self"]
        assert own == ([f"{STORE}/{address}"] if base_url else [])


def test_collection_tells_extent_words_and_versions() -> None:
    collection = read(static_tree([PROVINCES, RATES], ITEMS), "catalogue/provinces/collection.json")
    assert collection["title"] == "Provinces and territories"
    assert collection["d4c:title_fr"] == "Provinces et territoires, Québec compris"
    assert collection["license"] == "OGL-Canada-2.0"
    assert collection["extent"] == {
        "spatial": {"bbox": [[-141.02, 41.68, -52.62, 83.14]]},
        "temporal": {"interval": [["2016-01-01T00:00:00Z", "2021-12-31T23:59:59Z"]]},
    }
    assert collection["summaries"]["d4c:vintage"] == ["2016", "2021"]
    assert collection["summaries"]["version"] == ["0.1.0", "0.9.0", "0.10.0"]
    assert collection["assets"]["stac-geoparquet"]["href"] == "./items.parquet"
    assert [link["title"] for link in collection["links"] if link["rel"] == "item"][:2] == [
        "Provinces and territories, 2021, v0.10.0",
        "Provinces and territories, 2021, v0.9.0",
    ]
    assert collection["item_assets"]["torrent"]["d4c:title_fr"] == "Torrent des données"
    assert collection["d4c:concept_doi"] == "10.5072/d4c.2021"
    root = read(static_tree([PROVINCES, RATES], ITEMS), "catalogue/catalog.json")
    mirrors = [link["href"] for link in root["links"] if link["rel"] == "collection-mirror"]
    # STAC Browser shows an empty page for a catalog with assets.
    assert mirrors == ["./stac.parquet"]
    assert "assets" not in root
    assert [link["href"] for link in collection["links"] if link["rel"] == "license"] == [
        "https://open.canada.ca/en/open-government-licence-canada"
    ]


def test_items_in_the_tree_link_relatively_and_once() -> None:
    item = read(static_tree([PROVINCES], ITEMS), "catalogue/provinces/2021/0.10.0.json")
    links = [
        (link["rel"], link["href"]) for link in item["links"] if link["rel"] not in ("license", "via", "derived_from")
    ]
    assert links == [
        ("root", "../../catalog.json"),
        ("parent", "../collection.json"),
        ("collection", "../collection.json"),
        ("predecessor-version", "./0.9.0.json"),
    ]


def test_latest_json_is_the_newest_item_at_a_stable_address() -> None:
    tree = static_tree([PROVINCES, RATES], ITEMS, STORE)
    latest = read(tree, "catalogue/provinces/2021/latest.json")
    newest = read(tree, "catalogue/provinces/2021/0.10.0.json")
    assert {**latest, "links": []} == {**newest, "links": []}
    links = {link["rel"]: link["href"] for link in latest["links"]}
    assert links["self"] == f"{STORE}/catalogue/provinces/2021/latest.json"
    assert (links["canonical"], links["predecessor-version"]) == ("./0.10.0.json", "./0.9.0.json")
    rates = read(tree, "catalogue/exchange_rates/latest.json")
    assert {link["rel"]: link["href"] for link in rates["links"]}["canonical"] == "./2025-06-04/1.0.0.json"


def test_a_dataset_no_longer_declared_stays_and_an_unpublished_one_is_not_shown() -> None:
    tree = static_tree([RATES], [ITEMS[0]])
    assert list(tree) == [
        "catalogue/catalog.json",
        "catalogue/provinces/collection.json",
        "catalogue/provinces/2021/0.10.0.json",
        "catalogue/provinces/2021/latest.json",
    ]
    collection = read(tree, "catalogue/provinces/collection.json")
    assert mismatches(collection) == []
    assert collection["title"] == "Provinces and territories"
    assert collection["providers"][0]["name"] == "Statistics Canada"


def test_nothing_published_is_a_valid_empty_catalog() -> None:
    tree = static_tree([PROVINCES], [])
    assert list(tree) == ["catalogue/catalog.json"]
    assert mismatches(read(tree, "catalogue/catalog.json")) == []


def test_order_of_items_does_not_matter_and_foreign_items_are_refused() -> None:
    assert static_tree([PROVINCES, RATES], ITEMS) == static_tree([RATES, PROVINCES], ITEMS[::-1])
    with pytest.raises(DataError, match="lacks collection, d4c:vintage or version"):
        static_tree([], [{"id": "x", "properties": {}}])
