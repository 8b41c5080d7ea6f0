"""The fixed Arrow schema of the catalogue's Parquet files, and the conversion of items to its rows.

The columns and their types, the same for every catalogue, belong here. Writing files belongs to `stac_geoparquet`, the
fields of items to `stac_item`.
Source of the form: https://radiantearth.github.io/stac-geoparquet-spec/
"""

# pyarrow.compute creates its functions at import, so type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from d4c_pipeline.catalogue.item_assets import ARCHIVE, KINDS, MIRRORS
from d4c_pipeline.catalogue.item_links import links_elsewhere
from d4c_pipeline.catalogue.stac_item import utc_text
from d4c_pipeline.catalogue.static_stac import Entry
from d4c_pipeline.model.errors import DataError

_TEXT, _TEXTS, _WHOLE, _TRUTH = pa.string(), pa.list_(pa.string()), pa.int64(), pa.bool_()
_MOMENT = pa.timestamp("ms", tz="UTC")
_MOMENTS = ("start_datetime", "end_datetime", "datetime", "created", "published", "withdrawn_at")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _struct(**fields: pa.DataType) -> pa.StructType:
    return pa.struct(list(fields.items()))


_ALTERNATE = _struct(**{key: _struct(href=_TEXT) for key in (ARCHIVE, *MIRRORS)})
_ASSET = pa.struct(
    [
        ("href", _TEXT),
        ("type", _TEXT),
        ("title", _TEXT),
        ("d4c:title_fr", _TEXT),
        ("roles", _TEXTS),
        ("file:size", _WHOLE),
        ("file:checksum", _TEXT),
        ("alternate", _ALTERNATE),
    ]
)
_TORRENT = pa.struct([*_ASSET, ("d4c:current_href", _TEXT)])
_PART = _struct(
    name=_TEXT,
    href=_TEXT,
    size=_WHOLE,
    sha256=_TEXT,
    rows=_WHOLE,
    bbox=pa.list_(pa.float64()),
    torrent=_TEXT,
    magnet=_TEXT,
)
_COLUMN = pa.struct([(name, _TEXT) for name in ("name", "type", "description", "d4c:description_fr", "d4c:source")])
PARTS, CHANGES = "d4c:parts", "d4c:changes"
SQL_COLUMNS = (
    ("dataset", _TEXT),
    ("vintage", _TEXT),
    ("version", _TEXT),
    ("is_latest", _TRUTH),
    # Beside each other: DuckDB fetches the columns of "where is the newest version" in one request.
    ("data_urls", _TEXTS),
    ("doi", _TEXT),
    ("concept_doi", _TEXT),
    ("rows", _WHOLE),
    ("bytes", _WHOLE),
    ("archive_url", _TEXT),
    ("torrent_url", _TEXT),
    ("magnet", _TEXT),
    ("sha256", _TEXT),
    ("licence", _TEXT),
    ("providers", pa.list_(_struct(name=_TEXT, roles=_TEXTS, url=_TEXT))),
    ("title", _TEXT),
    ("title_fr", _TEXT),
    ("withdrawn_reason", _TEXT),
)
"""The first columns, one fact each."""

_PROPERTIES = (
    *((name, _MOMENT) for name in _MOMENTS),
    ("description", _TEXT),
    ("keywords", _TEXTS),
    ("license", _TEXT),
    ("deprecated", _TRUTH),
    ("experimental", _TRUTH),
    ("sci:doi", _TEXT),
    ("sci:citation", _TEXT),
    ("proj:code", _TEXT),
    ("table:row_count", _WHOLE),
    ("table:primary_geometry", _TEXT),
    ("table:columns", pa.list_(_COLUMN)),
    ("d4c:dataset", _TEXT),
    ("d4c:vintage", _TEXT),
    ("d4c:series", _TEXT),
    ("d4c:latest", _TRUTH),
    ("d4c:title_fr", _TEXT),
    ("d4c:description_fr", _TEXT),
    ("d4c:keywords_fr", _TEXTS),
    ("d4c:attribution", _TEXT),
    ("d4c:attribution_fr", _TEXT),
    ("d4c:languages", _TEXTS),
    ("d4c:identifier", _TEXT),
    ("d4c:change", _TEXT),
    ("d4c:change_reasons", _TEXTS),
    (CHANGES, pa.list_(_struct(code=_TEXT, arguments=_TEXT))),
    ("d4c:key", _TEXTS),
    ("d4c:geometry_types", _TEXTS),
    ("d4c:place", _TEXT),
    ("d4c:partition", _TEXT),
    ("d4c:info_hash", _TEXT),
    ("d4c:info_hash_v2", _TEXT),
    ("d4c:magnet", _TEXT),
    ("d4c:archive", _TEXT),
    ("d4c:archive_url", _TEXT),
    ("d4c:concept_doi", _TEXT),
    ("d4c:test_doi", _TRUTH),
)
_STAC = (
    ("id", _TEXT),
    ("collection", _TEXT),
    ("stac_version", _TEXT),
    ("stac_extensions", _TEXTS),
    ("type", _TEXT),
    ("links", pa.list_(_struct(rel=_TEXT, href=_TEXT, type=_TEXT, title=_TEXT))),
    ("assets", pa.struct([(key, _TORRENT if key == "torrent" else _ASSET) for key in KINDS])),
    ("bbox", _struct(**dict.fromkeys(CORNERS, pa.float64()))),
)
SCHEMA = pa.schema(
    [
        *SQL_COLUMNS,
        *_STAC[:2],
        *_PROPERTIES,
        (PARTS, pa.list_(_PART)),
        *_STAC[2:],
        ("geometry", pa.binary()),
    ]
)
"""Every column of the catalogue, in order."""

