"""schema.org `Dataset` as JSON-LD, as Google's Dataset Search reads it: one document for each language.

A document has one language, because search engines read plain strings only; the two documents link to each other.
Source: https://developers.google.com/search/docs/appearance/structured-data/dataset
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from d4c_pipeline.metadata.published import Bounds, PublishedFile, PublishedMetadata, Tongue
from d4c_pipeline.metadata.records.documents import (
    facts_sentence,
    file_title,
    in_language,
    json_document,
    known,
    party_id,
    plain,
    shortened,
)
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.model.credits import Party
from d4c_pipeline.model.languages import bcp47
from d4c_pipeline.model.release import ArtifactRole

LONGEST_DESCRIPTION = 5_000
_MOST_VARIABLES = 200  # a search engine reads names, not a codebook: the README has every column
_DOWNLOADS = (ArtifactRole.DATA, ArtifactRole.DESKTOP, ArtifactRole.TILES)


def dataset_node(published: PublishedMetadata, language: Tongue = "en") -> dict[str, Any]:
    """Return the `Dataset` without `@context`."""
    other: Tongue = "fr" if language == "en" else "en"
    terms, place = published.licence, published.place
    title, translation = plain(in_language(published.title, language)), plain(in_language(published.title, other))
    return known(
        **{"@type": "Dataset", "@id": published.doi_url or published.identifier},
        name=shortened(f"{title}, {published.vintage}", 300),
        alternateName=shortened(translation, 300) if translation != title else None,
        description=description(published, language),
        url=published.landing_page,
        sameAs=[address for address in (published.archive_url, published.concept_doi_url) if address],
        identifier=[
            known(**{"@type": "PropertyValue"}, propertyID="DOI", value=published.doi, url=published.doi_url),
            published.identifier,
        ],
        version=str(published.version),
        inLanguage=[bcp47(code) for code in published.languages],
        keywords=[plain(word) for word in in_language(published.keywords, language)],
        license=terms.url or plain(terms.titled(language)),
        isAccessibleForFree=True,
        creditText=published.attribution and plain(in_language(published.attribution, language)),
        creator=[party_node(party) for party in published.creators],
        provider=[party_node(party) for party in published.providers],
        publisher={"@type": "Organization", "name": plain(published.site.publisher)},
        funding=[
            known(
                **{"@type": "Grant"},
                identifier=grant.number,
                name=grant.title and plain(in_language(grant.title, language)),
                url=grant.url,
                funder={"@type": "Organization", "name": plain(grant.funder)},
            )
            for grant in published.funding
        ],
        dateCreated=published.planned_at.date().isoformat(),
        datePublished=published.published_at.date().isoformat(),
        dateModified=published.published_at.date().isoformat(),
        temporalCoverage=f"{published.vintage.start:%Y-%m-%d}/{published.vintage.end:%Y-%m-%d}",
        spatialCoverage=place
        and known(
            **{"@type": "Place"},
            name=place.name and plain(in_language(place.name, language)),
            identifier=published.dguid,
            geo=[_shape(box) for box in place.boxes],
        ),
        variableMeasured=[
            known(
                **{"@type": "PropertyValue"},
                name=plain(column.name) or column.name,
                description=(text := getattr(column, f"description_{language}")) and shortened(text, 500),
            )
            for column in published.columns[:_MOST_VARIABLES]
        ],
        distribution=[_download(published, file, language) for file in published.files if file.role in _DOWNLOADS],
        thumbnailUrl=published.url(picture) if (picture := published.thumbnail) else None,
        citation=plain(in_language(published.citation, language)),
        isBasedOn=list(published.sources),
        includedInDataCatalog={
            "@type": "DataCatalog",
            "name": f"{plain(published.site.publisher)}",
            "url": published.href("catalogue/catalog.json"),
        },
    )


def description(published: PublishedMetadata, language: Tongue) -> str:
    """Return the description with the facts of the release: at least 50 characters, at most 5,000."""
    facts = facts_sentence(published, language)
    text = shortened(in_language(published.description, language), LONGEST_DESCRIPTION - len(facts) - 2)
    return f"{text}\n\n{facts}"


def party_node(party: Party) -> dict[str, Any]:
    """Return a person or organisation."""
    kind = "Person" if party.is_person else "Organization"
    named = known(**{"@type": kind}, name=plain(party.name), url=party.url, sameAs=party_id(party))
    if party.is_person and "," in party.name:
        family, _, given = party.name.partition(",")
        named |= known(familyName=plain(family), givenName=plain(given))
    if party.affiliation:
        named["affiliation"] = {"@type": "Organization", "name": plain(party.affiliation)}
    return named


def _shape(box: Bounds) -> dict[str, Any]:
    west, south, east, north = box
    if west == east and south == north:
        return {"@type": "GeoCoordinates", "latitude": south, "longitude": west}
    return {"@type": "GeoShape", "box": f"{south} {west} {north} {east}"}  # latitude first


def _download(published: PublishedMetadata, file: PublishedFile, language: Tongue) -> dict[str, Any]:
    urls: Sequence[str] = published.urls(file)
    return known(
        **{"@type": "DataDownload"},
        name=file_title(file, language),
        contentUrl=urls[0],
        sameAs=list(urls[1:]),
        encodingFormat=file.media_type,
        contentSize=f"{file.size} B",
        sha256=file.sha256,
    )


def _render(published: PublishedMetadata, language: Tongue) -> bytes:
    return json_document({"@context": "https://schema.org/", **dataset_node(published, language)})


FORMATS = (
    RecordFormat(
        name="schema_org",
        media_type="application/ld+json",
        suffix=".jsonld",
        stem="schema",
        profile="https://schema.org/",
        title="schema.org Dataset",
        relation="alternate",
        render=partial(_render, language="en"),
    ),
    RecordFormat(
        name="schema_org_fr",
        media_type="application/ld+json",
        suffix=".jsonld",
        stem="schema.fr",
        profile="https://schema.org/",
        title="schema.org Dataset (français)",
        relation="alternate",
        render=partial(_render, language="fr"),
    ),
)
