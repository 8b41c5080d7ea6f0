"""Finds the differences between new data and the data of an earlier release, by content instead of bytes.

`model.bumps` decides which version follows from a difference.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.files.scratch import disk_trouble
from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.model.differences import (
    ColumnAdded,
    ColumnRemoved,
    ColumnRenamed,
    ColumnRetyped,
    CrsChanged,
    Difference,
    GeometryTypesChanged,
    KeyChanged,
    RowsAdded,
    RowsRemoved,
    RowsReplaced,
    ValuesChanged,
)
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline.tables.sql_names import identifier

# Matching rows takes the memory of the keys and this many columns.
_COLUMNS_AT_A_TIME = 12


def compare(
    previous: Files,
    new: Files,
    *,
    threads: int | None = None,
    memory_limit: str | None = None,
    temp: Path | None = None,
) -> tuple[Difference, ...]:
    """Return every difference between `previous` and `new`, those of the schema first.

    Each is one file or the parts of one table; the distribution of rows over parts is not compared. Rows are matched by
    the key in the files' `d4c` metadata if both have the same key and it identifies their rows; otherwise they are
    compared as multisets. The covering, the order of columns, descriptions and encodings are ignored. `temp`: a folder
    for data that exceeds memory, by default the system's. Raises DataError for a file that is not readable Parquet.
    """
    old_file, new_file = Described.of(previous), Described.of(new)
    differences = schema_differences(old_file, new_file)
    common = [name for name in new_file.types if old_file.types.get(name) == new_file.types[name]]
    with both_opened(previous, new, threads=threads, memory_limit=memory_limit, temp=temp) as connection:
        differences += _row_differences(connection, old_file, new_file, common)
    return tuple(differences)


@contextmanager
def both_opened(
    previous: Files, new: Files, *, threads: int | None, memory_limit: str | None, temp: Path | None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection with the views `d4c_previous` and `d4c_new` over the files; geometry compares as bytes.

    Limits as for `compare`. Errors of the block's queries are explained.
    """
    with tempfile.TemporaryDirectory(prefix="d4c-compare-", dir=temp) as spill, disk_trouble(Path(spill)):
        connection = duckdb_engine.connect(threads=threads, memory_limit=memory_limit, spill=Path(spill))
        try:
            for name, path in (("previous", previous), ("new", new)):
                connection.execute(f"CREATE VIEW d4c_{name} AS SELECT * FROM {duckdb_engine.parquet(path)}")
            yield connection
        except duckdb.ParserException:  # of our own SQL: a bug, not a fault of the data
            raise
        except duckdb.Error as error:
            raise duckdb_engine.explained(error, f"Comparing {listed(new)[0].name} with the earlier release") from error
        finally:
            connection.close()


def common_key(previous: Files, new: Files) -> tuple[str, ...]:
    """Return the key that both states of the data have, empty without one. Raises DataError as `compare`."""
    key = Described.of(new).key
    return key if key == Described.of(previous).key else ()


def key_text(side: str, key: Sequence[str]) -> str:
    """Return SQL for the key of a row as text; `side`: the alias of its table."""
    return " || ', ' || ".join(f"{side}.{identifier(name)}::VARCHAR" for name in key)


def same_key(key: Sequence[str]) -> str:
    """Return the SQL condition that a row `p` of `d4c_previous` and a row `n` of `d4c_new` have the same key."""
    return " AND ".join(f"p.{identifier(name)} = n.{identifier(name)}" for name in key)


@dataclass(frozen=True)
class Described:
    """What the footers of data files say: Arrow types by column without the covering, source names, key, geometry.

    `crs`: in words, None without geometry; `geometry`: the name of that column.
    """

    types: dict[str, pa.DataType]
    sources: dict[str, str]
    key: tuple[str, ...]
    crs: str | None
    geometry_types: tuple[str, ...]
    geometry: str | None

    @classmethod
    def of(cls, data: Files) -> Described:
        """Return the description of one file, or of the parts of one table. Raises DataError for no Parquet."""
        parts = [cls.read(path) for path in listed(data)]
        # Each part states only its own geometry types.
        kinds = {kind for part in parts for kind in part.geometry_types}
        return replace(parts[0], geometry_types=tuple(sorted(kinds)))

    @classmethod
    def read(cls, path: Path) -> Described:
        """Return the description of one file. Raises DataError for a file that is not readable Parquet."""
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowInvalid, FileNotFoundError) as error:
            raise DataError(f"{path.name} is not a readable Parquet file: {error}", "Build it again") from error
        metadata = schema.metadata or {}
        ours: dict[str, Any] = json.loads(metadata.get(b"d4c", b"{}"))
        geo: dict[str, Any] = json.loads(metadata.get(b"geo", b"{}"))
        primary = geo.get("primary_column")
        column: dict[str, Any] = geo.get("columns", {}).get(primary, {})
        covering = {corner[0] for corner in column.get("covering", {}).get("bbox", {}).values()}
        return cls(
            types={field.name: field.type for field in schema if field.name not in covering},
            sources={
                described["name"]: described["source"] for described in ours.get("columns", []) if "source" in described
            },
            key=tuple(ours.get("key", ())),
            crs=_crs(column),
            geometry_types=tuple(column.get("geometry_types", ())),
            geometry=primary,
        )


