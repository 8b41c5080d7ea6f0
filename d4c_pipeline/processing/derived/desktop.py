"""Files for desktop GIS: GeoPackage (with a style that QGIS applies) and FlatGeobuf.

GDAL writes both from a stream; this module fixes all values that differ from run to run. `finished` selects rows and
types. Sources: OGC 12-128r19 (GeoPackage), https://gdal.org/drivers/vector/gpkg.html and flatgeobuf.html.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import pyarrow as pa
from pyogrio.errors import DataLayerError, DataSourceError

from d4c_pipeline.model.errors import DataError, StorageError
from d4c_pipeline.processing.derived.finished import Finished, for_desktop
from d4c_pipeline.tables.gdal import pyogrio, thread_config

_STYLES = "layer_styles"
_FIXED = {
    # By default the memory of the machine decides how the R-tree is built, and a second thread races to build it.
    "OGR_GPKG_ALLOW_THREADED_RTREE": "NO",
    "OGR_GPKG_MAX_RAM_USAGE_RTREE": str(256 << 20),
}


def write_geopackage(
    path: Path,
    data: Finished,
    *,
    layer: str,
    title: str,
    moment: datetime,
    style: str | None = None,
    facts: Mapping[str, str] | None = None,
) -> int:
    """Write all rows of `data` as layer `layer` of a new GeoPackage and return their number.

    Columns keep their names and order; the feature id is `fid`, or `fid_1` and so on where a column has that name.
    `moment`: the time of change that GeoPackage requires. `style`: the text of a `.qml`, stored as the layer's default
    style. `facts`: metadata of the layer by name. Raises DataError when GDAL rejects the data, StorageError when the
    disk is full.
    """
    options = {"FID": free_name("fid", data.attributes), "IDENTIFIER": title}
    with _gdal(path, moment):
        _write(path, data, data.stream(data.attributes, for_desktop), "GPKG", layer, options, facts=facts)
        if style is not None:
            pyogrio.write_arrow(
                _style_row(layer, data.geometry or "", style, moment),
                path,
                layer=_STYLES,
                driver="GPKG",
                layer_options={"FID": "id"},
            )
    return data.rows


def write_flatgeobuf(
    path: Path, data: Finished, *, layer: str, title: str, moment: datetime, description: str | None = None
) -> int:
    """Write the rows of `data` that have geometry as FlatGeobuf with its spatial index; return their number.

    The index cannot hold a row without geometry or with an empty one.
    """
    options = {"SPATIAL_INDEX": "YES", "TITLE": title}
    if description is not None:
        options["DESCRIPTION"] = description
    stream = _Counted(data.stream(data.attributes, for_desktop, located_only=True))
    with _gdal(path, moment):
        _write(path, data, stream.reader, "FlatGeobuf", layer, options)
    return stream.rows


def write_for_tiles(path: Path, data: Finished, stream: pa.RecordBatchReader, moment: datetime) -> int:
    """Write `stream` (rows with geometry, in degrees) as FlatGeobuf without an index; return the number of rows."""
    counted = _Counted(stream)
    with _gdal(path, moment):
        _write(path, data, counted.reader, "FlatGeobuf", "data", {"SPATIAL_INDEX": "NO"}, crs="EPSG:4326")
    return counted.rows


def _write(
    path: Path,
    data: Finished,
    stream: pa.RecordBatchReader,
    driver: str,
    layer: str,
    options: dict[str, str],
    *,
    crs: str | None = None,
    facts: Mapping[str, str] | None = None,
) -> None:
    spatial = data.geometry is not None
    if spatial and driver == "GPKG":
        options = {**options, "GEOMETRY_NAME": str(data.geometry)}
    pyogrio.write_arrow(
        stream,
        path,
        layer=layer,
        driver=driver,
        geometry_name=data.geometry,
        geometry_type=data.one_type if spatial else None,
        crs=(crs or data.crs_text) if spatial else None,
        layer_options=options,
        layer_metadata=dict(facts) if facts else None,
    )


class _Counted:
    """A stream that counts its rows."""

    def __init__(self, stream: pa.RecordBatchReader) -> None:
        self.rows = 0
        self._stream = stream
        self.reader = pa.RecordBatchReader.from_batches(stream.schema, self._pass())

    def _pass(self) -> Generator[pa.RecordBatch]:
        for batch in self._stream:
            self.rows += batch.num_rows
            yield batch


def _style_row(layer: str, geometry: str, style: str, moment: datetime) -> pa.Table:
    # The table that QGIS writes and reads; QGIS compares catalogue and schema with empty texts.
    text = {
        "f_table_catalog": "",
        "f_table_schema": "",
        "f_table_name": layer,
        "f_geometry_column": geometry,
        "styleName": layer,
        "styleQML": style,
        "styleSLD": "",
    }
    rest = {"description": "", "owner": "", "ui": ""}
    columns: dict[str, pa.Array] = {name: pa.array([value]) for name, value in text.items()}
    columns["useAsDefault"] = pa.array([True])
    columns |= {name: pa.array([value], pa.string()) for name, value in rest.items()}
    columns["update_time"] = pa.array([moment], pa.timestamp("ms", "UTC"))
    return pa.table(columns)


def free_name(name: str, taken: tuple[str, ...]) -> str:
    """Return `name`, or `name_1` and so on where a column of `taken` has it, whatever the case of its letters."""
    lower = {column.lower() for column in taken}
    names = (name, *(f"{name}_{n}" for n in range(1, len(taken) + 1)))
    return next(free for free in names if free not in lower)


@contextmanager
def _gdal(path: Path, moment: datetime) -> Generator[None]:
    """Make GDAL write `moment` instead of the time of the run, and translate its errors."""
    fixed = _FIXED | {"OGR_CURRENT_DATE": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
    try:
        with ExitStack() as options, warnings.catch_warnings():
            for name, value in fixed.items():  # of this thread: a server writes several files at a time
                options.enter_context(thread_config(name, value))
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    except (DataSourceError, DataLayerError) as error:
        message = " ".join(str(error).split())
        if any(word in message.lower() for word in ("no space left", "disk is full", "disk full", "disk i/o")):
            raise StorageError(
                f"The disk has no room for {path.name}: {message}", "Free space, then run again"
            ) from error
        raise DataError(
            f"GDAL could not write {path.name}: {message}", "Correct the data, or remove the format from outputs"
        ) from error
