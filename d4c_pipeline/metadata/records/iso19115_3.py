"""ISO 19115-3 (2016, schemas of mdb 2.0), the XML of ISO 19115-1: English with French as PT_FreeText.

Source: https://schemas.isotc211.org/19115/-3/
"""

from __future__ import annotations

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.documents import plain
from d4c_pipeline.metadata.records.iso_extents import bounding_box, temporal_element
from d4c_pipeline.metadata.records.iso_facts import (
    OnlineFile,
    Responsible,
    contacts,
    dated_title,
    epsg,
    licence_title,
    lineage,
    maintenance,
    online_files,
    publisher,
    responsible,
)
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.metadata.records.topics import topics
from d4c_pipeline.metadata.records.xml_document import XSI, Content, Element, element, given, xml_document
from d4c_pipeline.model.declared import Bilingual

_ROOT = "http://standards.iso.org/iso/19115/-3"
MDB = f"{_ROOT}/mdb/2.0"
_VERSIONS = {
    "cit": "2.0",
    "gco": "1.0",
    "gex": "1.0",
    "lan": "1.0",
    "mcc": "1.0",
    "mco": "1.0",
    "mmi": "1.0",
    "mrd": "1.0",
    "mri": "1.0",
    "mrl": "2.0",
    "mrs": "1.0",
}
_NAMESPACES = {
    "mdb": MDB,
    **{prefix: f"{_ROOT}/{prefix}/{version}" for prefix, version in _VERSIONS.items()},
    "gml": "http://www.opengis.net/gml/3.2",
    "xsi": XSI,
}
_LISTS = "http://standards.iso.org/iso/19115/resources/Codelists/cat/codelists.xml#"
_FREE_TEXT = {"xsi:type": "lan:PT_FreeText_PropertyType"}


def iso19115_3(published: PublishedMetadata) -> Element:
    """Return the record's root."""
    code = epsg(published)
    return element(
        "mdb:MD_Metadata",
        element("mdb:metadataIdentifier", _identifier(published.identifier, "urn:d4c")),
        _locale("mdb:defaultLocale", "eng"),
        element(
            "mdb:metadataScope",
            element("mdb:MD_MetadataScope", element("mdb:resourceScope", _code("mcc:MD_ScopeCode", "dataset"))),
        ),
        element("mdb:contact", _party(publisher(published, "pointOfContact"))),
        _date("mdb:dateInfo", f"{published.planned_at:%Y-%m-%dT%H:%M:%SZ}", "creation"),
        _date("mdb:dateInfo", f"{published.published_at:%Y-%m-%dT%H:%M:%SZ}", "publication"),
        element(
            "mdb:metadataStandard",
            element(
                "cit:CI_Citation",
                _characters("cit:title", "ISO 19115-1"),
                _characters("cit:edition", "ISO 19115-3:2016"),
            ),
        ),
        _locale("mdb:otherLocale", "fra"),
        element(
            "mdb:referenceSystemInfo",
            element(
                "mrs:MD_ReferenceSystem",
                element("mrs:referenceSystemIdentifier", _identifier(code, "EPSG")),
            ),
        )
        if code
        else None,
        element("mdb:identificationInfo", _identification(published)),
        element("mdb:distributionInfo", _distribution(published)),
        element(
            "mdb:resourceLineage",
            element(
                "mrl:LI_Lineage",
                _text("mrl:statement", lineage(published)),
                element(
                    "mrl:scope",
                    element("mcc:MD_Scope", element("mcc:level", _code("mcc:MD_ScopeCode", "dataset"))),
                ),
            ),
        ),
        attributes={"xsi:schemaLocation": f"{MDB} {MDB}/mdb.xsd"},
    )


