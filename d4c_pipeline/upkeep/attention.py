"""Attention: everything that waits for a person, each with the command that settles it or the sentence what to do.

The findings come from the ledger, the archive's list of drafts, the disks and the settings. Nothing is changed.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from d4c_pipeline.model.alerting import AlertSettings
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.fixity import CopyState
from d4c_pipeline.model.release import DepositState
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.stores import FolderPlace
from d4c_pipeline.model.submission import SubmissionState
from d4c_pipeline.review.decisions import waiting
from d4c_pipeline.upkeep.coverage import Mend, shortfalls
from d4c_pipeline.upkeep.fixity import expected_copies
from d4c_pipeline.upkeep.inventory import drafts
from d4c_pipeline.watch.failures import describe_failures
from d4c_pipeline.watch.noticing import EmptyListingError, ShrunkenListingError
from d4c_pipeline.workspace.deployment import Deployment

_FREE_SHARE, _FREE_BYTES = 0.1, 50 * 10**9
"""A disk is nearly full below both: a tenth of a large disk is still room for days."""
TOKEN_NOTICE = timedelta(days=30)
_REGISTERED_WITHIN = timedelta(days=1)
_LATE = timedelta(hours=1)


class Kind(StrEnum):
    """The kind of a finding, in the order of a person's work."""

    REVIEW = "review waits"
    SUBMISSION = "submission waits"
    FAILED = "partition failed"
    RUN = "run failed"
    CHECK = "check failed"
    OVERDUE = "source not checked"
    SHRUNK = "source shrank"
    PAUSED = "source paused"
    LOST = "copies lost"
    UNREACHABLE = "copies unreachable"
    TOO_FEW = "too few copies"
    DRAFT = "draft without owner"
    HANGING = "deposit hangs"
    DOI = "DOI not registered"
    DISK = "disk nearly full"
    TOKEN = "token expires"  # noqa: S105 - a label
    ALERT = "alert not delivered"
    ARCHIVE = "archive unreachable"


@dataclass(frozen=True)
class Attention:
    """One finding: its kind, the release, partition or place, what is wrong, and the command that settles it.

    `remedy` says what to do where no command settles it: the command then shows the matter or tests the result.
    `dataset` (of a member: its family), `partition` and `step` are empty for a finding of no partition. `check` and
    `run` name the check that failed and Dagster's run.
    """

    kind: Kind
    subject: str
    detail: str
    command: str
    dataset: str = ""
    partition: str = ""
    step: str = ""
    remedy: str = ""
    check: str = ""
    run: str = ""


def needs_attention(
    deployment: Deployment, declared: Collection[Dataset | Family], *, at: datetime | None = None
) -> tuple[Attention, ...]:
    """Return the findings in the order of `Kind`. `at`: the reference time, now by default.

    `declared`: the current datasets and families. An unreachable archive is a finding, no error.
    """
    moment = at or datetime.now(UTC)
    found = [
        *_reviews(deployment),
        *_submissions(deployment),
        *_failures(deployment, declared),
        *_paused(deployment),
        *_copies(deployment, declared),
        *_deposits(deployment, declared, moment),
        *_dois(deployment, moment),
        *_disks(deployment.settings),
        *_tokens(deployment.settings, moment.date()),
        *_overdue(deployment, declared, moment),
        *_undelivered(deployment),
    ]
    order = list(Kind)
    return tuple(sorted(found, key=lambda each: order.index(each.kind)))


def _reviews(deployment: Deployment) -> Iterator[Attention]:
    for release in waiting(deployment):
        detail = f"planned {release.planned_at:%Y-%m-%d}; then 'd4c review approve' or 'reject'"
        if (notice := deployment.ledger.announcements.notice(release)) is not None:
            detail = f"announced for {notice.due}, published by the first run from that day on; {detail}"
        yield Attention(Kind.REVIEW, release.name, detail, f"d4c review show {release.name}")


