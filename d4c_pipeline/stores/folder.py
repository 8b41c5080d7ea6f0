"""A store in a local folder, written so that a crash at any moment leaves either nothing or the complete file.

Every write goes to a hidden temporary file beside the target, is synced, read back and only then linked or renamed
into place. Serving the folder over HTTP belongs to `services.file_server` or any web server, recording copies to the
ledger.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from d4c_pipeline.files.disk import storage_errors, sync_folder
from d4c_pipeline.files.hashing import Digests, sha256_of
from d4c_pipeline.model.addresses import HIDDEN, WORK, is_hidden
from d4c_pipeline.model.errors import IntegrityError, PermanentError, StorageError, UnknownNameError
from d4c_pipeline.stores.folder_files import (
    IMMUTABLE_MODE,
    MUTABLE_MODE,
    copied,
    drop_cache,
    file_size,
    file_status,
    make_folder,
    opened,
    place_new,
    tag_of,
    write_together,
)
from d4c_pipeline.stores.port import (
    QUARANTINE,
    Facts,
    Stored,
    checked_address,
    is_immutable,
    public_url,
    quarantine_path,
)
from d4c_pipeline.stores.unfinished import NO_HARD_LINKS, linked_part, open_part, sweep

_PRIVATE_MODE = 0o700
_OPEN_PARTS = 200  # files that are synced together: a process may often open 1,024


class FolderStore:
    """The folder `root`, served to readers at `base_url`.

    A `mounted` folder is never created: if it is missing, every method raises StorageError.
    """

    def __init__(self, root: Path, base_url: str, name: str = "primary", *, mounted: bool = False) -> None:
        self.root = root
        self._mounted = mounted
        self.base_url = base_url.rstrip("/")
        self._name = name

    @property
    def name(self) -> str:
        """The store's name in settings and ledger."""
        return self._name

    def url(self, address: str) -> str:
        """Return the public URL of `address`, whether or not a file is there."""
        return public_url(self.base_url, address)

    def stat(self, address: str) -> int | None:
        """Return the size in bytes, None if no file is there."""
        with storage_errors(f"read {address} in store {self.name}"):
            return file_size(self._path(address))

    def facts(self, address: str) -> Facts | None:
        """Return the size and the time of the last write as the tag; None if no file is there."""
        with storage_errors(f"read {address} in store {self.name}"):
            status = file_status(self._path(address))
        return None if status is None else Facts(status.st_size, tag_of(status))

    def addresses(self, prefix: str) -> Iterator[str]:
        """Yield the address of every file below `prefix`; names that begin with a dot are unfinished or hidden."""
        top = self._path(prefix.rstrip("/"))
        with storage_errors(f"list {prefix} in store {self.name}"):
            for folder, folders, names in os.walk(top, onerror=_raise_unless_gone):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                below = Path(folder).relative_to(top).as_posix()
                for name in sorted(names):
                    if not name.startswith("."):
                        yield f"{prefix}{name}" if below == "." else f"{prefix}{below}/{name}"

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the address and the size of every file below `prefix`."""
        for address in self.addresses(prefix):
            size = self.stat(address)
            if size is not None:
                yield address, size

    def local_path(self, address: str) -> Path | None:
        """Return the path of the file, None if no file is there. For reading only."""
        return None if self.stat(address) is None else self._path(address)

    def open(self, address: str) -> BinaryIO:
        """Open for reading. Raises UnknownNameError if no file is there."""
        path = self.local_path(address)
        if path is None:
            raise UnknownNameError(
                f"Store {self.name} has no file at {address}", "Publish it again, or correct the address"
            )
        with storage_errors(f"read {address} in store {self.name}"):
            return path.open("rb")

    def read_bytes(self, address: str) -> bytes:
        """Return the content of a small file. Raises UnknownNameError if no file is there."""
        with self.open(address) as file, storage_errors(f"read {address} in store {self.name}"):
            return file.read()

    def verify(self, address: str, size: int, sha256: str) -> bool:
        """Read the file and return whether it has exactly these bytes; False if no file is there."""
        path = self._path(address)
        if self.stat(address) != size or sha256_of(path) != sha256:
            return False
        # A caller that finds the file in place writes nothing, so the temporary files of a killed writer go here.
        with storage_errors(f"read {address} in store {self.name}"):
            sweep(path.parent)
        return True

    def put_immutable(self, source: Path, address: str, digests: Digests, *, frozen: bool = False) -> Stored:
        """Put a read-only file at an unused address. Equal bytes at the address are kept.

        A `frozen` source on the same disk is linked, not copied. Raises IntegrityError if other bytes are there, or if
        `source` no longer has `digests`, and StorageError if the disk is full or refuses.
        """
        target = self._path(address)
        if self._holds(target, address, digests):
            return self._stored(address, digests.size, digests.sha256, changed=False)
        if frozen and self._linked(source, target, address, digests):
            return self._stored(address, digests.size, digests.sha256, changed=True)
        with self._written_part(source, target, address, IMMUTABLE_MODE) as (part, size, sha256):
            if (size, sha256) != (digests.size, digests.sha256):
                raise IntegrityError(
                    f"{source.name} is not the file that was hashed: {size} bytes with sha256 {sha256} instead of "
                    f"{digests.size} bytes with {digests.sha256}",
                    "Build it again: another process wrote to the staging folder",
                )
            changed = place_new(part, target) or not self._holds(target, address, digests)
        return self._stored(address, digests.size, digests.sha256, changed=changed)

    def move(self, source: str, target: str, digests: Digests) -> bool:
        """Move a file to an immutable address by a link and a deletion. The file is verified before, not copied.

        Returns False if `source` does not hold these bytes. Raises IntegrityError if `target` holds other bytes,
        StorageError if the disk refuses.
        """
        old, new = self._path(source), self._path(target)
        if not self._holds(new, target, digests):
            if not self.verify(source, digests.size, digests.sha256):
                return False
            with storage_errors(f"move {source} to {target} in store {self.name}"):
                make_folder(new.parent, self.root)
                if not place_new(old, new):
                    self._holds(new, target, digests)  # another process was first: other bytes raise here
                sync_folder(new.parent)
        self.delete(source)
        return True

    def is_exposed(self, address: str) -> bool:
        """Return False: the web server of a folder decides on access."""
        checked_address(address)
        return False

    def replace(self, source: Path | bytes, address: str, *, guard: Callable[[], object] | None = None) -> Stored:
        """Put a file or bytes at a mutable address in one step: a reader gets the old or the new, never a mixture.

        Equal bytes are kept, so readers' caches stay valid. `guard` is called right before that step and may raise.
        Raises PermanentError for an immutable address, StorageError if the disk is full or refuses.
        """
        _refuse_immutable(address)
        target = self._path(address)
        same = self._same(source, target)
        if same is not None:
            return self._stored(address, *same, changed=False)
        with self._written_part(source, target, address, MUTABLE_MODE) as (part, size, sha256):
            tag = tag_of(part.stat())
            if guard is not None:
                guard()
            part.replace(target)
        return Stored(address, self.url(address), size, sha256, changed=True, etag=tag)

    def share(self, source: str | Path, address: str, digests: Digests) -> Stored | None:
        """Give the mutable `address` the bytes of `source` by a link; None if the disk has no links, or is another one.

        `source`: an immutable address, or a file that nobody writes into any more, which becomes read-only. Both names
        have one file, which nobody writes into: a later `replace` moves another file to `address`. Raises
        PermanentError for an immutable address, StorageError if the disk refuses.
        """
        _refuse_immutable(address)
        shared, target = self._path(source) if isinstance(source, str) else source, self._path(address)
        with self._written_folder(target.parent, address), linked_part(target.parent, shared) as part:
            if part is None or part.stat().st_size != digests.size:
                return None
            part.chmod(IMMUTABLE_MODE)  # before it is public: a crash must not leave an unreadable file
            status = part.stat()
            part.replace(target)
        return Stored(address, self.url(address), digests.size, digests.sha256, changed=True, etag=tag_of(status))

    def replace_many(
        self, contents: Mapping[str, bytes], known: Mapping[str, str | None] | None = None
    ) -> Mapping[str, str | None]:
        """Put small contents at mutable addresses, each as `replace` does, but synced together; return no tags.

        After a crash each address has the old or the new content; a repeated call completes the rest. A look at the
        disk costs nothing, so that `known` is not used. Raises PermanentError for an immutable address, StorageError if
        the disk is full or refuses.
        """
        changed: list[tuple[str, Path]] = []
        for address, content in contents.items():
            _refuse_immutable(address)
            target = self._path(address)
            if is_hidden(address):
                self.replace(content, address)  # in a private folder
            elif self._same(content, target) is None:
                changed.append((address, target))
        for start in range(0, len(changed), _OPEN_PARTS):
            some = changed[start : start + _OPEN_PARTS]
            with storage_errors(f"write {some[0][0]} in store {self.name}"):
                damaged = write_together({target: contents[address] for address, target in some}, self.root)
            if damaged is not None:
                raise self._returns_others(damaged.relative_to(self.root).as_posix())
        return {}

    def quarantine(self, address: str, tag: str) -> str | None:
        """Move the file to the quarantine by one rename, and return its path in the store; None if no file is there."""
        source, aside = self._path(address), quarantine_path(address, tag)
        target = self.root / aside
        with storage_errors(f"move {address} aside in store {self.name}"):
            if file_status(source) is None:
                return None
            make_folder(target.parent, self.root)
            # For web servers that do not hide names with a leading dot.
            (self.root / QUARANTINE).chmod(_PRIVATE_MODE)
            if target.exists():
                target = target.with_name(f"{target.name}.{uuid4().hex}")
            source.rename(target)
            sync_folder(target.parent)
            sync_folder(source.parent)
        return str(target.relative_to(self.root))

    def delete(self, *addresses: str) -> None:
        """Delete the files, those that exist."""
        for address in addresses:
            target = self._path(address)
            action = f"delete {address} in store {self.name}"
            with storage_errors(action), suppress(FileNotFoundError, NotADirectoryError):
                # Temporary files of killed processes go too.
                sweep(target.parent)
                target.unlink()
                sync_folder(target.parent)
            if is_hidden(address):
                # Of work, the folder of the vintage too: its user holds the lease on it.
                for folder in (target.parent, target.parent.parent)[: 2 if address.startswith(WORK) else 1]:
                    with suppress(OSError):  # it still has files, or never existed
                        folder.rmdir()

    def _path(self, address: str) -> Path:
        if self._mounted and not self.root.is_dir():
            raise StorageError(
                f"The folder {self.root} of store {self.name} does not exist", "Mount its disk, or create the folder"
            )
        return self.root.joinpath(*checked_address(address).split("/"))

    def _stored(self, address: str, size: int, sha256: str, *, changed: bool) -> Stored:
        return Stored(address, self.url(address), size, sha256, changed)

    def _holds(self, target: Path, address: str, digests: Digests) -> bool:
        """Return whether the target already has these bytes. Raises IntegrityError if it has other bytes."""
        if not target.exists():
            return False
        if self.verify(address, digests.size, digests.sha256):
            # The process that linked it may have died before it synced the link and deleted its temporary file.
            with storage_errors(f"write {address} in store {self.name}"):
                sweep(target.parent)
                sync_folder(target.parent)
            return True
        raise IntegrityError(
            f"Store {self.name} holds other bytes at the immutable address {address} than sha256 {digests.sha256}",
            "Find the correct bytes; restore the file from another copy, or publish a new version",
        )

    def _linked(self, source: Path, target: Path, address: str, digests: Digests) -> bool:
        """Link a frozen `source` to an unused address; return False if the disk can't, or if the address is taken."""
        with self._written_folder(target.parent, address):
            if source.stat().st_size != digests.size:
                return False
            try:
                source.chmod(IMMUTABLE_MODE)  # before it is public: a crash must not leave an unreadable file
                target.hardlink_to(source)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_HARD_LINKS:
                    raise
                return False
        return True

    def _returns_others(self, address: str) -> IntegrityError:
        return IntegrityError(
            f"Store {self.name} returns other bytes than were written at {address}",
            "Check that disk before the next write",
        )

    @staticmethod
    def _same(source: Path | bytes, target: Path) -> tuple[int, str] | None:
        """Return size and sha256 if the target already has the bytes of `source`, else None."""
        size = file_size(target)
        if size is None:
            return None
        if isinstance(source, bytes):
            found = hashlib.sha256(source).hexdigest() if size == len(source) else None
        else:
            with storage_errors(f"read {source.name}"):
                found = sha256_of(source) if size == source.stat().st_size else None
        return (size, found) if found is not None and sha256_of(target) == found else None

    @contextmanager
    def _written_part(
        self, source: Path | bytes, target: Path, address: str, mode: int
    ) -> Iterator[tuple[Path, int, str]]:
        """Write `source` to a verified temporary file beside `target`. The block moves it; then the folder is synced.

        Yields the temporary path, the size and the sha256. The temporary file is always removed.
        """
        with (
            opened(source) as stream,
            self._written_folder(target.parent, address),
            self._part(stream, target.parent, address, mode) as written,
        ):
            yield written

    @contextmanager
    def _written_folder(self, folder: Path, address: str) -> Iterator[None]:
        """Create and sweep the folder of `address`; the block writes in it; then the folder is synced."""
        with storage_errors(f"write {address} in store {self.name}"):
            if is_hidden(address):
                # Unreadable for web servers that run as another user.
                make_folder(private := self.root / HIDDEN.rstrip("/"), self.root)
                private.chmod(_PRIVATE_MODE)
            make_folder(folder, self.root)
            sweep(folder)
            yield
            sync_folder(folder)

    @contextmanager
    def _part(self, stream: BinaryIO, folder: Path, address: str, mode: int) -> Iterator[tuple[Path, int, str]]:
        """Write `stream` to a verified temporary file in `folder`, which the block moves; see `_written_part`."""
        with storage_errors(f"write {address} in store {self.name}"):
            part, file = open_part(folder)
            try:
                with file:
                    size, sha256 = copied(stream, file)
                    os.fchmod(file.fileno(), mode)
                    os.fsync(file.fileno())
                    drop_cache(file.fileno())
                    if sha256_of(part) != sha256:
                        raise self._returns_others(address)
                    # Still open: its lock protects it from sweeps of other processes until it is in place.
                    yield part, size, sha256
            finally:
                part.unlink(missing_ok=True)


def _refuse_immutable(address: str) -> None:
    if is_immutable(address):
        raise PermanentError(f"{address} is immutable", "Publish a new version instead of replacing this one")


def _raise_unless_gone(error: OSError) -> None:
    """Let a walk go on where a folder was removed meanwhile; `os.walk` would skip an unreadable one, too."""
    if not isinstance(error, FileNotFoundError):
        raise error
