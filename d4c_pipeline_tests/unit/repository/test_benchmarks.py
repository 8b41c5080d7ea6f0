"""The benchmarks start as `make bench` starts them, and name the Debian package of a program that is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from d4c_pipeline_tests.support import programs

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
CLUSTERS = ("scale_out.py", "backfill_faults.py")


def test_the_newest_postgresql_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("9", "13", "17"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    monkeypatch.setattr(programs, "_POSTGRESQL", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.find_program("initdb") == tmp_path / "17" / "bin" / "initdb"


def test_a_missing_program_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "_POSTGRESQL", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["benchmarks/scale_out.py"])
    with pytest.raises(SystemExit) as ended:
        programs.require_programs("initdb", "postgres", "redis-server")
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "scale_out.py: initdb, postgres, redis-server are not installed. "
        "On Debian: apt-get install postgresql redis-server\n"
    )


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_benchmark_without_its_servers_says_what_to_install(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path), "TMPDIR": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, BENCHMARKS / name, "--quick"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 2, answer.stderr
    assert "redis-server" in answer.stderr.splitlines()[-1]
    assert "apt-get install" in answer.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [], "it had not begun"


@pytest.mark.parametrize(
    "name", sorted(path.name for path in BENCHMARKS.glob("*.py") if "ArgumentParser" in path.read_text("utf-8"))
)
def test_every_benchmark_with_options_has_a_short_form(name: str) -> None:
    assert '"--quick"' in (BENCHMARKS / name).read_text("utf-8"), "`make bench` starts each with --quick"
