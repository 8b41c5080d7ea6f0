"""All versions of all datasets in one STAC GeoParquet file, which readers query with one line of SQL.

Here belong the Arrow schema and the writer of that file; `stac_item` makes the items, `chain` selects them from the
ledger. Source of the format: https://stac-utils.github.io/stac-geoparquet, geoparquet.org.
"""

from __future__ import annotations

import copy
import errno
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from stac_geoparquet.arrow import parse_stac_items_to_arrow, to_parquet

from d4c_pipeline.catalogue.stac_item import item_place
from d4c_pipeline.model.errors import DataError, StorageError

# What a person wants to see first when the file is opened as a table; further columns follow by name, then the last.
_FIRST = (
    "id",
    "collection",
    "d4c:vintage",
    "version",
    "d4c:latest",
    "deprecated",
    "title",
    "d4c:title_fr",
    "sci:doi",
    "d4c:concept_doi",
    "d4c:test_doi",
    "table:row_count",
    "license",
    "published",
    "created",
    "start_datetime",
    "end_datetime",
    "datetime",
    "proj:code",
)
_LAST = ("assets", "links", "stac_extensions", "stac_version", "type", "bbox", "geometry")
_NOWHERE = {"type": "Polygon", "coordinates": []}
_ROW_GROUP_ROWS = 4096
_ZSTD_LEVEL = 9


def write_catalogue(items: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write `items` (finalised, in any order) as one STAC GeoParquet 1.1 file at `path`, atomically.

    The bytes depend on the items alone. Rows are ordered by dataset, vintage and version; items without geometry have
    an empty polygon and null in `bbox`; the columns of the base schema are there even without a single item. Raises
    DataError when two items have one id, an item is none of ours, or items disagree on the type of a field;
    StorageError when the disk is full or refuses.
    """
    table = catalogue_table(items)
    with _replacing(path) as temporary:
        # Without rows, only for the metadata that stac-geoparquet writes; it leaves out what only the rows tell.
        to_parquet(table.slice(0, 0), temporary)
        metadata = dict(pq.read_schema(temporary).metadata)
        metadata[b"geo"] = json.dumps(_complete(json.loads(metadata[b"geo"]), items)).encode()
        pq.write_table(
            table.replace_schema_metadata(metadata),
            temporary,
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            row_group_size=_ROW_GROUP_ROWS,
        )


def catalogue_table(items: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return `items` as an Arrow table in the form of STAC GeoParquet, ordered rows and columns.

    Raises DataError as `write_catalogue` does.
    """
    ordered = sorted(items, key=item_place)
    ids = [item["id"] for item in ordered]
    if len(set(ids)) < len(ids):
        twice = sorted({name for name in ids if ids.count(name) > 1})
        raise DataError(
            f"The catalogue would list {', '.join(twice)} twice", "Give write_catalogue one item per release"
        )
    # stac-geoparquet infers the schema from the rows: with a prototype among them that fills every field, a column
    # has its type also where all items leave it empty, and a catalogue without items is a readable file.
    rows = [_PROTOTYPE, *(_with_geometry(item) for item in ordered)]
    try:
        table = parse_stac_items_to_arrow(rows, drop_invalid_properties=False).read_all()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError) as error:
        raise DataError(
            f"The items of the catalogue don't fit into one table: {error}",
            "A field must have one type in all items: correct the item that differs",
        ) from error
    table = table.slice(1)
    index = table.schema.get_field_index("bbox")
    located = pa.array([n if _is_located(item) else None for n, item in enumerate(ordered)], pa.int64())
    # A null index takes a null.
    table = table.set_column(index, table.schema.field(index), table.column(index).take(located))
    middle = sorted(set(table.column_names) - {*_FIRST, *_LAST})
    return table.select([*_FIRST, *middle, *_LAST]).combine_chunks()


def _is_located(item: Mapping[str, Any]) -> bool:
    return item.get("geometry") is not None


