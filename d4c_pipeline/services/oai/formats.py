"""The metadata formats of the repository: their prefixes, schemas and namespaces, and the element of a record.

What a record says belongs to `metadata.records`; here is only what the protocol wants of its root element.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records import dcat_rdf, dif, dublin_core
from d4c_pipeline.metadata.records.registry import record_format
from d4c_pipeline.metadata.records.xml_document import XSI

_DECLARATION = re.compile(rb"^<\?xml[^>]*\?>\s*")
_OAI_DATACITE = "http://schema.datacite.org/oai/oai-1.1/"
_KERNEL_SCHEMA = b"http://schema.datacite.org/meta/kernel-4.6/metadata.xsd"
_EARLIER_SCHEMA = re.compile(rb"http://schema\.datacite\.org/meta/kernel-4\.\d/metadata\.xsd")
_FGDC = "http://www.opengis.net/cat/csw/csdgm"


@dataclass(frozen=True)
class OaiFormat:
    """A format. `record`: the name of the record format; `element`: document -> element as the protocol wants it."""

    prefix: str
    namespace: str
    schema: str
    record: str
    element: Callable[[bytes], bytes]
    needs_place: bool = False

    def rendered(self, published: PublishedMetadata) -> bytes:
        """Return the element of a record. Raises a D4CError when the format can't hold a fact."""
        return self.element(_DECLARATION.sub(b"", record_format(self.record).render(published)).strip())


def _as_it_is(document: bytes) -> bytes:
    return document


def _with_namespace(document: bytes) -> bytes:
    """Return FGDC's record, which has no namespace of its own, in the one that the OGC gave it: OAI-PMH wants one."""
    location = f'xmlns="{_FGDC}" xmlns:xsi="{XSI}" xsi:schemaLocation="{_FGDC} {_FGDC_SCHEMA}"'
    return document.replace(b"<metadata", f"<metadata {location}".encode(), 1)


def _enveloped(document: bytes) -> bytes:
    """Return DataCite's record in the envelope that DataCite and OpenAIRE harvest."""
    current = _EARLIER_SCHEMA.sub(_KERNEL_SCHEMA, document)
    location = f'xmlns="{_OAI_DATACITE}" xmlns:xsi="{XSI}" xsi:schemaLocation="{_OAI_DATACITE} {_OAI_DATACITE}oai.xsd"'
    head = f"<oai_datacite {location}><schemaVersion>4.6</schemaVersion><payload>".encode()
    return head + current + b"</payload></oai_datacite>"


_FGDC_SCHEMA = "https://www.fgdc.gov/schemas/metadata/fgdc-std-001-1998.xsd"
FORMATS: Mapping[str, OaiFormat] = {
    each.prefix: each
    for each in (
        OaiFormat("oai_dc", dublin_core.NAMESPACE, dublin_core.SCHEMA, "oai_dc", _as_it_is),
        OaiFormat("oai_datacite", _OAI_DATACITE, f"{_OAI_DATACITE}oai.xsd", "datacite_xml", _enveloped),
        OaiFormat(
            "iso19139",
            "http://www.isotc211.org/2005/gmd",
            "http://www.isotc211.org/2005/gmd/gmd.xsd",
            "iso19139",
            _as_it_is,
        ),
        OaiFormat(
            "iso19115-3",
            "http://standards.iso.org/iso/19115/-3/mdb/2.0",
            "https://schemas.isotc211.org/19115/-3/mdb/2.0/mdb.xsd",
            "iso19115_3",
            _as_it_is,
        ),
        OaiFormat("dif", dif.NAMESPACE, dif.SCHEMA, "dif", _as_it_is),
        OaiFormat("fgdc", _FGDC, _FGDC_SCHEMA, "fgdc", _with_namespace, needs_place=True),
        OaiFormat("dcat", dcat_rdf.RDF, dcat_rdf.SCHEMA, "dcat_rdf", _as_it_is),
    )
}
"""By prefix, in the order in which they are listed."""
