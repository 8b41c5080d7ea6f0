"""Documents of the STAC API: landing page, conformance, collections, pages of items, with the links of their addresses.

`root` is the public address of the API. Items and collections come from `discovery.documents`; what OpenAPI says of
the addresses belongs here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from d4c_pipeline.catalogue.validation import STAC_VERSION
from d4c_pipeline.services.cql2 import CONFORMANCE as CQL2
from d4c_pipeline.services.discovery import openapi
from d4c_pipeline.services.discovery.answers import GEOJSON, JSON, SCHEMA, link
from d4c_pipeline.services.stac.requests import COLLECTION_PARAMETERS, MOST, SEARCH_PARAMETERS

_STAC = "https://api.stacspec.org/v1.0.0"
_CANDIDATE = "https://api.stacspec.org/v1.0.0-rc.1"
CONFORMANCE = (
    *(f"{_STAC}/{name}" for name in ("core", "collections", "ogcapi-features", "item-search")),
    *(f"{_STAC}/{where}#{name}" for where in ("item-search", "ogcapi-features") for name in ("fields", "sort")),
    f"{_STAC}/item-search#filter",
    f"{_CANDIDATE}/collection-search",
    *(f"{_CANDIDATE}/{where}#free-text" for where in ("item-search", "ogcapi-features", "collection-search")),
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/simple-query",
    *(f"http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/{name}" for name in ("core", "oas30", "geojson")),
    *(
        f"http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/{name}"
        for name in ("queryables", "filter", "features-filter")
    ),
    *CQL2,
)
"""Source: https://github.com/radiantearth/stac-api-spec and https://github.com/stac-api-extensions"""
_QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
_SORTABLES = "http://www.opengis.net/def/rel/ogc/1.0/sortables"
_LIMIT = {"limit"}
_OWN = frozenset({"self", "root", "parent", "collection"})


def landing(root: str, title: str, static: str) -> dict[str, Any]:
    """Return the landing page. `static`: the address of the same catalogue as a tree of files."""
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": "catalogue",
        "title": title,
        "description": "Every published version of every dataset, with its DOI, checksums and torrent.",
        "conformsTo": list(CONFORMANCE),
        "links": [
            link("self", root, JSON, title),
            link("root", root, JSON, title),
            link("conformance", f"{root}/conformance", JSON, "Conformance classes"),
            link("service-desc", f"{root}/api", openapi.MEDIA_TYPE, "The addresses, in OpenAPI"),
            link("data", f"{root}/collections", JSON, "Datasets"),
            link("search", f"{root}/search", GEOJSON, "Search", method="GET"),
            link("search", f"{root}/search", GEOJSON, "Search", method="POST"),
            link(_QUERYABLES, f"{root}/queryables", SCHEMA, "Properties of filters"),
            link(_SORTABLES, f"{root}/sortables", SCHEMA, "Properties of orders"),
            link("alternate", static, JSON, "The catalogue as a tree of files"),
        ],
    }


def collections(
    root: str, found: Iterable[dict[str, Any]], total: int, own: str, following: str | None
) -> dict[str, Any]:
    """Return a page of collections. `own`: its address; `following`: that of the next page."""
    shown = [collection(root, each) for each in found]
    links = [link("self", own, JSON), link("root", root, JSON), link("parent", root, JSON)]
    if following is not None:
        links.append(link("next", following, JSON))
    return {"collections": shown, "links": links, "numberMatched": total, "numberReturned": len(shown)}


def collection(root: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a collection of the static catalogue with the links of the API."""
    own = _collection_address(root, document["id"])
    links = [
        link("self", own, JSON),
        link("root", root, JSON),
        link("parent", root, JSON),
        link("items", f"{own}/items", GEOJSON, "Releases"),
        link(_QUERYABLES, f"{own}/queryables", SCHEMA, "Properties of filters"),
    ]
    return {**document, "links": links + _others(document)}


def item(root: str, document: dict[str, Any]) -> dict[str, Any]:
    """Return an item of the static catalogue with the links of the API."""
    parent = _collection_address(root, document["collection"])
    links = [
        link("self", f"{parent}/items/{quote(document['id'], safe='')}", GEOJSON),
        link("root", root, JSON),
        link("parent", parent, JSON),
        link("collection", parent, JSON),
    ]
    return {**document, "links": links + _others(document)}


def item_page(root: str, features: list[dict[str, Any]], total: int, links: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a page of items; `links` are `self` and `next`."""
    return {
        "type": "FeatureCollection",
        "features": features,
        "numberMatched": total,
        "numberReturned": len(features),
        "links": [*links, link("root", root, JSON)],
    }


def api(root: str, title: str) -> dict[str, Any]:
    """Return the description in OpenAPI."""
    dataset, release = openapi.in_path("dataset", "The dataset"), openapi.in_path("release", "The name of a release")
    search = openapi.get("Releases of all datasets", GEOJSON, sorted(SEARCH_PARAMETERS - _LIMIT), MOST)
    search["post"] = {
        "summary": "The same, as JSON",
        "requestBody": {"required": True, "content": {JSON: {"schema": {"type": "object"}}}},
        "responses": openapi.answers(GEOJSON),
    }
    collections_ = openapi.get("Datasets", JSON, sorted(COLLECTION_PARAMETERS - _LIMIT), MOST)
    items = openapi.get("Releases of a dataset", GEOJSON, sorted(SEARCH_PARAMETERS - _LIMIT), MOST)
    paths: dict[str, dict[str, Any]] = {
        "/": openapi.get("Landing page", JSON),
        "/conformance": openapi.get("Conformance classes", JSON),
        "/api": openapi.get("This description", openapi.MEDIA_TYPE),
        "/queryables": openapi.get("Properties of filters", SCHEMA),
        "/sortables": openapi.get("Properties of orders", SCHEMA),
        "/search": search,
        "/collections": collections_,
        "/collections/{dataset}": openapi.get("A dataset", JSON) | {"parameters": [dataset]},
        "/collections/{dataset}/queryables": openapi.get("Properties of filters", SCHEMA) | {"parameters": [dataset]},
        "/collections/{dataset}/items": items | {"parameters": [dataset]},
        "/collections/{dataset}/items/{release}": openapi.get("A release", GEOJSON)
        | {"parameters": [dataset, release]},
    }
    return openapi.document(f"{title}: STAC API", "Read-only, STAC API 1.0.0.", root, paths)


def _collection_address(root: str, dataset: str) -> str:
    return f"{root}/collections/{quote(dataset, safe='')}"


def _others(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the links of a document of the static catalogue that the API keeps; its own address is `canonical`."""
    canonical = [{**each, "rel": "canonical"} for each in document["links"] if each["rel"] == "self"]
    return [*canonical, *(each for each in document["links"] if each["rel"] not in _OWN)]
