"""The quarantine: a folder of the home for the files of submissions, which no server serves.

`upload/` of a submission has its uploaded files, `source/` what an assessment fetches, `work/` its scratch files.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from d4c_pipeline.files.disk import storage_errors

_PRIVATE = 0o700


def submission_folder(home: Path, number: int) -> Path:
    """Return the folder of a submission, which may not exist."""
    return home / "quarantine" / str(number)


def upload_folder(home: Path, number: int) -> Path:
    """Return the folder of the uploaded files of a submission, created for this user only."""
    folder = submission_folder(home, number) / "upload"
    with storage_errors(f"write in {folder}"):
        (home / "quarantine").mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    return folder


def discard(home: Path, number: int) -> None:
    """Delete all files of a submission, which is finished."""
    shutil.rmtree(submission_folder(home, number), ignore_errors=True)
