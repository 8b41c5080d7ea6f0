"""Vector files through GDAL (pyogrio), as Arrow: shapefile, GeoPackage, GeoJSON and what else its wheel reads.

Only plain files on disk are opened, never GDAL's virtual ones. Which file that is belongs to `inputs`, text to
`readers.text`, everything done to the features to `geometry` and `columns`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyogrio
import pyogrio.errors
import pyproj

from d4c_pipeline.model.dataset import Processing, VectorProcessing
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.readers import dbf
from d4c_pipeline.processing.readers import encoding as encodings
from d4c_pipeline.processing.readers.native import Native, exactly_unique, parse_crs

_TROUBLE = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pa.ArrowException,
    UnicodeError,
)


def read(path: Path, processing: Processing) -> Native:
    """Read one layer; for a table without its geometry.

    Layer: the declared one or the only one (layers without geometry don't count for features). Text in a shapefile is
    decoded as declared, else as its side files say. `nulls` become null in text columns. Raises DataError for a broken
    file, no or several layers, no features, and features without a CRS.
    """
    with_geometry = isinstance(processing, VectorProcessing)
    options: dict[str, Any] = {}
    report: dict[str, Any] = {}
    if path.suffix.lower() == ".shp":
        dbf.check_whole(path)
    elif path.suffix.lower() == ".dbf":
        dbf.check_dbf_whole(path)
    table_file = _table_file(path)
    if table_file is not None:
        encoding = encodings.python_name(processing.encoding) if processing.encoding else dbf.dbf_encoding(table_file)
        options["ENCODING"] = encoding.upper().replace("ISO8859", "ISO-8859")
        report["encoding"] = encoding
    try:
        layer = _layer(path, processing)
        with pyogrio.open_arrow(path, layer=layer, read_geometry=with_geometry, use_pyarrow=True, **options) as (
            meta,
            reader,
        ):
            table = reader.read_all()
    except _TROUBLE as error:
        raise DataError(
            f"{path.name} can't be read: {' '.join(str(error).split())[:300]}", "Fetch the vintage again"
        ) from error
    if table.num_rows == 0:
        raise DataError(f"Layer {layer} of {path.name} has no rows", "Look at what the source delivers")
    report["layer"] = layer
    geometry = None
    if with_geometry:
        position = table.schema.get_field_index(meta["geometry_name"] or "wkb_geometry")
        if position < 0:
            raise DataError(
                f"Layer {layer} of {path.name} has no geometry", "Declare processing.kind: table, or another layer"
            )
        geometry = table.column(position)
        table = table.remove_column(position)
        if isinstance(geometry.type, pa.BaseExtensionType):
            geometry = pa.chunked_array([chunk.storage for chunk in geometry.chunks], geometry.type.storage_type)
    names = exactly_unique([str(name) for name in meta["fields"]])
    table = (
        pa.table([_with_nulls(_decoded(column), processing.nulls) for column in table.columns], names=names)
        if names
        else _no_attributes(len(geometry) if geometry is not None else 0)
    )
    crs = _crs(meta["crs"], path, processing) if isinstance(processing, VectorProcessing) else None
    return Native(table, geometry, crs, report)


def _no_attributes(rows: int) -> pa.Table:
    # Arrow can't say how long a table without columns is; a running number says it, and identifies the feature.
    return pa.table({"fid": pa.array(range(1, rows + 1), pa.int64())})


def _table_file(path: Path) -> Path | None:
    match path.suffix.lower():
        case ".shp":
            return dbf.beside(path, ".dbf")
        case ".dbf":
            return path
        case _:
            return None


def _layer(path: Path, processing: Processing) -> str:
    layers = [(str(name), kind) for name, kind in pyogrio.list_layers(path)]
    named = ", ".join(name for name, _ in layers) or "none"
    if isinstance(processing, VectorProcessing):
        if processing.layer is not None:
            if processing.layer not in [name for name, _ in layers]:
                raise DataError(
                    f"{path.name} has no layer {processing.layer}; it has {named}", "Correct processing.layer"
                )
            return processing.layer
        layers = [(name, kind) for name, kind in layers if kind is not None]
        if not layers:
            raise DataError(
                f"{path.name} has no layer with geometry (layers: {named})", "Declare processing.kind: table"
            )
    if len(layers) != 1:
        raise DataError(f"{path.name} has {len(layers)} layers: {named}", "Declare the one to read as processing.layer")
    return layers[0][0]


def _crs(stated: str | None, path: Path, processing: VectorProcessing) -> pyproj.CRS:
    text = processing.crs if processing.crs and (processing.override_crs or not stated) else stated
    if not text:
        raise DataError(f"{path.name} does not say its coordinate reference system", "Declare processing.crs")
    return parse_crs(text, path)


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # GDAL marks JSON and coded values by extension or dictionary types; what they hold is what is kept.
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column


def _with_nulls(column: pa.ChunkedArray, markers: tuple[str, ...]) -> pa.ChunkedArray:
    if not markers or not pa.types.is_string(column.type):
        return column
    return pc.if_else(pc.is_in(column, pa.array(markers, pa.string())), pa.scalar(None, pa.string()), column)
