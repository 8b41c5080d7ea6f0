"""The STAC 1.1 item of one release: built before publication as an artifact, completed by the catalogue after it.

Here belong the fields of an item and their names. Its assets belong to `item_assets`, validation to `validation`,
collecting items to `stac_geoparquet` and `static_stac`. Source of the fields: https://github.com/radiantearth/stac-spec
and the extensions file, projection, scientific, table, timestamps and version.

Fields that STAC lacks have the prefix `d4c:` (a `_fr` field is the French of the English one):

| field | means |
| --- | --- |
| `d4c:dataset`, `d4c:vintage`, `d4c:series` | dataset and vintage of the release; `editions` or `rolling` |
| `d4c:title_fr`, `d4c:description_fr`, `d4c:keywords_fr` | French of `title`, `description`, `keywords` |
| `d4c:attribution`, `d4c:attribution_fr` | the credit line that the licence requires |
| `d4c:languages` | the languages of the data, ISO 639-3, the main one first |
| `d4c:identifier` | our own identifier, also on the record at the archive |
| `d4c:change`, `d4c:change_reasons` | the bump from the previous version (`none` for a first) and its reasons |
| `d4c:key`, `d4c:geometry_types` | columns that identify a row; GeoParquet's names of the types |
| `d4c:info_hash`, `d4c:info_hash_v2`, `d4c:magnet` | of the torrent; where there are several, of a data asset |
| `d4c:partition` | how the data is divided into several data assets, in words |
| `d4c:part`, `d4c:rows`, `d4c:bounds` (asset) | of several data assets: name, rows, box (west, south, east, north) |
| `d4c:archive`, `d4c:archive_url`, `d4c:test_doi` | the archive of the release; true when the DOI never resolves |
| `d4c:archive_href` (asset) | the same file at the archive; `href` is our own store |
| `d4c:current_href` (torrent asset) | the torrent with today's web seeds; `href` is the archived one |
| `d4c:mirror_hrefs` (asset) | the same file in the mirrors that hold it now |
| `d4c:source`, `d4c:description_fr` (table column) | the column's name at the source; French of its description |
| `d4c:concept_doi`, `d4c:latest` | added after publication: the all-versions DOI; newest version of its product |
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pystac
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.scientific import ScientificExtension
from pystac.extensions.table import Column as TableColumn
from pystac.extensions.table import TableExtension
from pystac.extensions.timestamps import TimestampsExtension
from pystac.extensions.version import ItemVersionExtension, VersionRelType

from d4c_pipeline.catalogue.item_assets import add_assets, torrent_fields
from d4c_pipeline.metadata.citation import citation, required_doi
from d4c_pipeline.model.addresses import catalogue_item_address
from d4c_pipeline.model.credits import Party
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, DataError, IntegrityError, PermanentError
from d4c_pipeline.model.licences import Licence
from d4c_pipeline.model.naming import ReleaseName
from d4c_pipeline.model.release import ArtifactRole, Deposit, Release, Torrent
from d4c_pipeline.model.settings import PUBLISHER
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage

_GEOMETRY_NAMES = ("geometry", "geom", "wkb_geometry")


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

    `torrents`: by the names of their data artifacts. `asset_urls`: artifact name -> its address in the primary store.
    `base_url`: the public address of that store for the link to the collection; without it the link is relative to the
    release's folder in a store. Publication changes no input, so the result is the same before and after. Raises
    DataError when an artifact has no address or the bounds are invalid, PermanentError when the deposit has no DOI.
    """
    bounds = release.summary.bounds or (dataset.extent and dataset.extent.bounds)
    terms = dataset.terms
    item = pystac.Item(
        id=release.name,
        geometry=bounds_geometry(bounds) if bounds else None,
        bbox=[float(value) for value in bounds] if bounds else None,
        datetime=None,
        start_datetime=release.vintage.start,
        end_datetime=release.vintage.end,
        properties=_described(dataset, release, deposit, torrents, terms),
        collection=dataset.id,
    )
    _extend(item, dataset, release, deposit, publisher)
    add_assets(item, release, deposit, torrents, asset_urls)
    up = base_url.rstrip("/") if base_url else "../../../.."
    item.add_links(
        [
            pystac.Link("collection", f"{up}/catalogue/{dataset.id}/collection.json", pystac.MediaType.JSON),
            pystac.Link("license", terms.url, pystac.MediaType.HTML, terms.title),
        ]
    )
    kept = release.artifact(ArtifactRole.LICENCE)
    if kept is not None:
        item.add_link(pystac.Link("license", asset_urls[kept.name], kept.media_type, f"{terms.title}: its text"))
    if deposit.url:
        item.add_link(
            pystac.Link("via", deposit.url, pystac.MediaType.HTML, f"Record at the archive ({deposit.archive})")
        )
    if dataset.source.homepage:
        item.add_link(pystac.Link("derived_from", dataset.source.homepage, pystac.MediaType.HTML, "Source of the data"))
    item.stac_extensions.sort()
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def finalise_item(
    item: Mapping[str, Any],
    *,
    deposit: Deposit,
    latest: bool,
    superseded_by: str | None = None,
    previous: str | None = None,
    newest: str | None = None,
    published_at: datetime | None = None,
    base_url: str | None = None,
    torrents: Mapping[str, Torrent] | None = None,
    torrent_urls: Mapping[str, str] | None = None,
    mirror_urls: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return a copy of a built item with the facts that publication adds.

    `torrents`, by the names of their data artifacts, are today's: their addresses may have changed, their info hashes
    never do; `torrent_urls`, likewise, are the addresses of today's `.torrent` files. `superseded_by`, `previous` and
    `newest` are release names of the same dataset: the next version, the previous version and the version to use
    instead; they become links between the items of the static tree, relative without `base_url`. `mirror_urls`:
    artifact name -> its addresses in the mirrors that hold it now. A superseded item is `deprecated`. Raises
    IntegrityError when item and deposit have different DOIs.
    """
    final = copy.deepcopy(dict(item))
    properties = final["properties"]
    if properties["sci:doi"] != deposit.doi:
        raise IntegrityError(
            f"Item {final['id']} has DOI {properties['sci:doi']}, its deposit has {deposit.doi}",
            "Compare both with the record at the archive before publishing",
        )
    properties["d4c:latest"] = latest
    properties["deprecated"] = superseded_by is not None
    properties["d4c:test_doi"] = deposit.test
    if deposit.concept_doi:
        properties["d4c:concept_doi"] = deposit.concept_doi
    if deposit.url:
        properties["d4c:archive_url"] = deposit.url
    if published_at:
        properties["published"] = utc_text(published_at)
        uris = {*final["stac_extensions"], TimestampsExtension.get_schema_uri()}
        final["stac_extensions"] = sorted(uris)
    for asset in final["assets"].values():
        if (href := deposit.files.get(asset["title"])) is not None:
            asset["d4c:archive_href"] = href
        if urls := (mirror_urls or {}).get(asset["title"]):
            asset["d4c:mirror_hrefs"] = list(urls)
    for name, torrent in (torrents or {}).items():
        seeded = [final["properties"], *(asset for asset in final["assets"].values() if asset["title"] == name)]
        for fields in seeded:
            if fields.get("d4c:info_hash") == torrent.info_hash:
                fields["d4c:magnet"] = torrent.magnet
    for name, url in (torrent_urls or {}).items():
        for asset in final["assets"].values():
            if asset["title"] == f"{name}.torrent":
                asset["d4c:current_href"] = url
    relations = {
        VersionRelType.PREDECESSOR: previous,
        VersionRelType.SUCCESSOR: superseded_by,
        VersionRelType.LATEST: newest or (final["id"] if latest else None),
    }
    kept = [link for link in final["links"] if link["rel"] not in set(map(str, relations))]
    final["links"] = kept + [
        {
            "rel": str(relation),
            "href": _item_href(final["collection"], name, base_url),
            "type": "application/geo+json",
            "title": name,
        }
        for relation, name in relations.items()
        if name is not None
    ]
    return final


def item_bytes(item: Mapping[str, Any]) -> bytes:
    """Return a STAC document as canonical JSON: UTF-8, sorted keys, indented by two, one final newline."""
    return (json.dumps(item, sort_keys=True, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()


def item_place(item: Mapping[str, Any]) -> tuple[str, Vintage, Version]:
    """Return dataset, vintage and version of an item of ours; they order a catalogue and name its files.

    Raises DataError when the item lacks one of them.
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
    """Return STAC's providers: creators produce, declared providers (else the creators too) are the licensors."""
    roles: dict[Party, list[str]] = {party: ["producer"] for party in dataset.creators}
    for party in dataset.providers or dataset.creators:
        roles.setdefault(party, []).append("licensor")
    return [
        {"name": party.name, "roles": party_roles, **({"url": url} if (url := _party_url(party)) else {})}
        for party, party_roles in roles.items()
    ]


def bounds_geometry(bounds: tuple[float, float, float, float]) -> dict[str, Any]:
    """Return west, south, east, north (degrees) as GeoJSON: a polygon, or a line or point where the box is flat.

    Raises DataError for anything that is not a box on the globe.
    """
    west, south, east, north = (float(value) for value in bounds)
    if not (all(map(math.isfinite, bounds)) and -180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise DataError(
            f"The bounds {list(bounds)} are not west, south, east, north in degrees",
            "Check the CRS of the source, or the extent in the dataset's YAML",
        )
    if west == east and south == north:
        return {"type": "Point", "coordinates": [west, south]}
    if west == east or south == north:
        return {"type": "LineString", "coordinates": [[west, south], [east, north]]}
    # RFC 7946 requires a counter-clockwise outer ring.
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def utc_text(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC to the second; a time without a zone is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _described(
    dataset: Dataset, release: Release, deposit: Deposit, torrents: Mapping[str, Torrent], terms: Licence
) -> dict[str, Any]:
    credit = dataset.attribution
    # With several parts no torrent has all of the release.
    seeded = torrent_fields(*torrents.values()) if len(torrents) == 1 else {}
    stated = {
        "title": dataset.title.en,
        "d4c:title_fr": dataset.title.fr,
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
        "d4c:change_reasons": list(release.change.reasons),
        "d4c:key": list(release.summary.key),
        "d4c:geometry_types": list(release.summary.geometry_types),
        "d4c:partition": release.summary.partition,
        **seeded,
        "d4c:archive": deposit.archive,
        "d4c:archive_url": deposit.url,
        "d4c:test_doi": deposit.test,
    }
    return {name: value for name, value in stated.items() if value is not None and value != []}


def _extend(item: pystac.Item, dataset: Dataset, release: Release, deposit: Deposit, publisher: str) -> None:
    summary = release.summary
    ItemVersionExtension.ensure_has_extension(item, add_if_missing=True)
    ItemVersionExtension(item).apply_base(
        version=str(release.version), deprecated=False, experimental=release.version.prerelease is not None
    )
    science = ScientificExtension.ext(item, add_if_missing=True)
    science.apply(doi=required_doi(release, deposit), citation=citation(dataset, release, deposit, publisher=publisher))
    if deposit.test:
        # pystac links to the resolver of DOIs, which does not know test DOIs.
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


def _item_href(dataset: str, name: str, base_url: str | None) -> str:
    try:
        parsed = ReleaseName.parse(name)
    except PermanentError as error:
        raise DataError(f"'{name}' is not the name of a release that can be linked to", error.remedy) from error
    address = catalogue_item_address(dataset, parsed.vintage, parsed.version)
    if base_url:
        return f"{base_url.rstrip('/')}/{address}"
    return f"../{parsed.vintage}/{address.rpartition('/')[2]}"


def _party_url(party: Party) -> str | None:
    if party.url:
        return party.url
    if party.ror:
        return f"https://ror.org/{party.ror.removeprefix('https://ror.org/')}"
    return f"https://orcid.org/{party.orcid}" if party.orcid else None
