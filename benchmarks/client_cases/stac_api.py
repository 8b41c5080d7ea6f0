"""pystac-client reads the STAC API."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

from pystac.errors import DeprecatedWarning
from pystac_client import Client, ItemSearch
from pystac_client.exceptions import APIError

from client_cases import case

_PAGE = 250
_CANADA = (-142.0, 41.0, -52.0, 84.0)
_ELSEWHERE = (140.0, -30.0, 150.0, -20.0)
_ACROSS = (170.0, 50.0, -140.0, 85.0)
_SEARCHES = 40


def _case(operation: str) -> Callable[[Callable[[Client, int], str]], None]:
    def register(run: Callable[[Client, int], str]) -> None:
        def with_client(url: str, releases: int) -> str:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # what pystac-client misses
                warnings.simplefilter("ignore", DeprecatedWarning)  # superseded releases
                return run(Client.open(f"{url}/stac", timeout=120), releases)

        case("pystac-client, STAC API", operation)(with_client)

    return register


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"{found!r}, not {expected!r}")


@_case("landing page and collections")
def _collections(client: Client, _: int) -> str:
    names = [each.id for each in client.get_collections()]
    _expect(names, sorted(set(names)))
    found = client.collection_search(q="taux", max_collections=5)
    return f"{len(names):,} collections, {found.matched():,} with 'taux'"


@_case("items of a collection, an item by name")
def _items(client: Client, _: int) -> str:
    daily = client.get_collection("daily")
    items = list(daily.get_items()) if daily else []
    again = daily.get_item(items[-1].id) if daily else None
    if again is None:
        raise AssertionError("the last item is not found by its name")
    _expect((again.properties, again.bbox), (items[-1].properties, items[-1].bbox))
    return f"{len(items):,} items of `daily`; {again.properties['title']}"


@_case("search by GET and POST, all pages")
def _pages(client: Client, releases: int) -> str:
    said: list[str] = []
    for method in ("GET", "POST"):
        began = time.perf_counter()
        search = client.search(method=method, limit=_PAGE, sortby="+title")
        names = {item["id"] for item in search.items_as_dicts()}
        seconds = time.perf_counter() - began
        _expect((len(names), search.matched()), (releases - 1, releases - 1))
        said.append(f"{method} {len(names):,} items in {seconds:.1f} s")
    return ", ".join(said)


@_case("search by box, also across 180 degrees, and by time")
def _places(client: Client, releases: int) -> str:
    inside, outside, across = (client.search(bbox=box).matched() for box in (_CANADA, _ELSEWHERE, _ACROSS))
    _expect((inside, outside), (releases - 1, 0))
    early, late = (client.search(datetime=time).matched() for time in ("../2005-12-31", "2006-01-01/.."))
    _expect((early or 0) + (late or 0), releases - 1)
    return f"{inside:,} in Canada, {outside} in Australia, {across:,} across; {early:,} until 2005, {late:,} later"


@_case("filters in CQL2, text and JSON")
def _filters(client: Client, _: int) -> str:
    text = "\"d4c:vintage\" = '2011' AND NOT deprecated"
    tree = {
        "op": "and",
        "args": [
            {"op": "=", "args": [{"property": "d4c:vintage"}, "2011"]},
            {"op": "not", "args": [{"property": "deprecated"}]},
        ],
    }
    searches = [
        client.search(method=method, filter=each, filter_lang=language)
        for method in ("GET", "POST")
        for each, language in ((text, "cql2-text"), (tree, "cql2-json"))
    ]
    counts = {search.matched() for search in searches}
    _expect(len(counts), 1)
    return f"{counts.pop():,} by each of four requests"


@_case("order and fields")
def _order(client: Client, _: int) -> str:
    search = client.search(limit=100, max_items=300, sortby="-published", fields=["properties.published"])
    moments = [item["properties"]["published"] for item in search.items_as_dicts()]
    _expect(moments, sorted(moments, reverse=True))
    (item,) = client.search(max_items=1, fields=["-assets", "-links"]).items_as_dicts()
    _expect({"assets", "links"} & set(item), set())
    return f"{moments[0]} .. {moments[-1]}"


@_case("an error")
def _error(client: Client, _: int) -> str:
    try:
        client.search(filter="colour = 'red'", filter_lang="cql2-text", method="GET").matched()
    except APIError as error:
        _expect(error.status_code, 400)
        return str(error)[:120]
    raise AssertionError("nothing was refused")


@_case("time of a search, one client")
def _speed(client: Client, _: int) -> str:
    def seconds(search: ItemSearch) -> float:
        began = time.perf_counter()
        next(search.pages_as_dicts(), None)
        return time.perf_counter() - began

    times: list[float] = []
    for number in range(_SEARCHES):
        west, south = -140 + number, 42 + number % 30
        kinds: tuple[dict[str, Any], ...] = (
            {"bbox": (west, south, west + 5, south + 5)},
            {"datetime": f"{2000 + number % 25}-01-01/.."},
            {"filter": f"rows > {number} AND NOT deprecated", "filter_lang": "cql2-text"},
            {"sortby": "+title", "collections": [f"set_{number:06}"]},
        )
        times.append(seconds(client.search(method="GET", limit=10, **kinds[number % 4])))
    median, last = statistics.median(times), sorted(times)[int(len(times) * 0.95)]
    return f"median {median * 1e3:.0f} ms, p95 {last * 1e3:.0f} ms of {_SEARCHES}"
