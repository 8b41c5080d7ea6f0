"""The ordered table of the ten steps, with every effect that running a step has.

Assets, the review job, commands and tests run steps only through `run`, `catalogue` and `portal`, so that a step has
the same effects everywhere. The work of a step belongs to its module, the presentation of a result to the caller.
Each step imports its module when it runs: definitions, sensors and the steps of other runs need neither Arrow nor GDAL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import AwaitingReviewError, D4CError
from d4c_pipeline.model.partition import Partition
from d4c_pipeline.model.release import Deposit, PlannedRelease
from d4c_pipeline.model.version import Bump
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.checks.verdict import Outcome, Verdict
from d4c_pipeline.telemetry.labels import labelled
from d4c_pipeline.telemetry.spans import span
from d4c_pipeline.watch.failures import remembered
from d4c_pipeline.watch.pauses import refuse_paused
from d4c_pipeline.workspace import progress
from d4c_pipeline.workspace.builds import StagedBuild
from d4c_pipeline.workspace.deployment import Deployment

if TYPE_CHECKING:
    from d4c_pipeline.chain import catalogue as all_datasets
    from d4c_pipeline.chain import checksums, copies, deposit, latest, raw, torrent
    from d4c_pipeline.chain.portal_result import PortalBuilt


@dataclass(frozen=True)
class Unit:
    """The object of a step: a partition as named in Dagster and the ledger, with its dataset and vintage.

    `listed_as` is the state of the source in the listing of a family; None for a dataset outside a family.
    """

    partition: Partition
    dataset: Dataset
    vintage: Vintage
    listed_as: str | None = None

    @classmethod
    def of(cls, dataset: Dataset, vintage: Vintage) -> Unit:
        """Return the unit of a vintage of a dataset that is no member of a family."""
        return cls(Partition(dataset.id, str(vintage)), dataset, vintage)


@dataclass(frozen=True)
class Judged:
    """A build with the verdicts of its checks; `overridden` has by check the reviewer and reason of an override."""

    build: StagedBuild
    verdicts: tuple[Verdict, ...]
    overridden: Mapping[str, str]

    @property
    def blocking(self) -> tuple[Verdict, ...]:
        """The verdicts that stop the chain after this step."""
        return tuple(
            each for each in self.verdicts if each.outcome is Outcome.FAILURE and each.check not in self.overridden
        )


@dataclass(frozen=True)
class Waiting:
    """A complete release whose publication awaits an approval: the reasons, how to continue, and what it changes."""

    release: str
    cause: str
    remedy: str
    changes: str
    """Markdown."""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One of the nine steps of a vintage: its name, a description, and its work with all effects."""

    name: str
    description: str
    work: Callable[[Deployment, Unit, Bump], Any]


def _raw(deployment: Deployment, unit: Unit, _: Bump) -> raw.Retained:
    """Retain the native files, and record the state of the source at the fetch."""
    from d4c_pipeline.chain import raw  # noqa: PLC0415

    observations, where = deployment.ledger.observations, unit.partition
    refuse_paused(deployment, where.subject)
    known = observations.get(where.subject, where.key)
    result = raw.retain(deployment, unit.dataset, unit.vintage)
    before = known.seen if known else None
    if result.fingerprint is not None:
        # The listing decides whether a member is due; its date may differ from the date in the table's metadata.
        listed = None if unit.listed_as is None else before or unit.listed_as
        observations.record_retained(where.subject, where.key, listed or result.fingerprint, before)
    return result


def _processed(deployment: Deployment, unit: Unit, _: Bump) -> Judged:
    """Build the data and run every check that applies."""
    from d4c_pipeline.chain import processed  # noqa: PLC0415
    from d4c_pipeline.review import verdicts  # noqa: PLC0415

    build = processed.process(deployment, unit.dataset, unit.vintage)
    judged = verdicts.judge(deployment, unit.dataset, unit.vintage, build)
    return Judged(build, judged, verdicts.overridden(deployment, build.sha256))


def _checksums(deployment: Deployment, unit: Unit, at_least: Bump) -> checksums.Plan:
    from d4c_pipeline.chain import checksums  # noqa: PLC0415

    return checksums.plan(deployment, unit.dataset, unit.vintage, at_least)


def _deposit(deployment: Deployment, unit: Unit, _: Bump) -> deposit.Deposited | Waiting:
    """Publish the release, unless it awaits an approval: a pending review is a result, not a failure."""
    from d4c_pipeline.chain import deposit  # noqa: PLC0415
    from d4c_pipeline.review.policy import needs_notice, reasons_for_review  # noqa: PLC0415

    try:
        return deposit.publish(deployment, unit.dataset, unit.vintage)
    except AwaitingReviewError as error:
        planned = deployment.ledger.releases.planned(unit.dataset.id, unit.vintage)
        if planned is None:  # decided meanwhile by another process
            raise
        if needs_notice(unit.dataset, planned) and planned.id in deployment.ledger.catalogue.changes():
            # The steps after this one are skipped, so this one brings the announcement into the feeds.
            catalogue(deployment, ())
        reasons = reasons_for_review(deployment, unit.dataset, planned)
        changes = _changes(deployment, unit.dataset, planned)
        return Waiting(planned.name, error.cause, error.remedy, changes, reasons)


def _changes(deployment: Deployment, dataset: Dataset, planned: PlannedRelease) -> str:
    """Return the changes of a release as Markdown; if they can't be found, why: the review does not depend on them."""
    from d4c_pipeline.review.changes import as_markdown, changes_of  # noqa: PLC0415

    try:
        return as_markdown(changes_of(deployment, dataset, planned))
    except D4CError as error:
        return f"The changes can't be shown: {error}"


