"""The columns that a filter may name: their SQL, their kind, and their description as a JSON schema (queryables)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from d4c_pipeline.tables.sql_names import identifier


class Kind(Enum):
    """What the values of an expression are; the value is a noun for messages."""

    TEXT = "text"
    NUMBER = "a number"
    WHOLE = "a whole number"
    SINGLE = "a number of single precision"
    TRUTH = "true or false"
    DATE = "a date"
    MOMENT = "a time"
    GEOMETRY = "a geometry"
    TEXTS = "a list of texts"

    @property
    def is_number(self) -> bool:
        """Whether values can be calculated with."""
        return self in _NUMBERS

    @property
    def is_time(self) -> bool:
        """Whether values lie in time."""
        return self in _TIMES


_NUMBERS = frozenset({Kind.NUMBER, Kind.WHOLE, Kind.SINGLE})
_TIMES = frozenset({Kind.DATE, Kind.MOMENT})
_WHOLE = frozenset(
    "TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT UHUGEINT".split()  # noqa: SIM905
)
_BY_TYPE = {
    "VARCHAR": Kind.TEXT,
    "DOUBLE": Kind.NUMBER,
    "FLOAT": Kind.SINGLE,
    "BOOLEAN": Kind.TRUTH,
    "DATE": Kind.DATE,
    "VARCHAR[]": Kind.TEXTS,
}
_SCHEMAS: Mapping[Kind, Mapping[str, Any]] = {
    Kind.TEXT: {"type": "string"},
    Kind.NUMBER: {"type": "number"},
    Kind.WHOLE: {"type": "integer"},
    Kind.SINGLE: {"type": "number"},
    Kind.TRUTH: {"type": "boolean"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.MOMENT: {"type": "string", "format": "date-time"},
    Kind.GEOMETRY: {"$ref": "https://geojson.org/schema/Geometry.json"},
    Kind.TEXTS: {"type": "array", "items": {"type": "string"}},
}


@dataclass(frozen=True)
class Column:
    """A column that filters may name.

    `sql`: a trusted expression of DuckDB; a geometry is a WKB blob. `box`: expressions of the west, south, east and
    north of a geometry, by which rows are skipped before geometries are compared.
    """

    sql: str
    kind: Kind
    box: tuple[str, str, str, str] | None = None


def column_of(name: str, duckdb_type: str) -> Column | None:
    """Return the column `name` of a table by its type in DuckDB, None for types that filters can't compare.

    A geometry, which is a BLOB, has to be stated by the caller.
    """
    sql, kind = identifier(name), duckdb_type.upper()
    if kind in _BY_TYPE:
        return Column(sql, _BY_TYPE[kind])
    if kind in _WHOLE:
        return Column(sql, Kind.WHOLE)
    if kind.startswith("DECIMAL"):
        return Column(sql, Kind.NUMBER)
    if kind.startswith("TIMESTAMP"):
        return Column(f"CAST({sql} AS TIMESTAMPTZ)" if kind != "TIMESTAMP WITH TIME ZONE" else sql, Kind.MOMENT)
    if kind.startswith("ENUM") or kind == "UUID":
        return Column(f"CAST({sql} AS VARCHAR)", Kind.TEXT)
    return None


def queryables(columns: Mapping[str, Column], address: str, title: str) -> dict[str, Any]:
    """Return the JSON schema of the names in filters, as OGC API Features Part 3 defines it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": address,
        "type": "object",
        "title": title,
        "properties": {name: {"title": name, **_SCHEMAS[column.kind]} for name, column in columns.items()},
        "additionalProperties": False,
    }
