"""Applies the dataset's own code, SQL or a notebook, to its rows after geometry is cleaned.

`transform` and `notebook` define what the code may do. The code sees geometry in longitude and latitude. SQL also gets
the rows whose geometry cannot be cleaned, marked, so that it can drop them.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.geometry.stream import Features, Stream, UnfitError
from d4c_pipeline.model.data_files import Files
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.tables.native import GEOMETRY_COLUMN, GEOMETRY_FIELD, UNFIT_FIELD
from d4c_pipeline.tables.parallel import in_order, memory_bytes

if TYPE_CHECKING:
    from d4c_pipeline.geometry.shapes import Shapes

# ruff: noqa: PLC0415 - most datasets have no own code

_MOST_REPORTED = 10


@dataclass(frozen=True)
class Run:
    """One run of the code of `dataset`. `work`: an existing folder; `inputs`: Parquet files by name."""

    dataset: Dataset
    vintage: Vintage
    work: Path
    inputs: Mapping[str, Files]
    threads: int | None
    memory_limit: str | None

    def through(self, stream: Stream, features: Features | None, report: dict[str, Any]) -> tuple[Stream, Path | None]:
        """Return the rows that the code makes of `stream`, and the executed notebook if the code is a notebook.

        Writes `source_rows` to `report` and the counts of cleaning to the tally of `features`. Raises as `transform`
        and `notebook` do.
        """
        report["source_rows"] = 0
        processing = self.dataset.processing
        # A notebook gets no unfit rows: no check can show whether it dropped them.
        marked = processing.sql is not None and features is not None and stream.geometry
        unfit: list[DataError] = []
        rows = self._source(stream, features, report, unfit if marked else None)
        schema = stream.schema.append(UNFIT_FIELD) if marked else stream.schema
        source = pa.RecordBatchReader.from_batches(schema, rows)
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
                unfit=unfit,
            )
        if unfit:
            report["unfit_rows_dropped_by_sql"] = [error.cause for error in unfit[:_MOST_REPORTED]]
        attributes = pa.schema([each for each in answer.schema if each.name != GEOMETRY_COLUMN])
        made = Stream(attributes, iter(answer), features is not None)
        if features is not None:
            from d4c_pipeline.geometry import projection

            # New geometry (buffers, unions) is cleaned like any other; the counts of nulls are those of the result.
            features.tally.null_geometries = features.tally.points_at_zero = 0
            degrees = projection.Target.of(projection.WGS84)
            made.operation = projection.operation(projection.crs_of(degrees), features.rules.target)
        return made, copy

    def _source(
        self, stream: Stream, features: Features | None, report: dict[str, Any], unfit: list[DataError] | None
    ) -> Iterator[pa.RecordBatch]:
        # With `unfit`, rows that cannot be cleaned are marked and their errors collected; without, they stop the build.
        tolerant = unfit is not None
        cleaned = in_order(lambda piece: _clean(piece, stream, features, tolerant), stream.pieces(), self.threads)
        for batch, shapes, errors in cleaned:
            report["source_rows"] += batch.num_rows
            if features is not None and shapes is not None:
                features.tally.add(shapes.tally)
            if unfit is not None:
                unfit += errors
            yield batch


def _clean(
    piece: tuple[int, pa.RecordBatch], stream: Stream, features: Features | None, tolerant: bool
) -> tuple[pa.RecordBatch, Shapes | None, list[DataError]]:
    first, batch = piece
    if features is None or not stream.geometry:
        return batch, None, []
    from d4c_pipeline.geometry import cleaning, projection

    rules = replace(features.rules, target=projection.Target.of(projection.WGS84))
    position = batch.schema.get_field_index(GEOMETRY_COLUMN)
    wkb, fit = batch.column(position), np.ones(batch.num_rows, np.bool_)
    errors: list[DataError] = []
    while True:
        try:
            shapes = cleaning.clean(wkb, stream.operation, rules)
        except UnfitError as error:
            errors.append(error.located(batch, first))
            if not tolerant:
                raise DataError(errors[0].cause, f"{error.remedy} (which takes the notebook's place)") from error
            fit[error.rows] = False
            wkb = pc.if_else(pa.array(fit), wkb, pa.scalar(None, wkb.type))
            continue
        break
    made = shapes.wkb
    if errors:
        shapes.tally.null_geometries -= int((~fit).sum())
        made = pc.if_else(pa.array(fit), made, pa.scalar(cleaning.OUT_OF_THIS_WORLD, pa.binary()))
    batch = batch.set_column(position, GEOMETRY_FIELD, made)
    if tolerant:
        batch = batch.append_column(UNFIT_FIELD, pa.array(~fit))
    return batch, shapes, errors
