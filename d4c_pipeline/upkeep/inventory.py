"""Comparison of the archive with the ledger: orphaned drafts, stalled deposits, records that differ from the release.

This module changes nothing; a person decides on each finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from d4c_pipeline.archives.port import Draft
from d4c_pipeline.model.errors import NeedsPersonError, UnknownNameError
from d4c_pipeline.model.release import Deposit, DepositState, LivingRelease, PublishedRelease
from d4c_pipeline.workspace.deployment import Deployment

_HANGING = timedelta(days=1)
_ENDS = (DepositState.PUBLISHED, DepositState.ABANDONED)


@dataclass(frozen=True)
class Hanging:
    """A deposit that has not advanced for a day, is not finished and has no pending review."""

    release: LivingRelease
    deposit: Deposit


@dataclass(frozen=True)
class Drafts:
    """`orphans`: drafts of our account without a deposit in the ledger. `hanging`: stalled deposits."""

    orphans: tuple[Draft, ...]
    hanging: tuple[Hanging, ...]


@dataclass(frozen=True)
class FileState:
    """A file of a published release and its state in the archive: `same`, `missing`, `different` or `foreign`."""

    name: str
    state: str
    detail: str = ""


def drafts(deployment: Deployment, *, at: datetime | None = None) -> Drafts:
    """Compare the drafts at the archive with the ledger. `at`: the reference time, now by default."""
    deposits = [deposit for deposit in deployment.ledger.deposits.all() if deposit.archive == deployment.archive.name]
    owned = {deposit.record_id for deposit in deposits if deposit.state is not DepositState.ABANDONED}
    before = (at or datetime.now(UTC)) - _HANGING
    releases = {release.id: release for release in deployment.ledger.releases.living()}
    return Drafts(
        orphans=tuple(draft for draft in deployment.archive.drafts() if draft.record_id not in owned),
        hanging=tuple(
            Hanging(releases[deposit.release_id], deposit)
            for deposit in deposits
            if deposit.state not in (*_ENDS, DepositState.AWAITING_REVIEW)
            and deposit.updated_at is not None
            and deposit.updated_at < before
            and deposit.release_id in releases
        ),
    )


def verify(deployment: Deployment, doi: str) -> tuple[FileState, ...]:
    """Compare the files of a published record with the ledger, by name, size and md5.

    Raises UnknownNameError when the ledger has no published release of that DOI, NeedsPersonError when the archive
    lost the record, or the deposit belongs to another archive.
    """
    release, deposit = _published(deployment, doi)
    if deposit.archive != deployment.archive.name:
        raise NeedsPersonError(
            f"{doi} was published in '{deposit.archive}', the configured archive is '{deployment.archive.name}'",
            "Configure that one to verify it",
        )
    if deposit.record_id is None:
        raise NeedsPersonError(
            f"The record of {doi} was lost by the archive; an operator deleted it from the ledger",
            "The files of the release are in the stores: 'd4c verify' checks them",
        )
    record = deployment.archive.read(deposit.record_id)
    if record is None:
        raise NeedsPersonError(
            f"The archive has no published record {deposit.record_id} of {doi}", "Ask the archive's managers"
        )
    there = {file.name: file for file in record.files}
    ours = {artifact.name: artifact for artifact in release.artifacts}
    states: list[FileState] = []
    for name in sorted({*there, *ours}):
        if name not in ours:
            states.append(FileState(name, "foreign"))
        elif name not in there:
            states.append(FileState(name, "missing"))
        elif (there[name].size, there[name].md5) != (ours[name].size, ours[name].md5):
            detail = (
                f"{there[name].size} bytes, md5 {there[name].md5}; published with {ours[name].size}, {ours[name].md5}"
            )
            states.append(FileState(name, "different", detail))
        else:
            states.append(FileState(name, "same"))
    return tuple(states)


def _published(deployment: Deployment, doi: str) -> tuple[PublishedRelease, Deposit]:
    wanted = doi.lower().removeprefix("https://doi.org/").removeprefix("doi:")
    releases = {release.id: release for release in deployment.ledger.releases.published()}
    for deposit in deployment.ledger.deposits.all():
        if deposit.release_id in releases and str(deposit.doi).lower() == wanted:
            return releases[deposit.release_id], deposit
    raise UnknownNameError(f"The ledger has no published release with the DOI {doi}", "List them with 'd4c releases'")
