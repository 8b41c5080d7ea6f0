"""DataCite as an archive, for those who mint DOIs of their own over files in their own store.

The DOIs of a concept follow from its first release (`<prefix>/d4c.<key>`, its versions `.v1`, `.v2`, ...), so that a
request whose answer was lost is repeated safely. A file is uploaded by seeing that the store serves it; which files a
record has stands in the DOI's `contentUrl`. API: https://support.datacite.org/docs/api
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

from d4c_pipeline.archives.datacite.answers import (
    Doi,
    concept_of,
    explain_refusal,
    number_of,
)
from d4c_pipeline.archives.datacite.dois import Dois
from d4c_pipeline.archives.datacite.served_files import ServedFiles
from d4c_pipeline.archives.port import Draft, Listed, PublishedRecord, RemoteFile, check_file_name, check_files
from d4c_pipeline.metadata.datacite import to_datacite
from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.errors import PermanentError, StorageError, TransientError, UnknownNameError
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline.transport.rest import RestClient

_JSON_API = "application/vnd.api+json"
_LANDING_PAGE = "README.md"  # where no page of the dataset is known
# What the all-versions DOI takes over from the newest version.
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

# What only a person says of a DOI, in DataCite Fabrica.
_CURATED = ("geoLocations", "formats", "sizes")
# DataCite leaves attributes that a request does not name as they are: what is no longer declared is emptied.
_UNSAID: Mapping[str, Any] = {"fundingReferences": [], "geoLocations": [], "formats": [], "sizes": [], "language": None}


class DataCiteArchive:
    """DOIs under one prefix of a repository account; safe to share between threads.

    `locate` returns the public address of the folder, in our own store, that holds the files of the release with an
    identifier (`urn:d4c:...`). `resolver` is where DOIs lead from.
    """

    search_lag = 0.0  # what is created is found by its name, not by a search
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
        """Open no connection yet. Raises PermanentError when the address can't be used."""
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
        """Return our own drafts that carry `identifier`, each read again: a search may lag behind."""
        found = (self.draft(name) for name in self._candidates(identifier))
        return tuple(draft for draft in found if draft is not None and draft.identifier == identifier)

    def find_published(self, identifier: str) -> PublishedRecord | None:
        """Return our own published record that carries `identifier`."""
        found = (self.read(name) for name in self._candidates(identifier))
        return next((record for record in found if record is not None and record.identifier == identifier), None)

    def draft(self, record_id: str) -> Draft | None:
        """Return a DOI that is a draft, or whose publication was interrupted before its concept knew it."""
        doi = self._dois.get(record_id)
        return self._as_draft(doi) if doi is not None and not self._dois.is_complete(doi) else None

    def read(self, record_id: str) -> PublishedRecord | None:
        """Return a published record by its DOI; its files are measured as the store serves them."""
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
        )

    def list_files(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Return the files of a draft, by name, as the store serves them."""
        return self._measured(self._require(draft))

    def record_url(self, record_id: str) -> str | None:
        """Return the address by which the DOI is resolved."""
        return f"{self._resolver}/{record_id}"

    def file_url(self, record_id: str, name: str) -> str | None:
        """Return the address of a file in our own store, the DOI's first; None while it is unknown or says nothing."""
        doi = self._dois.get(record_id)
        if doi is None or doi.identifier is None:
            return None
        return doi.files.get(name) or self._address(doi.identifier, name)

    def local_path(self, record_id: str, name: str) -> Path | None:
        """Return None: nothing of it lies on this machine."""
        return None

    # Drafts

    def create_draft(self, metadata: RecordMetadata) -> Draft:
        """Open the first version of a new concept; safe to repeat, its DOI follows from the identifier."""
        return self._as_draft(self._dois.open(self._first(metadata.identifier), self._described(metadata)))

    def new_version(self, record_id: str) -> Draft:
        """Return the concept's draft, or open one: with what the version before says, without files and version."""
        before = self._dois.get(record_id)
        if before is None or not self._dois.is_complete(before):
            raise UnknownNameError(
                f"The archive has no published record {record_id} to make a new version of", "Check its DOI"
            )
        copied = {*_OF_THE_CONCEPT, *_CURATED, "relatedIdentifiers"} - self.own_fields
        said = {name: value for name, value in before.attributes.items() if name in copied and value}
        for number in count(number_of(record_id) + 1):
            doi = self._dois.open(f"{concept_of(record_id)}.v{number}", said)
            if not self._dois.is_complete(doi):
                return self._as_draft(doi)
        raise AssertionError("count() has no end")

    @property
    def own_fields(self) -> frozenset[str]:
        """The fields that follow from the release alone."""
        return frozenset({"alternateIdentifiers", "version", "dates", "publicationYear", "url"})

    def spelled(self, metadata: RecordMetadata) -> Mapping[str, Any]:
        """Return metadata as the attributes that are sent."""
        return self._described(metadata)

    def described(self, draft: Draft) -> Mapping[str, Any]:
        """Return the attributes of a draft that metadata may have; what DataCite adds of its own is left out."""
        known = {*_OF_THE_CONCEPT, "alternateIdentifiers", "relatedIdentifiers", "version", "dates", *_CURATED}
        return {name: value for name, value in self._require(draft).attributes.items() if name in known and value}

    def has_open_version(self, record_id: str) -> bool:
        """Return whether the concept of a record has an open draft."""
        following = self._dois.get(f"{concept_of(record_id)}.v{number_of(record_id) + 1}")
        return following is not None and not self._dois.is_complete(following)

    def put_metadata(self, draft: Draft, metadata: RecordMetadata, *, keep: Mapping[str, Any] | None = None) -> Draft:
        """Replace all metadata and read back that they are there."""
        self._require(draft)
        self._dois.put(draft.record_id, {**_UNSAID, **self._described(metadata), **(keep or {})})
        doi = self._require(draft)
        if doi.identifier != metadata.identifier or doi.version != metadata.version:
            raise PermanentError(
                f"DataCite did not keep the metadata of {draft.record_id} as sent",
                "Look at the DOI in DataCite Fabrica",
            )
        return self._as_draft(doi)

    def reserve_doi(self, draft: Draft) -> Draft:
        """Return the draft: a draft DOI is reserved from its creation on."""
        return self._as_draft(self._require(draft))

    def discard(self, draft: Draft) -> None:
        """Delete a draft DOI; one that is not there counts as deleted, and a published one stays."""
        doi = self._dois.get(draft.record_id)
        if doi is not None and doi.state == "draft":
            self._dois.delete(draft.record_id)

    # Files

    def upload(self, draft: Draft, name: str, path: Path) -> RemoteFile:
        """Verify that the store serves the complete file, and add it to the DOI.

        Raises StorageError when `path` can't be read, PermanentError when the store does not serve the file,
        TransientError when it serves another size.
        """
        check_file_name(name)
        doi = self._require(draft)
        if name in doi.files:
            raise PermanentError(
                f"Draft {draft.record_id} has a file {name} already", "Delete it from the draft before the upload"
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
        """Return the draft's files: those of the version before lie at other addresses, nothing is to be taken over."""
        return self.list_files(draft)

    def drop_pending(self, draft: Draft) -> None:
        """Do nothing: a file is in the DOI or not."""

    def delete_file(self, draft: Draft, name: str) -> None:
        """Take a file out of the DOI; one that is not there counts as deleted. The store keeps its bytes."""
        check_file_name(name)
        doi = self._require(draft)
        if name in doi.files:
            kept = [address for known, address in doi.files.items() if known != name]
            self._dois.put(draft.record_id, {"contentUrl": kept})

    # Publication

    def publish(self, draft: Draft) -> PublishedRecord:
        """Make a DOI findable, then its concept, which lists its versions. Safe to repeat until both are."""
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
        """Let the all-versions DOI say what the newest version says, and list them all."""
        concept = concept_of(newest.name)
        versions = dict.fromkeys([*self._dois.open(concept, {}).versions, newest.name])
        said = {name: value for name, value in newest.attributes.items() if name in _OF_THE_CONCEPT}
        related = [
            {"relatedIdentifier": version, "relatedIdentifierType": "DOI", "relationType": "HasVersion"}
            for version in versions
        ]
        self._dois.put(concept, {**said, "relatedIdentifiers": related, "event": "publish"})

    # What the calls share

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
        """The names under which a release may be: as the first of a concept, or as what a search knows of."""
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
            "Reserve a DOI anew" if gone else "Make a new version of it",
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
