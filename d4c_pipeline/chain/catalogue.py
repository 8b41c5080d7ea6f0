"""`catalogue`: rebuilds the STAC GeoParquet and the static STAC tree from the ledger and replaces them atomically.

The deposited item is immutable; the catalogue's item adds what publication brought (concept DOI, superseded versions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from d4c_pipeline.catalogue.feed import FeedEntry, torrent_feeds
from d4c_pipeline.catalogue.stac_geoparquet import write_catalogue
from d4c_pipeline.catalogue.stac_item import finalise_item
from d4c_pipeline.catalogue.static_stac import static_tree
from d4c_pipeline.chain.copies import stores_holding
from d4c_pipeline.chain.latest import rank
from d4c_pipeline.chain.snapshot import keep_snapshot
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, FEED_RSS, release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError, PermanentError
from d4c_pipeline.model.release import PublishedRelease
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.current import deposit_of
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.other_homes import refuse_unknown_releases
from d4c_pipeline.workspace.pieces import published_torrents
from d4c_pipeline.workspace.progress import Progress, report


@dataclass(frozen=True)
class LeftOut:
    """A dataset that is missing from the catalogue, with the cause and the remedy."""

    dataset: str
    cause: str
    remedy: str


@dataclass(frozen=True)
class Catalogued:
    """The number of releases and datasets in the catalogue, its address, and the datasets that are missing."""

    releases: int
    datasets: int
    address: str
    url: str
    left_out: tuple[LeftOut, ...] = ()


def rebuild(deployment: Deployment, declared: Sequence[Dataset] = ()) -> Catalogued:
    """Rebuild the catalogue of all published releases in every reachable store.

    `declared` are the datasets that have a definition; for others the ledger has the last declaration. Raises
    ForeignBytesError when the primary store's catalogue lists releases that this ledger does not know.
    """
    report(Progress("all datasets", "", "catalogue"))
    with deployment.ledger.leases.hold(lease_keys.CATALOGUE):
        known = latest_declarations(deployment, declared)
        releases = deployment.ledger.releases.published()
        refuse_unknown_releases(deployment, deployment.stores[:1])
        items: list[dict[str, Any]] = []
        entries: list[FeedEntry] = []
        left_out: list[LeftOut] = []
        for dataset_id, group in groupby(releases, key=lambda release: release.dataset):
            try:
                own = list(group)
                made = _items(deployment, known[dataset_id], own)
                _refuse_repeated(made, items)
                fed = [entry for release in own for entry in _entries(deployment, known[dataset_id], release)]
            except (PermanentError, IntegrityError) as error:
                # One faulty dataset must not remove the others from the catalogue.
                left_out.append(LeftOut(dataset_id, error.cause, error.remedy))
                continue
            items += made
            entries += fed
        releases = tuple(each for each in releases if each.dataset not in {other.dataset for other in left_out})
        shown = [known[dataset_id] for dataset_id in sorted({release.dataset for release in releases})]
        parquet = deployment.settings.home / "staging" / "catalogue" / "stac.parquet"
        with storage_errors("write the catalogue"):
            for dead in parquet.parent.glob(".*.part"):  # of a process that was killed: we hold the lease
                dead.unlink()
        write_catalogue(items, parquet)
        tree = static_tree(shown, items, deployment.settings.store_url)
        keep_snapshot(deployment, parquet, releases)
        feeds = torrent_feeds(
            entries,
            publisher=deployment.settings.publisher,
            base_url=deployment.primary.url(FEED_RSS).removesuffix(FEED_RSS),
        )

        def put(store: Store) -> None:
            # The roots come last, so that every link in them leads to an existing file.
            for address in sorted(tree, key=lambda address: -address.count("/")):
                store.replace(tree[address], address)
            _replace_catalogue(deployment, store, parquet)
            for address, content in feeds.items():
                store.replace(content, address)

        # An unreachable mirror keeps its complete older catalogue until the next rebuild.
        deployment.spreading.everywhere(put)
        return Catalogued(
            len(releases),
            len(shown),
            CATALOGUE_PARQUET,
            deployment.primary.url(CATALOGUE_PARQUET),
            tuple(left_out),
        )


def _replace_catalogue(deployment: Deployment, store: Store, parquet: Path) -> None:
    """Put the catalogue into a store, unless the store's catalogue lists unknown releases, and record its ETag."""
    refuse_unknown_releases(deployment, [store])
    stored = store.replace(parquet, CATALOGUE_PARQUET)
    placements, facts = deployment.ledger.placements, store.facts(CATALOGUE_PARQUET)
    placements.intend(store.name, CATALOGUE_PARQUET, sha256=stored.sha256, size=stored.size)
    placements.settle(store.name, CATALOGUE_PARQUET, sha256=stored.sha256, etag=None if facts is None else facts.etag)


