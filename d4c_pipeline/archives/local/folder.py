"""A record of the local archive on disk: its JSON, written atomically, its files, and the lock for every change.

The rules of drafts and records belong to `archive.py`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d4c_pipeline.archives.port import RemoteFile
from d4c_pipeline.model.errors import IntegrityError, StorageError, TransientError

JSON = "record.json"
FILES = "files"
INCOMING = "incoming"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """The JSON of a draft or record. Its folder decides which of the two it is.

    `index` counts the versions of a concept from 1. `metadata` is the result of `RecordMetadata.to_json`.
    """

    record_id: str
    concept_id: str
    index: int
    metadata: Mapping[str, Any]
    doi: str | None = None
    published_at: str | None = None
    files: Mapping[str, RemoteFile] = field(default_factory=dict[str, RemoteFile])

    @property
    def identifier(self) -> str | None:
        """Our alternate identifier."""
        return self.metadata.get("identifier")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {**vars(self), "metadata": dict(self.metadata), "files": [vars(file) for file in self.files.values()]}

    @classmethod
    def read(cls, path: Path) -> Entry | None:
        """Read an entry, None without a file. Raises IntegrityError if the file is not an entry."""
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            files = {file["name"]: RemoteFile(**file) for file in value.pop("files")}
            return cls(**value, files=files)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"{path} can't be read: {error.strerror}", "Check disk and access") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(
                f"{path} is not a record of the local archive ({error})", "Restore it from a backup"
            ) from error


@contextmanager
def writing(path: Path) -> Generator[None, None, None]:
    """Turn an OSError (full or read-only disk, no access) into a StorageError."""
    try:
        yield
    except OSError as error:
        place = error.filename or path
        raise StorageError(
            f"The local archive can't use {place}: {error.strerror}", "Check space and access, then run again"
        ) from error


@contextmanager
def exclusive(root: Path) -> Generator[None, None, None]:
    """Hold the archive's lock: changes happen one after another. The system frees it when its holder dies."""
    with writing(root):
        for folder in (root / "drafts", root / "records"):
            folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)  # a forked child may hold the handle too: closing it would not release it
        os.close(handle)


def write_entry(folder: Path, entry: Entry) -> None:
    """Write an entry's JSON to a temporary file, then rename it: readers see the old or the new entry.

    The caller holds the lock.
    """
    temporary = folder / f".{JSON}"  # a fixed name: the file of a killed process is overwritten
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(entry.to_json(), file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / JSON)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make a rename or deletion in `folder` survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def new_incoming(folder: Path, name: str) -> Path:
    """Return a new path for an upload of file `name`, and delete the files of killed uploads of it."""
    key = uuid.uuid5(uuid.NAMESPACE_OID, name).hex
    with writing(folder):
        for dead in folder.glob(f"{key}.*"):
            dead.unlink(missing_ok=True)
    return folder / f"{key}.{uuid.uuid4().hex}"


def copy_in(path: Path, target: Path, name: str) -> RemoteFile:
    """Copy a file to the new file `target` in one read and return its size and md5.

    Raises TransientError if the file changes meanwhile, StorageError if the disk refuses.
    """
    md5 = hashlib.md5(usedforsecurity=False)  # the checksum that InvenioRDM states
    size = 0
    with writing(target), path.open("rb") as source, target.open("xb") as sink:
        while chunk := source.read(_CHUNK):
            md5.update(chunk)
            size += sink.write(chunk)
        if size != os.fstat(source.fileno()).st_size:
            raise TransientError(f"The file {name} changed while it was uploaded", "Run again when it is complete")
        os.fchmod(sink.fileno(), 0o644)
        sink.flush()
        os.fsync(sink.fileno())
    return RemoteFile(name, size, md5.hexdigest())


def leave_only(folder: Path, entry: Entry) -> None:
    """Make the files of a draft read-only and remove the files of interrupted uploads and deletions."""
    if (folder / INCOMING).exists():
        shutil.rmtree(folder / INCOMING)
    for path in (folder / FILES).iterdir():
        if path.name in entry.files:
            path.chmod(0o444)
        else:
            path.unlink()
    sync_folder(folder / FILES)
