"""Dry runs: the change that processing a vintage again would publish, without publishing anything.

A dry run builds the retained native files with the present code and definition, in a folder of its own, and compares as
the step `checksums` does. Source, staging, plans, archive and stores stay as they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from d4c_pipeline.chain.checksums import next_release
from d4c_pipeline.chain.processed import build_into
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, UnknownNameError
from d4c_pipeline.model.release import Change, PublishedRelease
from d4c_pipeline.model.version import Bump
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.deployment import Deployment
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


def dry_run(deployment: Deployment, dataset: Dataset, vintage: Vintage, at_least: Bump = Bump.NONE) -> DryRun:
    """Build and compare a vintage. `at_least`: the smallest bump that an operator would accept.

    Raises what the steps `processed` and `checksums` would raise, BusyError during another dry run of the vintage.
    """
    report(Progress(dataset.id, str(vintage), "dry run"))
    folder = deployment.settings.home / "dry_runs" / dataset.id / str(vintage)
    with deployment.ledger.leases.hold(lease_keys.of_dry_run(dataset.id, vintage)):
        try:
            with storage_errors(f"write in {folder}"):
                shutil.rmtree(folder, ignore_errors=True)  # of a killed dry run
                (folder / "build").mkdir(parents=True)
            staged = build_into(deployment, dataset, vintage, folder / "build")
            change, result = next_release(deployment, dataset, vintage, staged, at_least)
            size = sum(path.stat().st_size for path in staged.paths)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return DryRun(
        dataset=dataset.id,
        vintage=vintage,
        current=deployment.ledger.releases.newest_published(dataset.id, vintage),
        next=None if isinstance(result, PublishedRelease) else result,
        change=change,
        rows=staged.summary.rows,
        bytes=size,
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
