"""Writing safely: a workspace that is always removed, files that are whole or absent, disk trouble explained.

What is written belongs to the modules that call this one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from d4c_pipeline.model.errors import StorageError

_WORKSPACE_PREFIX = ".processing-"
_DISK_TROUBLE = {
    errno.ENOSPC: "is full",
    errno.EDQUOT: "is over its quota",
    errno.EFBIG: "does not take files of this size",
    errno.EROFS: "is read-only",
    errno.EACCES: "refuses access",
    errno.EPERM: "refuses access",
    errno.ENOTDIR: "is not a folder",
    errno.EIO: "answers with input/output errors",
}


@contextmanager
def storing(folder: Path) -> Generator[None]:
    """Turn what a disk may answer while `folder` is written to into StorageError; other errors pass."""
    try:
        yield
    except OSError as error:
        trouble = _DISK_TROUBLE.get(error.errno or 0)
        if trouble is None:
            raise
        raise StorageError(
            f"The disk under {folder} {trouble} ({error.strerror or error})",
            "Make room or grant access, then run again",
        ) from error


@contextmanager
def workspace(into: Path, temp: Path | None = None) -> Generator[Path]:
    """Yield a fresh folder inside `into` (made if missing) and remove it afterwards, whatever happens.

    `temp`: an existing folder to make it in instead, perhaps on another disk. What an earlier process left for `into`
    when it was killed is removed first. Raises StorageError when one of the two can't be written to.
    """
    prefix, place = _prefix_and_place(into, temp)
    with storing(into):
        into.mkdir(parents=True, exist_ok=True)
        remove_leftovers(into, temp)
    with storing(place):
        work = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    try:
        with storing(place):
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
        with storing(target.parent):
            shutil.copyfile(temporary, beside)
        temporary = beside
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    temporary.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
