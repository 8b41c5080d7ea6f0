"""The files of a folder's writer: folders, modes, links, and many small files at once.

Temporary files and their locks belong to `unfinished`, addresses and their errors to `folder`.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from d4c_pipeline.files.disk import storage_errors, sync_folder
from d4c_pipeline.files.hashing import READ_SIZE
from d4c_pipeline.stores.unfinished import NO_HARD_LINKS, open_part, sweep

# Regardless of the umask: a web server of another user must be able to read published files.
_FOLDER_MODE = 0o755
MUTABLE_MODE = 0o644
IMMUTABLE_MODE = 0o444


def tag_of(status: os.stat_result) -> str:
    """Return the tag of a file: the time of its last write."""
    return f"mtime-{status.st_mtime_ns}"


def file_size(path: Path) -> int | None:
    """Return the size in bytes; None without a regular file."""
    status = file_status(path)
    return None if status is None else status.st_size


def file_status(path: Path) -> os.stat_result | None:
    """Return the status; None without a regular file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


@contextmanager
def opened(source: Path | bytes) -> Iterator[BinaryIO]:
    """Yield a file or bytes as a stream. Raises StorageError when the file can't be read."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    with storage_errors(f"read {source.name}"):
        stream = source.open("rb", buffering=0)
    with stream:
        yield stream


def copied(stream: BinaryIO, file: BinaryIO) -> tuple[int, str]:
    """Write all of `stream` to `file`; return size and sha256."""
    sha256 = hashlib.sha256()
    size = 0
    while block := stream.read(READ_SIZE):
        sha256.update(block)
        file.write(block)
        size += len(block)
    file.flush()
    return size, sha256.hexdigest()


def drop_cache(descriptor: int) -> None:
    """Drop the synced pages of a file, so that a verification reads the disk; begin the write of the others."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def place_new(part: Path, target: Path) -> bool:
    """Give `part` its final name unless that is taken. Return whether it was free."""
    try:
        target.hardlink_to(part)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        # exFAT, SMB shares and others. The lease on the release excludes other writers between check and rename.
        if target.exists():
            return False
        part.rename(target)
    return True


def make_folder(folder: Path, root: Path, *, sync: bool = True) -> list[Path]:
    """Create `folder` and its missing parents, readable for everyone from `root` on, synced from the top down.

    Returns the created folders; without `sync` the caller syncs the parent of each.
    """
    if folder.is_dir():
        return []
    made: list[Path] = []
    if folder == root:
        folder.parent.mkdir(parents=True, exist_ok=True)
    else:
        made = make_folder(folder.parent, root, sync=sync)
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(_FOLDER_MODE)
        made.append(folder)
        if sync:
            sync_folder(folder.parent)
    return made


def write_together(contents: Mapping[Path, bytes], root: Path) -> Path | None:
    """Write small files below `root`, each in one step; return the first that the disk returns damaged, else None.

    All temporary files are written, then synced, read back, and moved into place; last, the folders are synced. So a
    disk commits its journal a few times, not once per file. A crash leaves each file old or new. `contents`: as many
    as may be open at once. Raises OSError.
    """
    folders: set[Path] = set()
    for folder in sorted({target.parent for target in contents}):
        folders |= {folder, *(made.parent for made in make_folder(folder, root, sync=False))}
        sweep(folder)
    with ExitStack() as held:
        parts: list[tuple[Path, BinaryIO]] = []
        for target, content in contents.items():
            part, file = open_part(target.parent)
            held.callback(part.unlink, missing_ok=True)
            held.enter_context(file)  # its lock protects it from sweeps of other processes until it is in place
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), MUTABLE_MODE)
            drop_cache(file.fileno())  # begins its write, so that the first sync finds all files on their way
            parts.append((part, file))
        for _, file in parts:
            os.fsync(file.fileno())
            drop_cache(file.fileno())
        for (part, _), (target, content) in zip(parts, contents.items(), strict=True):
            if part.read_bytes() != content:
                return target
        for (part, _), target in zip(parts, contents, strict=True):
            part.replace(target)
    for folder in sorted(folders):
        sync_folder(folder)
    return None
