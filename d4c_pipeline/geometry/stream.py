"""Rows on their way from the reader to the shelf, and what is known of their geometry by then; rows that are unfit.

Where they come from and what is done to them belongs to `prepare` and `own_code`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables.native import GEOMETRY_COLUMN, GEOMETRY_FIELD

if TYPE_CHECKING:  # tables need neither GEOS nor PROJ, and both take their time to load
    from d4c_pipeline.geometry import projection
    from d4c_pipeline.geometry.shapes import Facts, Rules, Tally

# So much of a batch of features is cleaned at a time: enough for each thread to have some, too little to fill memory.
_PIECE_ROWS = 16_384
_PIECE_BYTES = 8 << 20
# Of a table there may be more: it is cleaned faster, and repeats itself more.
_ROWS = 32_768
_BYTES = 16 << 20
_NAMED_ROWS, _NAMED_COLUMNS, _NAMED_CHARACTERS = 3, 3, 40


class UnfitError(DataError):
    """Geometry that can't be published as it is. `rows`: positions in the batch at hand, ascending."""

    def __init__(self, cause: str, remedy: str, rows: npt.NDArray[np.int64]) -> None:
        super().__init__(cause, remedy)
        self.rows = np.asarray(rows, np.int64)

    def located(self, batch: pa.RecordBatch, first: int) -> DataError:
        """Return the error with some rows by their numbers and attributes; `first`: the number before `batch`."""
        return DataError(f"{self.cause}: {row_names(batch, self.rows, first)}", self.remedy)


def row_names(batch: pa.RecordBatch, rows: npt.NDArray[np.int64], first: int) -> str:
    """Return what tells people which rows of `batch` those at the positions `rows` are (counted from 1)."""
    names = [name for name in batch.schema.names if name != GEOMETRY_COLUMN][:_NAMED_COLUMNS]
    told: list[str] = []
    for row in rows[:_NAMED_ROWS].tolist():
        values = [f"{name} {str(batch.column(name)[row].as_py())[:_NAMED_CHARACTERS]}" for name in names]
        told.append(f"row {first + row + 1}" + (f" ({', '.join(values)})" if values else ""))
    more = len(rows) - _NAMED_ROWS
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")


def coalesced(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `batches` in fewer, bigger ones: each costs every step some time, and big ones pack better."""
    held: list[pa.RecordBatch] = []
    count = size = 0
    for batch in batches:
        held.append(batch)
        count, size = count + batch.num_rows, size + batch.nbytes
        if count >= _ROWS or size >= _BYTES:
            yield held[0] if len(held) == 1 else pa.concat_batches(held)
            held, count, size = [], 0, 0
    if held:
        yield pa.concat_batches(held)


@dataclass
class Features:
    """What is known of all geometry. `promoted`: the types to be made multi ones when it is written."""

    rules: Rules
    facts: Facts
    tally: Tally
    promoted: tuple[int, ...] = ()


@dataclass
class Stream:
    """Batches of `attributes` and, where `geometry`, of WKB in `GEOMETRY_COLUMN`, not clean yet.

    `operation` takes it to the CRS it is wanted in. `steps`: what the rows have gone through, each with its `report`.
    """

    attributes: pa.Schema
    batches: Iterator[pa.RecordBatch]
    geometry: bool
    operation: projection.Operation | None = None
    steps: list[Any] = field(default_factory=list[Any])

    @property
    def schema(self) -> pa.Schema:
        """The schema of the batches."""
        return self.attributes.append(GEOMETRY_FIELD) if self.geometry else self.attributes

    def pieces(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the batches, those with geometry in pieces of a size to work on, with the number of their first row."""
        done = 0
        for batch in self.batches:
            first = done
            done += batch.num_rows
            if not self.geometry:
                yield first, batch
                continue
            size = batch.column(batch.schema.get_field_index(GEOMETRY_COLUMN)).nbytes
            count = max(1, -(-batch.num_rows // _PIECE_ROWS), -(-size // _PIECE_BYTES))
            length = max(1, -(-batch.num_rows // count))
            for start in range(0, batch.num_rows, length):
                yield first + start, batch.slice(start, length)
