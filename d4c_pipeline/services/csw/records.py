"""Records as answers hold them: csw:Record in three element sets, and the formats of `metadata.records` by schema."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from d4c_pipeline.metadata.published import TONGUES, PublishedMetadata, Tongue
from d4c_pipeline.metadata.records.documents import in_language, plain
from d4c_pipeline.metadata.records.registry import record_format
from d4c_pipeline.metadata.records.xml_document import Element, element, given
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.services.csw.dialects import Dialect
from d4c_pipeline.services.csw.documents import envelope, fragment, instant
from d4c_pipeline.services.csw.errors import invalid
from d4c_pipeline.services.oai.formats import FORMATS
from d4c_pipeline.services.record_port import RecordRow

ATOM = "http://www.w3.org/2005/Atom"
SETS = ("brief", "summary", "full")
DATASET = "dataset"
_ROOTS = {"brief": "csw:BriefRecord", "summary": "csw:SummaryRecord", "full": "csw:Record"}
_BRIEF = ("identifier", "title", "type", "BoundingBox")
_SUMMARY = (
    *("identifier", "title", "type", "subject", "format", "relation", "modified", "abstract", "spatial"),
    *("BoundingBox", "TemporalExtent"),
)
ELEMENTS = frozenset(
    {*map(str.lower, _SUMMARY), "creator", "contributor", "publisher", "date", "source", "language", "rights"}
    | {"references"}
)
"""The local names of all elements, in lower case."""
_DOWNLOAD = "WWW:DOWNLOAD-1.0-http--download"
_CRS = "urn:ogc:def:crs:EPSG::4326"
_DECLARATION = re.compile(rb"^<\?xml[^>]*\?>\s*")
_log = logging.getLogger(__name__)


def _datacite(published: PublishedMetadata) -> bytes:
    return _DECLARATION.sub(b"", record_format("datacite_xml").render(published)).strip()


@dataclass(frozen=True)
class OutputSchema:
    """A format by its namespace. `needs_place`: only records with a place have it."""

    namespace: str
    rendered: Callable[[PublishedMetadata], bytes]
    needs_place: bool = False


OUTPUT_SCHEMAS: Mapping[str, OutputSchema] = {
    each.namespace: each
    for each in (
        *(
            OutputSchema(form.namespace, form.rendered, form.needs_place)
            for form in (FORMATS[prefix] for prefix in ("iso19139", "iso19115-3", "dif", "fgdc", "dcat"))
        ),
        OutputSchema("http://datacite.org/schema/kernel-4", _datacite),
    )
}
"""The schemas beside csw:Record and Atom, by namespace."""


def is_own(dialect: Dialect, schema: str) -> bool:
    """Whether a schema is that of csw:Record."""
    return schema == dialect.csw


def output_schema(dialect: Dialect, schema: str | None) -> str:
    """Return the namespace of a schema, csw:Record's by default. Raises CswError for an unknown one."""
    chosen = schema or dialect.csw
    if chosen not in (dialect.csw, ATOM, *OUTPUT_SCHEMAS):
        raise invalid("outputSchema", f"'{chosen[:100]}' is not one of {', '.join(schemas(dialect))}")
    return chosen


def schemas(dialect: Dialect) -> list[str]:
    """Return the namespaces of all schemas."""
    return [dialect.csw, ATOM, *OUTPUT_SCHEMAS]


def rendered(schema: str, row: RecordRow, published: PublishedMetadata) -> bytes | None:
    """Return a record in a schema of `OUTPUT_SCHEMAS`, None (and a line in the log) when it can't hold a fact."""
    try:
        return OUTPUT_SCHEMAS[schema].rendered(published)
    except D4CError as error:
        _log.warning("CSW leaves out the record of %s in %s: %s", row.id, schema, error)
        return None


def own_record(
    dialect: Dialect, row: RecordRow, published: PublishedMetadata, view: str, only: Sequence[str] = ()
) -> Element:
    """Return a record as csw:Record. `view`: the element set; `only`: local names of elements instead of a set."""
    found = list(_elements(dialect, row, published))
    if only:
        return element("csw:Record", [each for each in found if _local(each).lower() in only])
    if view == "full":
        return element("csw:Record", found)
    wanted = _BRIEF if view == "brief" else _SUMMARY
    return element(_ROOTS[view], [each for name in wanted for each in found if _local(each) == name])


