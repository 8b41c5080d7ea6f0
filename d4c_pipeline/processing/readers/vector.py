"""Vector files through GDAL (pyogrio), as Arrow: shapefile, GeoPackage, File Geodatabase, GML, KML, GeoJSON, ...

Only plain files on disk are opened, never GDAL's virtual ones, and nothing is fetched for them. Which file that is
belongs to `inputs`, everything done to the features to `geometry` and `columns`.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing, VectorProcessing
from d4c_pipeline.processing.gdal import pyogrio
from d4c_pipeline.processing.inputs import DBF, Member
from d4c_pipeline.processing.readers import dbf, wholeness
from d4c_pipeline.processing.readers import encoding as encodings
from d4c_pipeline.processing.readers.native import (
    GEOMETRY_FIELD,
    Native,
    Part,
    chosen,
    exactly_unique,
    parse_crs,
    plain,
    plain_type,
    with_nulls,
)

if TYPE_CHECKING:
    import pyproj

_TROUBLE = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pa.ArrowException,
    UnicodeError,
    OSError,  # what Arrow makes of an error within a stream
)
# Formats of one layer: asking for the list of layers would read a file of JSON once more.
_ONE_LAYER = frozenset({".shp", DBF, ".fgb", ".geojson", ".geojsonl", ".geojsons", ".json", ".jsonl", ".ndjson"})
_SEQUENCE = frozenset({".geojsonl", ".geojsons", ".jsonl", ".ndjson"})
# Arrow can't say how long a table without columns is; a running number says it, and identifies the feature.
_FID = pa.field("fid", pa.int64())
_BATCH_ROWS, _BATCH_BYTES = 16_384, 4 << 20
_COUNTED = (".shp", ".gpkg", ".fgb")
_EXTENSION = b"ARROW:extension:name"
_JSON = frozenset({".geojson", ".json"})
_TOPOLOGY = re.compile(rb'"type"\s*:\s*"Topology"')
_WKB_NAMES = (b"geoarrow.wkb", b"ogc.wkb")


def parts(member: Member, processing: Processing) -> list[Part]:
    """Return the layers of a file to read: the declared ones or the only one.

    For features, layers without geometry don't count. Raises DataError for a broken file, no layer, or several that are
    not to be appended.
    """
    path = member.path
    wholeness.check(member)
    # Neither a schema that a file names is fetched for it, nor is one that was guessed written beside it.
    pyogrio.set_gdal_config_options(
        {"GML_DOWNLOAD_SCHEMA": False, "GML_SAVE_RESOLVED_TO": None, "GML_GFS_TEMPLATE": None}
    )
    if member.suffix in _ONE_LAYER:
        names = [path.stem] if processing.layer is None else _layers(member, processing)
    else:
        names = _layers(member, processing)
    picked = chosen(names, processing.layer, several=processing.append, path=path, what="layer")
    # Where there is but one, GDAL is not asked for it by name: in GeoJSON it may have another than the file.
    ask = [None if member.suffix in _ONE_LAYER else name for name in picked]
    return [
        Part(member.name, name, partial(_open, member, processing, name, asked))
        for name, asked in zip(picked, ask, strict=True)
    ]


def _layers(member: Member, processing: Processing) -> list[str]:
    path = member.path
    with _explained(path), _quiet():
        layers = [(str(name), kind) for name, kind in pyogrio.list_layers(_gdal_name(member))]
    if not isinstance(processing, VectorProcessing) or not layers:
        return [name for name, _ in layers]
    with_geometry = [name for name, kind in layers if kind is not None]
    if not with_geometry:
        raise DataError(
            f"{path.name} has no layer with geometry (layers: {', '.join(name for name, _ in layers)})",
            "Declare processing.kind: table",
        )
    # One that is declared by name may be named although it has no geometry: the message is about that then.
    return [name for name, kind in layers if kind is not None or name == processing.layer]


def _open(member: Member, processing: Processing, layer: str, asked: str | None) -> Native:
    # Text in a shapefile is decoded as declared, else as its side files say.
    path = member.path
    vector = processing if isinstance(processing, VectorProcessing) else None
    report: dict[str, Any] = {}
    options: dict[str, Any] = {}
    encoding = encodings.python_name(processing.encoding) if processing.encoding else None
    if member.suffix in (".shp", DBF):
        table = path if member.suffix == DBF else dbf.beside(path, DBF)
        encoding = encoding or (dbf.dbf_encoding(table) if table is not None else None)
        report["encoding"] = encoding
        options["ENCODING"] = (encoding or "").upper().replace("ISO8859", "ISO-8859")
    stack = ExitStack()
    with _explained(path), _quiet():
        meta, reader = stack.enter_context(
            pyogrio.open_arrow(
                _gdal_name(member),
                layer=asked,
                read_geometry=vector is not None,
                use_pyarrow=True,
                batch_size=_batch_size(member, asked),
                **options,
            )
        )
    report["layer"] = layer
    columns = _columns(reader.schema, meta, vector, f"Layer {layer} of {path.name}", report)
    crs = _crs(meta["crs"], path, vector) if vector is not None else None
    texts = encodings.Texts(path.name, encoding, report, fixed_width=member.suffix in (".shp", DBF))
    batches = _batches(path, stack, reader, columns, texts, processing.nulls)
    return Native(f"Layer {layer} of {path.name}", columns.attributes, batches, crs, report=report)


def _batch_size(member: Member, layer: str | None) -> int:
    # Features of a batch: fewer where they are big, so that memory does not grow with a country's coast. Only formats
    # that say their count at their beginning are asked for it.
    if member.suffix not in _COUNTED:
        return _BATCH_ROWS
    count = pyogrio.read_info(member.path, layer=layer)["features"]
    size = member.path.stat().st_size
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES * count // size)) if count > 0 and size else _BATCH_ROWS


@dataclass(frozen=True)
class _Columns:
    """Which columns of GDAL's stream are attributes, which is the geometry (-1 for none), and what they become."""

    attributes: pa.Schema
    positions: tuple[int, ...]
    geometry: int


