"""Verification of one copy of any kind: its size in a store, or all of its bytes, with a description of the difference.

The schedule of verifications belongs to `fixity`, repair to `repair`. This module changes and records nothing.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from d4c_pipeline.archives.port import PublishedRecord, WithdrawnError
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.model.errors import D4CError, IntegrityError, TransientError
from d4c_pipeline.model.fixity import CopyKind, CopyState, ExpectedCopy, Verification
from d4c_pipeline.services.embedded import SharedServer
from d4c_pipeline.stores.measure import measure
from d4c_pipeline.stores.port import Store
from d4c_pipeline.torrents.pieces import Pieces
from d4c_pipeline.torrents.torrent_files import pieces_of
from d4c_pipeline.torrents.web_seeds import SECONDS_PER_PIECE, try_web_seed
from d4c_pipeline.transport.clients import http_client
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import artifact_path

_SAMPLES = 3
_GIVES_UP_AFTER = 3  # failures in a row: each takes minutes, and thousands of copies may follow


def compare_size(store: Store, copy: ExpectedCopy) -> Verification:
    """Compare the size of a copy in a store without reading it. Raises what the store raises if unreachable."""
    facts = store.facts(copy.address)
    if facts is None:
        return Verification(copy, CopyState.MISSING, "nothing is there")
    if facts.size != copy.size:
        return Verification(copy, CopyState.DAMAGED, f"{facts.size} bytes instead of {copy.size}", facts.etag)
    return Verification(copy, CopyState.INTACT, etag=facts.etag)


class Verifier:
    """Verifies copies in full; caches records, torrents and unreachable servers for its lifetime.

    A context manager: it keeps a client, and a file server while web seeds follow each other.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._stores = {store.name: store for store in deployment.stores}
        self._records: dict[str, PublishedRecord | D4CError | None] = {}
        self._silences: Counter[str] = Counter()
        self._pieces: dict[tuple[int, str], Pieces] = {}
        self._server, self._http = SharedServer(deployment), http_client(SECONDS_PER_PIECE)

    def __enter__(self) -> Verifier:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.pause()
        self._http.close()

    def verify(self, copy: ExpectedCopy) -> Verification:
        """Verify a copy in full. Any D4CError makes the copy unreachable, with the cause as detail."""
        try:
            if copy.kind is CopyKind.WEB_SEED:
                return self._seed(copy)
            self._server.pause()
            if copy.kind is CopyKind.ARCHIVE:
                return self._archived(copy)
            return self._stored(self._stores[copy.place], copy)
        except D4CError as error:
            return Verification(copy, CopyState.UNREACHABLE, error.cause)

    def cost(self, copy: ExpectedCopy) -> int:
        """Return about how many bytes the verification of a copy reads."""
        if copy.kind is CopyKind.ARCHIVE:
            return copy.size if self._archive_path(copy) is not None else 0
        return copy.size

    def _stored(self, store: Store, copy: ExpectedCopy) -> Verification:
        facts = store.facts(copy.address)
        found = measure(store, copy.address)
        if facts is None or found is None:
            return Verification(copy, CopyState.MISSING, "nothing is there", read=True)
        detail = _difference(copy, found.size, found.sha256)
        state = CopyState.DAMAGED if detail else CopyState.INTACT
        return Verification(copy, state, detail, facts.etag, read=True, cost=found.size or 0)

    def _archive_path(self, copy: ExpectedCopy) -> Path | None:
        record_id, _, name = copy.address.partition("/")
        return self._deployment.archive.local_path(record_id, name)

    def _archived(self, copy: ExpectedCopy) -> Verification:
        """Compare with the archive's checksums; read the file if the archive is a folder of this machine."""
        record_id, _, name = copy.address.partition("/")
        try:
            record = self._record(record_id)
        except WithdrawnError as error:
            return Verification(copy, CopyState.MISSING, error.cause, read=True)
        there = None if record is None else next((file for file in record.files if file.name == name), None)
        path = self._archive_path(copy)
        if path is not None:
            found = hash_file(path)
            detail = _difference(copy, found.size, found.sha256)
            return Verification(
                copy, CopyState.DAMAGED if detail else CopyState.INTACT, detail, read=True, cost=found.size
            )
        if there is None:
            detail = "the archive has no such record" if record is None else "the record has no such file"
            return Verification(copy, CopyState.MISSING, detail, read=True)
        if (there.size, there.md5) != (copy.size, copy.md5):
            detail = f"{there.size} bytes, md5 {there.md5} instead of {copy.size} bytes, md5 {copy.md5}"
            return Verification(copy, CopyState.DAMAGED, detail, read=True)
        return Verification(copy, CopyState.INTACT, read=True)

    def _record(self, record_id: str) -> PublishedRecord | None:
        """The archive's record, fetched once for all of its files. Raises what the archive raises."""
        archive = self._deployment.archive
        if record_id not in self._records:
            if self._silences[archive.name] >= _GIVES_UP_AFTER:
                raise TransientError(f"{archive.name} gave no answer {_GIVES_UP_AFTER} times", "Run again later")
            try:
                self._records[record_id] = archive.read(record_id)
                self._silences[archive.name] = 0
            except D4CError as error:
                self._records[record_id] = error
                self._silences[archive.name] += isinstance(error, TransientError)
        found = self._records[record_id]
        if isinstance(found, D4CError):
            raise found
        return found

    def _seed(self, copy: ExpectedCopy) -> Verification:
        server = urlsplit(copy.address).netloc
        if self._silences[server] >= _GIVES_UP_AFTER:
            detail = f"{server} gave no answer {_GIVES_UP_AFTER} times"
            return Verification(copy, CopyState.UNREACHABLE, detail)
        pieces = self._pieces_of(copy)
        silent = self._server.silent()
        if silent is not None and copy.address.startswith(self._deployment.settings.embedded_url):
            return Verification(copy, CopyState.UNREACHABLE, silent)
        verdict = try_web_seed(copy.address, pieces, samples=_SAMPLES, vary=True, client=self._http)
        self._silences[server] = self._silences[server] + 1 if verdict.silent else 0
        if verdict.silent:
            return Verification(copy, CopyState.UNREACHABLE, verdict.reason)
        cost = min(copy.size, (_SAMPLES + 2) * pieces.piece_size)
        state = CopyState.INTACT if verdict.ok else CopyState.DAMAGED
        return Verification(copy, state, "" if verdict.ok else verdict.reason, read=True, cost=cost)

    def _pieces_of(self, copy: ExpectedCopy) -> Pieces:
        """The piece hashes of a data artifact, from the verified torrent in its release."""
        key = (copy.release_id or 0, copy.name)
        if key not in self._pieces:
            release = self._deployment.ledger.releases.get(key[0])
            torrents = [artifact for artifact in release.artifacts if artifact.name == f"{copy.name}.torrent"]
            if not torrents:
                raise IntegrityError(f"{release.name} has no torrent of {copy.name}", "Look at the ledger's backups")
            path = artifact_path(self._deployment, release, torrents[0])
            with storage_errors(f"read {path.name}"):
                self._pieces[key] = pieces_of(path.read_bytes())
        return self._pieces[key]


def _difference(copy: ExpectedCopy, size: int | None, sha256: str | None) -> str:
    """A description of the difference from the expected size and sha256; empty if equal."""
    if size is None or sha256 is None:
        return "the disk can't read it"
    if size != copy.size:
        return f"{size} bytes instead of {copy.size}"
    return "" if sha256 == copy.sha256 else f"sha256 {sha256} instead of {copy.sha256}"
