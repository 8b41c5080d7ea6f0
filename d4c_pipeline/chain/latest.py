"""`latest`: switches `/processed/` to the newest release, never backwards.

Each run computes the newest release from the ledger, under a lease on the dataset, so the order of concurrent workers
does not matter: each leaves the newest release in place. The lease is renewed right before each change; a process that
lost its lease stops before changing anything. An address is recorded before a file is put there and removed from the
ledger after the file is deleted, so a killed switch leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from d4c_pipeline.chain.versions import rank
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.addresses import (
    latest_address,
    latest_index_address,
    latest_part_address,
    release_address,
    withdrawn_address,
)
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import StorageError, UnknownNameError
from d4c_pipeline.model.parts import SUFFIX
from d4c_pipeline.model.release import DERIVED_ROLES, Artifact, ArtifactRole, PublishedRelease
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.other_homes import is_of_another_home
from d4c_pipeline.workspace.placing import delete_ours, replace_ours
from d4c_pipeline.workspace.shared_names import refuse_taken_name
from d4c_pipeline.workspace.staging import artifact_path, sweep

# A notebook is the provenance of one release; readers don't open it at a latest address.
_SERVED = (DERIVED_ROLES | {ArtifactRole.DATA}) - {ArtifactRole.NOTEBOOK}


@dataclass(frozen=True)
class Switched:
    """The state of `/processed/`: the address where a reader begins, its public `url`, and whether it changed.

    `addresses`: the addresses of the data and of every derived file.
    """

    address: str
    url: str
    release: PublishedRelease
    addresses: tuple[str, ...]
    changed: bool


def switch(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Switched:
    """Make the latest addresses of `vintage` (of the dataset, for a rolling series) serve the newest published release.

    Files are replaced one by one, each atomically: derived files, then the data, then the index of partitioned data,
    which lists immutable addresses, so that a reader who starts there never mixes two releases. Files that only the
    previous release had are removed last. Where every release is withdrawn, a text with the reason lies beside each
    address, and servers answer 410 with it.

    Raises UnknownNameError when no release is published, BusyError when another process took over the lease (nothing
    more changes then), ForeignBytesError when an address holds bytes that this home did not put there, DefinitionError
    when the name belongs to another dataset.
    """
    ledger = deployment.ledger
    with ledger.leases.hold(lease_keys.of_latest(dataset.id)) as lease:
        releases = _product_releases(deployment, dataset, vintage)
        if not releases:
            raise UnknownNameError(f"No release of {dataset.id} {vintage} is published", rerun="deposit")
        release = newest_release(deployment, dataset, vintage)
        if release is None:
            release = max(releases, key=partial(rank, dataset))
            served, index = dict[str, Artifact](), _tombstones(deployment, dataset, release)
        else:
            served, index = _served(dataset, release), _index(deployment, dataset, release)
        serving = {address: artifact.sha256 for address, artifact in served.items()}
        serving |= {address: hashlib.sha256(content).hexdigest() for address, content in index.items()}
        refuse_taken_name(deployment, dataset, release.vintage)
        ours = _served_before(deployment, dataset)
        ledger.publications.claim_latest(release, serving)
        stale = ledger.publications.latest_addresses(dataset.id, _product(dataset, release)) - serving.keys()
        changed = False

        def put(store: Store) -> None:
            nonlocal changed
            mine = partial(
                replace_ours,
                deployment,
                store,
                release=release,
                known=ours,
                published=partial(is_of_another_home, deployment, store),
                guard=lease.renew,
            )
            for address, artifact in served.items():
                if store.verify(address, artifact.size, artifact.sha256):
                    continue
                try:
                    mine(artifact_path(deployment, release, artifact), address)
                except StorageError:
                    # Who took over the lease removes the staged files at its end: that is the cause to tell.
                    lease.renew()
                    raise
                changed = True
            for address, content in index.items():
                changed |= mine(content, address).changed
            for address in sorted(stale):
                lease.renew()
                foreign = partial(is_of_another_home, deployment, store)
                delete_ours(deployment, store, address, dataset.id, known=ours, published=foreign)

        deployment.spreading.everywhere(put)
        lease.renew()
        # An unreachable mirror serves an older release, never a mixture. Its stale addresses stay recorded until a
        # later run of this step reaches the mirror.
        ledger.publications.switch_latest(release, serving, () if deployment.spreading.missed else stale)
    for worked_on in {vintage, release.vintage}:
        sweep(deployment, dataset.id, worked_on)
    address = latest_address_of(dataset, release)
    return Switched(address, deployment.primary.url(address), release, tuple(serving), changed or bool(stale))


def _served_before(deployment: Deployment, dataset: Dataset) -> Callable[[str], bool]:
    """Return a predicate: whether `/processed/` serves or served bytes with a sha256, of a known release."""

    @cache
    def known() -> frozenset[str]:
        found = set(deployment.ledger.publications.latest_digests(dataset.id))
        for release in deployment.ledger.releases.published(dataset.id):
            found |= {artifact.sha256 for artifact in release.artifacts}
            found |= {hashlib.sha256(data).hexdigest() for data in _index(deployment, dataset, release).values()}
        return frozenset(found)

    return lambda sha256: sha256 in known()


def newest_release(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> PublishedRelease | None:
    """Return the published release that belongs at the latest address of `vintage`; a withdrawn release never does."""
    releases = _product_releases(deployment, dataset, vintage)
    return max((each for each in releases if each.withdrawn is None), key=partial(rank, dataset), default=None)


def _product_releases(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> tuple[PublishedRelease, ...]:
    """Return the published releases that share the latest addresses of `vintage`."""
    return deployment.ledger.releases.published(dataset.id, None if dataset.series == "rolling" else vintage)


def latest_address_of(dataset: Dataset, release: PublishedRelease) -> str:
    """Return the address under `/processed/` where a reader begins: the data, or the index of its parts."""
    name, vintage = dataset.name.as_dataset_name(), _product(dataset, release)
    return latest_address(name, vintage, SUFFIX) if _is_whole(release) else latest_index_address(name, vintage)


def _served(dataset: Dataset, release: PublishedRelease) -> Mapping[str, Artifact]:
    """Return the artifacts by their latest addresses, in the order in which they are put there."""
    chosen = sorted(
        (artifact for artifact in release.artifacts if artifact.role in _SERVED),
        key=lambda artifact: (artifact.role is ArtifactRole.DATA, artifact.name),
    )
    name, vintage = dataset.name.as_dataset_name(), _product(dataset, release)
    return {
        latest_part_address(name, vintage, release.part(artifact))
        if artifact.role is ArtifactRole.DATA and not _is_whole(release)
        else latest_address(name, vintage, artifact.name.removeprefix(release.name)): artifact
        for artifact in chosen
    }


def _index(deployment: Deployment, dataset: Dataset, release: PublishedRelease) -> Mapping[str, bytes]:
    """Return the index of partitioned data by its address: the release, and each part at its immutable address."""
    if _is_whole(release):
        return {}
    facts = {part.name: part for part in release.summary.parts}

    def described(artifact: Artifact) -> dict[str, Any]:
        part = facts[release.part(artifact)]
        address = release_address(release.dataset, release.vintage, release.version, artifact.name)
        return {
            "part": part.name,
            "file": f"{part.name}{SUFFIX}",
            "url": deployment.primary.url(address),
            "rows": part.rows,
            "bounds": part.bounds,
            "size": artifact.size,
            "sha256": artifact.sha256,
        }

    index = {
        "release": release.name,
        "dataset": release.dataset,
        "vintage": str(release.vintage),
        "version": str(release.version),
        "rows": release.summary.rows,
        "partition": release.summary.partition,
        "parts": [described(artifact) for artifact in release.data_files],
    }
    address = latest_index_address(dataset.name.as_dataset_name(), _product(dataset, release))
    return {address: (json.dumps(index, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()}


def _tombstones(deployment: Deployment, dataset: Dataset, release: PublishedRelease) -> Mapping[str, bytes]:
    """Return the tombstones of a withdrawn release: beside each of its latest addresses, a text with the reason."""
    if release.withdrawn is None:
        raise ValueError(f"{release.name} stands")
    deposit = deployment.ledger.deposits.of(release)
    kept = deployment.primary.url(
        release_address(release.dataset, release.vintage, release.version, release.data_files[0].name)
    )
    text = (
        f"{release.name} was withdrawn on {release.withdrawn.at:%Y-%m-%d}: {release.withdrawn.reason}\n\n"
        "No other version of this data is available. The withdrawn files stay available for reference:\n"
        f"{kept}\n{f'doi:{deposit.doi}' if deposit is not None and deposit.doi else ''}\n"
    )
    addresses = [*_served(dataset, release), *_index(deployment, dataset, release)]
    return {withdrawn_address(address): text.encode() for address in addresses}


def _is_whole(release: PublishedRelease) -> bool:
    """Return whether the data is a single file."""
    return len(release.data_files) == 1


def _product(dataset: Dataset, release: PublishedRelease) -> Vintage | None:
    """The vintage in the release's latest addresses; None for a rolling series, which has one set of addresses."""
    return None if dataset.series == "rolling" else release.vintage
