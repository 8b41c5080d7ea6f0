"""Scratch folders that are always removed, and results that appear complete or not at all.

Writing one small file atomically belongs to `disk`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from d4c_pipeline.files.disk import disk_trouble, sync_folder

_WORKSPACE_PREFIX = ".processing-"


@contextmanager
def workspace(into: Path, temp: Path | None = None) -> Generator[Path]:
    """Yield a fresh folder inside `into` (made if missing) and remove it afterwards, whatever happens.

    `temp`: an existing folder to make it in instead, perhaps on another disk. What an earlier process left for `into`
    when it was killed is removed first. Raises StorageError when one of the two can't be written to.
    """
    prefix, place = _prefix_and_place(into, temp)
    with disk_trouble(into):
        into.mkdir(parents=True, exist_ok=True)
        remove_leftovers(into, temp)
    with disk_trouble(place):
        work = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    try:
        with disk_trouble(place):
            yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def remove_leftovers(into: Path, temp: Path | None = None) -> None:
    """Remove what a process that was killed has left of its `workspace` with these arguments. Raises OSError."""
    prefix, place = _prefix_and_place(into, temp)
    for leftover in (*into.glob(f"{_WORKSPACE_PREFIX}*"), *place.glob(f"{prefix}*")):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def _prefix_and_place(into: Path, temp: Path | None) -> tuple[str, Path]:
    if temp is None:
        return _WORKSPACE_PREFIX, into
    # In a folder that others work in as well, only what is of this `into` may be removed.
    owner = hashlib.sha256(os.fsencode(into.absolute())).hexdigest()[:12]
    return f"{_WORKSPACE_PREFIX}{owner}-", temp


def put_in_place(temporary: Path, target: Path) -> None:
    """Make `temporary` durable and rename it to `target`: readers see the old file or the new one.

    Where it lies on another disk, it is copied beside `target` first.
    """
    if temporary.stat().st_dev != target.parent.stat().st_dev:
        beside = target.with_name(f"{_WORKSPACE_PREFIX}{target.name}")
        with disk_trouble(target.parent):
            shutil.copyfile(temporary, beside)
        temporary = beside
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    temporary.replace(target)
    sync_folder(target.parent)
