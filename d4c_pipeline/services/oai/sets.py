"""The sets of the repository, in three hierarchies: by collection (dataset), by package, by subject (ISO 19115 topic).

A set above them (`collection`, ...) contains all records of its hierarchy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from d4c_pipeline.services.catalogue_index import RECORDS, RELEASES
from d4c_pipeline.services.record_port import RecordRow

_TITLES = {"collection": "Collections", "package": "Packages", "subject": "Subjects (topic categories of ISO 19115)"}
_CONDITIONS = {"collection": "dataset = ?", "package": "package = ?", "subject": "list_contains(subjects, ?)"}
_ABOVE = {"collection": "true", "package": "true", "subject": "len(subjects) > 0"}
# The title of an item ends with vintage and version.
_ALL = f"""
    SELECT spec, any_value(name) AS name FROM (
        SELECT 'collection:' || r.dataset AS spec, coalesce(s.title, r.dataset) AS name FROM {RECORDS} r LEFT JOIN (
            SELECT dataset, any_value(regexp_replace(title, ', [^,]*, v[^,]*$', '')) AS title FROM {RELEASES}
            WHERE is_latest GROUP BY dataset
        ) s USING (dataset)
        UNION ALL SELECT 'package:' || package, package FROM {RECORDS}
        UNION ALL SELECT 'subject:' || subject, subject FROM (SELECT unnest(subjects) AS subject FROM {RECORDS})
        UNION ALL SELECT * FROM (VALUES {", ".join(f"('{spec}', '{title}')" for spec, title in _TITLES.items())})
    ) GROUP BY spec
"""  # noqa: S608 - SQL of ours
TABLE = "oai_sets"


@dataclass(frozen=True)
class Set:
    """A set: its spec and its name."""

    spec: str
    name: str


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Add the table of all sets to the index of the catalogue."""
    connection.execute(f"CREATE TABLE {TABLE} AS {_ALL} ORDER BY spec")


def after(cursor: duckdb.DuckDBPyConnection, spec: str, most: int) -> list[Set]:
    """Return the next sets by their specs."""
    query = f"SELECT spec, name FROM {TABLE} WHERE spec > ? ORDER BY spec LIMIT {most:d}"  # noqa: S608
    return [Set(*row) for row in cursor.execute(query, [spec]).fetchall()]


def count(cursor: duckdb.DuckDBPyConnection) -> int:
    """Return the number of sets."""
    return cursor.execute(f"SELECT count(*) FROM {TABLE}").fetchall()[0][0]  # noqa: S608


def condition(spec: str | None) -> tuple[str, list[Any]]:
    """Return SQL for the records of a set, all without one, with its values; a set that does not exist has none."""
    if spec is None:
        return "true", []
    kind, _, name = spec.partition(":")
    if kind not in _CONDITIONS:
        return "false", []
    return (_CONDITIONS[kind], [name]) if ":" in spec else (_ABOVE[kind], [])


def specs_of(row: RecordRow) -> tuple[str, ...]:
    """Return the specs of the sets that a record is in; the sets above are implied."""
    subjects = (f"subject:{subject}" for subject in row.subjects)
    return f"collection:{row.dataset}", f"package:{row.package}", *subjects
