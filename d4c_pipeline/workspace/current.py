"""The release that the steps after `checksums` work on, its deposit and its predecessor."""

from __future__ import annotations

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import UnknownNameError
from d4c_pipeline.model.release import Deposit, DepositState, LivingRelease, PlannedRelease, PublishedRelease, Release
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.deployment import Deployment


def current_release(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> LivingRelease:
    """Return the planned release of a vintage, else its newest published release, which steps only verify.

    Raises UnknownNameError if the vintage has no release.
    """
    releases = deployment.ledger.releases
    found = releases.planned(dataset.id, vintage) or releases.newest_published(dataset.id, vintage)
    if found is None:
        raise UnknownNameError(f"No release of {dataset.id} {vintage} is planned", rerun="checksums")
    return found


def previous_release(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> PublishedRelease | None:
    """Return the published release that a new release of `vintage` is compared with.

    That is the newest release of the vintage; in a rolling series without one, the newest release of the previous
    vintage, which the new release supersedes.
    """
    releases = deployment.ledger.releases
    newest = releases.newest_published(dataset.id, vintage)
    if newest is not None or dataset.series != "rolling":
        return newest
    earlier = [release for release in releases.published(dataset.id) if release.vintage < vintage]
    return max(earlier, key=lambda release: (release.vintage, release.version), default=None)


def deposit_of(deployment: Deployment, release: Release) -> Deposit:
    """Return the deposit of a release. Raises UnknownNameError when no DOI was reserved yet."""
    deposit = deployment.ledger.deposits.of(release)
    # A published deposit without a record: its test archive was reset (`d4c archive forget`). It keeps its DOI.
    begun = deposit is not None and (deposit.record_id is not None or deposit.state is DepositState.PUBLISHED)
    if deposit is None or deposit.doi is None or not begun:
        raise UnknownNameError(f"No DOI is reserved for {release.name}", rerun="doi")
    return deposit


def is_settled(deployment: Deployment, release: PlannedRelease) -> bool:
    """Return whether the files of a planned release are final: the archive may have published it."""
    deposit = deployment.ledger.deposits.of(release)
    return deposit is not None and deposit.state in (DepositState.PUBLISHING, DepositState.PUBLISHED)
