"""Simple Dublin Core as `oai_dc`, the format that every OAI-PMH repository has, with a language on each text.

Places and periods are written as DCMI Box and DCMI Period. Source: https://www.openarchives.org/OAI/2.0/guidelines-oai_dc.htm
"""

from __future__ import annotations

from collections.abc import Iterable

from d4c_pipeline.metadata.published import TONGUES, PublishedMetadata
from d4c_pipeline.metadata.records.documents import in_language, plain
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.metadata.records.xml_document import XSI, Element, element, given, xml_document
from d4c_pipeline.model.declared import Bilingual

NAMESPACE = "http://www.openarchives.org/OAI/2.0/oai_dc/"
SCHEMA = "http://www.openarchives.org/OAI/2.0/oai_dc.xsd"
_NAMESPACES = {"oai_dc": NAMESPACE, "dc": "http://purl.org/dc/elements/1.1/", "xsi": XSI}


def oai_dc(published: PublishedMetadata) -> Element:
    """Return the record's root."""
    terms, line, place = published.licence, published.line, published.place
    parties = (*published.providers, *published.contributors)
    versions = (line.previous, line.superseded_by, line.newest if line.superseded_by else None)
    relations = [f"https://doi.org/{other.doi}" for other in versions if other and other.doi]
    boxes = place.boxes if place else ()
    return element(
        "oai_dc:dc",
        _tagged("dc:title", published.record.title),
        _plain("dc:creator", (party.name for party in published.creators)),
        [
            given("dc:subject", plain(word), attributes={"xml:lang": language})
            for language in TONGUES
            for word in in_language(published.keywords, language)
        ],
        _tagged("dc:description", published.description),
        _plain("dc:publisher", (published.site.publisher,)),
        _plain("dc:contributor", (party.name for party in parties)),
        _as_is("dc:date", published.published_at.date().isoformat()),
        _as_is("dc:type", "Dataset"),
        _as_is("dc:format", *(file.media_type for file in published.data_files)),
        _as_is("dc:identifier", published.doi_url, published.identifier, published.landing_page),
        _as_is("dc:source", *published.sources),
        _as_is("dc:language", *published.languages),
        _as_is("dc:relation", published.concept_doi_url, *relations),
        _as_is(
            "dc:coverage",
            *(
                f"westlimit={west}; southlimit={south}; eastlimit={east}; northlimit={north}; "
                "units=signed decimal degrees"
                for west, south, east, north in boxes
            ),
            f"start={published.vintage.start:%Y-%m-%d}; end={published.vintage.end:%Y-%m-%d}; scheme=W3C-DTF",
        ),
        _tagged("dc:coverage", place.name) if place and place.name else None,
        _tagged("dc:rights", Bilingual(en=terms.title, fr=terms.titled("fr"))),
        _as_is("dc:rights", terms.url),
        attributes={"xsi:schemaLocation": f"{NAMESPACE} {SCHEMA}"},
    )


def _tagged(name: str, text: Bilingual) -> list[Element | None]:
    texts = {language: plain(in_language(text, language)) for language in TONGUES}
    if texts["en"] == texts["fr"]:
        return [given(name, texts["en"])]
    return [given(name, text, attributes={"xml:lang": language}) for language, text in texts.items()]


def _plain(name: str, texts: Iterable[str]) -> list[Element | None]:
    return _as_is(name, *map(plain, texts))


def _as_is(name: str, *texts: str | None) -> list[Element | None]:
    return [given(name, text) for text in dict.fromkeys(texts) if text]


def _render(published: PublishedMetadata) -> bytes:
    return xml_document(oai_dc(published), _NAMESPACES)


FORMATS = (
    RecordFormat(
        name="oai_dc",
        media_type="application/xml",
        suffix=".xml",
        profile=NAMESPACE,
        title="Dublin Core",
        render=_render,
        static=False,
    ),
)