def _refuse_repeated(made: Sequence[dict[str, Any]], items: Sequence[dict[str, Any]]) -> None:
    owners = {item["id"]: item["collection"] for item in items}
    for item in made:
        if item["id"] in owners:
            raise PermanentError(
                f"The release {item['id']} of {item['collection']} has the name of one of {owners[item['id']]}",
                f"Give {item['collection']} naming parts of its own, then publish it again",
            )


def latest_declarations(deployment: Deployment, declared: Sequence[Dataset]) -> dict[str, Dataset]:
    """Return the datasets by id: as `declared`, else as the ledger last recorded them."""
    return {dataset.id: dataset for dataset in (*deployment.ledger.declarations.all(), *declared)}


def _items(deployment: Deployment, dataset: Dataset, releases: Sequence[PublishedRelease]) -> list[dict[str, Any]]:
    """Return the final items of a dataset's published releases, which arrive ordered by vintage and version."""
    items: list[dict[str, Any]] = []
    rolling = dataset.series == "rolling"
    for release in releases:
        item = deployment.ledger.publications.item(release)
        if item is None:
            raise IntegrityError(
                f"The ledger has no catalogue item of the published release {release.name}",
                rerun="stac_item",
            )
        line = sorted(
            (other for other in releases if rolling or other.vintage == release.vintage), key=partial(rank, dataset)
        )
        place = line.index(release)
        torrents = deployment.ledger.publications.torrents(release)
        items.append(
            finalise_item(
                item,
                deposit=deposit_of(deployment, release),
                latest=release is line[-1],
                superseded_by=line[place + 1].name if place + 1 < len(line) else None,
                previous=line[place - 1].name if place else None,
                newest=line[-1].name,
                published_at=release.published_at,
                base_url=deployment.settings.store_url,
                torrents=torrents,
                torrent_urls={name: deployment.primary.url(torrent.address) for name, torrent in torrents.items()},
                mirror_urls=_mirror_urls(deployment, release),
            )
        )
    return items


def _entries(deployment: Deployment, dataset: Dataset, release: PublishedRelease) -> list[FeedEntry]:
    """Return the torrents of a published release as entries of the feeds."""
    deposit = deposit_of(deployment, release)
    torrents = deployment.ledger.publications.torrents(release)
    sizes = {artifact.name: artifact.size for artifact in release.data_files}
    entries: list[FeedEntry] = []
    for file, torrent in published_torrents(release, torrents):
        name = file.name.removesuffix(".torrent")
        url = deployment.primary.url(torrent.address)
        part = release.part(file)
        entries.append(
            FeedEntry(
                name=name,
                title=f"{dataset.title.en}, {release.vintage}, v{release.version}{f', {part}' if part else ''}",
                page=deposit.url or url,
                torrent_url=url,
                torrent_size=deployment.primary.stat(torrent.address) or file.size,
                info_hash=torrent.info_hash,
                magnet=torrent.magnet,
                size=sizes[name],
                doi=deposit.doi,
                published_at=release.published_at,
            )
        )
    return entries


def _mirror_urls(deployment: Deployment, release: PublishedRelease) -> dict[str, list[str]]:
    """Return the mirror URLs of a release's files, by file name."""
    return {
        name: [
            store.url(release_address(release.dataset, release.vintage, release.version, name))
            for store in stores
            if store is not deployment.primary
        ]
        for name, stores in stores_holding(deployment, release).items()
    }
