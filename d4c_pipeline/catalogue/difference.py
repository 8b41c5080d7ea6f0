"""The difference of two catalogues: releases that were added, removed, or have other facts, column by column.

Finding the files of the catalogues belongs to `query` and `chain.snapshot`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import duckdb

from d4c_pipeline.catalogue.query import KEY, is_address, releases
from d4c_pipeline.tables.duckdb_engine import connect, explained, text_literal
from d4c_pipeline.tables.sql_names import identifier


@dataclass(frozen=True)
class ChangedRelease:
    """A release that differs. `columns`: of a changed one, column -> value before and after, as in JSON."""

    change: Literal["added", "removed", "changed"]
    dataset: str
    vintage: str
    version: str
    columns: dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Difference:
    """The releases that differ, in the order of the catalogue, and the columns that one catalogue lacks."""

    releases: tuple[ChangedRelease, ...]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]

    def of(self, change: str) -> tuple[ChangedRelease, ...]:
        """Return the releases with a kind of change."""
        return tuple(release for release in self.releases if release.change == change)


def difference(before: str, after: str, *, memory_limit: str | None = None) -> Difference:
    """Compare two catalogues at the paths or addresses that `query.located` returns.

    A column that both have is compared; values of different types are compared as JSON. Raises DataError for a file
    that is not a catalogue.
    """
    extensions = ("httpfs",) if is_address(before) or is_address(after) else ()
    with TemporaryDirectory(prefix="d4c-diff-") as spill:
        connection = connect(extensions=extensions, memory_limit=memory_limit, spill=Path(spill))
        try:
            old, new = releases(connection, before), releases(connection, after)
            old_types, new_types = (dict(zip(each.columns, each.types, strict=True)) for each in (old, new))
            both = [name for name in new_types if name in old_types and name not in KEY]
            differing = {name: _differs(name, same=old_types[name] == new_types[name]) for name in both}
            # The number of a row keeps the order of versions, which text order is not.
            old.project("*, row_number() OVER () AS d4c_row").create_view("d4c_before")
            new.project("*, row_number() OVER () AS d4c_row").create_view("d4c_after")
            return Difference(
                releases=tuple(_changed(connection, differing)),
                columns_added=tuple(name for name in new_types if name not in old_types),
                columns_removed=tuple(name for name in old_types if name not in new_types),
            )
        except duckdb.Error as error:
            raise explained(error, f"Comparing {before} with {after}") from error
        finally:
            connection.close()


def _differs(name: str, *, same: bool) -> str:
    column = identifier(name)
    if same:
        return f"a.{column} IS DISTINCT FROM b.{column}"
    return f"to_json(a.{column})::VARCHAR IS DISTINCT FROM to_json(b.{column})::VARCHAR"


def _changed(connection: duckdb.DuckDBPyConnection, differing: dict[str, str]) -> Iterator[ChangedRelease]:
    key = ", ".join(KEY)
    cases = [
        f"CASE WHEN {differs} THEN json_array({text_literal(name)}, to_json(a.{identifier(name)}), "
        f"to_json(b.{identifier(name)}))::VARCHAR END"
        for name, differs in differing.items()
    ]
    one_side = "a.d4c_row IS NULL OR b.d4c_row IS NULL"
    cursor = connection.execute(
        f"SELECT {key}, CASE WHEN a.d4c_row IS NULL THEN 'added' WHEN b.d4c_row IS NULL THEN 'removed' "
        f"ELSE 'changed' END, CASE WHEN {one_side} THEN [] "
        f"ELSE list_filter([{', '.join(cases)}]::VARCHAR[], lambda each: each IS NOT NULL) END "
        f"FROM d4c_before a FULL JOIN d4c_after b USING ({key}) "
        f"WHERE {' OR '.join([one_side, *differing.values()])} "
        "ORDER BY dataset, vintage, coalesce(b.d4c_row, a.d4c_row), version"
    )
    while row := cursor.fetchone():
        dataset, vintage, version, change, texts = row
        listed = [json.loads(text, parse_constant=lambda _: None) for text in texts]
        yield ChangedRelease(change, dataset, vintage, version, {name: (old, new) for name, old, new in listed})
