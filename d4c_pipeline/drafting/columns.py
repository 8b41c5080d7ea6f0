"""Guesses about columns from a built file and its profile: declared types, null markers, coordinates. In the sandbox.

Which columns identify a row belongs to `keys`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d4c_pipeline.model.release import Column, DataSummary
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline.tables.sql_names import identifier

# Texts that mean "no value" in deliveries of Canadian publishers. A bare 0 or -1 is a number, so a person decides.
_MARKERS = ("..", "...", "None", "NULL", "null", "N/A", "n/a", "#N/A", "NaN", "nan", "<Null>", "-9999")
_LONGITUDE = re.compile(r"(longitude|lon|long|lng|x_?long\w*|longitud)", re.IGNORECASE)
_LATITUDE = re.compile(r"(latitude|lat|y_?lat\w*|latitud)", re.IGNORECASE)
_TYPES = (
    (r"u?int\d+", "integer"),
    (r"float|double|halffloat", "float"),
    (r"bool", "boolean"),
    (r"date\d+.*", "date"),
    (r"timestamp.*", "timestamp"),
    (r"(large_)?string.*|string_view", "string"),
)


def described(named: Sequence[Column], profile: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return name, source, declared type and evidence of each column; `profile`: the facts of each column."""
    out: list[dict[str, Any]] = []
    for column in named:
        facts = profile.get(column.name, {})
        kind = next((name for form, name in _TYPES if re.fullmatch(form, column.type)), None)
        source = column.source if column.source != column.name else None
        span = (
            f"{_short(facts.get('min'))} to {_short(facts.get('max'))}" if facts.get("min") is not None else "no value"
        )
        why = f"{facts.get('distinct', 0):,} values, {facts.get('nulls', 0):,} nulls, {span}"
        out.append({"name": column.name, "source": source, "type": kind, "why": why})
    return out


def markers(profile: Mapping[str, Any], data: Sequence[Path]) -> tuple[list[str], str]:
    """Return the texts of the file that mean "no value", and how often each occurs."""
    texts = [name for name, facts in profile["columns"].items() if "string" in facts["type"] or "dict" in facts["type"]]
    if not texts:
        return [], ""
    source = duckdb_engine.parquet(data)
    counted = ", ".join(
        f"sum({' + '.join(f'coalesce(({identifier(name)} = ?)::INT, 0)' for name in texts)})" for _ in _MARKERS
    )
    values = [marker for marker in _MARKERS for _ in texts]
    with duckdb_engine.connect() as connection:
        row = connection.execute(f"SELECT {counted} FROM {source}", values).fetchone()
    counts = {marker: int(count or 0) for marker, count in zip(_MARKERS, row or (), strict=True)}
    present = [marker for marker, count in counts.items() if count]
    return present, ", ".join(f"'{marker}' stands in {counts[marker]:,} cells" for marker in present)


@dataclass(frozen=True)
class Coordinates:
    """The source's columns of longitude and latitude, their output names, and the evidence."""

    longitude: str
    latitude: str
    names: tuple[str, str]
    evidence: str

    @property
    def columns(self) -> tuple[str, str]:
        """The source's columns in the order of `names`."""
        return self.longitude, self.latitude


def coordinates(summary: DataSummary, data: Sequence[Path]) -> Coordinates | None:
    """Return the columns of longitude and latitude; None without a pair whose names and values are those of degrees."""
    found: dict[str, tuple[str, str, str]] = {}
    for axis, form, limit in (("longitude", _LONGITUDE, 180), ("latitude", _LATITUDE, 90)):
        for column in summary.columns:
            if form.fullmatch(column.name) is None or (span := _span(data, column.name)) is None:
                continue
            if -limit <= span[0] <= span[1] <= limit:
                words = f"{column.name} from {span[0]} to {span[1]}{f', {span[2]} no plain number' if span[2] else ''}"
                found.setdefault(axis, (column.source or column.name, column.name, words))
    if len(found) < 2:
        return None
    longitude, latitude = found["longitude"], found["latitude"]
    evidence = f"{longitude[2]}, {latitude[2]}: names and values of degrees"
    return Coordinates(longitude[0], latitude[0], (longitude[1], latitude[1]), evidence)


def _span(data: Sequence[Path], name: str) -> tuple[float, float, int] | None:
    """Return the least and the greatest number of a column, which may be text, and how many values are no numbers.

    None where these are more than one in a hundred: the readers understand degrees in many spellings, and judge them.
    """
    column = identifier(name)
    number = f"TRY_CAST({column}::VARCHAR AS DOUBLE)"
    with duckdb_engine.connect() as connection:
        row = connection.execute(
            f"SELECT count({column}), count({number}), min({number}), max({number}) FROM {duckdb_engine.parquet(data)}"
        ).fetchone()
    if row is None or row[2] is None or (row[0] - row[1]) * 100 > row[0]:
        return None
    return float(row[2]), float(row[3]), int(row[0] - row[1])


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 24 else f"{text[:23]}…"
