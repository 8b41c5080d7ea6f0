"""Finds files in stores that the ledger does not know: left by killed processes, by other homes, or put by hand.

Nothing is deleted: `set_aside` moves such a file to the quarantine of its store, from which a person can take it back.
Missing and damaged files belong to `fixity`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from d4c_pipeline.chain.adoption import unadopted
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.model.addresses import HIDDEN, is_hidden, torrent_address, withdrawn_address
from d4c_pipeline.model.errors import BusyError, PermanentError, UnknownNameError
from d4c_pipeline.model.fixity import ExpectedCopy
from d4c_pipeline.stores.port import Store
from d4c_pipeline.torrents.torrent_files import info_hash_of
from d4c_pipeline.upkeep.fixity import expected_copies
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.other_homes import refuse_unknown_releases

NATIVE = "raw/"
"""The prefix of native files. A release that was adopted from the archive leaves its native files unknown."""
FROM_ARCHIVE = "d4c catalogue rebuild --from-archive"
PREFIXES = (NATIVE, "releases/", "snapshots/", "torrents/", "processed/", HIDDEN)
"""The parts of a store whose files the ledger knows one by one. The catalogue's documents follow from the catalogue."""
_BY_VINTAGE = (NATIVE, "releases/")  # <prefix><dataset>/<vintage>/...
_BY_CATALOGUE = ("snapshots/", "torrents/catalogue-")
"""Where a rebuild of the catalogue puts a snapshot, which it records only then: its digest decides its address."""


@dataclass(frozen=True)
class HeldTorrents:
    """The torrents of published releases in the primary store, when the ledger was read.

    `info_hashes`: address -> v1 info hash (hexadecimal), None for bytes that are no torrent. `missing`: addresses
    without a file.
    """

    info_hashes: Mapping[str, str | None]
    missing: frozenset[str]


def held_torrents(deployment: Deployment, among: Collection[str] | None = None) -> HeldTorrents:
    """Read the torrents of all published releases in the primary store, or only those at the addresses `among`.

    Raises StorageError and TransientError as the store does.
    """
    hashes: dict[str, str | None] = {}
    missing: set[str] = set()
    for release in deployment.ledger.releases.published():
        for torrent in deployment.ledger.publications.torrents(release).values():
            if among is None or torrent.address in among:
                try:
                    hashes[torrent.address] = info_hash_of(deployment.primary.read_bytes(torrent.address))
                except UnknownNameError:
                    missing.add(torrent.address)
    return HeldTorrents(hashes, frozenset(missing))


def extra_files(
    deployment: Deployment, store: Store, *, torrents: HeldTorrents | None = None, held: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the addresses of the files in a store that the ledger does not know, sorted.

    A torrent of other data at the address of one of ours is among them, in the primary store: no step overwrites it.
    The store is listed before the ledger is read, because a step records an address before it puts the file there.
    Files that a process works on are left out: of a vintage, or the snapshots during a rebuild of the catalogue.
    `torrents`: those of the primary store, if they were read already. `held`: the keys of the leases that the caller
    holds. Raises StorageError and TransientError as the store does.
    """
    there = [address for prefix in PREFIXES for address in store.addresses(prefix)]
    extra = set(there) - known_addresses(deployment, store)
    keys = {key for key in map(_lease_key, extra) if key is not None and key not in held}
    busy = {key for key in keys if _is_busy(deployment, key)}
    extra = {address for address in extra if _lease_key(address) not in busy}
    # A process that ended meanwhile has recorded what it put there.
    extra = extra - known_addresses(deployment, store) if extra else extra
    if store is deployment.primary:
        extra |= set(_other_torrents(deployment, torrents or held_torrents(deployment)))
    return tuple(sorted(extra))


def known_addresses(deployment: Deployment, store: Store) -> set[str]:
    """Return every address of a store at which the ledger has, or had a plan for, a file."""
    ledger = deployment.ledger
    known = {each.address for each in ledger.placements.below(store.name, "")}
    known |= _stored(expected_copies(deployment), store.name)
    published = {release.id for release in ledger.releases.published()}
    for release in ledger.releases.living():
        known |= {torrent_address(file.name) for file in release.data_files}
        if release.id not in published:
            known |= {copy.address for copy in ledger.copies.of(release) if copy.store == store.name}
    latest = set(ledger.publications.latest())
    known |= latest | {withdrawn_address(address) for address in latest}
    snapshots = ledger.torrents.snapshots()
    return known | {each for snapshot in snapshots for each in (snapshot.address, snapshot.torrent.address)}


def set_aside(deployment: Deployment, store: Store) -> tuple[str, ...]:
    """Move the extra files of a store to its quarantine and return their paths there. Native files stay.

    The leases on what the files belong to are held meanwhile, and the store is listed again under them; what another
    process works on stays. Raises PermanentError while the archive, and ForeignBytesError while the store's catalogue,
    has releases that the ledger lacks: their files would be moved.
    """
    for listed in unadopted(deployment):
        raise PermanentError(
            f"The archive has {listed.doi}, which the ledger lacks, so its files in the stores look unknown",
            f"Run '{FROM_ARCHIVE}' first",
        )
    # The archive of this home says nothing about a home with another archive.
    refuse_unknown_releases(deployment, [store])
    found = {each for each in extra_files(deployment, store) if not each.startswith(NATIVE)}
    leases: dict[str, Lease] = {}
    with ExitStack() as stack:
        for key in sorted({key for key in map(_lease_key, found) if key is not None}):
            with suppress(BusyError):
                leases[key] = stack.enter_context(deployment.ledger.leases.hold(key, wait=0))
        torrents = held_torrents(deployment, among=found)
        still = found & set(extra_files(deployment, store, torrents=torrents, held=leases.keys()))
        return tuple(_moved(store, still, leases))


def _other_torrents(deployment: Deployment, torrents: HeldTorrents) -> Iterator[str]:
    for release in deployment.ledger.releases.published():
        for torrent in deployment.ledger.publications.torrents(release).values():
            found = torrents.info_hashes.get(torrent.address)
            if found is not None and found != torrent.info_hash and not is_hidden(torrent.address):
                yield torrent.address


def _moved(store: Store, addresses: Collection[str], leases: Mapping[str, Lease]) -> Iterator[str]:
    for address in sorted(addresses):
        key = _lease_key(address)
        if key is not None and key not in leases:
            continue  # a process took it between the listings, and may have ended since
        facts = store.facts(address)
        if facts is not None:
            if key is not None:
                leases[key].renew()
            # The tag tells contents apart: a file that comes back later is kept beside the first one.
            tag = f"extra{hashlib.sha256(f'{facts.etag}{facts.size}'.encode()).hexdigest()[:12]}"
            path = store.quarantine(address, tag)
            if path is not None:
                yield path


def _stored(copies: Collection[ExpectedCopy], store: str) -> set[str]:
    return {copy.address for copy in copies if copy.kind.is_stored and copy.place == store}


def _lease_key(address: str) -> str | None:
    """Return the key of the lease under which a file is put at an address, None where it is recorded before."""
    if address.startswith(_BY_CATALOGUE):
        return lease_keys.CATALOGUE
    prefix, _, rest = address.partition("/")
    parts = rest.split("/")
    return lease_keys.of_vintage(parts[0], parts[1]) if f"{prefix}/" in _BY_VINTAGE and len(parts) > 2 else None


def _is_busy(deployment: Deployment, key: str) -> bool:
    try:
        with deployment.ledger.leases.hold(key, wait=0):
            return False
    except BusyError:
        return True
