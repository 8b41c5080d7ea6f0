"""Atomic and durable writes, and the translation of a disk's OSError into a StorageError with its remedy.

The choice of files and folders belongs to the caller.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from d4c_pipeline.model.errors import StorageError, shortage

_REMEDIES = {
    errno.ENOSPC: "Free space on that disk, then run again",
    errno.EDQUOT: "Free space or raise the quota, then run again",
    errno.EFBIG: "Raise the limit on file sizes or use another disk, then run again",
    errno.EROFS: "Mount the disk writable or choose another home (D4C_HOME), then run again",
    errno.EACCES: "Give this user access to it or choose another home (D4C_HOME), then run again",
    errno.EPERM: "Give this user access to it or choose another home (D4C_HOME), then run again",
}
_MANY = 64  # files from which on one sync of all disks is faster than a sync of each
_DISK_TROUBLE = {*_REMEDIES, errno.ENOTDIR, errno.EIO}


@contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError; `action` completes "Can't ..." (`write releases/a.parquet`).

    A shortage of memory or open files becomes a TransientError instead.
    """
    try:
        yield
    except OSError as error:
        if (scarce := shortage(error)) is not None:
            raise scarce from error
        reason = error.strerror or type(error).__name__
        remedy = _REMEDIES.get(error.errno or 0, "Check that disk and folder, then run again")
        raise StorageError(f"Can't {action}: {reason}", remedy) from error


@contextmanager
def disk_trouble(folder: Path) -> Iterator[None]:
    """Turn an OSError that only a disk gives (full, read-only, refused) into a StorageError; others pass.

    For blocks that do more than write in `folder`, where another OSError is a fault of the code.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_TROUBLE:
            raise
        with storage_errors(f"write in {folder}"):
            raise


def require_room(folder: Path, size: int, what: str) -> None:
    """Raise StorageError when `folder` has less than `size` bytes free for `what`."""
    with storage_errors(f"write in {folder}"):
        free = shutil.disk_usage(folder).free
    if free < size:
        raise StorageError(
            f"{what} needs {size:,} bytes and {folder} has {free:,} free", "Free some space or choose another folder"
        )


def sync_folder(folder: Path) -> None:
    """Make links, renames and deletions in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step: a reader finds the old file or the complete new one.

    Raises StorageError when the disk is full or refuses.
    """
    write_files([(path, content)])


def write_files(files: Sequence[tuple[Path, bytes]]) -> None:
    """Write several files, each as `write_file` does; none has its name before all are on the disk.

    Many small files are synced by one call, which is several times faster than one for each. Raises StorageError when
    the disk is full or refuses.
    """
    at_once = len(files) >= _MANY and sys.platform == "linux"  # elsewhere `sync` may return before it is done
    with ExitStack() as opened:
        for path, content in files:
            with storage_errors(f"write {path.name}"):
                path.parent.mkdir(parents=True, exist_ok=True)
                opened.callback(unfinished(path).unlink, missing_ok=True)
                with unfinished(path).open("wb") as file:
                    file.write(content)
                    if not at_once:
                        file.flush()
                        os.fsync(file.fileno())
        if at_once:
            os.sync()
        for path, _ in files:
            with storage_errors(f"write {path.name}"):
                unfinished(path).replace(path)


def unfinished(path: Path) -> Path:
    """Return the temporary name under which `path` is written.

    All processes use one name: the current lease holder overwrites the rest of a process that died.
    """
    return path.with_name(f".{path.name}.part")
