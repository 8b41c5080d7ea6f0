"""Parquet and GeoParquet files."""

from __future__ import annotations

from d4c_pipeline.files import magic
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import rows
from d4c_pipeline.readers.member import Member
from d4c_pipeline.readers.registry import Format
from d4c_pipeline.tables.native import Part


def _open(member: Member, processing: Processing, threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import parquet  # noqa: PLC0415

    return [rows.part(member, processing, None, lambda: parquet.read(member.path, processing), threads)]


FORMATS = (
    Format(
        beginnings=dict.fromkeys((".parquet", ".geoparquet", ".pq"), (magic.PARQUET,)), group="features", open=_open
    ),
)
