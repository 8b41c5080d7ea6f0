"""The review policy of a dataset: whether a release may be published without an approval, and the reasons if not.

The policy is decided from the ledger; a reviewer's decision belongs to `decisions`. A failed check stops a publication
whatever the policy (`verdicts`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from d4c_pipeline.ledger.announcements import Notice
from d4c_pipeline.ledger.judgements import REJECTED
from d4c_pipeline.model.bumps import bump_of
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.differences import Adopted, BumpRaised, NothingPublished, Stated
from d4c_pipeline.model.publication import ReviewThresholds
from d4c_pipeline.model.reasons import Reason
from d4c_pipeline.model.release import Artifact, ArtifactRole, DataSummary, PlannedRelease, PublishedRelease, Release
from d4c_pipeline.model.settings import LOCAL_ARCHIVE
from d4c_pipeline.model.version import Bump
from d4c_pipeline.processing.checks.verdict import Outcome
from d4c_pipeline.workspace.current import previous_release
from d4c_pipeline.workspace.deployment import Deployment

_SIDES = ("west", "south", "east", "north")
_SMALLEST_SIDE = 0.001  # degrees; a relative change of a shorter side is meaningless


def reasons_for_review(deployment: Deployment, dataset: Dataset, release: PlannedRelease) -> tuple[str, ...]:
    """Return the reasons why a planned release needs an approval; empty if it needs none."""
    declared = dataset.publication
    careful = _default(deployment)
    # A rolling series is one product whose newer vintages supersede the older ones; each edition is a product.
    rolling = dataset.series == "rolling"
    published = deployment.ledger.releases.published(dataset.id, None if rolling else release.vintage)
    reasons: list[str] = []
    if declared.policy == "review":
        reasons.append("the dataset's policy is 'review'")
    if not published and (declared.first_release or careful) == "review":
        reasons.append("it is the first release" if rolling else "it is the first release of this vintage")
    if published and release.change.bump is Bump.MAJOR and (declared.major or careful) == "review":
        reasons.append("it is a MAJOR version")
    if needs_notice(dataset, release):
        reasons += _unannounced(deployment, dataset, release)
    if declared.policy == "thresholds":
        previous = previous_release(deployment, dataset, release.vintage)
        if previous is not None:
            reasons += _beyond(declared.thresholds, previous, release)
        reasons += _warnings(deployment, declared.thresholds, release)
    for artifact in _data(release):
        rejected = deployment.ledger.judgements.rejection(artifact.sha256)
        if rejected is not None:
            reasons.append(
                f"the same data were rejected by {rejected.who} on {rejected.at:%Y-%m-%d}: {rejected.reason}"
            )
    return tuple(dict.fromkeys(reasons))


def may_need_review(deployment: Deployment, dataset: Dataset) -> bool:
    """Return whether the policy of a dataset may require an approval of a release, whatever the release contains.

    A rejection of the same data, which also requires one, is no part of the policy.
    """
    declared, careful = dataset.publication, _default(deployment)
    gates = (declared.first_release or careful, declared.major or careful)
    return declared.policy != "automatic" or declared.notice_days is not None or "review" in gates


def needs_notice(dataset: Dataset, release: PlannedRelease) -> bool:
    """Return whether a release is announced before its publication: a MAJOR where the YAML sets `notice_days`.

    A first release breaks nothing, whatever bump the operator asks for.
    """
    first = NothingPublished() in release.change.differences
    return dataset.publication.notice_days is not None and release.change.bump is Bump.MAJOR and not first


def announce(deployment: Deployment, dataset: Dataset, release: PlannedRelease) -> None:
    """Announce a release that needs notice, once for each plan. The caller holds the lease on the vintage.

    A changed build keeps the announced date unless it breaks what the announcement does not name. After a rejection,
    which took the announcement out of the feeds, the days count again.
    """
    days = dataset.publication.notice_days
    if days is None or not needs_notice(dataset, release):
        return
    announcements = deployment.ledger.announcements
    known = announcements.notice(release)
    if known is not None and known.release_id == release.id:
        return
    breaks = tuple(each for each in release.change.differences if _breaks(each)) or release.change.differences
    due = today() + timedelta(days=days)
    if known is not None and set(breaks) <= set(known.breaks) and not _was_rejected(deployment, known):
        due = known.due
    announcements.announce(release, due, breaks)


def pending_notice(deployment: Deployment, release: PlannedRelease) -> Notice | None:
    """Return the announcement of a release whose date has not come; None without one."""
    notice = deployment.ledger.announcements.notice(release)
    return notice if notice is not None and today() < notice.due else None


def today() -> date:
    """Return the present day in UTC, which decides whether an announced date has come."""
    return datetime.now(UTC).date()


def _unannounced(deployment: Deployment, dataset: Dataset, release: PlannedRelease) -> list[str]:
    """The reason why a MAJOR waits for its notice; none from the announced date on."""
    notice = deployment.ledger.announcements.notice(release)
    if notice is None or notice.release_id != release.id:
        return [f"it breaks what readers use and is announced {dataset.publication.notice_days} days before"]
    if today() < notice.due:
        return [f"it breaks what readers use and is announced for {notice.due}; an approval publishes it earlier"]
    return []


def _was_rejected(deployment: Deployment, notice: Notice) -> bool:
    announced = deployment.ledger.releases.get(notice.release_id)
    return any(review.decision == REJECTED for review in deployment.ledger.judgements.reviews(announced))


def _breaks(reason: Reason) -> bool:
    return not isinstance(reason, Adopted | BumpRaised | Stated) and bump_of(reason) is Bump.MAJOR


def _default(deployment: Deployment) -> str:
    """Return the policy of first releases and MAJOR versions where the YAML has none.

    A test DOI of the local archive is no commitment: it needs an approval only if the YAML requires one.
    """
    return "automatic" if deployment.settings.archive == LOCAL_ARCHIVE else "review"


def _beyond(allowed: ReviewThresholds, previous: PublishedRelease, release: PlannedRelease) -> list[str]:
    before, now = previous.summary, release.summary
    size_before, size = (sum(artifact.size for artifact in _data(each)) for each in (previous, release))
    reasons = [
        f"{what} {change:+.2%} against {previous.name} (allowed {limit:.2%})"
        for what, change, limit in (
            ("rows", _share(before.rows, now.rows), allowed.rows),
            ("bytes of data", _share(size_before, size), allowed.size),
        )
        if abs(change) > limit
    ]
    side, move = _moved(before, now)
    if move > allowed.bounds:
        reasons.append(f"the {side} side of the bounds moved by {move:.2%} (allowed {allowed.bounds:.2%})")
    if allowed.schema_ == "same" and (difference := _columns(before, now)):
        reasons.append(f"columns: {difference}")
    return reasons


def _warnings(deployment: Deployment, allowed: ReviewThresholds, release: PlannedRelease) -> list[str]:
    warned = sorted(
        result.check
        for artifact in _data(release)
        for result in deployment.ledger.judgements.checks(artifact.sha256)
        if result.verdict != Outcome.PASS.word
    )
    if len(warned) <= allowed.warnings:
        return []
    return [f"checks that did not pass: {', '.join(warned)} (allowed {allowed.warnings})"]


def _data(release: Release) -> list[Artifact]:
    return [artifact for artifact in release.artifacts if artifact.role is ArtifactRole.DATA]


def _share(before: int, now: int) -> float:
    return (now - before) / before if before else float(now > 0)


def _moved(before: DataSummary, now: DataSummary) -> tuple[str, float]:
    """The side of the bounds that moved most, and its move as a share of the longer side; new or lost bounds are 1."""
    if before.bounds is None or now.bounds is None:
        return "whole", 0.0 if before.bounds == now.bounds else 1.0
    longer = max(before.bounds[2] - before.bounds[0], before.bounds[3] - before.bounds[1], _SMALLEST_SIDE)
    moves = {side: abs(now.bounds[n] - before.bounds[n]) / longer for n, side in enumerate(_SIDES)}
    most = max(moves, key=lambda side: moves[side])
    return most, moves[most]


def _columns(before: DataSummary, now: DataSummary) -> str:
    old, new = ({column.name: column.type for column in summary.columns} for summary in (before, now))
    changes = [f"{name} came" for name in new if name not in old]
    changes += [f"{name} went" for name in old if name not in new]
    changes += [f"{name} is {new[name]}, was {old[name]}" for name in new if name in old and new[name] != old[name]]
    return ", ".join(changes)
