"""Checks of the rows against the dataset's declaration: schema, keys, DGUIDs, totals, encoding.

Checks of geometry belong to `spatial`, checks against an earlier release to `previous`.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.model.checks import Total
from d4c_pipeline.model.dguid import is_well_formed_dguid
from d4c_pipeline.processing import profile
from d4c_pipeline.processing.checks.verdict import MOST_EXAMPLES, Built, Outcome, Verdict
from d4c_pipeline.tables.casting import ARROW_TYPES
from d4c_pipeline.tables.columns import BBOX, GEOMETRY
from d4c_pipeline.tables.names import snake_case
from d4c_pipeline.tables.sql_names import identifier

_DIGITS = 1e-9


def schema_as_declared(name: str, built: Built) -> Verdict:
    """The files have the columns that the build reports, in its order and types, including all declared columns."""
    schema = pq.read_schema(built.files[0])
    actual = {field.name: field.type for field in schema if field.name != BBOX or built.summary.crs is None}
    processing = built.dataset.processing
    faults: list[dict[str, Any]] = []

    def fault(column: str, expected: str, found: str) -> None:
        faults.append({"column": column, "expected": expected, "actual": found})

    for column in built.summary.columns:
        # A column without values is written as text: other readers do not know Arrow's null type.
        expected = "string" if column.type == "null" else column.type
        if column.name not in actual:
            fault(column.name, expected, "missing")
        elif column.name != GEOMETRY and str(actual[column.name]) != expected:
            fault(column.name, expected, str(actual[column.name]))
    for extra in actual.keys() - {column.name for column in built.summary.columns}:
        fault(extra, "absent", str(actual[extra]))
    for column, declared in processing.columns.items():
        if column not in actual:
            fault(column, "declared under processing.columns", "missing")
        elif declared.type is not None and column != GEOMETRY and actual[column] != ARROW_TYPES[declared.type]:
            fault(column, f"{declared.type} ({ARROW_TYPES[declared.type]})", str(actual[column]))
    for column in processing.key:
        if column not in actual:
            fault(column, "declared under processing.key", "missing")
    if processing.kind == "vector" and not _is_binary(actual.get(GEOMETRY)):
        fault(GEOMETRY, "WKB", str(actual.get(GEOMETRY, "missing")))
    if not faults and list(actual) != [column.name for column in built.summary.columns]:
        fault("order", ", ".join(column.name for column in built.summary.columns), ", ".join(actual))
    for file in built.files[1:]:
        if not pq.read_schema(file).equals(schema):
            fault("all", f"the schema of {built.files[0].name}", f"a different schema in {file.name}")
    rows = sum(pq.read_metadata(file).num_rows for file in built.files)
    profiled = json.loads(built.profile.read_text("utf-8"))
    for whose, stated in (("the build's summary", built.summary.rows), ("the profile", profiled["rows"])):
        if stated != rows:
            fault("all", f"{stated} rows by {whose}", f"{rows} rows")
    return Verdict(
        name,
        Outcome.FAILURE if faults else Outcome.PASS,
        f"{len(built.summary.columns)} columns as declared and reported",
        f"{len(actual)} columns" + (f", {len(faults)} differences" if faults else ""),
        faults[:MOST_EXAMPLES],
        "Correct processing.columns, or the code that changes the columns" if faults else "",
    )


def _is_binary(kind: pa.DataType | None) -> bool:
    if kind is None:
        return False
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def keys_identify_rows(name: str, built: Built) -> Verdict:
    """The key columns are never null, and no key occurs twice."""
    key = built.dataset.processing.key
    # The build counted them in this file; a second count would be the most expensive check.
    found = built.summary.report
    if "key_nulls" not in found or "key_duplicates" not in found:
        found = profile.keys(built.files, key, spill=built.work, threads=built.threads, memory_limit=built.memory_limit)
    nulls, duplicates = found["key_nulls"], found["key_duplicates"]
    bad = nulls + duplicates
    return Verdict(
        name,
        Outcome.FAILURE if bad else Outcome.PASS,
        f"no null and no duplicate in {', '.join(key)}",
        f"{nulls} rows with a null key, {duplicates} duplicate key{'' if duplicates == 1 else 's'}",
        _key_examples(built, key, nulls=bool(nulls), duplicates=bool(duplicates)) if bad else (),
        "Declare the columns that identify a row under processing.key, or none" if bad else "",
    )


def _key_examples(built: Built, key: tuple[str, ...], *, nulls: bool, duplicates: bool) -> list[dict[str, Any]]:
    columns = ", ".join(map(identifier, key))
    texts = ", ".join(f"CAST({identifier(column)} AS VARCHAR)" for column in key)
    null = " OR ".join(f"{identifier(column)} IS NULL" for column in key)
    examples: list[dict[str, Any]] = []
    with built.duckdb() as connection:
        for wanted, condition, having in ((duplicates, f"NOT ({null})", "HAVING count(*) > 1"), (nulls, null, "")):
            if wanted:
                rows = connection.execute(
                    f"SELECT {texts}, count(*) FROM data WHERE {condition} GROUP BY {columns} {having}"
                    f" ORDER BY {columns} LIMIT {MOST_EXAMPLES}"
                ).fetchall()
                examples += [{**dict(zip(key, row, strict=False)), "rows": row[-1]} for row in rows]
    return examples[:MOST_EXAMPLES]


def encoding_sane(name: str, built: Built) -> Verdict:
    """No text looks decoded with a wrong encoding."""
    garbled = built.attributes.garbled
    count = sum(found.count for found in garbled.values())
    allowed = built.dataset.checks.mojibake_allowed
    examples = [
        {"column": column, "value": value[:200]} for column, found in garbled.items() for value in found.examples
    ]
    return Verdict(
        name,
        Outcome.beyond(count, warning=0, failure=allowed),
        "no text that looks wrongly decoded" + (f" beyond {allowed} known at the source" if allowed else ""),
        f"{count} values in {', '.join(garbled)}" if garbled else "no such value",
        examples[:MOST_EXAMPLES],
        "Declare processing.encoding; if the source has this text, declare checks.mojibake_allowed" if count else "",
    )


def dguids_well_formed(name: str, built: Built) -> Verdict:
    """Every DGUID is well formed, and exists in the gazetteer if one is declared."""
    limits, outcome = built.dataset.checks.dguids, Outcome.PASS
    reported = {snake_case(column): facts for column, facts in built.summary.report.get("dguids", {}).items()}
    counts: list[str] = []
    examples: list[dict[str, Any]] = []
    for declared in built.dataset.processing.dguids:
        column = declared.column
        with built.duckdb() as connection:
            answer = connection.execute(
                f"SELECT CAST({identifier(column)} AS VARCHAR) AS dguid, count(*) FROM data"
                f" WHERE {identifier(column)} IS NOT NULL GROUP BY ALL ORDER BY ALL"
            )
            values = malformed = 0
            while chunk := answer.fetchmany(10_000):
                values += sum(rows for _, rows in chunk)
                bad = [(text, rows) for text, rows in chunk if not is_well_formed_dguid(text)]
                malformed += sum(rows for _, rows in bad)
                examples += [{"column": column, "malformed": text, "rows": rows} for text, rows in bad[:MOST_EXAMPLES]]
        facts = reported.get(column, {})
        unknown = int(facts.get("unknown", 0))
        examples += [{"column": column, "unknown": text} for text in facts.get("unknown_examples", ())]
        share = max(values, 1)
        outcome = max(
            outcome,
            Outcome.beyond(malformed / share, warning=0, failure=limits.malformed_failure),
            Outcome.beyond(unknown / share, warning=0, failure=limits.unknown_failure),
            Outcome.WARNING if not values else Outcome.PASS,
        )
        gazetteer = f", {unknown} unknown to the gazetteer" if declared.gazetteer is not None else ""
        counts.append(f"{column}: {values} values, {malformed} malformed{gazetteer}")
    return Verdict(
        name,
        outcome,
        f"every value a DGUID; failing above {limits.malformed_failure:.2%} malformed or {limits.unknown_failure:.2%}"
        " unknown",
        "; ".join(counts),
        examples[:MOST_EXAMPLES],
        "Correct processing.dguids (type, schema, width, gazetteer); if the source is so, declare checks.dguids"
        if outcome
        else "",
    )


def expected_totals(name: str, built: Built) -> Verdict:
    """The data matches the figures declared under `checks.totals`."""
    totals = [total for total in built.dataset.checks.totals if total.vintage in (None, str(built.vintage))]
    there = {column.name for column in built.summary.columns}
    misses: list[dict[str, Any]] = []
    with built.duckdb() as connection:
        for total in totals:
            figure, stated, sql = _figure(total)
            if total.column is not None and total.column not in there:
                misses.append({"total": figure, "expected": stated, "actual": f"no column {total.column}"})
                continue
            (actual,) = connection.execute(f"SELECT {sql} FROM data").fetchone() or (None,)
            slack = total.tolerance + (_DIGITS * abs(stated) if isinstance(actual, float) else 0.0)
            if actual is None or abs(float(actual) - stated) > slack:
                number = actual if isinstance(actual, int | float | None) else float(actual)
                misses.append(
                    {"total": figure, "expected": stated, "actual": number, "tolerance": total.tolerance}
                )  # fmt: skip
    return Verdict(
        name,
        Outcome.FAILURE if misses else Outcome.PASS,
        "; ".join(f"{_figure(total)[0]} {_figure(total)[1]:.12g}" for total in totals) or "nothing for this vintage",
        f"{len(misses)} of {len(totals)} totals differ" if misses else "all totals match",
        misses[:MOST_EXAMPLES],
        "Compare with the source; correct checks.totals if the publisher states another figure" if misses else "",
    )


def _figure(total: Total) -> tuple[str, float, str]:
    # The label, the declared figure, and the SQL that computes it.
    column = identifier(total.column or "")
    for words, stated, sql in (
        ("rows", total.rows, "count(*)"),
        (f"sum of {total.column}", total.sum, f"CASE WHEN count({column}) = 0 THEN 0 ELSE sum({column}) END"),
        (f"values in {total.column}", total.count, f"count({column})"),
        (f"distinct values in {total.column}", total.distinct, f"count(DISTINCT {column})"),
    ):
        if stated is not None:
            return words, stated, sql
    raise AssertionError("a total without a figure passed its validation")
