"""The port that every source stands behind, and the small types that cross it.

A protocol's own words (status codes, headers, pages) stay in its module; what crosses the port is vintages, marks,
native files and the errors of `model.errors`. Asking many sources at once is `batch.py`; which errors are worth another
attempt is `patience.is_retryable`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from d4c_pipeline.model.described import Described
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.vintage import Vintage


@dataclass(frozen=True)
class FileMark:
    """The attributes that a source states of one native file without sending it.

    `etag` is whatever the protocol calls this content by (HTTP's and S3's ETag, CKAN's hash, the object ids of a
    layer), `last_modified` the time as the protocol writes it, `length` in bytes. None where the source doesn't say.
    `listed` is what a catalogue says of the file (a portal's hash and date), beside what the server of the file says.
    `shows_edits`: whether an edit that keeps the length changes the mark; without ETag and date it does not.
    """

    url: str
    etag: str | None
    last_modified: str | None
    length: int | None
    listed: str | None = None
    shows_edits: bool = True

    @property
    def is_blind(self) -> bool:
        """Whether the file may be edited without any change of this mark."""
        return not self.shows_edits or not (self.etag or self.last_modified)


@dataclass(frozen=True)
class Fingerprint:
    """The marks of all native files of a vintage, in the declared order; never empty."""

    files: tuple[FileMark, ...]

    @property
    def digest(self) -> str:
        """The sha256 (hex) over the marks: it differs when anything that the source says differs.

        This is what an observation reports as the data version: the same digest as last time means "unchanged", but
        for marks that are blind.
        """
        # `listed` is left out where there is none, so that a digest recorded before it existed stays the same.
        facts = [
            [mark.url, mark.etag, mark.last_modified, mark.length, *([] if mark.listed is None else [mark.listed])]
            for mark in self.files
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @property
    def blind(self) -> tuple[str, ...]:
        """The addresses of files that may be edited without any change of the fingerprint."""
        return tuple(mark.url for mark in self.files if mark.is_blind)


@dataclass(frozen=True)
class Arrived:
    """A complete native file in the folder of the fetch. `size` in bytes.

    It was compared with every length and digest that is declared or that the source states. Its own sha256 is for
    whoever retains it to make, in the one read that makes all digests: made on the way it would hold up the line.
    `called`: its name where that is not the one on the disk, which was given before anything of it was here.
    """

    path: Path
    url: str
    size: int
    etag: str | None
    last_modified: str | None
    content_type: str | None
    called: str | None = None

    @property
    def name(self) -> str:
        """What the file is called."""
        return self.called or self.path.name

    def native(self, sha256: str, address: str = "") -> NativeFile:
        """Return the file as it is retained."""
        return NativeFile(
            self.name, self.url, sha256, self.size, self.etag, self.last_modified, self.content_type, address
        )


Fetched = Arrived | NativeFile
"""A native file after a fetch: it arrived, or it is one of the known files, which the source still serves."""


class Progress(Protocol):
    """A callback that reports the progress of each file, in the thread that called `fetch`."""

    def __call__(self, name: str, done: int, total: int | None, /) -> None:
        """Take note: of file `name`, `done` bytes of `total` (None when the source doesn't say) are here."""
        ...


class Source(Protocol):
    """Native files of a dataset, by vintage.

    All methods raise SourceError when the source delivers something else than was declared (an empty listing is one),
    TransientError when it can't be reached now, and NeedsPersonError when it wants credentials. None of them changes
    anything at the source, and each may be called from several threads.
    """

    @property
    def document(self) -> str | None:
        """The address of what the source says of a vintage, where `fetch` brings that beside the data; else None."""
        ...

    def discover(self) -> tuple[Vintage, ...]:
        """Return the vintages that exist at the source now, oldest first; never empty.

        Of a source that only ever serves its current state that is one vintage. Costs no request where the vintages
        are declared, else one (`http`: one HEAD per file; `s3`: one per thousand objects).
        """
        ...

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return what the source says of a vintage's files, without fetching them.

        Costs one request (`http`: one HEAD per file; `ckan`: one, and one HEAD per chosen file; `statcan_table`: one,
        and two per language; `arcgis`: two; `s3`: one per thousand objects); none moves data.
        """
        ...

    def content(self, vintage: Vintage) -> str | None:
        """Return a hash of what the files of a vintage hold, got without fetching them; None where that can't be had.

        Of a zip it is over names, lengths and CRC-32 of the members, read by ranges from its end: it stays the same
        when the publisher zips the same files again. `content.content_of` gives the same hash of files that are here.
        """
        ...

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Fetch the native files of a vintage into the folder `into`, verified and complete, in the declared order.

        A file of `known` (native files retained earlier) that the source still serves is not fetched again. Of
        several known files of one address the last counts. What a failed or killed fetch has left in `into` is
        continued. Raises StorageError when `into` can't be written or has too little room.
        """
        ...

    def describe(self, vintage: Vintage) -> Described | None:
        """Return the source's own title, description and keywords; None where the protocol has none."""
        ...
