"""Output columns: what is declared of them (name, type, description) put onto what the source or the SQL delivers.

The naming rule for what is not declared stands in `names`, casting in `casting`; geometry is not a column here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from d4c_pipeline.model import release
from d4c_pipeline.model.dataset import Column, Processing
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing import casting
from d4c_pipeline.processing.names import snake_case, unique_snake_case

GEOMETRY = "geometry"
BBOX = "bbox"


@dataclass(frozen=True)
class Arranged:
    """The attributes under their output names, and what is known of every output column, geometry included."""

    table: pa.Table
    columns: tuple[release.Column, ...]


def arrange(
    table: pa.Table, processing: Processing, source_names: Sequence[str], geometry_type: str | None
) -> Arranged:
    """Rename, cast and describe the columns of `table` as declared; their order stays that of `table`.

    A declared column is found by its `source`, else by its own name, else by what the naming rule makes of a column.
    `source_names` are the source's columns: one of that very name is recorded as the origin. `geometry_type` (Arrow's
    word for the geometry column that will be added) is None for tables. Raises DataError when a declared or key column
    is not there, two declarations mean the same column, or a value can't be cast.
    """
    reserved = (GEOMETRY, BBOX) if geometry_type else ()
    declared = {name: column for name, column in processing.columns.items() if name not in reserved}
    if geometry_type and BBOX in processing.columns:
        raise DataError("A column bbox is declared, but that name belongs to the covering", "Give it another name")
    claimed = _claims(table.column_names, declared, sql=processing.sql is not None)
    free = [name for name in table.column_names if name not in claimed]
    named = dict(zip(free, unique_snake_case(free, taken=(*reserved, *declared)), strict=True))
    arrays: list[pa.ChunkedArray] = []
    columns: list[release.Column] = []
    for raw in table.column_names:
        name = claimed.get(raw) or named[raw]
        wanted = declared.get(name, Column()) if raw in claimed else Column()
        array = casting.cast(table[raw], wanted.type, name) if wanted.type else table[raw]
        arrays.append(array)
        columns.append(
            _described(name, str(array.type), wanted.source or (raw if raw in source_names else None), wanted)
        )
    if geometry_type:
        columns.append(_described(GEOMETRY, geometry_type, None, processing.columns.get(GEOMETRY, Column())))
    missing = [name for name in processing.key if name not in [column.name for column in columns]]
    if missing:
        raise DataError(
            f"Key column {', '.join(missing)} is not among the columns: {_listed([c.name for c in columns])}",
            "Correct processing.key",
        )
    return Arranged(pa.table(arrays, names=[name.name for name in columns[: len(arrays)]]), tuple(columns))


def _claims(names: Sequence[str], declared: dict[str, Column], *, sql: bool) -> dict[str, str]:
    # Column as it comes -> the declared output name that means it.
    claimed: dict[str, str] = {}
    for name, column in declared.items():
        by_rule = [raw for raw in names if snake_case(raw) == name]
        # After SQL the output names stand there already, and `source` says what a column was before it.
        own = [name, *by_rule]
        candidates = [*own, column.source] if sql else [column.source] if column.source else own
        found = next((raw for raw in candidates if raw is not None and raw in names), None)
        if found is None:
            raise DataError(
                f"Declared column {name}{f' (source {column.source})' if column.source else ''} is not there;"
                f" there are {_listed(names)}",
                "Correct processing.columns",
            )
        if found in claimed:
            raise DataError(
                f"Columns {claimed[found]} and {name} are both declared to be {found}", "Correct their source"
            )
        claimed[found] = name
    return claimed


def _described(name: str, kind: str, source: str | None, column: Column) -> release.Column:
    text = column.description
    return release.Column(name, kind, source, text.en if text else None, text.fr if text else None)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")
