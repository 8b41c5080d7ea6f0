"""A release as a DCAT 3 dataset in JSON-LD, with its files as distributions and its versions linked.

The pages of the catalogue belong to `catalogue.dcat_pages`. Source: https://www.w3.org/TR/vocab-dcat-3/
"""

from __future__ import annotations

from typing import Any

from d4c_pipeline.metadata.published import Bounds, PublishedFile, PublishedMetadata, VersionLink
from d4c_pipeline.metadata.records.documents import (
    TONGUES,
    facts_sentence,
    file_title,
    in_language,
    json_document,
    known,
    party_id,
    plain,
    shortened,
    tagged,
)
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.model.credits import CONTACT, Contributor, Party
from d4c_pipeline.model.frequency import european
from d4c_pipeline.model.languages import bcp47
from d4c_pipeline.model.release import ArtifactRole

CONTEXT: dict[str, Any] = {
    "adms": "http://www.w3.org/ns/adms#",
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "geo": "http://www.opengis.net/ont/geosparql#",
    "hydra": "http://www.w3.org/ns/hydra/core#",
    "locn": "http://www.w3.org/ns/locn#",
    "owl": "http://www.w3.org/2002/07/owl#",
    "prov": "http://www.w3.org/ns/prov#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "spdx": "http://spdx.org/rdf/terms#",
    "vcard": "http://www.w3.org/2006/vcard/ns#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
DISTRIBUTED = (ArtifactRole.DATA, ArtifactRole.DESKTOP, ArtifactRole.TILES)
"""Roles of the files that are distributions of the data."""
_LANGUAGE = "http://publications.europa.eu/resource/authority/language/"
_FREQUENCY = "http://publications.europa.eu/resource/authority/frequency/"
_MEDIA_TYPE = "https://www.iana.org/assignments/media-types/"


def dataset_id(published: PublishedMetadata) -> str:
    """Return the URI of a release: its DOI, else its identifier."""
    return published.doi_url or published.identifier


def dcat_dataset(published: PublishedMetadata) -> dict[str, Any]:
    """Return the `dcat:Dataset` of a release, without `@context`."""
    line = published.line
    description = [
        {**value, "@value": f"{value['@value']}\n\n{facts_sentence(published, value['@language'])}"}
        for value in tagged(published.description)
    ]
    return known(
        **{
            "@id": dataset_id(published),
            "@type": "dcat:Dataset",
            "dct:title": [
                {"@value": f"{value['@value']}, {published.vintage}", "@language": value["@language"]}
                for value in tagged(published.title)
            ],
            "dct:description": description,
            "dct:identifier": published.identifier,
            "adms:identifier": {
                "@type": "adms:Identifier",
                "skos:notation": {"@value": published.doi, "@type": "xsd:string"},
                "adms:schemaAgency": "DOI",
            },
            "dcat:keyword": [
                {"@value": plain(word), "@language": language}
                for language in TONGUES
                for word in in_language(published.keywords, language)
            ],
            "dct:publisher": {"@type": "foaf:Agent", "foaf:name": plain(published.site.publisher)},
            "dct:creator": [_agent(party) for party in published.creators],
            "dct:contributor": [_agent(party) for party in published.providers],
            "dcat:contactPoint": contact_points(published),
            "dct:issued": _date(published.published_at.date().isoformat()),
            "dct:modified": _date(published.published_at.date().isoformat()),
            "dct:accrualPeriodicity": published.frequency
            and {"@id": f"{_FREQUENCY}{european(published.frequency)}", "@type": "dct:Frequency"},
            "dct:language": [language_node(code) for code in published.languages],
            "dct:license": _licence(published),
            "dct:rights": published.attribution
            and {"@type": "dct:RightsStatement", "rdfs:label": tagged(published.attribution)},
            "dct:accessRights": {
                "@id": "http://publications.europa.eu/resource/authority/access-right/PUBLIC",
                "@type": "dct:RightsStatement",
            },
            "dct:temporal": {
                "@type": "dct:PeriodOfTime",
                "dcat:startDate": _date(f"{published.vintage.start:%Y-%m-%d}"),
                "dcat:endDate": _date(f"{published.vintage.end:%Y-%m-%d}"),
            },
            "dct:spatial": _locations(published),
            "dcat:landingPage": _document(published.landing_page),
            "foaf:page": _document(published.archive_url) if published.archive_url else None,
            "dcat:version": str(published.version),
            "adms:versionNotes": "; ".join(published.change.reasons),
            "dcat:previousVersion": _other(line.previous),
            "dcat:hasCurrentVersion": _other(line.newest if line.superseded_by else None),
            "dcat:isVersionOf": {"@id": published.concept_doi_url} if published.concept_doi_url else None,
            "dct:isReplacedBy": _other(line.superseded_by),
            "prov:wasDerivedFrom": [{"@id": source} for source in published.sources if source.startswith("http")],
            "dcat:distribution": [
                _distribution(published, file) for file in published.files if file.role in DISTRIBUTED
            ],
        }
    )


def contact_points(published: PublishedMetadata) -> list[dict[str, Any]]:
    """Return the contacts of a release: those of its dataset, then the publisher's."""
    contacts = [*published.contacts]
    if (contact := published.site.contact) is not None:
        by_mail = "@" in contact and "://" not in contact
        own = Contributor(name=published.site.publisher, role=CONTACT)
        contacts.append(own.model_copy(update={"email" if by_mail else "url": contact}))
    return [
        known(
            **{
                "@type": ["vcard:Kind", "vcard:Individual" if party.is_person else "vcard:Organization"],
                "vcard:fn": plain(party.name),
                "vcard:hasEmail": {"@id": f"mailto:{party.email}"} if party.email else None,
                "vcard:hasURL": {"@id": party.url} if party.url else None,
            }
        )
        for party in contacts
    ]


def wkt(box: Bounds) -> str:
    """Return a box as WKT; a flat box is a point or a line."""
    west, south, east, north = box
    if west == east and south == north:
        return f"POINT({west} {south})"
    if west == east or south == north:
        return f"LINESTRING({west} {south}, {east} {north})"
    ring = ((west, south), (east, south), (east, north), (west, north), (west, south))
    return f"POLYGON(({', '.join(f'{x} {y}' for x, y in ring)}))"


def _locations(published: PublishedMetadata) -> list[dict[str, Any]]:
    place = published.place
    if place is None:
        return []
    return [
        known(
            **{
                "@type": "dct:Location",
                "skos:prefLabel": tagged(place.name) if place.name else None,
                "dct:identifier": published.dguid,
                "dcat:bbox": {"@value": wkt(box), "@type": "geo:wktLiteral"},
            }
        )
        for box in place.boxes
    ]


def _distribution(published: PublishedMetadata, file: PublishedFile) -> dict[str, Any]:
    urls = published.urls(file)
    return known(
        **{
            # DCAT: what lies at several addresses is one distribution with several download URLs.
            "@id": f"{urls[0]}#distribution",
            "@type": "dcat:Distribution",
            "dct:title": [{"@value": file_title(file, language), "@language": language} for language in TONGUES],
            "dcat:accessURL": _resource(urls[0]),
            "dcat:downloadURL": [_resource(url) for url in urls],
            "dcat:mediaType": {"@id": f"{_MEDIA_TYPE}{file.media_type}", "@type": "dct:MediaType"},
            "dct:format": {"@type": "dct:MediaTypeOrExtent", "rdfs:label": _format(file)},
            "dcat:byteSize": {"@value": str(file.size), "@type": "xsd:nonNegativeInteger"},
            "dct:license": _licence(published),
            "dct:issued": _date(published.published_at.date().isoformat()),
            "spdx:checksum": {
                "@type": "spdx:Checksum",
                "spdx:algorithm": {"@id": "spdx:checksumAlgorithm_sha256", "@type": "spdx:ChecksumAlgorithm"},
                "spdx:checksumValue": {"@value": file.sha256, "@type": "xsd:hexBinary"},
            },
        }
    )


def language_node(code: str) -> dict[str, str]:
    """Return a language (ISO 639-3) as the EU's vocabulary names it."""
    return {"@id": f"{_LANGUAGE}{code.upper()}", "@type": "dct:LinguisticSystem"}


def _licence(published: PublishedMetadata) -> dict[str, Any]:
    terms = published.licence
    titles = [{"@value": plain(terms.title), "@language": "en"}]
    if terms.title_fr:
        titles.append({"@value": plain(terms.title_fr), "@language": "fr"})
    return known(**{"@id": terms.url or None, "@type": "dct:LicenseDocument", "dct:title": titles})


def _format(file: PublishedFile) -> str:
    name = file.name.lower()
    suffixes = {".csv.gz": "CSV", ".gpkg": "GPKG", ".fgb": "FGB", ".pmtiles": "PMTILES", ".parquet": "PARQUET"}
    return next((word for suffix, word in suffixes.items() if name.endswith(suffix)), "BIN")


def _agent(party: Party) -> dict[str, Any]:
    return known(
        **{
            "@id": party_id(party),
            "@type": ["foaf:Agent", "foaf:Person" if party.is_person else "foaf:Organization"],
            "foaf:name": shortened(party.name, 500),
            "foaf:homepage": {"@id": party.url} if party.url else None,
        }
    )


def _resource(url: str) -> dict[str, str]:
    return {"@id": url, "@type": "rdfs:Resource"}  # the type that DCAT-AP's shapes require


def _document(url: str) -> dict[str, str]:
    return {"@id": url, "@type": "foaf:Document"}


def _date(text: str) -> dict[str, str]:
    return {"@value": text, "@type": "xsd:date"}


def _other(link: VersionLink | None) -> dict[str, str] | None:
    return {"@id": f"https://doi.org/{link.doi}"} if link is not None and link.doi is not None else None


def language_codes(published: PublishedMetadata) -> list[str]:
    """Return the data's languages as ISO 639-1; a language without a code of two letters is left out."""
    return [code for code in map(bcp47, published.languages) if len(code) == 2]


def _render(published: PublishedMetadata) -> bytes:
    return json_document({"@context": CONTEXT, **dcat_dataset(published)})


FORMATS = (
    RecordFormat(
        name="dcat",
        media_type="application/ld+json",
        suffix=".jsonld",
        profile="http://www.w3.org/ns/dcat#",
        title="DCAT 3",
        static=False,
        render=_render,
    ),
)
