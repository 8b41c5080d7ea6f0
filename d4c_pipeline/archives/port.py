"""What every archive answers: drafts that can change, published records that can't, and the files of both.

The two are different types, so that nothing can be uploaded to something published. How an archive speaks (a folder,
InvenioRDM's REST API) belongs to a module of its own; in which order a deposit calls it belongs to `deposit.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.errors import NeedsPersonError, PermanentError

# The limits of Zenodo, which every archive here keeps so that a release can move to it.
# Source: https://help.zenodo.org/docs/deposit/manage-files/
MAX_FILES = 100
MAX_BYTES = 50 * 10**9

_SHOWN = 200  # characters of a value in a message
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class WithdrawnError(NeedsPersonError):
    """The archive took a published record down: its DOI leads to a tombstone."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as the archive has it, complete. `size` in bytes, `md5` in hexadecimal, both measured by the archive."""

    name: str
    size: int
    md5: str


@dataclass(frozen=True)
class Draft:
    """A record that is not published yet.

    `identifier` is our alternate identifier (`urn:d4c:...`) in its metadata; a draft that `new_version` has just made
    still carries that of the version before it. `doi` is None until it is reserved, `concept_doi` until a first
    version of the concept is published. `url` is where the record will stand.
    """

    record_id: str
    concept_id: str
    identifier: str | None
    doi: str | None
    concept_doi: str | None
    url: str | None


@dataclass(frozen=True)
class PublishedRecord:
    """A published record, its files by name: nothing about it changes any more."""

    record_id: str
    concept_id: str
    identifier: str | None
    doi: str
    concept_doi: str
    url: str | None
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True)
class Listed:
    """A published record of our account as a listing shows it. `names`: of its files, where the listing has them.

    `index`: the number of the version in its concept, from 1.
    """

    record_id: str
    doi: str
    concept_doi: str
    identifier: str | None
    index: int
    names: frozenset[str]


