"""DataCite as an archive, for operators with their own DOI prefix and the files in their own store.

The DOIs of a concept follow from its first release (`<prefix>/d4c.<key>`, its versions `.v1`, `.v2`, ...), so that a
request with a lost response is repeated safely. An upload verifies that the store serves the file; the DOI's
`contentUrl` lists the files of a record. API: https://support.datacite.org/docs/api
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from d4c_pipeline.archives.datacite.answers import (
    Doi,
    concept_of,
    explain_refusal,
    number_of,
)
from d4c_pipeline.archives.datacite.dois import Dois
from d4c_pipeline.archives.datacite.served_files import ServedFiles
from d4c_pipeline.archives.port import (
    Draft,
    Listed,
    PublishedRecord,
    RemoteFile,
    check_file_name,
    check_files,
    moment,
)
from d4c_pipeline.metadata.datacite import to_datacite
from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.errors import PermanentError, StorageError, TransientError, UnknownNameError
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline.transport.rest import RestClient

_JSON_API = "application/vnd.api+json"
_LANDING_PAGE = "README.md"  # of a dataset without a page of its own
# The attributes that the all-versions DOI copies from the newest version.
_OF_THE_CONCEPT = (
    "contributors",
    "creators",
    "descriptions",
    "fundingReferences",
    "language",
    "publicationYear",
    "publisher",
    "rightsList",
    "schemaVersion",
    "subjects",
    "titles",
    "types",
    "url",
)

# Attributes that only people set, in DataCite Fabrica.
_CURATED = ("geoLocations", "formats", "sizes")
# DataCite keeps attributes that a request does not name: attributes that are no longer declared are emptied.
_UNSAID: Mapping[str, Any] = {"fundingReferences": [], "geoLocations": [], "formats": [], "sizes": [], "language": None}


class DataCiteArchive:
    """DOIs under one prefix of a repository account. Thread-safe.

    `locate` returns the public address of the folder in our own store that holds the files of the release with an
    identifier (`urn:d4c:...`). `resolver` is the address that resolves DOIs.
    """

    search_lag = 0.0  # new DOIs are found by name, not by a search
    reads_stores = True

    def __init__(
        self,
        base_url: str,
        account: str,
        password: str,
        *,
        prefix: str,
        locate: Callable[[str], str],
        test: bool,
        resolver: str = "https://doi.org",
        patience: Patience | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Create the client without a connection. Raises PermanentError if the address is invalid."""
        self.name, self.test = f"datacite:{prefix}", test
        self._prefix, self._locate = prefix, locate
        self._resolver = resolver.rstrip("/")
        credential = base64.b64encode(f"{account}:{password}".encode()).decode()
        api = RestClient(
            base_url,
            f"Basic {credential}",
            refused=explain_refusal,
            accept=_JSON_API,
            patience=patience,
            pause=pause,
        )
        self._dois = Dois(api, account, prefix)
        self._served = ServedFiles(patience or Patience(), pause)

    def close(self) -> None:
        """Close the connections."""
        self._dois.close()
        self._served.close()

    # Reading

    def try_access(self) -> str:
        """Create a draft DOI and delete it, which requires account, password and prefix."""
        name = f"{self._prefix}/d4c.trial-{uuid4().hex}"
        self._dois.open(name, {})
        self._dois.delete(name)
        return "its account may create a draft DOI under its prefix and delete it"

    def drafts(self) -> Iterator[Draft]:
        """Return all draft DOIs of ours in the account."""
        for doi in self._dois.search("state:draft"):
            if doi.state == "draft" and number_of(doi.name):
                yield self._as_draft(doi)

    def listed(self) -> Iterator[Listed]:
        """Return all findable versions of ours in the account."""
        for doi in self._dois.search("state:findable"):
            if doi.state == "findable" and (number := number_of(doi.name)):
                names = frozenset(doi.files)
                yield Listed(doi.name, doi.name, concept_of(doi.name), doi.identifier, number, names)

    def find_drafts(self, identifier: str) -> tuple[Draft, ...]:
        """Return our drafts with `identifier`, each read again, since a search may be out of date."""
        found = (self.draft(name) for name in self._candidates(identifier))
        return tuple(draft for draft in found if draft is not None and draft.identifier == identifier)

    def find_published(self, identifier: str) -> PublishedRecord | None:
        """Return our published record with `identifier`."""
        found = (self.read(name) for name in self._candidates(identifier))
        return next((record for record in found if record is not None and record.identifier == identifier), None)

    def draft(self, record_id: str) -> Draft | None:
        """Return a DOI that is a draft, or whose publication was interrupted before its concept listed it."""
        doi = self._dois.get(record_id)
        return self._as_draft(doi) if doi is not None and not self._dois.is_complete(doi) else None

    def read(self, record_id: str) -> PublishedRecord | None:
        """Return a published record by its DOI, with its files as the store serves them."""
        doi = self._dois.get(record_id)
        if doi is None or not self._dois.is_complete(doi):
            return None
        concept = concept_of(doi.name)
        return PublishedRecord(
            record_id=doi.name,
            concept_id=concept,
            identifier=doi.identifier,
            doi=doi.name,
            concept_doi=concept,
            url=self.record_url(doi.name),
            files=self._measured(doi),
            published_at=moment(doi.attributes.get("registered")),
        )

    def list_files(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Return the files of a draft, by name, as the store serves them."""
        return self._measured(self._require(draft))

    def record_url(self, record_id: str) -> str | None:
        """Return the address that resolves the DOI."""
        return f"{self._resolver}/{record_id}"

    def file_url(self, record_id: str, name: str) -> str | None:
        """Return the address of a file in our own store, preferably the DOI's; None if the DOI has no identifier."""
        doi = self._dois.get(record_id)
        if doi is None or doi.identifier is None:
            return None
        return doi.files.get(name) or self._address(doi.identifier, name)

    def local_path(self, record_id: str, name: str) -> Path | None:
        """Return None: the archive is not on this machine."""
        return None

    # Drafts

    def create_draft(self, metadata: RecordMetadata) -> Draft:
        """Open the first version of a new concept. Safe to repeat: its DOI follows from the identifier."""
        return self._as_draft(self._dois.open(self._first(metadata.identifier), self._described(metadata)))

    def new_version(self, record_id: str) -> Draft:
        """Return the concept's draft, or open one with the previous version's metadata, without files and version."""
        before = self._dois.get(record_id)
        if before is None or not self._dois.is_complete(before):
            raise UnknownNameError(
                f"The archive has no published record {record_id} to make a new version of", "Check its DOI"
            )
        copied = {*_OF_THE_CONCEPT, *_CURATED, "relatedIdentifiers"} - self.own_fields
        copied_attributes = {name: value for name, value in before.attributes.items() if name in copied and value}
        for number in count(number_of(record_id) + 1):
            doi = self._dois.open(f"{concept_of(record_id)}.v{number}", copied_attributes)
            if not self._dois.is_complete(doi):
                return self._as_draft(doi)
        raise AssertionError("count() has no end")

    @property
    def own_fields(self) -> frozenset[str]:
        """The fields that follow only from the release."""
        return frozenset({"alternateIdentifiers", "version", "dates", "publicationYear", "url"})

    def spelled(self, metadata: RecordMetadata) -> Mapping[str, Any]:
        """Return metadata as DataCite's attributes."""
        return self._described(metadata)

    def described(self, draft: Draft) -> Mapping[str, Any]:
        """Return the attributes of a draft that metadata may have, without those that DataCite adds."""
        known = {*_OF_THE_CONCEPT, "alternateIdentifiers", "relatedIdentifiers", "version", "dates", *_CURATED}
        return {name: value for name, value in self._require(draft).attributes.items() if name in known and value}

    def has_open_version(self, record_id: str) -> bool:
        """Return whether the concept of a record has an open draft."""
        following = self._dois.get(f"{concept_of(record_id)}.v{number_of(record_id) + 1}")
        return following is not None and not self._dois.is_complete(following)

    def put_metadata(self, draft: Draft, metadata: RecordMetadata, *, keep: Mapping[str, Any] | None = None) -> Draft:
        """Replace all metadata and verify them."""
        self._require(draft)
        self._dois.put(draft.record_id, {**_UNSAID, **self._described(metadata), **(keep or {})})
        doi = self._require(draft)
        if doi.identifier != metadata.identifier or doi.version != metadata.version:
            raise PermanentError(
                f"DataCite did not keep the metadata of {draft.record_id} as sent",
                "Check the DOI in DataCite Fabrica",
            )
        return self._as_draft(doi)

    def reserve_doi(self, draft: Draft) -> Draft:
        """Return the draft: its creation reserved the DOI."""
        return self._as_draft(self._require(draft))

    def discard(self, draft: Draft) -> None:
        """Delete a draft DOI. A missing DOI counts as deleted; a published DOI stays."""
        doi = self._dois.get(draft.record_id)
        if doi is not None and doi.state == "draft":
            self._dois.delete(draft.record_id)

    # Files

    def upload(self, draft: Draft, name: str, path: Path) -> RemoteFile:
        """Verify that the store serves the complete file, and add it to the DOI.

        Raises StorageError if `path` can't be read, PermanentError if the store does not serve the file,
        TransientError if it serves another size.
        """
        check_file_name(name)
        doi = self._require(draft)
        if name in doi.files:
            raise PermanentError(
                f"Draft {draft.record_id} already has a file {name}", "Delete it from the draft before the upload"
            )
        if doi.identifier is None:
            raise PermanentError(f"Draft {draft.record_id} has no metadata", "Put its metadata first")
        try:
            size = path.stat().st_size
        except OSError as error:
            raise StorageError(f"The staged file {path} can't be read: {error.strerror}", "Run again") from error
        check_files({file.name: file.size for file in self._measured(doi)} | {name: size})
        address = self._address(doi.identifier, name)
        served = self._served.measure(name, address, again=True)
        if served.size != size:
            raise TransientError(f"{address} serves {served.size} bytes, the staged file has {size}", rerun="copies")
        self._dois.put(draft.record_id, {"contentUrl": [*doi.files.values(), address]})
        return served

    def import_files(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Return the draft's files. Files of the previous version have other addresses, so none are imported."""
        return self.list_files(draft)

    def drop_pending(self, draft: Draft) -> None:
        """Do nothing: uploads are never pending."""

    def delete_file(self, draft: Draft, name: str) -> None:
        """Remove a file from the DOI. A missing file counts as deleted. The store keeps its bytes."""
        check_file_name(name)
        doi = self._require(draft)
        if name in doi.files:
            kept = [address for known, address in doi.files.items() if known != name]
            self._dois.put(draft.record_id, {"contentUrl": kept})

    # Publication

    def publish(self, draft: Draft) -> PublishedRecord:
        """Make a DOI findable, then its concept, which lists its versions. Safe to repeat."""
        doi = self._dois.get(draft.record_id)
        if doi is None:
            raise self._no_draft(draft)
        if not self._dois.is_complete(doi):
            if not doi.files:
                raise PermanentError(f"Draft {draft.record_id} has no files", "Upload the release's files first")
            if doi.version is None:
                raise PermanentError(f"Draft {draft.record_id} has no version", "Put its metadata first")
            if doi.state != "findable":
                self._dois.put(draft.record_id, {"event": "publish"})
            self._publish_concept(doi)
        record = self.read(draft.record_id)
        if record is None:
            raise TransientError(f"DataCite does not show {draft.record_id} as published yet", "Run again in a while")
        return record

    def join_community(self, record_id: str) -> None:
        """Do nothing: DataCite has no communities."""

    def _publish_concept(self, newest: Doi) -> None:
        """Update the all-versions DOI: the metadata of the newest version, and the list of all versions."""
        concept = concept_of(newest.name)
        versions = dict.fromkeys([*self._dois.open(concept, {}).versions, newest.name])
        copied_attributes = {name: value for name, value in newest.attributes.items() if name in _OF_THE_CONCEPT}
        related = [
            {"relatedIdentifier": version, "relatedIdentifierType": "DOI", "relationType": "HasVersion"}
            for version in versions
        ]
        self._dois.put(concept, {**copied_attributes, "relatedIdentifiers": related, "event": "publish"})

    # Shared by the calls

    def _described(self, metadata: RecordMetadata) -> dict[str, Any]:
        pages = [related.identifier for related in metadata.related if related.relation == "isdocumentedby"]
        landing = pages[0] if pages else self._address(metadata.identifier, _LANDING_PAGE)
        return {**to_datacite(metadata), "url": landing}

    def _address(self, identifier: str, name: str) -> str:
        return f"{self._locate(identifier).rstrip('/')}/{quote(name)}"

    def _measured(self, doi: Doi) -> tuple[RemoteFile, ...]:
        return tuple(self._served.measure(name, doi.files[name]) for name in sorted(doi.files))

    def _first(self, identifier: str) -> str:
        key = base64.b32encode(hashlib.sha256(identifier.encode()).digest()).decode().lower()[:12]
        return f"{self._prefix}/d4c.{key}.v1"

    def _candidates(self, identifier: str) -> list[str]:
        """Return the possible names of a release: as the first version of a concept, or as found by a search."""
        found = self._dois.search(f'alternateIdentifiers.alternateIdentifier:"{identifier}"')
        return [*dict.fromkeys([self._first(identifier), *(doi.name for doi in found if number_of(doi.name))])]

    def _require(self, draft: Draft) -> Doi:
        doi = self._dois.get(draft.record_id)
        if doi is None or self._dois.is_complete(doi):
            raise self._no_draft(draft)
        return doi

    def _no_draft(self, draft: Draft) -> PermanentError:
        gone = self._dois.get(draft.record_id) is None
        return PermanentError(
            f"The archive has no draft {draft.record_id}"
            if gone
            else f"Record {draft.record_id} is published and can't change",
            "Reserve another DOI" if gone else "Create a new version of it",
        )

    def _as_draft(self, doi: Doi) -> Draft:
        concept = concept_of(doi.name)
        return Draft(
            record_id=doi.name,
            concept_id=concept,
            identifier=doi.identifier,
            doi=doi.name,
            concept_doi=concept if number_of(doi.name) > 1 else None,
            url=self.record_url(doi.name),
        )
