"""The mapping of a record's metadata to InvenioRDM: the body that creates or replaces a draft, and our identifier.

The meaning of the metadata belongs to `metadata`, requests to `client.py`. Ids are from InvenioRDM's vocabularies.
Reference: https://inveniordm.docs.cern.ch/reference/metadata/
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from d4c_pipeline.metadata.record import IDENTIFIER_SCHEME, Creator, Grant, RecordMetadata, RelatedIdentifier

_FRENCH = "fra"
_LANGUAGES = {"en": "eng", "fr": _FRENCH}


def to_invenio(
    metadata: RecordMetadata, *, licence_known: bool = True, funders: Collection[str] = ()
) -> dict[str, Any]:
    """Return the complete body of `POST /api/records` and of `PUT /api/records/{id}/draft`.

    `licence_known`: whether the instance's vocabulary has the licence's id (`GET /api/vocabularies/licenses/{id}`). The
    instance refuses an unknown id without naming the field, so title and address replace it. `funders`: the ROR ids in
    the vocabulary of funders; any other funder is named by text.

    English is the main title and description, French the translated title and a second abstract: InvenioRDM shows both
    and passes them to DataCite. The body omits `pids`, so that a reserved DOI stays.
    """
    return {
        "access": {"record": "public", "files": "public"},
        "files": {"enabled": True},
        "metadata": {
            "resource_type": {"id": metadata.resource_type},
            "title": metadata.title.en,
            "additional_titles": [
                {"title": metadata.title.fr, "type": {"id": "translated-title"}, "lang": {"id": _FRENCH}}
            ],
            "description": metadata.description.en,
            "additional_descriptions": [
                {"description": metadata.description.fr, "type": {"id": "abstract"}, "lang": {"id": _FRENCH}},
                *_columns(metadata),
            ],
            "creators": [_party(creator) for creator in metadata.creators],
            "contributors": [
                {**_party(contributor), "role": {"id": contributor.role}} for contributor in metadata.contributors
            ],
            "publisher": metadata.publisher,
            "publication_date": metadata.publication_date.isoformat(),
            "version": metadata.version,
            "rights": [_rights(metadata, licence_known)],
            "subjects": [{"subject": subject} for subject in metadata.subjects],
            "languages": [{"id": language} for language in metadata.languages],
            "identifiers": [{"identifier": metadata.identifier, "scheme": "urn"}],
            "related_identifiers": [_related(related) for related in metadata.related],
            "formats": list(metadata.formats),
            "sizes": list(metadata.sizes),
            **({"dates": [{"date": metadata.valid, "type": {"id": "valid"}}]} if metadata.valid else {}),
            **({"locations": {"features": [{"geometry": _box(metadata.bounds)}]}} if metadata.bounds else {}),
            **({"funding": [_funding(grant, funders) for grant in metadata.funding]} if metadata.funding else {}),
        },
    }


def fields_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a body: `metadata.title`, ..., `access` and `custom_fields`."""
    metadata = cast("Mapping[str, Any]", body.get("metadata") or {})
    access = cast("Mapping[str, Any]", body.get("access") or {})
    shown = {f"metadata.{name}": value for name, value in metadata.items() if value not in (None, "", [], {})}
    embargo = cast("Mapping[str, Any]", access.get("embargo") or {})
    shown["access"] = {name: access.get(name) for name in ("record", "files")}
    if embargo.get("active"):
        shown["access"]["embargo"] = dict(embargo)
    if body.get("custom_fields"):
        shown["custom_fields"] = body["custom_fields"]
    return shown


def with_fields(body: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with `fields` replaced by these values; None removes a field."""
    made: dict[str, Any] = {**body, "metadata": dict(body["metadata"])}
    for name, value in fields.items():
        place, key = (made["metadata"], name.partition(".")[2]) if name.startswith("metadata.") else (made, name)
        if value is None:
            place.pop(key, None)
        else:
            place[key] = value
    return made


def identifier_of(body: Mapping[str, Any]) -> str | None:
    """Return our alternate identifier (`urn:d4c:...`) from the body of a record or draft."""
    found = body.get("metadata")
    identifiers = cast("Mapping[str, Any]", found).get("identifiers") if isinstance(found, Mapping) else None
    for entry in cast("list[Mapping[str, Any]]", identifiers or []):
        identifier = str(entry.get("identifier", ""))
        if identifier.startswith(IDENTIFIER_SCHEME):
            return identifier
    return None


def _party(party: Creator) -> dict[str, Any]:
    if not party.person and party.orcid is None:
        named: dict[str, Any] = {"type": "organizational", "name": party.name}
    else:
        # "Family, Given"; a name without a comma is a family name, the only required part.
        family, _, given = party.name.partition(",")
        named = {"type": "personal", "family_name": family.strip()}
        if given.strip():
            named["given_name"] = given.strip()
    personal = named["type"] == "personal"
    identifiers = [
        {"identifier": value, "scheme": scheme}
        for scheme, value in (("orcid", party.orcid), ("ror", None if personal else party.ror))
        if value is not None
    ]
    entry: dict[str, Any] = {"person_or_org": {**named, **({"identifiers": identifiers} if identifiers else {})}}
    if personal and (affiliation := party.affiliation or (party.ror and f"https://ror.org/{party.ror}")):
        entry["affiliations"] = [{"name": affiliation}]
    return entry


def _box(bounds: tuple[float, float, float, float]) -> dict[str, Any]:
    """Return the bounds as GeoJSON: a point if they have no extent, else a polygon (InvenioRDM accepts both)."""
    west, south, east, north = bounds
    if (west, south) == (east, north):
        return {"type": "Point", "coordinates": [west, south]}
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _rights(metadata: RecordMetadata, known: bool) -> dict[str, Any]:
    # The vocabulary is SPDX: for any other licence the record states title and address, never both forms.
    if known and metadata.licence.spdx is not None:
        return {"id": metadata.licence.id}
    # One language only: InvenioRDM 14 refuses a title in two ("Only one value is accepted.").
    entry: dict[str, Any] = {"title": {"en": metadata.licence.title}, "link": metadata.licence.url}
    if metadata.licence_file is not None:
        entry["description"] = {"en": f"The text of the licence is the file {metadata.licence_file} of this record."}
    return entry


def _columns(metadata: RecordMetadata) -> list[dict[str, Any]]:
    return [
        {"description": text, "type": {"id": "technical-info"}, "lang": {"id": _LANGUAGES[language]}}
        for language, text in metadata.columns.items()
    ]


def _funding(grant: Grant, funders: Collection[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"funder": {"id": grant.ror} if grant.ror in funders else {"name": grant.funder}}
    if grant.number is not None:
        award: dict[str, Any] = {"number": grant.number}
        if grant.title is not None:
            award["title"] = grant.title.model_dump()
        if grant.url is not None:
            award["identifiers"] = [{"identifier": grant.url, "scheme": "url"}]
        entry["award"] = award
    return entry


def _related(related: RelatedIdentifier) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "identifier": related.identifier,
        "scheme": related.scheme,
        "relation_type": {"id": related.relation},
    }
    if related.resource_type is not None:
        entry["resource_type"] = {"id": related.resource_type}
    return entry
