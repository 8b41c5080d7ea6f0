"""Streams of rows between reader and shelf, with the facts of their geometry, and errors of unfit rows.

The steps that a stream goes through belong to `processing`.
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

if TYPE_CHECKING:  # tables need neither GEOS nor PROJ, and both are slow to load
    from d4c_pipeline.geometry import projection
    from d4c_pipeline.geometry.shapes import Facts, Rules, Tally

# The size of a piece of features to clean: enough pieces for all threads, small enough for memory.
_PIECE_ROWS = 16_384
_PIECE_BYTES = 8 << 20
# Batches of tables are larger: they are faster to clean and more repetitive.
_ROWS = 32_768
_BYTES = 16 << 20
_NAMED_ROWS, _NAMED_COLUMNS, _NAMED_CHARACTERS = 3, 3, 40


class UnfitError(DataError):
    """Geometry that cannot be published. `rows`: positions in the current batch, ascending."""

    def __init__(self, cause: str, remedy: str, rows: npt.NDArray[np.int64]) -> None:
        super().__init__(cause, remedy)
        self.rows = np.asarray(rows, np.int64)

    def located(self, batch: pa.RecordBatch, first: int) -> DataError:
        """Return the error with the numbers and attributes of some rows; `first`: the number of rows before `batch`."""
        return DataError(f"{self.cause}: {row_names(batch, self.rows, first)}", self.remedy)


def row_names(batch: pa.RecordBatch, rows: npt.NDArray[np.int64], first: int) -> str:
    """Return the numbers (from 1) and first attributes of the rows of `batch` at the positions `rows`, as text."""
    names = [name for name in batch.schema.names if name != GEOMETRY_COLUMN][:_NAMED_COLUMNS]
    named: list[str] = []
    for row in rows[:_NAMED_ROWS].tolist():
        values = [f"{name} {str(batch.column(name)[row].as_py())[:_NAMED_CHARACTERS]}" for name in names]
        named.append(f"row {first + row + 1}" + (f" ({', '.join(values)})" if values else ""))
    more = len(rows) - _NAMED_ROWS
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def coalesced(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `batches` in fewer, larger batches, which take less time and pack better."""
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
    """The facts of all geometry. `promoted`: the types to promote to multi types when writing."""

    rules: Rules
    facts: Facts
    tally: Tally
    promoted: tuple[int, ...] = ()


@dataclass
class Stream:
    """Batches of `attributes` and, if `geometry`, of WKB in `GEOMETRY_COLUMN` before cleaning.

    `operation` transforms the geometry to the required CRS. `steps`: the steps applied to the rows, each with its
    `report`.
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
        """Yield the batches with the number of their first row; batches with geometry are cut into pieces."""
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
