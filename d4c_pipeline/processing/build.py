"""One build: the native files of a vintage in, `data.parquet` and `profile.json` out, always the same bytes.

This module is the order of the steps; each step has a module of its own. Hashing, versions and names come after it.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.release import DataSummary
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import columns, geometry, inputs, order, transform, write
from d4c_pipeline.processing import profile as profiles
from d4c_pipeline.processing.readers import text, vector
from d4c_pipeline.processing.readers.native import Native
from d4c_pipeline.processing.storage import put_in_place, workspace

DATA_FILE = "data.parquet"
PROFILE_FILE = "profile.json"


@dataclass(frozen=True)
class Build:
    """What a build left: data artifact, profile, summary, and all but code and natives that determined the bytes."""

    data: Path
    profile: Path
    summary: DataSummary
    parameters: dict[str, Any]


def build(
    dataset: Dataset,
    vintage: Vintage,
    natives: Sequence[Path],
    into: Path,
    *,
    threads: int | None = None,
    memory_limit: str | None = None,
) -> Build:
    """Process `natives` as `dataset.processing` declares; write `data.parquet` and `profile.json` into folder `into`.

    `threads` and `memory_limit` (DuckDB's words, `4GB`) change the speed, never the bytes. An earlier build in `into`
    is replaced file by file, each whole; what was begun and not finished is removed. Raises DataError for data that
    can't be processed as declared, StorageError when the disk can't take it.
    """
    with workspace(into) as work:
        native = _read(dataset, natives, work, threads)
        prepared = _prepare(dataset, vintage, native, work, memory_limit)
        rows = _order(dataset, prepared)
        data = work / DATA_FILE
        write.write(
            data,
            prepared.arranged.table,
            prepared.geometry,
            rows.rows,
            columns=prepared.arranged.columns,
            dataset=dataset.id,
            vintage=str(vintage),
            key=dataset.processing.key,
        )
        spill = work / "profile-spill"
        spill.mkdir()
        facts = profiles.profile(data, prepared.geometry, spill=spill, threads=threads, memory_limit=memory_limit)
        profile = work / PROFILE_FILE
        profile.write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", "utf-8")
        report = prepared.report | _key_report(dataset, prepared) | {"duplicate_rows": rows.duplicates}
        put_in_place(profile, into / PROFILE_FILE)
        put_in_place(data, into / DATA_FILE)
    return Build(
        into / DATA_FILE,
        into / PROFILE_FILE,
        _summary(dataset, prepared, len(rows.rows), report),
        _parameters(dataset, prepared),
    )


@dataclass(frozen=True)
class _Prepared:
    arranged: columns.Arranged
    geometry: geometry.GeometryColumn | None
    report: dict[str, Any]


def _read(dataset: Dataset, natives: Sequence[Path], work: Path, threads: int | None) -> Native:
    chosen = inputs.choose(dataset.processing, natives, work)
    if inputs.is_text(chosen):
        return text.read(chosen, dataset.processing, threads=threads)
    with warnings.catch_warnings():
        # GDAL's remarks ("will be dropped", "non closed ring") are either counted by `geometry` or errors of ours.
        warnings.simplefilter("ignore", RuntimeWarning)
        return vector.read(chosen, dataset.processing)


def _prepare(dataset: Dataset, vintage: Vintage, native: Native, work: Path, memory_limit: str | None) -> _Prepared:
    processing = dataset.processing
    report = dict(native.report)
    tally = geometry.Tally()
    table, wkb, cleaned = native.table, None, None
    if native.geometry is not None and native.crs is not None:
        operation = geometry.operation_to_wgs84(native.crs)
        report |= {
            "source_crs": geometry.crs_name(native.crs),
            "operation": operation.description if operation else "none",
        }
        cleaned = geometry.clean(native.geometry, operation, tally)
        wkb = cleaned.wkb
    if processing.sql is not None:
        report["source_rows"] = table.num_rows
        spill = work / "sql-spill"
        spill.mkdir()
        answer = transform.run(
            (dataset.folder or Path()) / processing.sql,
            table,
            wkb,
            variables={"vintage": str(vintage), "dataset": dataset.id},
            with_geometry=processing.kind == "vector",
            spill=spill,
            memory_limit=memory_limit,
        )
        table = answer.table
        if answer.geometry is not None:
            # What SQL makes of geometry (buffers, unions) is cleaned like any other; nulls are those of the result.
            tally.null_geometries = 0
            cleaned = geometry.clean(answer.geometry, None, tally)
    if cleaned is not None:
        cleaned = geometry.promote_mixed(cleaned, tally)
        report |= tally.report()
    kind = str(cleaned.wkb.type) if cleaned is not None else None
    return _Prepared(columns.arrange(table, processing, native.table.column_names, kind), cleaned, report)


def _order(dataset: Dataset, prepared: _Prepared) -> order.Order:
    table, key = prepared.arranged.table, dataset.processing.key
    if prepared.geometry is None:
        return order.by_key(table, key)
    whole = {**{name: table[name] for name in table.column_names}, columns.GEOMETRY: prepared.geometry.wkb}
    return order.by_place(pa.table(whole), order.hilbert(prepared.geometry.bounds), key)


def _key_report(dataset: Dataset, prepared: _Prepared) -> dict[str, int]:
    key = [name for name in dataset.processing.key if name != columns.GEOMETRY]
    if len(key) != len(dataset.processing.key):
        raise DataError(
            "geometry is declared as a key column", "Declare attributes that identify a row as processing.key"
        )
    if not key:
        return {}
    keys = prepared.arranged.table.select(key)
    null = pa.chunked_array([pa.array([False] * keys.num_rows)])
    for column in keys.columns:
        null = pc.or_(null, pc.is_null(column))
    known = keys.filter(pc.invert(null))
    return {
        "key_nulls": keys.num_rows - known.num_rows,
        "key_duplicates": known.num_rows - known.group_by(key).aggregate([]).num_rows,
    }


def _summary(dataset: Dataset, prepared: _Prepared, rows: int, report: dict[str, Any]) -> DataSummary:
    shape = prepared.geometry
    return DataSummary(
        rows=rows,
        columns=prepared.arranged.columns,
        key=dataset.processing.key,
        crs=geometry.CRS if shape is not None else None,
        bounds=shape.total_bounds if shape is not None else None,
        geometry_types=shape.type_names if shape is not None else (),
        report=report,
    )


def _parameters(dataset: Dataset, prepared: _Prepared) -> dict[str, Any]:
    processing = dataset.processing
    out: dict[str, Any] = {"processing": processing.model_dump(mode="json", exclude_none=True)}
    if processing.sql is not None:
        out["sql_sha256"] = hashlib.sha256(((dataset.folder or Path()) / processing.sql).read_bytes()).hexdigest()
    out |= write.parameters(with_geometry=prepared.geometry is not None)
    if prepared.geometry is None:
        return out | {"order": "key, then all columns" if processing.key else "all columns"}
    return out | {
        "crs": geometry.CRS,
        "order": f"Hilbert, {order.HILBERT_BITS} bits an axis over {list(order.HILBERT_BOX)}; key; all columns",
        "repair": "make_valid structure, keep_collapsed false",
        **({"operation": prepared.report["operation"]} if "operation" in prepared.report else {}),
    }
