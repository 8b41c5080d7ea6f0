"""The port that every source stands behind, and the small types that cross it.

A protocol's own words (status codes, headers, pages) stay in its module; what crosses the port is vintages, native
files and the errors of `model.errors`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Protocol

from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.vintage import Vintage


@dataclass(frozen=True)
class FileMark:
    """What a source says of one native file without sending it. `length` in bytes; None where it doesn't say."""

    url: str
    etag: str | None
    last_modified: str | None
    length: int | None


@dataclass(frozen=True)
class Fingerprint:
    """What a source says of all native files of a vintage, in the declared order."""

    files: tuple[FileMark, ...]

    @property
    def digest(self) -> str:
        """The sha256 (hex) over the marks: it differs when anything that the source says differs."""
        return hashlib.sha256(json.dumps([astuple(mark) for mark in self.files]).encode()).hexdigest()


@dataclass(frozen=True)
class Fetched:
    """A native file after a fetch. `path` is None when the source still serves the `known` file: `unchanged`."""

    file: NativeFile
    path: Path | None
    unchanged: bool


class Progress(Protocol):
    """Told of every piece that arrives."""

    def __call__(self, name: str, done: int, total: int | None, /) -> None:
        """Take note: of file `name`, `done` bytes of `total` (None when the source doesn't say) are here."""
        ...


class Source(Protocol):
    """Native files of a dataset, by vintage.

    All methods raise SourceError when the source delivers something else than was declared, and TransientError when
    it can't be reached now.
    """

    def discover(self) -> tuple[Vintage, ...]:
        """Return the vintages that exist at the source, oldest first."""
        ...

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return what the source says of a vintage's files, without fetching them."""
        ...

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Fetch the native files of a vintage into the folder `into`, verified and complete, in the declared order.

        A file of `known` (native files retained earlier) that the source still serves is not fetched again. Of
        several known files of one address the last counts. Raises StorageError when `into` can't be written.
        """
        ...
