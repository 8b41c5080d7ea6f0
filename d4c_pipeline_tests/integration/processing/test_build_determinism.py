"""The same bytes whatever the process: threads, folder, zone, locale, hash seed, order of the input."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest

import d4c_pipeline
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")

BUILD = """
import hashlib, sys
from pathlib import Path
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
definition, folder, native, threads = sys.argv[1:]
dataset = Dataset.model_validate_json(Path(definition).read_text("utf-8")).model_copy(update={"folder": Path(folder)})
done = build(dataset, Vintage.parse("2021"), [Path(native)], Path("out"), threads=int(threads))
for path in (done.data, done.profile):
    print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


def elsewhere(dataset: Dataset, native: Path, cwd: Path, threads: int, **environment: str) -> subprocess.Popen[str]:
    cwd.mkdir()
    definition = cwd / "dataset.json"
    definition.write_text(dataset.model_dump_json(), "utf-8")
    root = Path(d4c_pipeline.__file__).parent.parent
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, definition, dataset.folder or cwd, native, str(threads)],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "HOME": str(cwd / "no-home"), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_build_the_same_bytes(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    # Sums of floating point numbers over groups: what depends on the number of threads, if anything does.
    sql = """
        SELECT *, sum(area) OVER (PARTITION BY region) AS total, getvariable('vintage') AS vintage
        FROM (SELECT *, ST_Area(geometry) AS area, left(PRUID, 1) AS region FROM source)
    """
    dataset = declare(key=["pruid"], sql_text=sql)
    native = fixtures / "01_statcan_provinces_2016" / "province_territory_simplified_sp.zip"
    one = elsewhere(dataset, native, tmp_path / "one", 1, TZ="UTC", LC_ALL="C", PYTHONHASHSEED="1")
    two = elsewhere(
        dataset,
        native,
        tmp_path / "another folder",
        4,
        TZ="America/St_Johns",
        LC_ALL="C.UTF-8",
        PYTHONHASHSEED="42",
        PROJ_NETWORK="ON",
    )
    hashes = [process.communicate(timeout=120)[0].split() for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0)
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 2
    assert not (tmp_path / "one" / "no-home").exists()


@pytest.mark.parametrize("kind", ["vector", "table"])
def test_the_order_of_the_input_does_not_matter(declare: Declare, tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(7)
    lines = [
        f"{n % 50},{'é' * (n % 3)},{-75 + (n % 7) / 100},{45 + (n % 5) / 100}" for n in range(3_000)
    ]  # few places, few keys, many equal rows
    coordinates = {"longitude": "x", "latitude": "y"} if kind == "vector" else {}
    hashes = set()
    for turn in range(3):
        random.shuffle(lines)
        native = tmp_path / "rows.csv"
        native.write_text("\n".join(["id,name,x,y", *lines]) + "\n", "utf-8")
        done = build(
            declare(kind=kind, key=["id"], **coordinates), VINTAGE, [native], tmp_path / f"{turn}", threads=2**turn
        )
        hashes.add(tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in (done.data, done.profile)))
        assert done.summary.report["key_duplicates"] == 2_950
        assert (
            done.summary.report["duplicate_rows"]
            == 3_000
            - duckdb.sql(f"SELECT count(*) FROM (SELECT DISTINCT id, name, x, y FROM '{done.data}')").fetchone()[0]
        )  # type: ignore[index]
    assert len(hashes) == 1


def test_a_build_can_be_repeated_in_its_folder_and_clears_what_was_left(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id\n1\n2\n")
    into = tmp_path / "out"
    (into / ".processing-killed").mkdir(parents=True)
    (into / ".processing-killed" / "data.parquet").write_bytes(b"half")
    first = build(declare(kind="table"), VINTAGE, [tmp_path / "rows.csv"], into).data.read_bytes()
    again = build(declare(kind="table"), VINTAGE, [tmp_path / "rows.csv"], into)
    assert again.data.read_bytes() == first
    assert sorted(path.name for path in into.iterdir()) == ["data.parquet", "profile.json"]
    assert again.parameters["row_group_rows"] == 100_000
