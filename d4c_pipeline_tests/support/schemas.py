"""The XML schemas that records are valid against: of the packages in `schemas.lock`, and beside the repository.

No network: each address that a schema imports is a file of a package.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from lxml import etree, isoschematron

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / ".venv" / "schemas"
_PYCSW = SCHEMAS / "pycsw"
_OGC = _PYCSW / "core" / "schemas" / "ogc"
_CKAN = SCHEMAS / "ckanext" / "iso19115" / "namespaces"
_ITTF = "http://standards.iso.org/ittf/PubliclyAvailableStandards"
_ADDRESSES = {
    "http://www.w3.org/1999/xlink.xsd": _PYCSW / "core/schemas/w3c/1999/xlink.xsd",
    "http://www.w3.org/2001/xml.xsd": _PYCSW / "core/schemas/w3c/2001/xml.xsd",
    "http://www.w3.org/2001/03/xml.xsd": _PYCSW / "core/schemas/w3c/2001/xml.xsd",
    f"{_ITTF}/ISO_19136_Schemas/": _CKAN / "schemas.opengis.net/gml/3.2.1",
    f"{_ITTF}/ISO_19139_Schemas/": _CKAN / "schemas.opengis.net/iso/19139/20070417",
    "http://standards.iso.org/iso/": _CKAN,
    "http://schemas.opengis.net/": _CKAN / "schemas.opengis.net",
}
_DC = (
    "contributor coverage creator date description format identifier language publisher relation rights source subject"
)
_DC_NAMES = (*_DC.split(), "title", "type")
# The schema of the Dublin Core elements as of 2002-12-12 and the one of oai_dc, both published by their standards only.
_OAI_DC = {
    "http://dublincore.org/schemas/xmls/simpledc20021212.xsd": f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"
      xmlns="http://purl.org/dc/elements/1.1/" targetNamespace="http://purl.org/dc/elements/1.1/"
      elementFormDefault="qualified" attributeFormDefault="unqualified">
      <xs:import namespace="http://www.w3.org/XML/1998/namespace" schemaLocation="http://www.w3.org/2001/03/xml.xsd"/>
      {"".join(f'<xs:element name="{name}" type="elementType"/>' for name in _DC_NAMES)}
      <xs:complexType name="elementType"><xs:simpleContent><xs:extension base="xs:string">
        <xs:attribute ref="xml:lang" use="optional"/></xs:extension></xs:simpleContent></xs:complexType>
      </xs:schema>""",
    "http://www.openarchives.org/OAI/2.0/oai_dc.xsd": f"""<schema xmlns="http://www.w3.org/2001/XMLSchema"
      targetNamespace="http://www.openarchives.org/OAI/2.0/oai_dc/" xmlns:dc="http://purl.org/dc/elements/1.1/"
      xmlns:oai_dc="http://www.openarchives.org/OAI/2.0/oai_dc/" elementFormDefault="qualified">
      <import namespace="http://purl.org/dc/elements/1.1/"
        schemaLocation="http://dublincore.org/schemas/xmls/simpledc20021212.xsd"/>
      <element name="dc" type="oai_dc:oai_dcType"/>
      <complexType name="oai_dcType"><choice minOccurs="0" maxOccurs="unbounded">
      {"".join(f'<element ref="dc:{name}"/>' for name in _DC_NAMES)}</choice></complexType></schema>""",
}


def _datacite() -> Path:
    spec = importlib.util.find_spec("validator")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "schema" / "metadata.xsd"


def standards() -> Path:
    """The folder of vocabularies and schemas that no package has; without it, the test is skipped and says so."""
    folder = Path(os.environ.get("D4C_STANDARDS") or ROOT.parent / "shared" / "standards")
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist: DIF's schema and the vocabularies are not part of this repository")
    return folder


class _Offline(etree.Resolver):
    def resolve(self, system_url: str, public_id: str, context: Any) -> Any:
        if (text := _OAI_DC.get(system_url)) is not None:
            return self.resolve_string(text, context, base_url=system_url)
        for address, path in _ADDRESSES.items():
            if system_url == address or (address.endswith("/") and system_url.startswith(address)):
                return self.resolve_filename(str(path / system_url.removeprefix(address)), context)
        return None


@cache
def schema(name: str) -> etree.XMLSchema:
    """Return a schema by the name of the record format."""
    if not SCHEMAS.is_dir():
        pytest.skip(".venv/schemas does not exist: run `make setup`")
    parser = etree.XMLParser()
    parser.resolvers.add(_Offline())
    if name == "oai_dc":
        address = "http://www.openarchives.org/OAI/2.0/oai_dc.xsd"
        return etree.XMLSchema(etree.fromstring(_OAI_DC[address], parser, base_url=address))
    gmd = _PYCSW / "plugins/profiles/apiso/schemas/ogc/iso/19139/20070417"
    path = {
        "csw_2": lambda: _OGC / "csw" / "2.0.2" / "CSW-discovery.xsd",
        "csw_3": lambda: _OGC / "cat" / "csw" / "3.0" / "cswAll.xsd",
        "datacite_xml": _datacite,
        "dif": lambda: standards() / "schemas" / "dif10" / "dif_v10.2.xsd",
        "fgdc": lambda: SCHEMAS / "pymdwizard" / "resources" / "FGDC" / "fgdc-std-001-1998-annotated.xsd",
        "iso19139": lambda: gmd / "gmd" / "gmd.xsd",
        "iso19139_hnap": lambda: gmd / "gmd" / "gmd.xsd",
        "iso19115_3": lambda: _CKAN / "19115" / "-3" / "mdb" / "2.0" / "mdb.xsd",
        "csw_2_report": lambda: _OGC / "ows" / "1.0.0" / "owsExceptionReport.xsd",
        "csw_3_report": lambda: _OGC / "ows" / "2.0" / "owsExceptionReport.xsd",
        "oai_pmh": lambda: next(SCHEMAS.glob("pyoai-*/src/oaipmh/tests/OAI-PMH.xsd")),
    }[name]()
    return etree.XMLSchema(etree.parse(path, parser))


def schema_errors(name: str, document: bytes) -> list[str]:
    """Return the errors of a document against its schema, with their lines."""
    checker = schema(name)
    parsed = etree.fromstring(document)
    if checker.validate(parsed):
        return []
    return [f"{error.line}: {error.message}" for error in checker.error_log]


@cache
def iso_rules() -> dict[str, isoschematron.Schematron]:
    """Return the Schematron rules of ISO 19115-3 by file name: conditions that its schemas can't state."""
    if not SCHEMAS.is_dir():
        pytest.skip(".venv/schemas does not exist: run `make setup`")
    files = sorted((SCHEMAS / "ckanext" / "iso19115" / "schematron").glob("*.xml"))
    return {path.name: isoschematron.Schematron(etree.parse(path)) for path in files}
