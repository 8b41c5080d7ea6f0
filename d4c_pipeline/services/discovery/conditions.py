"""The conditions that the protocols of OGC and STAC share: place, time, filter, lists of names.

Each protocol reads its own request into members by name; what they are called there is the same in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from d4c_pipeline.services.cql2 import Column, Condition, condition
from d4c_pipeline.services.discovery.entries import COLUMNS
from d4c_pipeline.services.discovery.parameters import box_tree, listed, refused, time_tree

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
NOT_WITHDRAWN = Condition("NOT is_withdrawn", ())
"""Withdrawn releases stay at their own addresses, and no search finds them."""


def conditions_of(stated: Mapping[str, Any], language: str) -> list[Condition]:
    """Return the conditions of `bbox`, `intersects` (GeoJSON), `datetime`, and `filter` in the default `language`.

    Raises ProblemError (400).
    """
    if "bbox" in stated and "intersects" in stated:
        raise refused("Both bbox and intersects are given", "Give one of them")
    trees: list[Any] = []
    if "bbox" in stated:
        trees.append(box_tree(stated["bbox"]))
    if "intersects" in stated:
        trees.append({"op": "s_intersects", "args": [{"property": "geometry"}, _geometry(stated["intersects"])]})
    if "datetime" in stated:
        trees.append(time_tree(stated["datetime"]))
    found = [condition(tree, COLUMNS) for tree in trees]
    if stated.get("filter-crs", CRS84) != CRS84:
        raise refused(f"filter-crs={str(stated['filter-crs'])[:100]} is not supported", f"Use {CRS84}")
    if "filter" in stated:
        found.append(filter_of(stated["filter"], stated.get("filter-lang", language), COLUMNS))
    return found


def filter_of(stated: Any, language: Any, columns: Mapping[str, Column]) -> Condition:
    """Return the condition of a filter: a text in `language`, or a tree of CQL2 JSON. Raises ProblemError (400)."""
    if language not in ("cql2-text", "cql2-json"):
        raise refused(f"filter-lang={str(language)[:60]} is unknown", "Use cql2-text or cql2-json")
    if isinstance(stated, str):
        return condition(stated, columns, language=language)
    if not isinstance(stated, dict | bool):
        raise refused("filter is neither a text nor a JSON object", "Write a filter in CQL2")
    return condition(stated, columns)


def one_of(column: str, stated: Any, name: str) -> Condition:
    """Return the condition that a column has a value of the list `stated`, the parameter `name`."""
    return Condition(f"{COLUMNS[column].sql} IN (SELECT unnest(CAST(? AS VARCHAR[])))", (listed(stated, name),))


def _geometry(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise refused(
            "intersects is not a geometry", 'Write GeoJSON such as {"type": "Point", "coordinates": [-75, 45]}'
        )
    return {name: value[name] for name in ("type", "coordinates", "geometries") if name in value}
