"""Writes the rows of a plan in a format: a stream of bytes, or a file for formats that need random access.

GeoPackage and FlatGeobuf are written by GDAL from a GeoParquet file of the rows (`processing.derived.desktop`).
GeoJSON belongs to `geojson`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import shapely

from d4c_pipeline.geoparquet import GeometryLayout, covering, geo_metadata
from d4c_pipeline.processing.derived.finished import Finished, for_csv
from d4c_pipeline.services.subset import geojson
from d4c_pipeline.services.subset.engine import Engine
from d4c_pipeline.services.subset.plan import Plan
from d4c_pipeline.services.subset.rows import Block, blocks
from d4c_pipeline.tables.columns import BBOX
from d4c_pipeline.tables.columns import GEOMETRY as OWN_GEOMETRY

KEY = "d4c:subset"
"""The name of the provenance in metadata of files."""
_GROUP_ROWS, _GROUP_BYTES = 65_536, 32 << 20
_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)  # no time of the run: equal requests give equal bytes
_TYPES = (
    "Point", "LineString", "LinearRing", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
    "GeometryCollection",
)  # fmt: skip

Progress = Callable[[int], object]
"""Called with the number of rows written so far."""


def stream(
    plan: Plan, engine: Engine, seconds: float | None = None, progress: Progress | None = None
) -> Iterator[bytes]:
    """Yield the bytes of the result of a plan whose format streams. Raises as `rows.blocks`."""
    found = _counted(blocks(plan, engine, seconds), progress)
    match plan.request.format.name:
        case "csv":
            return _csv(plan, found)
        case "geojson":
            return geojson.stream(plan, found)
        case "arrow":
            return _arrow(plan, found)
        case _:
            return _parquet(plan, found)


def write(
    plan: Plan, engine: Engine, path: Path, *, seconds: float | None = None, progress: Progress | None = None
) -> tuple[int, int]:
    """Write the result of `plan` to `path`; return the numbers of rows written and left out.

    A format may leave out rows without geometry. A temporary file lies beside `path` for GeoPackage and FlatGeobuf.
    Raises as `rows.blocks`, and StorageError when the disk is full.
    """
    written = [0]

    def count(rows: int) -> None:
        written[0] = rows
        if progress is not None:
            progress(rows)

    if plan.request.format.streams:
        with path.open("wb") as file:
            for chunk in stream(plan, engine, seconds, count):
                file.write(chunk)
        return written[0], 0
    path.unlink(missing_ok=True)  # GDAL would change the file, whose bytes then differ
    between = path.with_name(f"{path.name}.rows.parquet")
    try:
        with between.open("wb") as file:
            for chunk in _parquet(plan, _counted(blocks(plan, engine, seconds), count)):
                file.write(chunk)
        return _by_gdal(plan, between, path, written[0])
    finally:
        between.unlink(missing_ok=True)


def _by_gdal(plan: Plan, between: Path, path: Path, rows: int) -> tuple[int, int]:
    # GDAL and pandas take 60 MB, and most servers are never asked for these two formats.
    from d4c_pipeline.processing.derived.desktop import write_flatgeobuf, write_geopackage  # noqa: PLC0415

    data = Finished.open(between)
    layer = f"{plan.release.dataset}_{plan.release.vintage}".replace("-", "_")
    title = plan.release.title or plan.release.name
    facts = json.dumps(plan.provenance, ensure_ascii=False)
    if plan.request.format.name == "gpkg":
        write_geopackage(path, data, layer=layer, title=title, moment=_MOMENT, facts={KEY.replace(":", "_"): facts})
        return rows, 0
    kept = write_flatgeobuf(path, data, layer=layer, title=title, moment=_MOMENT, description=facts)
    return kept, rows - kept


def _counted(found: Iterator[Block], progress: Progress | None) -> Iterator[Block]:
    rows = 0
    for block in found:
        yield block
        rows += block.rows
        if progress is not None:
            progress(rows)


def _metadata(plan: Plan) -> dict[str, str]:
    return {KEY: orjson.dumps(plan.provenance).decode()}


class _Chunks:
    """A sink that Arrow's writers fill and a generator empties."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        return len(part)

    def flush(self) -> None:
        """Arrow calls it."""

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _parquet(plan: Plan, found: Iterator[Block]) -> Iterator[bytes]:
    sink = _Chunks()
    box = _name(BBOX, plan.attributes)
    schema = _features(plan, box)
    totals = _Totals()
    with pq.ParquetWriter(
        pa.PythonFile(sink, mode="w"),
        schema,
        version="2.6",
        compression="zstd",
        compression_level=1,
        use_dictionary=[field.name for field in plan.schema if _repeats(field.type)],  # pyright: ignore[reportArgumentType]
        write_statistics=[  # pyright: ignore[reportArgumentType]
            *(field.name for field in plan.schema if not pa.types.is_nested(field.type)),
            *(f"{box}.{corner}" for corner in ("xmin", "ymin", "xmax", "ymax")),
        ],
        write_page_index=True,
        store_schema=False,
    ) as writer:
        for group in _groups(found):
            batches = [totals.covered(block, schema, plan) for block in group]
            table = pa.Table.from_batches(batches, schema)
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
            if chunk := sink.take():
                yield chunk
        stated = {"geo": json.dumps(totals.geo(plan, box), ensure_ascii=False)} if plan.geometry is not None else {}
        # Readers through Arrow take the metadata from this schema, which is known when all rows are written.
        whole = schema.with_metadata({**_metadata(plan), **stated})
        packed = base64.b64encode(whole.serialize().to_pybytes()).decode()
        writer.add_key_value_metadata({**stated, "ARROW:schema": packed})
    yield sink.take()


