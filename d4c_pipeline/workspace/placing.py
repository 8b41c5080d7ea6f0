"""Puts files at addresses that may be occupied: only recorded bytes of this home are replaced.

After a restored backup, or with two homes on one store, an address can hold bytes of a publication that this ledger
does not know. Equal bytes are adopted; other bytes stop the step until a person decides, whatever the ledger states of
the release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from d4c_pipeline.files.hashing import Digests, sha256_of
from d4c_pipeline.model.addresses import is_hidden
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.release import LivingRelease, PlannedRelease
from d4c_pipeline.stores.measure import measure
from d4c_pipeline.stores.port import Store, Stored, is_immutable
from d4c_pipeline.workspace.deployment import Deployment


class ForeignBytesError(IntegrityError):
    """An address of a store holds bytes that this home did not put there."""


def put_release_file(
    deployment: Deployment, store: Store, release: LivingRelease, path: Path, address: str, digests: Digests
) -> None:
    """Put a file of a release at its address; bytes of an earlier attempt of an unpublished plan are replaced.

    Raises ForeignBytesError when the address holds other bytes that no such plan put there, IntegrityError when the
    release is published and the address holds other bytes.
    """
    placements = deployment.ledger.placements
    if not isinstance(release, PlannedRelease):
        store.put_immutable(path, address, digests)
        return
    make_way(deployment, store, release, address)
    placements.intend(store.name, address, sha256=digests.sha256, size=digests.size, release=release)
    try:
        stored = store.put_immutable(path, address, digests)
    except IntegrityError as error:
        if store.stat(address) is None:  # the staged file changed after it was hashed
            raise
        placements.forget(store.name, address)
        raise foreign_bytes(store, address, release.dataset) from error
    # Another process put the same bytes meanwhile, so they must stay. A hidden address belongs only to this plan.
    if not stored.changed and not is_hidden(address):
        placements.forget(store.name, address)


def move_release_file(
    deployment: Deployment, store: Store, release: LivingRelease, source: str, address: str, digests: Digests
) -> bool:
    """Move a file of a release from its hidden to its immutable address; return whether the file is there now.

    False where the hidden file has other bytes; it is deleted then. Raises as `put_release_file`.
    """
    placements = deployment.ledger.placements
    planned = isinstance(release, PlannedRelease)
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


def make_way(deployment: Deployment, store: Store, release: PlannedRelease, address: str) -> None:
    """Free an address of a planned release by deleting the file that a plan of this release put there.

    Raises ForeignBytesError when the address holds other bytes.
    """
    if store.stat(address) is None:
        return
    if is_hidden(address):
        store.delete(address)
    elif not remove_unpublished(deployment, store, address):
        raise foreign_bytes(store, address, release.dataset)


def remove_hidden(deployment: Deployment, store: Store, release: PlannedRelease) -> None:
    """Delete the recorded hidden files of a release from a store.

    No other home knows the token in their addresses, so their bytes are not read first.
    """
    for placed in deployment.ledger.placements.of(release):
        if placed.store == store.name and is_hidden(placed.address):
            store.delete(placed.address)
            deployment.ledger.placements.forget(store.name, placed.address)


def remove_unpublished(deployment: Deployment, store: Store, address: str) -> bool:
    """Delete the file at an address if an unpublished plan of this ledger put it; return whether the address is free.

    The file is read first: bytes that differ from the recorded bytes stay.
    """
    placements = deployment.ledger.placements
    found = store.facts(address)
    if found is not None:
        ours = [each for each in placements.at(store.name, address) if each.unpublished]
        if not any(each.size == found.size and store.verify(address, each.size, each.sha256) for each in ours):
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
    release: LivingRelease,
    known: Callable[[str], bool],
    published: Callable[[str], bool],
    guard: Callable[[], object] | None = None,
) -> Stored:
    """Put a file or bytes at a mutable address, replacing what this home put there.

    `known` returns whether bytes with a sha256, put before placements were recorded, are ours; `published` returns
    whether another home published them. All other bytes are damaged and are moved aside. Raises ForeignBytesError for
    another home's publication.
    """
    placements = deployment.ledger.placements
    wanted, size = _digest(source)
    make_room(
        deployment,
        store,
        address,
        release.dataset,
        known=lambda each: each == wanted or known(each),
        published=published,
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
    """Delete the file that this home put at a mutable address, if there is one. Raises as `replace_ours`."""
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
    """Ensure that a mutable address holds only bytes of this home.

    The recorded ETag and checksum decide if available; otherwise the file is read.
    """
    facts = store.facts(address)
    if facts is None:
        return
    ours = deployment.ledger.placements.at(store.name, address)
    if any(each.etag is not None and (each.etag, each.size) == (facts.etag, facts.size) for each in ours):
        return

    def is_ours(sha256: str | None) -> bool:
        return sha256 is not None and (sha256 in {each.sha256 for each in ours} or known(sha256))

    if is_ours(facts.sha256):
        return
    found = measure(store, address)
    if found is None or is_ours(found.sha256):
        return
    if found.sha256 is not None and published(found.sha256):
        raise foreign_bytes(store, address, dataset)
    store.quarantine(address, (found.sha256 or "unreadable")[:16])


def foreign_bytes(store: Store, address: str, dataset: str) -> ForeignBytesError:
    """Return the error for an address with bytes that this home did not put there."""
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
