"""The catalogue as a tree of small JSON files that a browser, a crawler or pystac reads without a server.

The catalog, one collection per dataset, the documents of items and `latest.json` belong here; `stac_item` makes the
items, `stores` keeps the files.
Source: https://github.com/radiantearth/stac-spec/blob/master/best-practices.md (self-contained catalogs)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pystac.extensions.scientific import ScientificExtension

from d4c_pipeline.catalogue.item_assets import KINDS
from d4c_pipeline.catalogue.item_links import GEOJSON, JSON, link, links_elsewhere, placed
from d4c_pipeline.catalogue.stac_item import item_bytes, item_place, providers
from d4c_pipeline.catalogue.validation import STAC_VERSION
from d4c_pipeline.model.addresses import (
    CATALOGUE_PARQUET,
    CATALOGUE_ROOT,
    catalogue_collection_address,
    catalogue_item_address,
    catalogue_items_address,
    catalogue_latest_address,
)
from d4c_pipeline.model.dataset import Dataset

PARQUET = "application/vnd.apache.parquet"
MIRROR = "collection-mirror"
"""Role of the Parquet with every item of a catalog: https://radiantearth.github.io/stac-geoparquet-spec/"""
_TITLE, _TITLE_FR = "Catalogue of published releases", "Catalogue des versions publiées"
_WORDS = ("description", "d4c:description_fr", "keywords", "d4c:keywords_fr", "license", "providers")


Documented: TypeAlias = tuple[str, str, str]
"""A document that a collection or the root links: address, media type, title."""


@dataclass(frozen=True)
class Entry:
    """The facts of an item for its collection. Times are RFC 3339; `box` is west, south, east, north."""

    id: str
    title: str
    vintage: str
    version: str
    latest: bool
    box: tuple[float, float, float, float]
    start: str
    end: str
    code: str | None

    @property
    def address(self) -> str:
        """The address of the item's document in a store."""
        return f"{self.vintage}/{self.version}.json"


def static_tree(
    datasets: Sequence[Dataset], items: Iterable[Mapping[str, Any]], base_url: str | None = None
) -> dict[str, bytes]:
    """Return the static STAC tree of finalised `items`: address in a store -> bytes of the file.

    A dataset appears with its first published release; a dataset that is no longer declared keeps the texts of its
    newest item. Links within the tree are relative; with `base_url` (the public address of the store) every document
    has `self`. Raises DataError for an item that is not from this catalogue.
    """
    declared = {dataset.id: dataset for dataset in datasets}
    members: dict[str, list[Mapping[str, Any]]] = {}
    for item in sorted(items, key=item_place):
        members.setdefault(item["collection"], []).append(item)
    collections = {
        dataset: collection(
            dataset, list(map(entry_of, its_items)), newest_of(its_items), declared.get(dataset), base_url
        )
        for dataset, its_items in members.items()
    }
    titles = {dataset: document["title"] for dataset, document in collections.items()}
    tree = {CATALOGUE_ROOT: item_bytes(catalog(titles, base_url))}
    for dataset, its_items in members.items():
        tree[catalogue_collection_address(dataset)] = item_bytes(collections[dataset])
        for item in its_items:
            tree |= documents(item, base_url)
    return tree


def documents(item: Mapping[str, Any], base_url: str | None) -> dict[str, bytes]:
    """Return the documents of a finalised item by address: the item, and `latest.json` if it is the latest version."""
    dataset, vintage, version = item_place(item)
    own = catalogue_item_address(dataset, vintage, version)
    links = [*item["links"], *_own(own, GEOJSON, base_url)]
    found = {own: item_bytes({**item, "links": links})}
    if item["properties"]["is_latest"]:
        rolling = item["properties"]["d4c:series"] == "rolling"
        latest = catalogue_latest_address(dataset, None if rolling else vintage)
        elsewhere = [each for each in links_elsewhere(item, latest, None) if each["rel"] != "self"]
        canonical = link("canonical", placed(own, latest), GEOJSON, item["properties"]["title"])
        found[latest] = item_bytes({**item, "links": [*elsewhere, canonical, *_own(latest, GEOJSON, base_url)]})
    return found


def entry_of(item: Mapping[str, Any]) -> Entry:
    """Return the facts of a finalised item for its collection."""
    properties = item["properties"]
    west, south, east, north = item["bbox"]
    return Entry(
        id=item["id"],
        title=properties["title"],
        vintage=properties["d4c:vintage"],
        version=properties["version"],
        latest=properties["is_latest"],
        box=(west, south, east, north),
        start=properties["start_datetime"],
        end=properties["end_datetime"],
        code=properties.get("proj:code"),
    )


