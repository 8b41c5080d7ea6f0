"""Output columns: applies declared names, types and descriptions to the columns of a source or of SQL.

The naming rule for undeclared columns belongs to `names`, casting to `casting`, the types of undeclared text columns to
`narrow`. Geometry is not a column here.
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
    """The mapping from the attributes of a stream to output columns, known before the first row.

    `columns`: all output columns in order, geometry (if any) last. `schema`: the attributes that `batch` returns.
    `kinds`: declared types by output name; other columns may be narrowed. `nulls`: null markers by output name;
    `general`: null markers of all columns. `formats`: declared date formats by output name.
    """

    columns: tuple[release.Column, ...]
    schema: pa.Schema
    kinds: Mapping[str, str]
    nulls: Mapping[str, tuple[str, ...]]
    general: tuple[str, ...] = ()
    formats: Mapping[str, str] = field(default_factory=dict[str, str])

    def markers(self, name: str) -> tuple[str, ...]:
        """Return the null markers of a column that becomes a number."""
        return (*self.nulls.get(name, ()), *self.general)

    @property
    def settled(self) -> frozenset[str]:
        """Columns whose type is declared."""
        return frozenset(self.kinds)

    def batch(self, batch: pa.RecordBatch, first_row: int = 0) -> pa.RecordBatch:
        """Return the attributes of `batch` under their output names, with declared nulls and types applied.

        `batch` has the columns of the planned schema; later columns (geometry) are dropped. Raises DataError for a
        value that can't be cast; the message counts rows from `first_row`, the number of rows before the batch.
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
        """Return the plan with the types that `narrow.Evidence` found; `narrow.cast` applies them to batches."""
        columns = tuple(
            replace(column, type=str(types[column.name])) if column.name in types else column for column in self.columns
        )
        fields = [each.with_type(types.get(each.name, each.type)) for each in self.schema]
        return replace(self, columns=columns, schema=pa.schema(fields))


def plan(
    schema: pa.Schema, processing: Processing, *, origin: pa.Schema | None = None, geometry_type: str | None = None
) -> Plan:
    """Return the plan that renames, casts and describes the columns of `schema` in their order.

    A declared column is matched by its `source`, else by its own name, else by the naming rule. `origin`: the source's
    columns if SQL transformed them; the column of the same name is recorded as the origin, with the descriptions in its
    field's metadata (`source`, `description_en`, `description_fr`). `geometry_type`: Arrow's name of the type of the
    geometry column, None for tables. Raises DataError when a declared column or key column is missing, or when two
    declarations match the same column.
    """
    reserved = (GEOMETRY, BBOX) if geometry_type else ()
    declared = {name: column for name, column in processing.columns.items() if name not in reserved}
    if geometry_type and BBOX in processing.columns:
        raise DataError("A column bbox is declared, but that name is reserved for the covering", "Rename the column")
    transformed = processing.sql is not None or processing.notebook is not None
    claimed = _claims(schema.names, declared, transformed=transformed)
    free = [name for name in schema.names if name not in claimed]
    places = [at for at, name in enumerate(schema.names, 1) if name not in claimed]
    named = dict(zip(free, unique_snake_case(free, taken=(*reserved, *declared), positions=places), strict=True))
    fields: list[pa.Field] = []
    columns: list[release.Column] = []
    declarations = {raw: declared[name] for raw, name in claimed.items()}
    origins = {field.name: field for field in (schema if origin is None else origin)}
    for raw in schema.names:
        name, column = claimed.get(raw) or named[raw], declarations.get(raw, Column())
        kind = casting.ARROW_TYPES[column.type] if column.type else schema.field(raw).type
        fields.append(pa.field(name, kind))
        columns.append(_described(name, str(kind), column, _facts(schema.field(raw), origins.get(raw))))
    if geometry_type:
        columns.append(_described(GEOMETRY, geometry_type, processing.columns.get(GEOMETRY, Column()), {}))
    missing = [name for name in processing.key if name not in [column.name for column in columns]]
    if missing:
        raise DataError(
            f"Key column {', '.join(missing)} is not among the columns: {_listed([c.name for c in columns])}",
            "Correct processing.key",
        )
    # Readers apply the dataset's markers to numbers of the file; text that becomes a number here is marked here.
    # After SQL a value that equals a marker is a result.
    general = () if transformed else processing.nulls
    nulls = {
        claimed[raw]: (*column.nulls, *(general if column.type in casting.NUMERIC else ()))
        for raw, column in declarations.items()
    }
    return Plan(
        tuple(columns),
        pa.schema(fields),
        {claimed[raw]: column.type for raw, column in declarations.items() if column.type},
        {name: markers for name, markers in nulls.items() if markers},
        general,
        {claimed[raw]: column.date_format for raw, column in declarations.items() if column.date_format},
    )


def _claims(names: Sequence[str], declared: dict[str, Column], *, transformed: bool) -> dict[str, str]:
    # Incoming column -> declared output name.
    claimed: dict[str, str] = {}
    for name, column in declared.items():
        by_rule = [raw for raw in names if snake_case(raw) == name]
        # SQL already returns the output names; `source` then names the column before SQL.
        own = [name, *by_rule]
        candidates = [*own, column.source] if transformed else [column.source] if column.source else own
        found = next((raw for raw in candidates if raw is not None and raw in names), None)
        if found is None:
            raise DataError(
                f"Declared column {name}{f' (source {column.source})' if column.source else ''} is missing;"
                f" the columns are {_listed(names)}",
                "Correct processing.columns",
            )
        if found in claimed:
            raise DataError(f"Columns {claimed[found]} and {name} both have the source {found}", "Correct their source")
        claimed[found] = name
    return claimed


def _facts(field: pa.Field, known: pa.Field | None) -> dict[str, str]:
    # Metadata of the stream's field, else of `known`, the source's field of the same name.
    facts: dict[str, str] = {"source": field.name} if known is not None else {}
    for each in (known, field):
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
