"""One build: the native files of a vintage in, `data.parquet` and `profile.json` out, always the same bytes.

This module is the order of the steps; each step has a module of its own. Hashing, versions and names come after it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from d4c_pipeline.model.dataset import Dataset, VectorProcessing
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.release import DataSummary
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import merge, prepare, write
from d4c_pipeline.processing.columns import GEOMETRY
from d4c_pipeline.processing.parallel import in_memory_bytes
from d4c_pipeline.processing.prepare import Staged
from d4c_pipeline.processing.readers import delivery
from d4c_pipeline.processing.statcan import layout
from d4c_pipeline.processing.storage import put_in_place, workspace
from d4c_pipeline.processing.stream import coalesced

DATA_FILE = "data.parquet"
PROFILE_FILE = "profile.json"
NOTEBOOK_FILE = "notebook.ipynb"


@dataclass(frozen=True)
class Build:
    """What a build left: data artifact, profile, summary, and all but code and natives that determined the bytes.

    `notebook`: the executed copy of the dataset's notebook, if it has one.
    """

    data: Path
    profile: Path
    summary: DataSummary
    parameters: dict[str, Any]
    notebook: Path | None = None


def build(
    dataset: Dataset,
    vintage: Vintage,
    natives: Sequence[Path],
    into: Path,
    *,
    inputs: Mapping[str, Path] | None = None,
    threads: int | None = None,
    memory_limit: str | None = None,
) -> Build:
    """Process `natives` as `dataset.processing` declares; write `data.parquet` and `profile.json` into folder `into`.

    `inputs`: the Parquet files of the datasets that `processing.inputs` names. `threads` and `memory_limit` (DuckDB's
    words, `4GB`) change the speed, never the bytes. An earlier build in `into` is replaced file by file, each whole;
    what was begun and not finished is removed. Raises DataError for data that can't be processed as declared,
    StorageError when the disk can't take it.
    """
    from d4c_pipeline.processing import profile as profiles  # noqa: PLC0415 - DuckDB is wanted here first

    with workspace(into) as work:
        data = work / DATA_FILE
        done = convert(dataset, vintage, natives, data, inputs=inputs or {}, threads=threads, memory_limit=memory_limit)
        spill = work / "profile-spill"
        spill.mkdir()
        geometry = done.features.facts if done.features is not None else None
        facts = profiles.profile(data, geometry, spill=spill, threads=threads, memory_limit=memory_limit)
        keys = profiles.keys(data, dataset.processing.key, spill=spill, threads=threads, memory_limit=memory_limit)
        profile = work / PROFILE_FILE
        profile.write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", "utf-8")
        put_in_place(profile, into / PROFILE_FILE)
        if done.notebook is not None:
            put_in_place(done.notebook, into / NOTEBOOK_FILE)
        put_in_place(data, into / DATA_FILE)
    return Build(
        into / DATA_FILE,
        into / PROFILE_FILE,
        _summary(dataset, done, done.report | keys),
        _parameters(dataset, done),
        into / NOTEBOOK_FILE if done.notebook is not None else None,
    )


def convert(
    dataset: Dataset,
    vintage: Vintage,
    natives: Sequence[Path],
    data: Path,
    *,
    inputs: Mapping[str, Path],
    threads: int | None = None,
    memory_limit: str | None = None,
) -> Staged:
    """Do what `build` does up to the profile: write the file `data`, with other files beside it.

    The folder of `data` is the caller's to remove. The report of what is returned is complete but for the keys.
    """
    if GEOMETRY in dataset.processing.key:
        raise DataError(
            "geometry is declared as a key column", "Declare attributes that identify a row as processing.key"
        )
    work = data.parent
    native = delivery.read(dataset.processing, natives, work, threads=threads)
    if native.crs is None:
        native = replace(native, batches=coalesced(native.batches))
    native = layout.prepare(native, dataset.processing, work, dataset.folder, threads=threads)
    ready = prepare.stage(dataset, vintage, native, work, inputs=inputs, threads=threads, memory_limit=memory_limit)
    noticed = merge.Sorting()
    parts = _sorted(dataset, ready, noticed, work, in_memory_bytes(memory_limit))
    write.write(data, parts, _layout(dataset, vintage, ready), threads=threads)
    ready.report["duplicate_rows"] = noticed.duplicates
    return ready


def _sorted(dataset: Dataset, ready: Staged, noticed: merge.Sorting, work: Path, limit: int) -> Iterator[merge.Sorted]:
    names = [name for name in ready.plan.schema.names if name not in dataset.processing.key]
    order: Iterable[str] = [*dataset.processing.key, *names]
    if ready.features is not None:
        from d4c_pipeline.processing import staged  # noqa: PLC0415

        order = [staged.PLACE, *order, staged.GEOMETRY]
    if ready.shelf.in_memory:
        return merge.in_memory(ready.batches(), list(order), noticed)
    return merge.on_disk(ready.batches(), list(order), noticed, folder=work, limit=limit, threads=ready.threads)


def _layout(dataset: Dataset, vintage: Vintage, ready: Staged) -> write.Layout:
    return write.Layout(
        columns=ready.plan.columns,
        types=ready.kinds,
        geometry=_geometry_layout(dataset, ready),
        rows=ready.shelf.rows,
        dataset=dataset.id,
        vintage=str(vintage),
        key=dataset.processing.key,
    )


def _geometry_layout(dataset: Dataset, ready: Staged) -> write.GeometryLayout | None:
    features, processing = ready.features, dataset.processing
    if features is None or not isinstance(processing, VectorProcessing):
        return None
    return write.GeometryLayout(
        version=f"{processing.geoparquet}.0",
        crs=features.rules.target.as_projjson(),
        type_names=features.facts.type_names,
        bounds=features.facts.total_bounds,
        promoted=features.promoted,
    )


def _summary(dataset: Dataset, ready: Staged, report: dict[str, Any]) -> DataSummary:
    features = ready.features
    return DataSummary(
        rows=ready.shelf.rows,
        columns=ready.plan.columns,
        key=dataset.processing.key,
        crs=features.rules.target.crs if features is not None else None,
        bounds=features.rules.target.degrees(features.facts.total_bounds) if features is not None else None,
        geometry_types=features.facts.type_names if features is not None else (),
        report=report,
    )


def _parameters(dataset: Dataset, ready: Staged) -> dict[str, Any]:
    processing = dataset.processing
    out: dict[str, Any] = {"processing": processing.model_dump(mode="json", exclude_none=True)}
    for kind, name in (("sql", processing.sql), ("notebook", processing.notebook)):
        if name is not None:
            code = ((dataset.folder or Path()) / name).read_bytes()
            out[f"{kind}_sha256"] = hashlib.sha256(code).hexdigest()
    out |= write.parameters(_geometry_layout(dataset, ready))
    if ready.features is None:
        return out | {"order": "key, then all columns" if processing.key else "all columns"}
    from d4c_pipeline.processing import hilbert  # noqa: PLC0415

    target = ready.features.rules.target
    return out | {
        "crs": target.crs,
        "order": f"Hilbert, {hilbert.BITS} bits an axis over {list(target.box)}; key; all columns",
        "repair": "make_valid structure, keep_collapsed false",
        **({"operation": ready.report["operation"]} if "operation" in ready.report else {}),
    }
