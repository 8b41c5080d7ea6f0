"""FGDC CSDGM (FGDC-STD-001-1998), the format of North American clearinghouses. It has one language: English.

A box is mandatory, so that a table without a place has no such record.
Source: https://www.fgdc.gov/metadata/csdgm-standard
"""

from __future__ import annotations

from datetime import datetime

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.documents import file_title, plain, shortened
from d4c_pipeline.metadata.records.iso_facts import contacts, lineage
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.metadata.records.topics import topics
from d4c_pipeline.metadata.records.xml_document import Element, element, xml_document
from d4c_pipeline.model.errors import PermanentError

_MOST_COLUMNS = 200  # README and item have all of them
_UNKNOWN = "Unknown"
_PURPOSE = "To keep and cite open data: a release never changes, and later ones do not replace it."
# A field's name -> what the standard calls the geometry.
_SDTS = {"Point": "Entity point", "MultiPoint": "Entity point", "LineString": "String", "MultiLineString": "String"}


def fgdc(published: PublishedMetadata) -> Element:
    """Return the record's root. Raises PermanentError for a release without a place."""
    return element(
        "metadata",
        _identification(published),
        element(
            "dataqual",
            element("logic", "Schema, key and geometry are checked before publication; README.md states the results."),
            element("complete", f"{published.rows} rows. README.md states rows that were left out."),
            element(
                "lineage",
                element(
                    "procstep",
                    element("procdesc", plain(lineage(published).en)),
                    element("procdate", f"{published.planned_at:%Y%m%d}"),
                ),
            ),
        ),
        _spatial(published),
        _columns(published),
        _distribution(published),
        element(
            "metainfo",
            element("metd", _day(published.published_at)),
            element("metc", _contact(published)),
            element("metstdn", "FGDC Content Standard for Digital Geospatial Metadata"),
            element("metstdv", "FGDC-STD-001-1998"),
        ),
    )


def _identification(published: PublishedMetadata) -> Element:
    if published.place is None:
        raise PermanentError(
            f"{published.name} has no place, which a record of FGDC CSDGM requires",
            "Declare an 'extent' in the dataset's YAML, or use another format",
        )
    boxes, terms = published.place.boxes, published.licence
    period = published.vintage
    french = f"{plain(published.title.fr)}. {plain(published.description.fr)}"
    keywords = [plain(word) for word in published.keywords.en if plain(word)]
    place = published.place.name
    return element(
        "idinfo",
        element(
            "citation",
            element(
                "citeinfo",
                [element("origin", plain(party.name)) for party in published.creators],
                element("pubdate", _day(published.published_at)),
                element("title", plain(published.record.title.en)),
                element("edition", str(published.version)),
                element("geoform", "vector digital data" if published.geometry_types else "tabular digital data"),
                element(
                    "pubinfo",
                    element("pubplace", _UNKNOWN),
                    element("publish", plain(published.site.publisher)),
                ),
                element("othercit", plain(published.citation.en)),
                element("onlink", published.landing_page),
            ),
        ),
        element(
            "descript",
            element("abstract", plain(published.description.en)),
            element("purpose", _PURPOSE),
            element("supplinf", french),
        ),
        element(
            "timeperd",
            element(
                "timeinfo",
                element(
                    "rngdates",
                    element("begdate", _day(period.start)),
                    element("enddate", _day(period.end)),
                ),
            ),
            element("current", "ground condition"),
        ),
        element("status", element("progress", "Complete"), element("update", "As needed")),
        element(
            "spdom",
            element(
                "bounding",
                # West is greater than east where the box crosses 180 degrees.
                element("westbc", _degrees(boxes[0][0])),
                element("eastbc", _degrees(boxes[-1][2])),
                element("northbc", _degrees(max(box[3] for box in boxes))),
                element("southbc", _degrees(min(box[1] for box in boxes))),
            ),
        ),
        element(
            "keywords",
            element(
                "theme",
                element("themekt", "ISO 19115 Topic Category"),
                [element("themekey", topic.code) for topic in topics(published)],
            ),
            element("theme", element("themekt", "None"), [element("themekey", word) for word in keywords])
            if keywords
            else None,
            element(
                "place",
                element("placekt", "None"),
                element("placekey", plain(place.en) if place and plain(place.en) else published.dguid),
            ),
        ),
        element("accconst", "None"),
        element("useconst", f"{plain(terms.title)} {terms.url}".strip()),
        element("ptcontac", _contact(published)),
    )


def _spatial(published: PublishedMetadata) -> Element | None:
    if not published.geometry_types:
        return None
    kinds = dict.fromkeys(_SDTS.get(kind.split()[0], "G-polygon") for kind in published.geometry_types)
    return element(
        "spdoinfo",
        element("direct", "Vector"),
        element("ptvctinf", [element("sdtsterm", element("sdtstype", kind)) for kind in kinds]),
    )


def _columns(published: PublishedMetadata) -> Element:
    publisher = plain(published.site.publisher)
    return element(
        "eainfo",
        element(
            "detailed",
            element(
                "enttyp",
                element("enttypl", published.name),
                element("enttypd", plain(published.title.en)),
                element("enttypds", publisher),
            ),
            [
                element(
                    "attr",
                    element("attrlabl", plain(column.name) or _UNKNOWN),
                    element("attrdef", plain(column.description_en or "") or f"Column of type {column.type}"),
                    element("attrdefs", publisher),
                    element("attrdomv", element("udom", f"Values of type {column.type}")),
                )
                for column in published.columns[:_MOST_COLUMNS]
            ],
        ),
    )


def _distribution(published: PublishedMetadata) -> Element:
    return element(
        "distinfo",
        element("distrib", _contact(published)),
        element("distliab", "See the licence in the use constraints."),
        element(
            "stdorder",
            [
                element(
                    "digform",
                    element(
                        "digtinfo",
                        element("formname", file.media_type),
                        element("formverd", _day(published.published_at)),
                        element("formcont", file_title(file, "en")),
                        element("transize", f"{max(file.size / 1e6, 0.000_001):.6f}"),
                    ),
                    element(
                        "digtopt",
                        element(
                            "onlinopt",
                            element(
                                "computer",
                                element(
                                    "networka",
                                    [element("networkr", address) for address in published.urls(file)],
                                ),
                            ),
                        ),
                    ),
                )
                for file in published.data_files
            ],
            element("fees", "None"),
        ),
    )


def _contact(published: PublishedMetadata) -> Element:
    found = contacts(published)[0]
    name = shortened(found.party.name, 500)
    contact = element("cntperp", element("cntper", name))
    if not found.party.is_person:
        contact = element("cntorgp", element("cntorg", name))
    return element(
        "cntinfo",
        contact,
        # An address of mail by post is mandatory; an open-data publisher declares none.
        element(
            "cntaddr",
            element("addrtype", "mailing"),
            element("city", _UNKNOWN),
            element("state", _UNKNOWN),
            element("postal", _UNKNOWN),
        ),
        element("cntvoice", _UNKNOWN),
        element("cntemail", found.email) if found.email else None,
        element("cntinst", found.address) if found.address else None,
    )


def _day(moment: datetime) -> str:
    return f"{moment:%Y%m%d}"


def _degrees(value: float) -> str:
    return f"{value:.8f}".rstrip("0").rstrip(".")


def _render(published: PublishedMetadata) -> bytes:
    return xml_document(fgdc(published), {})


FORMATS = (
    RecordFormat(
        name="fgdc",
        media_type="application/xml",
        suffix=".xml",
        profile="http://www.opengis.net/cat/csw/csdgm",
        title="FGDC CSDGM",
        render=_render,
        static=False,
    ),
)
