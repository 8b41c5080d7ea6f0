"""The benchmarks start as `make bench` starts them, and name the Debian package of a program that is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

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


def test_the_backfill_on_two_workers_ends_and_names_what_stays_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    scale_out = import_module("scale_out")
    monkeypatch.setattr(scale_out, "_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(scale_out, "_published", lambda _: {"2000-01"})
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with dg.DagsterInstance.ephemeral() as instance:
        scale_out.wait_for_end(instance, ledger, ["2000-01"], 60)
        assert capsys.readouterr().out == "", "all is done"
        scale_out.wait_for_end(instance, ledger, ["2000-01", "2000-02"], 60)
        assert capsys.readouterr().out == "not published: 2000-02\n", "no run is left that could publish it"
        tags = {"dagster/partition": "2000-02"}
        run = create_run_for_test(instance, "publish_places", tags=tags, status=dg.DagsterRunStatus.STARTED)
        monkeypatch.setattr(scale_out, "_STALLED_SECONDS", 0.1)
        scale_out.wait_for_end(instance, ledger, ["2000-01"], 60)
    assert capsys.readouterr().out.splitlines() == [
        f"unfinished: publish_places 2000-02 {run.run_id} STARTED",
        "not published: none",
    ]