def _identification(published: PublishedMetadata) -> Element:
    withdrawn = published.withdrawn is not None
    superseded = withdrawn or published.line.superseded_by is not None
    progress = "withdrawn" if withdrawn else "superseded" if superseded else "completed"
    previous = published.line.previous
    return element(
        "mri:MD_DataIdentification",
        element("mri:citation", _citation(published)),
        _text("mri:abstract", published.description),
        _text("mri:credit", published.attribution) if published.attribution else None,
        _text("mri:credit", published.citation),
        element("mri:status", _code("mcc:MD_ProgressCode", progress)),
        [element("mri:pointOfContact", _party(each)) for each in contacts(published)],
        element(
            "mri:spatialRepresentationType",
            _code("mcc:MD_SpatialRepresentationTypeCode", "vector" if published.geometry_types else "textTable"),
        ),
        [element("mri:topicCategory", element("mri:MD_TopicCategoryCode", each.code)) for each in topics(published)],
        element("mri:extent", _extent(published)),
        element(
            "mri:resourceMaintenance",
            element(
                "mmi:MD_MaintenanceInformation",
                element(
                    "mmi:maintenanceAndUpdateFrequency",
                    _code("mmi:MD_MaintenanceFrequencyCode", maintenance(published)),
                ),
            ),
        ),
        element(
            "mri:graphicOverview",
            element("mcc:MD_BrowseGraphic", _characters("mcc:fileName", published.url(published.thumbnail))),
        )
        if published.thumbnail
        else None,
        given(
            "mri:descriptiveKeywords",
            given(
                "mri:MD_Keywords",
                keywords,
                element("mri:type", _code("mri:MD_KeywordTypeCode", "theme")) if keywords else None,
            ),
        )
        if (keywords := _keywords(published))
        else None,
        element(
            "mri:resourceConstraints",
            element(
                "mco:MD_LegalConstraints",
                element(
                    "mco:reference",
                    element(
                        "cit:CI_Citation",
                        _text("cit:title", licence_title(published)),
                        element("cit:onlineResource", _online(published.licence.url))
                        if published.licence.url
                        else None,
                    ),
                ),
                element("mco:accessConstraints", _code("mco:MD_RestrictionCode", "unrestricted")),
                element("mco:useConstraints", _code("mco:MD_RestrictionCode", "licence")),
                _text("mco:otherConstraints", licence_title(published)),
            ),
        ),
        element(
            "mri:associatedResource",
            element(
                "mri:MD_AssociatedResource",
                element("mri:associationType", _code("mri:DS_AssociationTypeCode", "revisionOf")),
                element(
                    "mri:metadataReference",
                    element(
                        "cit:CI_Citation",
                        _characters("cit:title", previous.name),
                        element("cit:identifier", _identifier(previous.doi, "DOI")) if previous.doi else None,
                    ),
                ),
            ),
        )
        if previous
        else None,
        [_locale("mri:defaultLocale" if not number else "mri:otherLocale", code)
         for number, code in enumerate(published.languages)],
    )  # fmt: skip


def _citation(published: PublishedMetadata) -> Element:
    return element(
        "cit:CI_Citation",
        _text("cit:title", dated_title(published)),
        _date("cit:date", f"{published.planned_at:%Y-%m-%dT%H:%M:%SZ}", "creation"),
        _date("cit:date", f"{published.published_at:%Y-%m-%dT%H:%M:%SZ}", "publication"),
        _characters("cit:edition", str(published.version)),
        element("cit:identifier", _identifier(published.doi, "DOI")),
        element("cit:identifier", _identifier(published.identifier, "urn:d4c")),
        [element("cit:citedResponsibleParty", _party(each)) for each in responsible(published)],
        element("cit:onlineResource", _online(published.landing_page)),
    )


def _keywords(published: PublishedMetadata) -> list[Element]:
    english, french = published.keywords.en, published.keywords.fr
    if len(english) == len(french):
        pairs = ((plain(en), plain(fr)) for en, fr in zip(english, french, strict=True))
        return [_text("mri:keyword", Bilingual(en=en, fr=fr)) for en, fr in pairs if en and fr]
    return [_characters("mri:keyword", word) for word in map(plain, (*english, *french)) if word]


def _extent(published: PublishedMetadata) -> Element:
    place, period = published.place, published.vintage
    return element(
        "gex:EX_Extent",
        _text("gex:description", place.name) if place and place.name else None,
        element(
            "gex:geographicElement",
            element(
                "gex:EX_GeographicDescription",
                element("gex:geographicIdentifier", _identifier(published.dguid, "DGUID")),
            ),
        ),
        [element("gex:geographicElement", bounding_box("gex", box)) for box in (place.boxes if place else ())],
        temporal_element("gex", period),
    )


