"""Relations of a record to other copies of its files: copies in stores, and torrents.

A record is permanent, so it names permanent addresses only: no loopback, no mirror that retention prunes. The spelling
of a relation belongs to `metadata` and `archives`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from d4c_pipeline.chain.copies import stores_holding
from d4c_pipeline.metadata.record import RelatedIdentifier
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.parts import MANIFEST_NAME
from d4c_pipeline.model.release import Release, Torrent
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.deployment import Deployment


def elsewhere(deployment: Deployment, dataset: Dataset, release: Release) -> tuple[RelatedIdentifier, ...]:
    """Return the relations of a record to the release's copies and torrents that exist, as `relations` does."""
    holding = stores_holding(deployment, release)
    torrents = deployment.ledger.publications.torrents(release)
    return relations(deployment, dataset, release, lambda name: holding.get(name, ()), torrents)


def relations(
    deployment: Deployment,
    dataset: Dataset,
    release: Release,
    holding: Callable[[str], Sequence[Store]],
    torrents: Mapping[str, Torrent],
) -> tuple[RelatedIdentifier, ...]:
    """Return the relations of a record. `holding`: the stores with an intact copy of a file, by its name.

    A copy of the data *is identical to* the record's file. A store with partitioned data (45 parts at most) is named
    once, by the manifest that lists the parts (*has metadata*). A torrent is named by its info hash (`urn:btih:`),
    which identifies the data wherever the `.torrent` lies; the torrent of a single data file also by its address.
    """
    copies = _copies(deployment, dataset, release, holding)
    return (*copies, *_torrents(deployment, torrents))


def _copies(
    deployment: Deployment, dataset: Dataset, release: Release, holding: Callable[[str], Sequence[Store]]
) -> Iterator[RelatedIdentifier]:
    files = release.data_files
    name = files[0].name if len(files) == 1 else MANIFEST_NAME
    for store in holding(name):
        if not _is_permanent(deployment, dataset, store):
            continue
        url = store.url(release_address(release.dataset, release.vintage, release.version, name))
        if len(files) == 1:
            yield RelatedIdentifier(url, "isidenticalto", "dataset")
        else:
            yield RelatedIdentifier(url, "hasmetadata")


def _torrents(deployment: Deployment, torrents: Mapping[str, Torrent]) -> Iterator[RelatedIdentifier]:
    for _, torrent in sorted(torrents.items()):
        yield RelatedIdentifier(f"urn:btih:{torrent.info_hash}", "isidenticalto", "dataset")
        if torrent.info_hash_v2 is not None:
            yield RelatedIdentifier(f"urn:btmh:1220{torrent.info_hash_v2}", "isidenticalto", "dataset")
        if len(torrents) == 1 and _is_public(deployment, deployment.primary):
            yield RelatedIdentifier(deployment.primary.url(torrent.address), "hasmetadata")


def _is_permanent(deployment: Deployment, dataset: Dataset, store: Store) -> bool:
    pruned = store is not deployment.primary and dataset.publication.keeps(store.name) is not None
    return not pruned and _is_public(deployment, store)


def _is_public(deployment: Deployment, store: Store) -> bool:
    """Return whether readers reach the store: without D4C_STORE_URL the primary store is on this machine's loopback."""
    return store is not deployment.primary or deployment.settings.store_url is not None
