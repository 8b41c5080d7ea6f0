"""Maps a record's metadata to DataCite's schema and validates them before any call to an archive.

The schema ships with the package `datacite`; this module fetches nothing.
Reference: https://datacite-metadata-schema.readthedocs.io/en/4.5/
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonschema import Draft201909Validator
from jsonschema.protocols import Validator

from d4c_pipeline.metadata.record import Creator, Grant, RecordMetadata, RelatedIdentifier
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.languages import bcp47

SCHEMA_VERSION = "http://datacite.org/schema/kernel-4"
_SCHEMA_FILE = "schemas/datacite-v4.5.json"
_TAG = re.compile(r"<[^>]+>")

# DataCite's field -> the place to change its value.
_CHANGED_BY = {
    "titles": "'title' in the dataset's YAML",
    "descriptions": "'description' in the dataset's YAML",
    "creators": "'creators' in the dataset's YAML",
    "contributors": "'providers' or 'contributors' in the dataset's YAML",
    "fundingReferences": "'funding' in the dataset's YAML",
    "language": "'languages' in the dataset's YAML",
    "subjects": "'keywords' in the dataset's YAML",
    "rightsList": "'license' in the dataset's YAML",
    "relatedIdentifiers": "'source' in the dataset's YAML, or D4C_CODE_URL, D4C_PAGE_URL",
    "version": "'publication.initial_version' in the dataset's YAML",
    "publisher": "D4C_PUBLISHER",
}
_RELATIONS = {
    "isderivedfrom": "IsDerivedFrom",
    "iscompiledby": "IsCompiledBy",
    "continues": "Continues",
    "isdocumentedby": "IsDocumentedBy",
    "isnewversionof": "IsNewVersionOf",
    "isidenticalto": "IsIdenticalTo",
    "hasmetadata": "HasMetadata",
}
_ROLES = {
    role.lower(): role
    for role in (
        "ContactPerson",
        "DataCollector",
        "DataCurator",
        "DataManager",
        "Distributor",
        "Editor",
        "HostingInstitution",
        "Other",
        "Producer",
        "ProjectLeader",
        "ProjectManager",
        "ProjectMember",
        "RegistrationAgency",
        "RegistrationAuthority",
        "RelatedPerson",
        "ResearchGroup",
        "Researcher",
        "RightsHolder",
        "Sponsor",
        "Supervisor",
        "WorkPackageLeader",
    )
}
_RESOURCE_TYPES = {"dataset": "Dataset", "software": "Software"}


def to_datacite(metadata: RecordMetadata) -> dict[str, Any]:
    """Return the attributes of a DOI in DataCite's JSON (schema 4.5), without `doi` and `url`."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "types": {"resourceTypeGeneral": _RESOURCE_TYPES.get(metadata.resource_type, "Other")},
        "titles": [
            {"title": metadata.title.en, "lang": "en"},
            {"title": metadata.title.fr, "lang": "fr", "titleType": "TranslatedTitle"},
        ],
        "descriptions": [
            *_descriptions(metadata.description.model_dump(), "Abstract"),
            *_descriptions(metadata.columns, "TechnicalInfo"),
        ],
        "creators": [_party(creator) for creator in metadata.creators],
        "contributors": [
            {**_party(contributor), "contributorType": _ROLES.get(str(contributor.role), contributor.role)}
            for contributor in metadata.contributors
        ],
        "publisher": {"name": metadata.publisher},
        "publicationYear": f"{metadata.publication_date.year:04d}",
        "dates": [
            {"date": metadata.publication_date.isoformat(), "dateType": "Issued"},
            *([{"date": metadata.valid, "dateType": "Valid"}] if metadata.valid else []),
        ],
        **({"formats": list(metadata.formats)} if metadata.formats else {}),
        **({"sizes": list(metadata.sizes)} if metadata.sizes else {}),
        **({"geoLocations": [_box(metadata.bounds)]} if metadata.bounds else {}),
        "subjects": [{"subject": subject} for subject in metadata.subjects],
        # DataCite accepts one language, "the primary language of the resource".
        **({"language": bcp47(metadata.languages[0])} if metadata.languages else {}),
        **({"fundingReferences": [_funding(grant) for grant in metadata.funding]} if metadata.funding else {}),
        "version": metadata.version,
        "rightsList": _rights(metadata),
        "alternateIdentifiers": [
            {"alternateIdentifier": metadata.identifier, "alternateIdentifierType": "URN"},
        ],
        "relatedIdentifiers": [_related(related) for related in metadata.related],
    }


