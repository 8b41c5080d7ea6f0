"""Temporary files of a folder's writer: locked while they are written, removed when their process died.

Their content and final names belong to `folder`.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

_SUFFIX = ".part"
NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
"""The errors of a disk without hard links, and of a link between two disks."""
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


def open_part(folder: Path) -> tuple[Path, BinaryIO]:
    """Create a temporary file in `folder`, locked for as long as it is open."""
    while True:
        part = folder / f".{uuid4().hex}{_SUFFIX}"
        file = part.open("xb")
        # A sweep may remove the file between creation and lock: then create another file.
        if _lock(file) is not False and os.fstat(file.fileno()).st_nlink > 0:
            return part, file
        file.close()


@contextmanager
def linked_part(folder: Path, source: Path) -> Iterator[Path | None]:
    """Yield another name of the file `source` in `folder`, locked, which the block moves.

    None on a disk without links, and for a file of another disk.
    """
    with source.open("rb") as file:
        _lock(file)  # by the file, not by its name: a sweep of another process leaves the new name alone
        part: Path | None = folder / f".{uuid4().hex}{_SUFFIX}"
        try:
            part.hardlink_to(source)
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            part = None
        try:
            yield part
        finally:
            if part is not None:
                part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files of killed processes: files without a lock."""
    with os.scandir(folder) as entries:
        parts = [entry.path for entry in entries if entry.name.startswith(".") and entry.name.endswith(_SUFFIX)]
    for part in map(Path, parts):
        # An unreadable file of another user is harmless: it stays until that user writes again.
        with suppress(FileNotFoundError, PermissionError), part.open("rb") as file:
            if _lock(file):
                part.unlink(missing_ok=True)


def _lock(file: BinaryIO) -> bool | None:
    """Lock the open file. Return False if another process holds the lock, None if the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True
