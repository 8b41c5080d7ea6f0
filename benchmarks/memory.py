"""How memory grows with the data: a GeoPackage of 1, 2 and 4 times a size, built as if the machine had `--cap-mb`.

Run `.venv/bin/python benchmarks/memory.py [--quick] [--cap-mb 1024]`. `memory_limit` is half of the cap, as a build
would choose by itself in a container of that size; a build whose resident memory ever exceeds the cap fails. The last
line is one JSON object: most memory in MB by size, how many MB it grew for each 1,000 MB of input, and what 20 GB would
take by that.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyogrio
import shapely

_SEED = 20261119
_ROWS = 1_500_000
_BATCH = 50_000
_QUICK = 0.08
_CHILD = """
import json, sys, time
from pathlib import Path
native, work, limit = sys.argv[1:]
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
import sides
began = time.perf_counter()
done = build(sides.dataset("buildings_gpkg"), Vintage.parse("2021"), [Path(native)], Path(work), memory_limit=limit)
seconds = time.perf_counter() - began
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({"peak_mb": int(status["VmHWM"].split()[0]) / 1024, "seconds": seconds, "rows": done.summary.rows}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few percent of the size")
    parser.add_argument("--cap-mb", type=int, default=1024, help="of memory for the process")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "d4c-bench", help="cache folder")
    options = parser.parse_args()
    rows = int(_ROWS * (_QUICK if options.quick else 1))
    peaks: dict[str, float] = {}
    sizes: dict[str, float] = {}
    for times in (1, 2, 4):
        native = _made(options.work, rows, times)
        out = Path(tempfile.mkdtemp(prefix="d4c-memory-", dir=options.work))
        limit = f"{options.cap_mb // 2}MiB"
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, native, out, limit],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
        shutil.rmtree(out)
        if done.returncode:
            sys.exit(f"{times}x did not pass under {options.cap_mb} MB:\n{done.stderr[-2000:]}")
        measured = json.loads(done.stdout.splitlines()[-1])
        if measured["peak_mb"] > options.cap_mb:
            sys.exit(f"{times}x took {measured['peak_mb']:.0f} MB, more than {options.cap_mb}")
        name = f"{times}x"
        sizes[name], peaks[name] = native.stat().st_size / 1e6, measured["peak_mb"]
        print(f"{name}: {sizes[name]:.0f} MB in, peak {peaks[name]:.0f} MB, {measured['seconds']:.1f} s", flush=True)
    slope = (peaks["4x"] - peaks["1x"]) / (sizes["4x"] - sizes["1x"]) * 1000
    at_20_gb = peaks["4x"] + slope * (20_000 - sizes["4x"]) / 1000
    print(json.dumps({
        "peak_mb": {name: round(peak) for name, peak in peaks.items()},
        "input_mb": {name: round(size) for name, size in sizes.items()},
        "slope": round(slope, 1),
        "cap_mb": options.cap_mb,
        "extrapolated_peak_mb_for_20_gb": round(at_20_gb),
    }))  # fmt: skip


def _made(folder: Path, rows: int, times: int) -> Path:
    # Written batch by batch: making the input wants no memory either.
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"memory-{rows}-{times}x.gpkg"
    if path.exists():
        return path
    making = folder / f"making-{path.name}"
    making.unlink(missing_ok=True)
    schema = pa.schema([("bldg_id", pa.int64()), ("owner", pa.string()), ("geom", pa.binary())])

    def batches() -> object:
        random = np.random.default_rng(_SEED)
        for start in range(0, rows * times, _BATCH):
            count = min(_BATCH, rows * times - start)
            centre = np.column_stack([random.uniform(4e6, 8e6, count), random.uniform(1e6, 3e6, count)])
            angle = np.linspace(0, 2 * np.pi, 25)[:-1]
            reach = random.uniform(5, 15, (count, 24))
            ring = centre[:, None, :] + reach[:, :, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            shapes = shapely.polygons(np.round(ring, 2))
            owners = np.char.add("owner number ", random.integers(0, 10**9, count).astype(str))
            yield pa.record_batch(
                [pa.array(np.arange(start, start + count)), pa.array(owners), pa.array(shapely.to_wkb(shapes))],
                schema=schema,
            )

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    pyogrio.write_arrow(
        reader, making, layer="buildings", geometry_name="geom", geometry_type="Polygon", crs="EPSG:3347",
        layer_options={"SPATIAL_INDEX": "NO"},
    )  # fmt: skip
    making.replace(path)
    return path


if __name__ == "__main__":
    main()
