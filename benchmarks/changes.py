"""How long the changes between two states of a dataset take, and whether they lead back to the later state, by sha256.

Run `.venv/bin/python benchmarks/changes.py [--quick] [--rows N]`. A table of N rows with a key of text and one of
points, one row in a thousand changed, added or removed. The peer is what people write: EXCEPT ALL both ways in DuckDB
over the same files in the same run, which says neither which row became which nor which column changed. Then a CSV of a
million rows is built twice: which share of the second build would finding and proving its changes add. The last line is
one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from pyarrow import csv

from d4c_pipeline import geoparquet
from d4c_pipeline.geometry import points
from d4c_pipeline.geometry.projection import WGS84, Target
from d4c_pipeline.geometry.shapes import of_clean
from d4c_pipeline.model.release import Column
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import changes
from d4c_pipeline.processing.build import build
from d4c_pipeline_tests.support.declared import declaring

_ROWS, _QUICK_ROWS = 10_000_000, 300_000
_BUILT, _QUICK_BUILT = 1_000_000, 100_000
_CHANGED = 1_000  # one row in so many
_BATCH = 65_536


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_ROWS} rows")
    parser.add_argument("--rows", type=int, default=0, help=f"by default {_ROWS}")
    options = parser.parse_args()
    rows = options.rows or (_QUICK_ROWS if options.quick else _ROWS)
    print(f"duckdb {version('duckdb')}, pyarrow {pa.__version__}, {os.cpu_count()} cores, {rows} rows")
    answer: dict[str, float | bool | int] = {"rows": rows}
    seconds: dict[str, float] = {}
    equal = True
    for kind in ("table", "points"):
        with tempfile.TemporaryDirectory(prefix="d4c-bench-changes-") as folder:
            work = Path(folder)
            earlier = _made(work / "earlier.parquet", rows, kind, edited=False)
            later = _made(work / "later.parquet", rows, kind, edited=True)
            found_s, found = _timed(partial(changes.find, earlier, later, work / "changes.parquet"))
            peer_s, _ = _timed(partial(_compared, earlier, later))
            applied_s, applied = _timed(partial(changes.apply, earlier, found.path, work / "applied"))
            same = _sha256(applied.files[0]) == _sha256(later)
            equal = equal and same
            size = found.path.stat().st_size / later.stat().st_size
            print(
                f"{kind:7} changes {found_s:6.1f} s, EXCEPT ALL both ways {peer_s:6.1f} s, applied {applied_s:6.1f} s,"
                f" equal {same}, {sum(found.recipe.counts.values())} rows, {size:.2%} of the data's size"
            )
            seconds[kind] = found_s
            answer |= {f"{kind}_s": round(found_s, 1), f"{kind}_vs_full_compare": round(found_s / peer_s, 2)}
    answer |= _beside_a_build(_QUICK_BUILT if options.quick else _BUILT)
    answer |= {
        "changes_s": round(max(seconds.values()), 1),
        "vs_full_compare": max(answer["table_vs_full_compare"], answer["points_vs_full_compare"]),
        "applied_equal": equal,
    }
    print(json.dumps(answer))


def _beside_a_build(rows: int) -> dict[str, float | int]:
    with tempfile.TemporaryDirectory(prefix="d4c-bench-changes-") as folder:
        work = Path(folder)
        dataset = declaring(work / "definition")(key=["id"], longitude="x", latitude="y", drop=["x", "y"])
        built_s, files = 0.0, list[Path]()
        for name, edited in (("earlier", False), ("later", True)):
            native = work / f"{name}.csv"
            table, x, y = _values(rows, edited=edited)
            csv.write_csv(table.append_column("x", pa.array(x)).append_column("y", pa.array(y)), native)
            built_s, built = _timed(partial(build, dataset, Vintage.parse("2021"), [native], work / name))
            files += built.files.values()
        found_s, found = _timed(partial(changes.find, files[0], files[1], work / "changes.parquet"))
        applied_s, _ = _timed(partial(changes.apply, files[0], found.path, work / "applied"))
    share = (found_s + applied_s) / built_s
    print(f"build of {rows} rows {built_s:.1f} s, its changes {found_s:.1f} s, proved {applied_s:.1f} s, {share:.0%}")
    return {"built_rows": rows, "build_share": round(share, 2)}


def _values(rows: int, *, edited: bool) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    number = np.arange(rows)
    amount = random.integers(0, 100_000, rows)
    share = random.normal(0, 1, rows).round(4)
    x, y = random.uniform(-140, -52, rows).round(6), random.uniform(42, 83, rows).round(6)
    if edited:
        amount[::_CHANGED] += 1
        x[1 :: _CHANGED * 4] += 0.5
        number[2 :: _CHANGED * 4] += rows  # one gone, one new
    return pa.table({"id": pa.array([f"CA{each:09d}" for each in number]), "amount": amount, "share": share}), x, y


def _made(path: Path, rows: int, kind: str, *, edited: bool) -> Path:
    table, x, y = _values(rows, edited=edited)
    target = Target.of(WGS84)
    geometry, shapes = None, None
    if kind == "points":
        shapes = [
            of_clean(points.write(xy, np.ones(xy.shape[1], np.bool_)), target.box)
            for xy in (np.stack([x[at : at + _BATCH], y[at : at + _BATCH]]) for at in range(0, rows, _BATCH))
        ]
        bounds = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
        geometry = geoparquet.GeometryLayout("1.1.0", target.as_projjson(), ("Point",), bounds)
    batches = table.combine_chunks().to_batches(_BATCH)
    packed = (
        geoparquet.packed(batch, shapes[place] if shapes is not None else None) for place, batch in enumerate(batches)
    )
    columns = [Column(field.name, str(field.type)) for field in table.schema]
    layout = geoparquet.Layout(
        columns=(*columns, *([Column("geometry", "binary")] if geometry else [])),
        types={field.name: field.type for field in table.schema},
        geometry=geometry,
        rows=rows,
        dataset="bench",
        vintage="2021",
        key=("id",),
    )
    geoparquet.write(packed, layout, path)
    return path


def _compared(earlier: Path, later: Path) -> int:
    with duckdb.connect() as connection:
        connection.execute("SET enable_geoparquet_conversion = false")
        return sum(
            connection.execute(
                "SELECT count(*) FROM (FROM read_parquet($1) EXCEPT ALL FROM read_parquet($2))", [str(one), str(other)]
            ).fetchall()[0][0]
            for one, other in ((earlier, later), (later, earlier))
        )


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