def own_document(dialect: Dialect, record: Element) -> bytes:
    """Return a csw:Record that stands for itself."""
    return envelope(record.name, {}, (each for each in record.content if isinstance(each, Element)), dialect.namespaces)


def _elements(dialect: Dialect, row: RecordRow, published: PublishedMetadata) -> Iterable[Element]:
    place, line, terms = published.place, published.line, published.licence
    versions = (line.previous, line.superseded_by)
    relations = [published.concept_doi_url, *(f"https://doi.org/{each.doi}" for each in versions if each and each.doi)]
    parties = (*published.providers, *published.contributors)
    yield from _all("dc:identifier", published.identifier, published.doi_url)
    yield from _both("dc:title", published.record.title)
    yield from _all("dc:type", DATASET)
    words = [plain(word) for tongue in TONGUES for word in in_language(published.keywords, tongue)]
    yield from _all("dc:subject", *words)
    yield from _all("dc:format", *(file.media_type for file in published.data_files))
    yield from _all("dc:relation", *relations)
    yield from _all("dct:modified", instant(row.modified))
    yield from _both("dct:abstract", published.description)
    if place is not None and place.name is not None:
        yield from _both("dct:spatial", place.name)
    yield from _all("dc:creator", *(plain(party.name) for party in published.creators))
    yield from _all("dc:contributor", *(plain(party.name) for party in parties))
    yield from _all("dc:publisher", plain(published.site.publisher))
    yield from _all("dc:date", published.published_at.date().isoformat())
    yield from _all("dc:source", *published.sources)
    yield from _all("dc:language", *published.languages)
    yield from _both("dc:rights", Bilingual(en=terms.title, fr=terms.titled("fr")))
    yield from _all("dc:rights", terms.url)
    yield from (
        element("dct:references", published.url(file), attributes={"scheme": _DOWNLOAD})
        for file in published.data_files
    )
    if published.page is not None:
        yield element("dct:references", published.page, attributes={"scheme": "WWW:LINK-1.0-http--link"})
    for west, south, east, north in place.boxes if place else ():
        corners = (element("ows:LowerCorner", f"{south} {west}"), element("ows:UpperCorner", f"{north} {east}"))
        yield element("ows:BoundingBox", *corners, attributes={"crs": _CRS, "dimensions": "2"})
    if dialect.is_3:
        begin, end = published.vintage.start, published.vintage.end
        yield element(
            "csw:TemporalExtent",
            element("csw:begin", f"{begin:%Y-%m-%d}T00:00:00Z"),
            element("csw:end", f"{end:%Y-%m-%d}T23:59:59Z"),
        )


def atom_entry(row: RecordRow, published: PublishedMetadata, address: str, tongue: Tongue) -> bytes:
    """Return a record as an entry of a feed. `address`: of the record in this service."""
    boxes = published.place.boxes if published.place else ()
    names = [plain(party.name) for party in published.creators] or [published.site.publisher]
    entry = element(
        "entry",
        element("id", published.identifier),
        element("title", plain(in_language(published.record.title, tongue))),
        element("updated", instant(row.modified)),
        element("published", instant(published.published_at.timestamp())),
        [element("author", element("name", name)) for name in names],
        element("dc:identifier", published.identifier),
        given("summary", plain(in_language(published.description, tongue))),
        element("rights", published.licence.titled(tongue)),
        element("link", attributes={"rel": "self", "type": "application/xml", "href": address}),
        element("link", attributes={"rel": "alternate", "href": published.landing_page}),
        [
            element(
                "link",
                attributes={
                    "rel": "enclosure",
                    "type": file.media_type,
                    "length": str(file.size),
                    "title": file.name,
                    "href": published.url(file),
                },
            )
            for file in published.data_files
        ],
        [element("georss:box", f"{south} {west} {north} {east}") for west, south, east, north in boxes],
    )
    return fragment(entry)


def _both(name: str, text: Bilingual) -> list[Element]:
    return _all(name, *(plain(in_language(text, tongue)) for tongue in TONGUES))


def _all(name: str, *texts: str | None) -> list[Element]:
    return [element(name, text) for text in dict.fromkeys(texts) if text]


def _local(node: Element) -> str:
    return node.name.partition(":")[2]
