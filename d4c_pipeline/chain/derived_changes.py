"""Finds the differences between a build and a release in derived files (tiles, desktop formats, CSV, thumbnail).

Different bytes of a derived file are not a difference: a new tippecanoe or GDAL must not mint a DOI for every dataset.
`processing.compare` compares the data; `model.bumps` decides the next version.
"""

from __future__ import annotations

from d4c_pipeline.model.differences import (
    DerivedFileAdded,
    DerivedFileOptionsChanged,
    DerivedFileRemoved,
    Difference,
)
from d4c_pipeline.model.release import DERIVED_ROLES, PublishedRelease, Release
from d4c_pipeline.workspace.builds import StagedBuild
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.plans import manifest_of


def derived_artifacts(release: Release) -> dict[str, str]:
    """Return the sha256 of a release's derived files by the suffix of their names."""
    return {
        artifact.name.removeprefix(release.name): artifact.sha256
        for artifact in release.artifacts
        if artifact.role in DERIVED_ROLES
    }


def derived_differences(
    deployment: Deployment, release: PublishedRelease, staged: StagedBuild
) -> tuple[Difference, ...]:
    """Return how the derived files of a build differ from those of `release`, by presence and options.

    The manifest of the release records the options. Raises IntegrityError without an intact copy of the manifest.
    """
    before = derived_artifacts(release)
    now = {made.suffix: made for made in staged.derived}
    differences: list[Difference] = [DerivedFileAdded(suffix) for suffix in now if suffix not in before]
    differences += [DerivedFileRemoved(suffix) for suffix in before if suffix not in now]
    other = [suffix for suffix, made in now.items() if suffix in before and made.sha256 != before[suffix]]
    if other:
        recorded = manifest_of(deployment, release).derived.parameters
        differences += [
            DerivedFileOptionsChanged(suffix) for suffix in other if recorded.get(suffix) != now[suffix].parameters
        ]
    return tuple(differences)
