"""Dry runs: the change that processing a vintage again would publish, without publishing anything.

A dry run builds the retained native files with the present code and definition, in a folder of its own, and compares as
the step `checksums` does. Source, staging, plans, archive and stores stay as they are. A trial also fetches what is not
retained and runs the checks: it proves a declaration before its first publication.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from d4c_pipeline.chain.checksums import next_release
from d4c_pipeline.chain.processed import build_into
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, PermanentError, UnknownNameError
from d4c_pipeline.model.gaps import Gap, gaps_of
from d4c_pipeline.model.release import SAMPLE, Change, NativeFile, PublishedRelease
from d4c_pipeline.model.version import Bump
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.checks.run import checks_of
from d4c_pipeline.processing.checks.verdict import Outcome, Verdict
from d4c_pipeline.review.verdicts import verdicts_of
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.sources.port import Arrived
from d4c_pipeline.workspace.builds import StagedBuild
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.package_rules import load_package_rules, unmet
from d4c_pipeline.workspace.progress import Progress, report

_PREFIX = "d4c-datapkg-"


@dataclass(frozen=True)
class DryRun:
    """The change that a vintage would get. `next`: the name of the release, None if nothing would be published.

    `current`: the newest published release, None before the first. `rows`, `bytes`: of the data of the dry run.
    """

    dataset: str
    vintage: Vintage
    current: PublishedRelease | None
    next: str | None
    change: Change
    rows: int
    bytes: int

    @property
    def outcome(self) -> str:
        """`MAJOR`, `MINOR` or `PATCH`, `first release`, or `none`."""
        if self.next is None:
            return "none"
        return "first release" if self.current is None else self.change.bump.name


@dataclass(frozen=True)
class Trial:
    """The result of building a vintage on trial: its dry run, the verdicts of all checks, the gaps of the declaration.

    `gaps`: the marks of a draft, and what the rules of the package require beside them. `fetched`: bytes of native
    files that came from the source, 0 if the retained files were built. `sample`: the number of rows that were read,
    None if all were; then `run` compares nothing, and `unjudged` names the checks that need all rows.
    """

    run: DryRun
    verdicts: tuple[Verdict, ...]
    gaps: tuple[Gap, ...]
    fetched: int
    sample: int | None = None
    unjudged: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """The outcome of the comparison with the newest release, `not compared` for a sample."""
        return self.run.outcome if self.sample is None else "not compared"

    @property
    def is_ready(self) -> bool:
        """Whether the declaration can be published: no check fails, and no gap is left; of a sample, as far as seen."""
        return not self.gaps and all(verdict.outcome is not Outcome.FAILURE for verdict in self.verdicts)


def dry_run(deployment: Deployment, dataset: Dataset, vintage: Vintage, at_least: Bump = Bump.NONE) -> DryRun:
    """Build and compare a vintage. `at_least`: the smallest bump that an operator would accept.

    Raises what the steps `processed` and `checksums` would raise, BusyError during another dry run of the vintage.
    """
    report(Progress(dataset.id, str(vintage), "dry run"))
    with _folder_of(deployment, dataset, vintage) as folder:
        staged = build_into(deployment, dataset, vintage, folder / "build")
        return _compared(deployment, dataset, vintage, staged, at_least)


def trial(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, most_bytes: int, *, most_rows: int | None = None
) -> Trial:
    """Build, compare and check a vintage; files that are not retained are fetched, up to `most_bytes` in all.

    `most_rows`: build only the first rows of the delivery; if it has more, nothing is compared. Raises what `dry_run`
    and the source raise, PermanentError for a source that states more bytes.
    """
    report(Progress(dataset.id, str(vintage), "trial"))
    rules = load_package_rules(deployment.settings.definitions)
    retained_files = deployment.ledger.natives.current(dataset.id, vintage, dataset.source.addresses(vintage))
    with _folder_of(deployment, dataset, vintage) as folder:
        fetched = [] if retained_files else _fetched(deployment, dataset, vintage, folder / "native", most_bytes)
        staged = build_into(deployment, dataset, vintage, folder / "build", fetched, most_rows=most_rows)
        sample = most_rows if SAMPLE in staged.summary.report else None
        compared = _compared if sample is None else _uncompared
        return Trial(
            run=compared(deployment, dataset, vintage, staged, Bump.NONE),
            verdicts=verdicts_of(deployment, dataset, vintage, staged, folder / "checks"),
            gaps=(*gaps_of(dataset), *unmet(dataset, rules, deployment.ledger)),
            fetched=sum(native.size for native, _ in fetched),
            sample=sample,
            unjudged=() if sample is None else tuple(each.name for each in checks_of(dataset) if each.needs_all),
        )


def _fetched(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, into: Path, most_bytes: int
) -> list[tuple[NativeFile, Path]]:
    source = open_source(dataset, deployment.settings.origins)
    stated = sum(mark.length or 0 for mark in source.observe(vintage).files)
    if stated > most_bytes:
        raise PermanentError(
            f"The native files of {dataset.id} {vintage} have {stated:,} bytes, a trial fetches {most_bytes:,}",
            "Allow more with --most-megabytes",
        )
    arrived = [file for file in source.fetch(vintage, into) if isinstance(file, Arrived)]
    return [(file.native(sha256_of(file.path)), file.path) for file in arrived]


@contextmanager
def _folder_of(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Iterator[Path]:
    """Hold the lease of a vintage's dry run with an empty folder, which is removed at the end."""
    folder = deployment.settings.home / "dry_runs" / dataset.id / str(vintage)
    with deployment.ledger.leases.hold(lease_keys.of_dry_run(dataset.id, vintage)):
        try:
            with storage_errors(f"write in {folder}"):
                shutil.rmtree(folder, ignore_errors=True)  # of a killed dry run
                for name in ("build", "checks", "native"):
                    (folder / name).mkdir(parents=True)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _compared(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, staged: StagedBuild, at_least: Bump
) -> DryRun:
    change, result = next_release(deployment, dataset, vintage, staged, at_least)
    run = _uncompared(deployment, dataset, vintage, staged, at_least)
    return replace(run, next=None if isinstance(result, PublishedRelease) else result, change=change)


