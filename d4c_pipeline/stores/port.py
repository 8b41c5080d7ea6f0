"""The port that every store implements, and the rules of addresses in a store.

A store serves files under relative addresses. Files at immutable addresses never change; files at other addresses are
replaced in one step. `folder.py` and `s3.py` implement the port. The ledger records the copies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote

from d4c_pipeline.files.hashing import Digests
from d4c_pipeline.model.errors import PermanentError

# Web seeds of torrents and citations point here, so no byte may ever change at these addresses.
IMMUTABLE_PREFIXES = ("raw/", "releases/", "snapshots/")
QUARANTINE = ".quarantine"
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class Stored:
    """A stored file. `size` in bytes, `sha256` in hexadecimal as read back from the store.

    `changed` is False if equal bytes were there already. `etag`: the tag that `facts` states, if it is known without
    another request.
    """

    address: str
    url: str
    size: int
    sha256: str
    changed: bool
    etag: str | None = None


@dataclass(frozen=True)
class Facts:
    """The facts that a store states of a file without reading it: `size` in bytes, and a tag of the content, if any.

    An unchanged `etag` means that the store recorded no write since; only reading detects bit rot. `sha256`: the digest
    that the writer stated, if the store keeps it.
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
        """Return the public URL of `address`, whether or not a file is there."""
        ...

    def stat(self, address: str) -> int | None:
        """Return the size in bytes, None if no file is there."""
        ...

    def facts(self, address: str) -> Facts | None:
        """Return the facts that are known without reading, None if no file is there."""
        ...

    def addresses(self, prefix: str) -> Iterator[str]:
        """Yield the address of every file below `prefix`, which ends in a slash. Unfinished writes are no files."""
        ...

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the same addresses, each with its size in bytes, from the same listing."""
        ...

    def open(self, address: str) -> BinaryIO:
        """Open for reading. Raises UnknownNameError if no file is there."""
        ...

    def read_bytes(self, address: str) -> bytes:
        """Return the content of a small file. Raises UnknownNameError if no file is there."""
        ...

    def put_immutable(self, source: Path, address: str, digests: Digests, *, frozen: bool = False) -> Stored:
        """Put a file at an unused address. Equal bytes at the address are kept.

        `frozen`: nobody writes into `source` any more (only another file may take its name), and `digests` were read
        from the disk: the store may share its bytes instead of a copy. Raises IntegrityError if other bytes are there,
        or if `source` no longer has `digests`.
        """
        ...

    def move(self, source: str, target: str, digests: Digests) -> bool:
        """Move a file of ours from `source` to the immutable address `target`. Return whether it is at `target` now.

        Returns False and changes nothing if `source` does not hold these bytes. After a crash the bytes are at one of
        the addresses or at both, and the next call resumes. Raises IntegrityError if `target` has other bytes.
        """
        ...

    def is_exposed(self, address: str) -> bool:
        """Return whether the store lists `address`, and serves it, without a key."""
        ...

    def replace(self, source: Path | bytes, address: str, *, guard: Callable[[], object] | None = None) -> Stored:
        """Put a file or bytes at a mutable address in one step: a reader gets the old or the new, never a mixture.

        `guard` is called right before that step and may raise: a writer that lost its lease meanwhile changes
        nothing. Raises PermanentError for an immutable address, BusyError if the store detects another writer.
        """
        ...

    def share(self, source: str | Path, address: str, digests: Digests) -> Stored | None:
        """Give the mutable `address` the bytes of `source`, which this process verified, without another copy.

        `source`: an immutable address of this store, or a file on this machine that nobody writes into any more. None
        if the store can't: then `replace` puts them. Raises PermanentError for an immutable `address`.
        """
        ...

    def replace_many(
        self, contents: Mapping[str, bytes], known: Mapping[str, str | None] | None = None
    ) -> Mapping[str, str | None]:
        """Put small contents at mutable addresses, each as `replace` does, in any order; return the tags of some.

        Faster than a call of `replace` for each. `known`: the tags of what the caller put there before, by address
        (None: it does not know the tag); an address without an entry should be unused. It saves requests and decides
        nothing: where it is wrong, or None, each address is looked at first. The result: the tags that `facts` states,
        where that saves requests next time.
        """
        ...

    def verify(self, address: str, size: int, sha256: str) -> bool:
        """Read the file and return whether it has exactly these bytes; False if no file is there."""
        ...

    def delete(self, *addresses: str) -> None:
        """Delete the files, those that exist."""
        ...

    def quarantine(self, address: str, tag: str) -> str | None:
        """Move the file to the quarantine, which is not served, and return its path in the store; None without a file.

        `tag` (letters and digits) distinguishes contents; files in the quarantine are never overwritten.
        """
        ...

    def local_path(self, address: str) -> Path | None:
        """Return the path of the file if the store is a local folder and has it, else None. For reading only."""
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
    """Return the path of a file from `address` in the quarantine, which is hidden, so that no server shows it.

    Raises PermanentError if `address` is invalid.
    """
    return f"{QUARANTINE}/{checked_address(address)}.{tag}"


def is_immutable(address: str) -> bool:
    """Return whether the bytes at `address` never change."""
    return address.startswith(IMMUTABLE_PREFIXES)


def public_url(base_url: str, address: str) -> str:
    """Return the URL of `address` below `base_url`, percent-encoded."""
    return f"{base_url.rstrip('/')}/{quote(checked_address(address), safe='/~')}"
