"""The dataset's own code, SQL or a notebook, on the way of its rows: clean geometry in, whatever it makes of them out.

What code may do is decided in `transform` and `notebook`. It sees geometry in longitude and latitude.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.files import Files
from d4c_pipeline.processing.parallel import in_order, memory_bytes
from d4c_pipeline.processing.readers.native import GEOMETRY_COLUMN, GEOMETRY_FIELD
from d4c_pipeline.processing.stream import Features, Stream

if TYPE_CHECKING:
    from d4c_pipeline.processing.shapes import Shapes

# ruff: noqa: PLC0415 - most datasets have no code of their own


@dataclass(frozen=True)
class Run:
    """The code of `dataset` about to run. `work`: an existing folder; `inputs`: Parquet files by name."""

    dataset: Dataset
    vintage: Vintage
    work: Path
    inputs: Mapping[str, Files]
    threads: int | None
    memory_limit: str | None

    def through(self, stream: Stream, features: Features | None, report: dict[str, Any]) -> tuple[Stream, Path | None]:
        """Return what the code makes of `stream`, and the executed notebook if it is one.

        `report` gets `source_rows`, the tally of `features` what was noticed before. Raises what the code raises.
        """
        report["source_rows"] = 0
        source = pa.RecordBatchReader.from_batches(stream.schema, self._source(stream, features, report))
        processing = self.dataset.processing
        folder = self.dataset.folder or Path()
        variables = {"vintage": str(self.vintage), "dataset": self.dataset.id}
        copy: Path | None = None
        if processing.notebook is not None:
            from d4c_pipeline.processing import notebook

            answer, copy = notebook.stream(
                folder / processing.notebook,
                source,
                self.work / "notebook",
                variables=variables,
                with_geometry=features is not None,
                inputs=self.inputs,
            )
        else:
            from d4c_pipeline.processing import transform

            spill = self.work / "sql-spill"
            spill.mkdir()
            answer = transform.stream(
                folder / str(processing.sql),
                source,
                variables=variables,
                with_geometry=features is not None,
                spill=spill,
                memory_limit=f"{memory_bytes(self.memory_limit)}B",
                inputs=self.inputs,
            )
        attributes = pa.schema([each for each in answer.schema if each.name != GEOMETRY_COLUMN])
        made = Stream(attributes, iter(answer), features is not None)
        if features is not None:
            from d4c_pipeline.processing import projection

            # What code makes of geometry (buffers, unions) is cleaned like any other; nulls are those of the result.
            features.tally.null_geometries = 0
            degrees = projection.Target.of(projection.WGS84)
            made.operation = projection.operation(projection.crs_of(degrees), features.rules.target)
        return made, copy

    def _source(self, stream: Stream, features: Features | None, report: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        for batch, shapes in in_order(lambda piece: _clean(piece, stream, features), stream.pieces(), self.threads):
            report["source_rows"] += batch.num_rows
            if features is not None and shapes is not None:
                features.tally.add(shapes.tally)
            yield batch


def _clean(batch: pa.RecordBatch, stream: Stream, features: Features | None) -> tuple[pa.RecordBatch, Shapes | None]:
    if features is None or not stream.geometry:
        return batch, None
    from d4c_pipeline.processing import geometry, projection

    rules = replace(features.rules, target=projection.Target.of(projection.WGS84))
    position = batch.schema.get_field_index(GEOMETRY_COLUMN)
    shapes = geometry.clean(batch.column(position), stream.operation, rules)
    return batch.set_column(position, GEOMETRY_FIELD, shapes.wkb), shapes
