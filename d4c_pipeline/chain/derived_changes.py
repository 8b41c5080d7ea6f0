"""Whether a build brings other derived files (tiles, desktop formats, CSV, thumbnail) than a release has.

Rule: a derived file that came, went, or was made by other wishes of the dataset is a reason for a patch. One that only
differs in bytes is none: a new tippecanoe or GDAL must not mint a DOI for every dataset, as a new Parquet writer does
not. The data itself is compared by `processing.compare`; which version follows is decided in `checksums`.
"""

from __future__ import annotations

from d4c_pipeline.model.release import DERIVED_ROLES, Release
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


def derived_reasons(deployment: Deployment, release: Release, staged: StagedBuild) -> tuple[str, ...]:
    """Return, in words, how the wishes for derived files differ from those that `release` was made by.

    Raises IntegrityError when the release's manifest, where they are recorded, is nowhere intact.
    """
    before = derived_artifacts(release)
    now = {made.suffix: made for made in staged.derived}
    reasons = [f"{suffix} is made as well" for suffix in now if suffix not in before]
    reasons += [f"{suffix} is no longer made" for suffix in before if suffix not in now]
    other = [suffix for suffix, made in now.items() if suffix in before and made.sha256 != before[suffix]]
    if other:
        recorded = manifest_of(deployment, release).get("derived", {}).get("parameters", {})
        reasons += [f"{suffix} is made otherwise" for suffix in other if recorded.get(suffix) != now[suffix].parameters]
    return tuple(f"derived file {reason}" for reason in reasons)
