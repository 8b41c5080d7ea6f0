"""The port that every archive implements: drafts, which can change, published records, which can't, and their files.

Drafts and records are different types, so that no file can be uploaded to a published record. Each archive (a folder,
InvenioRDM, DataCite) has its own module. The order of calls belongs to `deposit.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.addresses import is_file_name
from d4c_pipeline.model.errors import NeedsPersonError, PermanentError

# The limits of Zenodo. Every archive here keeps them, so that a release can move to Zenodo.
# Source: https://help.zenodo.org/docs/deposit/manage-files/
MAX_FILES = 100
MAX_BYTES = 50 * 10**9

_SHOWN = 200  # characters of a value in a message


class WithdrawnError(NeedsPersonError):
    """The archive withdrew a published record: its DOI leads to a tombstone."""


@dataclass(frozen=True)
class RemoteFile:
    """A complete file at the archive. `size` in bytes, `md5` in hexadecimal, both measured by the archive."""

    name: str
    size: int
    md5: str


@dataclass(frozen=True)
class Draft:
    """A record that is not published yet.

    `identifier` is our alternate identifier (`urn:d4c:...`) in its metadata; a new draft of `new_version` still carries
    that of the previous version. `doi` is None until it is reserved, `concept_doi` until a first version of the concept
    is published. `url` is the future address of the record.
    """

    record_id: str
    concept_id: str
    identifier: str | None
    doi: str | None
    concept_doi: str | None
    url: str | None


@dataclass(frozen=True)
class PublishedRecord:
    """A published record, its files by name. It never changes.

    `published_at` (time-zone aware) is by the archive's clock, None if the archive does not state it.
    """

    record_id: str
    concept_id: str
    identifier: str | None
    doi: str
    concept_doi: str
    url: str | None
    files: tuple[RemoteFile, ...]
    published_at: datetime | None = None


@dataclass(frozen=True)
class Listed:
    """A published record of our account in a listing. `names`: of its files, if the listing has them.

    `index`: the number of the version in its concept, from 1.
    """

    record_id: str
    doi: str
    concept_doi: str
    identifier: str | None
    index: int
    names: frozenset[str]


class Archive(Protocol):
    """An archive. Its methods raise TransientError if the same call may succeed later, else PermanentError.

    A method that takes a Draft looks it up by its id and raises PermanentError if the draft no longer exists.
    """

    @property
    def name(self) -> str:
        """The archive's name in the ledger."""
        ...

    @property
    def test(self) -> bool:
        """Whether its DOIs are test DOIs, which never resolve."""
        ...

    @property
    def search_lag(self) -> float:
        """The seconds after which `drafts`, `find_drafts` and `find_published` return new drafts and records."""
        ...

    @property
    def reads_stores(self) -> bool:
        """Whether the archive reads a record's files from our own stores, at their public addresses."""
        ...

    def try_access(self) -> str:
        """Verify that the account may write and return what was tried. Nothing stays behind.

        Raises NeedsPersonError when the archive refuses the account.
        """
        ...

    def drafts(self) -> Iterator[Draft]:
        """Return every draft of our account, including drafts without an identifier of ours."""
        ...

    def listed(self) -> Iterator[Listed]:
        """Return every published record of our account, all versions, including those without our identifier."""
        ...

    def find_drafts(self, identifier: str) -> tuple[Draft, ...]:
        """Return our drafts with `identifier`."""
        ...

    def find_published(self, identifier: str) -> PublishedRecord | None:
        """Return the published record with `identifier`."""
        ...

    def create_draft(self, metadata: RecordMetadata) -> Draft:
        """Open the draft of a new concept. NOT safe to repeat: after a lost response, search for the draft first."""
        ...

    def new_version(self, record_id: str) -> Draft:
        """Return the concept's open draft, or open one: without files, DOI and version. Safe to repeat.

        `record_id` may be any published record of the concept.
        """
        ...

    def draft(self, record_id: str) -> Draft | None:
        """Return a draft by its id, None without one (never created, deleted, published)."""
        ...

    @property
    def own_fields(self) -> frozenset[str]:
        """The fields of `described` that follow only from the release, so that edits of them are overwritten."""
        ...

    def spelled(self, metadata: RecordMetadata) -> Mapping[str, Any]:
        """Return metadata as fields in the archive's own vocabulary, as they are sent."""
        ...

    def described(self, draft: Draft) -> Mapping[str, Any]:
        """Return the current fields of a draft."""
        ...

    def put_metadata(self, draft: Draft, metadata: RecordMetadata, *, keep: Mapping[str, Any] | None = None) -> Draft:
        """Replace all metadata, keep the DOI. Raises PermanentError if the archive did not keep them as sent.

        `keep`: fields to send with these values instead of ours; None omits a field.
        """
        ...

    def has_open_version(self, record_id: str) -> bool:
        """Return whether the concept of a published record, its newest, has an open draft of any user."""
        ...

    def reserve_doi(self, draft: Draft) -> Draft:
        """Reserve the DOI. Safe to repeat: the same draft keeps the same DOI."""
        ...

    def list_files(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Return the complete files of a draft, by name."""
        ...

    def upload(self, draft: Draft, name: str, path: Path) -> RemoteFile:
        """Upload a file in constant memory. Raises PermanentError if the draft already has a file of that name."""
        ...

    def import_files(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Import the files of the previous version without an upload, and return the draft's complete files.

        A draft with files, or without a previous version, stays as it is.
        """
        ...

    def drop_pending(self, draft: Draft) -> None:
        """Delete the files of interrupted uploads, which would block publication."""
        ...

    def delete_file(self, draft: Draft, name: str) -> None:
        """Delete a file of a draft. A missing file counts as deleted."""
        ...

    def publish(self, draft: Draft) -> PublishedRecord:
        """Publish a draft, which can't be undone, and return the record. Safe to repeat."""
        ...

    def read(self, record_id: str) -> PublishedRecord | None:
        """Return a published record by its id, None without one. Raises WithdrawnError if it was withdrawn."""
        ...

    def join_community(self, record_id: str) -> None:
        """Submit a published record to the configured community, if any. Safe to repeat."""
        ...

    def discard(self, draft: Draft) -> None:
        """Delete a draft. A missing draft counts as deleted; a published record stays."""
        ...

    def file_url(self, record_id: str, name: str) -> str | None:
        """Return the public address of a file, known from the draft on; None if the archive has none."""
        ...

    def local_path(self, record_id: str, name: str) -> Path | None:
        """Return the path of a published file if the archive is a folder on this machine, else None.

        For reading only.
        """
        ...

    def record_url(self, record_id: str) -> str | None:
        """Return the public address of a record, known from the draft on; None if the archive has none."""
        ...


def check_file_name(name: str) -> None:
    """Raise PermanentError if an archive can't hold a file of that name."""
    if not is_file_name(name):
        raise PermanentError(
            f"'{name}' can't be the name of a file in an archive",
            "Records are flat: use a plain file name without folders, leading dots or control characters",
        )


def check_files(sizes: Mapping[str, int], *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> None:
    """Raise PermanentError if files of these names and sizes (bytes) can't be one record."""
    for name, size in sizes.items():
        check_file_name(name)
        if size <= 0:
            raise PermanentError(f"The file {name} is empty, and archives refuse it", "Remove it from the release")
    if len(sizes) > max_files:
        raise PermanentError(
            f"{len(sizes)} files are more than the {max_files} that a record holds",
            "Pack the small ones into one archive file, or split the dataset",
        )
    total = sum(sizes.values())
    if total > max_bytes:
        raise PermanentError(
            f"Files of {total / 1e9:.1f} GB are more than the {max_bytes / 1e9:.1f} GB that a record holds",
            "Split the dataset (by region, for example), or request a larger quota from the archive",
        )


def moment(text: object) -> datetime | None:
    """Return an archive's ISO 8601 time, UTC without an offset; None for anything else."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def several_drafts(what: str, drafts: Sequence[Draft]) -> NeedsPersonError:
    """Return the error for several drafts of one release: a person chooses the draft to keep."""
    return NeedsPersonError(
        f"The archive has {len(drafts)} drafts of {what}: {draft_names(drafts)}",
        "Delete all but one of them there, then run again",
    )


def draft_names(drafts: Sequence[Draft]) -> str:
    """Return the addresses of drafts for a message."""
    return ", ".join(draft.url or draft.record_id for draft in drafts)


def conflict(release: str, draft: Draft, fields: Mapping[str, tuple[Any, Any]]) -> NeedsPersonError:
    """Return the error for fields that both a person at the archive and we changed."""
    shown = "; ".join(f"{name}: there {_short(there)}, ours {_short(ours)}" for name, (there, ours) in fields.items())
    return NeedsPersonError(
        f"The record of {release} ({draft_names([draft])}) was edited at the archive, and these fields changed here "
        f"too: {shown}",
        f"Choose with 'd4c archive edits {release} --keep archive' or '--keep ours', then run again",
    )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
