"""JSON under the suffixes `.json`, `.jsonl` and `.ndjson`: content distinguishes rows, Esri and GeoJSON features."""

from __future__ import annotations

import re
from dataclasses import replace

from d4c_pipeline.model.processing import Processing, VectorProcessing
from d4c_pipeline.readers import rows
from d4c_pipeline.readers.formats.gdal import open_json
from d4c_pipeline.readers.member import Member
from d4c_pipeline.readers.registry import Format
from d4c_pipeline.tables.native import Part

# ruff: noqa: PLC0415

_GEOJSON = re.compile(rb'"type"\s*:\s*"Feature(Collection)?"')
_DOCUMENT = (b"{", b"[")
_SEQUENCE = (*_DOCUMENT, b"\x1e")


def _open(member: Member, processing: Processing, threads: int | None) -> list[Part]:
    if member.suffix == ".json":
        from d4c_pipeline.readers import esri

        if esri.is_esri(member.path):
            return _of_esri(member, processing, threads)
    if not _is_geojson(member, processing):
        from d4c_pipeline.readers import json_rows

        return [rows.part(member, processing, None, lambda: json_rows.read(member.path, processing), threads)]
    return open_json(member, processing, threads)


def _of_esri(member: Member, processing: Processing, threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import esri

    return [
        replace(part, open=lambda part=part: esri.labelled(part.open(), member.path))
        for part in open_json(member, processing, threads)
    ]


def _is_geojson(member: Member, processing: Processing) -> bool:
    if isinstance(processing, VectorProcessing):
        if processing.longitude is not None or processing.geometry_wkt is not None:
            return False
        if processing.sql is None:
            return True
    with member.path.open("rb") as handle:
        return _GEOJSON.search(handle.read(1 << 16)) is not None


FORMATS = (
    Format(beginnings={".json": _DOCUMENT, ".jsonl": _SEQUENCE, ".ndjson": _SEQUENCE}, group="json", open=_open),
)
