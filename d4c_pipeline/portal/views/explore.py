"""The panel with map, table and SQL: whether there is a map, examples of queries, and the facts for the scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from d4c_pipeline.metadata.published import Bounds, PublishedFile
from d4c_pipeline.metadata.records.documents import plain, shortened
from d4c_pipeline.model.release import ArtifactRole
from d4c_pipeline.portal.facts import ReleaseFacts
from d4c_pipeline.portal.views import columns
from d4c_pipeline.portal.words import Words
from d4c_pipeline.tables.columns import BBOX, GEOMETRY

DRAWN_BYTES = 1_000_000
"""The largest GeoParquet that the map draws itself; larger data is drawn from tiles."""
_DEGREES = ("EPSG:4326", "OGC:CRS84", "EPSG:4269", "EPSG:4617")


def queries(facts: ReleaseFacts) -> Iterator[str]:
    """Examples for the SQL panel: groups of the column with fewest values, and the extremes of a number."""
    named = {
        column.name: facts.columns[column.name] for column in facts.published.columns if column.name in facts.columns
    }
    kinds = {column.name: column.type for column in facts.published.columns}
    texts = [
        (each.distinct, name)
        for name, each in named.items()
        if kinds[name].endswith("string") and (each.distinct or 0) > 1
    ]
    if texts:
        name = _quoted(min(texts)[1])
        yield f"SELECT {name}, count(*) AS n\nFROM data\nGROUP BY {name}\nORDER BY n DESC\nLIMIT 20"
    numbers = [name for name in named if columns.is_number(kinds[name])]
    if numbers:
        name = _quoted(numbers[-1])
        yield f"SELECT min({name}) AS least, avg({name}) AS mean, max({name}) AS greatest\nFROM data"
    yield "SELECT *\nFROM data\nLIMIT 10"


def _quoted(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else '"' + name.replace('"', '""') + '"'


def mapped(facts: ReleaseFacts, words: Words) -> tuple[bool, str | None]:
    """Return whether the page has a map, else the sentence in its place."""
    published = facts.published
    if not published.geometry_types or published.place is None or published.place.origin != "data":
        return False, words["explore"]["no_place"]
    if _tiles(facts) is not None or _is_drawn(facts):
        return True, None
    return False, words["explore"]["too_large"]


def _is_drawn(facts: ReleaseFacts) -> bool:
    """Return whether the map draws the GeoParquet itself: small, one file, in degrees."""
    published = facts.published
    return facts.data.size <= DRAWN_BYTES and len(published.data_files) == 1 and published.crs in _DEGREES


def _tiles(facts: ReleaseFacts) -> PublishedFile | None:
    return next((file for file in facts.published.files if file.role is ArtifactRole.TILES), None)


def script(facts: ReleaseFacts, words: Words, *, has_map: bool) -> Mapping[str, Any]:
    """What the scripts of the page need, as JSON in the page."""
    published, texts = facts.published, words["explore"]
    tiles = _tiles(facts)
    drawn = _is_drawn(facts)
    wanted = ("rows", "meter", "run", "stop", "running", "stopped", "answered", "failed", "unreadable")
    return {
        "files": [
            {"url": published.url(file), "size": file.size, "rows": file.rows or 0} for file in published.data_files
        ],
        "columns": [
            {
                "name": column.name,
                "description": shortened(columns.meaning(column, words), 200),
                "number": columns.is_number(column.type),
                "kind": "number"
                if columns.is_number(column.type)
                else "string"
                if column.type.endswith("string")
                else "",
            }
            for column in published.columns
            if column.name != GEOMETRY or not published.geometry_types
        ],
        "mapped": has_map,
        "geometry": GEOMETRY,
        # The box of a row in degrees, with which the map finds a feature in tiles that it has not loaded.
        "covering": BBOX if published.crs in _DEGREES else None,
        "bounds": _bounds(facts),
        "tiles": published.url(tiles) if tiles and not drawn else None,
        "attribution": (published.attribution and plain(getattr(published.attribution, words.language))) or "",
        "words": {
            **{name: texts[name] for name in wanted},
            "noRanges": texts["no_ranges"],
            "noWebgl": texts["no_webgl"],
            "noMap": texts["no_map"],
            "map": words["map"],
        },
    }


def _bounds(facts: ReleaseFacts) -> Bounds | None:
    """Return the box that the map opens at; the globe's breadth for data across 180 degrees."""
    place = facts.published.place
    if place is None:
        return None
    west, south, east, north = place.boxes[0]
    return (west, south, east, north) if len(place.boxes) == 1 else (-180.0, south, 180.0, north)
