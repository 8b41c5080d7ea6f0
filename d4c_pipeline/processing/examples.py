"""Examples of the differences between two states of the data: rows with the values before and now, for a reviewer.

The differences themselves are found by `compare`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from d4c_pipeline.files.scratch import disk_trouble
from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.model.differences import Difference, RowsAdded, RowsRemoved, ValuesChanged
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline.tables.sql_names import identifier

_LONGEST = 80


def changed_values(
    previous: Files,
    new: Files,
    differences: Sequence[Difference],
    *,
    limit: int = 5,
    threads: int | None = None,
    memory_limit: str | None = None,
    temp: Path | None = None,
) -> list[tuple[str, str, str, str]]:
    """Return (key, column, before, now) of up to `limit` rows for each changed column, and of added and removed rows.

    The column is empty for an added row (before is empty) and a removed row (now is empty). Without a key there are no
    examples. The least keys are shown, so that the same data gives the same examples. `threads`, `memory_limit` and
    `temp` as for `compare`, whose result `differences` is.
    """
    key = _key(new)
    if not key or key != _key(previous):
        return []
    shown = " || ', ' || ".join(f"{{side}}.{identifier(name)}::VARCHAR" for name in key)
    on = " AND ".join(f"p.{identifier(name)} = n.{identifier(name)}" for name in key)
    found: list[tuple[str, str, str, str]] = []
    with tempfile.TemporaryDirectory(prefix="d4c-examples-", dir=temp) as spill, disk_trouble(Path(spill)):
        connection = duckdb_engine.connect(threads=threads, memory_limit=memory_limit, spill=Path(spill))
        try:
            for name, path in (("previous", previous), ("new", new)):
                connection.execute(f"CREATE VIEW d4c_{name} AS SELECT * FROM {duckdb_engine.parquet(path)}")
            for difference in differences:
                match difference:
                    case ValuesChanged(column=column):
                        name = identifier(column)
                        values = ", ".join(_text(f"{side}.{name}") for side in ("p", "n"))
                        query = (
                            f"SELECT {shown.format(side='n')} AS key, {values} FROM d4c_previous p JOIN d4c_new n"
                            f" ON {on} WHERE p.{name} IS DISTINCT FROM n.{name} ORDER BY 1 LIMIT {limit}"
                        )
                        found += [(row[0], column, row[1], row[2]) for row in connection.execute(query).fetchall()]
                    case RowsAdded():
                        query = (
                            f"SELECT {shown.format(side='n')} FROM d4c_new n ANTI JOIN d4c_previous p ON {on}"
                            f" ORDER BY 1 LIMIT {limit}"
                        )
                        found += [(row[0], "", "", "added") for row in connection.execute(query).fetchall()]
                    case RowsRemoved():
                        query = (
                            f"SELECT {shown.format(side='p')} FROM d4c_previous p ANTI JOIN d4c_new n ON {on}"
                            f" ORDER BY 1 LIMIT {limit}"
                        )
                        found += [(row[0], "", "removed", "") for row in connection.execute(query).fetchall()]
                    case _:
                        pass
        except duckdb.Error as error:
            raise duckdb_engine.explained(error, "Finding examples of the changes") from error
        finally:
            connection.close()
    return found


def _key(data: Files) -> tuple[str, ...]:
    metadata = pq.read_schema(listed(data)[0]).metadata or {}
    return tuple(json.loads(metadata.get(b"d4c", b"{}")).get("key", ()))


def _text(expression: str) -> str:
    # Geometry and other bytes are named by their size.
    return (
        f"CASE WHEN {expression} IS NULL THEN 'null' WHEN typeof({expression}) IN ('BLOB', 'GEOMETRY') THEN"
        f" octet_length({expression}::BLOB)::VARCHAR || ' bytes' ELSE left({expression}::VARCHAR, {_LONGEST}) END"
    )
