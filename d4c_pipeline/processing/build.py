"""Builds a vintage: native files in, data files and `profile.json` out, with the same bytes every time.

This module orders the steps; each step has its own module. Hashing, versions and names belong to `chain`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from d4c_pipeline import geoparquet
from d4c_pipeline.files.scratch import put_in_place, workspace
from d4c_pipeline.geometry.stream import coalesced
from d4c_pipeline.model.corrections import of_vintage
from d4c_pipeline.model.data_files import Files
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.parts import PROFILE_NAME, Part
from d4c_pipeline.model.processing import TableProcessing, VectorProcessing
from d4c_pipeline.model.release import DataSummary
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import prepare
from d4c_pipeline.processing.corrections import corrected
from d4c_pipeline.processing.prepare import Staged
from d4c_pipeline.readers import delivery
from d4c_pipeline.sandbox import activity
from d4c_pipeline.tables.columns import GEOMETRY
from d4c_pipeline.tables.native import sampled
from d4c_pipeline.tables.parallel import in_memory_bytes

DATA_FILE = "data.parquet"
NOTEBOOK_FILE = "notebook.ipynb"


@dataclass(frozen=True)
class Build:
    """The result of a build: data files, profile, summary, and the parameters that determine the bytes.

    `files`: sorted by the name of their part, which is empty for a single file. `notebook`: the executed copy of the
    dataset's notebook, if the dataset has a notebook. Code and native files are not among the parameters.
    """

    files: Mapping[str, Path]
    profile: Path
    summary: DataSummary
    parameters: dict[str, Any]
    notebook: Path | None = None

    @property
    def data(self) -> Path:
        """The data file of a dataset that is not cut into parts."""
        return self.files[""]


def build(
    dataset: Dataset,
    vintage: Vintage,
    natives: Sequence[Path],
    into: Path,
    *,
    inputs: Mapping[str, Files] | None = None,
    threads: int | None = None,
    memory_limit: str | None = None,
    temp: Path | None = None,
    most_rows: int | None = None,
) -> Build:
    """Process `natives` as `dataset` declares; write `data.parquet` (or its parts) and `profile.json` into `into`.

    `inputs`: the Parquet files of each dataset in `processing.inputs`. `threads` and `memory_limit` (DuckDB's syntax,
    `4GB`) change the speed, never the bytes. `temp`: the folder for temporary files, by default `into`. `most_rows`:
    build a sample, of the first rows of the delivery (`SAMPLE` in the report of the summary). Files of an
    earlier build in `into` are replaced atomically, one by one; an unfinished build is removed. Raises DataError for
    data that cannot be processed as declared, StorageError when a write fails.
    """
    from d4c_pipeline.processing import profile as profiles  # noqa: PLC0415 - the first use of DuckDB

    with workspace(into, temp) as work:
        done, files = convert(
            dataset,
            vintage,
            natives,
            work / DATA_FILE,
            inputs=inputs or {},
            threads=threads,
            memory_limit=memory_limit,
            most_rows=most_rows,
        )
        if not done.shelf.in_memory:
            pa.default_memory_pool().release_unused()  # up to gigabytes that DuckDB's own allocator cannot use
        data = [file.path for file in files]
        activity.now("profiling the data files")
        spill = work / "profile-spill"
        spill.mkdir()
        geometry = done.features.facts if done.features is not None else None
        facts = profiles.profile(data, geometry, spill=spill, threads=threads, memory_limit=memory_limit)
        keys = profiles.keys(data, dataset.processing.key, spill=spill, threads=threads, memory_limit=memory_limit)
        profile = work / PROFILE_NAME
        profile.write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", "utf-8")
        put_in_place(profile, into / PROFILE_NAME)
        if done.notebook is not None:
            put_in_place(done.notebook, into / NOTEBOOK_FILE)
        for file in files:
            put_in_place(file.path, into / file.path.name)
        _remove_others(into, {file.path.name for file in files})
    return Build(
        {file.part: into / file.path.name for file in files},
        into / PROFILE_NAME,
        _summary(dataset, done, files, done.report | keys),
        _parameters(dataset, done),
        into / NOTEBOOK_FILE if done.notebook is not None else None,
    )


def convert(
    dataset: Dataset,
    vintage: Vintage,
    natives: Sequence[Path],
    data: Path,
    *,
    inputs: Mapping[str, Files],
    threads: int | None = None,
    memory_limit: str | None = None,
    most_rows: int | None = None,
) -> tuple[Staged, tuple[geoparquet.Written, ...]]:
    """Run the steps of `build` before the profile: write the file `data` or its parts, and temporary files beside it.

    The caller removes the folder of `data`. The returned report lacks only the counts of keys.
    """
    if GEOMETRY in dataset.processing.key:
        raise DataError(
            "geometry is declared as a key column", "Declare attributes that identify a row as processing.key"
        )
    work = data.parent
    native = delivery.read(dataset.processing, natives, work, threads=threads)
    native = sampled(corrected(native, of_vintage(dataset.processing.corrections, vintage)), most_rows)
    if native.crs is None:
        native = replace(native, batches=coalesced(native.batches))
    if isinstance(dataset.processing, TableProcessing):
        from d4c_pipeline.processing.statcan import layout  # noqa: PLC0415 - these layouts hold no features

        native = layout.prepare(native, dataset.processing, work, dataset.folder, threads=threads)
    ready = prepare.stage(dataset, vintage, native, work, inputs=inputs, threads=threads, memory_limit=memory_limit)
    activity.now("sorting and writing rows")
    result = geoparquet.write(
        ready.batches(),
        _layout(dataset, vintage, ready),
        data,
        cut=dataset.outputs.partition,
        sort_bytes=None if ready.shelf.in_memory else in_memory_bytes(memory_limit),
        threads=threads,
    )
    ready.report["duplicate_rows"] = result.duplicates
    return ready, result.files


def _remove_others(into: Path, written: set[str]) -> None:
    """Remove the data files of an earlier build that are not `written`."""
    for file in (into / DATA_FILE, *into.glob("data_*.parquet")):
        if file.name not in written:
            file.unlink(missing_ok=True)


def _layout(dataset: Dataset, vintage: Vintage, ready: Staged) -> geoparquet.Layout:
    return geoparquet.Layout(
        columns=ready.plan.columns,
        types=ready.kinds,
        geometry=_geometry_layout(dataset, ready),
        rows=ready.shelf.rows,
        dataset=dataset.id,
        vintage=str(vintage),
        key=dataset.processing.key,
    )


def _geometry_layout(dataset: Dataset, ready: Staged) -> geoparquet.GeometryLayout | None:
    features, processing = ready.features, dataset.processing
    if features is None or not isinstance(processing, VectorProcessing):
        return None
    return geoparquet.GeometryLayout(
        version=f"{processing.geoparquet}.0",
        crs=features.rules.target.as_projjson(),
        type_names=features.facts.type_names,
        bounds=features.facts.total_bounds,
        promoted=features.promoted,
    )


def _summary(
    dataset: Dataset, ready: Staged, files: Sequence[geoparquet.Written], report: dict[str, Any]
) -> DataSummary:
    features, partition = ready.features, dataset.outputs.partition
    degrees = features.rules.target.degrees if features is not None else lambda _: None
    return DataSummary(
        rows=ready.shelf.rows,
        columns=ready.plan.columns,
        key=dataset.processing.key,
        crs=features.rules.target.crs if features is not None else None,
        bounds=degrees(features.facts.total_bounds) if features is not None else None,
        geometry_types=features.facts.type_names if features is not None else (),
        report=report,
        parts=tuple(Part(file.part, file.rows, degrees(file.bounds)) for file in files),
        partition=partition.words if partition is not None and len(files) > 1 else None,
    )


def _parameters(dataset: Dataset, ready: Staged) -> dict[str, Any]:
    processing = dataset.processing
    out: dict[str, Any] = {"processing": processing.model_dump(mode="json", exclude_none=True)}
    for kind, name in (("sql", processing.sql), ("notebook", processing.notebook)):
        if name is not None:
            code = ((dataset.folder or Path()) / name).read_bytes()
            out[f"{kind}_sha256"] = hashlib.sha256(code).hexdigest()
    if dataset.outputs.partition is not None:
        out["partition"] = dataset.outputs.partition.model_dump(mode="json", exclude_none=True)
    out |= geoparquet.parameters(_geometry_layout(dataset, ready))
    if ready.features is None:
        return out | {"order": "key, then all columns" if processing.key else "all columns"}
    from d4c_pipeline.geometry import hilbert  # noqa: PLC0415

    target = ready.features.rules.target
    return out | {
        "crs": target.crs,
        "order": f"Hilbert, {hilbert.BITS} bits an axis over {list(target.box)}; key; all columns",
        "repair": "make_valid structure, keep_collapsed false; linework where holes lie outside their shells",
        **({"operation": ready.report["operation"]} if "operation" in ready.report else {}),
    }