class Archive(Protocol):
    """An archive. Its methods raise TransientError where the same call may succeed later, PermanentError where not.

    A method that takes a Draft looks it up by its id and raises PermanentError when there is no such draft any more.
    """

    @property
    def name(self) -> str:
        """The name under which the ledger keeps its deposits."""
        ...

    @property
    def test(self) -> bool:
        """Whether its DOIs are test DOIs, which never resolve."""
        ...

    @property
    def search_lag(self) -> float:
        """After how many seconds `drafts`, `find_drafts` and `find_published` know what was created."""
        ...

    @property
    def reads_stores(self) -> bool:
        """Whether a record's files are those of our own stores, read at their public addresses."""
        ...

    def drafts(self) -> Iterator[Draft]:
        """Return every draft of our account, also those that carry no identifier of ours."""
        ...

    def listed(self) -> Iterator[Listed]:
        """Return every published record of our account, all versions, also those that carry no identifier of ours."""
        ...

    def find_drafts(self, identifier: str) -> tuple[Draft, ...]:
        """Return our own drafts that carry `identifier`."""
        ...

    def find_published(self, identifier: str) -> PublishedRecord | None:
        """Return the published record that carries `identifier`."""
        ...

    def create_draft(self, metadata: RecordMetadata) -> Draft:
        """Open the draft of a new concept. NOT safe to repeat: look for what a lost answer left behind first."""
        ...

    def new_version(self, record_id: str) -> Draft:
        """Return the concept's open draft, or open one: without files, DOI and version. Safe to repeat.

        `record_id` may be any published record of the concept.
        """
        ...

    def draft(self, record_id: str) -> Draft | None:
        """Return a draft by its id, None when there is none (never made, deleted, published)."""
        ...

    @property
    def own_fields(self) -> frozenset[str]:
        """The fields of `described` that follow from the release alone, so that nobody else's value stays."""
        ...

    def spelled(self, metadata: RecordMetadata) -> Mapping[str, Any]:
        """Return metadata as fields in the archive's own words, as they are sent."""
        ...

    def described(self, draft: Draft) -> Mapping[str, Any]:
        """Return the fields that a draft has now."""
        ...

    def put_metadata(self, draft: Draft, metadata: RecordMetadata, *, keep: Mapping[str, Any] | None = None) -> Draft:
        """Replace all metadata, keep the DOI; raises PermanentError when the archive did not take them as sent.

        `keep`: fields that are sent with these values instead of ours, None for those that are left out.
        """
        ...

    def has_open_version(self, record_id: str) -> bool:
        """Return whether the concept of a published record, its newest, has an open draft, whoever opened it."""
        ...

    def reserve_doi(self, draft: Draft) -> Draft:
        """Reserve the DOI. Safe to repeat: the same draft keeps the same DOI."""
        ...

    def list_files(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Return the complete files of a draft, by name."""
        ...

    def upload(self, draft: Draft, name: str, path: Path) -> RemoteFile:
        """Upload a file in constant memory; a file of that name has to be deleted first (PermanentError)."""
        ...

    def import_files(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Take over the files of the version before, without an upload, and return the draft's complete files then.

        A draft that has files, or no version before it, stays as it is.
        """
        ...

    def drop_pending(self, draft: Draft) -> None:
        """Delete what interrupted uploads left behind: it would block publication."""
        ...

    def delete_file(self, draft: Draft, name: str) -> None:
        """Delete a file of a draft; one that is not there counts as deleted."""
        ...

    def publish(self, draft: Draft) -> PublishedRecord:
        """Publish a draft, which nothing undoes, and return what the archive has then. Safe to repeat."""
        ...

    def read(self, record_id: str) -> PublishedRecord | None:
        """Return a published record by its id, None when there is none. Raises WithdrawnError for one taken down."""
        ...

    def join_community(self, record_id: str) -> None:
        """Submit a published record to the community that the archive is configured with, if any. Safe to repeat."""
        ...

    def discard(self, draft: Draft) -> None:
        """Delete a draft; one that is not there counts as deleted, and a published record stays."""
        ...

    def file_url(self, record_id: str, name: str) -> str | None:
        """Return the public address of a file, known from the draft on; None where the archive has none."""
        ...

    def local_path(self, record_id: str, name: str) -> Path | None:
        """Return the path of a published file where the archive is a folder of this machine and holds it, else None.

        For reading only.
        """
        ...

    def record_url(self, record_id: str) -> str | None:
        """Return the public address of a record, known from the draft on; None where the archive has none."""
        ...


def check_file_name(name: str) -> None:
    """Raise PermanentError when an archive can't hold a file of that name."""
    if not name or name.startswith(".") or "/" in name or "\\" in name or _CONTROL.search(name):
        raise PermanentError(
            f"'{name}' can't be the name of a file in an archive",
            "Records are flat: use a plain file name without folders, leading dots or control characters",
        )


def check_files(sizes: Mapping[str, int], *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> None:
    """Raise PermanentError when files of those names and sizes (bytes) can't be one record."""
    for name, size in sizes.items():
        check_file_name(name)
        if size <= 0:
            raise PermanentError(f"The file {name} is empty and archives refuse it", "Leave it out of the release")
    if len(sizes) > max_files:
        raise PermanentError(
            f"{len(sizes)} files are more than the {max_files} that a record holds",
            "Pack the small ones into one archive file, or split the dataset",
        )
    total = sum(sizes.values())
    if total > max_bytes:
        raise PermanentError(
            f"Files of {total / 1e9:.1f} GB are more than the {max_bytes / 1e9:.1f} GB that a record holds",
            "Split the dataset (by region, say), or ask the archive for a larger quota",
        )


def several_drafts(what: str, drafts: Sequence[Draft]) -> NeedsPersonError:
    """Return the error for several drafts of one release, naming them: which one to keep, only a person can say."""
    return NeedsPersonError(
        f"The archive has {len(drafts)} drafts of {what}: {draft_names(drafts)}",
        "Delete all but one of them there, then run again",
    )


def draft_names(drafts: Sequence[Draft]) -> str:
    """Return where a person finds some drafts."""
    return ", ".join(draft.url or draft.record_id for draft in drafts)


def conflict(release: str, draft: Draft, fields: Mapping[str, tuple[Any, Any]]) -> NeedsPersonError:
    """Return the error for fields that a person changed at the archive and that we would change too."""
    shown = "; ".join(f"{name}: there {_short(there)}, ours {_short(ours)}" for name, (there, ours) in fields.items())
    return NeedsPersonError(
        f"The record of {release} ({draft_names([draft])}) was edited at the archive, where we have something else to "
        f"say now: {shown}",
        f"Say with 'd4c archive edits {release} --keep archive' or '--keep ours' whose words stay, then run again",
    )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
