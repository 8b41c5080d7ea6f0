"""Snapshots: the catalogue as a torrent, so that readers can get it after the site is gone.

A snapshot has a content address, because a torrent's bytes can't change; the newest few are kept.
`torrents.dht_pointer` publishes the newest snapshot.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath

from d4c_pipeline.catalogue.query import is_address, located
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import Digests
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, snapshot_address, torrent_address
from d4c_pipeline.model.errors import UnknownNameError
from d4c_pipeline.model.release import Snapshot, Torrent
from d4c_pipeline.services.embedded import answering
from d4c_pipeline.stores.port import Store
from d4c_pipeline.torrents.pieces import Pieces
from d4c_pipeline.torrents.torrent_files import TorrentFile, torrent_of
from d4c_pipeline.torrents.web_seeds import try_web_seed
from d4c_pipeline.workspace.deployment import Deployment

# A client that fetches an earlier snapshot, or got its info hash from the DHT, must still find that snapshot.
_KEPT = 5
CURRENT, PREVIOUS = "current", "previous"
_DIGITS = 6  # of a digest that names a snapshot


def keep_snapshot(
    deployment: Deployment, parquet: Path, published_at: datetime, digests: Digests, pieces: Pieces
) -> Snapshot:
    """Put the catalogue at `parquet` and its torrent into every store and return the snapshot.

    `published_at`: when the newest release was published. `digests`, `pieces`: those of the file, as read from the
    disk; nobody writes into it any more. The caller holds the lease on the catalogue, and deletes the `superseded`
    snapshots. An unchanged catalogue changes nothing.
    """
    address = snapshot_address(digests.sha256)
    name = PurePosixPath(address).name
    reached: list[Store] = []

    def put(store: Store) -> None:
        store.put_immutable(parquet, address, digests, frozen=True)
        reached.append(store)

    deployment.spreading.everywhere(put)
    urls = [store.url(address) for store in reached]
    where = torrent_address(name)
    made = _made(deployment, pieces, name, urls, created=published_at)
    known = deployment.ledger.torrents.snapshots()
    if known and known[0].torrent.magnet == made.magnet and all(store.stat(where) for store in reached):
        return known[0]
    with answering(deployment) as silent:
        own = deployment.settings.embedded_url if silent is not None else None
        seeds = [url for url in urls if not (own and url.startswith(own)) and try_web_seed(url, pieces).ok]
    made = _made(deployment, pieces, name, seeds, created=published_at)
    deployment.spreading.everywhere(lambda store: store.replace_many({where: made.data}, {}))
    torrent = Torrent(made.info_hash, made.info_hash_v2, made.magnet, made.piece_size, tuple(seeds), where)
    ledger = deployment.ledger.torrents
    ledger.record_snapshot(sha256=digests.sha256, size=digests.size, address=address, torrent=torrent)
    return ledger.snapshots()[0]


def superseded(deployment: Deployment) -> tuple[Snapshot, ...]:
    """Return the snapshots in the ledger after the newest few, whose files can be deleted."""
    return deployment.ledger.torrents.snapshots()[_KEPT:]


def catalogue_file(deployment: Deployment, name: str, folder: Path) -> str:
    """Return the path or address of the file of a catalogue or snapshot; a file of a bucket is copied to `folder`.

    `name`: `current` (the catalogue of the primary store), `previous` (the snapshot before the newest), the first
    digits of a snapshot's sha256, as in its file name, or a path or address. Raises UnknownNameError that lists the
    snapshots.
    """
    known = deployment.ledger.torrents.snapshots()
    if name == CURRENT:
        return str(_local(deployment, CATALOGUE_PARQUET, folder))
    if name == PREVIOUS and len(known) > 1:
        return str(_local(deployment, known[1].address, folder))
    if is_address(name) or Path(name).expanduser().exists():
        return located(name)
    found = [each for each in known if len(name) >= _DIGITS and each.sha256.startswith(name.lower())]
    if len(found) == 1:
        return str(_local(deployment, found[0].address, folder))
    listed = ", ".join(f"{each.sha256[:12]} ({each.made_at:%Y-%m-%d %H:%M})" for each in known)
    raise UnknownNameError(
        f"'{name}' names no catalogue and no snapshot" + (f"; snapshots are {listed}" if listed else ""),
        f"Write {CURRENT}, {PREVIOUS}, a snapshot, a path or an address",
    )


def _local(deployment: Deployment, address: str, folder: Path) -> Path:
    """Return the path of a file of the primary store, copied to `folder` where the store is no local folder."""
    path = deployment.primary.local_path(address)
    if path is not None:
        return path
    copy = folder / PurePosixPath(address).name
    try:
        source = deployment.primary.open(address)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"The primary store has no {address}", "Publish a release with 'd4c publish', which writes the catalogue"
        ) from error
    with source, storage_errors(f"copy {address}"), copy.open("wb") as target:
        shutil.copyfileobj(source, target)
    return copy


def _made(deployment: Deployment, pieces: Pieces, name: str, seeds: Sequence[str], *, created: datetime) -> TorrentFile:
    return torrent_of(
        pieces,
        name,
        web_seeds=seeds,
        trackers=deployment.settings.trackers,
        comment=f"Catalogue of {deployment.settings.publisher}",
        created=created,
    )
