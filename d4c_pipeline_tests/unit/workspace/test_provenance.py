"""What the manifest says made a build: nothing of this machine, and the same every time."""

from __future__ import annotations

import getpass
import hashlib
import re
import socket
from pathlib import Path

import duckdb
import pytest

from d4c_pipeline.workspace import provenance as module
from d4c_pipeline.workspace.provenance import provenance

ROOT = Path(module.__file__).parents[2]


def test_code_lock_and_libraries() -> None:
    said = provenance()
    assert said.libraries["duckdb"] == duckdb.__version__
    assert re.fullmatch(r"3\.\d+\.\d+", said.libraries["gdal"])
    lock = ROOT / "requirements.lock"
    if lock.is_file():
        assert said.lock_sha256 == hashlib.sha256(lock.read_bytes()).hexdigest()
    if (ROOT / ".git").exists():
        assert said.code.commit is None or re.fullmatch("[0-9a-f]{40}", said.code.commit)
    text = said.to_bytes().decode()
    assert str(ROOT) not in text
    assert socket.gethostname() not in text
    assert f"/{getpass.getuser()}" not in text


def test_without_git_the_version_has_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d4c_pipeline").mkdir()
    monkeypatch.setattr(module, "package_folder", lambda: tmp_path / "d4c_pipeline")
    assert module._checkout() == (None, False)
    (tmp_path / ".git").mkdir()
    assert module._checkout() == (None, False)  # a folder of that name is no checkout
    monkeypatch.setenv("PATH", "/nonexistent")
    assert module._checkout() == (None, False)  # nor is git on every machine
