"""Reads the parameters that the protocols share: bbox, datetime, limit, lists, languages; GET and POST alike.

Boxes and times become trees of CQL2, so that one compiler makes all SQL.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from http import HTTPStatus
from typing import Any

from starlette.datastructures import QueryParams

from d4c_pipeline.services.cql2.expressions import time_of
from d4c_pipeline.services.numbers import decimal_number
from d4c_pipeline.services.problems import ProblemError

Tree = dict[str, Any]
LONGEST_LIST = 1_000
_BOX = "Write west, south, east, north in degrees, such as bbox=-80,45,-70,50"
_TIME = "Write a time (2021-05-11T00:00:00Z), a date, or an interval (2020-01-01/2021-01-01, 2020-01-01/..)"


def refused(detail: str, remedy: str) -> ProblemError:
    """Return the problem (400) of a parameter that is wrong."""
    return ProblemError(HTTPStatus.BAD_REQUEST, detail, remedy)


def unknown(what: str, name: str, remedy: str) -> ProblemError:
    """Return the problem (404) of an address that names nothing."""
    return ProblemError(HTTPStatus.NOT_FOUND, f"There is no {what} '{name[:200]}'", remedy)


def with_token(query: QueryParams, token: str) -> str:
    """Return the query of the page with `token`."""
    kept = [(name, value) for name, value in query.multi_items() if name != "token"]
    return str(QueryParams([*kept, ("token", token)]))


def check_names(given: Iterable[str], known: Collection[str], what: str = "parameter") -> None:
    """Raise ProblemError when a name is unknown; it lists the known ones."""
    if others := [name for name in given if name not in known]:
        raise refused(f"The {what} '{others[0][:100]}' is unknown", f"Use one of {', '.join(sorted(known))}")


def single(query: QueryParams, name: str) -> str | None:
    """Return a parameter that is given at most once, None for an absent or empty one."""
    found = query.getlist(name)
    if len(found) > 1:
        raise refused(f"The parameter '{name}' is given {len(found)} times", "Give it once")
    return found[0] if found and found[0] else None


def listed(value: Any, name: str) -> list[str]:
    """Return a list of texts, which a query writes with commas. Raises ProblemError for another value."""
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise refused(f"'{name}' is not a list of texts", f"Write {name}=a,b or a JSON list")
    if len(found) > LONGEST_LIST:
        raise refused(f"'{name}' has {len(found):,} members, and {LONGEST_LIST:,} are allowed", "Send several requests")
    return [text for each in found if (text := each.strip())]


def limit_of(value: Any, default: int, most: int) -> int:
    """Return how many results a page has: `value`, but at most `most`. Raises ProblemError unless it is 1 or more."""
    if value is None:
        return default
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or len(text) > 15 or int(text) < 1:
        raise refused(f"limit={text[:60]} is not a number from 1 to {most}", f"Write a whole number, at most {most}")
    return min(int(text), most)


def offset_of(value: str | None, most: int) -> int:
    """Return how many results are skipped. Raises ProblemError unless it is a number from 0 to `most`."""
    if value is None:
        return 0
    if not value.isascii() or not value.isdigit() or len(value) > 15 or int(value) > most:
        raise refused(f"offset={value[:60]} is not a number from 0 to {most:,}", "Narrow the search for later results")
    return int(value)


def box_tree(value: Any, geometry: str = "geometry") -> Tree:
    """Return the filter of a bounding box: a text with commas, or a list of 4 or 6 numbers.

    A box whose west is greater than its east crosses the 180th meridian.
    """
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list) or len(given) not in (4, 6):
        raise refused(f"bbox={str(value)[:100]} does not have 4 or 6 numbers", _BOX)
    try:
        numbers = [
            decimal_number(each) if isinstance(each, str) else float(each)
            for each in given
            if not isinstance(each, bool)
        ]
    except (TypeError, ValueError) as error:
        raise refused(f"bbox={str(value)[:100]} is not a list of numbers", _BOX) from error
    if len(numbers) != len(given) or not all(map(math.isfinite, numbers)):
        raise refused(f"bbox={str(value)[:100]} is not a list of finite numbers", _BOX)
    half = len(numbers) // 2
    west, south, east, north = *numbers[:2], *numbers[half : half + 2]
    if not (-180 <= west <= 180 and -180 <= east <= 180):
        raise refused(f"bbox has the longitudes {west} and {east}, which are not within -180 to 180", _BOX)
    if not (-90 <= south <= 90 and -90 <= north <= 90):
        raise refused(f"bbox has the latitudes {south} and {north}, which are not within -90 to 90", _BOX)
    if south > north:
        raise refused(f"bbox has its south ({south}) above its north ({north})", _BOX)
    return {"op": "s_intersects", "args": [{"property": geometry}, {"bbox": [west, south, east, north]}]}


def time_tree(value: Any, start: str = "start_datetime", end: str = "end_datetime") -> Tree:
    """Return the filter of a time or an interval: releases whose period has a moment in common with it.

    An open end is `..` or empty. Raises ProblemError for other texts, and when an interval ends before it begins.
    """
    if not isinstance(value, str):
        raise refused(f"datetime={str(value)[:100]} is not a text", _TIME)
    ends = value.split("/")
    if len(ends) > 2 or not value:
        raise refused(f"datetime='{value[:100]}' is neither a time nor an interval", _TIME)
    stated = [None if each in ("", "..") else each for each in ends]
    if not any(stated):
        raise refused(f"datetime='{value[:100]}' has no limit", _TIME)
    for each in stated:
        try:
            time_of(each or "2000-01-01")
        except ProblemError as error:
            raise refused(f"datetime='{value[:100]}' is neither a time nor an interval", _TIME) from error
    first, last = stated[0], stated[-1]
    interval = {"interval": [{"property": start}, {"property": end}]}
    try_on = {"interval": [first or "..", last or ".."]}
    return {"op": "t_intersects", "args": [interval, try_on]}


def one_of(name: str, values: list[str]) -> Tree:
    """Return the filter of a list column that has at least one of `values`."""
    return {"op": "a_overlaps", "args": [{"property": name}, values]}
