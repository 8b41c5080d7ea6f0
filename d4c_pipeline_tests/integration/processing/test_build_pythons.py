"""The same bytes under another Python, with the packages of the same lock.

Pythons are those that `D4C_TEST_PYTHONS` names (paths, separated like PATH), else 3.12 and 3.13 where uv finds them on
this machine. Each gets an environment of its own out of `requirements.lock`, from uv's cache where it has the packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

import d4c_pipeline
from d4c_pipeline.commands.demo import DATASETS, GEONAMES_PATH, NATURAL_EARTH_PATH, prepare
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline_tests.integration.processing.test_build_determinism import BUILD
from d4c_pipeline_tests.support.commands import D4C, Zygote
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import PLACES_URL, Origin, define, geojson

Declare = Callable[..., Dataset]
ROOT = Path(d4c_pipeline.__file__).parent.parent
OTHERS = [version for version in ("3.12", "3.13") if version != f"{sys.version_info.major}.{sys.version_info.minor}"]


def uv(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("uv")
    if not program.is_file():
        pytest.skip("uv is not installed beside this Python")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


def of_pyenv() -> list[str]:
    """The Pythons that pyenv has, which are on no PATH."""
    program = shutil.which("pyenv")
    if program is None:
        return []
    asked = [subprocess.run([program, "prefix", each], capture_output=True, text=True, check=False) for each in OTHERS]
    return [f"{done.stdout.strip()}/bin/python" for done in asked if done.returncode == 0]


@pytest.fixture(scope="session")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the locked packages, of another version than this one."""
    named = [path for path in os.environ.get("D4C_TEST_PYTHONS", "").split(os.pathsep) if path]
    for wanted in named or [*OTHERS, *of_pyenv()]:
        found = uv("python", "find", "--no-python-downloads", "--no-project", wanted)
        if found.returncode == 0:
            break
    else:
        pytest.skip(f"there is no Python {' or '.join(named or OTHERS)} here; D4C_TEST_PYTHONS may name one")
    home = tmp_path_factory.mktemp("another-python") / "venv"
    made = uv("venv", "--quiet", "--python", found.stdout.strip(), home)
    assert made.returncode == 0, made.stderr
    python = home / "bin" / "python"
    synced = uv("pip", "sync", "--quiet", "--require-hashes", "--python", python, "requirements.lock")
    if synced.returncode != 0:
        pytest.skip(f"the locked packages can't be had for {wanted}: {synced.stderr.strip().splitlines()[-1]}")
    return python


def built(python: Path, dataset: Dataset, native: Path, cwd: Path) -> list[str]:
    """Version of the Python, then the checksums of what it builds."""
    cwd.mkdir()
    (cwd / "dataset.json").write_text(dataset.model_dump_json(), "utf-8")
    script = f"import sys\nprint('%d.%d' % sys.version_info[:2])\n{BUILD}"
    done = subprocess.run(
        [python, "-c", script, cwd / "dataset.json", dataset.folder or cwd, native, "2"],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("kind", ["features", "points", "table"])
def test_another_python_builds_the_same_bytes(
    fixtures: Path, declare: Declare, tmp_path: Path, another: Path, kind: str
) -> None:
    sql = "SELECT *, ST_Area(geometry) / 3 AS third, sum(ST_Area(geometry)) OVER () AS total FROM source"
    dataset, native = {
        "features": (
            declare(key=["pruid"], sql_text=sql),
            fixtures / "01_statcan_provinces_2016" / "province_territory_simplified_sp.zip",
        ),
        "points": (
            declare(longitude="Longitude", latitude="Latitude", nulls=[".."], key=["index"]),
            fixtures / "07_statcan_odcaf" / "ODCAF_v1.0.csv",
        ),
        "table": (
            declare(kind="table", key=["ref_date", "vector"], wds={}),
            fixtures / "08_statcan_wds" / "18100204-eng.zip",
        ),
    }[kind]
    mine = built(Path(sys.executable), dataset, native, tmp_path / "mine")
    other = built(another, dataset, native, tmp_path / "other")
    assert mine[0] != other[0]
    assert mine[1:] == other[1:]
    assert len(mine) == 3


def test_another_python_rebuilds_the_demo_and_derived_files_from_their_records_alone(
    zygote: Zygote, tmp_path: Path, another: Path
) -> None:
    """Releases that this Python published, by `d4c rebuild` of the other one, which has the archive and the sources."""
    origin = Origin(tmp_path / "origin")
    define(tmp_path / "definitions", outputs={"csv": True, "desktop": ["geopackage", "flatgeobuf"], "thumbnail": True})
    origin.put(PLACES_URL, geojson())
    prepare(tmp_path / "demo")
    for path in (GEONAMES_PATH, NATURAL_EARTH_PATH):
        file = tmp_path / "demo" / path
        origin.put(f"https://{path}", file, datetime.fromtimestamp(file.stat().st_mtime, UTC))
    home = tmp_path / "home"
    d4c = D4C(zygote, home, free_port(), origin, {"D4C_DEFS": str(tmp_path / "definitions")})
    for dataset in ("places", *DATASETS):
        d4c.ok("publish", dataset)
    compared: dict[str, set[str]] = {}
    for record in (home / "archive" / "records").iterdir():
        done = subprocess.run(
            [
                *(another, "-m", "d4c_pipeline.commands.main", "rebuild", f"10.5072/d4c-local.{record.name}"),
                *("--from", home / "archive", "--json"),
            ],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "HOME": str(tmp_path),
                "D4C_HOME": str(tmp_path / "none"),
                "D4C_ORIGIN_MAP": origin.map,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert [file["name"] for file in found["files"] if file["recorded"] != file["rebuilt"]] == []
        names = {file["name"].removeprefix(found["release"]) for file in found["files"]}
        compared[found["release"].partition("datapkg-")[2].rpartition("_v")[0]] = names
    origin.close()
    plain = {".parquet", "profile.json"}
    assert compared == {
        "foundation_places_2021": plain | {".csv.gz", ".gpkg", ".fgb", "_thumbnail.png"},
        "foundation_populated_places_2026-07-28": plain,
        "foundation_countries_of_the_world_2018-09-01_110m": plain,
    }
