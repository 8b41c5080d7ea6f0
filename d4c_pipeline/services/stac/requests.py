"""Searches of STAC clients, from the query of a GET or the JSON of a POST, as selections of the query layer.

Source: https://github.com/stac-api-extensions (fields, filter, sort, free-text)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.datastructures import QueryParams

from d4c_pipeline.services.discovery.conditions import NOT_WITHDRAWN, conditions_of, one_of
from d4c_pipeline.services.discovery.entries import COLUMNS
from d4c_pipeline.services.discovery.paging import orders
from d4c_pipeline.services.discovery.parameters import (
    check_names,
    limit_of,
    listed,
    refused,
    single,
)
from d4c_pipeline.services.discovery.selection import Search, Selection
from d4c_pipeline.services.discovery.words import any_of

DEFAULT_LIMIT, DEFAULT_COLLECTIONS, MOST = 10, 100, 250
SEARCH_PARAMETERS = frozenset(
    {"bbox", "datetime", "limit", "token", "filter", "filter-lang", "filter-crs", "sortby", "fields", "q"}
    | {"ids", "collections", "intersects"}
)
COLLECTION_PARAMETERS = frozenset({"bbox", "datetime", "limit", "token", "q"})
"""The parameters of searches for items (pystac-client has the same within a dataset), and for collections."""
_NEWEST_FIRST = ["-published"]
_ALWAYS = ("type", "id", "collection")
"""Members that every item of an answer has, whatever `fields` names."""


@dataclass(frozen=True)
class Fields:
    """The members of items that an answer holds: those of `include` (empty: all) without those of `exclude`.

    A member that `include` names as `exclude` does, or more closely, stays.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def of(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return an item with these members; `type`, `id` and `collection` always stay."""
        found = item
        if self.include:
            found = {}
            for path in (*_ALWAYS, *self.include):
                _copy(item, found, path)
        for path in self.exclude:
            if path not in _ALWAYS:
                found = _without(found, path)
        for path in self.include:
            if any(path == each or path.startswith(f"{each}.") for each in self.exclude):
                _copy(item, found, path)
        return found


@dataclass(frozen=True)
class ItemSearch(Search):
    """A search for items, with the members of them that an answer holds."""

    fields: Fields


def of_query(query: QueryParams, dataset: str | None = None) -> ItemSearch:
    """Return the search of a GET, among the items of `dataset` if it is given. Raises ProblemError (400)."""
    check_names(query.keys(), SEARCH_PARAMETERS)
    stated: dict[str, Any] = {name: text for name in query if (text := single(query, name)) is not None}
    if "intersects" in stated:
        try:
            stated["intersects"] = orjson.loads(stated["intersects"])
        except orjson.JSONDecodeError as error:
            raise refused(f"intersects is not JSON ({error})", "Write a geometry in GeoJSON") from error
    if "fields" in stated:
        names = listed(stated["fields"], "fields")
        stated["fields"] = {
            "include": [name.lstrip("+ ") for name in names if not name.startswith("-")],
            "exclude": [name[1:] for name in names if name.startswith("-")],
        }
    return _search(stated, "cql2-text", dataset)


@dataclass(frozen=True)
class CollectionSearch:
    """Collections to find: what an item of them fulfils, the size of a page, the last dataset of the page before."""

    selection: Selection
    limit: int
    after: str


def of_collections(query: QueryParams) -> CollectionSearch:
    """Return the search of a GET of collections. Raises ProblemError (400)."""
    check_names(query.keys(), COLLECTION_PARAMETERS)
    stated: dict[str, Any] = {name: text for name in query if (text := single(query, name)) is not None}
    terms = listed(stated["q"], "q") if "q" in stated else []
    conditions = conditions_of(stated, "cql2-text")
    return CollectionSearch(
        # A dataset whose releases are all withdrawn is listed, but not found.
        Selection((NOT_WITHDRAWN, *conditions) if conditions else (), any_of(terms) if terms else None),
        limit_of(stated.get("limit"), DEFAULT_COLLECTIONS, MOST),
        stated.get("token", ""),
    )


def of_body(document: Mapping[str, Any]) -> ItemSearch:
    """Return the search of a POST. Raises ProblemError (400)."""
    check_names(document, SEARCH_PARAMETERS, "member")
    stated = {name: value for name, value in document.items() if value is not None}
    if "sortby" in stated:
        stated["sortby"] = _sort_of(stated["sortby"])
    return _search(stated, "cql2-json", None)


def _search(stated: Mapping[str, Any], language: str, dataset: str | None) -> ItemSearch:
    terms = listed(stated["q"], "q") if "q" in stated else []
    token = stated.get("token")
    if token is not None and not isinstance(token, str):
        raise refused("token is not a text", "Follow the links 'next'")
    conditions = [NOT_WITHDRAWN, *conditions_of(stated, language)]
    if dataset is not None:
        conditions.append(one_of("collection", [dataset], "collections"))
    conditions += [
        one_of(column, stated[name], name)
        for name, column in (("ids", "id"), ("collections", "collection"))
        if name in stated
    ]
    return ItemSearch(
        Selection(tuple(conditions), any_of(terms) if terms else None),
        orders(listed(stated["sortby"], "sortby") if "sortby" in stated else _NEWEST_FIRST, COLUMNS),
        limit_of(stated.get("limit"), DEFAULT_LIMIT, MOST),
        token,
        _fields_of(stated.get("fields")),
    )


def _sort_of(value: Any) -> list[str]:
    """Return the keys of a POST's `sortby` in the form of a GET's."""
    match value:
        case list() if all(isinstance(each, dict) and isinstance(each.get("field"), str) for each in value):
            pass
        case _:
            raise refused("sortby is not a list of fields", 'Write [{"field": "published", "direction": "desc"}]')
    found: list[str] = []
    for each in value:
        direction = each.get("direction", "asc")
        check_names([str(direction)], ("asc", "desc"), "direction")
        found.append(f"{'-' if direction == 'desc' else '+'}{each['field']}")
    return found


def _fields_of(value: Any) -> Fields:
    if value is None:
        return Fields()
    if not isinstance(value, dict):
        raise refused("fields is not an object", 'Write {"include": [...], "exclude": [...]}')
    check_names(value, ("include", "exclude"), "member of fields")
    include, exclude = (tuple(listed(value.get(name) or [], "fields")) for name in ("include", "exclude"))
    return Fields(include, exclude)


def _copy(source: Mapping[str, Any], target: dict[str, Any], path: str) -> None:
    """Copy the member at `path` (names with dots) if there is one; names of extensions have no dots."""
    first, _, rest = path.partition(".")
    if first not in source:
        return
    if not rest or not isinstance(source[first], dict):
        target[first] = source[first]
        return
    inner = target.get(first)
    # A member that is already there came as a whole: it has what the longer path names.
    target[first] = inner = dict(inner) if isinstance(inner, dict) else {}
    _copy(source[first], inner, rest)


def _without(source: dict[str, Any], path: str) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    if first not in source:
        return source
    if not rest:
        return {name: value for name, value in source.items() if name != first}
    inner = source[first]
    return {**source, first: _without(inner, rest)} if isinstance(inner, dict) else source