def newest_of(items: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the newest of items ordered by vintage and version: the last item that is a latest version."""
    return next((item for item in reversed(items) if item["properties"]["is_latest"]), items[-1])


def catalog(titles: Mapping[str, str], base_url: str | None, documents: Iterable[Documented] = ()) -> dict[str, Any]:
    """Return the root of the tree. `titles`: id -> title of each dataset with a release, in order.

    `documents`: the documents over all datasets in the store.
    """
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": "catalogue",
        "title": _TITLE,
        "d4c:title_fr": _TITLE_FR,
        "description": "Every published version of every dataset, with its DOI, checksums and torrent. "
        "The same as one table: stac.parquet.",
        "d4c:description_fr": "Chaque version publiée de chaque jeu de données, avec son DOI, ses sommes de contrôle "
        "et son torrent. La même chose sous forme de table : stac.parquet.",
        # A link alone: STAC has no assets of a catalog, and STAC Browser 4.0.1 shows an empty page for one with assets.
        "links": [
            link("root", placed(CATALOGUE_ROOT, CATALOGUE_ROOT), JSON, _TITLE),
            *_own(CATALOGUE_ROOT, JSON, base_url, _TITLE),
            {
                "rel": MIRROR,
                "href": placed(CATALOGUE_PARQUET, CATALOGUE_ROOT),
                "type": PARQUET,
                "title": "All versions of all datasets, STAC GeoParquet",
                "d4c:title_fr": "Toutes les versions de tous les jeux de données, STAC GeoParquet",
            },
            *_documented(documents, CATALOGUE_ROOT),
            *(
                link("child", placed(catalogue_collection_address(dataset), CATALOGUE_ROOT), JSON, title)
                for dataset, title in titles.items()
            ),
        ],
    }


def collection(
    dataset: str,
    entries: Sequence[Entry],
    newest: Mapping[str, Any],
    declared: Dataset | None,
    base_url: str | None,
    documents: Iterable[Documented] = (),
) -> dict[str, Any]:
    """Return the collection of a dataset.

    `entries`: its items, ordered by vintage and version. `newest`: the item that provides the assets, the thumbnail,
    and the texts of a dataset that is no longer declared. `documents`: the documents of the dataset in the store.
    """
    address = catalogue_collection_address(dataset)
    west, south, east, north = zip(*(entry.box for entry in entries), strict=True)
    words = _words(dataset, newest, declared)
    licences = [each for each in newest["links"] if each["rel"] == "license"]
    concept, test = newest["properties"].get("concept_doi"), newest["properties"].get("d4c:test_doi")
    cited = [link("cite-as", f"https://doi.org/{concept}", title="All versions")] if concept and not test else []
    document: dict[str, Any] = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": dataset,
        **words,
        "extent": {
            "spatial": {"bbox": [[min(west), min(south), max(east), max(north)]]},
            "temporal": {"interval": [[min(e.start for e in entries), max(e.end for e in entries)]]},
        },
        "summaries": {
            "d4c:vintage": list(dict.fromkeys(entry.vintage for entry in entries)),
            "version": list(dict.fromkeys(entry.version for entry in entries)),
            **({"proj:code": codes} if (codes := sorted({e.code for e in entries if e.code})) else {}),
        },
        "item_assets": _item_assets(newest["assets"]),
        "assets": _collection_assets(address, dataset, newest["assets"]),
        "links": [
            link("root", placed(CATALOGUE_ROOT, address), JSON, _TITLE),
            link("parent", placed(CATALOGUE_ROOT, address), JSON, _TITLE),
            *_own(address, JSON, base_url, words["title"]),
            *cited,
            *map(dict, licences),
            *_documented(documents, address),
            *(link("item", f"./{entry.address}", GEOJSON, entry.title) for entry in reversed(entries)),
        ],
    }
    if concept:
        document["d4c:concept_doi"] = concept
    if cited:
        document |= {"stac_extensions": [ScientificExtension.get_schema_uri()], "sci:doi": concept}
    return document


def _documented(documents: Iterable[Documented], source: str) -> list[dict[str, Any]]:
    return [
        link("describedby" if media_type == "text/markdown" else "alternate", placed(target, source), media_type, title)
        for target, media_type, title in documents
    ]


def _item_assets(assets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the assets of items without their addresses; `data` and `torrent` stand for the assets of parts."""
    found: dict[str, Any] = {}
    for key, kind in KINDS.items():
        asset = assets.get(key) or next((assets[name] for name in assets if name.startswith(f"{key}-")), None)
        if asset is not None:
            title = kind.en if key not in assets else asset["title"]
            found[key] = {
                "type": asset["type"],
                "title": title,
                "d4c:title_fr": kind.fr if key not in assets else asset["d4c:title_fr"],
                "roles": asset["roles"],
            }
    return found


def _collection_assets(address: str, dataset: str, assets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "stac-geoparquet": {
            "href": placed(catalogue_items_address(dataset), address),
            "title": "All versions of this dataset, STAC GeoParquet",
            "d4c:title_fr": "Toutes les versions de ce jeu de données, STAC GeoParquet",
            "type": PARQUET,
            "roles": [MIRROR, "metadata"],
        }
    }
    if thumbnail := assets.get("thumbnail"):
        found["thumbnail"] = {
            name: thumbnail[name] for name in ("href", "type", "title", "d4c:title_fr", "roles") if name in thumbnail
        }
    return found


def _words(dataset: str, newest: Mapping[str, Any], declared: Dataset | None) -> dict[str, Any]:
    """Return title, description, licence and credit, from the declaration or else from the newest item."""
    if declared is None:
        properties = newest["properties"]
        suffix = f", {properties['d4c:vintage']}, v{properties['version']}"
        titles = {
            name: str(properties[name]).removesuffix(suffix) for name in ("title", "d4c:title_fr") if name in properties
        }
        kept = {name: properties[name] for name in _WORDS if name in properties}
        return {"title": dataset, "description": dataset} | titles | kept
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


def _own(address: str, media_type: str, base_url: str | None, title: str | None = None) -> list[dict[str, Any]]:
    return [link("self", placed(address, address, base_url), media_type, title)] if base_url else []
