"""Reads the attribute columns of a file once with Arrow, in bounded memory: rows, nulls, wrongly decoded text.

The checks judge the findings. `features` reads the geometry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.readers.encoding import Mojibake, mojibake
from d4c_pipeline.tables.columns import BBOX, GEOMETRY
from d4c_pipeline.tables.parallel import in_order

# Cells of one batch: batches of a wide table have fewer rows.
_CELLS = 1 << 20
_ROWS = 1 << 16
_MOST_EXAMPLES = 5


@dataclass(frozen=True)
class Attributes:
    """`rows`: number of rows read; `nulls` per column; `garbled`: columns with wrongly decoded text."""

    rows: int
    nulls: Mapping[str, int]
    garbled: Mapping[str, Mojibake]

    @classmethod
    def read(cls, data: Files, *, threads: int | None = None) -> Attributes:
        """Read every value of the Parquet files `data`, except geometry and its covering."""
        found = _Found()
        for file in listed(data):
            with pq.ParquetFile(file, memory_map=True) as parquet:
                names = [name for name in parquet.schema_arrow.names if name not in (GEOMETRY, BBOX)]
                if not names:
                    found.rows += parquet.metadata.num_rows
                    continue
                size = max(1, min(_ROWS, _CELLS // len(names)))
                batches = parquet.iter_batches(batch_size=size, columns=names, use_threads=threads != 1)
                for batch, garbled in in_order(lambda batch: (batch, _garbled(batch)), batches, threads):
                    found.add(batch, garbled)
        return cls(found.rows, dict(found.nulls), found.garbled)


@dataclass
class _Found:
    rows: int = 0
    nulls: Counter[str] = field(default_factory=Counter[str])
    garbled: dict[str, Mojibake] = field(default_factory=dict[str, Mojibake])

    def add(self, batch: pa.RecordBatch, garbled: Mapping[str, Mojibake]) -> None:
        self.rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            self.nulls[name] += column.null_count
        for name, more in garbled.items():
            before = self.garbled.get(name, Mojibake(0))
            examples = tuple(dict.fromkeys((*before.examples, *more.examples)))[:_MOST_EXAMPLES]
            self.garbled[name] = Mojibake(before.count + more.count, examples)


def _garbled(batch: pa.RecordBatch) -> dict[str, Mojibake]:
    found = {name: mojibake(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    return {name: each for name, each in found.items() if each.count}
