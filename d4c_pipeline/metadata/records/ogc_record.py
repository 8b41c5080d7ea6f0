"""A release as a record of OGC API Records in GeoJSON: one document for each language.

The links of an API (`self`, `collection`, the other language) belong to `services.records`.
Source: https://docs.ogc.org/is/20-004r1/20-004r1.html (OGC API - Records - Part 1, clauses 7 and 8)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from d4c_pipeline.metadata.published import Bounds, PublishedMetadata, Tongue, VersionLink
from d4c_pipeline.metadata.records.documents import file_title, in_language, json_document, known, plain
from d4c_pipeline.metadata.records.iso_facts import Responsible, contacts, responsible
from d4c_pipeline.metadata.records.registry import RecordFormat, static_formats
from d4c_pipeline.metadata.records.topics import topics
from d4c_pipeline.model.languages import bcp47
from d4c_pipeline.model.release import ArtifactRole

MEDIA_TYPE = "application/geo+json"
PROFILE = "http://www.opengis.net/def/profile/OGC/0/ogc-record"
CONFORMANCE = "http://www.opengis.net/spec/ogcapi-records-1/1.0/conf"
TYPE = "dataset"
"""The type of every record."""
LANGUAGES: Mapping[Tongue, Mapping[str, str]] = {
    "en": {"code": "en", "name": "English"},
    "fr": {"code": "fr", "name": "français", "alternate": "French"},
}
DOI, URN = "doi", "urn"
"""The schemes of external identifiers. A scheme has no colon, so that requests can put it before a value."""
_TOPICS = "http://standards.iso.org/iso/19115/resources/Codelists/cat/codelists.xml#MD_TopicCategoryCode"
_GCMD = "https://gcmd.earthdata.nasa.gov/kms/concepts/concept_scheme/sciencekeywords"
_GCMD_ROOT = "EARTH SCIENCE"
_RELATIONS: Mapping[ArtifactRole, str] = {
    ArtifactRole.DATA: "enclosure",
    ArtifactRole.DESKTOP: "enclosure",
    ArtifactRole.TILES: "enclosure",
    ArtifactRole.TORRENT: "enclosure",
    ArtifactRole.THUMBNAIL: "preview",
    ArtifactRole.LICENCE: "license",
    ArtifactRole.SOURCE: "via",
    ArtifactRole.CODE: "related",
}
"""The relation of a file's link by the file's role; files of other roles describe the data."""
_LISTED = (ArtifactRole.DATA, ArtifactRole.DESKTOP, ArtifactRole.TILES)


def ogc_record(published: PublishedMetadata, language: Tongue = "en") -> dict[str, Any]:
    """Return the record in a language: a GeoJSON Feature without a geometry where the release has no place."""
    return {
        "id": published.name,
        "type": "Feature",
        "conformsTo": [f"{CONFORMANCE}/record-core"],
        "time": {"interval": [f"{moment:%Y-%m-%d}" for moment in (published.vintage.start, published.vintage.end)]},
        "geometry": None if published.place is None else geometry(published.place.boxes),
        "properties": _properties(published, language),
        "links": list(_links(published, language)),
    }


def geometry(boxes: Iterable[Bounds]) -> dict[str, Any]:
    """Return boxes as a geometry: one as a polygon (a flat one as a line or point), several as a multipolygon."""
    shapes = [_shape(*box) for box in boxes]
    if len(shapes) == 1:
        return shapes[0]
    if all(shape["type"] == "Polygon" for shape in shapes):
        return {"type": "MultiPolygon", "coordinates": [shape["coordinates"] for shape in shapes]}
    return {"type": "GeometryCollection", "geometries": shapes}


def _shape(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    if west == east and south == north:
        return {"type": "Point", "coordinates": [west, south]}
    if west == east or south == north:
        return {"type": "LineString", "coordinates": [[west, south], [east, north]]}
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _properties(published: PublishedMetadata, language: Tongue) -> dict[str, Any]:
    is_superseded = published.line.superseded_by is not None
    return known(
        type=TYPE,
        title=plain(published.titled(language)),
        description=plain(in_language(published.description, language)),
        keywords=[plain(word) for word in in_language(published.keywords, language)],
        themes=_themes(published),
        language=dict(LANGUAGES[language]),
        languages=[dict(each) for each in LANGUAGES.values()],
        resourceLanguages=[{"code": bcp47(code)} for code in published.languages],
        externalIds=[{"scheme": DOI, "value": published.doi}, {"scheme": URN, "value": published.identifier}],
        created=_moment(published.published_at),
        updated=_moment(published.updated_at),
        formats=[{"mediaType": each} for each in _media_types(published)],
        contacts=_contacts(published),
        license=published.licence.spdx or "other",
        rights=published.attribution and plain(in_language(published.attribution, language)),
        dataset=published.dataset,
        vintage=str(published.vintage),
        version=str(published.version),
        deprecated=is_superseded or published.withdrawn is not None,
    )


def _themes(published: PublishedMetadata) -> list[dict[str, Any]]:
    found = topics(published)
    paths = (" > ".join((_GCMD_ROOT, *filter(None, each.science))) for each in found)
    return [
        {"scheme": _TOPICS, "concepts": [{"id": each.code, "url": f"{_TOPICS}_{each.code}"} for each in found]},
        {"scheme": _GCMD, "concepts": [{"id": path} for path in dict.fromkeys(paths)]},
    ]


def _media_types(published: PublishedMetadata) -> Iterable[str]:
    return dict.fromkeys(file.media_type for file in published.files if file.role in _LISTED)


def _contacts(published: PublishedMetadata) -> list[dict[str, Any]]:
    """Return the parties, each once with all its roles (CI_RoleCode)."""
    members: dict[str, list[Responsible]] = {}
    for each in (*responsible(published), *contacts(published)):
        members.setdefault(each.party.name, []).append(each)
    return [_contact(own) for own in members.values()]


def _contact(own: list[Responsible]) -> dict[str, Any]:
    party, name = own[0].party, plain(own[0].party.name)
    addresses = dict.fromkeys(each.address for each in own if each.address)
    return known(
        identifier=next(iter(addresses), None),
        name=name if party.is_person else None,
        organization=(party.affiliation and plain(party.affiliation)) if party.is_person else name,
        emails=[{"value": email} for email in dict.fromkeys(each.email for each in own if each.email)],
        links=[{"rel": "about", "href": address, "type": "text/html"} for address in addresses],
        roles=list(dict.fromkeys(each.role for each in own)),
    )


def _links(published: PublishedMetadata, language: Tongue) -> Iterator[dict[str, Any]]:
    terms, line = published.licence, published.line
    yield _link("profile", PROFILE)
    if published.doi_url is not None:
        yield _link("cite-as", published.doi_url, title=plain(in_language(published.citation, language)))
    yield _link("alternate", published.landing_page, "text/html")
    if published.archive_url is not None and published.archive_url != published.landing_page:
        yield _link("related", published.archive_url, "text/html")
    yield _link("alternate", published.href(published.item_address), MEDIA_TYPE, title="STAC item")
    for form in static_formats():
        relation = "linkset" if form.name == "linkset" else "alternate"
        address = published.href(published.record_address(form.file_name))
        profile = [form.profile] if form.profile else None
        yield _link(relation, address, form.media_type, title=form.title, profile=profile)
    if terms.url:
        yield _link("license", terms.url, title=plain(terms.titled(language)))
    for file in published.files:
        if file.role is not ArtifactRole.METADATA:
            relation = _RELATIONS.get(file.role, "describedby")
            title = file_title(file, language)
            yield _link(relation, published.url(file), file.media_type, title=title, length=file.size)
    for relation, other in (("predecessor-version", line.previous), ("successor-version", line.superseded_by)):
        if other is not None:
            yield _version(published, relation, other)
    yield _link("latest-version", published.href(published.latest_address), MEDIA_TYPE)
    yield _link("version-history", published.href(published.versions_address), "application/json")


def _version(published: PublishedMetadata, relation: str, other: VersionLink) -> dict[str, Any]:
    if other.doi is not None:
        return _link(relation, f"https://doi.org/{other.doi}", title=other.name)
    return _link(relation, published.href(other.item_address), MEDIA_TYPE, title=other.name)


def _link(relation: str, href: str, media_type: str | None = None, **more: Any) -> dict[str, Any]:
    return known(rel=relation, href=href, type=media_type, **more)


def _moment(moment: datetime) -> str:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"{aware.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _render(published: PublishedMetadata, language: Tongue) -> bytes:
    return json_document(ogc_record(published, language))


FORMATS = (
    RecordFormat(
        name="ogc_record",
        media_type=MEDIA_TYPE,
        suffix=".json",
        profile=PROFILE,
        title="OGC API record",
        static=False,
        render=partial(_render, language="en"),
    ),
    RecordFormat(
        name="ogc_record_fr",
        media_type=MEDIA_TYPE,
        suffix=".json",
        stem="ogc_record.fr",
        profile=PROFILE,
        title="OGC API record (français)",
        static=False,
        render=partial(_render, language="fr"),
    ),
)
