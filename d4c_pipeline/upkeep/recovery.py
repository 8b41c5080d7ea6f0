"""Manual recovery when the archive and the ledger differ: adopt or forget records, restart or merge a draft.

A command calls each function; afterwards `d4c publish` continues. `inventory` finds the differences.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace

from d4c_pipeline.archives import deposit as deposits
from d4c_pipeline.archives.edits import LastSent
from d4c_pipeline.archives.port import Draft
from d4c_pipeline.chain.adoption import adopt_published, is_of
from d4c_pipeline.chain.catalogue import rebuild
from d4c_pipeline.chain.latest import switch
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import PermanentError, UnknownNameError
from d4c_pipeline.model.naming import ReleaseName
from d4c_pipeline.model.release import DepositState, PlannedRelease, PublishedRelease
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.deployment import Deployment

# A data file: the release's name, then the name of its part if there are several.
_DATA = re.compile(r"(?P<release>.+_v\d+\.\d+\.\d+(?:-[0-9a-z.]+)?)(?:_[^/]+)?\.parquet")


@dataclass(frozen=True)
class Adopted:
    """A release adopted from the archive."""

    release: str
    doi: str


def adopt(deployment: Deployment, dataset: Dataset) -> tuple[Adopted, ...]:
    """Adopt every published release of a dataset that the ledger lacks, then switch to the newest.

    Raises what `adopt_published` raises.
    """
    found = [
        vintage
        for listed in deployment.archive.listed()
        for vintage in _vintages(listed.names)
        if is_of(listed, dataset, vintage)
    ]
    adopted: list[PublishedRelease] = []
    for vintage in sorted(set(found)):
        with deployment.working_on(dataset, vintage) as lease:
            new = adopt_published(deployment, dataset, vintage, lease)
        adopted += new
        if new:
            switch(deployment, dataset, vintage)
    if adopted:
        rebuild(deployment, [dataset])
    return tuple(
        Adopted(release.name, str((known := deployment.ledger.deposits.of(release)) and known.doi))
        for release in adopted
    )


def edits(deployment: Deployment, release: PlannedRelease) -> tuple[str, ...]:
    """Return the fields of a planned release's draft that people edited in the archive. Raises the archive's errors."""
    draft = _draft(deployment, release)
    last = LastSent.from_json(deployment.ledger.deposits.described(release))
    return last.edited(deployment.archive.described(draft), deployment.archive.own_fields)


def decide(deployment: Deployment, release: PlannedRelease, keep: str) -> None:
    """Record which side wins in draft fields that both sides changed: `archive` or `ours`."""
    if keep not in ("archive", "ours"):
        raise PermanentError(f"'{keep}' is neither 'archive' nor 'ours'", "Choose one of the two")
    with deployment.ledger.leases.hold(lease_keys.of_vintage(release.dataset, release.vintage)):
        last = LastSent.from_json(deployment.ledger.deposits.described(release))
        deployment.ledger.deposits.describe(release, vars(replace(last, decided=keep)))


def restart(deployment: Deployment, release: PlannedRelease) -> None:
    """Delete the draft of a planned release, so that the next run opens a new draft and reserves a DOI.

    Needed when the archive raised the quota, which a draft keeps from its creation, or was reset. Raises IntegrityError
    when the release is published.
    """
    with deployment.ledger.leases.hold(lease_keys.of_vintage(release.dataset, release.vintage)) as lease:
        deposits.abandon(deployment.ledger, deployment.archive, release, careful=False, lease=lease)
        if deployment.ledger.deposits.of(release) is not None:
            deployment.ledger.deposits.advance(release, DepositState.PLANNED)
            deployment.ledger.deposits.describe(release, vars(LastSent()))


def forget_lost(deployment: Deployment, dataset: str) -> tuple[str, ...]:
    """Remove from the ledger the records of a dataset that a test archive lost, and return their DOIs.

    The next version starts a new concept there. Raises UnknownNameError when the ledger has no published release of the
    dataset, PermanentError when the archive is not a test archive: it does not lose records.
    """
    archive, ledger = deployment.archive, deployment.ledger
    if not archive.test:
        raise PermanentError(
            f"'{archive.name}' is no test archive: what is published there does not vanish", "Ask its managers"
        )
    published = ledger.releases.published(dataset)
    if not published:
        raise UnknownNameError(f"No release of a dataset '{dataset}' is published", "See 'd4c releases'")
    lost: list[str] = []
    for release in published:
        deposit = ledger.deposits.of(release)
        if deposit is None or deposit.archive != archive.name or deposit.record_id is None:
            continue
        if archive.read(deposit.record_id) is None:
            ledger.deposits.advance(release, DepositState.PUBLISHED, record_id=None, files={})
            lost.append(str(deposit.doi))
    return tuple(lost)


def _draft(deployment: Deployment, release: PlannedRelease) -> Draft:
    deposit = deployment.ledger.deposits.of(release)
    draft = deployment.archive.draft(deposit.record_id) if deposit and deposit.record_id else None
    if draft is None:
        raise UnknownNameError(f"The archive has no draft of {release.name}", "See 'd4c archive drafts'")
    return draft


def _vintages(names: frozenset[str]) -> set[Vintage]:
    found: set[Vintage] = set()
    for name in filter(None, map(_DATA.fullmatch, names)):
        with suppress(PermanentError):  # another file with such a suffix
            found.add(ReleaseName.parse(name["release"]).vintage)
    return found
