"""Prepares the rows of a reader for sorting: cleans geometry, transforms, arranges columns, stores the batches.

Threads share the batches. A shelf stores them in memory or in a file until all are read, because the narrowest types
and the promotion to multi geometries depend on all rows. Sorting and writing belong to `geoparquet`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from d4c_pipeline import geoparquet
from d4c_pipeline.geometry.stream import Features, Stream, UnfitError
from d4c_pipeline.model.data_files import Files
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import VectorProcessing
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import own_code
from d4c_pipeline.tables import columns, narrow
from d4c_pipeline.tables.native import GEOMETRY_COLUMN, GEOMETRY_FIELD, Native, with_nulls
from d4c_pipeline.tables.parallel import beside, in_memory_bytes, in_order

if TYPE_CHECKING:  # tables need neither GEOS nor PROJ, and both take their time to load
    from d4c_pipeline.geometry.shapes import Shapes


@dataclass
class Staged:
    """The rows of a dataset, cleaned but not sorted, with their types and report.

    `batches` can be consumed once; their columns are those of `plan.schema` and, for features, of the shapes.
    `notebook`: the executed copy of the dataset's notebook.
    """

    shelf: geoparquet.Shelf
    plan: columns.Plan
    casts: dict[str, pa.DataType]
    report: dict[str, Any]
    threads: int | None
    features: Features | None = None
    notebook: Path | None = None

    @property
    def kinds(self) -> dict[str, pa.DataType]:
        """The types of the attributes by name."""
        return {each.name: each.type for each in self.plan.schema}

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in their final types and free each batch."""
        if not self.casts:
            return self.shelf.drain()
        nulls = {name: markers for name in self.casts if (markers := self.plan.markers(name))}
        return in_order(lambda batch: _narrowed(batch, self.casts, nulls), self.shelf.drain(), self.threads)


def stage(
    dataset: Dataset,
    vintage: Vintage,
    native: Native,
    work: Path,
    *,
    inputs: Mapping[str, Files],
    threads: int | None,
    memory_limit: str | None,
) -> Staged:
    """Prepare all batches of `native`. `inputs`: Parquet files that SQL and gazetteers may name.

    Files are created in the existing folder `work`. Raises DataError for data that cannot be processed as declared,
    OSError when a write fails.
    """
    processing = dataset.processing
    report: dict[str, Any] = {}
    features = _features(processing) if isinstance(processing, VectorProcessing) else None
    stream = Stream(native.attributes, native.batches, native.crs is not None)
    if features is not None and native.crs is not None:
        from d4c_pipeline.geometry import projection  # noqa: PLC0415

        # The dataset's own code sees longitude and latitude, whatever CRS is published.
        own = processing.sql is not None or processing.notebook is not None
        first = projection.Target.of(projection.WGS84) if own else features.rules.target
        stream.operation = projection.operation(native.crs, first)
        report["source_crs"] = projection.crs_name(native.crs)
        report |= stream.operation.report() if stream.operation else {"operation": "none"}
        if (heights := projection.vertical_name(native.crs)) is not None:
            report["source_heights"] = heights
    notebook: Path | None = None
    if processing.sql is not None or processing.notebook is not None:
        run = own_code.Run(dataset, vintage, work, inputs, threads, memory_limit)
        stream, notebook = run.through(stream, features, report)
    if processing.drop:
        stream = _without(stream, processing.drop)
    if processing.dguids:
        from d4c_pipeline.processing.statcan import dguids  # noqa: PLC0415

        step = dguids.Step(stream.attributes, processing.dguids, vintage, folder=dataset.folder, inputs=inputs)
        stream = _stepped(stream, step)
    plan = columns.plan(
        stream.attributes,
        processing,
        origin=native.attributes,
        geometry_type="binary" if features is not None else None,
    )
    shelf = geoparquet.Shelf(work / "shelf", in_memory_bytes(memory_limit))
    evidence = narrow.Evidence(plan.schema, settled=plan.settled)
    # The reader reports facts of the format before its first batch.
    narrowing = narrow.applies(processing, native.report)

    def notice(item: tuple[pa.RecordBatch, Shapes | None]) -> None:
        batch, shapes = item
        if narrowing:
            evidence.observe(batch)
        if features is not None and shapes is not None:
            features.facts.add(shapes)
            features.tally.add(shapes.tally)

    cleaned = in_order(lambda piece: _cleaned(piece, stream, plan, features), stream.pieces(), threads)
    for batch, _ in beside(notice, cleaned, threads):
        shelf.add(batch)
    casts = evidence.types() if narrowing else {}
    report |= native.report
    if narrowing and (kept := evidence.report()):
        report["kept_as_text"] = kept
    if processing.dguids:
        report["dguids"] = stream.steps[-1].report
    if features is not None:
        features.promoted = features.facts.promote_mixed(features.tally)
        report |= features.tally.report()
    return Staged(shelf, plan.narrowed(casts), casts, report, threads, features, notebook)


