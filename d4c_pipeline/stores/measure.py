"""Measures a stored file: reads it from the disk and returns its size and sha256.

Comparison with the recorded digests, and repair, belong to `upkeep`.
"""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import feed
from d4c_pipeline.model.errors import StorageError, UnknownNameError
from d4c_pipeline.stores.port import Store


@dataclass(frozen=True)
class Measured:
    """The result of a read: `size` in bytes, `sha256` in hexadecimal; both None if the disk can't read the file."""

    size: int | None
    sha256: str | None


def measure(store: Store, address: str) -> Measured | None:
    """Read the file at `address` and return its size and sha256; None if no file is there.

    An unreadable sector is a damaged copy (both None). Raises the store's StorageError or TransientError if the store
    is unusable.
    """
    sha256 = hashlib.sha256()
    try:
        _forget_cached(store, address)
        with store.open(address) as stream, storage_errors(f"read {address} in store {store.name}"):
            size = feed(stream, sha256)
    except UnknownNameError:
        return None
    except StorageError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO:
            return Measured(None, None)
        raise
    return Measured(size, sha256.hexdigest())


def _forget_cached(store: Store, address: str) -> None:
    """Drop the file from the page cache, so that the next read comes from the disk."""
    path = store.local_path(address)
    if path is None or not hasattr(os, "posix_fadvise"):
        return
    with storage_errors(f"read {address} in store {store.name}"), path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
