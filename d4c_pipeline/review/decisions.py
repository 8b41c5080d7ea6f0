"""Decisions of reviewers: approving or rejecting a release, and overriding a failed check on certain data.

A decision applies to one planned release and an override to the checksum of its data, so that neither applies to other
data. The ledger records the reviewer, the time and the reason of a decision. Whether a release needs a review belongs
to `policy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.ledger.judgements import APPROVED, REJECTED, CheckResult, Override, Review
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import AwaitingReviewError, NeedsPersonError, PermanentError, UnknownNameError
from d4c_pipeline.model.release import Deposit, DepositState, PlannedRelease, PublishedRelease, Release
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.checks.verdict import Outcome
from d4c_pipeline.review.policy import announce, pending_notice, reasons_for_review
from d4c_pipeline.workspace.builds import read_build
from d4c_pipeline.workspace.code_archive import definition_digest
from d4c_pipeline.workspace.current import is_settled, previous_release
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.plans import abandon_plan, manifest_of
from d4c_pipeline.workspace.staging import release_folder
from d4c_pipeline.workspace.work import free_work


@dataclass(frozen=True)
class Pending:
    """A release with a pending review: the reasons, and the facts for the decision.

    `previous` is the published release in the comparison; `checks` and `overrides` apply to the data of the release.
    `folder` has its files on this machine, which no address serves yet; None if another machine made them.
    """

    release: PlannedRelease
    deposit: Deposit | None
    previous: PublishedRelease | None
    reasons: tuple[str, ...]
    checks: tuple[CheckResult, ...]
    overrides: tuple[Override, ...]
    reviews: tuple[Review, ...]
    folder: Path | None = None


def waiting(deployment: Deployment) -> tuple[PlannedRelease, ...]:
    """Return the releases that are verified in the archive and have a pending review."""
    releases = {release.id: release for release in _planned_releases(deployment)}
    return tuple(
        releases[deposit.release_id]
        for deposit in deployment.ledger.deposits.all()
        if deposit.state is DepositState.AWAITING_REVIEW and deposit.release_id in releases
    )


def planned_release(deployment: Deployment, name: str) -> PlannedRelease:
    """Return the planned release of that name. Raises UnknownNameError with the names of all planned releases."""
    planned = {release.name: release for release in _planned_releases(deployment)}
    if name not in planned:
        raise UnknownNameError(f"No release {name} is planned", f"Planned are: {', '.join(sorted(planned)) or 'none'}")
    return planned[name]


def _planned_releases(deployment: Deployment) -> Iterator[PlannedRelease]:
    return (release for release in deployment.ledger.releases.living() if isinstance(release, PlannedRelease))


def pending(deployment: Deployment, dataset: Dataset, release: PlannedRelease) -> Pending:
    """Return a planned release with the reasons for its review and the facts for the decision."""
    judgements = deployment.ledger.judgements
    folder = release_folder(deployment, release.name, release.dataset, str(release.vintage))
    return Pending(
        release=release,
        deposit=deployment.ledger.deposits.of(release),
        previous=previous_release(deployment, dataset, release.vintage),
        reasons=reasons_for_review(deployment, dataset, release),
        checks=judgements.checks(release.data_sha256),
        overrides=judgements.overrides(release.data_sha256),
        reviews=judgements.reviews(release),
        folder=folder if folder.is_dir() else None,
    )


def approval(deployment: Deployment, dataset: Dataset, release: PlannedRelease) -> Callable[[], None]:
    """Return the gate that the deposit calls before it publishes `release`.

    The gate announces a release that needs notice. It raises AwaitingReviewError while an approval or the announced
    date is pending, and NeedsPersonError when the release was rejected or its definition changed after it was planned.
    """

    def approve() -> None:
        if manifest_of(deployment, release).definition_sha256 != definition_digest(dataset):
            raise NeedsPersonError(
                f"The definition of {dataset.id} changed after {release.name} was planned",
                rerun="checksums",
            )
        reviews = deployment.ledger.judgements.reviews(release)
        if any(review.decision == REJECTED for review in reviews):
            raise NeedsPersonError(
                f"{release.name} was rejected: {reviews[-1].reason}",
                "Correct what the reason names",
                rerun="checksums",
            )
        if any(review.decision == APPROVED for review in reviews):
            return
        # Only a complete release is announced: what the feeds promise can be published.
        announce(deployment, dataset, release)
        reasons = reasons_for_review(deployment, dataset, release)
        if reasons:
            raise AwaitingReviewError(
                f"{release.name} is complete and waits for a review: {'; '.join(reasons)}",
                f"Inspect it with 'd4c review show {release.name}', then approve or reject it there or in the job "
                "'review' of the UI",
            )

    return approve


def approve(deployment: Deployment, release: PlannedRelease, *, who: str, reason: str = "") -> None:
    """Record the approval of a planned release; the next run publishes it.

    Raises PermanentError when `who` is empty, the release was rejected, or it is announced for a later date and
    `reason` is empty.
    """
    refuse_unnamed(who)
    with deployment.ledger.leases.hold(lease_keys.of_vintage(release.dataset, release.vintage)):
        current = _undecided(deployment, deployment.ledger.releases.get(release.id))
        notice = pending_notice(deployment, current)
        if notice is not None and not reason.strip():
            raise PermanentError(
                f"{release.name} is announced for {notice.due}, so an earlier publication needs a reason",
                "State with --reason why readers get it earlier, or wait for the date",
            )
        reviews = deployment.ledger.judgements.reviews(current)
        if not any(review.decision == APPROVED for review in reviews):
            deployment.ledger.judgements.record_review(current, APPROVED, who, reason)


def reject(deployment: Deployment, release: PlannedRelease, *, who: str, reason: str) -> None:
    """Record the rejection of a planned release, delete its draft and abandon the plan.

    The decision is recorded first: after a crash in between, nothing is published and the next run cleans up. Raises
    PermanentError when `who` or `reason` is empty, or the archive may have published the release already.
    """
    refuse_unnamed(who)
    if not reason.strip():
        raise PermanentError("A rejection needs a reason", "State with --reason what has to change")
    with deployment.ledger.leases.hold(lease_keys.of_vintage(release.dataset, release.vintage)) as lease:
        current = deployment.ledger.releases.get(release.id)
        if not any(review.decision == REJECTED for review in deployment.ledger.judgements.reviews(current)):
            deployment.ledger.judgements.record_review(_undecided(deployment, current), REJECTED, who, reason)
        if isinstance(current, PlannedRelease):
            abandon_plan(deployment, current, lease, f"rejected by {who}: {reason}", careful=False)
            # Its files went with the plan; the remedy builds again.
            deployment.ledger.builds.forget(release.dataset, release.vintage)
            free_work(deployment, release.dataset, release.vintage)


def override(deployment: Deployment, dataset: Dataset, vintage: Vintage, check: str, *, who: str, reason: str) -> str:
    """Override a failed check of the build in staging, and return the sha256 of its data.

    Raises PermanentError when `who` or `reason` is empty, UnknownNameError when the check did not fail on this data.
    """
    refuse_unnamed(who)
    if not reason.strip():
        raise PermanentError("An override needs a reason", "State with --reason why the check may fail here")
    with deployment.working_on(dataset, vintage):
        sha256 = read_build(deployment, dataset, vintage).sha256
        failed = [
            result.check
            for result in deployment.ledger.judgements.checks(sha256)
            if result.verdict == Outcome.FAILURE.word
        ]
        if check not in failed:
            raise UnknownNameError(
                f"The check {check} did not fail on the build of {dataset.id} {vintage}",
                f"Failed are: {', '.join(failed) or 'none'}",
            )
        deployment.ledger.judgements.record_override(dataset.id, vintage, sha256, check, who=who, reason=reason)
    return sha256


def refuse_unnamed(who: str) -> None:
    """Refuse a decision without the name of the person who decides."""
    if not who.strip():
        raise PermanentError("Nobody is named", "Name with --who the person who decides")


def _undecided(deployment: Deployment, release: Release) -> PlannedRelease:
    if not isinstance(release, PlannedRelease) or is_settled(deployment, release):
        raise PermanentError(f"{release.name} is {release.state}, so no review is pending", "See 'd4c releases'")
    if any(review.decision == REJECTED for review in deployment.ledger.judgements.reviews(release)):
        raise PermanentError(f"{release.name} was rejected", "Run 'd4c publish' to plan it again")
    return release
