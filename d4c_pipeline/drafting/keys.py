"""Guesses which columns identify a row, and which are DGUIDs, from a built file and its profile. In the sandbox.

A key is a proposal with its figures: a person confirms that the publisher means it as one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from d4c_pipeline.model.dguid import is_well_formed_dguid
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline.tables.sql_names import identifier

# Statistics Canada's codes of geographies: column -> type and schema of their DGUID.
# Source: https://www12.statcan.gc.ca/census-recensement/2021/ref/dict/az/definition-eng.cfm?ID=geo055
_GEOGRAPHIES = {
    "pruid": ("A", "0002", 2), "cduid": ("A", "0003", 4), "feduid": ("A", "0004", 5), "csduid": ("A", "0005", 7),
    "cfsauid": ("A", "0011", 3), "dauid": ("S", "0512", 8), "dbuid": ("S", "0513", 11), "adauid": ("S", "0516", 8),
}  # fmt: skip
# Ordered by how strongly a name says that the column identifies a row.
_STRENGTHS = (
    re.compile(r"(pr|cd|csd|fed|cfsa|da|db|ada|er|ccs|cma|ct|dpl|pop_ctr)uid"),
    re.compile(r"(global|u|g)?uid|uuid|nid|pid|id|identifier|identifiant"),
    re.compile(r".+_(id|uid|key|code|no|num|number|nbr)|(id|uid)_.+|code|key|index|number|no"),
    re.compile(r"\w+(id|code|key|no|num|nu)"),
    re.compile(r"dguid|idugd"),
    re.compile(r"objectid|fid|ogc_fid|gid|fid_\w+|shape_\w+"),
)
_PERIOD = re.compile(r"(ref_)?(date|year|annee|period|periode|month|mois|quarter|trimestre)(_\w+)?")
_GENERATED = len(_STRENGTHS) - 1
_MOST_PAIRS = 30
_MOST_CHECKED = 50_000  # DGUIDs


def key_of(
    profile: Mapping[str, Any], data: Sequence[Path], hints: Sequence[str], *, is_wds: bool
) -> tuple[list[str], str]:
    """Return the key columns and the evidence; an empty list if no column or pair of identifiers is unique.

    `hints`: columns that the source calls unique.
    """
    rows, columns = profile["rows"], profile["columns"]
    if is_wds:
        wanted = ("ref_date", "coordinate")
        if _distinct(data, wanted) == rows:
            return list(wanted), f"{rows:,} rows, as many pairs of period and coordinate"
        return [], f"period and coordinate repeat within {rows:,} rows"
    filled = [name for name, facts in columns.items() if not facts["nulls"] and _identifies(facts["type"])]
    unique = [name for name in filled if columns[name]["distinct"] == rows]
    ranked = sorted(unique, key=lambda name: (name not in hints, _strength(name), list(columns).index(name)))
    if rows > 1 and ranked and (ranked[0] in hints or _strength(ranked[0]) < len(_STRENGTHS)):
        others = f"; also unique: {', '.join(ranked[1:6])}" if ranked[1:] else ""
        return [ranked[0]], f"{rows:,} rows, {rows:,} values of {ranked[0]}, none null{others}"
    coded = sorted((name for name in filled if _strength(name) < _GENERATED), key=_strength)
    # Two identifiers together are unique by chance too often; a period with an identifier is the form of a series.
    periods = [name for name in filled if _PERIOD.fullmatch(name)]
    for pair in list(product(periods, (name for name in coded if name not in periods)))[:_MOST_PAIRS]:
        if rows > 1 and _distinct(data, pair) == rows:
            return list(pair), f"{rows:,} rows, as many pairs of {pair[0]} and {pair[1]}, none null"
    near = max(coded, key=lambda name: columns[name]["distinct"], default=None)
    closest = f"; the closest is {near} with {columns[near]['distinct']:,} values" if near else ""
    names = f"; unique without the name of an identifier: {', '.join(ranked[:5])}" if ranked else ""
    return [], f"no identifier is unique within {rows:,} rows{closest}{names}"


def dguids_of(
    profile: Mapping[str, Any], data: Sequence[Path], key: Sequence[str]
) -> tuple[list[dict[str, Any]], str] | None:
    """Return `processing.dguids` with the evidence; None if the data have no DGUIDs and none follow from the key."""
    columns = profile["columns"]
    for name, facts in columns.items():
        if (
            "string" not in facts["type"]
            or facts.get("min") is None
            or not re.match(r"\d{4}[ASCZ]\d", str(facts["min"]))
        ):
            continue
        values = _values(data, name)
        wrong = [value for value in values if not is_well_formed_dguid(value)]
        if values and not wrong:
            return [{"column": name}], f"all {len(values):,} values of {name} have the form of a DGUID"
    if len(key) != 1 or key[0] not in _GEOGRAPHIES:
        return None
    kind, schema, width = _GEOGRAPHIES[key[0]]
    values = _values(data, key[0])
    if "dguid" in columns or not all(len(value) == width for value in values):
        return None
    why = f"{key[0]} identifies the rows and has the {width} places of schema {schema}"
    return [{"from": key[0], "type": kind, "schema": schema}], why


def _identifies(kind: str) -> bool:
    return kind.startswith(("int", "uint", "string", "large_string", "dictionary", "date"))


def _strength(name: str) -> int:
    return next((at for at, form in enumerate(_STRENGTHS) if form.fullmatch(name)), len(_STRENGTHS))


def _distinct(data: Sequence[Path], names: Sequence[str]) -> int:
    listed = ", ".join(map(identifier, names))
    with duckdb_engine.connect() as connection:
        found = connection.execute(
            f"SELECT count(*) FROM (SELECT DISTINCT {listed} FROM {duckdb_engine.parquet(data)})"
        ).fetchone()
    return int(found[0]) if found else 0


def _values(data: Sequence[Path], name: str) -> list[str]:
    column = identifier(name)
    with duckdb_engine.connect() as connection:
        found = connection.execute(
            f"SELECT DISTINCT {column}::VARCHAR FROM {duckdb_engine.parquet(data)} WHERE {column} IS NOT NULL"
            f" ORDER BY 1 LIMIT {_MOST_CHECKED}"
        ).fetchall()
    return [str(value) for (value,) in found]