def _distribution(published: PublishedMetadata) -> Element:
    files = online_files(published)
    return element(
        "mrd:MD_Distribution",
        [
            element(
                "mrd:distributionFormat",
                element(
                    "mrd:MD_Format",
                    element(
                        "mrd:formatSpecificationCitation",
                        element("cit:CI_Citation", _characters("cit:title", media_type)),
                    ),
                ),
            )
            for media_type in dict.fromkeys(file.media_type for file in files)
        ],
        element(
            "mrd:distributor",
            element(
                "mrd:MD_Distributor", element("mrd:distributorContact", _party(publisher(published, "distributor")))
            ),
        ),
        [
            element(
                "mrd:transferOptions",
                element(
                    "mrd:MD_DigitalTransferOptions",
                    element("mrd:transferSize", element("gco:Real", f"{file.megabytes:.6f}")),
                    element("mrd:onLine", _online(file.address, file)),
                ),
            )
            for file in files
        ],
    )


def _online(address: str, file: OnlineFile | None = None) -> Element:
    return element(
        "cit:CI_OnlineResource",
        _characters("cit:linkage", address),
        _characters("cit:protocol", "WWW:DOWNLOAD-1.0-http--download") if file else None,
        _text("cit:name", file.title) if file else None,
        _characters("cit:description", file.media_type) if file else None,
        element("cit:function", _code("cit:CI_OnLineFunctionCode", "download" if file else "information")),
    )


def _party(found: Responsible) -> Element:
    party = found.party
    contact = given(
        "cit:contactInfo",
        given(
            "cit:CI_Contact",
            element("cit:address", element("cit:CI_Address", _characters("cit:electronicMailAddress", found.email)))
            if found.email
            else None,
            element("cit:onlineResource", _online(found.address)) if found.address else None,
        ),
    )
    name = _characters("cit:name", plain(party.name))
    body = element("cit:CI_Organisation", name, contact)
    if party.is_person:
        body = element("cit:CI_Individual", name, contact)
        if party.affiliation:
            employer = _characters("cit:name", plain(party.affiliation))
            body = element("cit:CI_Organisation", employer, element("cit:individual", body))
    return element(
        "cit:CI_Responsibility",
        element("cit:role", _code("cit:CI_RoleCode", found.role)),
        element("cit:party", body),
    )


def _identifier(code: str, space: str) -> Element:
    return element("mcc:MD_Identifier", _characters("mcc:code", code), _characters("mcc:codeSpace", space))


def _date(name: str, moment: str, kind: str) -> Element:
    return element(
        name,
        element(
            "cit:CI_Date",
            element("cit:date", element("gco:DateTime", moment)),
            element("cit:dateType", _code("cit:CI_DateTypeCode", kind)),
        ),
    )


def _locale(name: str, language: str) -> Element:
    attributes = {"id": language} if name.startswith("mdb:") else None
    return element(
        name,
        element(
            "lan:PT_Locale",
            element("lan:language", _code("lan:LanguageCode", language)),
            element("lan:characterEncoding", _code("lan:MD_CharacterSetCode", "utf8")),
            attributes=attributes,
        ),
    )


def _code(name: str, value: str) -> Element:
    return element(name, value, attributes={"codeList": f"{_LISTS}{name.partition(':')[2]}", "codeListValue": value})


def _characters(name: str, text: str) -> Element:
    return element(name, element("gco:CharacterString", text))


def _text(name: str, text: Bilingual) -> Element:
    french: Content = element(
        "lan:PT_FreeText",
        element(
            "lan:textGroup",
            element("lan:LocalisedCharacterString", plain(text.fr), attributes={"locale": "#fra"}),
        ),
    )
    return element(name, element("gco:CharacterString", plain(text.en)), french, attributes=_FREE_TEXT)


def _render(published: PublishedMetadata) -> bytes:
    return xml_document(iso19115_3(published), _NAMESPACES)


FORMATS = (
    RecordFormat(
        name="iso19115_3",
        media_type="application/xml",
        suffix=".xml",
        profile=MDB,
        title="ISO 19115-3",
        render=_render,
        static=False,
    ),
)
