"""`d4c changes` and `d4c apply` on files, without a home."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline_tests.support.declared import declaring
from d4c_pipeline_tests.support.samples import PLACES, geojson


def d4c(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("d4c")
    return subprocess.run([command, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_changes_of_two_releases_there_and_back(tmp_path: Path) -> None:
    dataset = declaring(tmp_path / "definition")(key=["id"])
    paths: list[Path] = []
    for name, places in (("a", PLACES), ("b", (*PLACES[1:], (9, "Alma", 30331, -71.65, 48.55)))):
        (tmp_path / f"{name}.geojson").write_bytes(geojson(places))
        paths.append(build(dataset, Vintage.parse("2021"), [tmp_path / f"{name}.geojson"], tmp_path / name).data)

    written = d4c("changes", "--from", paths[0], "--to", paths[1], "c.parquet", "--json", folder=tmp_path)
    assert written.returncode == 0, written.stderr
    assert json.loads(written.stdout) == {
        "rows by kind": {"added": 1, "removed": 1},
        "rows by column": {},
        "proved": True,
    }
    digest = hashlib.sha256(paths[1].read_bytes()).hexdigest()
    applied = d4c("apply", paths[0], "c.parquet", "--into", "later", folder=tmp_path)
    assert applied.returncode == 0, applied.stderr
    assert f"4 rows, sha256 {digest}, as published" in applied.stdout
    assert hashlib.sha256((tmp_path / "later" / "data.parquet").read_bytes()).hexdigest() == digest

    wrong = d4c("apply", paths[1], "c.parquet", "--into", "other", folder=tmp_path)
    assert wrong.returncode == 1
    assert "Give exactly the data files of that release" in wrong.stderr
    assert d4c("apply", paths[0], folder=tmp_path).returncode == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
