"""The records of all releases for protocols that deliver them: which there are, their facts, their bytes in any format.

The rows are those of `catalogue/record-parts/` in the index of the catalogue; formats belong to `metadata.records`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import duckdb

from d4c_pipeline.metadata.published import PublishedFile, PublishedMetadata
from d4c_pipeline.metadata.published_json import loaded, loaded_files
from d4c_pipeline.services.catalogue_index import RECORDS


class RecordRow(NamedTuple):
    """A release in the table of records. `modified`: seconds since 1970 (UTC); `id`: its name; `position`: its row.

    A tuple: a harvest makes hundreds of them in each answer, and a frozen dataclass takes three times as long.
    """

    position: int
    identifier: str
    id: str
    dataset: str
    vintage: str
    version: str
    package: str
    subjects: Sequence[str]
    modified: int
    withdrawn: bool
    is_latest: bool
    has_place: bool


_COLUMNS = RecordRow._fields
PUBLISHED_AT = "json_extract_string(facts, '$.published_at')"
"""SQL of a row's time of publication, a text that sorts as the time does. `modified` is the same for all rows after a
rebuild of the catalogue."""


def select(
    cursor: duckdb.DuckDBPyConnection, condition: str = "true", values: Sequence[Any] = (), *, rest: str = ""
) -> list[RecordRow]:
    """Return the rows that meet a condition. `condition`, `rest`: SQL of ours; `values`: of its parameters."""
    query = f"SELECT {', '.join(_COLUMNS)} FROM {RECORDS} WHERE {condition} {rest}"  # noqa: S608 - SQL of ours
    return list(map(RecordRow._make, cursor.execute(query, list(values)).fetchall()))


def count(cursor: duckdb.DuckDBPyConnection, condition: str = "true", values: Sequence[Any] = ()) -> int:
    """Return how many rows meet a condition."""
    query = f"SELECT count(*) FROM {RECORDS} WHERE {condition}"  # noqa: S608 - SQL of ours
    return cursor.execute(query, list(values)).fetchall()[0][0]


def published(cursor: duckdb.DuckDBPyConnection, rows: Iterable[RecordRow]) -> dict[int, PublishedMetadata]:
    """Return the facts of rows by position; those of a thousand rows are some 10 MB. Raises DataError."""
    wanted = [row.position for row in rows]
    if not wanted:
        return {}
    query = f"SELECT position, facts FROM {RECORDS} WHERE position IN (SELECT unnest(?))"  # noqa: S608
    return {position: loaded(facts) for position, facts in cursor.execute(query, [wanted]).fetchall()}


def files(cursor: duckdb.DuckDBPyConnection, names: Sequence[str]) -> dict[str, tuple[PublishedFile, ...]]:
    """Return the files of releases by name. Raises DataError."""
    query = f"SELECT id, facts FROM {RECORDS} WHERE id IN (SELECT unnest(?))"  # noqa: S608
    return {name: loaded_files(facts) for name, facts in cursor.execute(query, [list(names)]).fetchall()}


def named(cursor: duckdb.DuckDBPyConnection, names: Sequence[str]) -> dict[str, PublishedMetadata]:
    """Return the facts of releases by name; a release without a record is left out. Raises DataError."""
    query = f"SELECT id, facts FROM {RECORDS} WHERE id IN (SELECT unnest(?))"  # noqa: S608
    return {name: loaded(facts) for name, facts in cursor.execute(query, [list(names)]).fetchall()}


def one(cursor: duckdb.DuckDBPyConnection, column: str, value: str) -> RecordRow | None:
    """Return the row with a value in `id` or `identifier`, None without one."""
    return next(iter(select(cursor, f"{column} = ?", [value])), None)


def of_release(cursor: duckdb.DuckDBPyConnection, dataset: str, vintage: str, version: str) -> RecordRow | None:
    """Return the row of a release, None without one."""
    found = select(cursor, "dataset = ? AND vintage = ? AND version = ?", [dataset, vintage, version])
    return next(iter(found), None)
