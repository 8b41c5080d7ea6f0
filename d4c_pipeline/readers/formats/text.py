"""Delimited text: CSV, TSV and similar files."""

from __future__ import annotations

from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import rows
from d4c_pipeline.readers.member import Member
from d4c_pipeline.readers.registry import Format
from d4c_pipeline.tables.native import Part


def open_text(member: Member, processing: Processing, threads: int | None) -> list[Part]:
    """Return the part that holds the rows of a text file."""
    from d4c_pipeline.readers import text  # noqa: PLC0415

    return [rows.part(member, processing, None, lambda: text.read(member.path, processing, threads=threads), threads)]


FORMATS = (
    Format(beginnings={".csv": (), ".tsv": (), ".tab": ()}, group="text", open=open_text),
    Format(beginnings={".txt": ()}, group="plain text", open=open_text),
)