def _submissions(deployment: Deployment) -> Iterator[Attention]:
    for line in deployment.ledger.submissions.lines([SubmissionState.IN_APPRAISAL, SubmissionState.DRAFTED]):
        subject, number = f"submission {line.id}", line.id
        # Without its title: a stranger's text would stand in the Markdown of the UI.
        since = f"since {line.updated_at:%Y-%m-%d}"
        if line.state is SubmissionState.IN_APPRAISAL:
            yield Attention(Kind.SUBMISSION, subject, f"a decision, {since}", f"d4c submissions show {number}")
        else:
            detail = f"complete the draft {line.dataset}, {since}"
            yield Attention(
                Kind.SUBMISSION,
                subject,
                detail,
                f"d4c submissions ready {number}",
                remedy="Complete the draft's YAML; the command then publishes its dataset",
            )
    for notice in deployment.ledger.submissions.failed_notices():
        detail = f"{notice.channel} of {notice.event.at:%Y-%m-%d}, {notice.attempts} attempts"
        if notice.channel == "mail":  # what a webhook answers is a stranger's text
            detail += f": {notice.error}"
        subject = f"submission {notice.event.submission_id}"
        yield Attention(
            Kind.ALERT,
            subject,
            detail,
            f"d4c submissions show {notice.event.submission_id}",
            remedy="Correct D4C_SUBMISSIONS_MAIL or write to the submitter yourself",
        )


def _failures(deployment: Deployment, declared: Collection[Dataset | Family]) -> Iterator[Attention]:
    for row in describe_failures(deployment, [each.id for each in declared]):
        acceptable = row["kind"] == ShrunkenListingError.__name__
        shrunk = acceptable or row["kind"] == EmptyListingError.__name__
        subject = " ".join(filter(None, (row["dataset"], row["partition"])))
        detail = ". ".join(filter(None, (f"{row['step']}: {row['cause']}", row["remedy"])))
        yield Attention(
            Kind.SHRUNK if shrunk else Kind.FAILED,
            subject,
            detail,
            f"{row['command']} --accept" if acceptable else row["command"],
            dataset=row["dataset"],
            partition=row["partition"],
            step=row["step"],
            remedy="An empty listing can't be accepted: wait, or correct the source in the YAML"
            if shrunk and not acceptable
            else "",
        )


def _paused(deployment: Deployment) -> Iterator[Attention]:
    for each in deployment.ledger.pauses.all():
        detail = f"since {each.paused_at:%Y-%m-%d} by {each.who}: {each.reason}"
        yield Attention(Kind.PAUSED, each.subject, detail, f"d4c resume {each.subject}", dataset=each.subject)


def _copies(deployment: Deployment, declared: Collection[Dataset | Family]) -> Iterator[Attention]:
    known = deployment.ledger.fixity.known()
    lost, silent = Counter[str](), Counter[str]()
    for copy in expected_copies(deployment):
        state = known[copy.key].state if copy.key in known else CopyState.INTACT
        lost[copy.place] += state.is_lost
        silent[copy.place] += state is CopyState.UNREACHABLE
    for place, count in (+lost).items():
        yield Attention(Kind.LOST, place, f"{count} copies are damaged or missing by the last audit", "d4c repair")
    for place, count in (+silent).items():
        yield Attention(Kind.UNREACHABLE, place, f"{count} copies gave no answer at the last audit", "d4c verify")
    for short in shortfalls(deployment, declared):
        command, remedy = _MENDS[short.mend]
        yield Attention(
            Kind.TOO_FEW,
            short.release,
            short.detail,
            command.format(short.dataset),
            dataset=short.dataset,
            remedy=remedy,
        )


_MENDS = {
    Mend.REPAIR: ("d4c repair {}", ""),
    Mend.VERIFY: ("d4c verify {}", ""),
    Mend.PUSH: ("d4c prune", ""),
    Mend.ADD_PLACE: (
        "d4c prune",
        "Name another store in D4C_STORES, which the command fills, or lower D4C_COPIES or publication.copies",
    ),
}


def _deposits(deployment: Deployment, declared: Collection[Dataset | Family], moment: datetime) -> Iterator[Attention]:
    try:
        found = drafts(deployment, at=moment)
    except D4CError as error:
        yield Attention(
            Kind.ARCHIVE,
            deployment.archive.name,
            error.cause,
            "d4c doctor",
            remedy=error.remedy or "Restore the connection to the archive",
        )
        return
    for draft in found.orphans:
        place = draft.url or "the archive"
        yield Attention(
            Kind.DRAFT,
            draft.record_id,
            "no release owns it",
            "d4c archive drafts",
            remedy=f"Delete it at {place}, or publish it there if it is somebody's work",
        )
    for hanging in found.hanging:
        release = hanging.release
        detail = f"{hanging.deposit.state.value} without progress for a day"
        product, partition, option = release.dataset, str(release.vintage), "--vintage"
        for family in declared:
            if isinstance(family, Family) and (key := family.key_of(release.dataset)) is not None:
                product, partition, option = family.id, key, "--member"
        command = f"d4c publish {product} {option} {partition}"
        yield Attention(
            Kind.HANGING, release.name, detail, command, dataset=product, partition=partition, step="deposit"
        )


