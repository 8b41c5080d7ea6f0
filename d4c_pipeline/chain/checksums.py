"""`checksums`: hashes the artifacts, compares with the newest published release, decides the version and plans it.

The size of a difference is measured by `processing.compare`, its meaning for the version known by `model.version`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.archives.deposit import abandon
from d4c_pipeline.chain.current import is_settled
from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.derived_changes import derived_artifacts, derived_reasons
from d4c_pipeline.chain.processed import StagedBuild, read_build
from d4c_pipeline.chain.provenance import provenance
from d4c_pipeline.chain.staging import artifact_path, as_artifact, link_file, release_folder, write_file, write_json
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.naming import ReleaseName
from d4c_pipeline.model.release import Artifact, ArtifactRole, Change, Release, release_key
from d4c_pipeline.model.version import Bump, Version, first_version, next_version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.compare import compare
from d4c_pipeline.processing.derived.derive import tools


@dataclass(frozen=True)
class Plan:
    """What came of the comparison: `release` is the planned one, or the newest published when `unchanged`."""

    release: Release
    change: Change
    unchanged: bool


def plan(deployment: Deployment, dataset: Dataset, vintage: Vintage, at_least: Bump = Bump.NONE) -> Plan:
    """Plan the release of the staged build, or find that nothing changed.

    `at_least` is the smallest bump an operator wants; a greater measured one wins. A plan for the same data is kept,
    a plan for other data is abandoned with its draft and its copies, which nothing linked to yet.
    """
    ledger = deployment.ledger
    with deployment.working_on(dataset, vintage) as lease:
        planned = ledger.releases.planned(dataset.id, vintage)
        if planned is not None and is_settled(deployment, planned):
            # The archive may have published it already: that must be settled before anything else is planned.
            return Plan(planned, planned.change, unchanged=False)
        staged = read_build(deployment, dataset, vintage)
        newest = ledger.releases.newest_published(dataset.id, vintage)
        change = _change(deployment, newest, staged, at_least)
        if newest is not None and change.bump is Bump.NONE:
            if planned is not None:
                _abandon(deployment, planned, lease, "the data is that of the published release again")
            return Plan(newest, change, unchanged=True)
        stage = dataset.publication.stage
        if newest is None:
            version = first_version(dataset.publication.initial_version, stage)
        else:
            version = next_version(newest.version, change.bump, stage)
        name = dataset.release_name(vintage, version)
        if planned is not None:
            if planned.name == str(name) and _holds(planned, staged) and _is_whole(deployment, planned):
                return Plan(planned, planned.change, unchanged=False)
            _abandon(deployment, planned, lease, "a newer build took its place")
        artifacts = _stage(deployment, dataset, vintage, version, name, staged)
        ledger.declarations.record(dataset)
        release = ledger.releases.plan(
            dataset.id,
            vintage,
            version,
            name=str(name),
            key=release_key(dataset.id, vintage, version, artifacts),
            change=change,
            summary=staged.summary,
            artifacts=artifacts,
        )
        return Plan(release, change, unchanged=False)


def _change(deployment: Deployment, newest: Release | None, staged: StagedBuild, at_least: Bump) -> Change:
    if newest is None:
        return Change(Bump.largest([Bump.MINOR, at_least]), ("first release",))
    if newest.data.sha256 == staged.sha256:
        measured = Change(Bump.NONE, ())
    else:
        measured = compare(artifact_path(deployment, newest, newest.data), staged.data)
    reasons = derived_reasons(deployment, newest, staged)
    if reasons:
        measured = Change(Bump.largest([measured.bump, Bump.PATCH]), (*measured.reasons, *reasons))
    if measured.bump < at_least:
        return Change(at_least, (*measured.reasons, f"raised to {at_least.name} by the operator"))
    return measured


def _stage(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, version: Version, name: ReleaseName, staged: StagedBuild
) -> list[Artifact]:
    folder = release_folder(deployment, str(name), dataset.id, str(vintage))
    shutil.rmtree(folder, ignore_errors=True)
    artifacts = [
        _linked(staged.data, folder / f"{name}.parquet", ArtifactRole.DATA, staged.sha256),
        _linked(staged.profile, folder / "profile.json", ArtifactRole.PROFILE),
        *(_linked(made.path, folder / f"{name}{made.suffix}", made.role, made.sha256) for made in staged.derived),
    ]
    rows = {f"{name}{made.suffix}": made.rows for made in staged.derived if made.rows is not None}
    write_json(
        folder / "manifest.json",
        {
            "release": str(name),
            "dataset": dataset.id,
            "vintage": str(vintage),
            "version": str(version),
            "license": dataset.license,
            "native_files": [
                {"name": n.name, "url": n.url, "sha256": n.sha256, "size": n.size, "last_modified": n.last_modified}
                for n in staged.natives
            ],
            "parameters": dict(staged.parameters),
            **provenance(),
            "summary": staged.summary.to_json(),
            "derived": {
                "parameters": {made.suffix: dict(made.parameters) for made in staged.derived},
                "tools": tools() if staged.derived else {},
            },
            "outputs": [
                {"name": a.name, "role": a.role, "sha256": a.sha256, "size": a.size}
                | ({"rows": rows[a.name]} if a.name in rows else {})
                for a in artifacts
            ],
        },
    )
    artifacts.append(as_artifact(folder / "manifest.json", ArtifactRole.MANIFEST))
    # The format of sha256sum, so that `sha256sum -c` works beside the files.
    lines = "".join(f"{artifact.sha256}  {artifact.name}\n" for artifact in artifacts)
    write_file(folder / "checksums.sha256", lines.encode())
    artifacts.append(as_artifact(folder / "checksums.sha256", ArtifactRole.CHECKSUMS))
    return artifacts


def _linked(source: Path, target: Path, role: ArtifactRole, recorded: str | None = None) -> Artifact:
    """Put a staged file among those of the release; `recorded` is the sha256 that 'processed' left of it."""
    link_file(source, target)
    artifact = as_artifact(target, role)
    if recorded is not None and artifact.sha256 != recorded:
        raise IntegrityError(f"The staged {source.name} changed under our hands", "Materialize 'processed' again")
    return artifact


def _holds(release: Release, staged: StagedBuild) -> bool:
    """Whether the data and the derived files of a plan are those of the build."""
    made = {made.suffix: made.sha256 for made in staged.derived}
    return release.data.sha256 == staged.sha256 and derived_artifacts(release) == made


def _is_whole(deployment: Deployment, release: Release) -> bool:
    try:
        for artifact in release.artifacts:
            artifact_path(deployment, release, artifact)
    except IntegrityError:
        return False
    return True


def _abandon(deployment: Deployment, release: Release, lease: Lease, why: str) -> None:
    """Give a plan up: its draft first, then its copies, which are at an address that nothing ever named, then the row.

    A crash in between is no harm: the plan still stands and the next run abandons it again.
    """
    abandon(deployment.ledger, deployment.archive, release, lease=lease)
    torrent = deployment.ledger.publications.torrent(release)
    for store in deployment.stores:
        for artifact in release.artifacts:
            store.delete(release_address(release.dataset, release.vintage, release.version, artifact.name))
        if torrent is not None:
            store.delete(torrent.address)
    deployment.ledger.releases.abandon(release, why)
