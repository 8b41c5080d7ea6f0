"""Putting files at addresses where something may lie: only what this home recorded to have put there ever gives way.

After a restored backup, or with two homes on one store, an address holds bytes of a publication that this ledger knows
nothing of. Equal bytes are adopted; any others stop for a person, whatever the ledger says of the release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from d4c_pipeline.files.hashing import Digests, sha256_of
from d4c_pipeline.model.addresses import is_hidden
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.release import Release, ReleaseState
from d4c_pipeline.stores.measure import measure
from d4c_pipeline.stores.port import Store, Stored, is_immutable
from d4c_pipeline.workspace.deployment import Deployment


class ForeignBytesError(IntegrityError):
    """An address of a store holds bytes that this home did not put there."""


def put_release_file(
    deployment: Deployment, store: Store, release: Release, path: Path, address: str, digests: Digests
) -> None:
    """Put a file of a release at an address of its own, where an earlier attempt of an unpublished plan gives way.

    Raises ForeignBytesError when other bytes lie there that no such plan of this ledger put, IntegrityError when the
    release is published and other bytes lie there.
    """
    placements = deployment.ledger.placements
    if release.state is not ReleaseState.PLANNED:
        store.put_immutable(path, address, digests)
        return
    make_way(deployment, store, release, address)
    placements.intend(store.name, address, sha256=digests.sha256, size=digests.size, release=release)
    try:
        stored = store.put_immutable(path, address, digests)
    except IntegrityError as error:
        if store.stat(address) is None:  # the staged file is not the one that was hashed
            raise
        placements.forget(store.name, address)
        raise foreign_bytes(store, address, release.dataset) from error
    # Another process put these very bytes meanwhile: they are not ours to take away. A hidden address is ours alone.
    if not stored.changed and not is_hidden(address):
        placements.forget(store.name, address)


def move_release_file(
    deployment: Deployment, store: Store, release: Release, source: str, address: str, digests: Digests
) -> bool:
    """Move a file of a release from its hidden address to the immutable one; say whether it lies there now.

    False where the hidden one does not hold these bytes; it is taken away then. Raises as `put_release_file`.
    """
    placements = deployment.ledger.placements
    planned = release.state is ReleaseState.PLANNED
    if planned:
        make_way(deployment, store, release, address)
        placements.intend(store.name, address, sha256=digests.sha256, size=digests.size, release=release)
    try:
        moved = store.move(source, address, digests)
    except IntegrityError as error:
        if not planned or store.stat(address) is None:
            raise
        placements.forget(store.name, address)
        raise foreign_bytes(store, address, release.dataset) from error
    if not moved:
        store.delete(source)
    placements.forget(store.name, source)
    return moved


def make_way(deployment: Deployment, store: Store, release: Release, address: str) -> None:
    """See that nothing lies at an address of a planned release, if need be by deleting what its plans put there.

    Raises ForeignBytesError when other bytes lie there.
    """
    if store.stat(address) is None:
        return
    if is_hidden(address):
        store.delete(address)
    elif not remove_unpublished(deployment, store, address):
        raise foreign_bytes(store, address, release.dataset)


def remove_hidden(deployment: Deployment, store: Store, release: Release) -> None:
    """Delete what a release has at hidden addresses of a store, by what the ledger notes; the rest stays.

    Nobody else knows its token, so it need not be read before.
    """
    for placed in deployment.ledger.placements.of(release):
        if placed.store == store.name and is_hidden(placed.address):
            store.delete(placed.address)
            deployment.ledger.placements.forget(store.name, placed.address)


def remove_unpublished(deployment: Deployment, store: Store, address: str) -> bool:
    """Delete what lies at an address if an unpublished plan of this ledger put it; say whether nothing lies there now.

    It is read before: bytes that only the address has in common with ours stay.
    """
    placements = deployment.ledger.placements
    found = store.facts(address)
    if found is not None:
        ours = [one for one in placements.at(store.name, address) if one.unpublished]
        if not any(one.size == found.size and store.verify(address, one.size, one.sha256) for one in ours):
            return False
        store.delete(address)
    placements.forget(store.name, address)
    return True


def replace_ours(
    deployment: Deployment,
    store: Store,
    source: Path | bytes,
    address: str,
    *,
    release: Release,
    known: Callable[[str], bool],
    published: Callable[[str], bool],
    guard: Callable[[], object] | None = None,
) -> Stored:
    """Put a file or bytes at a mutable address, over what this home put there before.

    `known`: whether bytes of that sha256, found at the address and put before placements were recorded, are ours;
    `published`: whether they are a publication of somebody else. What is neither is damage, and is moved aside. Raises
    ForeignBytesError for somebody else's publication.
    """
    placements = deployment.ledger.placements
    wanted, size = _digest(source)
    make_room(
        deployment, store, address, release.dataset, known=lambda one: one == wanted or known(one), published=published
    )
    placements.intend(store.name, address, sha256=wanted, size=size, release=release)
    stored = store.replace(source, address, guard=guard)
    facts = store.facts(address)
    placements.settle(store.name, address, sha256=wanted, etag=None if facts is None else facts.etag)
    return stored


def delete_ours(
    deployment: Deployment,
    store: Store,
    address: str,
    dataset: str,
    *,
    known: Callable[[str], bool],
    published: Callable[[str], bool],
) -> None:
    """Delete what this home put at a mutable address, if anything lies there. Raises as `replace_ours`."""
    make_room(deployment, store, address, dataset, known=known, published=published)
    store.delete(address)
    deployment.ledger.placements.forget(store.name, address)


def make_room(
    deployment: Deployment,
    store: Store,
    address: str,
    dataset: str,
    *,
    known: Callable[[str], bool],
    published: Callable[[str], bool],
) -> None:
    """See that nothing but bytes of this home lies at a mutable address.

    The store's tag and what it was told of the bytes decide first; only otherwise is the file read.
    """
    facts = store.facts(address)
    if facts is None:
        return
    ours = deployment.ledger.placements.at(store.name, address)
    if any(one.etag is not None and (one.etag, one.size) == (facts.etag, facts.size) for one in ours):
        return

    def is_ours(sha256: str | None) -> bool:
        return sha256 is not None and (sha256 in {one.sha256 for one in ours} or known(sha256))

    if is_ours(facts.sha256):
        return
    found = measure(store, address)
    if found is None or is_ours(found.sha256):
        return
    if found.sha256 is not None and published(found.sha256):
        raise foreign_bytes(store, address, dataset)
    store.quarantine(address, (found.sha256 or "unreadable")[:16])


def foreign_bytes(store: Store, address: str, dataset: str) -> ForeignBytesError:
    """Return the error of an address that holds what this home did not put there."""
    kind = "immutable address" if is_immutable(address) else "address"
    return ForeignBytesError(
        f"Store {store.name} holds other bytes at the {kind} {address}, which this home did not put there",
        f"If the ledger is new or was restored from a backup, run 'd4c archive adopt {dataset}', which takes over what "
        "the archive has published. If another home publishes into this store, publish there, or name another store "
        "(D4C_STORES, D4C_HOME). If nobody published these bytes, move that file away in the store. Then run again",
    )


def _digest(source: Path | bytes) -> tuple[str, int]:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest(), len(source)
    return sha256_of(source), source.stat().st_size
