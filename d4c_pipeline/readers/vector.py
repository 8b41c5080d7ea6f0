"""Reads vector files through GDAL (pyogrio) as Arrow: shapefile, GeoPackage, File Geodatabase, GML, KML, GeoJSON, ...

GDAL opens plain files on disk only, no virtual files, and fetches nothing. Rules of formats belong to `LayerRules`,
choosing files to `inputs`, processing features to `geometry` and `columns`.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.processing import Processing, VectorProcessing
from d4c_pipeline.readers import answers, bounded, dbf
from d4c_pipeline.readers import encoding as encodings
from d4c_pipeline.readers.exact import Exact
from d4c_pipeline.readers.listening import Listener
from d4c_pipeline.readers.member import DBF, Member
from d4c_pipeline.readers.preparation import Layer, LayerRules, Source
from d4c_pipeline.tables.gdal import pyogrio
from d4c_pipeline.tables.native import (
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
    OSError,  # Arrow's error within a stream
)
# An Arrow table without columns has no length, so it gets a running number, which identifies the feature.
_FID = pa.field("fid", pa.int64())
_BATCH_ROWS, _BATCH_BYTES = 16_384, 4 << 20
# pyogrio's error for a layer of TINs, polyhedral surfaces or triangles, with or without heights.
_SURFACE = re.compile(r"Geometry type is not supported: [123]?0?(1[567])\b")
_SURFACES = {"15": "polyhedral surface", "16": "TIN", "17": "triangle"}
_EXTENSION = b"ARROW:extension:name"
_WKB_NAMES = (b"geoarrow.wkb", b"ogc.wkb")


def parts(member: Member, processing: Processing, rules: LayerRules) -> list[Part]:
    """Return the layers of a file to read by the `rules` of its format: the declared layers, or the only layer.

    For features, layers without geometry don't count. Raises DataError for a broken file, and for no layer or several
    layers without `append`.
    """
    path = member.path
    stated = rules.check(member)
    # GDAL neither fetches the schema that a GML file names, nor writes a guessed schema beside the file.
    pyogrio.set_gdal_config_options(
        {"GML_DOWNLOAD_SCHEMA": False, "GML_SAVE_RESOLVED_TO": None, "GML_GFS_TEMPLATE": None}
    )
    single = rules.single_layer and processing.layer is None
    names = [path.stem] if single else _layers(member, processing, rules)
    picked = chosen(names, processing.layer, several=processing.append, path=path, what="layer")
    return [Part(member.name, name, partial(_open, member, processing, rules, name, stated)) for name in picked]


def _layers(member: Member, processing: Processing, rules: LayerRules) -> list[str]:
    path = member.path
    listener = Listener(path)
    rules.check_layers(path)
    with _explained(path), _without_schema(path), listener.opening():
        layers = [(str(name), kind) for name, kind in pyogrio.list_layers(rules.dataset_name(member, path))]
        if rules.lists_empty_layers:
            layers = [each for each in layers if _count(path, each[0])]
    if not isinstance(processing, VectorProcessing) or not layers:
        return [name for name, _ in layers]
    with_geometry = [name for name, kind in layers if kind is not None]
    if not with_geometry:
        raise DataError(
            f"{path.name} has no layer with geometry (layers: {', '.join(name for name, _ in layers)})",
            "Declare processing.kind: table",
        )
    # A layer declared by name is kept without geometry, so that the message concerns its missing geometry.
    return [name for name, kind in layers if kind is not None or name == processing.layer]


def _open(member: Member, processing: Processing, rules: LayerRules, layer: str, stated: int | None) -> Native:
    # Text in a shapefile has the declared encoding, else the encoding that its side files state.
    path = member.path
    # A single layer is opened without its name: in GeoJSON the name may differ from the name of the file.
    name_in_file = None if rules.single_layer else layer
    vector = processing if isinstance(processing, VectorProcessing) else None
    options: dict[str, Any] = {}
    encoding = encodings.python_name(processing.encoding) if processing.encoding else None
    if member.suffix in (".shp", DBF):
        table = path if member.suffix == DBF else dbf.beside(path, DBF)
        encoding = encoding or (dbf.dbf_encoding(table) if table is not None else None)
        options["ENCODING"] = (encoding or "").upper().replace("ISO8859", "ISO-8859")
    name = f"Layer {layer} of {path.name}"
    rules.check_layer(path, layer)
    listener = Listener(path)
    with ExitStack() as stack:
        stack.enter_context(_without_schema(path))
        stack.enter_context(listener.reading())
        with _explained(path), listener.opening():
            # Read once: GDAL takes 12 ms to open a GeoPackage.
            info = _info(path, name_in_file) if rules.sizes_batches or rules.has_fids else None
            source = Source(rules.dataset_name(member, path), path)
            rules.prepare(source, member, processing, info, stack)
            meta, reader = stack.enter_context(
                pyogrio.open_arrow(
                    source.name,
                    layer=name_in_file,
                    read_geometry=vector is not None,
                    use_pyarrow=True,
                    batch_size=_batch_size(path, info, rules),
                    **options,
                    **source.options,
                )
            )
        # Closing waits for GDAL's threads without the interpreter lock, which they may need for their messages.
        stack.callback(reader.close)
        bounded.check_columns(name, len(reader.schema), Limits.from_environment())
        report = ({"encoding": encoding} if member.suffix in (".shp", DBF) else {}) | {"layer": layer} | source.report
        columns = _columns(reader.schema, meta, vector, name, report)
        own = [
            (name, plain_type(reader.schema.field(at).type))
            for name, at in zip(columns.names, columns.positions, strict=True)
            if not (source.options.get("return_fids") and name == meta["fid_column"])
        ]
        with _explained(path), listener.opening():
            exact = rules.examine(
                Layer(member=member, source=source, processing=processing, name=layer, schema=own, encoding=encoding)
            )
        listener.exact = frozenset((*exact.types, *exact.left_out, *processing.drop))
        report |= exact.report | _together(report, exact.report)
        columns = columns.with_exact(reader.schema, exact)
        texts = encodings.Texts(path.name, encoding, report, fixed_width=member.suffix in (".shp", DBF))
        batches = _batches(path, stack.pop_all(), reader, columns, texts, processing.nulls, listener, rules, stated)
    crs = _crs(meta["crs"], path, vector) if vector is not None else None
    return Native(name, columns.attributes, batches, crs, report=report)


def _together(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    # Facts about columns that both reports have.
    return {key: first[key] | second[key] for key in first.keys() & second.keys() if isinstance(first[key], dict)}


def _count(path: Path, layer: str) -> int:
    return int(_info(path, layer, force_feature_count=True)["features"])


def _info(path: Path, layer: str | None, **options: bool) -> dict[str, Any]:
    try:
        return pyogrio.read_info(path, layer=layer, **options)
    except IndexError as error:  # pyogrio's error for a file without layers
        raise pyogrio.errors.DataLayerError("it has no layer") from error


def _batch_size(path: Path, info: Mapping[str, Any] | None, rules: LayerRules) -> int:
    # A batch has fewer features where they are large, so that memory does not grow with the coast of a country. A count
    # that the header does not state would cost GDAL a pass over the file.
    if not rules.sizes_batches or info is None:
        return _BATCH_ROWS
    count = info["features"]
    size = path.stat().st_size
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES * count // size)) if count > 0 and size else _BATCH_ROWS


@dataclass(frozen=True)
class _Columns:
    """The columns of GDAL's stream: positions of attributes, position of the geometry (-1 for none), output schema.

    `names`: of the attributes, unique, since a DBF file may repeat a name. Columns of `exact` are not read from the
    stream; columns that it adds come first.
    """

    attributes: pa.Schema
    positions: tuple[int, ...]
    geometry: int
    names: tuple[str, ...] = ()
    exact: Exact = field(default_factory=Exact)

    def with_exact(self, schema: pa.Schema, exact: Exact) -> _Columns:
        """Return the columns of a stream of that `schema` with `exact` applied."""
        kept = [(name, at) for name, at in zip(self.names, self.positions, strict=True) if name not in exact.left_out]
        kinds = [(name, kind) for name, kind in exact.added.items()]
        for name, at in kept:
            kinds.append((name, exact.types.get(name, plain_type(schema.field(at).type))))
        unique = exactly_unique([name for name, _ in kinds])
        attributes = pa.schema([(name, kind) for name, (_, kind) in zip(unique, kinds, strict=True)] or [_FID])
        names, positions = tuple(name for name, _ in kept), tuple(at for _, at in kept)
        return _Columns(attributes, positions, self.geometry, names, exact)

    def arrays(self, batch: pa.RecordBatch) -> Iterator[pa.Array]:
        """Yield the attributes of a batch of the stream, in their order."""
        exact = self.exact
        taken = exact.take(batch.num_rows) if exact.take is not None else {}
        if short := [name for name, column in taken.items() if len(column) != batch.num_rows]:
            raise DataError(
                f"Column {short[0]} has fewer values than there are rows", "Have the publisher correct the file"
            )
        yield from (taken[name] for name in exact.added)
        for name, at in zip(self.names, self.positions, strict=True):
            if name in exact.types:
                yield taken[name]
                continue
            column = plain(batch.column(at))
            if name in exact.unset:
                column = pc.if_else(pc.equal(column, exact.unset[name]), pa.scalar(None, column.type), column)
            yield column


def _columns(
    schema: pa.Schema, meta: dict[str, Any], vector: VectorProcessing | None, name: str, report: dict[str, Any]
) -> _Columns:
    shapes = [at for at, field in enumerate(schema) if (field.metadata or {}).get(_EXTENSION) in _WKB_NAMES]
    geometry = -1
    if vector is not None:
        declared = vector.geometry_column or meta["geometry_name"] or "wkb_geometry"
        geometry = schema.get_field_index(declared)
        if geometry < 0:
            there = ", ".join(schema.field(at).name for at in shapes)
            raise DataError(
                f"{name} has no geometry column {declared}; it has {there}" if there else f"{name} has no geometry",
                "Correct processing.geometry_column" if there else "Declare processing.kind: table, or another layer",
            )
        if others := [schema.field(at).name for at in shapes if at != geometry]:
            report["geometry_columns_dropped"] = others
    positions = tuple(at for at in range(len(schema)) if at != geometry and at not in shapes)
    names = exactly_unique([schema.field(at).name for at in positions])
    return _Columns(pa.schema([]), positions, geometry, tuple(names))


def _batches(
    path: Path,
    stack: ExitStack,
    reader: pa.RecordBatchReader,
    columns: _Columns,
    texts: encodings.Texts,
    nulls: tuple[str, ...],
    listener: Listener,
    rules: LayerRules,
    stated: int | None,
) -> Iterator[pa.RecordBatch]:
    schema = columns.attributes if columns.geometry < 0 else columns.attributes.append(GEOMETRY_FIELD)
    done = 0
    with stack:
        while True:
            with _explained(path), listener.hearing():
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    break
            with _explained(path):
                arrays = [
                    with_nulls(texts.checked(column, schema.field(number).name), nulls)
                    for number, column in enumerate(columns.arrays(batch))
                ]
                if not arrays:
                    arrays = [pa.array(range(done + 1, done + batch.num_rows + 1), pa.int64())]
                if columns.geometry >= 0:
                    arrays.append(plain(batch.column(columns.geometry)))
                done += batch.num_rows
                out = pa.record_batch(arrays, schema=schema)
            yield out
    rules.check_read(path, done)
    listener.judge(texts.report)
    answers.check_rows(path.name, done, stated, "its own count", texts.report)
    answers.check_rows(path.name, done, columns.exact.rows, columns.exact.counted_by, texts.report)


@contextmanager
def _explained(path: Path) -> Generator[None]:
    try:
        yield
    except _TROUBLE as error:
        # GDAL names the file by its path on this machine.
        message = " ".join(str(error).replace(f"{path.parent}{os.sep}", "").split())
        if (surface := _SURFACE.search(message)) is not None:
            raise DataError(
                f"{path.name} has a layer of three-dimensional surfaces ({_SURFACES[surface[1]]}), not of map features",
                "Have the publisher deliver them as polygons, or declare another layer or processing.kind: table",
            ) from error
        raise DataError(f"{path.name} can't be read: {message[:300]}", "Fetch the vintage again") from error


@contextmanager
def _without_schema(path: Path) -> Generator[None]:
    # GDAL writes a guessed schema beside a GML file, and would read it as the publisher's schema the next time.
    schema = path.with_suffix(".gfs")
    if path.suffix.lower() != ".gml" or schema.exists():
        yield
        return
    try:
        yield
    finally:
        schema.unlink(missing_ok=True)


def _crs(stated: str | None, path: Path, vector: VectorProcessing) -> pyproj.CRS:
    text = vector.crs if vector.crs and (vector.override_crs or not stated) else stated
    if not text:
        raise DataError(f"{path.name} does not say its coordinate reference system", "Declare processing.crs")
    return parse_crs(text, path)
