"""OWSLib reads OGC API Records."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from owslib.ogcapi.records import Records

from client_cases import case

_PAGE = 250
_CATALOGUE = "catalogue"
_CANADA = [-142, 41, -52, 84]
_ELSEWHERE = [140, -30, 150, -20]


def _case(operation: str) -> Callable[[Callable[[Records, int], str]], None]:
    def register(run: Callable[[Records, int], str]) -> None:
        def with_client(url: str, releases: int) -> str:
            return run(Records(f"{url}/records", timeout=120), releases)

        case("OWSLib, OGC API Records", operation)(with_client)

    return register


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"{found!r}, not {expected!r}")


def _count(client: Records, **parameters: Any) -> int:
    return client.collection_items(_CATALOGUE, limit=1, **parameters)["numberMatched"]


@_case("landing page, conformance, the collection, queryables")
def _landing(client: Records, _: int) -> str:
    _expect(client.records(), [_CATALOGUE])
    classes = client.conformance()["conformsTo"]
    paths = client.api()["paths"]
    extent = client.collection(_CATALOGUE)["extent"]["temporal"]["interval"]
    queryables = client.collection_queryables(_CATALOGUE)["properties"]
    return f"{len(classes)} classes, {len(paths)} addresses, {len(queryables)} queryables, {extent[0]}"


@_case("every record, by the links `next`")
def _pages(client: Records, releases: int) -> str:
    began, names, token = time.perf_counter(), set[str](), {}
    while True:
        page = client.collection_items(_CATALOGUE, limit=_PAGE, sortby=("title", "asc"), **token)
        names |= {record["id"] for record in page["features"]}
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        if not following:
            break
        token = {"token": following[0].rpartition("token=")[2]}
    _expect(len(names), releases - 1)
    return f"{len(names):,} records in {time.perf_counter() - began:.1f} s"


@_case("search by box, time and words in both languages")
def _places(client: Records, releases: int) -> str:
    inside, outside = (_count(client, bbox=box) for box in (_CANADA, _ELSEWHERE))
    _expect((inside, outside), (releases - 1, 0))
    early, late = (_count(client, datetime_=period) for period in ("../2005-12-31", "2006-01-01/.."))
    _expect(early + late, releases - 1)
    english, french = _count(client, q="exchange rates"), _count(client, q="taux de change")
    _expect(english, french)
    return f"{inside:,} in Canada; {early:,} until 2005, {late:,} later; {english:,} 'exchange rates'"


@_case("filters in CQL2, text and JSON; order")
def _filters(client: Records, _: int) -> str:
    tree = '{"op": "=", "args": [{"property": "vintage"}, "2011"]}'
    by_text = _count(client, filter="vintage = '2011'")
    by_tree = _count(client, filter=tree, **{"filter-lang": "cql2-json"})
    _expect(by_text, by_tree)
    found = client.collection_items(_CATALOGUE, limit=100, sortby=("created", "desc"))["features"]
    moments = [record["properties"]["created"] for record in found]
    _expect(moments, sorted(moments, reverse=True))
    return f"{by_text:,} by both; {moments[0]} .. {moments[-1]}"


@_case("a record by its name")
def _record(client: Records, _: int) -> str:
    (record,) = client.collection_items(_CATALOGUE, limit=1)["features"]
    _expect(client.collection_item(_CATALOGUE, record["id"]), record)
    doi = record["properties"]["externalIds"][0]["value"]
    _expect(_count(client, externalIds=doi), 1)
    return f"{record['properties']['title']}, DOI {doi}"


@_case("an error")
def _error(client: Records, _: int) -> str:
    try:
        _count(client, filter="colour = 'red'")
    except RuntimeError as error:
        return str(error)[:120]
    raise AssertionError("nothing was refused")
