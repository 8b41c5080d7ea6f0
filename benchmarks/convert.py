"""How fast, how small and how much memory: ours against the known tools, on inputs made here with a fixed seed.

Run `.venv/bin/python benchmarks/convert.py [--quick] [--inputs a,b]`. Prints a table; the last line is one JSON object
with ratios (ours to the other's, so less than 1 is better) per input, cold (a new process, imports included) and warm
(the second conversion in one process). Every side repairs invalid geometry, sorts and writes a covering.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import inputs as made
import measure
from measure import FailedError, Run

# The last of each is left out where it has to be quick.
_PEERS = ("gpio", "duckdb", "geopandas")
_TABLE_PEERS = ("polars", "duckdb", "pyarrow")
_QUICK = 0.03
_VERSIONS = ("duckdb", "geoparquet-io", "geopandas", "pyogrio", "shapely", "pyarrow", "polars", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few percent of the size")
    parser.add_argument("--inputs", default=",".join(made.MAKERS), help="which of them, separated by commas")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "d4c-bench", help="cache folder")
    parser.add_argument("--turns", type=int, default=0, help="how often each is measured; the best counts")
    options = parser.parse_args()
    turns = options.turns or (1 if options.quick else 3)
    names = options.inputs.split(",")
    files = made.make(options.work, names, _QUICK if options.quick else 1.0)
    home = measure.offline_home()
    print(", ".join(f"{package} {version(package)}" for package in _VERSIONS), f"- {os.cpu_count()} cores")
    answer: dict[str, dict[str, Any]] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="d4c-bench-out-", dir=options.work) as out:
            for name in names:
                _compared(name, files[name], Path(out), home, turns, answer, quick=options.quick)
    finally:
        shutil.rmtree(home)
    print(json.dumps(answer))


def _compared(
    name: str, file: Path, out: Path, home: Path, turns: int, answer: dict[str, dict[str, Any]], *, quick: bool
) -> None:
    table = name == "wds"
    peers = (_TABLE_PEERS if table else _PEERS)[: -1 if quick else None]
    extra = ("ours_4326",) if name.startswith("buildings") and not quick else ()
    print(f"\n{name}: {file.stat().st_size / 1e6:.1f} MB")
    print(f"{'':12}{'cold s':>8}{'cpu s':>8}{'warm s':>8}{'MB':>8}{'peak MB':>9}")
    cold, warm = _measured(("ours", *extra, *peers), name, file, out, home, turns)
    for side in ("ours", *extra, *peers):
        if side not in cold:
            continue
        size = (out / f"{side}.parquet").stat().st_size
        judged = "" if table else measure.verdict(out / f"{side}.parquet", home)
        print(
            f"{side:12}{cold[side].seconds:8.2f}{cold[side].cpu:8.2f}{warm[side].inner:8.2f}{size / 1e6:8.1f}"
            f"{cold[side].peak_mb:9.0f}  {judged}"
        )
    ours = out / "ours.parquet"

    def put(what: str, value: Any) -> None:
        answer.setdefault(what, {})[name] = value

    for peer in peers:
        if peer in cold:
            both = {"cold": cold["ours"].seconds / cold[peer].seconds, "warm": warm["ours"].inner / warm[peer].inner}
            put(f"vs_{peer}", {when: round(ratio, 3) for when, ratio in both.items()})
            put(f"size_vs_{peer}", round(ours.stat().st_size / (out / f"{peer}.parquet").stat().st_size, 3))
            put(f"memory_vs_{peer}", round(cold["ours"].peak_mb / cold[peer].peak_mb, 3))
    reading = measure.run("read", name, file, out / "read", 2, home)
    encoding = measure.run("encode", name, ours, out / "encoded.parquet", 2, home)
    floor = reading.inner + encoding.inner
    print(f"{'floor':12}{'':16}{floor:8.2f}   reading {reading.inner:.2f}, encoding {encoding.inner:.2f}")
    put("vs_floor", {"cold": round(cold["ours"].seconds / floor, 3), "warm": round(warm["ours"].inner / floor, 3)})
    put("peak_mb", {side: round(run.peak_mb) for side, run in cold.items()})
    if not table:
        measure.regrouped(ours, out / "50k.parquet", 50_000)
        few, many = measure.query_bytes(ours), measure.query_bytes(out / "50k.parquet")
        print(f"a query for 1 %: {few / 1e6:.2f} MB, of the same in groups of 50,000 rows {many / 1e6:.2f} MB")
        put("query_bytes_vs_50k", round(few / many, 3))


def _measured(
    sides: Sequence[str], name: str, file: Path, out: Path, home: Path, turns: int
) -> tuple[dict[str, Run], dict[str, Run]]:
    # One after the other within a turn: what else the machine does hits all sides alike.
    cold: dict[str, Run] = {}
    warm: dict[str, Run] = {}
    failed: set[str] = set()
    for _ in range(turns):
        for side in sides:
            if side in failed:
                continue
            try:
                here = measure.run(side, name, file, out / f"{side}.parquet", 1, home)
                again = measure.run(side, name, file, out / f"{side}.parquet", 2, home)
            except FailedError as error:
                print(error)
                failed.add(side)
                continue
            cold[side] = min(cold.get(side, here), here, key=lambda run: run.seconds)
            warm[side] = min(warm.get(side, again), again, key=lambda run: run.inner)
    return cold, warm


if __name__ == "__main__":
    main()
