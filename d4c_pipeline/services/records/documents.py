"""Documents of OGC API Records: landing page, conformance, the catalogue as a collection, records, their pages.

`root` is the public address of the API. The record itself belongs to `metadata.records.ogc_record`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urljoin

import duckdb

from d4c_pipeline.catalogue.stac_item import utc_text
from d4c_pipeline.metadata.published import PublishedMetadata, Tongue
from d4c_pipeline.metadata.records.ogc_record import CONFORMANCE as RECORDS
from d4c_pipeline.metadata.records.ogc_record import LANGUAGES, PROFILE, ogc_record
from d4c_pipeline.services.cql2 import CONFORMANCE as CQL2
from d4c_pipeline.services.discovery import openapi
from d4c_pipeline.services.discovery.answers import GEOJSON, JSON, SCHEMA, link
from d4c_pipeline.services.discovery.conditions import CRS84, NOT_WITHDRAWN
from d4c_pipeline.services.discovery.entries import ENTRIES
from d4c_pipeline.services.records.requests import HAS_RECORD, MOST, SEARCH_PARAMETERS

COLLECTION = "catalogue"
"""The only collection: every published release that is not withdrawn."""
_FEATURES = "http://www.opengis.net/spec/ogcapi-features"
CONFORMANCE = (
    *(f"{RECORDS}/{name}" for name in ("record-core", "record-core-query-parameters", "record-collection")),
    *(f"{RECORDS}/{name}" for name in ("records-api", "searchable-catalog", "sorting", "json", "oas30")),
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    *(f"{_FEATURES}-1/1.0/conf/{name}" for name in ("core", "oas30", "geojson")),
    *(f"{_FEATURES}-3/1.0/conf/{name}" for name in ("queryables", "filter", "features-filter")),
    *CQL2,
)
"""Source: https://docs.ogc.org/is/20-004r1/20-004r1.html and https://docs.ogc.org/is/19-079r2/19-079r2.html"""
_QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
_SORTABLES = "http://www.opengis.net/def/rel/ogc/1.0/sortables"
_TITLES: Mapping[Tongue, str] = {"en": "Catalogue of {publisher}", "fr": "Catalogue de {publisher}"}
_DESCRIPTIONS: Mapping[Tongue, str] = {
    "en": "Every published version of every dataset, with its DOI, licence, files and other records.",
    "fr": "Chaque version publiée de chaque jeu de données, avec DOI, licence, fichiers et autres notices.",
}
_VERSIONS = ("predecessor-version", "successor-version")


def landing(root: str, publisher: str, language: Tongue) -> dict[str, Any]:
    """Return the landing page."""
    title = _TITLES[language].format(publisher=publisher)
    return {
        "title": title,
        "description": _DESCRIPTIONS[language],
        "links": [
            link("self", root, JSON, title),
            link("conformance", f"{root}/conformance", JSON, "Conformance classes"),
            link("service-desc", f"{root}/api", openapi.MEDIA_TYPE, "The addresses, in OpenAPI"),
            link("data", f"{root}/collections", JSON, "Collections"),
            link("search", f"{_own(root)}/items", GEOJSON, "Records"),
        ],
    }


def collections(root: str, catalogue: dict[str, Any]) -> dict[str, Any]:
    """Return the list of collections."""
    links = [link("self", f"{root}/collections", JSON), link("root", root, JSON), link("parent", root, JSON)]
    return {"collections": [catalogue], "links": links}


def collection(
    root: str, publisher: str, contact: str | None, language: Tongue, cursor: duckdb.DuckDBPyConnection
) -> dict[str, Any]:
    """Return the catalogue as a collection of records; without a record it has no extent and no times.

    `contact`: the publisher's address of mail or web.
    """
    own, title = _own(root), _TITLES[language].format(publisher=publisher)
    party: dict[str, Any] = {"organization": publisher, "roles": ["publisher", "pointOfContact"]}
    if contact is not None and "@" in contact and "://" not in contact:
        party["emails"] = [{"value": contact}]
    elif contact is not None:
        party["links"] = [{"rel": "about", "href": contact, "type": "text/html"}]
    return {
        "id": COLLECTION,
        "type": "Collection",
        "itemType": "record",
        "title": title,
        "description": _DESCRIPTIONS[language],
        "language": dict(LANGUAGES[language]),
        "languages": [dict(each) for each in LANGUAGES.values()],
        "recordLanguages": [dict(each) for each in LANGUAGES.values()],
        "contacts": [party],
        "license": "other",  # each record has its own
        "crs": [CRS84],
        **_extent(cursor),
        "links": [
            link("self", own, JSON, title),
            link("root", root, JSON),
            link("parent", root, JSON),
            link("items", f"{own}/items", GEOJSON, "Records"),
            link(_QUERYABLES, f"{own}/queryables", SCHEMA, "Properties of filters"),
            link(_SORTABLES, f"{own}/sortables", SCHEMA, "Properties of orders"),
            *(_in_language(own, JSON, each) for each in LANGUAGES if each != language),
        ],
    }


