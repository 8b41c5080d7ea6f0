"""`doi`: reserves the DOI of a planned release in the archive, in a draft that can still be undone.

Before the first call, this step refuses metadata or sizes that the archive would refuse, and stores that readers can't
read.
"""

from __future__ import annotations

from datetime import UTC, datetime

from d4c_pipeline.archives.deposit import published_deposit, reserve
from d4c_pipeline.archives.port import check_files
from d4c_pipeline.chain.elsewhere import elsewhere
from d4c_pipeline.chain.preflight import try_hidden, try_public_addresses
from d4c_pipeline.metadata.datacite import require_valid
from d4c_pipeline.metadata.readme import README_NAME
from d4c_pipeline.metadata.record import RecordMetadata, record_metadata
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.described import with_source_words
from d4c_pipeline.model.errors import NeedsPersonError
from d4c_pipeline.model.release import (
    CHECKSUMS_REST_NAME,
    ITEM_NAME,
    Deposit,
    DepositState,
    LivingRelease,
    PlannedRelease,
    PublishedRelease,
)
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.review.policy import reasons_for_review
from d4c_pipeline.workspace.current import current_release, is_settled
from d4c_pipeline.workspace.deployment import Deployment


def reserve_doi(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Deposit:
    """Reserve the DOI of the vintage's planned release, or return its existing deposit.

    Raises PermanentError, before any call, when the release can't be a record (too many or too large files, metadata
    that DataCite refuses) or readers can't read a store; TransientError when the primary store's address is
    unreachable.
    """
    with deployment.working_on(dataset, vintage) as lease:
        release = current_release(deployment, dataset, vintage)
        if isinstance(release, PublishedRelease):
            return published_deposit(deployment.ledger, deployment.archive, release)
        if not is_settled(deployment, release):
            _refuse_oversized(release)
            try_public_addresses(deployment)
            if reasons_for_review(deployment, dataset, release):
                try_hidden(deployment)
        return reserve(
            deployment.ledger,
            deployment.archive,
            release,
            metadata_of(deployment, dataset, release),
            previous=(previous := previous_deposit(deployment, release)),
            joining=None if previous is not None else _record_to_join(deployment, dataset, release),
            lease=lease,
        )


def metadata_of(deployment: Deployment, dataset: Dataset, release: LivingRelease) -> RecordMetadata:
    """Return the metadata of the release's record. Raises PermanentError for metadata that DataCite refuses."""
    settings = deployment.settings
    place = {"dataset": dataset.id, "vintage": str(release.vintage), "version": str(release.version)}
    return require_valid(
        record_metadata(
            with_source_words(dataset, deployment.ledger.natives.description(dataset.id, release.vintage)),
            release,
            native_urls=dataset.source.derived_from(release.vintage),
            publisher=settings.publisher,
            code_url=settings.code_url,
            previous_vintage_doi=_previous_vintage_doi(deployment, release),
            page_url=settings.page_url.format(**place) if settings.page_url else None,
            # The metadata is sent again right before publication, so that the record's year is the year of publication.
            published_on=(release.published_at if isinstance(release, PublishedRelease) else datetime.now(UTC)).date(),
            elsewhere=elsewhere(deployment, dataset, release),
        )
    )


def previous_deposit(deployment: Deployment, release: PlannedRelease) -> Deposit | None:
    """Return the deposit of the newest published release of the same vintage, whose concept the release joins."""
    earlier = [
        other
        for other in deployment.ledger.releases.published(release.dataset, release.vintage)
        if other.id != release.id
    ]
    return deployment.ledger.deposits.of(earlier[-1]) if earlier else None


def _record_to_join(deployment: Deployment, dataset: Dataset, release: PlannedRelease) -> str | None:
    """Return the newest record of the concept that the dataset declares; the release becomes its next version."""
    concept = dataset.publication.concept_of(release.vintage)
    known = deployment.ledger.deposits.of(release)
    if concept is None or (known is not None and known.record_id is not None):
        return None
    found = [record for record in deployment.archive.listed() if record.concept_doi.lower() == concept.lower()]
    if not found:
        raise NeedsPersonError(
            f"The archive {deployment.archive.name} shows no published record of this account with the concept DOI "
            f"{concept}",
            f"Correct 'publication.concept_doi' of {dataset.id} (the DOI of all versions), or use the token of the "
            "account that owns the record",
        )
    return max(found, key=lambda record: record.index).record_id


def _previous_vintage_doi(deployment: Deployment, release: LivingRelease) -> str | None:
    """Return the all-versions DOI of the previous vintage, which always resolves to its best processing."""
    earlier = [
        other for other in deployment.ledger.releases.published(release.dataset) if other.vintage < release.vintage
    ]
    deposit = deployment.ledger.deposits.of(earlier[-1]) if earlier else None
    # A test DOI does not resolve and must not appear in a permanent record.
    if deposit is None or deposit.state is not DepositState.PUBLISHED or deposit.test != deployment.archive.test:
        return None
    return deposit.concept_doi or deposit.doi


def _refuse_oversized(release: PlannedRelease) -> None:
    """Refuse a release with too many or too large files; files that later steps add count as one byte each."""
    torrents = {f"{artifact.name}.torrent": 1 for artifact in release.data_files}
    to_come = {README_NAME: 1, ITEM_NAME: 1, CHECKSUMS_REST_NAME: 1} | torrents
    check_files(to_come | {artifact.name: artifact.size for artifact in release.artifacts})
