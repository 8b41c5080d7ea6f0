"""ISO 19139 (2007, GML 3.2), English with French as PT_FreeText, and its Canadian profile, the Harmonized NAP.

The profile differs in its code lists (numbers of the register with both languages as text), languages and standard.
Source: CAN/CGSB-171.100-2009 and https://www.isotc211.org/2005/gmd/
"""

from __future__ import annotations

import uuid
from functools import partial

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.documents import plain
from d4c_pipeline.metadata.records.iso_codes import CodeLists
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
from d4c_pipeline.metadata.records.xml_document import XSI, Element, element, given, xml_document
from d4c_pipeline.model.declared import Bilingual

GMD = "http://www.isotc211.org/2005/gmd"
_NAMESPACES = {
    "gmd": GMD,
    "gco": "http://www.isotc211.org/2005/gco",
    "gml": "http://www.opengis.net/gml/3.2",
    "xsi": XSI,
}
_FREE_TEXT = {"xsi:type": "gmd:PT_FreeText_PropertyType"}


def iso19139(published: PublishedMetadata, *, hnap: bool = False) -> Element:
    """Return the record's root; `hnap`: in the Canadian profile, whose file identifier is a UUID."""
    profile = CodeLists(hnap)
    identifier = published.identifier
    if hnap:
        standard = Bilingual(
            en="North American Profile of ISO 19115:2003 - Geographic information - Metadata",
            fr="Profil nord-américain de la norme ISO 19115:2003 - Information géographique - Métadonnées",
        )
        version, identifier = "CAN/CGSB-171.100-2009", str(uuid.uuid5(uuid.NAMESPACE_URL, identifier))
    else:
        standard = Bilingual(
            en="ISO 19115:2003 Geographic information - Metadata",
            fr="ISO 19115:2003 Information géographique - Métadonnées",
        )
        version = "ISO 19139:2007"
    code = epsg(published)
    return element(
        "gmd:MD_Metadata",
        _characters("gmd:fileIdentifier", identifier),
        profile.language("eng"),
        element("gmd:characterSet", profile.code("MD_CharacterSetCode", "utf8")),
        element("gmd:hierarchyLevel", profile.code("MD_ScopeCode", "dataset")),
        element("gmd:contact", _party(publisher(published, "pointOfContact"), profile)),
        element("gmd:dateStamp", element("gco:DateTime", f"{published.published_at:%Y-%m-%dT%H:%M:%SZ}")),
        _text("gmd:metadataStandardName", standard),
        _characters("gmd:metadataStandardVersion", version),
        _characters("gmd:dataSetURI", published.landing_page),
        profile.locale(),
        element(
            "gmd:referenceSystemInfo",
            element(
                "gmd:MD_ReferenceSystem",
                element(
                    "gmd:referenceSystemIdentifier",
                    element(
                        "gmd:RS_Identifier",
                        _characters("gmd:code", f"EPSG:{code}" if hnap else code),
                        _characters("gmd:codeSpace", "http://www.epsg-registry.org" if hnap else "EPSG"),
                    ),
                ),
            ),
        )
        if code
        else None,
        element("gmd:identificationInfo", _identification(published, profile)),
        element("gmd:distributionInfo", _distribution(published, profile)),
        element(
            "gmd:dataQualityInfo",
            element(
                "gmd:DQ_DataQuality",
                element(
                    "gmd:scope",
                    element("gmd:DQ_Scope", element("gmd:level", profile.code("MD_ScopeCode", "dataset"))),
                ),
                element("gmd:lineage", element("gmd:LI_Lineage", _text("gmd:statement", lineage(published)))),
            ),
        ),
        attributes={"xsi:schemaLocation": f"{GMD} {GMD}/gmd.xsd"},
    )