def record(root: str, published: PublishedMetadata, language: Tongue, store_address: str) -> dict[str, Any]:
    """Return the record of a release with the links of the API.

    `store_address`: of the release's records in the store, which relative links are resolved from.
    """
    document = ogc_record(published, language)
    own = _record_address(root, published.name)
    line = zip(_VERSIONS, (published.line.previous, published.line.superseded_by), strict=True)
    links = [
        link("self", own, GEOJSON, hreflang=language),
        link("root", root, JSON),
        link("collection", _own(root), JSON),
        *(_in_language(own, GEOJSON, each) for each in LANGUAGES if each != language),
        *(link(relation, _record_address(root, other.name), GEOJSON) for relation, other in line if other is not None),
    ]
    others = [{**each, "href": urljoin(store_address, each["href"])} for each in document["links"]]
    return {**document, "links": links + others}


def page(root: str, features: Sequence[dict[str, Any]], total: int, own: str, following: str | None) -> dict[str, Any]:
    """Return a page of records. `own`: its address; `following`: the address of the next page."""
    links = [
        link("self", own, GEOJSON),
        link("root", root, JSON),
        link("collection", _own(root), JSON),
        {"rel": "profile", "href": PROFILE},
    ]
    if following is not None:
        links.append(link("next", following, GEOJSON))
    return {
        "type": "FeatureCollection",
        "features": list(features),
        "numberMatched": total,
        "numberReturned": len(features),
        "links": links,
    }


def api(root: str, publisher: str) -> dict[str, Any]:
    """Return the description in OpenAPI."""
    parameters = [openapi.in_path("record", "The name of a release")]
    own = f"/collections/{COLLECTION}"
    paths: dict[str, dict[str, Any]] = {
        "/": openapi.get("Landing page", JSON, ["lang"]),
        "/conformance": openapi.get("Conformance classes", JSON),
        "/api": openapi.get("This description", openapi.MEDIA_TYPE),
        "/collections": openapi.get("Collections", JSON, ["lang"]),
        own: openapi.get("The catalogue", JSON, ["lang"]),
        f"{own}/queryables": openapi.get("Properties of filters", SCHEMA),
        f"{own}/sortables": openapi.get("Properties of orders", SCHEMA),
        f"{own}/items": openapi.get("Records", GEOJSON, sorted(SEARCH_PARAMETERS - {"limit"}), MOST),
        f"{own}/items/{{record}}": openapi.get("A record", GEOJSON, ["lang"]) | {"parameters": parameters},
    }
    return openapi.document(f"{publisher}: OGC API Records", "Read-only, OGC API - Records - Part 1.", root, paths)


def _extent(cursor: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    moments = ("min(start_datetime)", "max(end_datetime)", "min(published)", "max(published)")
    seconds = ", ".join(f"CAST(floor(epoch({each})) AS BIGINT)" for each in moments)
    query = f"""SELECT min(west), min(south), max(east), max(north), {seconds}
        FROM {ENTRIES} WHERE {NOT_WITHDRAWN.sql} AND {HAS_RECORD.sql}"""  # noqa: S608 - SQL of ours
    (row,) = cursor.execute(query).fetchall()
    if None in row:
        return {}
    start, end, created, updated = (utc_text(datetime.fromtimestamp(each, UTC)) for each in row[4:])
    extent = {
        "spatial": {"bbox": [list(row[:4])], "crs": CRS84},
        "temporal": {"interval": [[start, end]], "trs": "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian"},
    }
    return {"created": created, "updated": updated, "extent": extent}


def _in_language(own: str, media_type: str, language: Tongue) -> dict[str, Any]:
    return link("alternate", f"{own}?lang={language}", media_type, LANGUAGES[language]["name"], hreflang=language)


def _own(root: str) -> str:
    return f"{root}/collections/{COLLECTION}"


def _record_address(root: str, name: str) -> str:
    return f"{_own(root)}/items/{quote(name, safe='')}"
