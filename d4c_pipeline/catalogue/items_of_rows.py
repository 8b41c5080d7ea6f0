"""Items from rows of the catalogue's Parquet file: the inverse of `arrow_schema.rows_of`.

The file has columns for the assets of one data file only. Those of parts, numbered assets and further mirrors follow
from the files of a release, which the records list (`record_parts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urljoin

import orjson
import pyarrow as pa
import shapely

from d4c_pipeline.catalogue.arrow_schema import CORNERS, PARTS
from d4c_pipeline.catalogue.item_assets import Addresses, listed_assets
from d4c_pipeline.catalogue.stac_item import utc_text
from d4c_pipeline.metadata.published import PublishedFile
from d4c_pipeline.model.parts import Part

_MEMBERS = ("type", "stac_version", "stac_extensions", "id", "collection")
_NOT_PROPERTIES = frozenset({*_MEMBERS, "links", "assets", "bbox", "geometry", PARTS})


def items_of(
    rows: pa.Table, address: str, files: Mapping[str, Sequence[PublishedFile]] | None = None
) -> list[dict[str, Any]]:
    """Return the items of rows in the columns of `SCHEMA`, in the same order.

    `address`: the address of the Parquet file; relative links are resolved from it. `files`: the files of releases by
    id; a release that is not among them has the assets of the columns. A field without a value is left out, but
    `datetime`, which an item must have.
    """
    places = shapely.to_geojson(shapely.from_wkb(rows.column("geometry").to_numpy()))
    columns = rows.drop_columns(["geometry"]).to_pylist()
    known = files or {}
    return [_item(row, place, address, known.get(row["id"], ())) for row, place in zip(columns, places, strict=True)]


def _item(row: Mapping[str, Any], place: str, address: str, files: Sequence[PublishedFile]) -> dict[str, Any]:
    properties = {name: _plain(value) for name, value in row.items() if name not in _NOT_PROPERTIES}
    assets = _plain(row["assets"])
    return {
        **{name: row[name] for name in _MEMBERS},
        "geometry": orjson.loads(place),
        "bbox": [row["bbox"][corner] for corner in CORNERS],
        "properties": {"datetime": None, **{name: value for name, value in properties.items() if value is not None}},
        "assets": _assets(row, assets, files) if files else assets,
        "links": [{**_plain(link), "href": urljoin(address, link["href"])} for link in row["links"]],
    }


def _assets(
    row: Mapping[str, Any], assets: Mapping[str, Mapping[str, Any]], files: Sequence[PublishedFile]
) -> dict[str, Any]:
    """Return the assets of the files of a release; `assets` are those of the columns."""
    named = {each["href"].rpartition("/")[2]: each["href"] for each in assets.values()}
    named |= {each["href"].rpartition("/")[2]: each["href"] for each in row[PARTS] or ()}
    # Files of a release lie in one folder of the store.
    folder = next(iter(named.values()), "").rpartition("/")[0]
    torrents = {file.name: file.torrent for file in files if file.torrent is not None}
    current = {part["name"]: part["torrent"] for part in row[PARTS] or () if part["torrent"] is not None}
    if "torrent" in assets and (href := assets["torrent"].get("d4c:current_href")) is not None:
        current[""] = href
    return listed_assets(
        row["id"],
        files,
        spatial=bool(row["d4c:geometry_types"]) or row["d4c:place"] == "data",
        parts={file.part: Part(file.part, file.rows or 0, file.bounds) for file in files if file.part},
        archived={file.name: file.archive for file in files if file.archive is not None},
        torrents=torrents,
        addresses=Addresses(
            {file.name: f"{folder}/{file.name}" for file in files},
            {file.name: file.mirrors for file in files},
            {
                name: current[file.part]
                for name, file in ((each.name, each) for each in files)
                if name in torrents and file.part in current
            },
        ),
    )


def _plain(value: Any) -> Any:
    """Return a value of a column as JSON has it: no members without a value, times as text."""
    if isinstance(value, dict):
        plain = {name: _plain(each) for name, each in value.items() if each is not None}
        return {name: each for name, each in plain.items() if each != {}}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return utc_text(value) if isinstance(value, datetime) else value
