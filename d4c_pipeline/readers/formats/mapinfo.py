"""MapInfo tables in the native and the interchange format; content distinguishes a native `.tab` from tabbed text."""

from __future__ import annotations

import re
from pathlib import Path

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers.member import Member
from d4c_pipeline.readers.registry import Format
from d4c_pipeline.tables.native import Part

# ruff: noqa: PLC0415 - libraries are imported on use

_TABLE = re.compile(rb"\s*!table\s", re.IGNORECASE)
_RASTER = re.compile(rb'\bType\s+"?RASTER', re.IGNORECASE)


def _open_table(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import single_layers, vector

    return vector.parts(member, processing, single_layers.TABLE)


def _open_interchange(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import single_layers, vector

    return vector.parts(member, processing, single_layers.INTERCHANGE)


def _is_table(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        return _TABLE.match(handle.read(64)) is not None


def _is_raster(path: Path) -> bool:
    # Such a table only positions an image.
    if not _is_table(path):
        return False
    with path.open("rb") as handle:
        return _RASTER.search(handle.read(4096)) is not None


def _check(member: Member, with_geometry: bool) -> None:
    # Without the other files of a table, GDAL reads no rows, columns or geometry.
    needed = (".mid",) if member.suffix == ".mif" else (".dat", ".map", ".id") if with_geometry else (".dat",)
    beside = {other.name.lower() for other in member.path.parent.iterdir()}
    stem = member.path.stem.lower()
    head = member.path.read_bytes()[:4096].upper()
    if member.suffix == ".tab" and b"NATIVE" not in head:  # a view, or a table over a file of another format
        raise DataError(
            f"{member.path.name} is a MapInfo table of an unsupported kind", "Have the source deliver a native table"
        )
    if missing := [suffix for suffix in needed if f"{stem}{suffix}" not in beside]:
        raise DataError(
            f"{member.path.name} is a MapInfo table that was delivered without its {' and '.join(missing)} file",
            "Have the source deliver all parts of the table",
        )


FORMATS = (
    Format(
        beginnings={".tab": ()}, group="features", open=_open_table, recognise=_is_table, check=_check, skip=_is_raster
    ),
    Format(beginnings={".mif": ()}, group="features", open=_open_interchange, check=_check),
)