def _crs(column: dict[str, Any]) -> str | None:
    if not column:
        return None
    # A missing CRS means OGC:CRS84; a null CRS means unknown.
    crs = column.get("crs", {"id": {"authority": "OGC", "code": "CRS84"}})
    if not crs:
        return "an unknown CRS"
    known = crs.get("id")
    return f"{known['authority']}:{known['code']}" if known else str(crs.get("name"))


def schema_differences(old: Described, new: Described) -> list[Difference]:
    """Return the differences of columns, types, CRS, geometry types and key."""
    found: list[Difference] = []
    removed = [name for name in old.types if name not in new.types]
    added = [name for name in new.types if name not in old.types]
    for name in removed:
        # A new column of the same source column and type is a rename. Readers of the old name break either way.
        origin = old.sources.get(name)
        heir = next(
            (a for a in added if origin and new.sources.get(a) == origin and new.types[a] == old.types[name]), None
        )
        if heir is None:
            found.append(ColumnRemoved(name))
        else:
            added.remove(heir)
            found.append(ColumnRenamed(name, heir))
    for name, kind in new.types.items():
        if name in old.types and old.types[name] != kind:
            found.append(ColumnRetyped(name, str(old.types[name]), str(kind)))
    if old.crs != new.crs:
        found.append(CrsChanged(old.crs, new.crs))
    if old.geometry and new.geometry and set(old.geometry_types) != set(new.geometry_types):
        found.append(GeometryTypesChanged(old.geometry_types, new.geometry_types))
    if old.key != new.key:
        found.append(KeyChanged(old.key, new.key))
    return [*found, *map(ColumnAdded, added)]


def _row_differences(
    connection: duckdb.DuckDBPyConnection, old: Described, new: Described, common: Sequence[str]
) -> list[Difference]:
    if not common:
        return []
    key = new.key if old.key == new.key and all(name in common for name in new.key) else ()
    if key and all(identifies(connection, key, table) for table in ("d4c_previous", "d4c_new")):
        return _by_key(connection, key, [name for name in common if name not in key])
    return _as_multisets(connection, common)


def identifies(connection: duckdb.DuckDBPyConnection, key: Sequence[str], table: str) -> bool:
    """Return whether the columns `key` are never null and never twice the same in `table`."""
    columns = ", ".join(map(identifier, key))
    null = " OR ".join(f"{identifier(name)} IS NULL" for name in key)
    offending = connection.execute(
        f"SELECT 1 FROM {table} WHERE {null}"
        f" UNION ALL (SELECT 1 FROM {table} GROUP BY {columns} HAVING count(*) > 1) LIMIT 1"
    ).fetchone()
    return offending is None


def _by_key(connection: duckdb.DuckDBPyConnection, key: Sequence[str], values: Sequence[str]) -> list[Difference]:
    on = same_key(key)
    found: list[Difference] = []
    counts: dict[str, tuple[int, str | None]] = {}
    tables = {"p": "d4c_previous p", "n": "d4c_new n"}
    for kind, here, there in (("removed", "p", "n"), ("added", "n", "p")):
        row = connection.execute(
            f"SELECT count(*), min({key_text(here, key)}) FROM {tables[here]} ANTI JOIN {tables[there]} ON {on}"
        ).fetchone()
        counts[kind] = row or (0, None)
    removed, added = counts["removed"], counts["added"]
    if removed[0]:
        found.append(RowsRemoved(*removed))
    if added[0]:
        found.append(RowsAdded(*added, earlier_stay=not removed[0]))
    for start in range(0, len(values), _COLUMNS_AT_A_TIME):
        found += _changed_values(connection, on, key_text("n", key), values[start : start + _COLUMNS_AT_A_TIME])
    return found


def _changed_values(
    connection: duckdb.DuckDBPyConnection, on: str, shown_key: str, values: Sequence[str]
) -> list[ValuesChanged]:
    differs = [f"p.{identifier(name)} IS DISTINCT FROM n.{identifier(name)}" for name in values]
    counted = ", ".join(f"count(*) FILTER ({test}), min({shown_key}) FILTER ({test})" for test in differs)
    row = connection.execute(f"SELECT {counted} FROM d4c_previous p JOIN d4c_new n ON {on}").fetchone() or ()
    return [
        ValuesChanged(name, count, example)
        for name, count, example in zip(values, row[::2], row[1::2], strict=True)
        if count
    ]


def _as_multisets(connection: duckdb.DuckDBPyConnection, common: Sequence[str]) -> list[Difference]:
    # The sha256 of geometry and other bytes keeps rows small in memory.
    kinds = {str(row[0]): str(row[1]) for row in connection.execute("DESCRIBE d4c_new").fetchall()}
    columns = ", ".join(f"sha256({identifier(n)})" if kinds[n] == "BLOB" else identifier(n) for n in sorted(common))
    gone, come = (
        (connection.execute(
            f"SELECT count(*) FROM (SELECT {columns} FROM {here} EXCEPT ALL SELECT {columns} FROM {there})"
        ).fetchone() or (0,))[0]
        for here, there in (("d4c_previous", "d4c_new"), ("d4c_new", "d4c_previous"))
    )  # fmt: skip
    if come and not gone:
        return [RowsAdded(come)]
    if gone and not come:
        return [RowsRemoved(gone)]
    return [RowsReplaced(gone, come)] if gone else []
