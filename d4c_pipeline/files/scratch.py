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
    """Yield a new folder inside `into` (created if missing) and always remove it afterwards.

    `temp`: an existing folder to create it in instead, perhaps on another disk. Folders of killed processes for `into`
    are removed first. Raises StorageError if either folder is not writable.
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
    """Remove the folders of killed processes with these arguments of `workspace`. Raises OSError."""
    prefix, place = _prefix_and_place(into, temp)
    for leftover in (*into.glob(f"{_WORKSPACE_PREFIX}*"), *place.glob(f"{prefix}*")):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def _prefix_and_place(into: Path, temp: Path | None) -> tuple[str, Path]:
    if temp is None:
        return _WORKSPACE_PREFIX, into
    # In a shared folder, only folders of this `into` may be removed.
    owner = hashlib.sha256(os.fsencode(into.absolute())).hexdigest()[:12]
    return f"{_WORKSPACE_PREFIX}{owner}-", temp


def put_in_place(temporary: Path, target: Path) -> None:
    """Make `temporary` durable and rename it to `target`: readers see the old file or the new one.

    From another disk, it is copied beside `target` first.
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
