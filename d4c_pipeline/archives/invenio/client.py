"""InvenioRDM's REST API as an archive: Zenodo, its sandbox and any other InvenioRDM, by address and token.

This module knows the partial failures of each call, and so which calls are safe to repeat (a table in
docs/deposits.md). The order of calls belongs to `archives.deposit`, the body of a record to `metadata.py`. API:
https://inveniordm.docs.cern.ch/reference/rest_api_drafts_records/
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from d4c_pipeline.archives.invenio.answers import (
    differences,
    draft_of,
    errors_of,
    explain_refusal,
    has_newer_draft,
    hits_of,
    is_published,
    listed_of,
    record_of,
    refuse_errors,
)
from d4c_pipeline.archives.invenio.files import DraftFiles, refused
from d4c_pipeline.archives.invenio.metadata import fields_of, identifier_of, to_invenio, with_fields
from d4c_pipeline.archives.invenio.publication import Publication, Waits
from d4c_pipeline.archives.port import (
    MAX_BYTES,
    MAX_FILES,
    Draft,
    Listed,
    PublishedRecord,
    RemoteFile,
    WithdrawnError,
    several_drafts,
)
from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.errors import NeedsPersonError, PermanentError, TransientError, UnknownNameError
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline.transport.rest import Answer, Repeat, RestClient, UncertainError, json_body

_ACCEPT = "application/vnd.inveniordm.v1+json"  # for plain JSON Zenodo sends a legacy form
_TEST_PREFIX = "10.5072/"
_PAGE = 100


class InvenioArchive:
    """An InvenioRDM at `base_url` (without `/api`), used with a personal token. Thread-safe."""

    reads_stores = False

    def __init__(
        self,
        name: str,
        base_url: str,
        token: str | None,
        *,
        test: bool,
        community: str | None = None,
        patience: Patience | None = None,
        waits: Waits | None = None,
        max_files: int = MAX_FILES,
        max_bytes: int = MAX_BYTES,
        pause: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Create the client without a connection. `test`: its DOIs never resolve (the sandbox). `pause` waits seconds.

        Without a `token` only published records can be read.

        `community`: the slug or id of the community that records are submitted to. Raises PermanentError if the
        address is invalid.
        """
        self.name, self.test, self._community = name, test, community
        self._base = base_url.rstrip("/")
        self._patience, self._waits = patience or Patience(read_timeout=120.0), waits or Waits()
        self._pause = pause
        self._funders: dict[str, bool] = {}  # ROR id -> whether the archive's vocabulary has it
        self._api = RestClient(
            f"{self._base}/api",
            f"Bearer {token}" if token is not None else None,
            refused=explain_refusal,
            accept=_ACCEPT,
            patience=self._patience,
            pause=pause,
            transport=transport,
        )
        self._files = DraftFiles(
            self._api,
            self._require,
            patience=self._patience,
            pause=pause,
            max_files=max_files,
            max_bytes=max_bytes,
        )
        self._publication = Publication(
            self._api, self._files, self.read, attempts=self._patience.attempts, waits=self._waits, pause=pause
        )

    @property
    def search_lag(self) -> float:
        """The seconds after which a search finds new drafts and records."""
        return self._waits.search

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    # Reading

    def try_access(self) -> str:
        """Create a draft and delete it, which a token without the scope `deposit:write` may not.

        `deposit:actions` shows only at a publication, which can't be undone, so it is not tried.
        """
        body = {"metadata": {"title": "A trial of the token by 'd4c doctor'"}, "files": {"enabled": True}}
        answer = self._api.request("POST", "/records", body=json_body(body), repeat=Repeat.UNSAFE)
        self._api.request("DELETE", f"/records/{quote(str(answer.body['id']))}/draft", passing=(404,))
        return "its token may create a draft and delete it (deposit:write); deposit:actions shows at a publication"

    def drafts(self) -> Iterator[Draft]:
        """Return all drafts of the token's account, new versions included."""
        for body in self._search("is_published:false"):
            if not is_published(body):
                yield self._as_draft(body)

    def listed(self) -> Iterator[Listed]:
        """Return all published records of the token's account, all versions."""
        for body in self._search("is_published:true"):
            if is_published(body) and (listed := listed_of(body)) is not None:
                yield listed

    def find_drafts(self, identifier: str) -> tuple[Draft, ...]:
        """Return our drafts with `identifier`, each read again, since a search may be out of date."""
        found = (self.draft(str(body["id"])) for body in self._search(_carrying(identifier)) if not is_published(body))
        return tuple(draft for draft in found if draft is not None and draft.identifier == identifier)

    def find_published(self, identifier: str) -> PublishedRecord | None:
        """Return our published record with `identifier`."""
        for body in self._search(_carrying(identifier)):
            if is_published(body) and identifier_of(body) == identifier:
                return self.read(str(body["id"]))
        return None

    def draft(self, record_id: str) -> Draft | None:
        """Return a draft by its id; None for an open edit of a published record."""
        body = self._draft_body(record_id)
        return None if body is None or is_published(body) else self._as_draft(body)

    def read(self, record_id: str) -> PublishedRecord | None:
        """Return a published record by its id. Raises WithdrawnError if the archive withdrew it."""
        # 302: the id of a concept, which redirects to its newest version
        answer = self._api.request("GET", f"/records/{quote(record_id)}", passing=(302, 404, 410))
        if answer.status == 410:
            raise WithdrawnError(
                f"Record {record_id} was withdrawn from {self.name}", "Ask the archive's managers for the reason"
            )
        if answer.status != 200:
            return None
        body = refuse_errors(answer.body, f"the request for record {record_id}")
        return record_of(body, self.record_url(record_id))

    def record_url(self, record_id: str) -> str | None:
        """Return the address of the record's page."""
        return f"{self._base}/records/{quote(record_id)}"

    def file_url(self, record_id: str, name: str) -> str | None:
        """Return the public address of a file: that of the page, which serves ranges, unlike that of the API."""
        return f"{self._base}/records/{quote(record_id)}/files/{quote(name)}"

    def local_path(self, record_id: str, name: str) -> Path | None:
        """Return None: the archive is not on this machine."""
        return None

    # Drafts

    def create_draft(self, metadata: RecordMetadata) -> Draft:
        """Open the draft of a new concept. After a lost response, search for the draft before a second request."""
        for attempt in count(1):
            try:
                answer = self._api.request(
                    "POST", "/records", body=json_body(self._body(metadata)), repeat=Repeat.UNSAFE
                )
                return self._newborn(answer)
            except UncertainError:
                self._pause(self._waits.search)
                found = self.find_drafts(metadata.identifier)
                if len(found) > 1:
                    raise several_drafts(metadata.identifier, found) from None
                if found:
                    return found[0]
                if attempt >= self._patience.attempts:
                    raise
        raise AssertionError("count() has no end")

    def new_version(self, record_id: str) -> Draft:
        """Return the concept's open draft, or open one: without files, DOI and version."""
        answer = self._api.request("POST", f"/records/{quote(record_id)}/versions", passing=(404,))
        if answer.status == 404:
            raise UnknownNameError(
                f"The archive has no published record {record_id} to make a new version of", "Check its id"
            )
        return self._as_draft(refuse_errors(answer.body, f"the request for a new version of record {record_id}"))

    @property
    def own_fields(self) -> frozenset[str]:
        """The fields that follow only from the release."""
        return frozenset({"metadata.identifiers", "metadata.version", "metadata.publication_date"})

    def spelled(self, metadata: RecordMetadata) -> Mapping[str, Any]:
        """Return metadata as InvenioRDM's fields."""
        return fields_of(self._body(metadata))

    def described(self, draft: Draft) -> Mapping[str, Any]:
        """Return the current fields of a draft."""
        return fields_of(self._require(draft))

    def has_open_version(self, record_id: str) -> bool:
        """Return whether the concept of a record has an open draft, newer than its newest record."""
        answer = self._api.request("GET", f"/records/{quote(record_id)}", passing=(404, 410))
        return answer.status == 200 and has_newer_draft(answer.body)

    def put_metadata(self, draft: Draft, metadata: RecordMetadata, *, keep: Mapping[str, Any] | None = None) -> Draft:
        """Replace all metadata and verify them. The body omits `pids`, which keeps a reserved DOI."""
        sent = with_fields(self._body(metadata), keep or {})
        answer = self._api.request("PUT", _draft_path(draft), body=json_body(sent), passing=(404,))
        if answer.status == 404:
            raise self._no_draft(draft)
        refuse_errors(answer.body, f"the metadata of record {draft.record_id}")
        body = self._require(draft)
        if differing := list(differences(sent["metadata"], body.get("metadata"))):
            raise PermanentError(
                f"The archive did not keep the metadata of record {draft.record_id} as sent: {', '.join(differing)}",
                "Correct them in the dataset's YAML to values that the archive accepts, then run again",
            )
        return self._as_draft(body)

    def reserve_doi(self, draft: Draft) -> Draft:
        """Reserve the DOI, or return the reserved DOI: a second reservation fails with 400."""
        answer = self._api.request("POST", f"{_draft_path(draft)}/pids/doi", passing=(400, 404))
        body = answer.body if answer.status < 300 else self._require(draft)
        refuse_errors(body, f"the reservation of a DOI for record {draft.record_id}")
        reserved = self._as_draft(body)
        if reserved.doi is None:
            raise refused("POST", f"{_draft_path(draft)}/pids/doi", answer)
        if reserved.doi.startswith(_TEST_PREFIX) and not self.test:
            raise NeedsPersonError(
                f"{self._base} reserved {reserved.doi}, a test DOI, but '{self.name}' is not a test archive",
                "Configure it as a sandbox, or correct its address",
            )
        return reserved

    def discard(self, draft: Draft) -> None:
        """Delete a draft. A missing draft counts as deleted; a published record stays."""
        if self.draft(draft.record_id) is not None:
            self._api.request("DELETE", _draft_path(draft), passing=(404,))

    # Files

    def list_files(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Return the complete files of a draft, by name."""
        return self._files.list(draft)

    def upload(self, draft: Draft, name: str, path: Path) -> RemoteFile:
        """Upload a file, streamed from disk. Raises StorageError if the file can't be read."""
        return self._files.upload(draft, name, path)

    def import_files(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Link the files of the previous version into a draft without files, and return the draft's files."""
        return self._files.import_all(draft)

    def drop_pending(self, draft: Draft) -> None:
        """Delete incomplete files: they would block publication."""
        self._files.drop_pending(draft)

    def delete_file(self, draft: Draft, name: str) -> None:
        """Delete a file of a draft. A missing file counts as deleted."""
        self._files.delete(draft, name)

    # Publication

    def publish(self, draft: Draft) -> PublishedRecord:
        """Publish a draft, which can't be undone. After a lost response, wait for the record before another request."""
        body = self._draft_body(draft.record_id)
        if body is None or is_published(body):
            record = self.read(draft.record_id)
            if record is None:
                raise self._no_draft(draft)
            return record
        # InvenioRDM would publish a new version with the previous metadata, today's date and no version.
        if not body.get("metadata", {}).get("version"):
            raise PermanentError(f"Draft {body['id']} has no version", "Put its metadata first")
        record = self._publication.publish(draft)
        if record is None:
            raise self._no_draft(draft)
        return record

    def join_community(self, record_id: str) -> None:
        """Submit a published record to the community, which includes it at once if our account curates it.

        Raises PermanentError if the community refuses submissions.
        """
        if self._community is not None:
            self._publication.submit(record_id, self._community)

    # Shared by the calls

    def _body(self, metadata: RecordMetadata) -> dict[str, Any]:
        """Return the body for `metadata`. Funders are named by ROR id if the archive's vocabulary has it."""
        rors = {grant.ror for grant in metadata.funding if grant.ror is not None}
        for ror in sorted(rors - set(self._funders)):
            answer = self._api.request("GET", f"/funders/{quote(ror)}", passing=(404,))
            self._funders[ror] = answer.status == 200
        return to_invenio(metadata, funders={ror for ror in rors if self._funders[ror]})

    def _search(self, query: str) -> Iterator[Mapping[str, Any]]:
        """Return all matching drafts and records of the account, all versions."""
        seen = 0
        for page in count(1):
            answer = self._api.request(
                "GET",
                "/user/records",
                params={"q": query, "page": page, "size": _PAGE, "allversions": "true", "sort": "oldest"},
            )
            hits, total = hits_of(refuse_errors(answer.body, "a search"))
            yield from hits
            seen += len(hits)
            if not hits or seen >= total:
                return

    def _draft_body(self, record_id: str) -> Mapping[str, Any] | None:
        path = f"/records/{quote(record_id)}/draft"
        try:
            answer = self._api.request("GET", path, passing=(404,))
        except TransientError:
            # On Zenodo, incomplete files can make a draft unreadable.
            if not self._files.drop_pending_of_unreadable(record_id):
                raise
            answer = self._api.request("GET", path, passing=(404,))
        return None if answer.status == 404 else refuse_errors(answer.body, f"the request for draft {record_id}")

    def _newborn(self, answer: Answer) -> Draft:
        """Return a new draft, or delete it if it was created with errors: the ledger does not have it yet."""
        if errors_of(answer.body):
            self._api.request("DELETE", f"/records/{quote(str(answer.body['id']))}/draft", passing=(404,))
        return self._as_draft(refuse_errors(answer.body, "a new draft"))

    def _require(self, draft: Draft) -> Mapping[str, Any]:
        body = self._draft_body(draft.record_id)
        if body is None or is_published(body):
            raise self._no_draft(draft)
        return body

    def _no_draft(self, draft: Draft) -> PermanentError:
        published = self.read(draft.record_id) is not None
        return PermanentError(
            f"Record {draft.record_id} is published and can't change"
            if published
            else f"The archive has no draft {draft.record_id}",
            "Create a new version of it" if published else "Reserve another DOI",
        )

    def _as_draft(self, body: Mapping[str, Any]) -> Draft:
        return draft_of(body, self.record_url(str(body["id"])))


def _carrying(identifier: str) -> str:
    return f'metadata.identifiers.identifier:"{identifier}"'


def _draft_path(draft: Draft) -> str:
    return f"/records/{quote(draft.record_id)}/draft"