def _with_geometry(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an item as readers can take it.

    A null geometry fails in stac-geoparquet and makes rustac panic (`geo-types does not support empty point`), so an
    item without a place has an empty polygon; its `bbox`, a stand-in here, is nulled later.
    """
    located = item if _is_located(item) else {**item, "geometry": _NOWHERE, "bbox": _PROTOTYPE["bbox"]}
    # Fields of structs stand in the order in which Arrow meets them: sorted keys make that the same for equal items.
    return json.loads(json.dumps(located, sort_keys=True))


def _complete(geo: dict[str, Any], items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Fill in what stac-geoparquet leaves empty: the box of all geometries and their types."""
    column = geo["columns"]["geometry"]
    column["geometry_types"] = sorted({(item.get("geometry") or _NOWHERE)["type"] for item in items})
    located = [item for item in items if _is_located(item)]
    if located:
        west, south, east, north = zip(*(item["bbox"] for item in located), strict=True)
        column["bbox"] = [min(west), min(south), max(east), max(north)]
    return geo


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` and put what was written there in its place, flushed to the disk."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        # Arrow raises OSError without a number where it fails in its own code.
        reason = os.strerror(error.errno) if error.errno else str(error)
        remedy = (
            "Free space on the disk"
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            else "Make the folder writable"
        )
        raise StorageError(f"The catalogue {path.name} can't be written: {reason}", remedy) from error


_TEXT = "text"
_MOMENT = "2021-01-01T00:00:00Z"
_FILE = {
    "href": _TEXT,
    "title": _TEXT,
    "type": _TEXT,
    "roles": [_TEXT],
    "file:size": 1,
    "file:checksum": _TEXT,
    "d4c:archive_href": _TEXT,
    "d4c:mirror_hrefs": [_TEXT],
}
_PROTOTYPE: dict[str, Any] = {
    "type": "Feature",
    "stac_version": _TEXT,
    "stac_extensions": [_TEXT],
    "id": _TEXT,
    "collection": _TEXT,
    "geometry": {"type": "Point", "coordinates": [0.0, 0.0]},
    "bbox": [0.0, 0.0, 0.0, 0.0],
    "properties": {
        **dict.fromkeys(("datetime", "start_datetime", "end_datetime", "created", "published"), _MOMENT),
        **dict.fromkeys(("title", "description", "license", "version", "sci:doi", "sci:citation", "proj:code"), _TEXT),
        **dict.fromkeys(("deprecated", "experimental", "d4c:latest", "d4c:test_doi"), True),
        **{name: [_TEXT] for name in ("keywords", "d4c:keywords_fr")},
        **{name: [_TEXT] for name in ("d4c:change_reasons", "d4c:key", "d4c:geometry_types")},
        **dict.fromkeys(("d4c:title_fr", "d4c:description_fr", "d4c:attribution", "d4c:attribution_fr"), _TEXT),
        **dict.fromkeys(("d4c:dataset", "d4c:vintage", "d4c:series", "d4c:identifier", "d4c:change"), _TEXT),
        **dict.fromkeys(("d4c:info_hash", "d4c:info_hash_v2", "d4c:magnet", "d4c:partition"), _TEXT),
        **dict.fromkeys(("d4c:archive", "d4c:archive_url", "d4c:concept_doi"), _TEXT),
        "providers": [{"name": _TEXT, "roles": [_TEXT], "url": _TEXT}],
        "table:row_count": 1,
        "table:primary_geometry": _TEXT,
        "table:columns": [dict.fromkeys(("name", "type", "description", "d4c:description_fr", "d4c:source"), _TEXT)],
    },
    "links": [{"rel": _TEXT, "href": _TEXT, "type": _TEXT, "title": _TEXT}],
    "assets": {key: copy.deepcopy(_FILE) for key in ("data", "manifest", "checksums", "profile", "torrent")},
}
