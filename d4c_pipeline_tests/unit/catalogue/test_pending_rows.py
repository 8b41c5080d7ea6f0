"""Rows that wait for the end of their row group: all of them, in order, in one chunk."""

from __future__ import annotations

import pyarrow as pa

from d4c_pipeline.catalogue.arrow_schema import SCHEMA
from d4c_pipeline.catalogue.grouped_file import PendingRows


def rows(*versions: str) -> pa.Table:
    columns = [
        pa.array(versions if field.name == "version" else [None] * len(versions), field.type) for field in SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def test_many_small_tables_become_one_in_their_order() -> None:
    pending = PendingRows(SCHEMA)
    for number in range(250):  # more than are combined at once
        pending.add(rows(f"{number}.0.0", f"{number}.0.1"))
    taken = pending.take()
    assert taken.schema.equals(SCHEMA)
    expected = [f"{number}.0.{patch}" for number in range(250) for patch in (0, 1)]
    assert taken.column("version").to_pylist() == expected
    assert {taken.column(name).num_chunks for name in SCHEMA.names} == {1}
    assert pending.take().num_rows == 0
