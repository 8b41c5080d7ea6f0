"""Output columns: what is declared of them (name, type, description) put onto what the source or the SQL delivers.

The naming rule for what is not declared stands in `names`, casting in `casting`, types of undeclared text columns in
`narrow`; geometry is not a column here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from d4c_pipeline.model import release
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Column, Processing
from d4c_pipeline.tables import casting
from d4c_pipeline.tables.names import snake_case, unique_snake_case
from d4c_pipeline.tables.native import with_nulls

GEOMETRY = "geometry"
BBOX = "bbox"
_FACTS = ("source", "description_en", "description_fr")


@dataclass(frozen=True)
class Plan:
    """How the attributes of a stream become output columns, known before the first row.

    `columns`: all of them in their order, geometry (if any) last. `schema`: of the attributes as `batch` returns them.
    `settled`: output names whose type is declared; the others may be narrowed. `nulls`: markers by output
    name, `general` those of all columns. `formats`: of declared dates and moments.
    """

    columns: tuple[release.Column, ...]
    schema: pa.Schema
    kinds: Mapping[str, str]
    nulls: Mapping[str, tuple[str, ...]]
    general: tuple[str, ...] = ()
    formats: Mapping[str, str] = field(default_factory=dict[str, str])

    def markers(self, name: str) -> tuple[str, ...]:
        """Return what means "no value" in a column that becomes a number."""
        return (*self.nulls.get(name, ()), *self.general)

    @property
    def settled(self) -> frozenset[str]:
        """Columns whose type is declared."""
        return frozenset(self.kinds)

    def batch(self, batch: pa.RecordBatch, first_row: int = 0) -> pa.RecordBatch:
        """Return the attributes of `batch` under their output names, declared nulls and types applied.

        `batch` has the columns that the plan was made for; further ones (the geometry) are left out. Raises DataError
        when a value can't be cast, counting rows from `first_row`, the number of those before the batch.
        """
        arrays: list[pa.Array] = []
        for position, name in enumerate(self.schema.names):
            column = batch.column(position)
            if name in self.nulls:
                column = with_nulls(column, self.nulls[name], numeric=self.kinds.get(name) in casting.NUMERIC)
            if name in self.kinds:
                form = self.formats.get(name)
                column = casting.cast(column, self.kinds[name], name, date_format=form, first_row=first_row)
            arrays.append(column)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def narrowed(self, types: Mapping[str, pa.DataType]) -> Plan:
        """Return the plan with the types that `narrow.Evidence` found; `narrow.cast` puts them onto batches."""
        columns = tuple(
            replace(column, type=str(types[column.name])) if column.name in types else column for column in self.columns
        )
        fields = [each.with_type(types.get(each.name, each.type)) for each in self.schema]
        return replace(self, columns=columns, schema=pa.schema(fields))


def plan(
    schema: pa.Schema, processing: Processing, *, origin: pa.Schema | None = None, geometry_type: str | None = None
) -> Plan:
    """Say how the columns of `schema` are renamed, cast and described; their order stays.

    A declared column is found by its `source`, else by its own name, else by what the naming rule makes of a column.
    `origin`: the source's columns, where SQL made others of them; one of the very name is recorded as the origin, with
    the descriptions that its field carries (`source`, `description_en`, `description_fr` in the field's metadata).
    `geometry_type` (Arrow's word for the geometry column that will be added) is None for tables. Raises DataError when
    a declared or key column is not there, or two declarations mean the same column.
    """
    origin = schema if origin is None else origin
    reserved = (GEOMETRY, BBOX) if geometry_type else ()
    declared = {name: column for name, column in processing.columns.items() if name not in reserved}
    if geometry_type and BBOX in processing.columns:
        raise DataError("A column bbox is declared, but that name belongs to the covering", "Give it another name")
    transformed = processing.sql is not None or processing.notebook is not None
    claimed = _claims(schema.names, declared, transformed=transformed)
    free = [name for name in schema.names if name not in claimed]
    places = [at for at, name in enumerate(schema.names, 1) if name not in claimed]
    named = dict(zip(free, unique_snake_case(free, taken=(*reserved, *declared), positions=places), strict=True))
    fields: list[pa.Field] = []
    columns: list[release.Column] = []
    wanted = {raw: declared[name] for raw, name in claimed.items()}
    for raw in schema.names:
        name, column = claimed.get(raw) or named[raw], wanted.get(raw, Column())
        kind = casting.ARROW_TYPES[column.type] if column.type else schema.field(raw).type
        fields.append(pa.field(name, kind))
        columns.append(_described(name, str(kind), column, _facts(raw, schema, origin)))
    if geometry_type:
        columns.append(_described(GEOMETRY, geometry_type, processing.columns.get(GEOMETRY, Column()), {}))
    missing = [name for name in processing.key if name not in [column.name for column in columns]]
    if missing:
        raise DataError(
            f"Key column {', '.join(missing)} is not among the columns: {_listed([c.name for c in columns])}",
            "Correct processing.key",
        )
    # Readers apply the dataset's markers to numbers of the file; what becomes a number here is still text.
    # After SQL a value that happens to equal one is a result.
    general = () if transformed else processing.nulls
    nulls = {
        claimed[raw]: (*column.nulls, *(general if column.type in casting.NUMERIC else ()))
        for raw, column in wanted.items()
    }
    return Plan(
        tuple(columns),
        pa.schema(fields),
        {claimed[raw]: column.type for raw, column in wanted.items() if column.type},
        {name: markers for name, markers in nulls.items() if markers},
        general,
        {claimed[raw]: column.date_format for raw, column in wanted.items() if column.date_format},
    )


def _claims(names: Sequence[str], declared: dict[str, Column], *, transformed: bool) -> dict[str, str]:
    # Column as it comes -> the declared output name that means it.
    claimed: dict[str, str] = {}
    for name, column in declared.items():
        by_rule = [raw for raw in names if snake_case(raw) == name]
        # After SQL the output names stand there already, and `source` says what a column was before it.
        own = [name, *by_rule]
        candidates = [*own, column.source] if transformed else [column.source] if column.source else own
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


def _facts(raw: str, schema: pa.Schema, origin: pa.Schema) -> dict[str, str]:
    # What fields say of themselves: those of the stream, else the source's of the very name.
    known = origin.field(raw) if raw in origin.names else None
    facts: dict[str, str] = {"source": raw} if known is not None else {}
    for each in (known, schema.field(raw)):
        metadata = (each.metadata if each is not None else None) or {}
        facts |= {fact: metadata[fact.encode()].decode() for fact in _FACTS if fact.encode() in metadata}
    return facts


def _described(name: str, kind: str, column: Column, facts: Mapping[str, str]) -> release.Column:
    text = column.description
    return release.Column(
        name,
        kind,
        column.source or facts.get("source"),
        text.en if text else facts.get("description_en"),
        text.fr if text else facts.get("description_fr"),
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")
