"""What every store can do, in one protocol, and which addresses are allowed in one.

A store serves files under relative addresses; some addresses are immutable, the others are switched
atomically. How a folder or a bucket does it belongs to `folder_store` and its siblings; what was put where is
remembered by the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote

from d4c_pipeline.files.hashing import Digests
from d4c_pipeline.model.errors import PermanentError

# Torrents' web seeds and citations point here, so no byte may ever change under these addresses.
IMMUTABLE_PREFIXES = ("raw/", "releases/", "snapshots/")
QUARANTINE = ".quarantine"
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class Stored:
    """What a store holds after a put. `size` in bytes, `sha256` in hexadecimal as read back from the store.

    `changed` is False when the very bytes were there already.
    """

    address: str
    url: str
    size: int
    sha256: str
    changed: bool


@dataclass(frozen=True)
class Facts:
    """What a store says of an address without reading it: `size` in bytes, and a tag of the content where it keeps one.

    The same `etag` later means that the store knows of no write in between; rot is only found by reading. `sha256`:
    what the writer said of the bytes, where the store keeps such words.
    """

    size: int
    etag: str | None
    sha256: str | None = None


class Store(Protocol):
    """A place that serves files. Methods that write raise StorageError when the store is full or refuses."""

    @property
    def name(self) -> str:
        """The store's name in settings and ledger."""
        ...

    def url(self, address: str) -> str:
        """Return the public URL of `address`, whether or not something is there."""
        ...

    def stat(self, address: str) -> int | None:
        """Return the size in bytes, None when nothing is there."""
        ...

    def facts(self, address: str) -> Facts | None:
        """Return what can be known without reading, None when nothing is there."""
        ...

    def open(self, address: str) -> BinaryIO:
        """Open for reading. Raises UnknownNameError when nothing is there."""
        ...

    def read_bytes(self, address: str) -> bytes:
        """Return the content; for small files. Raises UnknownNameError when nothing is there."""
        ...

    def put_immutable(self, source: Path, address: str, digests: Digests) -> Stored:
        """Put a file where nothing is yet; the same bytes again are no work.

        Raises IntegrityError when other bytes are there, or when `source` no longer has `digests`.
        """
        ...

    def move(self, source: str, target: str, digests: Digests) -> bool:
        """Move a file of ours from the address `source` to the immutable `target`; say whether it lies there now.

        False, and nothing is changed, when `source` does not hold these bytes. Repeated after a crash at any moment it
        goes on: the bytes lie at one of the addresses, or at both. Raises IntegrityError when `target` has other bytes.
        """
        ...

    def is_exposed(self, address: str) -> bool:
        """Return whether the store lists `address`, and serves it, without a key."""
        ...

    def replace(self, source: Path | bytes, address: str, *, guard: Callable[[], object] | None = None) -> Stored:
        """Put a file or bytes at a mutable address in one step: a reader gets the old or the new, never a mixture.

        `guard` is called right before that step and may raise: a writer that lost its lease meanwhile changes
        nothing. Raises PermanentError for an address that is immutable, BusyError where the store saw another writer.
        """
        ...

    def verify(self, address: str, size: int, sha256: str) -> bool:
        """Read everything and say whether exactly these bytes are there; False when nothing is."""
        ...

    def delete(self, address: str) -> None:
        """Remove what is there, if anything."""
        ...

    def quarantine(self, address: str, tag: str) -> str | None:
        """Move what is there aside, where nobody is served it, and return its path in the store; None when nothing is.

        `tag` (letters and digits) tells one set of bytes from another; nothing that lies there is written over.
        """
        ...

    def local_path(self, address: str) -> Path | None:
        """Return the path of the file where the store is a local folder and holds it, else None. For reading only."""
        ...


def checked_address(address: str) -> str:
    """Return `address` if it is relative, with forward slashes and no hidden, empty or climbing part.

    Raises PermanentError otherwise. Parts that begin with a dot are refused: unfinished files are named so.
    """
    parts = address.split("/")
    if _FORBIDDEN.search(address) or any(not part or part.startswith(".") for part in parts):
        raise PermanentError(
            f"'{address}' is not an address in a store",
            "Write it relative with forward slashes, such as releases/stops/2024/v0.1.0/stops.parquet",
        )
    return address


def quarantine_path(address: str, tag: str) -> str:
    """Return where a store keeps what it took out of service at `address`: hidden, so that no server shows it.

    Raises PermanentError when `address` is none.
    """
    return f"{QUARANTINE}/{checked_address(address)}.{tag}"


def is_immutable(address: str) -> bool:
    """Whether the bytes at `address` never change."""
    return address.startswith(IMMUTABLE_PREFIXES)


def public_url(base_url: str, address: str) -> str:
    """Return the URL of `address` below `base_url`, percent-encoded."""
    return f"{base_url.rstrip('/')}/{quote(checked_address(address), safe='/~')}"
