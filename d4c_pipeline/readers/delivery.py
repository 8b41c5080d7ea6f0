"""A delivery read: its files chosen by `inputs`, each opened by the reader of its format, one stream of rows handed on.

What a format looks like inside is known to the other modules here, which are imported when a file wants them: a table
needs neither GDAL nor PROJ, and a cold process should not wait for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from d4c_pipeline.files.unpack import is_archive
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.processing import Processing, VectorProcessing
from d4c_pipeline.readers import bounded, hive, inputs
from d4c_pipeline.readers.inputs import Member
from d4c_pipeline.sandbox import activity
from d4c_pipeline.tables.native import Native, Part, with_rows, with_typed_nulls

# ruff: noqa: PLC0415

Result = TypeVar("Result")
_TOLD = 3  # files
_GEOJSON = re.compile(rb'"type"\s*:\s*"Feature(Collection)?"')


def read(processing: Processing, natives: Sequence[Path], work: Path, *, threads: int | None = None) -> Native:
    """Open what `processing` declares of `natives`; archives are unpacked under the existing folder `work`.

    `threads` changes the speed, never the rows or their order. The first rows are read at once, and what is wrong with
    them is found here. Raises DataError for what can't be read as declared, is empty, or can't be appended.
    """
    activity.now(f"unpacking {', '.join(native.name for native in natives[:_TOLD])}")
    members = _chosen(processing, natives, work)
    limits = Limits.from_environment()
    parts = [part for member in members for part in _limited(member, processing, threads, limits)]
    parts = [hive.with_path_columns(part) for part in parts]
    parts = [replace(part, origin=_origin(part, several=len(members) > 1)) for part in parts]
    if processing.origin_column is not None:
        parts = [_with_origin(part, processing.origin_column) for part in parts]
    if processing.append:
        from d4c_pipeline.readers import append

        native = append.append(parts)
    else:
        native = parts[0].open()
    name = "What was chosen" if processing.append else native.name
    empty = DataError(f"{name} has no rows", "Look at what the source delivers")
    return replace(native, batches=with_rows(native.batches, lambda: empty))


def _chosen(processing: Processing, natives: Sequence[Path], work: Path) -> tuple[Member, ...]:
    packed = [native for native in natives if native.is_file() and is_archive(native)]
    if not packed or not isinstance(processing, VectorProcessing):
        return inputs.choose(processing, natives, work)
    return _while_loading(partial(inputs.choose, processing, natives, work), "geometry.cleaning", "readers.vector")


def _while_loading(work: Callable[[], Result], *modules: str) -> Result:
    # Unpacking and looking through a file leave Python to others: meanwhile a cold process loads what features need in
    # any case.
    with ThreadPoolExecutor(1, thread_name_prefix="d4c-beside") as pool:
        done = pool.submit(work)
        for module in modules:
            import_module(f"d4c_pipeline.{module}")
        return done.result()


def _limited(member: Member, processing: Processing, threads: int | None, limits: Limits) -> list[Part]:
    with bounded.explained(member.name):
        parts = _parts(member, processing, threads)

    def opened(part: Part) -> Native:
        activity.now(f"reading {part.member}")
        with bounded.explained(part.member):
            return bounded.within_limits(part.open(), member, limits)

    return [replace(part, open=partial(opened, part)) for part in parts]


def _parts(member: Member, processing: Processing, threads: int | None) -> list[Part]:
    activity.now(f"opening {member.name}")
    if member.suffix in inputs.TEXT_SUFFIXES and not member.is_mapinfo:
        from d4c_pipeline.readers import text

        return [_table(member, processing, None, lambda: text.read(member.path, processing, threads=threads), threads)]
    if member.suffix in inputs.WORKBOOK_SUFFIXES:
        from d4c_pipeline.readers import text, workbook

        if workbook.kind(member.path) == "text":  # CSV under the name .xls, as portals export it
            return [
                _table(member, processing, None, lambda: text.read(member.path, processing, threads=threads), threads)
            ]
        sheets = workbook.sheets(member.path, processing)
        return [
            _table(member, processing, sheet, partial(workbook.read, member.path, processing, sheet), threads)
            for sheet in sheets
        ]
    if member.suffix in inputs.PARQUET_SUFFIXES:
        from d4c_pipeline.readers import parquet

        return [_table(member, processing, None, lambda: parquet.read(member.path, processing), threads)]
    if member.suffix == ".json":
        from d4c_pipeline.readers import esri

        if esri.is_esri(member.path):
            return _of_esri(member, processing)
    if member.suffix in inputs.JSON_SUFFIXES and not _is_geojson(member, processing):
        from d4c_pipeline.readers import json_rows

        return [_table(member, processing, None, lambda: json_rows.read(member.path, processing), threads)]
    from d4c_pipeline.readers import vector

    return vector.parts(member, processing)


def _of_esri(member: Member, processing: Processing) -> list[Part]:
    from d4c_pipeline.readers import esri, vector

    return [
        replace(part, open=lambda part=part: esri.told(part.open(), member.path))
        for part in vector.parts(member, processing)
    ]


def _table(
    member: Member, processing: Processing, layer: str | None, opener: Callable[[], Native], threads: int | None
) -> Part:
    # Features of a format that knows no geometry: columns with coordinates make it.
    def placed() -> Native:
        if not isinstance(processing, VectorProcessing):
            return with_typed_nulls(opener(), processing.nulls)
        native = _while_loading(opener, "geometry.cleaning", "readers.coordinates")
        numeric = [name for name in (processing.longitude, processing.latitude) if name is not None]
        native = with_typed_nulls(native, processing.nulls, numeric=numeric)
        if native.crs is not None:
            return native
        from d4c_pipeline.readers import coordinates

        return coordinates.with_geometry(native, processing, member.path, threads=threads)

    return Part(member.name, layer, placed)


def _is_geojson(member: Member, processing: Processing) -> bool:
    if isinstance(processing, VectorProcessing):
        if processing.longitude is not None or processing.geometry_wkt is not None:
            return False
        if processing.sql is None:
            return True
    with member.path.open("rb") as handle:
        return _GEOJSON.search(handle.read(1 << 16)) is not None


def _origin(part: Part, *, several: bool) -> str:
    # The file tells parts apart, and the layer where there can be more than one in a file.
    if part.layer is None or Path(part.member).stem == part.layer:
        return part.member
    return f"{part.member}:{part.layer}" if several else part.layer


def _with_origin(part: Part, name: str) -> Part:
    def opened() -> Native:
        native = part.open()
        if name in native.attributes.names:
            raise DataError(
                f"There is a column {name} already, which is declared as origin_column", "Give the origin another name"
            )
        position = len(native.attributes)

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in native.batches:
                yield batch.add_column(position, name, pa.repeat(pa.scalar(part.origin, pa.string()), batch.num_rows))

        return replace(native, attributes=native.attributes.append(pa.field(name, pa.string())), batches=batches())

    return replace(part, open=opened)
