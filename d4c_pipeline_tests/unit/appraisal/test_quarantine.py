"""The quarantine gives up the files of finished submissions, and says which it could not delete."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.appraisal import quarantine


def test_files_that_can_t_be_deleted_are_named_and_keep_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2, 3):
        (quarantine.upload_folder(tmp_path, number) / "a.csv").write_text("a", "utf-8")
    delete = shutil.rmtree

    def refusing(folder: Path, *words: Any) -> None:
        if folder.name == "1":
            raise PermissionError(errno.EACCES, "Permission denied")
        delete(folder, *words)

    monkeypatch.setattr(shutil, "rmtree", refusing)
    assert quarantine.sweep(tmp_path, {1, 2}.__contains__) == 1
    assert sorted(each.name for each in (tmp_path / "quarantine").iterdir()) == ["1", "3"]
    assert "Can't delete the files of submission 1" in caplog.text
    monkeypatch.undo()
    assert quarantine.sweep(tmp_path, {1, 2}.__contains__) == 1
    assert [each.name for each in (tmp_path / "quarantine").iterdir()] == ["3"]
