"""The files of all datasets on this machine and in the stores: their identity, their verification, their copies.

They are the STAC file and the records in parts. Row groups belong to `catalogue.grouped_file`, the form of the parts
and of their manifest to `catalogue.record_parts`, the torrent of a snapshot to `snapshot`, documents to
`catalogue_documents`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.catalogue.grouped_file import ExistingFile, GroupVerifier, GrowingFile, writing
from d4c_pipeline.catalogue.record_parts import GrowingParts, Part, parts_of, path_of, writing_parts
from d4c_pipeline.catalogue.stac_geoparquet import STAC
from d4c_pipeline.chain.snapshot import keep_snapshot, superseded
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import Digests, feed
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, RECORD_PARTS, RECORDS_MANIFEST, RECORDS_PARQUET
from d4c_pipeline.model.errors import DataError, IntegrityError, UnknownNameError
from d4c_pipeline.model.release import Snapshot
from d4c_pipeline.stores.port import Store
from d4c_pipeline.torrents.pieces import piece_hasher
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.other_homes import refuse_unknown_releases

_SMALL = 16 << 20
"""The bytes of a file that is put like a document: in one request, from memory."""
_MOST_DEFERRED = 8
"""Superseded snapshots that may wait for a later rebuild; one part waits with each."""


@dataclass(frozen=True)
class Kept:
    """The verified files: the digests of STAC file and manifest by address, the parts, and the snapshot, if any.

    `superseded`: the snapshots that are deleted when all stores have these files.
    """

    digests: dict[str, Digests]
    parts: tuple[Part, ...]
    snapshot: Snapshot | None
    superseded: tuple[Snapshot, ...]


class CatalogueCopies:
    """The copies of the files of all datasets on this machine. The caller holds the lease on the catalogue.

    Each file is written and read back once: in a store on the same disk, the snapshot and the catalogue are further
    names of it; a bucket copies the snapshot itself. That is safe because no code writes into a file that has one of
    these names. Another file takes the name instead: `writing` and `Store.replace` rename, and an immutable address is
    never written twice.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment, self._state = deployment, deployment.ledger.catalogue
        self._root = deployment.settings.home / "staging"  # names below are those in stores
        self._stac, self._manifest = self._root / CATALOGUE_PARQUET, self._root / RECORDS_MANIFEST
        self._compared: set[str] = set()
        self._replaced: dict[str, tuple[Part, ...]] = {}  # by store, the parts of a catalogue that this ledger lost

    @property
    def stac(self) -> Path:
        """The path of the STAC file on this machine."""
        return self._stac

    @property
    def root(self) -> Path:
        """The folder on this machine below which the records have their addresses."""
        return self._root

    def parts(self) -> tuple[Part, ...]:
        """Return the parts of the records on this machine, none before the first rebuild or of a damaged manifest."""
        with storage_errors("read the catalogue"):
            content = self._manifest.read_bytes() if self._manifest.is_file() else b""
        return _parts(content)

    def remove_parts(self) -> None:
        """Remove what a killed process left, and the records of earlier rebuilds."""
        records = self._root / RECORD_PARTS
        for folder in (self._stac.parent, records):
            for dead in folder.glob(".*.part"):
                dead.unlink()
        (self._root / RECORDS_PARQUET).unlink(missing_ok=True)  # of an earlier form
        listed = {path_of(self._root, part) for part in self.parts()}
        for old in records.glob("*.parquet"):
            if old not in listed:
                old.unlink()

    @contextmanager
    def writing(self, *, complete: bool) -> Iterator[tuple[GrowingFile, GrowingParts]]:
        """Yield the STAC file and the records, which accept datasets; `complete`: from nothing, else from the last.

        Raises IntegrityError when a part that changes is damaged; then the next rebuild is complete.
        """
        existing = None if complete else ExistingFile(self._stac, STAC)
        try:
            with (
                writing(self._stac, STAC, existing) as stac,
                writing_parts(self._root, () if complete else self.parts()) as records,
            ):
                yield stac, records
        except IntegrityError:
            self._state.forget_form()
            raise

    def identity(self) -> str:
        """Return what identifies the files without a complete read; "" unless all of them are there.

        Time, inode and the sha256 of the footer of the STAC file: a new file is made of the row groups that the footer
        describes, and their bytes are verified after that. The sha256 of the manifest with times and inodes of the
        parts: a part that changes is verified before, by the sha256 in the manifest.
        """
        with storage_errors("read the catalogue"):
            found = [_identity(self._stac), self._identity_of_parts()]
        return " ".join(found) if all(found) else ""

    def _identity_of_parts(self) -> str:
        content = self._manifest.read_bytes() if self._manifest.is_file() else b""
        parts, digest = _parts(content), hashlib.sha256(content)
        if not parts:
            return ""
        for part in parts:
            path = path_of(self._root, part)
            if not path.is_file() or (facts := path.stat()).st_size != part.size:
                return ""
            digest.update(f" {facts.st_mtime_ns}-{facts.st_ino}".encode())
        return digest.hexdigest()

    def are_known(self, *, changing: bool = False) -> bool:
        """Return whether every reachable store holds the files last put there; forget the documents of the others.

        Parts that a store lacks are forgotten alone, so that `put` puts them again. `changing`: releases changed, so
        that STAC file and manifest are put again. Then the STAC file is enough to recognise the catalogue of another
        home, and the parts are not listed.
        """
        lost: list[str] = []
        addresses = (CATALOGUE_PARQUET,) if changing else (CATALOGUE_PARQUET, RECORDS_MANIFEST)

        def compare(store: Store) -> None:
            if all(self._is_ours(store, address) for address in addresses):
                self._compared.add(store.name)
                if not changing:
                    forget_lost(self._deployment, store, RECORD_PARTS)
                return
            self._state.forget_documents(store.name)
            lost.append(store.name)

        self._deployment.spreading.everywhere(compare)
        return not lost

    def keep(self, *, empty: bool = False) -> Kept:
        """Read and verify the STAC file once, and keep it as a snapshot; each part was verified when it was written.

        There is no snapshot of an `empty` catalogue. Raises IntegrityError when the file is damaged; then the next
        rebuild is complete.
        """
        groups, sha256 = GroupVerifier(self._stac), hashlib.sha256()
        md5 = hashlib.md5(usedforsecurity=False)  # by which a bucket's copy of the snapshot is verified
        pieces = piece_hasher(self._stac, hybrid=self._deployment.settings.hybrid_torrents)
        with storage_errors("read the catalogue"):
            with self._stac.open("rb", buffering=0) as stream:
                size = feed(stream, groups, sha256, md5, pieces)
            manifest = self._manifest.read_bytes()
        try:
            groups.require_intact()
        except IntegrityError:
            self._state.forget_form()
            raise
        stac = Digests(size, md5.hexdigest(), sha256.hexdigest())
        published_at, snapshot = None if empty else self._state.last_published_at(), None
        if published_at is not None:
            snapshot = keep_snapshot(self._deployment, self._stac, published_at, stac, pieces.finish())
        records = Digests(len(manifest), "", hashlib.sha256(manifest).hexdigest())
        digests = {CATALOGUE_PARQUET: stac, RECORDS_MANIFEST: records}
        return Kept(digests, parts_of(manifest), snapshot, superseded(self._deployment))

    def put(self, store: Store, kept: Kept, *, complete: bool) -> None:
        """Put the files into a store and record their ETags.

        `complete`: the store may hold the catalogue of another home. Raises as `refuse_unknown_releases`.
        """
        if complete or store.name not in self._compared:
            refuse_unknown_releases(self._deployment, [store])
        if complete:
            with suppress(UnknownNameError):
                self._replaced[store.name] = _parts(store.read_bytes(RECORDS_MANIFEST))
        # The records first: a reader who finds a release finds its record. The parts before the manifest lists them.
        held = self._state.documents(store.name, [part.address for part in kept.parts])
        for part in kept.parts:
            if held.get(part.address) != part.sha256:
                self._put(store, part.address, part.digests, path_of(self._root, part))
        snapshot = kept.snapshot
        for address in (RECORDS_MANIFEST, CATALOGUE_PARQUET):
            digests, path = kept.digests[address], self._root / address
            if self._state.documents(store.name, [address]).get(address) != digests.sha256:
                # By the snapshot's name, which this store has also where staging lies on another disk.
                shared = snapshot.address if address == CATALOGUE_PARQUET and snapshot is not None else path
                self._put(store, address, digests, path, shared)

    def remove_superseded(self, kept: Kept, *, complete: bool, deferring: bool = False) -> None:
        """Delete earlier parts and snapshots from every reachable store, in one request.

        They are those that this ledger put there; if `complete`, also those that the replaced manifest listed, of a
        ledger that was lost. `deferring`: the next rebuild deletes them, unless many wait. An unreachable mirror keeps
        its own until later.
        """
        spreading = self._deployment.spreading
        if deferring and len(kept.superseded) < _MOST_DEFERRED:
            return
        spreading.everywhere(lambda store: self._remove(store, kept, complete=complete))
        if not spreading.missed:
            for old in kept.superseded:
                self._deployment.ledger.torrents.forget_snapshot(old)

    def _put(self, store: Store, address: str, digests: Digests, path: Path, shared: str | Path | None = None) -> None:
        placements = self._deployment.ledger.placements
        # Recorded first: a part that a killed rebuild put is found, and removed, by the next one.
        placements.intend(store.name, address, sha256=digests.sha256, size=digests.size)
        stored = store.share(shared or path, address, digests)
        etag = stored.etag if stored is not None else self._uploaded(store, address, path, digests)
        if etag is None and (facts := store.facts(address)) is not None:
            etag = facts.etag
        placements.settle(store.name, address, sha256=digests.sha256, etag=etag)
        self._state.remember(store.name, {address: digests.sha256}, {address: etag})

    def _uploaded(self, store: Store, address: str, path: Path, digests: Digests) -> str | None:
        """Put a file into a store that can't share it, and return the store's tag of it, if it states one."""
        if digests.size > _SMALL:
            return store.replace(path, address).etag
        with storage_errors("read the catalogue"):
            content = path.read_bytes()
        return store.replace_many({address: content}, self._state.tags(store.name, [address])).get(address)

    def _remove(self, store: Store, kept: Kept, *, complete: bool) -> None:
        placements = self._deployment.ledger.placements
        old = self._state.documents_under(store.name, RECORD_PARTS)
        if complete:  # also what a killed rebuild put, and the one file of an earlier form
            old |= {placement.address for placement in placements.below(store.name, f"{RECORD_PARTS}/")}
            old |= {part.address for part in self._replaced.get(store.name, ())}
            if self._is_ours(store, RECORDS_PARQUET):
                old.add(RECORDS_PARQUET)
        old -= {part.address for part in kept.parts}
        snapshots = [address for each in kept.superseded for address in (each.torrent.address, each.address)]
        # No part counts as held before it is deleted, and each is known until then: a kill between leaves no orphan,
        # and no mark by which a part that comes back would not be put.
        if old:
            self._state.intend_removal(store.name, old)
        if old or snapshots:
            store.delete(*snapshots, *sorted(old))
        for address in old:
            placements.forget(store.name, address)
        if old:
            self._state.forget_addresses(store.name, old)

    def _is_ours(self, store: Store, address: str) -> bool:
        """Return whether a store has at an address what this ledger recorded to have put there."""
        ours = self._deployment.ledger.placements.at(store.name, address)
        facts = store.facts(address) if ours else None
        return facts is not None and any((each.etag, each.size) == (facts.etag, facts.size) for each in ours)


