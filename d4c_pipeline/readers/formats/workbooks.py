"""Workbooks: XLSX, XLSM, XLSB, XLS and ODS. `readers.workbook` detects the format from content, not from the suffix."""

from __future__ import annotations

from functools import partial

from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import rows
from d4c_pipeline.readers.formats.text import open_text
from d4c_pipeline.readers.member import Member
from d4c_pipeline.readers.registry import Format
from d4c_pipeline.tables.native import Part


def _open(member: Member, processing: Processing, threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import workbook  # noqa: PLC0415

    if workbook.kind(member.path) == "text":  # CSV under the name .xls, as portals export it
        return open_text(member, processing, threads)
    return [
        rows.part(member, processing, sheet, partial(workbook.read, member.path, processing, sheet), threads)
        for sheet in workbook.sheets(member.path, processing)
    ]


FORMATS = (
    Format(
        beginnings={".xlsx": (), ".xlsm": (), ".xlsb": (), ".xls": (), ".ods": ()},
        group="workbook",
        open=_open,
        packed=True,
    ),
)
