"""DataCite 4.5 of a published release as JSON and as XML: the metadata of its DOI, with place and versions.

The mapping of a record is `metadata.datacite`, which archives use before publication.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any, cast

from d4c_pipeline.metadata.datacite import SCHEMA_VERSION, to_datacite
from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.documents import json_document, plain
from d4c_pipeline.metadata.records.registry import RecordFormat

_TEXTS = frozenset(
    ("title", "description", "subject", "name", "familyName", "givenName", "rights", "funderName", "awardTitle")
)


def datacite(published: PublishedMetadata) -> dict[str, Any]:
    """Return the metadata in DataCite's JSON; the same DOIs as in the archive's record.

    A later version is found by the DOI of all versions: a newer version changes no record of an older one.
    """
    attributes = _cleaned(to_datacite(published.record))
    line = published.line
    related = [
        {"relatedIdentifier": doi, "relatedIdentifierType": "DOI", "relationType": relation}
        for doi, relation in (
            (None if published.test_doi else published.concept_doi, "IsVersionOf"),
            (line.previous and line.previous.doi, "IsNewVersionOf"),
        )
        if doi and doi != published.doi
    ]
    attributes["relatedIdentifiers"] = [*attributes["relatedIdentifiers"], *related]
    attributes["titles"] = [title for title in attributes["titles"] if title["title"]]
    attributes["descriptions"] = [text for text in attributes["descriptions"] if text["description"]]
    attributes.pop("geoLocations", None)
    if published.place is not None:
        name = published.place.name
        attributes["geoLocations"] = [
            {
                **({"geoLocationPlace": plain(name.en)} if name else {}),
                "geoLocationBox": {
                    "westBoundLongitude": west,
                    "eastBoundLongitude": east,
                    "southBoundLatitude": south,
                    "northBoundLatitude": north,
                },
            }
            for west, south, east, north in published.place.boxes
        ]
    return {"doi": published.doi, "url": published.landing_page, **attributes}


def _cleaned(value: Any, name: str = "") -> Any:
    """Return the value with its texts plain; identifiers and addresses stay as they are."""
    if isinstance(value, dict):
        return {key: _cleaned(inner, key) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_cleaned(inner, name) for inner in cast("list[Any]", value)]
    return plain(value) if name in _TEXTS else value


@cache
def _schema() -> Any:
    """Import the XML form of the package `datacite` without its HTTP clients.

    The package's own module imports them, and with them the grammar of addresses: two thirds of the time. So that
    module is not run, and what was imported is forgotten: a later import of the package is complete.
    """
    spec = find_spec("datacite")
    if spec is None or "datacite" in sys.modules:
        return import_module("datacite.schema45")
    sys.modules["datacite"] = module_from_spec(spec)
    try:
        return import_module("datacite.schema45")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "datacite"]:
            del sys.modules[name]


def _json(published: PublishedMetadata) -> bytes:
    return json_document(datacite(published))


def _xml(published: PublishedMetadata) -> bytes:
    schema = _schema()
    attributes = datacite(published)
    # XML wants the type in words beside the general one.
    attributes["types"] = {"resourceType": "Dataset", **attributes["types"]}
    return cast("str", schema.tostring(attributes)).encode()


FORMATS = (
    RecordFormat(
        name="datacite",
        media_type="application/vnd.datacite.datacite+json",
        suffix=".json",
        profile=SCHEMA_VERSION,
        title="DataCite JSON",
        render=_json,
    ),
    RecordFormat(
        name="datacite_xml",
        media_type="application/vnd.datacite.datacite+xml",
        suffix=".xml",
        stem="datacite",
        profile=SCHEMA_VERSION,
        title="DataCite XML",
        render=_xml,
    ),
)