def lost_files(deployment: Deployment, store: Store, folder: str = "catalogue") -> dict[str, str]:
    """Return the files of the catalogue in a folder that a store lost, by address, with what was found instead.

    From one listing. The sizes of STAC file, manifest and parts are compared; the ledger has none of documents. Raises
    StorageError and TransientError as the store does.
    """
    state, placements = deployment.ledger.catalogue, deployment.ledger.placements
    # Read before the listing and again after it: a rebuild meanwhile records what it puts afterwards, and what it
    # removes before.
    unseen, lost = state.documents_under(store.name, folder), dict[str, str]()
    for address, size in store.sizes(f"{folder}/"):
        if address not in unseen:
            continue
        unseen.remove(address)
        if address in (CATALOGUE_PARQUET, RECORDS_MANIFEST) or address.startswith(f"{RECORD_PARTS}/"):
            sizes = {each.size for each in placements.at(store.name, address)}
            if sizes and size not in sizes:
                lost[address] = f"{size} bytes instead of {max(sizes)}"
    lost |= dict.fromkeys(unseen, "nothing is there")
    still = state.documents(store.name, lost)
    return {address: found for address, found in sorted(lost.items()) if still.get(address)}


def forget_lost(deployment: Deployment, store: Store, folder: str = "catalogue") -> None:
    """Forget the files of the catalogue in a folder that a store lost, so that the next rebuild puts them there."""
    state, lost = deployment.ledger.catalogue, lost_files(deployment, store, folder)
    if not all(address.startswith(f"{RECORD_PARTS}/") for address in lost):
        state.forget_form()  # before the marks: after a kill, too, the next rebuild computes every document
    if lost:
        state.forget_addresses(store.name, lost)


def _parts(manifest: bytes) -> tuple[Part, ...]:
    """Return the parts of a manifest, none of a damaged one; without any on this machine, the rebuild is complete."""
    try:
        return parts_of(manifest)
    except DataError:
        return ()


def _identity(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        facts = os.fstat(file.fileno())
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        if length + 8 > facts.st_size:
            return ""
        file.seek(-8 - length, os.SEEK_END)
        return f"{facts.st_mtime_ns}-{facts.st_ino}-{hashlib.file_digest(file, 'sha256').hexdigest()}"
