"""The XML of answers: the envelope of OAI-PMH 2.0, headers, records, tokens, errors.

Records come as elements that stand for themselves, so that the envelope is text around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from xml.sax.saxutils import escape, quoteattr

from d4c_pipeline.metadata.records.xml_document import XSI, legal
from d4c_pipeline.services.oai.errors import OaiError
from d4c_pipeline.services.oai.sets import specs_of
from d4c_pipeline.services.record_port import RecordRow

NAMESPACE = "http://www.openarchives.org/OAI/2.0/"
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    f'<OAI-PMH xmlns="{NAMESPACE}" xmlns:xsi="{XSI}" '
    f'xsi:schemaLocation="{NAMESPACE} http://www.openarchives.org/OAI/2.0/OAI-PMH.xsd">'
)
_REMEMBERED = 10_000  # times and sets, which repeat in the headers of every page
_LINES = re.compile(r"[\r\n\t]+")


@lru_cache(maxsize=_REMEMBERED)
def instant(seconds: float) -> str:
    """Return seconds since 1970 as the protocol writes them, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def element(name: str, text: str) -> str:
    """Return an element with a text."""
    return f"<{name}>{escape(legal(text))}</{name}>"


def answer(now: float, base: str, stated: Mapping[str, str], content: Iterable[str | bytes]) -> bytes:
    """Return a complete answer. `stated`: the arguments that the answer repeats, none for an invalid request."""
    given = "".join(f" {name}={quoteattr(_LINES.sub(' ', legal(value)))}" for name, value in stated.items())
    head = f"{_HEAD}<responseDate>{instant(now)}</responseDate><request{given}>{escape(legal(base))}</request>"
    parts = [part if isinstance(part, bytes) else part.encode() for part in content]
    return b"".join((head.encode(), *parts, b"</OAI-PMH>\n"))


def error(problem: OaiError) -> str:
    """Return the element of an error."""
    return f'<error code="{problem.code}">{escape(legal(problem.message))}</error>'


def header(row: RecordRow) -> str:
    """Return the header of a record; a withdrawn release is deleted."""
    status = ' status="deleted"' if row.withdrawn else ""
    specs = "".join(map(_spec, specs_of(row)))
    return (
        f"<header{status}>{element('identifier', row.identifier)}"
        f"<datestamp>{instant(row.modified)}</datestamp>{specs}</header>"
    )


@lru_cache(maxsize=_REMEMBERED)
def _spec(spec: str) -> str:
    return element("setSpec", spec)


def record(row: RecordRow, metadata: bytes | None) -> bytes:
    """Return a record; a deleted one has no metadata."""
    head = header(row).encode()
    if metadata is None:
        return b"<record>" + head + b"</record>"
    return b"<record>" + head + b"<metadata>" + metadata + b"</metadata></record>"


def resumption(token: str | None, size: int, cursor: int) -> str:
    """Return the token of a list in several parts, empty on the last page. `cursor`: items before this page."""
    return f'<resumptionToken completeListSize="{size}" cursor="{cursor}">{token or ""}</resumptionToken>'
