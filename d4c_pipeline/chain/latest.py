"""`latest`: switches `/processed/` to the newest release, never backwards.

What is newest is computed from the ledger each time, under a lease on the dataset, so that the order in which workers
arrive does not matter: each of them leaves the newest release standing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.staging import artifact_path
from d4c_pipeline.model.addresses import latest_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import UnknownNameError
from d4c_pipeline.model.release import Release
from d4c_pipeline.model.vintage import Vintage


@dataclass(frozen=True)
class Switched:
    """What `/processed/` serves at `address` now, whether that is new, and at which public `url`."""

    address: str
    url: str
    release: Release
    changed: bool


def switch(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Switched:
    """Let the latest address of `vintage` (of the dataset, for a rolling series) serve the newest published release.

    Raises UnknownNameError when nothing is published yet.
    """
    ledger = deployment.ledger
    with ledger.leases.hold(f"latest/{dataset.id}"):
        release = newest_release(deployment, dataset, vintage)
        if release is None:
            raise UnknownNameError(
                f"No release of {dataset.id} {vintage} is published", "Materialize 'deposit' of this vintage first"
            )
        address = latest_address_of(dataset, release)
        changed = False
        for store in deployment.stores:
            if not store.verify(address, release.data.size, release.data.sha256):
                store.replace(artifact_path(deployment, release, release.data), address)
                changed = True
        ledger.publications.switch_latest(address, release)
        return Switched(address, deployment.primary.url(address), release, changed)


def newest_release(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Release | None:
    """Return the published release that the latest address of `vintage` should serve."""
    releases = deployment.ledger.releases.published(dataset.id, None if dataset.series == "rolling" else vintage)
    return max(releases, key=lambda release: (release.vintage, release.version), default=None)


def latest_address_of(dataset: Dataset, release: Release) -> str:
    """Return the address under `/processed/` that belongs to a release's product."""
    vintage = None if dataset.series == "rolling" else release.vintage
    return latest_address(dataset.name.as_dataset_name(), vintage, Path(release.data.name).suffix)
