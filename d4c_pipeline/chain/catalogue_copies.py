"""The files of all datasets on this machine and in the stores: their identity, their verification, their copies.

Row groups belong to `catalogue.grouped_file`, the torrent of a snapshot to `snapshot`, documents to
`catalogue_documents`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from d4c_pipeline.catalogue.grouped_file import Form, GroupVerifier
from d4c_pipeline.catalogue.records_parquet import RECORDS
from d4c_pipeline.catalogue.stac_geoparquet import STAC
from d4c_pipeline.chain.snapshot import keep_snapshot
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import Digests, feed
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, RECORDS_PARQUET
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.release import Snapshot
from d4c_pipeline.stores.port import Store
from d4c_pipeline.torrents.pieces import piece_hasher
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.other_homes import refuse_unknown_releases

_SMALL = 16 << 20
"""The bytes of a file that is put like a document: in one request, from memory."""


@dataclass(frozen=True)
class Kept:
    """The verified files: the digests of each by its address, and the snapshot of the STAC file, if any."""

    digests: dict[str, Digests]
    snapshot: Snapshot | None


class CatalogueCopies:
    """The copies of the files of all datasets on this machine. The caller holds the lease on the catalogue.

    Each file is written and read back once: in a store on the same disk, the snapshot and the catalogue are further
    names of it; a bucket copies the snapshot itself. That is safe because no code writes into a file that has one of
    these names. Another file takes the name instead: `writing` and `Store.replace` rename, and an immutable address is
    never written twice.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment, self._state = deployment, deployment.ledger.catalogue
        folder = deployment.settings.home / "staging" / "catalogue"
        self._paths = {
            address: folder / PurePosixPath(address).name for address in (CATALOGUE_PARQUET, RECORDS_PARQUET)
        }
        self._compared: set[str] = set()

    @property
    def files(self) -> tuple[tuple[Path, Form], tuple[Path, Form]]:
        """The STAC file and the file of records on this machine, with their forms."""
        return (self._paths[CATALOGUE_PARQUET], STAC), (self._paths[RECORDS_PARQUET], RECORDS)

    def remove_parts(self) -> None:
        """Remove what a killed process left."""
        for dead in self._paths[CATALOGUE_PARQUET].parent.glob(".*.part"):
            dead.unlink()

    def identity(self) -> str:
        """Return time, inode and sha256 of the footers, which identify the files without a complete read; "" without.

        A new file is made of the row groups that the footer describes; their bytes are verified after that.
        """
        with storage_errors("read the catalogue"):
            found = [_identity(path) for path in self._paths.values()]
        return " ".join(found) if all(found) else ""

    def are_known(self, *, changing: bool = False) -> bool:
        """Return whether every reachable store holds the files last put there; forget the documents of the others.

        `changing`: releases changed, so that both files are put again. Then the STAC file is enough to recognise the
        catalogue of another home.
        """
        lost: list[str] = []
        addresses = (CATALOGUE_PARQUET,) if changing else tuple(self._paths)

        def is_ours(store: Store, address: str) -> bool:
            facts = store.facts(address)
            ours = self._deployment.ledger.placements.at(store.name, address)
            return facts is not None and any((each.etag, each.size) == (facts.etag, facts.size) for each in ours)

        def compare(store: Store) -> None:
            if all(is_ours(store, address) for address in addresses):
                self._compared.add(store.name)
                return
            self._state.forget_documents(store.name)
            lost.append(store.name)

        self._deployment.spreading.everywhere(compare)
        return not lost

    def keep(self, *, empty: bool = False) -> Kept:
        """Read and verify the files once, and keep the STAC file as a snapshot.

        There is no snapshot of an `empty` catalogue. Raises IntegrityError when a file is damaged; then the next
        rebuild is complete.
        """
        digests, snapshot = dict[str, Digests](), None
        for address, path in self._paths.items():
            groups, sha256 = GroupVerifier(path), hashlib.sha256()
            snapshotted = address == CATALOGUE_PARQUET
            pieces = piece_hasher(path, hybrid=self._deployment.settings.hybrid_torrents) if snapshotted else None
            # A bucket's copy of the snapshot is verified by its md5.
            md5 = hashlib.md5(usedforsecurity=False) if snapshotted else None
            others = [each for each in (pieces, md5) if each is not None]
            with storage_errors("read the catalogue"), path.open("rb", buffering=0) as stream:
                size = feed(stream, groups, sha256, *others)
            try:
                groups.require_intact()
            except IntegrityError:
                self._state.forget_form()
                raise
            digests[address] = Digests(size, "" if md5 is None else md5.hexdigest(), sha256.hexdigest())
            published_at = None if empty or pieces is None else self._state.last_published_at()
            if pieces is not None and published_at is not None:
                made = pieces.finish()
                snapshot = keep_snapshot(self._deployment, path, published_at, digests[address], made)
        return Kept(digests, snapshot)

    def put(self, store: Store, kept: Kept, *, complete: bool) -> None:
        """Put the files into a store and record their ETags. Raises as `refuse_unknown_releases`.

        `complete`: the store may hold the catalogue of another home.
        """
        if complete or store.name not in self._compared:
            refuse_unknown_releases(self._deployment, [store])
        # The records first: a reader who finds a release finds its record.
        for address in (RECORDS_PARQUET, CATALOGUE_PARQUET):
            self._put(store, address, kept)

    def _put(self, store: Store, address: str, kept: Kept) -> None:
        digests, snapshot = kept.digests[address], kept.snapshot
        if self._state.documents(store.name, [address]).get(address) == digests.sha256:
            return
        placements = self._deployment.ledger.placements
        # By the snapshot's name, which this store has also where staging lies on another disk.
        is_snapshot = address == CATALOGUE_PARQUET and snapshot is not None
        source = snapshot.address if is_snapshot and snapshot is not None else self._paths[address]
        shared = store.share(source, address, digests)
        etag = shared.etag if shared is not None else self._uploaded(store, address, digests)
        if etag is None and (facts := store.facts(address)) is not None:
            etag = facts.etag
        placements.intend(store.name, address, sha256=digests.sha256, size=digests.size)
        placements.settle(store.name, address, sha256=digests.sha256, etag=etag)
        self._state.remember(store.name, {address: digests.sha256}, {address: etag})

    def _uploaded(self, store: Store, address: str, digests: Digests) -> str | None:
        """Put a file into a store that can't share it, and return the store's tag of it, if it states one."""
        path = self._paths[address]
        if digests.size > _SMALL:
            return store.replace(path, address).etag
        with storage_errors("read the catalogue"):
            content = path.read_bytes()
        return store.replace_many({address: content}, self._state.tags(store.name, [address])).get(address)


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
