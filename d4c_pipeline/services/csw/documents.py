"""The XML of answers: fragments between a root with all namespaces, and exception reports.

Records of other standards are bytes that stand for themselves, so the envelope is text around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from xml.sax.saxutils import quoteattr

from d4c_pipeline.metadata.records.xml_document import XSI, Element, element, legal, xml_document
from d4c_pipeline.services.csw.dialects import Dialect
from d4c_pipeline.services.csw.errors import CswError

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def instant(seconds: float) -> str:
    """Return seconds since 1970 as a time in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def fragment(node: Element) -> bytes:
    """Return an element whose prefixes are declared around it."""
    return xml_document(node, {}).partition(b"\n")[2]


def envelope(
    name: str, attributes: Mapping[str, str], content: Iterable[bytes | Element], namespaces: Mapping[str, str]
) -> bytes:
    """Return an element with `namespaces` and a content of elements and bytes."""
    declared = {f"xmlns:{prefix}" if prefix else "xmlns": uri for prefix, uri in namespaces.items()}
    stated = "".join(f" {key}={quoteattr(legal(value))}" for key, value in {**declared, **attributes}.items())
    parts = [part if isinstance(part, bytes) else fragment(part) for part in content]
    return b"".join((f"<{name}{stated}>\n".encode(), *parts, f"</{name}>\n".encode()))


def answer(
    dialect: Dialect, name: str, attributes: Mapping[str, str], content: Iterable[bytes | Element], **more: str
) -> bytes:
    """Return a complete answer; `more`: further prefixes of its namespaces."""
    located = {"xsi:schemaLocation": f"{dialect.csw} {dialect.schema}"}
    return _HEAD.encode() + envelope(name, {**attributes, **located}, content, {**dialect.namespaces, **more})


def standing(content: bytes) -> bytes:
    """Return an element as a document."""
    return _HEAD.encode() + content


def report(dialect: Dialect, problem: CswError) -> bytes:
    """Return the exception report of a refused request."""
    exception = element(
        "ows:Exception",
        element("ows:ExceptionText", problem.message),
        attributes={"exceptionCode": problem.code, "locator": problem.locator},
    )
    root = element(
        "ows:ExceptionReport",
        exception,
        attributes={"version": dialect.report, "xsi:schemaLocation": f"{dialect.ows} {dialect.ows_schema}"},
    )
    return xml_document(root, {"ows": dialect.ows, "xsi": XSI})
