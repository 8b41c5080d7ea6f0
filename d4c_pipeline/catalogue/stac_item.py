"""The STAC 1.1 item of one release: built before publication as an artifact, completed by the catalogue after it.

The fields of an item and their names belong here, its assets to `item_assets`, its links to `item_links`, its place to
`places`, validation to `validation`, the Parquet to `arrow_schema` and `stac_geoparquet`. `docs/catalogue.md` lists the
fields that STAC lacks: the fields for SQL, and those under `d4c:`.
Source of the fields: https://github.com/radiantearth/stac-spec and the extensions file, projection, scientific, table,
timestamps, version and alternate-assets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pystac
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.scientific import ScientificExtension
from pystac.extensions.table import Column as TableColumn
from pystac.extensions.table import TableExtension
from pystac.extensions.timestamps import TimestampsExtension
from pystac.extensions.version import ItemVersionExtension

from d4c_pipeline.catalogue.item_assets import ALTERNATE_ASSETS, FILE_INFO, Addresses, assets_of, torrent_fields
from d4c_pipeline.catalogue.item_links import Line, deposited_links, final_links
from d4c_pipeline.catalogue.places import Place, place_of
from d4c_pipeline.catalogue.validation import STAC_VERSION
from d4c_pipeline.metadata.citation import citation, required_doi
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.model.credits import Party
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, DataError, IntegrityError
from d4c_pipeline.model.licences import Licence
from d4c_pipeline.model.naming import ReleaseName
from d4c_pipeline.model.reasons import to_item
from d4c_pipeline.model.release import Deposit, PublishedRelease, Release, Torrent
from d4c_pipeline.model.settings import PUBLISHER
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage

_GEOMETRY_NAMES = ("geometry", "geom", "wkb_geometry")
_SEED_FIELDS = frozenset({"d4c:info_hash", "d4c:info_hash_v2", "d4c:magnet"})


def build_item(
    dataset: Dataset,
    release: Release,
    deposit: Deposit,
    torrents: Mapping[str, Torrent],
    *,
    asset_urls: Mapping[str, str],
    base_url: str | None = None,
    publisher: str = PUBLISHER,
) -> dict[str, Any]:
    """Return the item of a release before publication, with its reserved DOI, addresses and torrents.

    `torrents`: data artifact name -> torrent. `asset_urls`: artifact name -> its address in the primary store.
    `base_url`: the public address of that store for the link to the collection; without it the link is relative to the
    release's folder in a store. Publication changes no input, so the result is the same before and after. Raises
    DataError when an artifact has no address or the bounds are invalid, PermanentError when the deposit has no DOI.
    """
    place = place_of(dataset.name.dguid, release.summary.bounds, dataset.extent and dataset.extent.bounds)
    terms = dataset.terms
    item = pystac.Item(
        id=release.name,
        geometry=place.geometry,
        bbox=place.bbox,
        datetime=None,
        start_datetime=release.vintage.start,
        end_datetime=release.vintage.end,
        properties=_described(dataset, release, deposit, torrents, terms) | {"d4c:place": place.origin},
        collection=dataset.id,
    )
    _extend(item, dataset, release, deposit, publisher)
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    document["assets"] = assets_of(release, deposit, torrents, Addresses(asset_urls))
    document["stac_extensions"] = _extensions(document)
    cited = [link for link in document["links"] if link["rel"] == "cite-as"]
    document["links"] = [*cited, *deposited_links(dataset, release, deposit, asset_urls, base_url)]
    return document


def finalise_item(
    item: Mapping[str, Any],
    release: PublishedRelease,
    deposit: Deposit,
    torrents: Mapping[str, Torrent],
    *,
    addresses: Addresses,
    line: Line,
    records: Iterable[RecordFormat] = (),
) -> dict[str, Any]:
    """Return the catalogue's item of a published release, computed from its deposited item and the present facts.

    `item` provides the texts; it may have an earlier form, without a place. `torrents`: data artifact name -> present
    torrent; its addresses may have changed, its info hashes never do. `line`: the neighbours of the release among the
    versions of its product. `records`: the formats of its records in the static tree. Links within the static tree are
    relative to the item's address there. Raises IntegrityError when item and deposit have different DOIs.
    """
    before: dict[str, Any] = item["properties"]
    stated = before.get("sci:doi", before.get("doi"))
    if stated != deposit.doi:
        raise IntegrityError(
            f"Item {item['id']} has DOI {stated}, its deposit has {deposit.doi}",
            "Compare both with the record at the archive before publishing",
        )
    place = recorded_place(item, release)
    final: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "id": item["id"],
        "collection": item["collection"],
        "geometry": place.geometry,
        "bbox": place.bbox,
        "assets": assets_of(release, deposit, torrents, addresses),
        "links": final_links(item, release, deposit, line, addresses, records),
    }
    seeded = torrent_fields(*torrents.values()) if len(torrents) == 1 else {}
    kept = {name: value for name, value in before.items() if name not in _SEED_FIELDS}
    properties = kept | seeded | _titles(before, release) | _sql_fields(item, release, deposit, torrents, addresses)
    if release.change.differences:
        properties |= _change(release)  # an item of an earlier form has sentences only
    properties["d4c:place"] = place.origin
    properties["d4c:latest"] = properties["is_latest"] = line.latest
    properties["deprecated"] = line.successor is not None or release.withdrawn is not None
    if release.withdrawn is not None:
        properties["withdrawn_at"] = utc_text(release.withdrawn.at)
        properties["withdrawn_reason"] = release.withdrawn.reason
        properties["description"] = release.withdrawn.noted(properties.get("description", ""), "en")
        properties["d4c:description_fr"] = release.withdrawn.noted(properties.get("d4c:description_fr", ""), "fr")
    properties["d4c:test_doi"] = deposit.test
    if deposit.test:
        properties.pop("sci:doi", None)  # readers make a link of it, which would lead nowhere; `doi` stays
    if deposit.concept_doi:
        properties["d4c:concept_doi"] = deposit.concept_doi
    if deposit.url:
        properties["d4c:archive_url"] = deposit.url
    properties["published"] = utc_text(release.published_at)
    final["properties"] = properties
    final["stac_extensions"] = _extensions({**final, "stac_extensions": item["stac_extensions"]})
    return final


def item_bytes(item: Mapping[str, Any]) -> bytes:
    """Return a STAC document as canonical JSON: UTF-8, `type` first, other keys sorted, indented by two.

    GDAL recognises GeoJSON by a `type` near the beginning of a file. Raises ValueError for a number that JSON does not
    support.
    """
    head = {"type": item["type"]} if "type" in item else {}
    rest = {name: value for name, value in item.items() if name != "type"}
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    body = orjson.dumps(rest, option=options)
    if body.count(b"null") > ("datetime" in item.get("properties", {})):  # orjson writes null for NaN
        json.dumps(item, allow_nan=False)
    if not head:
        return body
    return orjson.dumps(head, option=orjson.OPT_INDENT_2)[: -len(b"\n}")] + b"," + body[1:]


def item_place(item: Mapping[str, Any]) -> tuple[str, Vintage, Version]:
    """Return dataset, vintage and version of an item; they order a catalogue and name its files.

    Raises DataError when the item lacks a part of them.
    """
    try:
        properties = item["properties"]
        return (
            str(item["collection"]),
            Vintage.parse(properties["d4c:vintage"]),
            Version.read(properties["version"]),
        )
    except (KeyError, D4CError) as error:
        raise DataError(
            f"Item {item.get('id')} lacks collection, d4c:vintage or version: {error}",
            "Build it with the asset stac_item",
        ) from error


def providers(dataset: Dataset) -> list[dict[str, Any]]:
    """Return STAC's providers: creators are producers; declared providers, else the creators, are licensors."""
    roles: dict[Party, list[str]] = {party: ["producer"] for party in dataset.creators}
    for party in dataset.providers or dataset.creators:
        roles.setdefault(party, []).append("licensor")
    return [
        {"name": party.name, "roles": party_roles, **({"url": url} if (url := _party_url(party)) else {})}
        for party, party_roles in roles.items()
    ]