def _features(processing: VectorProcessing) -> Features:
    from d4c_pipeline.geometry import projection  # noqa: PLC0415
    from d4c_pipeline.geometry.shapes import Facts, Rules, Tally  # noqa: PLC0415

    rules = Rules(
        projection.Target.of(processing.crs_out),
        keep_z=processing.z == "keep",
        split=processing.antimeridian == "split",
        accept_lost=processing.lost_geometry == "accept",
        footprints=processing.surfaces == "footprint",
    )
    return Features(rules, Facts(), Tally())


def _cleaned(
    piece: tuple[int, pa.RecordBatch], stream: Stream, plan: columns.Plan, features: Features | None
) -> tuple[pa.RecordBatch, Shapes | None]:
    first, batch = piece
    attributes = plan.batch(batch, first)
    if features is None:
        return geoparquet.packed(attributes), None
    from d4c_pipeline.geometry import cleaning  # noqa: PLC0415

    try:
        shapes = cleaning.clean(batch.column(GEOMETRY_COLUMN), stream.operation, features.rules)
    except UnfitError as error:
        raise error.located(batch, first) from error
    return geoparquet.packed(attributes, shapes), shapes


def _narrowed(
    batch: pa.RecordBatch, casts: dict[str, pa.DataType], nulls: Mapping[str, tuple[str, ...]]
) -> pa.RecordBatch:
    # Casting the dictionary of a packed column is cheaper than casting its values.
    columns, fields = batch.columns, list(batch.schema)
    for position, (column, field) in enumerate(zip(columns, fields, strict=True)):
        if field.name in casts and pa.types.is_dictionary(column.type):
            texts = narrow.cast(pa.RecordBatch.from_arrays([column.dictionary], names=[field.name]), casts).column(0)
            columns[position] = texts.take(column.indices)
            fields[position] = pa.field(field.name, texts.type)
    cast = narrow.cast(pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, batch.schema.metadata)), casts)
    # Cast to a number, -9999.00 equals the null marker -9999.
    columns = [
        with_nulls(column, nulls[name]) if name in nulls else column
        for name, column in zip(cast.schema.names, cast.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=cast.schema)


def _without(stream: Stream, names: Sequence[str]) -> Stream:
    missing = [name for name in names if name not in stream.attributes.names]
    if missing:
        raise DataError(
            f"processing.drop names missing columns: {', '.join(missing)};"
            f" there are {', '.join(stream.attributes.names[:40])}",
            "Correct processing.drop",
        )
    kept = pa.schema([field for field in stream.attributes if field.name not in names])
    wanted = [*kept.names, GEOMETRY_COLUMN] if stream.geometry else kept.names
    return replace(stream, attributes=kept, batches=(batch.select(wanted) for batch in stream.batches))


def _stepped(stream: Stream, step: Any) -> Stream:
    def batches() -> Iterator[pa.RecordBatch]:
        for batch in stream.batches:
            if not stream.geometry:
                yield step.batch(batch)
                continue
            shapes = batch.column(GEOMETRY_COLUMN)
            yield step.batch(batch.drop_columns(GEOMETRY_COLUMN)).append_column(GEOMETRY_FIELD, shapes)

    return replace(stream, attributes=step.schema, batches=batches(), steps=[*stream.steps, step])
