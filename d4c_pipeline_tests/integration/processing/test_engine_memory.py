"""More data than is held in memory: the same bytes, bounded memory, and a clean end when the disk is full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely

import d4c_pipeline
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline.tables import parallel

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")


def table_text(rows: int) -> str:
    random = np.random.default_rng(11)
    key = random.permutation(rows)
    lines = [
        f"{key[n] // 2:07d},{'' if n % 11 == 0 else n % 7},{'été' * (n % 3)},{key[n] / 8},{n % 90}" for n in range(rows)
    ]
    return "\n".join(["code,month,name,value,small", *lines, *lines[:20]]) + "\n"


def features_text(rows: int) -> str:
    random = np.random.default_rng(12)
    x, y = random.uniform(-141, -52, rows), random.uniform(42, 83, rows)
    shapes = shapely.buffer(shapely.points(x, y), random.uniform(0.001, 0.1, rows), quad_segs=2)
    single = shapely.to_wkt(shapes, rounding_precision=6)
    wkt = [
        "" if n % 101 == 0 else single[n].replace("POLYGON ", "MULTIPOLYGON (") + ")" if n % 3 == 0 else single[n]
        for n in range(rows)
    ]
    lines = [f'{n},{"abc"[n % 3]},"{wkt[n]}"' for n in range(rows)]
    return "\n".join(["id,kind,wkt", *lines, *lines[:9]]) + "\n"


@pytest.mark.parametrize(
    ("text", "processing"),
    [
        (table_text, {"kind": "table", "key": ["code", "month"]}),
        (table_text, {"kind": "table"}),
        (features_text, {"key": ["id"], "geometry_wkt": "wkt"}),
    ],
)
def test_the_bytes_are_those_of_a_build_in_memory(
    declare: Declare,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: Callable[[int], str],
    processing: dict[str, object],
) -> None:
    native = tmp_path / "rows.csv"
    native.write_text(text(40_000), "utf-8")
    dataset = declare(**processing)
    in_memory = build(dataset, VINTAGE, [native], tmp_path / "memory")
    made: list[str] = []
    real = Path.open

    def noting(path: Path, *arguments: object, **named: object) -> object:
        made.append(path.name)
        return real(path, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", noting)
    assert not {"shelf", "runs"} & set(made)
    for limit, threads in ((300_000, 1), (800_000, 3)):
        monkeypatch.setattr(parallel, "_IN_MEMORY_MOST", limit)
        made.clear()
        on_disk = build(dataset, VINTAGE, [native], tmp_path / f"disk{limit}", threads=threads)
        assert {"shelf", "runs"} <= set(made)
        assert on_disk.data.read_bytes() == in_memory.data.read_bytes()
        assert on_disk.profile.read_bytes() == in_memory.profile.read_bytes()
        assert on_disk.summary.report == in_memory.summary.report
        assert [path.name for path in on_disk.data.parent.iterdir() if path.name.startswith(".")] == []
    assert in_memory.summary.report["duplicate_rows"] == (9 if text is features_text else 20)


def test_the_limit_is_a_share_of_the_ceiling_and_never_of_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroup = tmp_path / "memory.max"
    monkeypatch.setattr(parallel, "_CGROUP", (cgroup, tmp_path / "none"))
    machine = parallel.memory_ceiling()
    cgroup.write_text("max\n")
    assert parallel.memory_ceiling() == machine
    cgroup.write_text(f"{1 << 30}\n")
    assert parallel.memory_ceiling() == 1 << 30
    assert parallel.memory_bytes(None) == 1 << 29
    assert parallel.in_memory_bytes(None) == 1 << 25
    assert parallel.memory_bytes("4GB") == 4 * 10**9
    assert parallel.memory_bytes("1.5 GiB") == 3 << 29
    assert parallel.in_memory_bytes("64GB") == 256 << 20
    with pytest.raises(Exception, match=r"'much' is not an amount of memory\. Write it as 4GB or 512MiB"):
        parallel.memory_bytes("much")


_TINY_DISK = """
import resource, signal, sys
from pathlib import Path
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.tables import parallel
from d4c_pipeline.processing.build import build
definition, native, into, limit, in_memory = sys.argv[1:]
dataset = Dataset.model_validate_json(Path(definition).read_text("utf-8"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
parallel._IN_MEMORY_MOST = int(in_memory)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    build(dataset, Vintage.parse("2021"), [Path(native)], Path(into), threads=2)
except StorageError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.parametrize("room", [100_000, 1_000_000])
def test_a_disk_that_is_full_while_sorting_is_a_storage_error(declare: Declare, tmp_path: Path, room: int) -> None:
    # The first stops the shelf, the second the runs or the result.
    (tmp_path / "rows.csv").write_text(table_text(40_000), "utf-8")
    (tmp_path / "dataset.json").write_text(declare(kind="table", key=["code"]).model_dump_json(), "utf-8")
    into = tmp_path / "out"
    into.mkdir()
    (into / "data.parquet").write_bytes(b"earlier")
    done = subprocess.run(
        [sys.executable, "-c", _TINY_DISK, tmp_path / "dataset.json", tmp_path / "rows.csv", into, str(room), "200000"],
        env={**os.environ, "PYTHONPATH": str(Path(d4c_pipeline.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "File too large" in done.stdout
    assert [path.name for path in into.iterdir()] == ["data.parquet"]
    assert (into / "data.parquet").read_bytes() == b"earlier"