def utc_text(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC to the second; a time without a zone counts as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _described(
    dataset: Dataset, release: Release, deposit: Deposit, torrents: Mapping[str, Torrent], terms: Licence
) -> dict[str, Any]:
    credit = dataset.attribution
    # With several parts, no single torrent has the complete release.
    seeded = torrent_fields(*torrents.values()) if len(torrents) == 1 else {}
    stated = {
        "title": f"{dataset.title.en}, {release.vintage}, v{release.version}",
        "d4c:title_fr": f"{dataset.title.fr}, {release.vintage}, v{release.version}",
        "description": dataset.description.en,
        "d4c:description_fr": dataset.description.fr,
        "keywords": list(dataset.keywords.en),
        "d4c:keywords_fr": list(dataset.keywords.fr),
        "d4c:attribution": credit and credit.en,
        "d4c:attribution_fr": credit and credit.fr,
        "d4c:languages": list(dataset.languages),
        "license": terms.spdx or "other",
        "providers": providers(dataset),
        "created": utc_text(release.planned_at),
        "d4c:dataset": dataset.id,
        "d4c:vintage": str(release.vintage),
        "d4c:series": dataset.series,
        "d4c:identifier": release.identifier,
        "d4c:change": release.change.bump.name.lower(),
        **_change(release),
        "d4c:key": list(release.summary.key),
        "d4c:geometry_types": list(release.summary.geometry_types),
        "d4c:partition": release.summary.partition,
        **seeded,
        "d4c:archive": deposit.archive,
        "d4c:archive_url": deposit.url,
        "d4c:test_doi": deposit.test,
    }
    return {name: value for name, value in stated.items() if value is not None and value != []}


def _change(release: Release) -> dict[str, Any]:
    change = release.change
    return {"d4c:change_reasons": list(change.reasons), "d4c:changes": to_item(change.differences)}


def _extend(item: pystac.Item, dataset: Dataset, release: Release, deposit: Deposit, publisher: str) -> None:
    summary = release.summary
    ItemVersionExtension.ensure_has_extension(item, add_if_missing=True)
    ItemVersionExtension(item).apply_base(
        version=str(release.version), deprecated=False, experimental=release.version.prerelease is not None
    )
    science = ScientificExtension.ext(item, add_if_missing=True)
    science.apply(doi=required_doi(release, deposit), citation=citation(dataset, release, deposit, publisher=publisher))
    if deposit.test:
        # pystac links to the DOI resolver, which does not resolve test DOIs.
        item.clear_links("cite-as")
    if summary.crs:
        ProjectionExtension.ext(item, add_if_missing=True).apply(code=summary.crs)
    table = TableExtension.ext(item, add_if_missing=True)
    table.row_count = summary.rows
    table.columns = [
        TableColumn({name: value for name, value in facts if value is not None})
        for column in summary.columns
        for facts in [
            (
                ("name", column.name),
                ("type", column.type),
                ("description", column.description_en),
                ("d4c:description_fr", column.description_fr),
                ("d4c:source", column.source),
            )
        ]
    ]
    if summary.geometry_types:
        names = {column.name for column in summary.columns}
        table.primary_geometry = next((name for name in _GEOMETRY_NAMES if name in names), None)


def _titles(properties: Mapping[str, Any], release: Release) -> dict[str, Any]:
    """Return the titles of an item in both languages, with vintage and version."""
    en = _plain_title(properties.get("title") or release.dataset, release)
    fr = _plain_title(properties.get("d4c:title_fr") or en, release)
    shown = f", {release.vintage}, v{release.version}"
    return {"title": en + shown, "d4c:title_fr": fr + shown, "title_fr": fr + shown}


def _plain_title(title: str, release: Release) -> str:
    return title.removesuffix(f", {release.vintage}, v{release.version}")


def _sql_fields(
    item: Mapping[str, Any],
    release: Release,
    deposit: Deposit,
    torrents: Mapping[str, Torrent],
    addresses: Addresses,
) -> dict[str, Any]:
    """Return the fields for SQL: short names, one fact each, the same for one file and for partitioned data."""
    files = release.data_files
    only = torrents.get(files[0].name) if len(files) == 1 else None
    torrent_url = addresses.torrents.get(files[0].name) if only is not None else None
    stated = {
        "dataset": release.dataset,
        "vintage": str(release.vintage),
        "doi": deposit.doi,
        "concept_doi": deposit.concept_doi,
        "rows": release.summary.rows,
        "bytes": release.data_size,
        "data_urls": [addresses.of(file.name) for file in files],
        "archive_url": deposit.url,
        "torrent_url": torrent_url,
        "magnet": only.magnet if only is not None else None,
        "sha256": files[0].sha256 if len(files) == 1 else None,
        "licence": item["properties"].get("license"),
    }
    return {name: value for name, value in stated.items() if value is not None}


def recorded_place(item: Mapping[str, Any], release: Release) -> Place:
    """Return the place of a published release, also of a release whose item has an earlier form without a place."""
    origin = item["properties"].get("d4c:place")
    if release.summary.bounds is not None:
        return place_of("", release.summary.bounds)
    box = item.get("bbox")
    if origin != "dguid" and box:
        west, south, east, north = (float(side) for side in box)
        if item["geometry"]["type"] == "MultiPolygon":  # across 180 degrees; `bbox` has all longitudes
            (western,), (eastern,) = item["geometry"]["coordinates"]
            west, east = western[0][0], eastern[1][0]
        return Place((west, south, east, north), "declared")
    return place_of(ReleaseName.parse(item["id"]).dataset.dguid)


def _extensions(document: Mapping[str, Any]) -> list[str]:
    """Return the extensions of an item's properties and assets, sorted."""
    found = {*document["stac_extensions"], FILE_INFO}
    if any("alternate" in asset for asset in document["assets"].values()):
        found.add(ALTERNATE_ASSETS)
    if "published" in document["properties"]:
        found.add(TimestampsExtension.get_schema_uri())
    return sorted(found)


def _party_url(party: Party) -> str | None:
    if party.url:
        return party.url
    if party.ror:
        return f"https://ror.org/{party.ror.removeprefix('https://ror.org/')}"
    return f"https://orcid.org/{party.orcid}" if party.orcid else None
