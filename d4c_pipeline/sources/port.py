"""The port that every source implements, and the types that cross it.

Details of a protocol (status codes, headers, pages) stay in its module. Vintages, marks, native files and the errors of
`model.errors` cross the port. Observing many sources at once belongs to `batch.py`, the decision to retry to
`patience.is_retryable`.
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
    """The attributes that a source states of a native file without sending it. None if not stated.

    `etag` is the protocol's identifier of the content (HTTP's and S3's ETag, CKAN's hash, the object ids of a layer),
    `last_modified` the time as the protocol writes it, `length` in bytes. `listed` is the record of a catalogue (a
    portal's hash and date), beside the headers of the file's server. `shows_edits`: whether an edit that keeps the
    length changes the mark; without ETag and date it does not.
    """

    url: str
    etag: str | None
    last_modified: str | None
    length: int | None
    listed: str | None = None
    shows_edits: bool = True

    @property
    def is_blind(self) -> bool:
        """Whether the file may be edited without a change of this mark."""
        return not self.shows_edits or not (self.etag or self.last_modified)


@dataclass(frozen=True)
class Fingerprint:
    """The marks of all native files of a vintage, in the declared order; never empty."""

    files: tuple[FileMark, ...]

    @property
    def digest(self) -> str:
        """The sha256 (hex) over the marks: it differs when any stated attribute differs.

        An observation reports it as the data version: the same digest as last time means "unchanged", except for blind
        marks.
        """
        # `listed` is omitted if None, so that digests recorded before the field existed stay the same.
        facts = [
            [mark.url, mark.etag, mark.last_modified, mark.length, *([] if mark.listed is None else [mark.listed])]
            for mark in self.files
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @property
    def blind(self) -> tuple[str, ...]:
        """The addresses of files that may be edited without a change of the fingerprint."""
        return tuple(mark.url for mark in self.files if mark.is_blind)


@dataclass(frozen=True)
class Arrived:
    """A complete native file in the folder of the fetch. `size` in bytes.

    It agrees with every declared or stated length and digest. The chain computes its sha256 when it retains the file,
    in the one read that makes all digests: hashing during the fetch would slow the transfer. `called`: its name, if
    it differs from the name on the disk, which was chosen before the fetch.
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
        """The file's name."""
        return self.called or self.path.name

    def native(self, sha256: str, address: str = "") -> NativeFile:
        """Return the file as it is retained."""
        return NativeFile(
            self.name, self.url, sha256, self.size, self.etag, self.last_modified, self.content_type, address
        )


Fetched = Arrived | NativeFile
"""A native file after a fetch: it arrived, or it is one of the known files, which the source still serves."""


class Progress(Protocol):
    """A callback that receives the progress of each file, in the thread that called `fetch`."""

    def __call__(self, name: str, done: int, total: int | None, /) -> None:
        """Receive the progress of file `name`: `done` bytes of `total` (None if unknown) have arrived."""
        ...


class Source(Protocol):
    """Native files of a dataset, by vintage.

    All methods raise SourceError if the source does not serve what is declared (an empty listing is such a case),
    TransientError if it is unreachable, and NeedsPersonError if it requires credentials. No method changes the source.
    All methods are thread-safe.
    """

    @property
    def document(self) -> str | None:
        """The address of the source's description of a vintage, if `fetch` fetches it beside the data; else None."""
        ...

    def discover(self) -> tuple[Vintage, ...]:
        """Return the vintages that the source serves now, oldest first; never empty.

        A source that serves only its current state has one vintage. Costs no request if the vintages are declared,
        else one (`http`: one HEAD per file; `s3`: one per thousand objects).
        """
        ...

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return the marks of a vintage's files, without fetching them.

        Costs one request (`http`: one HEAD per file; `ckan`: one, and one HEAD per chosen file; `statcan_table`: one,
        and two per language; `arcgis`: two; `s3`: one per thousand objects). No request transfers data.
        """
        ...

    def content(self, vintage: Vintage) -> str | None:
        """Return a hash over the content of a vintage's files without fetching them; None if there is none.

        The hash of a zip covers names, lengths and CRC-32 of the members, read by ranges from its end: it stays the
        same when the publisher zips the same files again. `content.content_of` returns the same hash of local files.
        """
        ...

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Fetch the native files of a vintage into the folder `into`, verified and complete, in the declared order.

        A file of `known` (native files retained earlier) that the source still serves is not fetched again. Of
        several known files of one address the last counts. A failed or killed fetch is resumed from its files in
        `into`. Raises StorageError if `into` can't be written or has too little room.
        """
        ...

    def describe(self, vintage: Vintage) -> Described | None:
        """Return the source's title, description and keywords; None if the protocol has none."""
        ...