def _uncompared(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, staged: StagedBuild, at_least: Bump
) -> DryRun:
    return DryRun(
        dataset=dataset.id,
        vintage=vintage,
        current=deployment.ledger.releases.newest_published(dataset.id, vintage),
        next=None,
        change=Change(at_least, ()),
        rows=staged.summary.rows,
        bytes=sum(path.stat().st_size for path in staged.paths),
    )


def dry_runs(
    deployment: Deployment, vintages: Sequence[tuple[Dataset, Vintage]], at_least: Bump = Bump.NONE
) -> Iterator[DryRun | tuple[Dataset, Vintage, D4CError]]:
    """Yield the dry run of each vintage; a vintage that fails yields its error and stops no other."""
    for dataset, vintage in vintages:
        try:
            yield dry_run(deployment, dataset, vintage, at_least)
        except D4CError as error:
            yield dataset, vintage, error


def retained(
    deployment: Deployment, known: Mapping[str, Dataset], *, package: str | None = None, dataset: str | None = None
) -> tuple[tuple[Dataset, Vintage], ...]:
    """Return the vintages with retained native files of a package or a dataset, sorted by dataset and vintage.

    `known`: all datasets by id. `package` may leave out `d4c-datapkg-`. Raises UnknownNameError for an unknown package
    or dataset, and when nothing is retained.
    """
    wanted = [
        each
        for each in known.values()
        if (dataset is None or each.id == dataset)
        and (package is None or each.name.package in (package, _PREFIX + package))
    ]
    if not wanted:
        if dataset is not None:
            raise UnknownNameError(f"There is no dataset {dataset}", "List them with 'd4c datasets'")
        packages = ", ".join(sorted({str(each.name.package) for each in known.values() if each.name.package}))
        raise UnknownNameError(f"No dataset belongs to the package {package}", f"Packages are: {packages or 'none'}")
    found = [(each, vintage) for each in wanted for vintage in deployment.ledger.natives.vintages(each.id)]
    if not found:
        raise UnknownNameError(
            f"No native files of {dataset or package} are retained", "Publish a vintage first: 'd4c publish DATASET'"
        )
    return tuple(sorted(found, key=lambda pair: (pair[0].id, pair[1])))
