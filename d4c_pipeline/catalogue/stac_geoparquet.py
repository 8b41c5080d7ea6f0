"""The catalogue as STAC GeoParquet: all versions of all datasets in one file, and each dataset in its own file.

The encoding of row groups and the file's metadata belong here, the columns to `arrow_schema`, the growing of the file
to `grouped_file`. `chain` selects the releases.
Source of the format: https://radiantearth.github.io/stac-geoparquet-spec/, https://geoparquet.org
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS

from d4c_pipeline.catalogue.arrow_schema import CORNERS, SCHEMA, rows_of
from d4c_pipeline.catalogue.grouped_file import Form, writing
from d4c_pipeline.catalogue.row_groups import GROUP_ROWS
from d4c_pipeline.catalogue.stac_item import item_place
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET
from d4c_pipeline.model.errors import DataError

STAC_GEOPARQUET = "1.1.0"
# Below this number of rows, ZSTD's start for each of 236 columns takes three times as long as all else.
_SMALL = 500
_COVERING = tuple(f"bbox.{corner}" for corner in CORNERS)
# Readers prune row groups by these columns; statistics of other columns would only lengthen the footer.
_WITH_STATISTICS = ("dataset", "vintage", "is_latest", "doi", "id", "collection", *_COVERING)
# Neighbours differ in a few characters: less than half of the bytes for a reader who looks for the newest version.
_ENCODINGS = dict.fromkeys(("version", "data_urls.list.element"), "DELTA_BYTE_ARRAY")
_TYPES = {0: "Point", 1: "LineString", 3: "Polygon", 6: "MultiPolygon"}


def write_catalogue(items: Iterable[Mapping[str, Any]], path: Path, base_url: str | None = None) -> None:
    """Write `items` (finalised, in any order) as the STAC GeoParquet of all datasets at `path`, atomically.

    The bytes depend on the arguments alone. Links are absolute with `base_url`, the public address of the store. Rows
    are ordered by dataset, vintage and version; row groups end between datasets. Raises DataError when two items have
    the same id, an item is not from this catalogue, or a field has another type than its column; StorageError when the
    disk is full or refuses access.
    """
    ordered = sorted(items, key=item_place)
    if twice := sorted(name for name, count in Counter(item["id"] for item in ordered).items() if count > 1):
        raise DataError(
            f"The catalogue would list {', '.join(twice)} twice", "Give write_catalogue one item per release"
        )
    with writing(path, STAC) as file:
        for dataset, own in groupby(ordered, key=lambda item: str(item["collection"])):
            file.put(dataset, rows_of(list(own), CATALOGUE_PARQUET, base_url))


def dataset_file(rows: pa.Table, collection: Mapping[str, Any]) -> bytes:
    """Return the rows of a dataset, in the columns of `SCHEMA`, as a file of its own."""
    box, types = _places(rows)
    sink = pa.BufferOutputStream()
    with _writer(sink, small=rows.num_rows < _SMALL) as writer:
        writer.write_table(rows, row_group_size=GROUP_ROWS)
        writer.add_key_value_metadata(_metadata([box], [types], {collection["id"]: collection}))
    return sink.getvalue().to_pybytes()


def encoded(rows: pa.Table) -> pa.Buffer:
    """Return rows in the columns of `SCHEMA` as a Parquet file with one row group."""
    sink = pa.BufferOutputStream()
    with _writer(sink) as writer:
        writer.write_table(rows, row_group_size=max(1, rows.num_rows))
    return sink.getvalue()


def _places(rows: pa.Table) -> tuple[list[float], list[str]]:
    """Return the box of the geometries of `rows` and their types, sorted."""
    places = shapely.from_wkb(rows.column("geometry").to_numpy())
    types = {_TYPES[int(kind)] for kind in set(shapely.get_type_id(places).tolist())}
    return shapely.total_bounds(places).tolist(), sorted(types)


def _writer(sink: pa.NativeFile | io.BytesIO, *, small: bool = False) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        sink,
        SCHEMA,
        compression=_small_compression() if small else "zstd",  # pyright: ignore[reportArgumentType]
        use_dictionary=False,
        column_encoding=_ENCODINGS,
        write_statistics=list(_WITH_STATISTICS),  # pyright: ignore[reportArgumentType]
        store_schema=False,
    )


@cache
def _small_compression() -> dict[str, str]:
    """Return the compression of each column of a small file. Readers expect ZSTD for the geometry."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, SCHEMA):
        pass
    schema = pq.ParquetFile(sink).schema
    paths = [schema.column(number).path for number in range(len(schema))]
    return dict.fromkeys(paths, "snappy") | {"geometry": "zstd"}


def _template(groups: Sequence[Mapping[str, Any]], metadata: Mapping[str, str]) -> bytes:
    boxes, types = [each["bbox"] for each in groups], [each["geometry_types"] for each in groups]
    sink = io.BytesIO()
    with _writer(sink) as writer:
        writer.add_key_value_metadata({**_metadata(boxes, types, {}), **metadata})
    return sink.getvalue()


def _facts(rows: pa.Table) -> dict[str, Any]:
    box, types = _places(rows)
    return {"bbox": box, "geometry_types": types}


def _metadata(
    boxes: Sequence[Sequence[float]], types: Sequence[Sequence[str]], collections: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Return the metadata of a file: GeoParquet 1.1 with covering, and STAC GeoParquet."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "crs": _crs(),
        "geometry_types": sorted({kind for group in types for kind in group}),
        "orientation": "counterclockwise",
        "covering": {"bbox": {corner: ["bbox", corner] for corner in CORNERS}},
    }
    if boxes:
        west, south, east, north = zip(*boxes, strict=True)
        column["bbox"] = [min(west), min(south), max(east), max(north)]
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    stac: dict[str, Any] = {"version": STAC_GEOPARQUET}
    if collections:
        stac["collections"] = dict(collections)
    return {
        "geo": json.dumps(geo, sort_keys=True),
        "stac-geoparquet": json.dumps(stac, sort_keys=True),
    }


@cache
def _crs() -> dict[str, Any]:
    # EPSG:4326 has an EPSG code, unlike the default OGC:CRS84; GeoParquet fixes the order to longitude, latitude.
    return CRS.from_epsg(4326).to_json_dict()


STAC = Form(schema=SCHEMA, encoded=encoded, facts=_facts, template=_template)
"""The form of the file of all datasets. The facts of a row group are its box and its geometry types."""
