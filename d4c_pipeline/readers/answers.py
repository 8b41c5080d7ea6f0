"""Whether a service's answer is complete: a page of features looks like a file of features, and is only a part.

Looked for where services say it: ArcGIS (`exceededTransferLimit`), OGC API Features and STAC (`numberMatched`, a link
`next`), GeoServer (`totalFeatures`), WFS (`numberMatched`, `numberOfFeatures`), Django (`next`, `count`). A property
of a feature that has such a name does not count. How many features were read is compared by `vector`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d4c_pipeline.model.errors import DataError

# What services call the number of all rows, the place of the next ones, and that there are some; as `word` writes it.
TOTALS = frozenset(
    ("total", "totalcount", "totalfeatures", "totalrecords", "recordstotal", "totalresults", "totalitems",
     "totalrows", "totalhits", "totalelements", "numfound", "nummatched", "numbermatched", "nhits", "odatacount",
     "count", "resultcount", "recordcount", "rowcount", "matched")
)  # fmt: skip
NEXTS = frozenset(
    ("next", "nextlink", "odatanextlink", "nextpage", "nexturl", "nextpageurl", "nextpagetoken", "nexttoken",
     "nextcursor", "continuationtoken", "resumptiontoken")
)  # fmt: skip
MORE = frozenset(
    ("hasmore", "hasnext", "hasnextpage", "morerecords", "moreresults", "exceededtransferlimit", "istruncated",
     "truncated")
)  # fmt: skip
# Objects in which a service says something of its answer; ArcGIS has "properties".
_ABOUT = frozenset(("properties", "meta", "metadata", "pagination", "paging", "page", "pageinfo"))
_HEAD, _TAIL = 1 << 20, 1 << 16
_FEATURES = re.compile(rb'"(?:features|objectIds|results)"\s*:\s*\[')
_AFTER_FEATURES = re.compile(rb'[\]}]\s*,\s*(?=")|\]\s*(?=\})')
_MOST_TRIES = 400
_WFS_ROOT = re.compile(rb"<(?:[\w.-]+:)?FeatureCollection\b[^>]*>", re.DOTALL)
_ATTRIBUTE = re.compile(rb"""\b(numberMatched|numberReturned|numberOfFeatures|next)\s*=\s*["']([^"']*)["']""")
_TRUNCATED = re.compile(rb"<(?:[\w.-]+:)?(truncatedResponse|additionalObjects)\b")
_REMEDY = "Have the source fetch all pages, or name an address that delivers all features"


def check_json(path: Path) -> int | None:
    """Return how many features the answer says it has, None where it does not say.

    Raises DataError when it says that it is a part: it names what was seen.
    """
    members = _outside_of_features(path)
    inner = [value for name, value in members.items() if word(name) in _ABOUT and isinstance(value, dict)]
    facts = [(name, value) for level in (members, *inner) for name, value in level.items()]
    for name, value in facts:
        if word(name) in MORE and str(value).lower() == "true":
            raise _incomplete(path, f"{name} is true")
    returned = next((_number(value) for name, value in facts if word(name) == "numberreturned"), None)
    totals = [
        (name, number) for name, value in facts if word(name) in TOTALS and (number := _number(value)) is not None
    ]
    if returned is not None:
        for name, total in totals:
            if total > returned:
                raise _incomplete(path, f"numberReturned is {returned}, {name} {total}")
        if totals:  # some services name a next page behind the last one
            return returned
    for name, value in facts:
        if word(name) in NEXTS and isinstance(value, str) and value:
            raise _incomplete(path, f"{name} names another page")
        if word(name) == "links" and isinstance(value, list):
            links: list[Any] = value
            if any(isinstance(link, dict) and link.get("rel") == "next" for link in links):
                raise _incomplete(path, "it links to a next page (rel: next)")
    return returned if returned is not None else max((total for _, total in totals), default=None)


def word(name: str) -> str:
    """Return a name as the words here are written: its letters and digits, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def check_xml(path: Path, head: bytes, tail: bytes) -> int | None:
    """Return how many features a WFS answer says it has, None where it does not say. `head`, `tail`: its ends.

    Raises DataError when it says that it is a part.
    """
    found = _WFS_ROOT.search(head)
    if found is None:
        return None
    stated = {name.decode(): value.decode("utf-8", "replace") for name, value in _ATTRIBUTE.findall(found[0])}
    matched, returned = _number(stated.get("numberMatched")), _number(stated.get("numberReturned"))
    if stated.get("next"):
        raise _incomplete(path, "its attribute next names another page")
    if matched is not None and returned is not None and matched > returned:
        raise _incomplete(path, f"numberReturned is {returned}, numberMatched {matched}")
    if (more := _TRUNCATED.search(head) or _TRUNCATED.search(tail)) is not None:
        raise _incomplete(path, f"it has an element {more[1].decode()}")
    return returned if returned is not None else _number(stated.get("numberOfFeatures"))


def check_rows(name: str, rows: int, stated: int | None, counted_by: str, report: dict[str, Any]) -> None:
    """Raise DataError when fewer rows were read than the file itself counts; more are reported (`rows_stated`)."""
    if stated is None or rows == stated:
        return
    if rows < stated:
        raise DataError(
            f"{name} is incomplete: {rows} rows were read, but by {counted_by} there are {stated}",
            "Fetch the vintage again, or have the publisher correct the file",
        )
    report["rows_stated"] = stated


def _outside_of_features(path: Path) -> Mapping[str, Any]:
    # The members of the outermost object that stand before its features, and after them. The middle is not parsed.
    with path.open("rb") as handle:
        head = handle.read(_HEAD).removeprefix(b"\xef\xbb\xbf")
        handle.seek(max(0, path.stat().st_size - _TAIL))
        tail = handle.read()
    members: dict[str, Any] = {}
    found = _FEATURES.search(head)
    if found is not None:
        members |= _parsed(head[: found.end()] + b"]}")
    # From the end: 500 small features fit into the tail, and each has places that look like the end of the list. The
    # longest rest that is an object holds the members of the outermost one.
    after: dict[str, Any] = {}
    for candidate in [*_AFTER_FEATURES.finditer(tail)][: -_MOST_TRIES - 1 : -1]:
        after = _parsed(b"{" + tail[candidate.end() :]) or after
    return members | after


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        parsed: Any = json.loads(text)
    except ValueError:  # that is the answer: it does not begin at a member of the outermost object
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else None


def _incomplete(path: Path, seen: str) -> DataError:
    return DataError(f"{path.name} is an incomplete answer: {seen}", _REMEDY)
