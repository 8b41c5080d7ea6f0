"""The versions of CSW: their namespaces and schemas, and what differs between their documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from d4c_pipeline.metadata.records.xml_document import XSI

XLINK = "http://www.w3.org/1999/xlink"
DC, DCT = "http://purl.org/dc/elements/1.1/", "http://purl.org/dc/terms/"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """A version of CSW. `csw`, `ows`, `fes`, `gml`: namespaces; `schema`: of responses; `ows_schema`: of exceptions.

    `report`: the version of exception reports.
    """

    version: str
    csw: str
    schema: str
    ows: str
    ows_schema: str
    report: str
    fes: str
    gml: str

    @property
    def is_3(self) -> bool:
        """Whether this is CSW 3.0."""
        return self.version.startswith("3")

    @property
    def namespaces(self) -> Mapping[str, str]:
        """The prefixes of documents; `csw` and `ows` are this version's."""
        return {"csw": self.csw, "dc": DC, "dct": DCT, "ows": self.ows, "xsi": XSI}


CSW_2 = Dialect(
    version="2.0.2",
    csw="http://www.opengis.net/cat/csw/2.0.2",
    schema="http://schemas.opengis.net/csw/2.0.2/CSW-discovery.xsd",
    ows="http://www.opengis.net/ows",
    ows_schema="http://schemas.opengis.net/ows/1.0.0/owsExceptionReport.xsd",
    report="1.2.0",
    fes="http://www.opengis.net/ogc",
    gml="http://www.opengis.net/gml",
)
CSW_3 = Dialect(
    version="3.0.0",
    csw="http://www.opengis.net/cat/csw/3.0",
    schema="http://schemas.opengis.net/cat/csw/3.0/cswAll.xsd",
    ows="http://www.opengis.net/ows/2.0",
    ows_schema="http://schemas.opengis.net/ows/2.0/owsExceptionReport.xsd",
    report="3.0.0",
    fes="http://www.opengis.net/fes/2.0",
    gml="http://www.opengis.net/gml/3.2",
)
DIALECTS: Mapping[str, Dialect] = {each.version: each for each in (CSW_3, CSW_2)}
"""By version, the newest first."""


def dialect_of(version: str) -> Dialect | None:
    """Return the dialect of a version that a client names; `3.0` means `3.0.0`."""
    return CSW_3 if version == "3.0" else DIALECTS.get(version)
