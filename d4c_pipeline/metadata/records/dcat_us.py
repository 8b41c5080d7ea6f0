"""A release as a dataset of the DCAT-US 3 profile, in the JSON form that its JSON schema describes.

The catalogue's document belongs to `catalogue.dcat_pages`. Source: https://github.com/GSA/dcat-us (jsonschema/).
"""

from __future__ import annotations

from typing import Any

from d4c_pipeline.metadata.published import PublishedFile, PublishedMetadata, VersionLink
from d4c_pipeline.metadata.records.dcat import (
    DISTRIBUTED,
    contact_points,
    dataset_id,
    language_codes,
    wkt,
)
from d4c_pipeline.metadata.records.documents import facts_sentence, file_title, json_document, known, plain
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.model.credits import Party
from d4c_pipeline.model.frequency import repeating

PROFILE = "https://resources.data.gov/dcat-us/3.0.0"


def dcat_us_dataset(published: PublishedMetadata) -> dict[str, Any]:
    """Return the `Dataset`; English stands in the plain fields, French in those called `...Map`."""
    line, terms, place = published.line, published.licence, published.place
    day = published.published_at.date().isoformat()
    contacts = [
        {"@type": "Kind", "fn": each["vcard:fn"], "hasEmail": each["vcard:hasEmail"]["@id"]}
        for each in contact_points(published)
        if "vcard:hasEmail" in each  # the schema requires an address of mail
    ]
    return {
        "@id": dataset_id(published),
        "@type": "Dataset",
        "title": f"{plain(published.title.en)}, {published.vintage}",
        "description": f"{plain(published.description.en)}\n\n{facts_sentence(published, 'en')}",
        "identifier": {"@type": "Identifier", "notation": published.identifier},
        "publisher": {"@type": "Organization", "name": plain(published.site.publisher)},
        "contactPoint": contacts,
        **known(
            titleMap={"fr": f"{plain(published.title.fr)}, {published.vintage}"},
            descriptionMap={"fr": f"{plain(published.description.fr)}\n\n{facts_sentence(published, 'fr')}"},
            otherIdentifier=[{"@type": "Identifier", "schemaAgency": "DOI", "notation": published.doi}],
            keyword=[plain(word) for word in published.keywords.en if plain(word)],
            keywordMap=known(fr=[plain(word) for word in published.keywords.fr if plain(word)]),
            version=str(published.version),
            versionNotes="; ".join(published.change.reasons),
            previousVersion=_other(line.previous),
            hasCurrentVersion=_other(line.newest if line.superseded_by else None),
            issued=day,
            modified=day,
            created=published.planned_at.date().isoformat(),
            language=language_codes(published),
            accrualPeriodicity=published.frequency and repeating(published.frequency),
            accessRights="public",
            license=terms.url or plain(terms.title),
            rights=[plain(published.attribution.en)] if published.attribution else None,
            creator=_agent(published.creators[0]),
            contributor=[_agent(party) for party in (*published.creators[1:], *published.providers)],
            landingPage={"@type": "Document", "title": "Landing page", "accessURL": published.landing_page},
            spatial=[
                known(
                    **{"@type": "Location"},
                    prefLabel=plain(place.name.en) if place and place.name else None,
                    bbox=wkt(box),
                )
                for box in (place.boxes if place else ())
            ],
            temporal=[
                {
                    "@type": "PeriodOfTime",
                    "startDate": f"{published.vintage.start:%Y-%m-%d}",
                    "endDate": f"{published.vintage.end:%Y-%m-%d}",
                }
            ],
            distribution=[_distribution(published, file) for file in published.files if file.role in DISTRIBUTED],
        ),
    }


def _distribution(published: PublishedMetadata, file: PublishedFile) -> dict[str, Any]:
    return known(
        **{"@id": published.url(file), "@type": "Distribution"},
        title=file_title(file, "en"),
        titleMap={"fr": file_title(file, "fr")},
        downloadURL=published.url(file),
        mediaType=file.media_type,
        byteSize=str(file.size),
        license=published.licence.url or plain(published.licence.title),
        issued=published.published_at.date().isoformat(),
        checksum={
            "@type": "Checksum",
            "algorithm": "http://spdx.org/rdf/terms#checksumAlgorithm_sha256",
            "checksumValue": file.sha256,
        },
    )


def _agent(party: Party) -> dict[str, Any]:
    return {"@type": "Agent" if party.is_person else "Organization", "name": plain(party.name)}


def _other(link: VersionLink | None) -> dict[str, Any] | None:
    """A reference to another release, as the least that the schema takes for a dataset."""
    if link is None or link.doi is None:
        return None
    return {
        "@id": f"https://doi.org/{link.doi}",
        "@type": "Dataset",
        "title": link.name,
        "description": f"Version {link.version} of {link.vintage}",
        "identifier": {"@type": "Identifier", "schemaAgency": "DOI", "notation": link.doi},
        "publisher": {"@type": "Organization", "name": link.dataset},
        "contactPoint": [],
    }


def _render(published: PublishedMetadata) -> bytes:
    return json_document(dcat_us_dataset(published))


FORMATS = (
    RecordFormat(
        name="dcat_us",
        media_type="application/json",
        suffix=".json",
        profile=PROFILE,
        title="DCAT-US 3",
        static=False,
        render=_render,
    ),
)
