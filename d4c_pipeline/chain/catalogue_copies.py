"""The file of all datasets on this machine and in the stores: its identity, its verification, its copies.

Row groups belong to `catalogue.stac_geoparquet`, the torrent of a snapshot to `snapshot`, documents to
`catalogue_documents`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from d4c_pipeline.catalogue.stac_geoparquet import GroupVerifier
from d4c_pipeline.chain.snapshot import keep_snapshot
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import Digests, feed
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.release import Snapshot
from d4c_pipeline.stores.port import Store
from d4c_pipeline.torrents.pieces import piece_hasher
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.other_homes import refuse_unknown_releases


class CatalogueCopies:
    """The copies of `parquet`, the file of all datasets on this machine. The caller holds the lease on the catalogue.

    One file is written and read back once: in a store on the same disk, the snapshot and the catalogue are further
    names of it. That is safe because no code writes into a file that has one of these names. Another file takes the
    name instead: `writing` and `Store.replace` rename, and an immutable address is never written twice.
    """

    def __init__(self, deployment: Deployment, parquet: Path) -> None:
        self._deployment, self._parquet = deployment, parquet
        self._state = deployment.ledger.catalogue
        self._compared: set[str] = set()

    def identity(self) -> str:
        """Return time, inode and sha256 of the footer, which identify the file without a complete read; "" without one.

        A new file is made of the row groups that the footer describes; their bytes are verified after that.
        """
        with storage_errors("read the catalogue"):
            if not self._parquet.exists():
                return ""
            with self._parquet.open("rb") as file:
                facts = os.fstat(file.fileno())
                file.seek(-8, os.SEEK_END)
                length = int.from_bytes(file.read(4), "little")
                if length + 8 > facts.st_size:
                    return ""
                file.seek(-8 - length, os.SEEK_END)
                return f"{facts.st_mtime_ns}-{facts.st_ino}-{hashlib.file_digest(file, 'sha256').hexdigest()}"

    def are_known(self) -> bool:
        """Return whether every reachable store holds the file last put there; forget the documents of the others."""
        lost: list[str] = []

        def compare(store: Store) -> None:
            facts = store.facts(CATALOGUE_PARQUET)
            ours = self._deployment.ledger.placements.at(store.name, CATALOGUE_PARQUET)
            if facts is not None and any((each.etag, each.size) == (facts.etag, facts.size) for each in ours):
                self._compared.add(store.name)
                return
            self._state.forget_documents(store.name)
            lost.append(store.name)

        self._deployment.spreading.everywhere(compare)
        return not lost

    def keep(self, *, empty: bool = False) -> tuple[Digests, Snapshot | None]:
        """Read and verify the file once, and keep it as a snapshot; return its digests and the snapshot.

        There is no snapshot of an `empty` catalogue. Raises IntegrityError when the file is damaged; then the next
        rebuild is complete.
        """
        groups, sha256 = GroupVerifier(self._parquet), hashlib.sha256()
        pieces = piece_hasher(self._parquet, hybrid=self._deployment.settings.hybrid_torrents)
        with storage_errors("read the catalogue"), self._parquet.open("rb", buffering=0) as stream:
            size = feed(stream, groups, sha256, pieces)
        try:
            groups.require_intact()
        except IntegrityError:
            self._state.forget_form()
            raise
        digests = Digests(size, "", sha256.hexdigest())
        published_at = None if empty else self._state.last_published_at()
        if published_at is None:
            return digests, None
        return digests, keep_snapshot(self._deployment, self._parquet, published_at, digests, pieces.finish())

    def put(self, store: Store, digests: Digests, snapshot: Snapshot | None, *, complete: bool) -> None:
        """Put the file into a store and record its ETag. Raises as `refuse_unknown_releases`.

        `complete`: the store may hold the catalogue of another home.
        """
        if self._state.documents(store.name, [CATALOGUE_PARQUET]).get(CATALOGUE_PARQUET) == digests.sha256:
            return
        if complete or store.name not in self._compared:
            refuse_unknown_releases(self._deployment, [store])
        placements = self._deployment.ledger.placements
        stored = None if snapshot is None else store.share(snapshot.address, CATALOGUE_PARQUET, digests)
        stored = stored or store.replace(self._parquet, CATALOGUE_PARQUET)
        etag = stored.etag
        if etag is None and (facts := store.facts(CATALOGUE_PARQUET)) is not None:
            etag = facts.etag
        placements.intend(store.name, CATALOGUE_PARQUET, sha256=stored.sha256, size=stored.size)
        placements.settle(store.name, CATALOGUE_PARQUET, sha256=stored.sha256, etag=etag)
        self._state.remember(store.name, {CATALOGUE_PARQUET: stored.sha256})
