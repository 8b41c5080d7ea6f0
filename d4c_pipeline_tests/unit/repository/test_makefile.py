"""The Makefile on machines that lack something, and what `clean` may remove."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A fresh clone as far as make can tell, in a folder whose name has a space."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


def make(tree: Path, *words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON")}
    if path is not None:
        environment["PATH"] = path
    make = shutil.which("make")
    assert make is not None
    return subprocess.run([make, *words], cwd=tree, env=environment, capture_output=True, text=True, check=False)


def tools(folder: Path, **scripts: str) -> str:
    """A PATH with the shell's tools that the Makefile uses, plus `scripts`, and no Python."""
    folder.mkdir()
    for name in ("cat", "sed", "rm", "sh", "find", "echo"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    for name, body in scripts.items():
        script = folder / name
        script.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        script.chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("target", ["setup", "demo", "test", "ui", "lint", "bench"])
def test_without_a_python_that_fits_every_target_says_what_to_install(tree: Path, tmp_path: Path, target: str) -> None:
    # Present, but without ensurepip, like Debian's python3 without python3-venv: the probe fails.
    result = make(tree, target, path=tools(tmp_path / "bin", python3="exit 1"))
    assert result.returncode != 0
    assert "Python 3.11, 3.12 or 3.13" in result.stderr
    assert "apt install python3 python3-venv" in result.stderr
    assert not (tree / ".venv").exists()


def test_a_python_that_is_named_but_does_not_fit_is_refused(tree: Path, tmp_path: Path) -> None:
    path = tools(tmp_path / "bin", old="exit 1")
    result = make(tree, "setup", "PYTHON=old", path=path)
    assert result.returncode != 0
    assert "found old" in result.stderr


def test_a_shim_that_refuses_is_passed_over_for_the_next_version(tree: Path, tmp_path: Path) -> None:
    # The stand-in fits, then fails to make the environment: what matters is who was asked to.
    path = tools(
        tmp_path / "bin", python3="exit 127", **{"python3.12": 'case "$1" in -m) echo "asked: $@"; exit 1;; esac'}
    )
    result = make(tree, "setup", path=path)
    assert "asked: -m venv --clear .venv" in result.stdout
    assert result.returncode != 0
    assert not (tree / ".venv" / ".ready").exists()


def test_clean_keeps_what_was_published(tree: Path) -> None:
    (tree / ".d4c" / "store").mkdir(parents=True)
    (tree / ".venv" / "bin").mkdir(parents=True)
    (tree / "d4c_pipeline" / "__pycache__").mkdir(parents=True)
    result = make(tree, "clean")
    assert result.returncode == 0, result.stderr
    assert (tree / ".d4c" / "store").is_dir()
    assert not (tree / ".venv").exists()
    assert not (tree / "d4c_pipeline" / "__pycache__").exists()
    assert "Kept: .d4c" in result.stdout