def _dois(deployment: Deployment, moment: datetime) -> Iterator[Attention]:
    releases = {release.id: release for release in deployment.ledger.releases.published()}
    for deposit in deployment.ledger.deposits.all():
        release = releases.get(deposit.release_id)
        if (
            release is None
            or deposit.state is not DepositState.PUBLISHED
            or deposit.registered_at is not None
            or (deposit.test and deployment.settings.doi_resolver is None)
            or moment - release.published_at < _REGISTERED_WITHIN
        ):
            continue
        detail = f"{deposit.doi} is published and not known to be registered"
        yield Attention(Kind.DOI, release.name, detail, "d4c archive dois", dataset=release.dataset)


@dataclass(frozen=True)
class Disk:
    """A disk by the first of our folders on it. `free` and `total` in bytes."""

    folder: Path
    free: int
    total: int

    @property
    def is_nearly_full(self) -> bool:
        """Whether less than a tenth and less than 50 GB are free."""
        return self.free < min(self.total * _FREE_SHARE, _FREE_BYTES)

    @property
    def detail(self) -> str:
        """The free space as a clause."""
        return f"{self.free / 10**9:,.1f} GB of {self.total / 10**9:,.0f} GB are free"

    @property
    def command(self) -> str:
        """The command that shows what takes the space."""
        return f"du --max-depth=2 --human-readable {self.folder}"


def disks(settings: Settings) -> list[Disk]:
    """Return the disks of home (the disk that it will be on), temporary files and stores, each once."""
    places = (settings.stores.primary, *settings.stores.mirrors)
    home = next(folder for folder in (settings.home, *settings.home.parents) if folder.is_dir())
    folders = [home, settings.temp, *(place.path for place in places if isinstance(place, FolderPlace))]
    found: dict[int, Path] = {}
    for folder in folders:
        if folder is not None and folder.is_dir():
            found.setdefault(folder.stat().st_dev, folder)
    usages = [(folder, shutil.disk_usage(folder)) for folder in found.values()]
    return [Disk(folder, usage.free, usage.total) for folder, usage in usages]


def _disks(settings: Settings) -> Iterator[Attention]:
    for disk in disks(settings):
        if disk.is_nearly_full:
            yield Attention(
                Kind.DISK,
                str(disk.folder),
                disk.detail,
                disk.command,
                remedy="Delete what else lies on the disk, or move the folder to a larger one",
            )


def _tokens(settings: Settings, today: date) -> Iterator[Attention]:
    expires = settings.archive_token_expires
    if expires is not None and expires - today <= TOKEN_NOTICE:
        detail = f"the archive's token {'expired' if expires < today else 'expires'} on {expires}"
        yield Attention(
            Kind.TOKEN,
            settings.archive,
            detail,
            "d4c doctor",
            remedy="Make another token at the archive, set it and its day (D4C_ARCHIVE_TOKEN, "
            "D4C_ARCHIVE_TOKEN_EXPIRES), restart the daemon and the workers",
        )


def _overdue(deployment: Deployment, declared: Collection[Dataset | Family], moment: datetime) -> Iterator[Attention]:
    """Yield the sources that are checked automatically and were not listed within twice their declared rhythm."""
    for each in declared:
        listing = deployment.ledger.listings.of(each.id) if each.noticing.enabled else None
        rhythm = timedelta(hours=each.noticing.discover_hours)
        if listing is not None and moment - listing.listed_at > 2 * rhythm + _LATE:
            every = f"declared every {each.noticing.discover_hours:g} h"
            detail = f"last listed {listing.listed_at:%Y-%m-%d %H:%M} UTC, {every}"
            yield Attention(Kind.OVERDUE, each.id, detail, f"d4c notice {each.id}", dataset=each.id)


def alert_label(address: str) -> str:
    """Return the label of an address of alerts, without its secrets: its scheme and a digest of it."""
    return f"{address.partition('://')[0]} {hashlib.sha256(address.encode()).hexdigest()[:8]}"


def _undelivered(deployment: Deployment) -> Iterator[Attention]:
    labels = [alert_label(place) for place in AlertSettings.from_environment().places()]
    for failing in deployment.ledger.alerts.failing(labels):
        detail = f"{failing.at:%Y-%m-%d %H:%M} UTC: {failing.cause}"
        remedy = "Correct the address in D4C_ALERTS, or its service"
        yield Attention(Kind.ALERT, failing.address, detail, "d4c alert --test", remedy=remedy)
