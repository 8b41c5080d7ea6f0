"""`doi`: reserves the DOI of a planned release in the archive, in a draft that can still be undone."""

from __future__ import annotations

from d4c_pipeline.archives.deposit import reserve
from d4c_pipeline.archives.metadata import RecordMetadata, record_metadata
from d4c_pipeline.chain.current import current_release
from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.release import Deposit, Release
from d4c_pipeline.model.vintage import Vintage


def reserve_doi(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Deposit:
    """Reserve the DOI of the vintage's planned release, or return the deposit it has."""
    with deployment.working_on(dataset, vintage) as lease:
        release = current_release(deployment, dataset, vintage)
        return reserve(
            deployment.ledger,
            deployment.archive,
            release,
            metadata_of(dataset, release),
            previous=previous_deposit(deployment, release),
            lease=lease,
        )


def metadata_of(dataset: Dataset, release: Release) -> RecordMetadata:
    """Return what the archive's record says of a release."""
    return record_metadata(dataset, release, native_urls=dataset.source.addresses(release.vintage))


def previous_deposit(deployment: Deployment, release: Release) -> Deposit | None:
    """Return the deposit of the newest published release of the same vintage: one concept holds them all."""
    earlier = [
        other
        for other in deployment.ledger.releases.published(release.dataset, release.vintage)
        if other.id != release.id
    ]
    return deployment.ledger.deposits.of(earlier[-1]) if earlier else None
