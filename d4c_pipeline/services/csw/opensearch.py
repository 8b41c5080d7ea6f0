"""OpenSearch: the description of the search, and its answers as an Atom feed. The search itself is GetRecords."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from d4c_pipeline.metadata.records.xml_document import Element, element, xml_document
from d4c_pipeline.services.csw.capabilities import ATOM_FORMAT, Publisher
from d4c_pipeline.services.csw.documents import envelope, standing
from d4c_pipeline.services.csw.records import ATOM

DESCRIPTION_FORMAT = "application/opensearchdescription+xml"
_OPENSEARCH = "http://a9.com/-/spec/opensearch/1.1/"
_GEO = "http://a9.com/-/opensearch/extensions/geo/1.0/"
_TIME = "http://a9.com/-/opensearch/extensions/time/1.0/"
_FEED = {
    "": ATOM,
    "os": _OPENSEARCH,
    "georss": "http://www.georss.org/georss",
    "dc": "http://purl.org/dc/elements/1.1/",
}
_TEMPLATE = (
    "q={searchTerms?}&bbox={geo:box?}&time={time:start?}/{time:end?}&recordIds={geo:uid?}"
    "&startPosition={startIndex?}&maxRecords={count?}&language={language?}"
)


def description(address: str, publisher: Publisher) -> bytes:
    """Return the description document. `address`: of the catalogue service."""
    common = {"service": "CSW", "version": "3.0.0", "request": "GetRecords", "elementSetName": "full"}

    def url(media_type: str) -> Element:
        query = urlencode({**common, "outputFormat": media_type})
        attributes = {"type": media_type, "template": f"{address}?{query}&{_TEMPLATE}", "indexOffset": "1"}
        return element("Url", attributes=attributes)

    root = element(
        "OpenSearchDescription",
        element("ShortName", "Datasets"),
        element("LongName", publisher.name[:48]),
        element("Description", f"Releases of datasets by {publisher.name}"),
        url(ATOM_FORMAT),
        url("application/xml"),
        element("Url", attributes={"type": DESCRIPTION_FORMAT, "rel": "self", "template": f"{address}/opensearch"}),
        [element("Contact", publisher.contact)] if publisher.contact else [],
        element("Query", attributes={"role": "example", "searchTerms": "census"}),
        element("Language", "en"),
        element("Language", "fr"),
        element("OutputEncoding", "UTF-8"),
        element("InputEncoding", "UTF-8"),
    )
    return xml_document(root, {"": _OPENSEARCH, "geo": _GEO, "time": _TIME})


def feed(
    publisher: Publisher,
    updated: str,
    counts: tuple[int, int, int],
    links: Mapping[str, str],
    entries: Iterable[bytes],
) -> bytes:
    """Return the answer to a search. `counts`: matched, first position, records of a page; `links`: by relation."""
    matched, start, most = counts
    head = [
        element("id", links["self"]),
        element("title", f"{publisher.name}: search"),
        element("updated", updated),
        element("author", element("name", publisher.name)),
        element("os:totalResults", str(matched)),
        element("os:startIndex", str(start)),
        element("os:itemsPerPage", str(most)),
        *(element("link", attributes=_link(relation, address)) for relation, address in links.items()),
    ]
    return standing(envelope("feed", {}, [*head, *entries], _FEED))


def _link(relation: str, address: str) -> dict[str, str]:
    return {"rel": relation, "type": DESCRIPTION_FORMAT if relation == "search" else ATOM_FORMAT, "href": address}