def _identification(published: PublishedMetadata, profile: CodeLists) -> Element:
    superseded = published.line.superseded_by is not None or published.withdrawn is not None
    return element(
        "gmd:MD_DataIdentification",
        element("gmd:citation", _citation(published, profile)),
        _text("gmd:abstract", published.description),
        _text("gmd:credit", published.attribution) if published.attribution else None,
        _text("gmd:credit", published.citation),
        element("gmd:status", profile.code("MD_ProgressCode", "obsolete" if superseded else "completed")),
        [element("gmd:pointOfContact", _party(each, profile)) for each in contacts(published)],
        element(
            "gmd:resourceMaintenance",
            element(
                "gmd:MD_MaintenanceInformation",
                element(
                    "gmd:maintenanceAndUpdateFrequency",
                    profile.code("MD_MaintenanceFrequencyCode", maintenance(published)),
                ),
            ),
        ),
        element(
            "gmd:graphicOverview",
            element("gmd:MD_BrowseGraphic", _characters("gmd:fileName", published.url(published.thumbnail))),
        )
        if published.thumbnail
        else None,
        [
            element(
                "gmd:descriptiveKeywords",
                element(
                    "gmd:MD_Keywords",
                    keywords,
                    element("gmd:type", profile.code("MD_KeywordTypeCode", "theme")),
                ),
            )
            for keywords in [_keywords(published)]
            if keywords
        ],
        element(
            "gmd:resourceConstraints",
            element(
                "gmd:MD_LegalConstraints",
                _text("gmd:useLimitation", licence_title(published)),
                element("gmd:accessConstraints", profile.code("MD_RestrictionCode", "license")),
                element("gmd:useConstraints", profile.code("MD_RestrictionCode", "license")),
                _characters("gmd:otherConstraints", published.licence.url) if published.licence.url else None,
            ),
        ),
        element(
            "gmd:spatialRepresentationType",
            profile.code("MD_SpatialRepresentationTypeCode", "vector" if published.geometry_types else "textTable"),
        ),
        [profile.language(code) for code in published.languages]
        or element("gmd:language", attributes={"gco:nilReason": "unknown"}),
        element("gmd:characterSet", profile.code("MD_CharacterSetCode", "utf8")),
        [element("gmd:topicCategory", element("gmd:MD_TopicCategoryCode", each.code)) for each in topics(published)],
        element("gmd:extent", _extent(published)),
    )


def _citation(published: PublishedMetadata, profile: CodeLists) -> Element:
    days = (("creation", published.planned_at), ("publication", published.published_at))
    identifiers = (published.doi if published.test_doi else published.doi_url, published.identifier)
    return element(
        "gmd:CI_Citation",
        _text("gmd:title", dated_title(published)),
        [
            element(
                "gmd:date",
                element(
                    "gmd:CI_Date",
                    element("gmd:date", element("gco:Date", day.date().isoformat())),
                    element("gmd:dateType", profile.code("CI_DateTypeCode", kind)),
                ),
            )
            for kind, day in days
        ],
        _characters("gmd:edition", str(published.version)),
        [
            element("gmd:identifier", element("gmd:MD_Identifier", _characters("gmd:code", code)))
            for code in identifiers
            if code
        ],
        [element("gmd:citedResponsibleParty", _party(each, profile)) for each in responsible(published)],
    )


def _keywords(published: PublishedMetadata) -> list[Element | None]:
    """Return each pair of the two lists as one keyword where they are as long as each other; else all apart."""
    english, french = published.keywords.en, published.keywords.fr
    if len(english) == len(french):
        pairs = ((plain(en), plain(fr)) for en, fr in zip(english, french, strict=True))
        return [_text("gmd:keyword", Bilingual(en=en, fr=fr)) for en, fr in pairs if en and fr]
    return [_characters("gmd:keyword", word) for word in map(plain, (*english, *french)) if word]


def _extent(published: PublishedMetadata) -> Element:
    place, period = published.place, published.vintage
    return element(
        "gmd:EX_Extent",
        _text("gmd:description", place.name) if place and place.name else None,
        [
            element(
                "gmd:geographicElement",
                element(
                    "gmd:EX_GeographicDescription",
                    element(
                        "gmd:geographicIdentifier",
                        element("gmd:MD_Identifier", _characters("gmd:code", published.dguid)),
                    ),
                ),
            )
        ],
        [element("gmd:geographicElement", bounding_box("gmd", box)) for box in (place.boxes if place else ())],
        temporal_element("gmd", period),
    )


