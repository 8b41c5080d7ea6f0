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

_HEAD, _TAIL = 1 << 20, 1 << 16
_FEATURES = re.compile(rb'"(?:features|objectIds|results)"\s*:\s*\[')
_AFTER_FEATURES = re.compile(rb'[\]}]\s*,\s*(?=")|\]\s*(?=\})')
_MOST_TRIES = 400
_TOTALS = ("numberMatched", "totalFeatures", "count", "totalCount", "total")
_WFS_ROOT = re.compile(rb"<(?:[\w.-]+:)?FeatureCollection\b[^>]*>", re.DOTALL)
_ATTRIBUTE = re.compile(rb"""\b(numberMatched|numberReturned|numberOfFeatures|next)\s*=\s*["']([^"']*)["']""")
_TRUNCATED = re.compile(rb"<(?:[\w.-]+:)?(truncatedResponse|additionalObjects)\b")
_REMEDY = "Have the source fetch all pages, or name an address that delivers all features"


def check_json(path: Path) -> int | None:
    """Return how many features the answer says it has, None where it does not say.

    Raises DataError when it says that it is a part: it names what was seen.
    """
    members = _outside_of_features(path)
    inner: Any = members.get("properties")
    for level in (members, inner if isinstance(inner, dict) else {}):
        for name in ("exceededTransferLimit", "hasMore", "has_more"):
            if level.get(name) is True or str(level.get(name)).lower() == "true":
                raise _incomplete(path, f"{name} is true")
    links: Any = members.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") == "next":
            raise _incomplete(path, "it links to a next page (rel: next)")
    for name in ("next", "@odata.nextLink", "nextPage", "next_page"):
        if isinstance(members.get(name), str) and members[name]:
            raise _incomplete(path, f"{name} names another page")
    returned = _number(members.get("numberReturned"))
    for name in _TOTALS if returned is not None else ():
        matched = _number(members.get(name))
        if matched is not None and returned is not None and matched > returned:
            raise _incomplete(path, f"numberReturned is {returned}, {name} {matched}")
    if returned is not None:
        return returned
    return next((number for name in _TOTALS if (number := _number(members.get(name))) is not None), None)


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
    for number, candidate in enumerate(_AFTER_FEATURES.finditer(tail)):
        after = _parsed(b"{" + tail[candidate.end() :])
        if after or number > _MOST_TRIES:
            # The first from which the rest is an object: what comes after it are members of the outermost one.
            members |= after
            break
    return members


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
