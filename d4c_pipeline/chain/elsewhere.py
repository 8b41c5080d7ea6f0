"""Where else than in its record the files of a release can be had: relations to copies in stores and to torrents.

A record stays for ever, so only addresses stand in it that are made to stay: no loopback, no mirror that retention
empties. How a relation is spelled belongs to `archives`.
"""

from __future__ import annotations

from collections.abc import Iterator

from d4c_pipeline.chain.copies import stores_holding
from d4c_pipeline.metadata.record import RelatedIdentifier
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.parts import MANIFEST_NAME
from d4c_pipeline.model.release import Release
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.deployment import Deployment


def elsewhere(deployment: Deployment, dataset: Dataset, release: Release) -> tuple[RelatedIdentifier, ...]:
    """Return what a record says of a release's copies and torrents, as far as both exist.

    A copy of the data *is identical to* what the record holds. Of data in parts (45 at most) each store is named once,
    by the manifest that lists them (*has metadata*). A torrent is named by its info hash (`urn:btih:`), which is
    identical data wherever its `.torrent` lies, and the one of data in one file by that address too.
    """
    return (*_copies(deployment, dataset, release), *_torrents(deployment, release))


def _copies(deployment: Deployment, dataset: Dataset, release: Release) -> Iterator[RelatedIdentifier]:
    files = release.data_files
    name = files[0].name if len(files) == 1 else MANIFEST_NAME
    for store in stores_holding(deployment, release).get(name, ()):
        if not _is_for_ever(deployment, dataset, store):
            continue
        url = store.url(release_address(release.dataset, release.vintage, release.version, name))
        if len(files) == 1:
            yield RelatedIdentifier(url, "isidenticalto", "dataset")
        else:
            yield RelatedIdentifier(url, "hasmetadata")


def _torrents(deployment: Deployment, release: Release) -> Iterator[RelatedIdentifier]:
    torrents = deployment.ledger.publications.torrents(release)
    for _, torrent in sorted(torrents.items()):
        yield RelatedIdentifier(f"urn:btih:{torrent.info_hash}", "isidenticalto", "dataset")
        if torrent.info_hash_v2 is not None:
            yield RelatedIdentifier(f"urn:btmh:1220{torrent.info_hash_v2}", "isidenticalto", "dataset")
        if len(torrents) == 1 and _is_public(deployment, deployment.primary):
            yield RelatedIdentifier(deployment.primary.url(torrent.address), "hasmetadata")


def _is_for_ever(deployment: Deployment, dataset: Dataset, store: Store) -> bool:
    pruned = store is not deployment.primary and dataset.publication.keeps(store.name) is not None
    return not pruned and _is_public(deployment, store)


def _is_public(deployment: Deployment, store: Store) -> bool:
    """Whether readers elsewhere reach it: without D4C_STORE_URL the primary is shown on this machine's loopback."""
    return store is not deployment.primary or deployment.settings.store_url is not None
