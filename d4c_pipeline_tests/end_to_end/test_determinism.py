"""Two builds in two processes that differ in everything but data, code and lock: the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline_tests.end_to_end.test_real_datasets import (
    ODCAF,
    ODCAF_URL,
    PROVINCES,
    RATES,
    pack_facilities,
    serve_provinces,
    serve_rates,
)
from d4c_pipeline_tests.support.commands import ROOT
from d4c_pipeline_tests.support.inspection import tree
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import PLACES_URL, Origin, define, geojson

# As different as two machines may be; the hash seed and the threads of libraries only count from the start on.
WORLDS: tuple[dict[str, str], ...] = (
    {
        "TZ": "America/St_Johns",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "1",
        "OMP_NUM_THREADS": "1",
        "ARROW_DEFAULT_THREADS": "1",
    },
    {
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "4242",
        "OMP_NUM_THREADS": "4",
        "GDAL_NUM_THREADS": "ALL_CPUS",
        "PYTHONUTF8": "0",
    },
)


def publish(dataset: str, home: Path, origin: Origin, definitions: Path, world: dict[str, str]) -> dict[str, Any]:
    """Publish with a Python of its own, as a shell would start it, in a folder of its own."""
    home.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            *cpus(world),
            sys.executable,
            "-m",
            "d4c_pipeline.commands.main",
            "publish",
            dataset,
            "--vintage",
            vintage_of(dataset),
            "--json",
        ],
        cwd=home.parent,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "D4C_HOME": str(home),
            "D4C_PORT": str(free_port()),
            "D4C_DEFS": str(definitions),
            "D4C_ORIGIN_MAP": origin.map,
            **world,
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cpus(world: dict[str, str]) -> list[str]:
    """DuckDB and Arrow take as many threads as there are CPUs: one for the first world, all for the other."""
    alone = world["OMP_NUM_THREADS"] == "1" and shutil.which("taskset") is not None
    return ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))] if alone else []


def vintage_of(dataset: str) -> str:
    return {PROVINCES: "2016", RATES: "2025-06-04", ODCAF: "2020-10-02", "places": "2021"}[dataset]


def same_release(dataset: str, tmp_path: Path, origin: Origin, definitions: Path) -> None:
    first, second = (
        publish(dataset, tmp_path / f"world {number} é" / "home", origin, definitions, world)
        for number, world in enumerate(WORLDS)
    )
    folders = [Path(row["path"]).parent for row in (first, second)]
    files = [tree(folder) for folder in folders]
    # Torrent (its seeds), README, item and record name addresses and DOIs, which differ, and so do their checksums; all
    # else is the same to the byte, the zip of the code included.
    differing = {"item.json", "README.md", "checksums-rest.sha256"}
    named = {name for name in files[0] if name in differing or name.endswith(".torrent")}
    assert len(files[0]) == 9
    assert {name: sha for name, sha in files[0].items() if name not in named} == {
        name: sha for name, sha in files[1].items() if name not in named
    }
    assert first["sha256"] == second["sha256"]
    assert first["info_hash"] == second["info_hash"]
    assert first["doi"] != second["doi"]


def test_the_sample(tmp_path: Path, origin: Origin, definitions: Path) -> None:
    define(definitions, sql="SELECT id, name, population / 3.0 AS third, geometry FROM source")
    origin.put(PLACES_URL, geojson())
    same_release("places", tmp_path, origin, definitions)


@pytest.mark.parametrize("dataset", [PROVINCES, RATES, ODCAF])
def test_real_data(tmp_path: Path, origin: Origin, definitions: Path, fixtures: Path, dataset: str) -> None:
    serve_provinces(origin, fixtures)
    serve_rates(origin, fixtures)
    origin.put(ODCAF_URL, pack_facilities(tmp_path, fixtures))
    same_release(dataset, tmp_path, origin, definitions)
