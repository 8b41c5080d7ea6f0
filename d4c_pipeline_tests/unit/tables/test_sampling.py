"""The first rows of a reader: how many, whether there are more, and that the reader stops there."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from d4c_pipeline.model.release import SAMPLE
from d4c_pipeline.tables.native import Native, sampled

SCHEMA = pa.schema([("id", pa.int64())])


@pytest.mark.parametrize(
    ("most", "rows", "read", "told"),
    [
        (1, [0], 1, 1),
        (2, [0, 1], 2, 2),
        (3, [0, 1, 2], 2, 3),
        (5, [0, 1, 2, 3, 4], 3, None),
        (9, [0, 1, 2, 3, 4], 3, None),
    ],
)
def test_the_first_rows_of_several_batches(most: int, rows: list[int], read: int, told: int | None) -> None:
    opened: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for part in ([0, 1], [2, 3], [4]):
            opened.append(len(part))
            yield pa.RecordBatch.from_pydict({"id": part}, schema=SCHEMA)

    native = sampled(Native("x.csv", SCHEMA, batches(), rows=5), most)
    assert native.collect()[0]["id"].to_pylist() == rows
    assert (native.report.get(SAMPLE), len(opened)) == (told, read)
