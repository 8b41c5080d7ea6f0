"""The file of changes of a planned release: every row that differs from the release that it supersedes, proved.

`checksums` calls this when the name of the release is decided. The file itself belongs to `processing.changes`; other
differences, which decide the version, to `processing.compare` and `derived_changes`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from d4c_pipeline.archives import port
from d4c_pipeline.files.scratch import workspace
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.licences import DeclaredLicence
from d4c_pipeline.model.parts import CHANGES_SUFFIX, file_name
from d4c_pipeline.model.release import CHANGES, PublishedRelease, Release
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import changes
from d4c_pipeline.workspace.builds import StagedBuild
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import artifact_path

_ALWAYS_CARRIED = 2**24  # bytes: small data has smaller changes, but their footer alone has some kB
_OTHERS = 7  # profile, manifest, code, README, item, and two lists of checksums


def base_of(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> PublishedRelease | None:
    """Return the release that readers of the next release of `vintage` have now; None for the first of its product.

    That is the newest release of the vintage that stands; in a rolling series without one, the newest that stands of
    the vintage before. Never a withdrawn one: its values would be published again as the old values of the changes.
    """
    releases = deployment.ledger.releases
    found = releases.newest_standing(dataset.id, vintage)
    if found is None and dataset.series == "rolling":
        return releases.newest_before(dataset.id, vintage)
    return found


def since(release: Release) -> str | None:
    """Return the name of the release that the changes of `release` begin with; None where no changes were found."""
    found = release.summary.report.get(CHANGES)
    return None if found is None else found["since"]


def with_changes(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, name: str, staged: StagedBuild
) -> tuple[StagedBuild, Path | None]:
    """Return the build with the counts of its changes in the report, and the file of changes in staging.

    No file for a first release, where the dataset declares `outputs.changes: false`, where the changes have more bytes
    than the data that they lead to, and where they would be one file more than a record of the archive holds. Raises
    IntegrityError when the changes do not make the new data out of the earlier data, or no store has the earlier data:
    then nothing is planned.
    """
    earlier = base_of(deployment, dataset, vintage) if dataset.outputs.changes else None
    if earlier is None:
        return staged, None
    settings = deployment.settings
    limits = {"threads": settings.threads, "memory_limit": settings.memory_limit, "temp": settings.temp}
    before = _earlier_files(deployment, earlier, staged)
    folder = deployment.staging(dataset, vintage) / "changes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found = changes.find(
        before,
        staged.paths,
        folder / f"{name}{CHANGES_SUFFIX}",
        cut=dataset.outputs.partition,
        names=([file.name for file in earlier.data_files], [file_name(name, file.part) for file in staged.data]),
        **limits,
    )
    counts = {
        "since": earlier.name,
        "kind": dict(found.recipe.counts),
        "column": found.by_column,
        "province": found.by_province,
    }
    # Who needs more bytes of changes than the data has is better served by the data.
    small = found.path.stat().st_size <= max(_ALWAYS_CARRIED, sum(path.stat().st_size for path in staged.paths))
    carried = small and _files_without(dataset, staged) < port.MAX_FILES
    if carried:
        _prove(before, found.path, folder, settings.temp, earlier.name, name, limits)
    summary = replace(staged.summary, report={**staged.summary.report, CHANGES: counts | {"carried": carried}})
    return replace(staged, summary=summary), found.path if carried else None


def _files_without(dataset: Dataset, staged: StagedBuild) -> int:
    """Return how many files the record of the release has without the changes; data files have a torrent each."""
    return 2 * len(staged.data) + len(staged.derived) + isinstance(dataset.license, DeclaredLicence) + _OTHERS


def _earlier_files(deployment: Deployment, earlier: PublishedRelease, staged: StagedBuild) -> list[Path]:
    if earlier.data_sha256 == staged.sha256:
        return list(staged.paths)
    try:
        return [artifact_path(deployment, earlier, file) for file in earlier.data_files]
    except IntegrityError as error:
        raise IntegrityError(
            f"The changes since {earlier.name} can't be found: {error.cause}",
            f"Run 'd4c verify --full {earlier.dataset}' and 'd4c repair {earlier.dataset}', or declare "
            "'outputs: {changes: false}'",
        ) from error


def _prove(
    before: Sequence[Path], changed: Path, folder: Path, temp: Path | None, was: str, now: str, limits: dict[str, Any]
) -> None:
    with workspace(folder, temp) as work:
        try:
            changes.apply(before, changed, work, **limits)
        except IntegrityError as error:
            raise IntegrityError(
                f"The changes from {was} to {now} do not lead to the new data: {error.cause}",
                "Another version of d4c may have made the build: run 'processed' again. If that does not help, report "
                "it as a bug, and until it is mended declare 'outputs: {changes: false}'",
            ) from error
