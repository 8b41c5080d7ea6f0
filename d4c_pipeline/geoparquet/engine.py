"""From batches in any order to the files of a dataset: sort, then write one file or several parts.

Here belongs the order of the writer's steps. Sorting belongs to `merge`, writing to `partition` and `single_file`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from d4c_pipeline.geoparquet import merge, partition, rows, staged
from d4c_pipeline.geoparquet.layout import Layout
from d4c_pipeline.model.outputs import Partition

if TYPE_CHECKING:  # tables need neither GEOS nor PROJ, and both are slow to load
    from d4c_pipeline.geometry.shapes import Shapes


@dataclass(frozen=True)
class Result:
    """The written files, sorted by part, and the number of rows equal to an earlier row."""

    files: tuple[partition.Written, ...]
    duplicates: int


def packed(attributes: pa.RecordBatch, shapes: Shapes | None = None) -> pa.RecordBatch:
    """Return a batch for `write`: repetitive text dictionary-encoded, the columns of `shapes` behind `attributes`."""
    batch = rows.pack(attributes)
    return batch if shapes is None else staged.join(batch, shapes)


def write(
    batches: Iterable[pa.RecordBatch],
    layout: Layout,
    path: Path,
    *,
    cut: Partition | None = None,
    sort_bytes: int | None = None,
    threads: int | None = None,
) -> Result:
    """Sort `batches` (from `packed`) by `layout.order`; write `path`, or parts beside it if `cut` requires them.

    `sort_bytes`: approximate memory for an external sort, with its files in the folder of `path`; None sorts in memory.
    Neither it nor `threads` changes the bytes. Raises DataError for a partition that the data does not allow, OSError
    when a write fails.
    """
    noticed = merge.Sorting()
    order = layout.order
    if sort_bytes is None:
        parts = merge.in_memory(batches, order, noticed, threads=threads)
    else:
        parts = merge.on_disk(batches, order, noticed, folder=path.parent, limit=sort_bytes, threads=threads)
    files = partition.write_parts(path, parts, layout, cut, threads=threads)
    return Result(files, noticed.duplicates)
