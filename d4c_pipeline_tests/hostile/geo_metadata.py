"""What a GeoParquet says of its geometry, said wrong."""

# ruff: noqa: E501 - bytes are made in one expression where that is the clearest

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline_tests.hostile.attack import Attack

_POINT = struct.pack("<BIdd", 1, 1, -75.0, 45.0)
_CLEAR = ("",)


def attacks() -> Iterator[Attack]:
    """Yield the attacks."""
    column = {"encoding": "WKB", "geometry_types": []}
    good = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    odd: dict[str, Any] = {
        "not JSON": "{", "blank": "", "null": "null", "a list": "[]", "a number": "7", "a text": '"geometry"',
        "NaN": '{"columns": NaN}', "not UTF-8": b"\xff\xfe{}", "deep": deep, "deep list": "[" * 100_000,
        "2 GB number": '{"version": ' + "9" * 100_000 + "}",
        "columns null": {**good, "columns": None}, "columns a list": {**good, "columns": ["geometry"]},
        "columns a text": {**good, "columns": "geometry"}, "columns of texts": {**good, "columns": {"geometry": "WKB"}},
        "columns of lists": {**good, "columns": {"geometry": [column]}}, "no columns": {"version": "1.1.0"},
        "columns not there": {**good, "primary_column": "x", "columns": {"x": column}},
        "primary not there": {**good, "primary_column": "x"}, "primary a number": {**good, "primary_column": 7},
        "primary a list": {**good, "primary_column": ["geometry"]}, "primary null": {**good, "primary_column": None},
        "primary not described": {**good, "primary_column": "a"},
        "a name of 1 MB": {**good, "columns": {"x" * 1_000_000: column}},
        "many columns": {**good, "columns": {f"x{n}": column for n in range(50_000)}},
        **{
            f"{key} {name}": {**good, "columns": {"geometry": {**column, key: value}}}
            for key in ("encoding", "crs", "edges", "epoch", "orientation", "bbox", "covering", "geometry_types")
            for name, value in {
                "a number": 7, "a list": [1, [2]], "a mapping": {"a": {"b": []}}, "true": True, "a text": "x",
                "empty": "", "null": None, "big": 1e308, "a long text": "x" * 1_000_000,
            }.items()
        },
        "crs deep": json.dumps({**good, "columns": {"geometry": {**column, "crs": 7}}}).replace("7", deep),
        "crs of a pipeline": {**good, "columns": {"geometry": {**column, "crs": "+proj=pipeline +step +proj=merc"}}},
        "crs of a file": {**good, "columns": {"geometry": {**column, "crs": "/etc/passwd"}}},
        "crs of NULs": {**good, "columns": {"geometry": {**column, "crs": "EPSG:\x004326"}}},
        "crs of a surrogate": json.dumps({**good, "columns": {"geometry": {**column, "crs": "\ud800"}}}),
        "crs not of the Earth": {**good, "columns": {"geometry": {**column, "crs": "IAU_2015:49900"}}},
        "crs a projjson of nothing": {**good, "columns": {"geometry": {**column, "crs": {"type": "GeographicCRS"}}}},
        "crs a projjson of the wrong type": {**good, "columns": {"geometry": {**column, "crs": {"type": "Ellipsoid", "name": "x"}}}},
        "covering xmin a number": {**good, "columns": {"geometry": {**column, "covering": {"bbox": {"xmin": 7}}}}},
        "covering xmin of mappings": {**good, "columns": {"geometry": {**column, "covering": {"bbox": {"xmin": [{"a": 1}]}}}}},
        "covering is the geometry": {**good, "columns": {"geometry": {**column, "covering": {"bbox": {"xmin": ["geometry", "xmin"]}}}}},
        "encoding point": {**good, "columns": {"geometry": {**column, "encoding": "point"}}},
    }  # fmt: skip
    for name, said in odd.items():
        text = said if isinstance(said, str | bytes) else json.dumps(said)
        yield Attack(f"geo metadata: {name}", "a.parquet", lambda p, t=text: geo(p, t), (), "vector")
    extensions: dict[str, Any] = {
        "not JSON": b"{", "a list": b"[]", "a number": b"7", "deep": deep.encode(), "crs a number": b'{"crs": 7}',
        "crs a list": b'{"crs": []}', "edges a list": b'{"edges": [1]}', "not UTF-8": b"\xff",
    }  # fmt: skip
    for name, said in extensions.items():
        for kind in ("geoarrow.wkb", "geoarrow.point", "geoarrow.\xff", "geoarrow.wkt"):
            yield Attack(
                f"{kind} metadata: {name}", "a.parquet", lambda p, k=kind, t=said: extended(p, k, t), (), "vector"
            )


def geo(path: Path, said: str | bytes) -> None:
    """A Parquet with a column of points and this `geo` metadata."""
    table = pa.table({"a": [1, 2], "geometry": pa.array([_POINT, _POINT], pa.binary())})
    pq.write_table(table.replace_schema_metadata({b"geo": said}), path)


def extended(path: Path, kind: str, said: bytes) -> None:
    """A Parquet with a column of points that an Arrow extension type describes so."""
    metadata = {b"ARROW:extension:name": kind.encode("latin-1"), b"ARROW:extension:metadata": said}
    shape = pa.field("geometry", pa.binary(), metadata=metadata)
    columns = [pa.array([1, 2]), pa.array([_POINT, _POINT], pa.binary())]
    pq.write_table(pa.table(columns, schema=pa.schema([pa.field("a", pa.int64()), shape])), path)
