"""The quarantine: a folder of the home for the files of submissions, which no server serves.

`upload/` of a submission has its uploaded files, `source/` what an assessment fetches, `work/` its scratch files.
"""

from __future__ import annotations

import logging
import re
import shutil
import unicodedata
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.errors import StorageError, TransientError

_log = logging.getLogger(__name__)

MOST_FILES = 20
_PRIVATE = 0o700
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069:*?"<>|]+')
_LONGEST_NAME = 150  # bytes


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


def discard(home: Path, number: int) -> bool:
    """Delete all files of a submission, which is finished; return whether it had some and none is left.

    Files that can't be deleted are named in the log, and the next `sweep` tries again: they stop nothing else.
    """
    folder = submission_folder(home, number)
    if not folder.exists():
        return False
    try:
        with storage_errors(f"delete the files of submission {number} in {folder.parent}"):
            shutil.rmtree(folder)
    except (StorageError, TransientError) as error:
        _log.warning("%s. %s", error.cause, error.remedy)
        return False
    return True


def sweep(home: Path, finished: Callable[[int], bool]) -> int:
    """Delete the files of submissions that are `finished`; return of how many."""
    folder = home / "quarantine"
    numbers = [int(each.name) for each in folder.iterdir() if each.name.isdecimal()] if folder.is_dir() else []
    return sum(discard(home, number) for number in sorted(numbers) if finished(number))


def safe_name(name: str, taken: Collection[str] = ()) -> str:
    """Return a file name without folders, controls or a leading dot for the `name` of an upload, not among `taken`."""
    last = _UNSAFE.sub("_", unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])).strip(" .")
    suffix = PurePosixPath(last).suffix[:20]
    stem = last.removesuffix(suffix).encode()[: _LONGEST_NAME - len(suffix.encode())].decode(errors="ignore") or "file"
    known = {each.casefold() for each in taken}
    number, found = 1, f"{stem}{suffix}"
    while found.casefold() in known:
        number += 1
        found = f"{stem}-{number}{suffix}"
    return found


def held(home: Path, number: int | None = None) -> int:
    """Return the bytes of all files of a submission, also of unfinished uploads; for None of all submissions."""
    folder = home / "quarantine" if number is None else submission_folder(home, number)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
