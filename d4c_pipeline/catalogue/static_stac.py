"""The catalogue as a tree of small JSON files that a browser, a crawler or pystac reads without a server.

Here belong the catalog, one collection per dataset and the places of the items; `stac_item` makes the items, `stores`
keeps the files.
Source: https://github.com/radiantearth/stac-spec/blob/master/best-practices.md (self-contained catalogs)
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from d4c_pipeline.catalogue.stac_item import item_bytes, item_place, providers
from d4c_pipeline.catalogue.validation import STAC_VERSION
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, CATALOGUE_ROOT, catalogue_item_address
from d4c_pipeline.model.dataset import Dataset

_JSON = "application/json"
_GEOJSON = "application/geo+json"
_TREE_RELATIONS = {"root", "parent", "self", "collection", "item", "child"}
_WORLD = (-180.0, -90.0, 180.0, 90.0)


def static_tree(
    datasets: Sequence[Dataset], items: Sequence[Mapping[str, Any]], base_url: str | None = None
) -> dict[str, bytes]:
    """Return the whole static STAC tree of finalised `items`: address in a store -> bytes of the file.

    A dataset is shown from its first published release on; one that is no longer declared keeps the words of its
    newest item. Links within the tree are relative; with `base_url` (the public address of the store) every document
    also says its own address. Raises DataError for an item that is none of ours.
    """
    declared = {dataset.id: dataset for dataset in datasets}
    members: dict[str, list[Mapping[str, Any]]] = {}
    for item in sorted(items, key=item_place):
        members.setdefault(item["collection"], []).append(item)
    tree = {CATALOGUE_ROOT: _catalog(members, declared, base_url)}
    for dataset, its_items in members.items():
        tree[_collection_address(dataset)] = _collection(dataset, its_items, declared.get(dataset), base_url)
        for item in its_items:
            tree[catalogue_item_address(*item_place(item))] = _placed(item, base_url)
    return {address: item_bytes(document) for address, document in tree.items()}


def _catalog(
    members: Mapping[str, Sequence[Mapping[str, Any]]], declared: Mapping[str, Dataset], base_url: str | None
) -> dict[str, Any]:
    children = [
        _link(
            "child",
            CATALOGUE_ROOT,
            _collection_address(dataset),
            _JSON,
            _words(dataset, its_items, declared.get(dataset))["title"],
        )
        for dataset, its_items in members.items()
    ]
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": "catalogue",
        "title": "Catalogue of published releases",
        "d4c:title_fr": "Catalogue des versions publiées",
        "description": "Every published version of every dataset, with its DOI, checksums and torrent. "
        "The same as one table: stac.parquet.",
        "d4c:description_fr": "Chaque version publiée de chaque jeu de données, avec son DOI, ses sommes de contrôle "
        "et son torrent. La même chose sous forme de table : stac.parquet.",
        "links": [
            _link("root", CATALOGUE_ROOT, CATALOGUE_ROOT, _JSON),
            *_own_address(CATALOGUE_ROOT, _JSON, base_url),
            *children,
        ],
    }


def _collection(
    dataset: str, items: Sequence[Mapping[str, Any]], declared: Dataset | None, base_url: str | None
) -> dict[str, Any]:
    address = _collection_address(dataset)
    properties = [item["properties"] for item in items]
    boxes = [item["bbox"] for item in items if item.get("bbox")]
    west, south, east, north = (
        (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))
        if boxes
        else (declared and declared.extent and declared.extent.bounds) or _WORLD
    )
    terms = next(link for link in items[-1]["links"] if link["rel"] == "license")
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": dataset,
        **_words(dataset, items, declared),
        "extent": {
            "spatial": {"bbox": [[west, south, east, north]]},
            "temporal": {
                "interval": [[min(p["start_datetime"] for p in properties), max(p["end_datetime"] for p in properties)]]
            },
        },
        "summaries": {
            "d4c:vintage": list(dict.fromkeys(p["d4c:vintage"] for p in properties)),
            "version": list(dict.fromkeys(p["version"] for p in properties)),
            **(
                {"proj:code": codes}
                if (codes := sorted({p["proj:code"] for p in properties if "proj:code" in p}))
                else {}
            ),
        },
        "assets": {
            "stac-geoparquet": {
                "href": posixpath.relpath(CATALOGUE_PARQUET, posixpath.dirname(address)),
                "title": "All versions of all datasets as one STAC GeoParquet",
                "type": "application/vnd.apache.parquet",
                "roles": ["collection-mirror", "metadata"],
            }
        },
        "links": [
            _link("root", address, CATALOGUE_ROOT, _JSON),
            _link("parent", address, CATALOGUE_ROOT, _JSON),
            *_own_address(address, _JSON, base_url),
            dict(terms),
            *(
                _link("item", address, catalogue_item_address(*item_place(item)), _GEOJSON, item["id"])
                for item in items
            ),
        ],
    }


def _words(dataset: str, items: Sequence[Mapping[str, Any]], declared: Dataset | None) -> dict[str, Any]:
    """Return title, description, licence and credit: as declared, or as the newest item has them."""
    if declared is None:
        newest = items[-1]["properties"]
        names = (
            "description",
            "d4c:description_fr",
            "keywords",
            "d4c:keywords_fr",
            "license",
            "providers",
            "d4c:title_fr",
        )
        return {"title": newest.get("title", dataset)} | {name: newest[name] for name in names if name in newest}
    stated = {
        "title": declared.title.en,
        "d4c:title_fr": declared.title.fr,
        "description": declared.description.en,
        "d4c:description_fr": declared.description.fr,
        "keywords": list(declared.keywords.en),
        "d4c:keywords_fr": list(declared.keywords.fr),
        "license": declared.terms.spdx or "other",
        "providers": providers(declared),
    }
    return {name: value for name, value in stated.items() if value}


def _placed(item: Mapping[str, Any], base_url: str | None) -> dict[str, Any]:
    """Return a copy of an item whose links are those of its place in the tree."""
    address = catalogue_item_address(*item_place(item))
    collection = _collection_address(item["collection"])
    links = [
        _link("root", address, CATALOGUE_ROOT, _JSON),
        _link("parent", address, collection, _JSON),
        _link("collection", address, collection, _JSON),
        *_own_address(address, _GEOJSON, base_url),
        *(dict(link) for link in item["links"] if link["rel"] not in _TREE_RELATIONS),
    ]
    return {**item, "links": links}


def _collection_address(dataset: str) -> str:
    return f"{posixpath.dirname(CATALOGUE_ROOT)}/{dataset}/collection.json"


def _link(relation: str, source: str, target: str, media_type: str, title: str | None = None) -> dict[str, Any]:
    href = posixpath.relpath(target, posixpath.dirname(source))
    link = {"rel": relation, "href": href if href.startswith(".") else f"./{href}", "type": media_type}
    return link | ({"title": title} if title else {})


def _own_address(address: str, media_type: str, base_url: str | None) -> list[dict[str, Any]]:
    return [{"rel": "self", "href": f"{base_url.rstrip('/')}/{address}", "type": media_type}] if base_url else []
