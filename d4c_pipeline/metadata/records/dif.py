"""GCMD DIF 10.2, the directory format of NASA and the International Directory Network. It has one language: English.

Instruments, platforms and projects do not apply to administrative data, which the standard's own words state.
Source: https://www.earthdata.nasa.gov/about/esdis/esco/standards-practices/directory-interchange-format
"""

from __future__ import annotations

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.documents import file_title, plain, shortened
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.metadata.records.topics import topics
from d4c_pipeline.metadata.records.xml_document import XSI, Element, element, given, xml_document
from d4c_pipeline.model.credits import Party

NAMESPACE = "http://gcmd.gsfc.nasa.gov/Aboutus/xml/dif/"
SCHEMA = "https://gcmd.nasa.gov/Aboutus/xml/dif/dif_v10.2.xsd"
_LANGUAGES = {
    "eng": "English",
    "fra": "French",
    "deu": "German",
    "spa": "Spanish",
    "ita": "Italian",
    "por": "Portuguese",
    "rus": "Russian",
    "zho": "Chinese",
    "jpn": "Japanese",
}  # DIF has an enumeration
_LONGEST_TITLE, _LONGEST_NAME = 1_000, 80  # characters
_LONGEST_ABSTRACT = 30_000
_NOT_PROVIDED = "Not provided"


def dif(published: PublishedMetadata) -> Element:
    """Return the record's root."""
    found = topics(published)
    period = published.vintage
    published_on, planned_on = published.published_at.date().isoformat(), published.planned_at.date().isoformat()
    title = shortened(f"{plain(published.title.en)}, {period}", _LONGEST_TITLE)
    terms, publisher = published.licence, plain(published.site.publisher)
    formats = dict.fromkeys(file.media_type for file in published.data_files)
    return element(
        "DIF",
        element(
            "Entry_ID",
            element("Short_Name", shortened(f"{published.dataset}_{period}", _LONGEST_NAME)),
            element("Version", str(published.version)),
        ),
        element("Entry_Title", title),
        element(
            "Dataset_Citation",
            element("Dataset_Creator", "; ".join(plain(party.name) for party in published.creators)),
            element("Dataset_Title", title),
            element("Dataset_Release_Date", published_on),
            element("Dataset_Publisher", publisher),
            element("Version", str(published.version)),
            element("Other_Citation_Details", plain(published.citation.en)),
            None
            if published.test_doi
            else element("Persistent_Identifier", element("Type", "DOI"), element("Identifier", published.doi)),
            element("Online_Resource", published.landing_page),
        ),
        element(
            "Other_Identifiers",
            element("Identifier", published.identifier),
            element("Type", "Other"),
            element("Description_Of_Other_Type", "URN"),
        ),
        [
            element(
                "Associated_DOIs", element("DOI", other.doi), element("Title", other.name), element("Type", relation)
            )
            for other, relation in (
                (published.line.previous, "IsNewVersionOf"),
                (published.line.superseded_by, "IsPreviousVersionOf"),
            )
            if other and other.doi
        ],
        [_science(*topic.science) for topic in found],
        [element("ISO_Topic_Category", topic.gcmd_name) for topic in found],
        [
            given("Ancillary_Keyword", plain(word))
            for word in dict.fromkeys((*published.keywords.en, *published.keywords.fr))
        ],
        element(
            "Platform",
            element("Type", "Not applicable"),
            element("Short_Name", "Not applicable"),
            element("Instrument", element("Short_Name", "Not applicable")),
        ),
        element(
            "Temporal_Coverage",
            element(
                "Range_DateTime",
                element("Beginning_Date_Time", f"{period.start:%Y-%m-%dT%H:%M:%SZ}"),
                element("Ending_Date_Time", f"{period.end:%Y-%m-%dT%H:%M:%SZ}"),
            ),
        ),
        element("Dataset_Progress", "SUPERSEDED" if published.line.superseded_by else "COMPLETE"),
        _spatial(published),
        _location(published),
        element("Project", element("Short_Name", "Not applicable")),
        element(
            "Use_Constraints",
            element("Description", shortened(f"{plain(terms.title)}. {_credit(published)}".strip(), 4_000)),
            element(
                "License_URL", element("URL", terms.url), element("Title", shortened(terms.spdx or terms.title, 100))
            )
            if terms.url and len(terms.url) <= 1_024
            else None,
        ),
        [element("Dataset_Language", _LANGUAGES[code]) for code in published.languages if code in _LANGUAGES],
        [_organization("DISTRIBUTOR", Party(name=publisher), published.site.contact)],
        [_organization("ORIGINATOR", party, None) for party in published.creators],
        [
            element(
                "Distribution",
                element("Distribution_Media", "Online Internet (HTTP)"),
                element("Distribution_Size", f"{published.bytes} bytes"),
                element("Distribution_Format", media_type),
                element("Fees", "None"),
            )
            for media_type in formats
        ],
        element("Summary", element("Abstract", shortened(published.description.en, _LONGEST_ABSTRACT))),
        [
            element(
                "Related_URL",
                element("URL_Content_Type", element("Type", "GET DATA")),
                element("URL", published.url(file)),
                element("Title", file_title(file, "en")),
                element("Mime_Type", file.media_type),
            )
            for file in published.data_files
        ],
        element("Metadata_Name", "CEOS IDN DIF"),
        element("Metadata_Version", "VERSION 10.2"),
        element(
            "Metadata_Dates",
            element("Metadata_Creation", planned_on),
            element("Metadata_Last_Revision", published_on),
            element("Data_Creation", planned_on),
            element("Data_Last_Revision", published_on),
        ),
        attributes={"xsi:schemaLocation": f"{NAMESPACE} {SCHEMA}"},
    )


