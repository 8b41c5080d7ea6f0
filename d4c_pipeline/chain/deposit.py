"""`deposit`: uploads every artifact to the archive, verifies them there and publishes. The step can't be undone.

Between verification and publication the release needs its approval and leaves its hidden addresses (`revealing`).
"""

from __future__ import annotations

from dataclasses import dataclass

from d4c_pipeline.archives.deposit import complete, published_deposit
from d4c_pipeline.catalogue.item_assets import listed_checksums, multihash_sha256
from d4c_pipeline.chain.doi import metadata_of
from d4c_pipeline.chain.revealing import is_revealed, reveal
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import NeedsPersonError, UnknownNameError
from d4c_pipeline.model.release import AFTER_ITEM, ArtifactRole, Deposit, PlannedRelease, PublishedRelease
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.review.decisions import approval
from d4c_pipeline.review.verdicts import refuse_failed
from d4c_pipeline.services.embedded import answering
from d4c_pipeline.torrents.web_seeds import SeedVerdict, try_web_seed
from d4c_pipeline.workspace.current import current_release, deposit_of, is_settled
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.pieces import published_pieces
from d4c_pipeline.workspace.staging import artifact_path


@dataclass(frozen=True)
class Deposited:
    """The published release with its deposit; `archive_seed`: whether the archive's address works as a web seed."""

    release: PublishedRelease
    deposit: Deposit
    archive_seed: SeedVerdict | None


def publish(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Deposited:
    """Publish the vintage's planned release in the archive exactly once; return the deposit of a published release.

    Raises UnknownNameError when an earlier step is missing, NeedsPersonError when a check of these bytes failed,
    AwaitingReviewError when the complete draft needs an approval, and what the archive raises.
    """
    with deployment.working_on(dataset, vintage) as lease:
        release = current_release(deployment, dataset, vintage)
        if isinstance(release, PlannedRelease):
            release = _publish_planned(deployment, dataset, release, lease)
        deposit = published_deposit(deployment.ledger, deployment.archive, release)
        if deposit.record_id is not None:
            deployment.archive.join_community(deposit.record_id)
        return Deposited(release, deposit, _archive_seed(deployment, release, deposit))


def _publish_planned(
    deployment: Deployment, dataset: Dataset, release: PlannedRelease, lease: Lease
) -> PublishedRelease:
    deposit = deposit_of(deployment, release)
    approved = None if is_settled(deployment, release) else approval(deployment, dataset, release)

    def make_public() -> None:
        if approved is not None:
            approved()
        # Before the archive publishes, so that the addresses in its record work from the beginning.
        reveal(deployment, release, lease)

    if not is_settled(deployment, release):
        _refuse_stale_item(deployment, release, deposit)
        refuse_failed(deployment, dataset, release)
    deposit = complete(
        deployment.ledger,
        deployment.archive,
        release,
        {artifact.name: artifact_path(deployment, release, artifact) for artifact in release.artifacts},
        metadata_of(deployment, dataset, release),
        approval=make_public,
        lease=lease,
    )
    if not is_revealed(deployment, release):  # a curator published the draft at the archive
        reveal(deployment, release, lease)
    # By the archive's clock, so that a ledger made again from the archive has the same time.
    record = None if deposit.record_id is None else deployment.archive.read(deposit.record_id)
    return deployment.ledger.releases.mark_published(release, None if record is None else record.published_at)


def _archive_seed(deployment: Deployment, release: PublishedRelease, deposit: Deposit) -> SeedVerdict | None:
    """Test the archive's address of every data artifact and return the first failure; None without public addresses."""
    pieces = published_pieces(deployment, release)
    verdict: SeedVerdict | None = None
    with answering(deployment) as silent:
        for artifact in release.data_files:
            seed_url = deposit.files.get(artifact.name)
            if seed_url is None or artifact.name not in pieces:
                return None
            if silent is not None and seed_url.startswith(deployment.settings.embedded_url):
                return SeedVerdict(False, silent)
            verdict = try_web_seed(seed_url, pieces[artifact.name])
            if not verdict.ok:
                return SeedVerdict(False, f"{artifact.name}: {verdict.reason}")
    return verdict


def _refuse_stale_item(deployment: Deployment, release: PlannedRelease, deposit: Deposit) -> None:
    """Refuse an item that predates the reserved DOI or one of the files: a published item is permanent."""
    item = deployment.ledger.publications.item(release)
    if item is None or release.artifact(ArtifactRole.METADATA) is None:
        raise UnknownNameError(f"{release.name} has no catalogue item yet", rerun="stac_item")
    listed = listed_checksums(item)
    files = {
        artifact.name: multihash_sha256(artifact.sha256)
        for artifact in release.artifacts
        if artifact.role not in AFTER_ITEM
    }
    if item["properties"]["sci:doi"] != deposit.doi or listed != files:
        raise NeedsPersonError(
            f"The catalogue item of {release.name} was written before its DOI or one of its files changed",
            rerun="torrent",
        )
