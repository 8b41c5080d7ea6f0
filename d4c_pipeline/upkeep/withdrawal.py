"""Withdrawal of published releases, and its reversal: the decision, then everything that readers see of it.

The files, the DOI and the immutable addresses of a withdrawn release stay. `/processed/` goes back to the newest
release that stands; catalogue, records, feeds, torrents and portal state the reason. The decision is recorded first, so
that a killed run is continued by the same command or by the daily check of the torrents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from d4c_pipeline.chain import catalogue, latest, portal
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError, PermanentError, UnknownNameError
from d4c_pipeline.model.release import PublishedRelease
from d4c_pipeline.review.decisions import refuse_unnamed
from d4c_pipeline.upkeep.reissue import reissue
from d4c_pipeline.workspace.deployment import Deployment


@dataclass(frozen=True)
class Decided:
    """A withdrawal or its reversal. `serving`: the release at `url` under `/processed/` now, None without one.

    `changed`: whether the ledger changed; False for a repeated command.
    """

    release: PublishedRelease
    serving: PublishedRelease | None
    url: str
    changed: bool


def published_release(deployment: Deployment, name: str) -> PublishedRelease:
    """Return the published release of that name. Raises UnknownNameError."""
    found = next((each for each in deployment.ledger.releases.published() if each.name == name), None)
    if found is None:
        raise UnknownNameError(f"No release {name} is published", "List all releases with 'd4c releases'")
    return found


def withdraw(
    deployment: Deployment, release: PublishedRelease, declared: Sequence[Dataset] = (), *, who: str, reason: str
) -> Decided:
    """Withdraw a release; `reason` is public. Idempotent; another reason replaces the earlier one.

    `declared` as in `catalogue.rebuild`. Raises PermanentError when `who` or `reason` is empty.
    """
    refuse_unnamed(who)
    if not reason.strip():
        raise PermanentError("A withdrawal needs a reason", "State with --reason what is wrong with the release")
    with deployment.ledger.leases.hold(lease_keys.of_vintage(release.dataset, release.vintage)):
        changed = deployment.ledger.withdrawals.withdraw(release, who=who, reason=reason.strip())
    return _follow(deployment, release, declared, changed=changed)


def reinstate(
    deployment: Deployment, release: PublishedRelease, declared: Sequence[Dataset] = (), *, who: str, reason: str
) -> Decided:
    """End the withdrawal of a release. Idempotent. Raises PermanentError when `who` or `reason` is empty."""
    refuse_unnamed(who)
    if not reason.strip():
        raise PermanentError("A reversal needs a reason", "State with --reason why the release stands again")
    with deployment.ledger.leases.hold(lease_keys.of_vintage(release.dataset, release.vintage)):
        changed = deployment.ledger.withdrawals.reinstate(release, who=who, reason=reason.strip())
    return _follow(deployment, release, declared, changed=changed)


def _follow(
    deployment: Deployment, release: PublishedRelease, declared: Sequence[Dataset], *, changed: bool
) -> Decided:
    """Bring `/processed/`, torrents, catalogue and portal up to date with the ledger, in this order."""
    dataset = catalogue.latest_declarations(deployment, declared).get(release.dataset)
    if dataset is None:
        raise IntegrityError(f"The ledger has no declaration of {release.dataset}", rerun="checksums")
    switched = latest.switch(deployment, dataset, release.vintage)
    current = published_release(deployment, release.name)
    reissue(deployment, only=current)
    catalogue.rebuild(deployment, declared)
    portal.build(deployment, declared)
    serving = switched.release if switched.release.withdrawn is None else None
    return Decided(current, serving, switched.url, changed)
