"""Downloads a file of a published record from its archive, or from a public address: the last resort when every store
has lost the file.

The caller verifies the bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx

from d4c_pipeline.archives.port import Archive
from d4c_pipeline.files.disk import unfinished
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.transport.clients import http_client
from d4c_pipeline.transport.patience import Patience, persist

_BLOCK = 1 << 20


def retrieve(
    archive: Archive,
    record_id: str,
    name: str,
    target: Path,
    *,
    patience: Patience | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Path | None:
    """Return the archive's file `name` as a local file: the archive's own, or `target`, downloaded in constant memory.

    None if the archive has no address for the file, or no file at it (404, 410). `target` is replaced atomically: a
    download that fails leaves it as it was. Raises TransientError when the file is unavailable now, SourceError when
    the archive refuses it, StorageError when `target` can't be written.
    """
    local = archive.local_path(record_id, name)
    address = None if local is not None else archive.file_url(record_id, name)
    if address is None:
        return local
    return download(address, target, patience=patience, pause=pause)


def download(
    address: str,
    target: Path,
    *,
    patience: Patience | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Path | None:
    """Return `target` with the content of an http(s) address, None if no file is there (404, 410). Raises as above."""
    patience = patience or Patience()
    with http_client(patience) as client:
        there = persist(lambda: _download(client, address, target), address, patience, pause)
    return target if there else None


def _download(client: httpx.Client, address: str, target: Path) -> bool:
    with client.stream("GET", address) as answer:
        if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
            return False
        answer.raise_for_status()
        # Under another name until it is whole: a file at `target` that broke off would be taken for a damaged one.
        part = unfinished(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                for block in answer.iter_bytes(_BLOCK):
                    file.write(block)
            part.replace(target)
        except OSError as error:
            raise StorageError(f"{target} can't be written: {error.strerror}", "Free space, then run again") from error
        finally:
            part.unlink(missing_ok=True)
    return True
