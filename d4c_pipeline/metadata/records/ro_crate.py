"""RO-Crate 1.2 of a release: a detached crate, whose files are web-based entities at their public addresses.

Source: https://www.researchobject.org/ro-crate/specification/1.2/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from d4c_pipeline.metadata.published import Bounds, PublishedMetadata
from d4c_pipeline.metadata.records.documents import (
    facts_sentence,
    file_title,
    json_document,
    known,
    party_id,
    plain,
    shortened,
    tagged,
)
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.model.credits import Party
from d4c_pipeline.model.languages import bcp47

PROFILE = "https://w3id.org/ro/crate/1.2"
_FILE_NAME = "ro-crate-metadata"


def ro_crate(published: PublishedMetadata) -> dict[str, Any]:
    """Return the crate. Its root is the page of the release, else the folder of the records."""
    metadata = f"{_FILE_NAME}.json"
    root = _root_id(published)
    entities = {entity["@id"]: entity for entity in _contextual(published)}
    return {
        "@context": f"{PROFILE}/context",
        "@graph": [
            {
                "@id": metadata,
                "@type": "CreativeWork",
                "conformsTo": {"@id": PROFILE},
                "about": {"@id": root},
            },
            _root(published, root),
            *(
                known(
                    **{"@id": published.url(file), "@type": "File"},
                    name=file_title(file, "en"),
                    alternateName=file_title(file, "fr"),
                    encodingFormat=file.media_type,
                    contentSize=str(file.size),
                    sha256=file.sha256,
                    sdDatePublished=published.published_at.date().isoformat(),
                )
                for file in published.files
            ),
            *(entity for key, entity in entities.items() if key not in {metadata, root}),
        ],
    }


def _root(published: PublishedMetadata, root: str) -> dict[str, Any]:
    terms = published.licence
    return known(
        **{"@id": root, "@type": "Dataset"},
        name=tagged(published.title, 300),
        description=[
            {**value, "@value": f"{value['@value']}\n\n{facts_sentence(published, value['@language'])}"}
            for value in tagged(published.description, 5_000)
        ],
        identifier=[{"@id": "#doi"}, published.identifier],
        **({"cite-as": published.doi_url} if published.doi_url else {}),
        url=published.landing_page,
        version=str(published.version),
        datePublished=published.published_at.date().isoformat(),
        dateCreated=published.planned_at.date().isoformat(),
        temporalCoverage=f"{published.vintage.start:%Y-%m-%d}/{published.vintage.end:%Y-%m-%d}",
        license={"@id": terms.url or "#licence"},
        creditText=published.attribution and plain(published.attribution.en),
        keywords=[plain(word) for word in (*published.keywords.en, *published.keywords.fr)],
        inLanguage=[bcp47(code) for code in published.languages],
        author=[{"@id": _party_key(party)} for party in published.creators],
        provider=[{"@id": _party_key(party)} for party in published.providers],
        publisher={"@id": "#publisher"},
        spatialCoverage={"@id": "#place"} if published.place else None,
        isBasedOn=list(published.sources),
        citation=plain(published.citation.en),
        hasPart=[{"@id": published.url(file)} for file in published.files],
    )


def _contextual(published: PublishedMetadata) -> Iterator[dict[str, Any]]:
    terms = published.licence
    for party in (*published.creators, *published.providers):
        yield known(
            **{"@id": _party_key(party), "@type": "Person" if party.is_person else "Organization"},
            name=plain(party.name),
            url=party.url,
            affiliation=party.affiliation and plain(party.affiliation),
        )
    yield {"@id": "#publisher", "@type": "Organization", "name": plain(published.site.publisher)}
    yield known(
        **{"@id": terms.url or "#licence", "@type": "CreativeWork"},
        name=[
            {"@value": plain(terms.title), "@language": "en"},
            *([{"@value": plain(terms.title_fr), "@language": "fr"}] if terms.title_fr else []),
        ],
        identifier=terms.spdx,
    )
    yield known(
        **{"@id": "#doi", "@type": "PropertyValue"},
        propertyID="https://registry.identifiers.org/registry/doi",
        value=f"doi:{published.doi}",
        url=published.doi_url,
    )
    if (place := published.place) is not None:
        yield known(
            **{"@id": "#place", "@type": "Place"},
            name=tagged(place.name) if place.name else None,
            identifier=published.dguid,
            geo=[{"@id": f"#box-{number}"} for number, _ in enumerate(place.boxes, 1)],
        )
        for number, box in enumerate(place.boxes, 1):
            yield {"@id": f"#box-{number}", "@type": "GeoShape", "box": _box(box)}


def _box(box: Bounds) -> str:
    west, south, east, north = box
    return f"{south} {west} {north} {east}"  # latitude first


def _party_key(party: Party) -> str:
    return party_id(party) or f"#{'-'.join(shortened(party.name, 100).split())}"


def _root_id(published: PublishedMetadata) -> str:
    """The page of the release: a detached crate needs an address that answers, and a store does not list folders."""
    return published.landing_page or "./"


def _render(published: PublishedMetadata) -> bytes:
    return json_document(ro_crate(published))


FORMATS = (
    RecordFormat(
        name="ro_crate",
        media_type=f'application/ld+json; profile="{PROFILE}"',
        suffix=".json",
        stem=_FILE_NAME,
        profile=PROFILE,
        title="RO-Crate 1.2",
        relation="alternate",
        render=_render,
    ),
)
