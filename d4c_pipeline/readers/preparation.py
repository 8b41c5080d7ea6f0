"""What is done for each format before and beside GDAL's reading, so that no value changes and none is made up.

`prepared` says what GDAL is to open and how, `examined` which of its columns are read otherwise. How a format is looked
at belongs to its own module (`dbf_values`, `geopackage`, `geojson`, `markup`), which is imported where it is used: a
cold process reads one format. The reading itself belongs to `vector`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing, VectorProcessing
from d4c_pipeline.readers import dbf
from d4c_pipeline.readers.exact import Exact, in_slices
from d4c_pipeline.readers.member import DBF, GDB, Member
from d4c_pipeline.tables.gdal import pyogrio, thread_config

SEQUENCE = frozenset({".geojsonl", ".geojsons", ".jsonl", ".ndjson"})
_JSON = frozenset({".geojson", ".json", ".topojson"})
_TOPOLOGY = re.compile(rb'"type"\s*:\s*"Topology"')
# Names that writers give when nobody chose one.
_COMMON_FIDS = frozenset({"fid", "ogc_fid", "objectid", "objectid_1"})
_COUNTED = frozenset({".fgb", ".tab", GDB})
HAS_FIDS = frozenset({".gpkg", GDB})
_WIDE = re.compile(rb">\s*[+-]?[0-9]{16,}\s*<")
_MOMENTS = {".kml": {"timestamp": "when", "begin": "begin", "end": "end"}, ".gpx": {"time": "time"}}


@dataclass
class Prepared:
    """What GDAL opens: `name` (maybe with the prefix of a driver), with `options`. `path`: the file of that name.

    `report`: for the reader's. `references`: elements of GML that refer to something.
    """

    name: str
    path: Path
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    report: dict[str, Any] = field(default_factory=dict[str, Any])
    references: Sequence[str] = ()


def gdal_name(member: Member, path: Path | None = None) -> str:
    """Return the name by which GDAL opens a file, or `path` in its place."""
    # With its prefix the format is said, and GDAL does not look for another: its own pipelines are JSON as well, and
    # may name any file.
    path = path or member.path
    if member.suffix in SEQUENCE:
        return f"GeoJSONSeq:{path}"
    if member.suffix not in _JSON:
        return str(path)
    with path.open("rb") as handle:
        head = handle.read(1 << 16)
    prefix = "ESRIJSON" if b'"esri' in head else "TopoJSON" if _TOPOLOGY.search(head) else "GeoJSON"
    return f"{prefix}:{path}"


def prepared(member: Member, processing: Processing, info: Mapping[str, Any] | None, stack: ExitStack) -> Prepared:
    """Return what GDAL is to open; copies that are made for it go when `stack` ends.

    `info` is what pyogrio says of the layer, of formats in HAS_FIDS.
    Raises DataError for a GML file whose features have several geometries, of which none is chosen.
    """
    path = member.path
    name = gdal_name(member)
    done = Prepared(name, path)
    if name.startswith(("GeoJSON:", "GeoJSONSeq:", "TopoJSON:")):
        other, done.report = _quoted(path, stack)
        if other != path:
            done.path, done.name = other, gdal_name(member, other)
    if name.startswith("ESRIJSON:"):
        from d4c_pipeline.readers import esri  # noqa: PLC0415 - of this format alone

        done.path, wide = esri.with_wide_numbers(path, lambda: _folder(path, stack))
        done.name = gdal_name(member, done.path)
        done.report = {"read_as_64_bits": wide} if wide else {}
    if member.suffix == ".gml":
        from d4c_pipeline.readers import markup  # noqa: PLC0415 - of this format alone

        done.references = markup.references(path)
        if isinstance(processing, VectorProcessing):
            done.path = _with_one_geometry(path, processing, done.report, stack)
            done.name = str(done.path)
        if done.references:
            done.options["GML_ATTRIBUTES_TO_OGR_FIELDS"] = "YES"
    if member.suffix in HAS_FIDS and info is not None:
        geopackage = member.suffix != GDB
        if _keeps_fid(info["fid_column"], processing, done.report, geopackage=geopackage):
            done.options["return_fids"] = True
    return done


def examined(
    member: Member,
    source: Prepared,
    processing: Processing,
    layer: str,
    schema: Sequence[tuple[str, pa.DataType]],
    encoding: str | None,
) -> Exact:
    """Return which columns are to be read otherwise than through GDAL. `schema`: the attributes as GDAL has them.

    Raises DataError for values that can't be had at all.
    """
    names = [name for name, _ in schema]
    if member.suffix in (".shp", DBF):
        table = dbf.beside(member.path, DBF) if member.suffix == ".shp" else member.path
        assert table is not None  # noqa: S101 - `wholeness` has looked
        from d4c_pipeline.readers import dbf_values  # noqa: PLC0415 - of this format alone

        return dbf_values.examine(table, names, encoding or "cp1252", processing)
    if member.suffix == ".gpkg":
        from d4c_pipeline.readers import geopackage  # noqa: PLC0415 - of this format alone

        return geopackage.examine(member.path, layer, processing)
    if source.name.startswith(("GeoJSON:", "GeoJSONSeq:")):
        from d4c_pipeline.readers import geojson  # noqa: PLC0415 - of this format alone

        return geojson.examine(source.path, schema, processing)
    if source.name.startswith("ESRIJSON:"):
        from d4c_pipeline.readers import esri_values  # noqa: PLC0415 - of this format alone

        return esri_values.examine(source.path, schema, processing)
    if source.name.startswith("TopoJSON:"):
        return _of_topojson(source.path, schema, processing)
    if member.suffix in (".kml", ".gpx"):
        return _of_placemarks(member, names, processing)
    if member.suffix == ".gml":
        exact = _of_texts(source, _doubtful_in_gml(source.path, schema))
        if missing := [each for each in source.references if not any(n.endswith(f"{each}_href") for n in names)]:
            exact.report["references_left_out"] = missing
        return exact
    exact = Exact()
    if member.suffix == ".fgb":
        exact = _of_texts(source, [name for name, kind in schema if pa.types.is_timestamp(kind) and kind.tz is None])
    if member.suffix in _COUNTED:
        # 0 stands for a writer of FlatGeobuf that did not know it, less for a count that GDAL would have to make.
        count = int(pyogrio.read_info(member.path, layer=layer if member.suffix == GDB else None)["features"])
        exact.rows, exact.counted_by = count if count > 0 else None, "its header"
    return exact


def _quoted(path: Path, stack: ExitStack) -> tuple[Path, dict[str, Any]]:
    from d4c_pipeline.readers import geojson  # noqa: PLC0415 - of this format alone

    other, quoted = geojson.with_long_numbers_quoted(path, lambda: _folder(path, stack))
    return other, {"read_from_bytes": quoted} if quoted else {}


def _folder(path: Path, stack: ExitStack) -> Path:
    # Beside the file, which lies in the build's own folder.
    return Path(stack.enter_context(TemporaryDirectory(prefix=".d4c-", dir=path.parent)))


def _with_one_geometry(path: Path, vector: VectorProcessing, report: dict[str, Any], stack: ExitStack) -> Path:
    from d4c_pipeline.readers import markup  # noqa: PLC0415 - of this format alone

    there = markup.geometry_properties(path)
    if len(there) < 2:
        return path
    wanted = vector.geometry_column
    if wanted is None or wanted not in there:
        raise DataError(
            f"{path.name} has features with several geometries: {', '.join(there)}",
            "Declare the one to take as processing.geometry_column",
        )
    others = [name for name in there if name != wanted]
    report["geometry_columns_dropped"] = others
    return markup.with_one_geometry(path, wanted, others, _folder(path, stack))


def _keeps_fid(name: str, processing: Processing, report: dict[str, Any], *, geopackage: bool) -> bool:
    # The column by which the format numbers its features, which GDAL does not count among the attributes.
    if not name or processing.feature_id == "drop":
        return False
    named = geopackage and name.lower() not in _COMMON_FIDS
    if processing.feature_id == "keep" or named:
        return True
    report["feature_id_left_out"] = name
    return False


def _of_topojson(path: Path, schema: Sequence[tuple[str, pa.DataType]], processing: Processing) -> Exact:
    from d4c_pipeline.readers import geojson, moments  # noqa: PLC0415 - of this format alone

    with geojson.mapped(path) as data:
        for name, kind in schema:
            if not pa.types.is_temporal(kind) or name in processing.drop:
                continue
            reason = moments.misfit(geojson.texts_of(name, data), zoned=pa.types.is_timestamp(kind) and bool(kind.tz))
            if reason is not None:
                raise _no_moments(name, path, reason)
    return Exact()


def _no_moments(name: str, path: Path, reason: str) -> DataError:
    return DataError(
        f"Column {name} of {path.name} can't be read as moments: {reason.removeprefix('as text: ')}",
        f"Declare processing.drop: [{name}], or have the publisher write them alike",
    )


def _of_placemarks(member: Member, names: Sequence[str], processing: Processing) -> Exact:
    from d4c_pipeline.readers import markup, moments  # noqa: PLC0415 - of this format alone

    path = member.path
    made_up = markup.made_up_columns(path, names) if member.suffix == ".kml" else markup.made_up_gpx(path, names)
    exact = Exact(left_out=made_up, unset=markup.KML_UNSET)
    if member.suffix == ".kml" and (links := markup.network_links(path)):
        exact.report["network_links"] = links
    if exact.left_out:
        exact.report["columns_left_out"] = list(exact.left_out)
    for name, element in _MOMENTS[member.suffix].items():
        if name not in names or name in exact.left_out or name in processing.drop:
            continue
        reason = moments.misfit(markup.texts_of(path, element), zoned=False)
        if reason is not None:
            raise _no_moments(name, path, reason)
    return exact


def _doubtful_in_gml(path: Path, schema: Sequence[tuple[str, pa.DataType]]) -> list[str]:
    from d4c_pipeline.readers import markup, moments  # noqa: PLC0415 - of this format alone

    temporal = [name for name, kind in schema if pa.types.is_temporal(kind)]
    found = [name for name in temporal if moments.misfit(markup.texts_of(path, name) or [None], zoned=False)]
    if _WIDE.search(path.read_bytes()) is not None:
        found += [name for name, kind in schema if kind in (pa.int64(), pa.float64())]
    return found


def _of_texts(source: Prepared, names: Sequence[str]) -> Exact:
    from d4c_pipeline.readers import moments  # noqa: PLC0415 - of this format alone

    # The columns as text, through GDAL a second time; of those that turn out to be right nothing is kept.
    exact = Exact()
    if not names:
        return exact
    with ExitStack() as stack:
        path = source.path
        if path.suffix.lower() == ".gml":
            # In a folder of its own, where no schema is that says the types.
            path = _folder(path, stack) / path.name
            path.symlink_to(source.path)
            stack.enter_context(thread_config("GML_FIELDTYPES", "ALWAYS_STRING"))
        table: pa.Table = pyogrio.read_arrow(
            path, columns=list(names), read_geometry=False, datetime_as_string=True, **source.options
        )[1]
    taken: dict[str, pa.Array] = {}
    reasons: dict[str, str] = {}
    for name in names:
        if name not in table.column_names or not pa.types.is_string(table.column(name).type):
            continue
        column = table.column(name).combine_chunks()
        texts = [text for text in column.unique().to_pylist() if text is not None]
        reason = moments.misfit(texts, zoned=False)
        if reason is not None and any(re.fullmatch(r"\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*", text) for text in texts):
            reason = _wide(texts)
        if reason is not None:
            taken[name], reasons[name] = column, reason
    if taken:
        exact.types = dict.fromkeys(taken, pa.string())
        exact.take = in_slices(taken)
        exact.report["read_from_bytes"] = reasons
        exact.rows, exact.counted_by = table.num_rows, "a second reading"
    return exact


def _wide(texts: Sequence[str]) -> str | None:
    whole = [text for text in texts if re.fullmatch(r"\s*[+-]?[0-9]{16,}\s*", text)]
    numbers = [int(text) for text in whole]
    decimals = any("." in text or "e" in text.lower() for text in texts)
    most = max(map(abs, numbers), default=0)
    if most >= 1 << 63 or (most > 1 << 53 and decimals):
        return f"as text: {max(whole, key=len)!r} is more than a number holds"
    return None