def require_valid(metadata: RecordMetadata) -> RecordMetadata:
    """Return `metadata` if they are valid for DataCite.

    Raises PermanentError that names every wrong field and the place to change it.
    """
    wrong = [
        f"{'.'.join(str(part) for part in error.absolute_path) or 'the whole'}: {error.message}"
        for error in sorted(_validator().iter_errors(to_datacite(metadata)), key=lambda error: error.json_path)
    ]
    if wrong:
        fields = dict.fromkeys(re.split(r"[.:]", entry)[0] for entry in wrong)
        places = dict.fromkeys(_CHANGED_BY.get(field, f"what makes '{field}'") for field in fields)
        raise PermanentError(
            f"The record's metadata are not valid DataCite 4.5 ({'; '.join(wrong)})", f"Change {' and '.join(places)}"
        )
    return metadata


@cache
def _validator() -> Validator:
    # Found without importing the package, which would import an HTTP client and an XML library.
    spec = find_spec("datacite")
    if spec is None or not spec.submodule_search_locations:
        raise PermanentError("The package 'datacite', which ships DataCite's schema, is not installed", "Install d4c")
    schema = json.loads((Path(spec.submodule_search_locations[0]) / _SCHEMA_FILE).read_text("utf-8"))
    return Draft201909Validator(schema)


def _text(html: str) -> str:
    """Return the plain text of our own HTML, paragraphs separated and nothing escaped: DataCite stores plain text."""
    return unescape(_TAG.sub("", html.replace("</p>\n<p>", "\n\n")))


def _party(party: Creator) -> dict[str, Any]:
    identifiers: list[dict[str, str]] = []
    named: dict[str, Any] = {"name": party.name, "nameType": "Organizational"}
    if party.person or party.orcid is not None:
        family, _, given = party.name.partition(",")
        named = {"name": party.name, "nameType": "Personal", "familyName": family.strip()}
        if given.strip():
            named["givenName"] = given.strip()
        if affiliation := party.affiliation or (party.ror and f"https://ror.org/{party.ror}"):
            named["affiliation"] = [{"name": affiliation, **(_of_ror(party.ror) if party.ror else {})}]
    if party.orcid is not None:
        identifiers.append(
            {
                "nameIdentifier": f"https://orcid.org/{party.orcid}",
                "nameIdentifierScheme": "ORCID",
                "schemeUri": "https://orcid.org",
            }
        )
    if party.ror is not None and named["nameType"] == "Organizational":
        identifiers.append(
            {
                "nameIdentifier": f"https://ror.org/{party.ror}",
                "nameIdentifierScheme": "ROR",
                "schemeUri": "https://ror.org",
            }
        )
    return {**named, **({"nameIdentifiers": identifiers} if identifiers else {})}


def _of_ror(ror: str) -> dict[str, str]:
    return {
        "affiliationIdentifier": f"https://ror.org/{ror}",
        "affiliationIdentifierScheme": "ROR",
        "schemeUri": "https://ror.org",
    }


def _box(bounds: tuple[float, float, float, float]) -> dict[str, Any]:
    west, south, east, north = bounds
    sides = {"westBoundLongitude": west, "southBoundLatitude": south}
    return {"geoLocationBox": {**sides, "eastBoundLongitude": east, "northBoundLatitude": north}}


def _descriptions(texts: Mapping[str, str], kind: str) -> list[dict[str, str]]:
    return [{"description": _text(html), "descriptionType": kind, "lang": language} for language, html in texts.items()]


def _rights(metadata: RecordMetadata) -> list[dict[str, str]]:
    """Return the licence; a licence with a French title of its own appears in both languages."""
    terms = metadata.licence
    rights = {"rights": terms.title, "rightsUri": terms.url}
    if terms.title_fr is not None:
        return [rights | {"lang": "en"}, rights | {"rights": terms.title_fr, "lang": "fr"}]
    if terms.spdx is None:
        return [rights]
    known = {"rightsIdentifier": terms.spdx, "rightsIdentifierScheme": "SPDX"}
    return [rights | known | {"schemeUri": "https://spdx.org/licenses/"}]


def _funding(grant: Grant) -> dict[str, str]:
    funding = {"funderName": grant.funder}
    if grant.ror is not None:
        funding |= {"funderIdentifier": f"https://ror.org/{grant.ror}", "funderIdentifierType": "ROR"}
    award = {"awardNumber": grant.number, "awardUri": grant.url, "awardTitle": grant.title and grant.title.en}
    return funding | {name: value for name, value in award.items() if value is not None}


def _related(related: RelatedIdentifier) -> dict[str, str]:
    entry = {
        "relatedIdentifier": related.identifier,
        "relatedIdentifierType": related.scheme.upper(),
        "relationType": _RELATIONS.get(related.relation, related.relation),
    }
    if related.resource_type is not None:
        entry["resourceTypeGeneral"] = _RESOURCE_TYPES.get(related.resource_type, "Other")
    return entry
