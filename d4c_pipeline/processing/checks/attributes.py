"""Reads the attribute columns of a file once with Arrow, in bounded memory: rows, nulls, wrongly decoded text, numbers
among texts.

The checks judge the findings. `features` reads the geometry.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.readers.encoding import Mojibake, mojibake
from d4c_pipeline.tables.columns import BBOX, GEOMETRY
from d4c_pipeline.tables.narrow import DECIMAL
from d4c_pipeline.tables.parallel import in_order

# Cells of one batch: batches of a wide table have fewer rows.
_CELLS = 1 << 20
_ROWS = 1 << 16
_MOST_EXAMPLES = 5
_SAMPLE = 64

MOST_ODD = 5
"""Different values that are no numbers in a column that may be one of numbers: markers of no value, names, units."""


@dataclass(frozen=True)
class Numeric:
    """A column of text: how many of its values are plain numbers, and all others with their counts."""

    numbers: int
    odd: Mapping[str, int]


@dataclass(frozen=True)
class Attributes:
    """`rows`: number of rows read; `nulls` per column; `garbled`: columns with wrongly decoded text.

    `numeric`: columns of text most of whose values are numbers, and at most `MOST_ODD` different ones are not.
    """

    rows: int
    nulls: Mapping[str, int]
    garbled: Mapping[str, Mojibake]
    numeric: Mapping[str, Numeric]

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
                for batch, garbled, numeric in in_order(
                    lambda batch: (batch, _garbled(batch), _numeric(batch, found.mixed)), batches, threads
                ):
                    found.add(batch, garbled, numeric)
        return cls(found.rows, dict(found.nulls), found.garbled, found.mostly_numeric())


@dataclass
class _Found:
    rows: int = 0
    nulls: Counter[str] = field(default_factory=Counter[str])
    garbled: dict[str, Mojibake] = field(default_factory=dict[str, Mojibake])
    numeric: dict[str, Numeric] = field(default_factory=dict[str, Numeric])
    mixed: set[str] = field(default_factory=set[str])  # columns of words: no batch of them is looked at any more

    def add(
        self, batch: pa.RecordBatch, garbled: Mapping[str, Mojibake], numeric: Mapping[str, Numeric | None]
    ) -> None:
        self.rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            self.nulls[name] += column.null_count
        for name, more in garbled.items():
            before = self.garbled.get(name, Mojibake(0))
            examples = tuple(dict.fromkeys((*before.examples, *more.examples)))[:_MOST_EXAMPLES]
            self.garbled[name] = Mojibake(before.count + more.count, examples)
        for name, some in numeric.items():
            seen = self.numeric.get(name, Numeric(0, {}))
            odd = Counter(seen.odd) + Counter(some.odd) if some is not None else {}
            if some is None or len(odd) > MOST_ODD:
                self.mixed.add(name)
            else:
                self.numeric[name] = Numeric(seen.numbers + some.numbers, odd)

    def mostly_numeric(self) -> dict[str, Numeric]:
        return {
            name: each
            for name, each in self.numeric.items()
            if name not in self.mixed and each.odd and each.numbers > sum(each.odd.values())
        }


def _numeric(batch: pa.RecordBatch, mixed: Collection[str]) -> dict[str, Numeric | None]:
    # None for a column with more odd values than are of interest. A sample first: it decides most columns of words.
    found: dict[str, Numeric | None] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in mixed or not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        for values in (column.slice(0, _SAMPLE), column):
            odd = values.filter(pc.invert(pc.match_substring_regex(values, DECIMAL)))
            counts = {each["values"]: each["counts"] for each in pc.value_counts(odd).to_pylist()}
            found[name] = (
                Numeric(len(values) - values.null_count - len(odd), counts) if len(counts) <= MOST_ODD else None
            )
            if found[name] is None:
                break
    return found


def _garbled(batch: pa.RecordBatch) -> dict[str, Mojibake]:
    found = {name: mojibake(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    return {name: each for name, each in found.items() if each.count}