_OF_PROPERTIES = tuple(name for name, _ in (*SQL_COLUMNS, *_PROPERTIES))


def rows_of(items: Iterable[Mapping[str, Any]], address: str, base_url: str | None) -> pa.Table:
    """Return finalised `items` as rows of `SCHEMA`, in the same order, for the file at `address` of a store.

    Links are absolute with `base_url`, the public address of the store, else relative to that file. The column
    `d4c:parts` has the parts of data; properties without a column are left out. Raises DataError when a field has
    another type than its column.
    """
    rows = [_row(item, address, base_url) for item in items]
    places = shapely.to_wkb(shapely.from_geojson([row.pop("geometry") for row in rows]), flavor="iso")
    try:
        columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in list(SCHEMA)[:-1]]
        return pa.Table.from_arrays([*columns, pa.array(list(places), pa.binary())], schema=SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
        raise DataError(
            f"The items of the catalogue don't fit into one table: {error}",
            "A field must have the type that catalogue/arrow_schema.py says: correct the item that differs",
        ) from error


def rows_of_dataset(rows: pa.Table, dataset: str) -> pa.Table:
    """Return rows of a dataset from the file of all datasets in the form for the dataset's own file.

    Relative links resolve from that file; absolute links stay.
    """
    index = rows.schema.get_field_index("links")
    links = rows.column(index).combine_chunks()
    if isinstance(links, pa.ChunkedArray):
        links = pa.concat_arrays(links.chunks)
    fields = [links.values.field(name) for name in ("rel", "href", "type", "title")]
    moved = pc.replace_substring_regex(fields[1], r"^\./catalog\.json$", "../catalog.json")
    fields[1] = pc.replace_substring_regex(moved, rf"^\./{re.escape(dataset)}/", "./")
    values = pa.StructArray.from_arrays(fields, fields=list(links.type.value_type))
    return rows.set_column(index, SCHEMA.field(index), pa.ListArray.from_arrays(links.offsets, values, links.type))


def entries_of(rows: pa.Table) -> list[Entry]:
    """Return the facts of items for their collection, from rows in the columns of `SCHEMA`."""
    names = ["id", "title", "vintage", "version", "is_latest", "bbox", "start_datetime", "end_datetime", "proj:code"]
    return [
        Entry(
            id=row["id"],
            title=row["title"],
            vintage=row["vintage"],
            version=row["version"],
            latest=row["is_latest"],
            box=(row["bbox"]["xmin"], row["bbox"]["ymin"], row["bbox"]["xmax"], row["bbox"]["ymax"]),
            start=utc_text(row["start_datetime"]),
            end=utc_text(row["end_datetime"]),
            code=row["proj:code"],
        )
        for row in rows.select(names).to_pylist()
    ]


def _row(item: Mapping[str, Any], address: str, base_url: str | None) -> dict[str, Any]:
    properties: Mapping[str, Any] = item["properties"]
    row: dict[str, Any] = {name: properties.get(name) for name in _OF_PROPERTIES}
    for name in _MOMENTS:
        row[name] = _moment(row[name])
    for name in ("id", "collection", "stac_version", "stac_extensions", "type", "assets"):
        row[name] = item[name]
    row["links"] = links_elsewhere(item, address, base_url)
    row["bbox"] = dict(zip(CORNERS, item["bbox"], strict=True))
    row[PARTS] = _parts(item["assets"]) or None
    row["geometry"] = orjson.dumps(item["geometry"]).decode()
    return row


def _parts(assets: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the parts of the data, by name; an empty list for data in one file."""
    found: list[dict[str, Any]] = []
    for asset in assets.values():
        name = asset.get("d4c:part")
        if name is None:
            continue
        torrent = assets.get(f"torrent-{name}", {})
        found.append(
            {
                "name": name,
                "href": asset["href"],
                "size": asset["file:size"],
                "sha256": asset["file:checksum"].removeprefix("1220"),
                "rows": asset.get("d4c:rows"),
                "bbox": asset.get("d4c:bounds"),
                "torrent": torrent.get("d4c:current_href") or torrent.get("href"),
                "magnet": asset.get("d4c:magnet"),
            }
        )
    return found


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
