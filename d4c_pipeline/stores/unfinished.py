"""Temporary files of a folder's writer: locked while they are written, removed when their process died.

Their content and final names belong to `folder`.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

_SUFFIX = ".part"
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