def _latest(deployment: Deployment, unit: Unit, _: Bump) -> latest.Switched:
    """Switch `/processed/`, and record that the noticed change of this partition is settled."""
    from d4c_pipeline.chain import latest  # noqa: PLC0415

    result = latest.switch(deployment, unit.dataset, unit.vintage)
    deployment.ledger.observations.record_settled(unit.partition.subject, unit.partition.key)
    return result


def _doi(deployment: Deployment, unit: Unit, _: Bump) -> Deposit:
    from d4c_pipeline.chain import doi  # noqa: PLC0415

    return doi.reserve_doi(deployment, unit.dataset, unit.vintage)


def _copies(deployment: Deployment, unit: Unit, _: Bump) -> copies.Distributed:
    from d4c_pipeline.chain import copies  # noqa: PLC0415

    return copies.distribute(deployment, unit.dataset, unit.vintage)


def _torrent(deployment: Deployment, unit: Unit, _: Bump) -> torrent.Seeded:
    from d4c_pipeline.chain import torrent  # noqa: PLC0415

    return torrent.make(deployment, unit.dataset, unit.vintage)


def _stac_item(deployment: Deployment, unit: Unit, _: Bump) -> dict[str, Any]:
    from d4c_pipeline.chain import stac_item  # noqa: PLC0415

    return stac_item.describe(deployment, unit.dataset, unit.vintage)


STEPS: Mapping[str, Step] = MappingProxyType(
    {
        step.name: step
        for step in (
            Step("raw", "Fetches the native files of a vintage, verifies them and retains them.", _raw),
            Step(
                "processed",
                "Converts, cleans and sorts the native data and writes it as (Geo)Parquet, with its profile.",
                _processed,
            ),
            Step(
                "checksums",
                "Hashes the artifacts, compares them with the newest published release and decides the version.",
                _checksums,
            ),
            Step("doi", "Reserves the DOI in the archive, in a draft that can be undone.", _doi),
            Step(
                "copies",
                "Puts the release at its immutable address in every store, verified.",
                _copies,
            ),
            Step(
                "torrent",
                "Makes a torrent per data file, with the web seeds that serve these very bytes.",
                _torrent,
            ),
            Step("stac_item", "Describes the release as a validated STAC item.", _stac_item),
            Step(
                "deposit",
                "Uploads every artifact to the archive, verifies them there and publishes the record. Where the policy "
                "asks for an approval it waits. Nothing undoes a publication.",
                _deposit,
            ),
            Step("latest", "Switches /processed/ to the newest release, never backwards.", _latest),
        )
    }
)
"""The steps of a vintage in order. The tenth, `catalogue`, covers all datasets and has its own function."""

FIRST_STEP, PLANNING_STEP, LAST_STEP = "raw", "checksums", "latest"
AFTER_APPROVAL = ("deposit", "latest")
"""The steps that continue after an approval; the catalogue follows."""


def run(
    deployment: Deployment,
    partition: Partition,
    step: str,
    find: Callable[[], Unit],
    *,
    at_least: Bump = Bump.NONE,
    by: str | None = None,
    passing: Callable[[D4CError], bool] = lambda _: False,
) -> Any:
    """Run the step of that name on a partition with all its effects, and return the result of the step.

    `find` returns the unit of the partition. It is called here because it may query the source, and its failure is a
    failure of the step. `at_least` is the smallest bump that `checksums` may plan. `by` is the id of the run, recorded
    with a failure. `passing` returns whether the caller retries an error, which the ledger then does not record as a
    failure. Raises the errors of the step.
    """
    with (
        labelled(dataset=partition.subject, vintage=partition.key, step=step, run=by),
        span(step),
        remembered(deployment, partition, step, run=by, unless=passing),
    ):
        unit = find()
        if by is not None:
            deployment.ledger.active_runs.record_step(by, partition.subject, step)
        progress.report(progress.Progress(unit.dataset.id, str(unit.vintage), step))
        result = STEPS[step].work(deployment, unit, at_least)
    if isinstance(result, Judged) and result.blocking:
        _record_blocking(deployment, partition, step, result.blocking, by)
    return result


def catalogue(deployment: Deployment, declared: Sequence[Dataset]) -> all_datasets.Catalogued:
    """Run the tenth step: rebuild the catalogue of every published release from the ledger."""
    from d4c_pipeline.chain import catalogue as all_datasets  # noqa: PLC0415

    with labelled(step="catalogue"), span("catalogue"):
        return all_datasets.rebuild(deployment, declared)


def portal(deployment: Deployment, declared: Sequence[Dataset]) -> PortalBuilt:
    """Build the pages of every published release, which follow the catalogue."""
    from d4c_pipeline.chain import portal as pages  # noqa: PLC0415 - only this needs templates and pictures

    with labelled(step="portal"), span("portal"):
        return pages.build(deployment, declared)


def _record_blocking(
    deployment: Deployment, partition: Partition, step: str, blocking: Sequence[Verdict], by: str | None
) -> None:
    """Record that checks stop the chain after a successful step."""
    deployment.ledger.failures.record(
        partition.subject,
        partition.key,
        step,
        kind="CheckFailed",
        transient=False,
        cause="; ".join(f"{each.check}: expected {each.expected}, found {each.actual}" for each in blocking),
        remedy="; ".join(dict.fromkeys(each.remedy for each in blocking if each.remedy)),
        run=by,
    )