def _columns(
    schema: pa.Schema, meta: dict[str, Any], vector: VectorProcessing | None, name: str, report: dict[str, Any]
) -> _Columns:
    shapes = [at for at, field in enumerate(schema) if (field.metadata or {}).get(_EXTENSION) in _WKB_NAMES]
    geometry = -1
    if vector is not None:
        wanted = vector.geometry_column or meta["geometry_name"] or "wkb_geometry"
        geometry = schema.get_field_index(wanted)
        if geometry < 0:
            there = ", ".join(schema.field(at).name for at in shapes)
            raise DataError(
                f"{name} has no geometry column {wanted}; it has {there}" if there else f"{name} has no geometry",
                "Correct processing.geometry_column" if there else "Declare processing.kind: table, or another layer",
            )
        if others := [schema.field(at).name for at in shapes if at != geometry]:
            report["geometry_columns_dropped"] = others
    positions = tuple(at for at in range(len(schema)) if at != geometry and at not in shapes)
    fields = [schema.field(at) for at in positions]
    names = exactly_unique([field.name for field in fields])
    kinds = [(unique, plain_type(field.type)) for unique, field in zip(names, fields, strict=True)]
    return _Columns(pa.schema(kinds or [_FID]), positions, geometry)


def _batches(
    path: Path,
    stack: ExitStack,
    reader: pa.RecordBatchReader,
    columns: _Columns,
    texts: encodings.Texts,
    nulls: tuple[str, ...],
) -> Iterator[pa.RecordBatch]:
    schema = columns.attributes if columns.geometry < 0 else columns.attributes.append(GEOMETRY_FIELD)
    done = 0
    with stack:
        while True:
            with _explained(path), _quiet():
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    break
                arrays = [
                    with_nulls(texts.checked(plain(batch.column(at)), schema.field(number).name), nulls)
                    for number, at in enumerate(columns.positions)
                ]
                if not arrays:
                    arrays = [pa.array(range(done + 1, done + batch.num_rows + 1), pa.int64())]
                if columns.geometry >= 0:
                    arrays.append(plain(batch.column(columns.geometry)))
                done += batch.num_rows
                out = pa.record_batch(arrays, schema=schema)
            yield out
    if path.suffix.lower() in _SEQUENCE:
        wholeness.check_sequence(path, done)


def _gdal_name(member: Member) -> str:
    # With its prefix the format is said, and GDAL does not look for another: its own pipelines are JSON as well, and
    # may name any file.
    if member.suffix in _SEQUENCE:
        return f"GeoJSONSeq:{member.path}"
    if member.suffix not in _JSON:
        return str(member.path)
    with member.path.open("rb") as handle:
        head = handle.read(1 << 16)
    prefix = "ESRIJSON" if b'"esri' in head else "TopoJSON" if _TOPOLOGY.search(head) else "GeoJSON"
    return f"{prefix}:{member.path}"


@contextmanager
def _explained(path: Path) -> Generator[None]:
    try:
        yield
    except _TROUBLE as error:
        # GDAL names the file by its path on this machine.
        said = " ".join(str(error).replace(f"{path.parent}{os.sep}", "").split())
        raise DataError(f"{path.name} can't be read: {said[:300]}", "Fetch the vintage again") from error


@contextmanager
def _quiet() -> Generator[None]:
    # GDAL's remarks ("will be dropped", "non closed ring") are either counted by `geometry` or errors of ours.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _crs(stated: str | None, path: Path, vector: VectorProcessing) -> pyproj.CRS:
    text = vector.crs if vector.crs and (vector.override_crs or not stated) else stated
    if not text:
        raise DataError(f"{path.name} does not say its coordinate reference system", "Declare processing.crs")
    return parse_crs(text, path)
