"""Examples of the differences between two states of the data: rows with the values before and now, for a reviewer.

The differences themselves are found by `compare`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from d4c_pipeline.model.data_files import Files
from d4c_pipeline.model.differences import Difference, RowsAdded, RowsRemoved, ValuesChanged
from d4c_pipeline.processing.compare import both_opened, common_key, key_text, same_key
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
    key = common_key(previous, new)
    if not key:
        return []
    on, before, now = same_key(key), key_text("p", key), key_text("n", key)
    found: list[tuple[str, str, str, str]] = []
    with both_opened(previous, new, threads=threads, memory_limit=memory_limit, temp=temp) as connection:
        for difference in differences:
            match difference:
                case ValuesChanged(column=column):
                    name = identifier(column)
                    values = ", ".join(_text(f"{side}.{name}") for side in ("p", "n"))
                    query = (
                        f"SELECT {now} AS key, {values} FROM d4c_previous p JOIN d4c_new n"
                        f" ON {on} WHERE p.{name} IS DISTINCT FROM n.{name} ORDER BY 1 LIMIT {limit}"
                    )
                    found += [(row[0], column, row[1], row[2]) for row in connection.execute(query).fetchall()]
                case RowsAdded():
                    query = f"SELECT {now} FROM d4c_new n ANTI JOIN d4c_previous p ON {on} ORDER BY 1 LIMIT {limit}"
                    found += [(row[0], "", "", "added") for row in connection.execute(query).fetchall()]
                case RowsRemoved():
                    query = f"SELECT {before} FROM d4c_previous p ANTI JOIN d4c_new n ON {on} ORDER BY 1 LIMIT {limit}"
                    found += [(row[0], "", "removed", "") for row in connection.execute(query).fetchall()]
                case _:
                    pass
    return found


def _text(expression: str) -> str:
    # Geometry and other bytes are named by their size.
    return (
        f"CASE WHEN {expression} IS NULL THEN 'null' WHEN typeof({expression}) IN ('BLOB', 'GEOMETRY') THEN"
        f" octet_length({expression}::BLOB)::VARCHAR || ' bytes' ELSE left({expression}::VARCHAR, {_LONGEST}) END"
    )
