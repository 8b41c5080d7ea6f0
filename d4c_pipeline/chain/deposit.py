"""`deposit`: uploads every artifact to the archive, verifies them there and publishes, the step nothing undoes.

In between comes the approval, and with it the release leaves its hidden addresses (`revealing`).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from d4c_pipeline.archives.deposit import complete
from d4c_pipeline.catalogue.stac_item import multihash_sha256
from d4c_pipeline.chain.doi import metadata_of
from d4c_pipeline.chain.revealing import is_revealed, reveal
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import NeedsPersonError, UnknownNameError
from d4c_pipeline.model.release import AFTER_ITEM, ArtifactRole, Deposit, Release
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.review.decisions import approval
from d4c_pipeline.review.verdicts import refuse_failed
from d4c_pipeline.services.embedded import answering
from d4c_pipeline.torrents.web_seeds import SeedVerdict, try_web_seed
from d4c_pipeline.workspace.current import current_release, deposit_of, is_settled
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.pieces import published_pieces
from d4c_pipeline.workspace.staging import artifact_path, release_folder
from d4c_pipeline.workspace.stores import store_root


@dataclass(frozen=True)
class Deposited:
    """The published release with its deposit, and whether the archive's address serves as a web seed."""

    release: Release
    deposit: Deposit
    archive_seed: SeedVerdict | None


def publish(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Deposited:
    """Publish the vintage's planned release in the archive, exactly once; a published one is only looked at.

    Raises UnknownNameError when a step before this one is missing, NeedsPersonError when a check of these very bytes
    failed, AwaitingReviewError when a person has to approve first (the draft is complete by then), and what the archive
    raises.
    """
    ledger = deployment.ledger
    with deployment.working_on(dataset, vintage) as lease:
        release = current_release(deployment, dataset, vintage)
        deposit = deposit_of(deployment, release)
        approved = None if is_settled(deployment, release) else approval(deployment, dataset, release)

        def make_public() -> None:
            if approved is not None:
                approved()
            # Before the archive publishes: the addresses that its record names are to serve from the first moment.
            reveal(deployment, release, lease)

        if not is_settled(deployment, release):
            _refuse_stale_item(deployment, release, deposit)
            refuse_failed(deployment, dataset, release)
        files = {artifact.name: artifact_path(deployment, release, artifact) for artifact in release.artifacts}
        deposit = complete(
            ledger,
            deployment.archive,
            release,
            files,
            metadata_of(deployment, dataset, release),
            approval=make_public,
            lease=lease,
        )
        if not is_revealed(deployment, release):  # somebody published the draft by hand at the archive
            reveal(deployment, release, lease)
        release = ledger.releases.mark_published(release)
        if deposit.record_id is not None:
            deployment.archive.join_community(deposit.record_id)
        if store_root(deployment.settings) is not None:
            # The primary holds verified copies by now; staging would only keep them a second time. Of one in a bucket
            # `latest` does this, which still reads them.
            shutil.rmtree(release_folder(deployment, release.name, dataset.id, str(vintage)), ignore_errors=True)
        return Deposited(release, deposit, _archive_seed(deployment, release, deposit))


def _archive_seed(deployment: Deployment, release: Release, deposit: Deposit) -> SeedVerdict | None:
    """Try the archive's address of every data artifact; None where it has no public ones. The first bad one counts."""
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


def _refuse_stale_item(deployment: Deployment, release: Release, deposit: Deposit) -> None:
    """Refuse an item that was written before another DOI was reserved or a file was made again: it stays for ever."""
    item = deployment.ledger.publications.item(release)
    if item is None or release.artifact(ArtifactRole.METADATA) is None:
        raise UnknownNameError(f"{release.name} has no catalogue item yet", rerun="stac_item")
    said = {asset["title"]: asset["file:checksum"] for asset in item["assets"].values()}
    files = {
        artifact.name: multihash_sha256(artifact.sha256)
        for artifact in release.artifacts
        if artifact.role not in AFTER_ITEM
    }
    if item["properties"]["sci:doi"] != deposit.doi or said != files:
        raise NeedsPersonError(
            f"The catalogue item of {release.name} was written before its DOI or one of its files changed",
            rerun="torrent",
        )