def _repeats(kind: pa.DataType) -> bool:
    return not (pa.types.is_floating(kind) or pa.types.is_nested(kind))


def _features(plan: Plan, box: str) -> pa.Schema:
    fields = list(plan.schema)
    if plan.geometry is not None:
        fields.append(pa.field(plan.geometry, pa.binary()))
        fields.append(pa.field(box, covering(np.empty((0, 4))).type))
    return pa.schema(fields, _metadata(plan))


def _groups(found: Iterator[Block]) -> Iterator[list[Block]]:
    """Yield blocks in row groups: cut where blocks end, whose number of rows is fixed."""
    group: list[Block] = []
    rows = size = 0
    for block in found:
        group.append(block)
        rows += block.rows
        size += block.attributes.nbytes + (block.wkb.nbytes if block.wkb is not None else 0)
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group


class _Totals:
    """The bounds and types of the geometries written so far."""

    def __init__(self) -> None:
        self._bounds: list[npt.NDArray[np.float64]] = []
        self._types: set[tuple[int, bool]] = set()

    def covered(self, block: Block, schema: pa.Schema, plan: Plan) -> pa.RecordBatch:
        """Return a block with the geometry and its covering, and take its bounds and types."""
        if plan.geometry is None or block.wkb is None:
            return block.attributes.replace_schema_metadata(schema.metadata)
        shapes = block.shapes
        bounds = shapely.bounds(shapes)
        known = ~np.isnan(bounds[:, 0])
        if known.any():
            self._bounds.append(np.concatenate([bounds[known, :2].min(axis=0), bounds[known, 2:].max(axis=0)]))
        kinds = shapely.get_type_id(shapes)
        raised = shapely.has_z(shapes)
        found = np.unique(kinds[kinds >= 0] * 2 + raised[kinds >= 0])
        self._types.update((int(each) // 2, bool(each % 2)) for each in found)
        arrays = [*block.attributes.columns, block.wkb, covering(bounds)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def geo(self, plan: Plan, box: str) -> dict[str, Any]:
        """Return GeoParquet's metadata."""
        assert plan.crs is not None  # noqa: S101 - a result with geometry has a CRS
        bounds = None
        if self._bounds:
            every = np.array(self._bounds)
            bounds = (*every[:, :2].min(axis=0).tolist(), *every[:, 2:].max(axis=0).tolist())
        names = tuple(sorted(f"{_TYPES[kind]}{' Z' if raised else ''}" for kind, raised in self._types))
        made = geo_metadata(GeometryLayout("1.1.0", plan.crs.to_json_dict(), names, bounds))
        column = made["columns"].pop(OWN_GEOMETRY)
        column["covering"] = {"bbox": {corner: [box, corner] for corner in column["covering"]["bbox"]}}
        return made | {"primary_column": plan.geometry, "columns": {plan.geometry: column}}


def _name(wanted: str, taken: tuple[str, ...]) -> str:
    names = (wanted, *(f"{wanted}_{number}" for number in range(1, len(taken) + 2)))
    return next(name for name in names if name not in taken)


def _arrow(plan: Plan, found: Iterator[Block]) -> Iterator[bytes]:
    sink = _Chunks()
    fields = list(plan.schema)
    if plan.geometry is not None and plan.crs is not None:
        facts = {"crs": plan.crs.to_json_dict(), "crs_type": "projjson"}
        own = {"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": json.dumps(facts)}
        fields.append(pa.field(plan.geometry, pa.binary(), metadata=own))
    schema = pa.schema(fields, _metadata(plan))
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema) as writer:
        yield sink.take()
        for block in found:
            arrays = [*block.attributes.columns, *([block.wkb] if block.wkb is not None else [])]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            yield sink.take()
    yield sink.take()


def _csv(plan: Plan, found: Iterator[Block]) -> Iterator[bytes]:
    converts = [for_csv(field.type) for field in plan.schema]
    fields = [pa.field(name, kind) for name, (kind, _) in zip(plan.attributes, converts, strict=True)]
    if plan.geometry is not None:
        fields.append(pa.field(plan.geometry, pa.string()))
    schema = pa.schema(fields)
    yield (",".join(map(_quoted, schema.names)) + "\r\n").encode()
    for block in found:
        arrays = [convert(column) for column, (_, convert) in zip(block.attributes.columns, converts, strict=True)]
        if plan.geometry is not None:
            wkt = shapely.to_wkt(block.shapes, rounding_precision=-1, output_dimension=4)
            arrays.append(pa.array(wkt, pa.string()))
        yield _text(pa.Table.from_arrays(arrays, schema=schema))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(character in name for character in '",\r\n') else name


def _text(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(table, sink, pa_csv.WriteOptions(include_header=False, eol="\r\n", batch_size=4_096))
    return sink.getvalue().to_pybytes()
