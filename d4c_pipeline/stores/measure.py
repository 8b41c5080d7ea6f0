"""What a store really holds at an address: all of it read again, by its size and sha256.

Comparing that with what should be there, and what to do about it, belongs to the chain.
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
    """What was read: `size` in bytes, `sha256` in hexadecimal; None for both where the disk could not give it back."""

    size: int | None
    sha256: str | None


def measure(store: Store, address: str) -> Measured | None:
    """Read everything at `address` and return its size and sha256; None when nothing is there.

    A sector that can't be read any more is a damaged copy (both None). Raises StorageError and TransientError as the
    store does when it can't be used at all.
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
    """See that the disk is asked, not the memory through which the file was written or read before."""
    path = store.local_path(address)
    if path is None or not hasattr(os, "posix_fadvise"):
        return
    with storage_errors(f"read {address} in store {store.name}"), path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
