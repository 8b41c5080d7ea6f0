"""Measurement of files in our own store over HTTP, as readers fetch them, in constant memory.

The files of a record belong to `client.py`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import httpx

from d4c_pipeline.archives.port import RemoteFile
from d4c_pipeline.model.errors import D4CError, PermanentError
from d4c_pipeline.transport.clients import http_client
from d4c_pipeline.transport.patience import Patience, explain, is_retryable, persist

_BLOCK = 1 << 20


class ServedFiles:
    """Sizes and checksums of served files. An address is immutable, so it is read once unless `again` is given."""

    def __init__(self, patience: Patience, pause: Callable[[float], None] = time.sleep) -> None:
        self._patience, self._pause = patience, pause
        self._known: dict[str, RemoteFile] = {}
        self._client = http_client(patience)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def measure(self, name: str, address: str, *, again: bool = False) -> RemoteFile:
        """Return the size and md5 of the file at `address`; `again` repeats the read.

        Raises PermanentError if the store does not serve the file, TransientError if the store is unreachable.
        """
        if again or address not in self._known:
            self._known[address] = persist(
                lambda: self._read(name, address), address, self._patience, self._pause, explaining=_explained
            )
        return self._known[address]

    def _read(self, name: str, address: str) -> RemoteFile:
        md5 = hashlib.md5(usedforsecurity=False)  # the checksum that archives state
        size = 0
        with self._client.stream("GET", address) as response:
            response.raise_for_status()
            for block in response.iter_bytes(_BLOCK):
                md5.update(block)
                size += len(block)
        return RemoteFile(name, size, md5.hexdigest())


def _explained(error: Exception, address: str, attempts: int, wait_requested: float) -> D4CError:
    if isinstance(error, httpx.HTTPStatusError) and not is_retryable(error):
        return PermanentError(
            f"The store does not serve {address} (it answered {error.response.status_code})",
            "Check D4C_STORE_URL, and that the store is public",
        )
    return explain(error, address, attempts, wait_requested)
