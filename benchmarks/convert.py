"""How fast, how small and how much memory: ours against the known tools, on inputs made here with a fixed seed.

Run `.venv/bin/python benchmarks/convert.py [--quick] [--inputs a,b] [--sides gpio]`. Prints a table; the last line is
one JSON object with ratios (ours to the other's, so less than 1 is better) per input, cold (a new process, imports
included) and warm (the second conversion in one process). Every side repairs invalid geometry, sorts and writes a
covering, and has done so once with a small file before it is measured: its bytecode is there, as that of installed
programs is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
    parser.add_argument("--sides", default="", help="which of the peers, separated by commas; `ours` for none of them")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "d4c-bench", help="cache folder")
    parser.add_argument("--turns", type=int, default=0, help="how often each is measured; the best counts")
    options = parser.parse_args()
    turns = options.turns or (1 if options.quick else 3)
    names = options.inputs.split(",")
    wanted = frozenset(options.sides.split(",")) if options.sides else None
    small = made.make(options.work, names, _QUICK)
    files = small if options.quick else made.make(options.work, names, 1.0)
    home = measure.offline_home()
    print(", ".join(f"{package} {version(package)}" for package in _VERSIONS), f"- {os.cpu_count()} cores")
    answer: dict[str, dict[str, Any]] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="d4c-bench-out-", dir=options.work) as out:
            for name in names:
                folder = Path(out) / name
                folder.mkdir()
                _compared(name, files[name], small[name], folder, home, turns, answer, wanted, quick=options.quick)
            print("\ngpio check all")
            judged = [path for path in sorted(Path(out).glob("*/*.parquet")) if _is_judged(path, quick=options.quick)]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for path, verdict in zip(
                    judged, pool.map(lambda each: measure.verdict(each, home), judged), strict=True
                ):
                    print(f"{path.parent.name:16}{path.stem:12}{verdict}")
    finally:
        shutil.rmtree(home)
    print(json.dumps(answer))


def _is_judged(path: Path, *, quick: bool) -> bool:
    sides = ("ours",) if quick else ("ours", "ours_4326", *_PEERS)
    return path.parent.name != "wds" and path.stem in sides


def _compared(
    name: str,
    file: Path,
    small: Path,
    out: Path,
    home: Path,
    turns: int,
    answer: dict[str, dict[str, Any]],
    wanted: frozenset[str] | None,
    *,
    quick: bool,
) -> None:
    table = name == "wds"
    peers = (_TABLE_PEERS if table else _PEERS)[: -1 if quick else None]
    extra = ("ours_4326",) if name.startswith("buildings") and not quick else ()
    if wanted is not None:
        peers, extra = ([side for side in sides if side in wanted] for sides in (peers, extra))
    print(f"\n{name}: {file.stat().st_size / 1e6:.1f} MB")
    print(f"{'':12}{'cold s':>8}{'cpu s':>8}{'warm s':>8}{'MB':>8}{'peak MB':>9}")
    for side in ("ours", *extra, *peers):
        with contextlib.suppress(FailedError):  # it is said when it fails with what is measured
            measure.run(side, name, small, out / f"{side}.parquet", home)
    runs = _measured(("ours", *extra, *peers), name, file, out, home, turns)
    for side, run in runs.items():
        size = (out / f"{side}.parquet").stat().st_size
        print(f"{side:12}{run.cold:8.2f}{run.cpu:8.2f}{run.warm:8.2f}{size / 1e6:8.1f}{run.peak_mb:9.0f}", flush=True)
    ours = out / "ours.parquet"

    def put(what: str, value: Any) -> None:
        answer.setdefault(what, {})[name] = value

    own = runs["ours"]
    for peer in peers:
        if peer in runs:
            other = runs[peer]
            put(f"vs_{peer}", {"cold": round(own.cold / other.cold, 3), "warm": round(own.warm / other.warm, 3)})
            put(f"size_vs_{peer}", round(ours.stat().st_size / (out / f"{peer}.parquet").stat().st_size, 3))
            put(f"memory_vs_{peer}", round(own.peak_mb / other.peak_mb, 3))
    reading, encoding = own.alone["read"], own.alone["encode"]
    floor = reading + encoding
    print(f"{'floor':12}{'':16}{floor:8.2f}   reading {reading:.2f}, encoding {encoding:.2f}")
    put("vs_floor", {"cold": round(own.cold / floor, 3), "warm": round(own.warm / floor, 3)})
    put("peak_mb", {side: round(run.peak_mb) for side, run in runs.items()})
    if not table:
        measure.regrouped(ours, out / "50k.parquet", 50_000)
        few, many = measure.query_bytes(ours), measure.query_bytes(out / "50k.parquet")
        print(f"a query for 1 %: {few / 1e6:.2f} MB, of the same in groups of 50,000 rows {many / 1e6:.2f} MB")
        put("query_bytes_vs_50k", round(few / many, 3))


def _measured(sides: Sequence[str], name: str, file: Path, out: Path, home: Path, turns: int) -> dict[str, Run]:
    # One after the other within a turn: what else the machine does hits all sides alike.
    best: dict[str, Run] = {}
    failed: set[str] = set()
    for _ in range(turns):
        for side in sides:
            if side in failed:
                continue
            try:
                here = measure.run(
                    side, name, file, out / f"{side}.parquet", home, ("read", "encode") if side == "ours" else ()
                )
            except FailedError as error:
                print(error)
                failed.add(side)
                continue
            known = best.get(side, here)
            best[side] = Run(
                min(known.cold, here.cold),
                min(known.cpu, here.cpu),
                min(known.peak_mb, here.peak_mb),
                min(known.warm, here.warm),
                {part: min(seconds, here.alone[part]) for part, seconds in known.alone.items()},
            )
    return best


if __name__ == "__main__":
    main()