def _science(topic: str, term: str, variable: str | None) -> Element:
    return element(
        "Science_Keywords",
        element("Category", "EARTH SCIENCE"),
        element("Topic", topic),
        element("Term", term),
        element("Variable_Level_1", variable) if variable else None,
    )


def _spatial(published: PublishedMetadata) -> Element:
    if published.place is None:
        return element("Spatial_Coverage", element("Granule_Spatial_Representation", "NO_SPATIAL"))
    return element(
        "Spatial_Coverage",
        element("Spatial_Coverage_Type", "Horizontal"),
        element("Granule_Spatial_Representation", "CARTESIAN"),
        element(
            "Geometry",
            element("Coordinate_System", "CARTESIAN"),
            [
                element(
                    "Bounding_Rectangle",
                    element("Southernmost_Latitude", str(south)),
                    element("Northernmost_Latitude", str(north)),
                    element("Westernmost_Longitude", str(west)),
                    element("Easternmost_Longitude", str(east)),
                )
                for west, south, east, north in published.place.boxes
            ],
        ),
    )


def _location(published: PublishedMetadata) -> Element | None:
    # A DGUID names a geography of Canada.
    if published.place is None or not published.dguid:
        return None
    name = published.place.name
    return element(
        "Location",
        element("Location_Category", "CONTINENT"),
        element("Location_Type", "NORTH AMERICA"),
        element("Location_Subregion1", "CANADA"),
        given("Detailed_Location", plain(name.en)) if name else None,
    )


def _credit(published: PublishedMetadata) -> str:
    return plain(published.attribution.en) if published.attribution else ""


def _organization(kind: str, party: Party, contact: str | None) -> Element:
    name = plain(party.name)
    mail = contact if contact and "@" in contact else None
    return element(
        "Organization",
        element("Organization_Type", kind),
        element(
            "Organization_Name",
            element("Short_Name", shortened(name, _LONGEST_NAME)),
            element("Long_Name", name),
        ),
        given("Organization_URL", party.url or (contact if contact and not mail else None)),
        element(
            "Personnel",
            element("Role", "DATA CENTER CONTACT"),
            element("Contact_Group", element("Name", name or _NOT_PROVIDED), given("Email", mail)),
        ),
    )


def _render(published: PublishedMetadata) -> bytes:
    return xml_document(dif(published), {"": NAMESPACE, "xsi": XSI})


FORMATS = (
    RecordFormat(
        name="dif",
        media_type="application/dif10+xml",
        suffix=".xml",
        profile=NAMESPACE,
        title="GCMD DIF 10.2",
        render=_render,
        static=False,
    ),
)
