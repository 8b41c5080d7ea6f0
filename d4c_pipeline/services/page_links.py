"""The typed links of a release's page as an HTTP header `Link`, for readers that fetch only the head of the answer.

The page itself has them as `<link>`, so there is nothing else to keep in step. nginx can't read the page: `nginx` sends
the links that follow from the address, among them the linkset, which has all others. Source: https://signposting.org
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

RELATIONS = ("cite-as", "describedby", "item", "license", "linkset")
_HEAD_BYTES = 64 << 10
_MOST_BYTES = 6_000
"""Clients accept 8 kB of headers; a release in hundreds of parts has its items in the linkset only."""
_LINK = re.compile(rf'<link rel="(?P<rel>{"|".join(RELATIONS)})" href="(?P<href>[^"]*)"(?: type="(?P<type>[^"]*)")?>')
_UNSAFE = re.compile(r"[^\x21-\x7e]|[<>\"]")


def link_header(page: Path) -> str:
    """Return the value of the header for a page, empty for a page without such links."""
    found = page.stat()
    return _of(page, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=10_000)
def _of(page: Path, _changed: int, _size: int) -> str:
    with page.open("rb") as file:
        head, _, _ = file.read(_HEAD_BYTES).decode("utf-8", "replace").partition("</head>")
    found = [each.groupdict("") for each in _LINK.finditer(head)]
    links = [{name: html.unescape(value) for name, value in each.items()} for each in found]
    return as_header((each["rel"], each["href"], each["type"]) for each in links)


def as_header(links: Iterable[tuple[str, str, str]]) -> str:
    """Return the value of the header for links: relation, address and media type (or an empty text) each."""
    written = [
        (relation, _written(relation, href, kind)) for relation, href, kind in links if not _UNSAFE.search(href + kind)
    ]
    if sum(len(text) + 2 for _, text in written) > _MOST_BYTES:
        written = [(relation, text) for relation, text in written if relation != "item"]
    return ", ".join(text for _, text in written)


def _written(relation: str, href: str, kind: str) -> str:
    return f'<{href}>; rel="{relation}"' + (f'; type="{kind}"' if kind else "")
