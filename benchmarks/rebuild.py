"""Releases rebuilt from their records alone on two Pythons: the demo's, and releases of real files (D4C_FIXTURES).

Run `D4C_FIXTURES=../shared/fixtures .venv/bin/python benchmarks/rebuild.py [--quick] [--python PATH]`. A home publishes
the releases; then nothing of it is left but its archive, and `d4c rebuild DOI --from ARCHIVE` runs for each record with
this Python and with another one, whose environment uv makes of requirements.lock. `equal` counts rebuilds whose data,
profile and derived files all have the recorded sha256. `--quick` rebuilds the demo's two releases.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d4c_pipeline.commands.demo import DATASETS, prepare, serve
from d4c_pipeline_tests.support.declarations import declaration, write_definition

ROOT = Path(__file__).parent.parent
HOST = "fixtures.example.org"
# Id of a dataset -> its file below D4C_FIXTURES, its kind and options.
FIXTURES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "provinces": (
        "01_statcan_provinces_2016/province_territory_simplified_sp.zip",
        {
            "processing": {"kind": "vector", "key": ["pruid"]},
            "outputs": {"desktop": ["geopackage", "flatgeobuf"], "tiles": {"max_zoom": 5}, "thumbnail": True},
        },
    ),
    "cultural_facilities": (
        "07_statcan_odcaf/ODCAF_v1.0.csv",
        {
            "processing": {
                "kind": "vector",
                "key": ["index"],
                "longitude": "Longitude",
                "latitude": "Latitude",
                "nulls": [".."],
            },
            "outputs": {"csv": True},
        },
    ),
    "prices": (
        "08_statcan_wds/18100204-eng.zip",
        {"processing": {"kind": "table", "key": ["ref_date", "vector"], "wds": {}}, "outputs": {"csv": True}},
    ),
}


def other_python(named: str | None, folder: Path) -> Path:
    """Return the Python of an environment with the locked packages, of another version than this one."""
    uv = Path(sys.executable).with_name("uv")
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    there = sorted(pyenv.glob("3.1[1-3].*/bin/python"))
    wanted = [named] if named else [*("3.13", "3.12", "3.11"), *map(str, reversed(there))]
    for each in wanted:
        if each == mine or f"/{mine}." in each:
            continue
        found = subprocess.run(
            [uv, "python", "find", "--no-python-downloads", "--no-project", each],
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode == 0:
            break
    else:
        sys.exit("There is no other Python here: name one with --python")
    subprocess.run([uv, "venv", "--quiet", "--python", found.stdout.strip(), folder], check=True)
    python = folder / "bin" / "python"
    sync = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, ROOT / "requirements.lock"]
    subprocess.run(sync, check=True)
    return python


def d4c(python: str | Path, env: Mapping[str, str], *arguments: str) -> tuple[int, Any]:
    """Run a command; return its exit code and what it printed as JSON, or its error."""
    done = subprocess.run(
        [python, "-m", "d4c_pipeline.commands.main", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env},
        cwd=env["HOME"],
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr[-2000:]


def define(folder: Path, origin: Path, fixtures: Path) -> list[str]:
    """Declare each dataset of `FIXTURES` and put its file under `origin`; return the ids."""
    (origin / HOST).mkdir(parents=True)
    for dataset, (file, fields) in FIXTURES.items():
        path = fixtures / file
        shutil.copyfile(path, origin / HOST / path.name)
        attributes = declaration(
            dataset,
            source={"kind": "http", "urls": [f"https://{HOST}/{path.name}"]},
            publication={"policy": "automatic"},
            **fields,
        )
        write_definition(folder / dataset / "defs.yaml", attributes)
    return list(FIXTURES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the demo's releases only")
    parser.add_argument("--python", help="path of the other Python")
    chosen = parser.parse_args()
    fixtures = os.environ.get("D4C_FIXTURES")
    if not chosen.quick and fixtures is None:
        print("D4C_FIXTURES is not set: only the demo's releases are rebuilt")
    with tempfile.TemporaryDirectory(prefix="d4c-rebuild-bench-") as name:
        folder = Path(name)
        prepare(folder / "origin")
        datasets = list(DATASETS)
        if fixtures is not None and not chosen.quick:
            datasets += define(folder / "definitions", folder / "origin", Path(fixtures).absolute())
        pythons = [Path(sys.executable), other_python(chosen.python, folder / "venv")]
        with serve(folder / "origin") as origins:
            env = {"HOME": str(folder), "D4C_ORIGIN_MAP": ",".join(f"{old}={new}" for old, new in origins.items())}
            publisher = {**env, "D4C_HOME": str(folder / "home"), "D4C_DEFS": str(folder / "definitions")}
            (folder / "definitions").mkdir(exist_ok=True)
            for dataset in datasets:
                code, said = d4c(sys.executable, publisher, "publish", dataset)
                if code != 0:
                    sys.exit(f"{dataset} can't be published: {said}")
            shutil.move(folder / "home" / "archive", folder / "archive")
            shutil.rmtree(folder / "home")
            equal = rebuilt = 0
            seconds: list[float] = []
            for record in sorted((folder / "archive" / "records").iterdir()):
                doi = json.loads((record / "record.json").read_text("utf-8"))["doi"]
                for python in pythons:
                    begun = time.monotonic()
                    code, found = d4c(python, env, "rebuild", doi, "--from", str(folder / "archive"))
                    seconds.append(time.monotonic() - begun)
                    differing = (
                        [file["name"] for file in found["files"] if file["recorded"] != file["rebuilt"]]
                        if isinstance(found, dict)
                        else [found]
                    )
                    rebuilt += 1
                    equal += code == 0 and not differing
                    release = found["release"] if isinstance(found, dict) else doi
                    files = len(found["files"]) if isinstance(found, dict) else 0
                    print(
                        json.dumps({"release": release, "python": str(python), "files": files, "differing": differing}),
                        flush=True,
                    )
        versions = [
            subprocess.run([each, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
            for each in pythons
        ]
        result = {
            "releases": rebuilt // len(pythons),
            "pythons": versions,
            "rebuilds": rebuilt,
            "equal": equal,
            "median_s": round(sorted(seconds)[len(seconds) // 2], 1),
        }
        print(json.dumps(result))
        sys.exit(0 if equal == rebuilt else 1)


if __name__ == "__main__":
    main()