def _distribution(published: PublishedMetadata, profile: CodeLists) -> Element:
    files = online_files(published)
    return element(
        "gmd:MD_Distribution",
        [
            element(
                "gmd:distributionFormat",
                element(
                    "gmd:MD_Format",
                    _characters("gmd:name", media_type),
                    element("gmd:version", attributes={"gco:nilReason": "unknown"}),
                ),
            )
            for media_type in dict.fromkeys(file.media_type for file in files)
        ],
        element(
            "gmd:distributor",
            element(
                "gmd:MD_Distributor",
                element("gmd:distributorContact", _party(publisher(published, "distributor"), profile)),
            ),
        ),
        [
            element(
                "gmd:transferOptions",
                element(
                    "gmd:MD_DigitalTransferOptions",
                    element("gmd:transferSize", element("gco:Real", f"{file.megabytes:.6f}")),
                    element("gmd:onLine", _online(file, profile)),
                ),
            )
            for file in files
        ],
    )


def _online(file: OnlineFile, profile: CodeLists) -> Element:
    # The profile wants type, format and languages of the download in its description.
    described = Bilingual(en=f"Dataset;{file.media_type};eng,fra", fr=f"Données;{file.media_type};eng,fra")
    return element(
        "gmd:CI_OnlineResource",
        element("gmd:linkage", element("gmd:URL", file.address)),
        _characters("gmd:protocol", "HTTPS" if profile.hnap else "WWW:DOWNLOAD-1.0-http--download"),
        _text("gmd:name", file.title),
        _text("gmd:description", described) if profile.hnap else _characters("gmd:description", file.media_type),
        element("gmd:function", profile.code("CI_OnLineFunctionCode", "download")),
    )


def _party(found: Responsible, profile: CodeLists) -> Element:
    party = found.party
    organisation = party.affiliation if party.is_person else party.name
    mail = element(
        "gmd:address",
        element("gmd:CI_Address", _characters("gmd:electronicMailAddress", found.email or "")),
    )
    online = element(
        "gmd:onlineResource",
        element("gmd:CI_OnlineResource", element("gmd:linkage", element("gmd:URL", found.address or ""))),
    )
    return element(
        "gmd:CI_ResponsibleParty",
        _characters("gmd:individualName", plain(party.name)) if party.is_person else None,
        _characters("gmd:organisationName", plain(organisation)) if organisation else None,
        given(
            "gmd:contactInfo",
            given("gmd:CI_Contact", mail if found.email else None, online if found.address else None),
        ),
        element("gmd:role", profile.code("CI_RoleCode", found.role)),
    )


def _characters(name: str, text: str) -> Element:
    return element(name, element("gco:CharacterString", text))


def _text(name: str, text: Bilingual) -> Element:
    french = element(
        "gmd:PT_FreeText",
        element(
            "gmd:textGroup",
            element("gmd:LocalisedCharacterString", plain(text.fr), attributes={"locale": "#fra"}),
        ),
    )
    return element(name, element("gco:CharacterString", plain(text.en)), french, attributes=_FREE_TEXT)


def _render(published: PublishedMetadata, *, hnap: bool) -> bytes:
    return xml_document(iso19139(published, hnap=hnap), _NAMESPACES)


FORMATS = (
    RecordFormat(
        name="iso19139",
        media_type="application/xml",
        suffix=".xml",
        profile=GMD,
        title="ISO 19139",
        render=partial(_render, hnap=False),
        static=False,
    ),
    RecordFormat(
        name="iso19139_hnap",
        media_type="application/xml",
        suffix=".xml",
        profile=f"{GMD}#hnap",
        title="ISO 19139, Harmonized North American Profile",
        render=partial(_render, hnap=True),
        static=False,
    ),
)
