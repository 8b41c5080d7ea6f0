"""The local archive: a folder that behaves like InvenioRDM, the embedded default without account or server.

A draft is a folder under `drafts`, a published record a folder under `records`. Publication is one rename, so a crash
leaves either a draft or a record. Its DOIs have DataCite's test prefix and never resolve. A file server that serves
`records` at `<base_url>/records/` serves every published file at its `file_url`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from d4c_pipeline.archives.local.folder import (
    FILES,
    INCOMING,
    JSON,
    Entry,
    copy_in,
    exclusive,
    leave_only,
    new_incoming,
    sync_folder,
    write_entry,
    writing,
)
from d4c_pipeline.archives.port import (
    MAX_BYTES,
    MAX_FILES,
    Draft,
    Listed,
    PublishedRecord,
    RemoteFile,
    check_file_name,
    check_files,
    moment,
)
from d4c_pipeline.files.disk import storage_errors, write_file
from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.errors import IntegrityError, PermanentError, UnknownNameError

_DOI_PREFIX = "10.5072/d4c-local."
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_VERSION_FIELDS = ("version", "publication_date")


class LocalArchive:
    """An archive in a folder. Safe for concurrent threads and processes."""

    test = True
    search_lag = 0.0
    reads_stores = False

    def __init__(
        self,
        root: Path,
        base_url: str | None = None,
        *,
        name: str = "local",
        max_files: int = MAX_FILES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Use the folder `root` (created by the first write), served to readers at `base_url`."""
        self.name = name
        self._root = root
        self._drafts = root / "drafts"
        self._records = root / "records"
        self._base_url = base_url.rstrip("/") if base_url else None
        self._max_files, self._max_bytes = max_files, max_bytes

    # Reading

    def try_access(self) -> str:
        """Write a file into the archive's folder and delete it. Raises StorageError when the disk refuses."""
        trial = self._root / f".trial-{os.getpid()}"
        write_file(trial, b"")
        with storage_errors(f"delete {trial}"):
            trial.unlink()
        return "its folder can be written"

    def drafts(self) -> Iterator[Draft]:
        """Return all drafts."""
        return (self._as_draft(entry) for entry in self._all(self._drafts))

    def listed(self) -> Iterator[Listed]:
        """Return all published records."""
        for entry in self._all(self._records):
            concept = _DOI_PREFIX + entry.concept_id
            yield Listed(
                entry.record_id,
                _DOI_PREFIX + entry.record_id,
                concept,
                entry.identifier,
                entry.index,
                frozenset(entry.files),
            )

    def find_drafts(self, identifier: str) -> tuple[Draft, ...]:
        """Return the drafts with `identifier`."""
        return tuple(self._as_draft(entry) for entry in self._all(self._drafts) if entry.identifier == identifier)

    def find_published(self, identifier: str) -> PublishedRecord | None:
        """Return the published record with `identifier`."""
        found = (self._as_record(entry) for entry in self._all(self._records) if entry.identifier == identifier)
        return next(found, None)

    def draft(self, record_id: str) -> Draft | None:
        """Return a draft by its id."""
        entry = self._entry(self._drafts, record_id)
        return None if entry is None else self._as_draft(entry)

    def read(self, record_id: str) -> PublishedRecord | None:
        """Return a published record by its id."""
        entry = self._entry(self._records, record_id)
        return None if entry is None else self._as_record(entry)

    def list_files(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Return the complete files of a draft, by name."""
        return self._files(self._drafts, self._draft_entry(draft))

    def record_url(self, record_id: str) -> str | None:
        """Return the address of the record's JSON, None without a base URL."""
        return None if self._base_url is None else f"{self._base_url}/records/{record_id}/{JSON}"

    def file_url(self, record_id: str, name: str) -> str | None:
        """Return the address of a file, None without a base URL."""
        return None if self._base_url is None else f"{self._base_url}/records/{record_id}/{FILES}/{quote(name)}"

    def local_path(self, record_id: str, name: str) -> Path | None:
        """Return the path of a published file, None if it does not exist."""
        check_file_name(record_id)
        check_file_name(name)
        path = self._records / record_id / FILES / name
        return path if path.is_file() else None

    # Drafts

    def create_draft(self, metadata: RecordMetadata) -> Draft:
        """Open the draft of a new concept."""
        with exclusive(self._root):
            entry = Entry(record_id=_new_id(), concept_id=_new_id(), index=1, metadata=metadata.to_json())
            return self._as_draft(self._add(entry))

    def new_version(self, record_id: str) -> Draft:
        """Return the open draft of a record's concept, or open one with the metadata of its newest version."""
        with exclusive(self._root):
            published = self._entry(self._records, record_id)
            if published is None:
                raise UnknownNameError(
                    f"The archive has no published record {record_id} to make a new version of", "Check its id"
                )
            concept = published.concept_id
            for entry in self._all(self._drafts):
                if entry.concept_id == concept:
                    return self._as_draft(entry)
            newest = self._newest(concept)
            kept = {key: value for key, value in newest.metadata.items() if key not in _VERSION_FIELDS}
            entry = Entry(record_id=_new_id(), concept_id=concept, index=newest.index + 1, metadata=kept)
            return self._as_draft(self._add(entry))

    @property
    def own_fields(self) -> frozenset[str]:
        """The fields that follow only from the release."""
        return frozenset({"identifier", *_VERSION_FIELDS})

    def spelled(self, metadata: RecordMetadata) -> Mapping[str, Any]:
        """Return metadata as stored fields."""
        return json.loads(json.dumps(metadata.to_json()))

    def described(self, draft: Draft) -> Mapping[str, Any]:
        """Return the current fields of a draft."""
        return self._draft_entry(draft).metadata

    def has_open_version(self, record_id: str) -> bool:
        """Return whether the concept of a record has an open draft."""
        published = self._entry(self._records, record_id)
        return published is not None and any(
            entry.concept_id == published.concept_id for entry in self._all(self._drafts)
        )

    def put_metadata(self, draft: Draft, metadata: RecordMetadata, *, keep: Mapping[str, Any] | None = None) -> Draft:
        """Replace all metadata of a draft."""
        fields = {name: value for name, value in {**metadata.to_json(), **(keep or {})}.items() if value is not None}
        with exclusive(self._root):
            return self._as_draft(self._change(replace(self._draft_entry(draft), metadata=fields)))

    def reserve_doi(self, draft: Draft) -> Draft:
        """Reserve the DOI that follows from the draft's id."""
        with exclusive(self._root):
            entry = self._draft_entry(draft)
            return self._as_draft(self._change(replace(entry, doi=_DOI_PREFIX + entry.record_id)))

    def discard(self, draft: Draft) -> None:
        """Delete a draft with its files."""
        folder = self._drafts / draft.record_id
        with exclusive(self._root), writing(folder):
            # The JSON goes first: the rest of the folder after a crash is not a draft.
            if folder.exists():
                (folder / JSON).unlink(missing_ok=True)
                shutil.rmtree(folder)

    # Files

    def upload(self, draft: Draft, name: str, path: Path) -> RemoteFile:
        """Copy a file into a draft, and measure it in the same read."""
        check_file_name(name)
        with exclusive(self._root):
            self._check_room(self._draft_entry(draft), name, path)
            incoming = new_incoming(self._drafts / draft.record_id / INCOMING, name)
        try:
            arrived = copy_in(path, incoming, name)
            with exclusive(self._root):
                entry = self._draft_entry(draft)
                self._check_room(entry, name, path)
                with writing(incoming):
                    incoming.replace(self._drafts / entry.record_id / FILES / name)
                    sync_folder(self._drafts / entry.record_id / FILES)
                self._change(replace(entry, files={**entry.files, name: arrived}))
        finally:
            incoming.unlink(missing_ok=True)
        return arrived

    def import_files(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Link the files of the previous version into a draft without files."""
        with exclusive(self._root):
            entry = self._draft_entry(draft)
            if not entry.files and entry.index > 1:
                before = self._newest(entry.concept_id)
                ours, theirs = self._drafts / entry.record_id / FILES, self._records / before.record_id / FILES
                with writing(ours):
                    for name in before.files:
                        (ours / name).unlink(missing_ok=True)  # from an import killed before its entry
                        os.link(theirs / name, ours / name)
                    sync_folder(ours)
                entry = self._change(replace(entry, files=before.files))
            return self._files(self._drafts, entry)

    def drop_pending(self, draft: Draft) -> None:
        """Delete the files of interrupted uploads."""
        with exclusive(self._root):
            folder = self._drafts / self._draft_entry(draft).record_id / INCOMING
            with writing(folder):
                for dead in folder.glob("*"):
                    dead.unlink(missing_ok=True)

    def delete_file(self, draft: Draft, name: str) -> None:
        """Delete a file of a draft."""
        check_file_name(name)
        with exclusive(self._root):
            entry = self._draft_entry(draft)
            # The entry goes first: a file without an entry is neither listed nor published.
            self._change(replace(entry, files={key: file for key, file in entry.files.items() if key != name}))
            path = self._drafts / entry.record_id / FILES / name
            with writing(path):
                path.unlink(missing_ok=True)

    # Publication

    def publish(self, draft: Draft) -> PublishedRecord:
        """Publish a draft by one rename. Return the existing record if it is already published."""
        with exclusive(self._root):
            before = self._entry(self._records, draft.record_id)
            if before is not None:
                return self._as_record(before)
            entry = self._draft_entry(draft)
            self._check_publishable(entry)
            folder = self._drafts / entry.record_id
            with writing(folder):
                leave_only(folder, entry)
                entry = self._change(
                    replace(entry, doi=_DOI_PREFIX + entry.record_id, published_at=datetime.now(UTC).isoformat())
                )
                folder.rename(self._records / entry.record_id)
                sync_folder(self._records)
                sync_folder(self._drafts)
            return self._as_record(entry)

    def join_community(self, record_id: str) -> None:
        """Do nothing: a folder has no communities."""

    def _check_publishable(self, entry: Entry) -> None:
        files = self._files(self._drafts, entry)
        lost = sorted(set(entry.files) - {file.name for file in files})
        if lost:
            raise IntegrityError(
                f"Draft {entry.record_id} lost its file {lost[0]}", "Delete that file from the draft, upload it again"
            )
        if not files:
            raise PermanentError(f"Draft {entry.record_id} has no files", "Upload the release's files first")
        missing = [key for key in _VERSION_FIELDS if key not in entry.metadata]
        if missing:
            raise PermanentError(f"Draft {entry.record_id} has no {missing[0]}", "Put its metadata first")

    def _check_room(self, entry: Entry, name: str, path: Path) -> None:
        if name in entry.files:
            raise PermanentError(
                f"Draft {entry.record_id} already has a file {name}", "Delete it from the draft before the upload"
            )
        sizes = {file.name: file.size for file in entry.files.values()}
        with writing(path):
            sizes[name] = path.stat().st_size
        check_files(sizes, max_files=self._max_files, max_bytes=self._max_bytes)

    # Entries

    def _entry(self, place: Path, record_id: str) -> Entry | None:
        check_file_name(record_id)
        return Entry.read(place / record_id / JSON)

    def _draft_entry(self, draft: Draft) -> Entry:
        entry = self._entry(self._drafts, draft.record_id)
        if entry is None:
            published = self._entry(self._records, draft.record_id) is not None
            raise PermanentError(
                f"Record {draft.record_id} is published and can't change"
                if published
                else f"The archive has no draft {draft.record_id}",
                "Make a new version of it" if published else "Reserve a DOI again",
            )
        return entry

    def _newest(self, concept_id: str) -> Entry:
        """The newest published version of a concept that has one."""
        versions = (entry for entry in self._all(self._records) if entry.concept_id == concept_id)
        return max(versions, key=lambda entry: entry.index)

    def _all(self, place: Path) -> Iterator[Entry]:
        if not place.is_dir():
            return
        for folder in sorted(place.iterdir()):
            entry = None if folder.name.startswith(".") else Entry.read(folder / JSON)
            if entry is not None:
                yield entry

    def _add(self, entry: Entry) -> Entry:
        """Complete a draft's folder under another name, then rename it: it appears with its JSON or not at all."""
        unborn = self._drafts / f".{entry.record_id}"
        with writing(unborn):
            for dead in self._drafts.glob(".*"):  # from a process killed at this point
                shutil.rmtree(dead)
            unborn.mkdir()
            (unborn / FILES).mkdir()
            (unborn / INCOMING).mkdir()
            write_entry(unborn, entry)
            unborn.rename(self._drafts / entry.record_id)
            sync_folder(self._drafts)
        return entry

    def _change(self, entry: Entry) -> Entry:
        folder = self._drafts / entry.record_id
        with writing(folder):
            write_entry(folder, entry)
        return entry

    def _files(self, place: Path, entry: Entry) -> tuple[RemoteFile, ...]:
        folder = place / entry.record_id / FILES
        there = {path.name: path.stat().st_size for path in folder.iterdir()}
        return tuple(entry.files[name] for name in sorted(entry.files) if there.get(name) == entry.files[name].size)

    def _as_draft(self, entry: Entry) -> Draft:
        return Draft(
            record_id=entry.record_id,
            concept_id=entry.concept_id,
            identifier=entry.identifier,
            doi=entry.doi,
            concept_doi=_DOI_PREFIX + entry.concept_id if entry.index > 1 else None,
            url=self.record_url(entry.record_id),
        )

    def _as_record(self, entry: Entry) -> PublishedRecord:
        return PublishedRecord(
            record_id=entry.record_id,
            concept_id=entry.concept_id,
            identifier=entry.identifier,
            doi=_DOI_PREFIX + entry.record_id,
            concept_doi=_DOI_PREFIX + entry.concept_id,
            url=self.record_url(entry.record_id),
            files=self._files(self._records, entry),
            published_at=moment(entry.published_at),
        )


def _new_id() -> str:
    # 50 random bits: two independent homes don't mint the same test DOI. A second use of an id in one archive would
    # fail at the folder's creation.
    text = "".join(secrets.choice(_ALPHABET) for _ in range(10))
    return f"{text[:5]}-{text[5:]}"
