"""Detection of incomplete answers of services: one page of features is as valid a file as all features.

Services state it in different members: ArcGIS (`exceededTransferLimit`), OGC API Features and STAC (`numberMatched`, a
link `next`), GeoServer (`totalFeatures`), WFS (`numberMatched`, `numberOfFeatures`), Django (`next`, `count`). A
feature's property of such a name is ignored. `vector` compares the count with the features that it read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d4c_pipeline.model.errors import DataError

# Names of members, as `word` writes them: the number of all rows, the address of the next page, the flag of more rows.
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
# Objects in which a service describes its answer; ArcGIS has "properties".
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
    """Return the number of features that the answer states, None if it states none.

    Raises DataError, with the member that shows it, if the answer states that it is incomplete.
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
        if totals:  # some services name a next page after the last page
            return returned
    for name, value in facts:
        if word(name) in NEXTS and isinstance(value, str) and value:
            raise _incomplete(path, f"{name} names another page")
        if word(name) == "links" and isinstance(value, list):
            links: list[Any] = value
            if any(isinstance(link, dict) and link.get("rel") == "next" for link in links):
                raise _incomplete(path, "links has a next page (rel: next)")
    return returned if returned is not None else max((total for _, total in totals), default=None)


def word(name: str) -> str:
    """Return the letters and digits of a name in lower case, the form of TOTALS, NEXTS and MORE."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def check_xml(path: Path, head: bytes, tail: bytes) -> int | None:
    """Return the number of features that a WFS answer states, None if it states none.

    `head`, `tail`: the first and last bytes of the answer. Raises DataError if it states that it is incomplete.
    """
    found = _WFS_ROOT.search(head)
    if found is None:
        return None
    stated = {name.decode(): value.decode("utf-8", "replace") for name, value in _ATTRIBUTE.findall(found[0])}
    matched, returned = _number(stated.get("numberMatched")), _number(stated.get("numberReturned"))
    if stated.get("next"):
        raise _incomplete(path, "the attribute next names another page")
    if matched is not None and returned is not None and matched > returned:
        raise _incomplete(path, f"numberReturned is {returned}, numberMatched {matched}")
    if (more := _TRUNCATED.search(head) or _TRUNCATED.search(tail)) is not None:
        raise _incomplete(path, f"the answer has an element {more[1].decode()}")
    return returned if returned is not None else _number(stated.get("numberOfFeatures"))


def check_rows(name: str, rows: int, stated: int | None, counted_by: str, report: dict[str, Any]) -> None:
    """Raise DataError if fewer rows were read than the file states; report more (`rows_stated`)."""
    if stated is None or rows == stated:
        return
    if rows < stated:
        raise DataError(
            f"{name} is incomplete: {rows} rows were read, but there are {stated} according to {counted_by}",
            "Fetch the vintage again, or have the publisher correct the file",
        )
    report["rows_stated"] = stated


def _outside_of_features(path: Path) -> Mapping[str, Any]:
    # The members of the outermost object before and after its features. The features are not parsed.
    with path.open("rb") as handle:
        head = handle.read(_HEAD).removeprefix(b"\xef\xbb\xbf")
        handle.seek(max(0, path.stat().st_size - _TAIL))
        tail = handle.read()
    members: dict[str, Any] = {}
    found = _FEATURES.search(head)
    if found is not None:
        members |= _parsed(head[: found.end()] + b"]}")
    # From the end: 500 small features fit into the tail, and each has places that resemble the end of the list. The
    # longest rest that is an object holds the members of the outermost object.
    after: dict[str, Any] = {}
    for candidate in [*_AFTER_FEATURES.finditer(tail)][: -_MOST_TRIES - 1 : -1]:
        after = _parsed(b"{" + tail[candidate.end() :]) or after
    return members | after


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        parsed: Any = json.loads(text)
    except ValueError:  # the text does not begin at a member of the outermost object
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else None


def _incomplete(path: Path, sign: str) -> DataError:
    return DataError(f"{path.name} is an incomplete answer: {sign}", _REMEDY)
