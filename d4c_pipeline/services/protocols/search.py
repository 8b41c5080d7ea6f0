"""Search for machines: `GET /search` finds releases by words in both languages, facets, place and time.

The form of request and answer belongs here; what is found to `services.discovery`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import duckdb
import orjson
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.services.cql2 import Condition, condition
from d4c_pipeline.services.discovery.answers import JSON, RecentAnswers, json_answer, link
from d4c_pipeline.services.discovery.entries import COLUMNS, ENTRIES, FACETS, prepare
from d4c_pipeline.services.discovery.parameters import (
    box_tree,
    check_names,
    limit_of,
    listed,
    offset_of,
    one_of,
    refused,
    single,
    time_tree,
)
from d4c_pipeline.services.discovery.selection import Selection
from d4c_pipeline.services.discovery.suggesting import suggestions
from d4c_pipeline.services.discovery.words import LANGUAGES, LONGEST, has_words, matches
from d4c_pipeline.services.lanes import Lane
from d4c_pipeline.services.protocol import Protocol, Services

PATH = "search"
_PARAMETERS = frozenset(
    {"q", "lang", "facet", "bbox", "datetime", "filter", "filter-lang", "versions", "sort", "limit", "offset", *FACETS}
)
_SORTS = {
    "relevance": "score DESC, published DESC, id",
    "published": "published DESC, id",
    "title": "lower(strip_accents(shown)), id",
}
_DEFAULT, _MOST, _FARTHEST = 10, 100, 10_000
_FACET_VALUES = 50
_AT_ONCE = 2
_REMEMBERED_BYTES = 8 << 20
_YEAR = re.compile(r"\b(1[5-9]\d\d|20\d\d)\b")


def _routes(services: Services) -> Sequence[BaseRoute]:
    lane, recent = search_lane(services), RecentAnswers(_REMEMBERED_BYTES)

    async def answer(request: Request) -> Response:
        # Readers page, share addresses and come back: an equal query of one state of the catalogue is searched once,
        # and its answer then waits for no other search.
        key = (services.index.snapshot.identity, services.base_url(request), str(request.query_params))
        found = recent.known(key)
        if found is None:
            found = await lane.run(recent.get, key, lambda: searched(request))
        return json_answer(request, found, identity=key[0])

    def searched(request: Request) -> bytes:
        return orjson.dumps(document(services, services.base_url(request), request.query_params))

    return [Route(f"/{PATH}", answer, methods=["GET"])]


def search_lane(services: Services) -> Lane:
    """Return the lane in which the protocols of this server search."""
    return services.lane("searches", _AT_ONCE)


def document(services: Services, base: str, query: QueryParams) -> dict[str, Any]:
    """Return the answer to a search. `base`: the public address of the services. Raises ProblemError (400)."""
    check_names(query.keys(), _PARAMETERS)
    with services.index.reading() as cursor:
        found = _found(cursor, query)
    found["links"] = _links(f"{base}/{PATH}", query, found)
    for result in found["results"]:
        place = f"{result['dataset']}/{result['vintage']}/{result['version']}"
        result["links"] = [
            link("describedby", f"{services.index.store.url('catalogue')}/{place}.json", "application/geo+json"),
            link("alternate", f"{base}/{found['lang']}/datasets/{place}/", "text/html"),
        ]
    return found


def _found(cursor: duckdb.DuckDBPyConnection, query: QueryParams) -> dict[str, Any]:
    words, language, facets = _words(query), _language(query), _facets(query)
    limit, offset = limit_of(single(query, "limit"), _DEFAULT, _MOST), offset_of(single(query, "offset"), _FARTHEST)
    sort = single(query, "sort") or ("relevance" if words else "published")
    check_names([sort], _SORTS, "value of sort")
    conditions, newest = _conditions(query), _newest(query)
    languages = tuple(LANGUAGES) if single(query, "lang") is None else (language,)
    matched, total = None, 0
    # Every word first; if no release has all of them, any word.
    for every in (True, False) if words else (True,):
        selection = Selection(
            conditions,
            matches(words, languages, every=every) if words else None,
            newest=newest,
            years=tuple(_YEAR.findall(words)),
        )
        chosen = selection.statement()
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE found AS {chosen.sql}", list(chosen.parameters))
        (total,) = cursor.execute("SELECT count(*) FROM found").fetchone() or (0,)
        matched = ("all" if every else "any") if words else None
        if total:
            break
    return {
        "q": words,
        "lang": language,
        "matched": matched,
        "numberMatched": total,
        "numberReturned": max(0, min(limit, total - offset)),
        "limit": limit,
        "offset": offset,
        "results": _results(cursor, language, sort, limit, offset),
        "facets": {name: _counts(cursor, name) for name in facets},
        "suggestions": suggestions(cursor, words, languages, alike=total == 0) if words else [],
    }


def _words(query: QueryParams) -> str:
    words = single(query, "q") or ""
    if len(words) > LONGEST:
        raise refused(f"q has {len(words):,} characters, and {LONGEST} are allowed", "Shorten it")
    if words and not has_words(words):
        raise refused(f"q='{words[:60]}' has no letter or digit", "Write words such as q=census population")
    return words


def _language(query: QueryParams) -> str:
    language = single(query, "lang") or "en"
    check_names([language], LANGUAGES, "language")
    return language


def _facets(query: QueryParams) -> list[str]:
    names = listed(single(query, "facet") or "", "facet")
    if names == ["all"]:
        return list(FACETS)
    check_names(names, FACETS, "facet")
    return list(dict.fromkeys(names))


def _newest(query: QueryParams) -> bool:
    versions = single(query, "versions") or "newest"
    check_names([versions], ("all", "newest"), "value of versions")
    return versions == "newest"


def _conditions(query: QueryParams) -> tuple[Condition, ...]:
    trees: list[Any] = [one_of(name, query.getlist(name)) for name in FACETS if query.getlist(name)]
    if (box := single(query, "bbox")) is not None:
        trees.append(box_tree(box))
    if (time := single(query, "datetime")) is not None:
        trees.append(time_tree(time))
    found = [condition(tree, COLUMNS) for tree in trees]
    if (text := single(query, "filter")) is not None:
        found.append(condition(text, COLUMNS, language=single(query, "filter-lang")))
    # A withdrawn release is never found.
    return (Condition("NOT is_withdrawn", ()), *found)


def _results(
    cursor: duckdb.DuckDBPyConnection, language: str, sort: str, limit: int, offset: int
) -> list[dict[str, Any]]:
    french = language == "fr"
    title = "coalesce(title_fr, title)" if french else "title"
    description = 'coalesce("d4c:description_fr", description)' if french else "description"
    keywords = '"d4c:keywords_fr"' if french else "keywords"
    # The page first: sorting all rows with their texts takes twice the time.
    cursor.execute(
        f"""CREATE OR REPLACE TEMP TABLE page AS
            SELECT position AS chosen, score FROM (
                SELECT position, score, published, id, {title} AS shown FROM {ENTRIES} JOIN found USING (position))
            ORDER BY {_SORTS[sort]} LIMIT ? OFFSET ?""",  # noqa: S608 - names of this module
        [limit, offset],
    )
    rows = cursor.execute(
        f"""SELECT id, dataset, vintage, version, is_latest AS latest, {title} AS shown, {description} AS description,
                {keywords} AS keywords, doi, published, start_datetime AS start, end_datetime AS end, rows, bytes,
                [box.xmin, box.ymin, box.xmax, box.ymax] AS bbox,
                {", ".join(f"facet_{name}" for name in FACETS)}, round(score, 3) AS score
            FROM {ENTRIES} JOIN page ON position = chosen ORDER BY {_SORTS[sort]}""",  # noqa: S608
    )
    names = [column[0].removeprefix("facet_") for column in rows.description or ()]
    names[names.index("shown")] = "title"
    return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]


def _counts(cursor: duckdb.DuckDBPyConnection, facet: str) -> list[dict[str, Any]]:
    rows = cursor.execute(
        f"""SELECT value, count(*) AS count FROM (
                SELECT unnest(facet_{facet}) AS value FROM {ENTRIES} WHERE position IN (SELECT position FROM found))
            GROUP BY value ORDER BY {"value DESC" if facet == "year" else "count DESC, value"} LIMIT {_FACET_VALUES}"""  # noqa: S608
    )
    return [{"value": value, "count": count} for value, count in rows.fetchall()]


def _links(address: str, query: QueryParams, found: dict[str, Any]) -> list[dict[str, Any]]:
    def at(offset: int) -> str:
        pairs = [(name, value) for name, value in query.multi_items() if name != "offset"]
        return f"{address}?{QueryParams([*pairs, ('offset', str(offset))])}"

    offset, limit = found["offset"], found["limit"]
    links = [link("self", f"{address}?{query}", JSON)]
    if offset + limit < min(found["numberMatched"], _FARTHEST + 1):
        links.append(link("next", at(offset + limit), JSON))
    if offset > 0:
        links.append(link("prev", at(max(0, offset - limit)), JSON))
    return links


PROTOCOL = Protocol(
    name="search",
    title="Search by words, facets, place and time (JSON)",
    path=PATH,
    routes=_routes,
    prepare=prepare,
    needs=("cql2",),
)
