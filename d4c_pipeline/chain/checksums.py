"""`checksums`: hashes the artifacts, compares with the newest published release, decides the version and plans it.

`processing.compare` and `chain.derived_changes` find the differences, `model.bumps` decides the bump.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.chain.adoption import adopt_published
from d4c_pipeline.chain.changes import base_of, since, with_changes
from d4c_pipeline.chain.derived_changes import derived_artifacts, derived_differences
from d4c_pipeline.files.disk import write_file
from d4c_pipeline.files.hashing import Hasher
from d4c_pipeline.ledger.judgements import REJECTED
from d4c_pipeline.model import gaps
from d4c_pipeline.model.bumps import change_of
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.differences import Difference, NothingPublished, PartitionChanged
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.licences import LICENCE_NAME, DeclaredLicence
from d4c_pipeline.model.manifest import DerivedFacts, LicenceTerms, Manifest, NativeFacts, Output
from d4c_pipeline.model.naming import ReleaseName
from d4c_pipeline.model.parts import CHANGES_SUFFIX, MANIFEST_NAME, PROFILE_NAME, file_name
from d4c_pipeline.model.release import (
    CHECKSUMS_NAME,
    Artifact,
    ArtifactRole,
    Change,
    LivingRelease,
    NativeFile,
    PlannedRelease,
    PublishedRelease,
    Release,
    release_key,
)
from d4c_pipeline.model.secrets import public_address
from d4c_pipeline.model.version import Bump, Version, first_version, next_version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.compare import compare
from d4c_pipeline.processing.derived.derive import tools
from d4c_pipeline.sources.dating import is_ahead
from d4c_pipeline.torrents.pieces import piece_hasher
from d4c_pipeline.watch.vintages import is_dated_by_its_files
from d4c_pipeline.workspace.builds import StagedBuild, StagedData, is_staged, read_build
from d4c_pipeline.workspace.code_archive import CODE_NAME, code_archive, definition_digest
from d4c_pipeline.workspace.current import is_settled
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.other_homes import refuse_unknown_releases
from d4c_pipeline.workspace.package_rules import refuse_unmet
from d4c_pipeline.workspace.pieces import keep_pieces
from d4c_pipeline.workspace.plans import abandon_plan, manifest_of
from d4c_pipeline.workspace.provenance import provenance
from d4c_pipeline.workspace.shared_names import refuse_shared_name, refuse_taken_name
from d4c_pipeline.workspace.staging import (
    artifact_path,
    as_artifact,
    checksum_list,
    link_file,
    release_folder,
)
from d4c_pipeline.workspace.work import put_work, work_of

_ALIKE = 3  # vintages to compare: a source that returns to earlier data returns to one of the last few


@dataclass(frozen=True)
class Plan:
    """The result of the comparison: `release` is the planned release, or the newest published if `unchanged`."""

    release: LivingRelease
    change: Change
    unchanged: bool


def plan(deployment: Deployment, dataset: Dataset, vintage: Vintage, at_least: Bump = Bump.NONE) -> Plan:
    """Plan the release of the staged build, unless nothing changed.

    `at_least` is the smallest bump that an operator accepts; a greater measured bump wins. A plan for the same data is
    kept. A plan for other data or with another definition is abandoned with its draft and its copies, which nothing
    links to yet. First, releases of the vintage that the archive has and the ledger lacks are adopted. Raises
    DefinitionError when another dataset has the same naming parts, and the errors of the archive. If the source dates
    its vintages by its files, a build with the data of another published vintage makes no release: the ledger records
    which vintage holds the data (`natives.held_by`). Raises DefinitionError for a draft with marked fields,
    and for a dataset that lacks what the rules of its package require.
    """
    gaps.refuse(dataset)
    refuse_unmet(dataset, deployment.settings.definitions, deployment.ledger)
    ledger = deployment.ledger
    with deployment.working_on(dataset, vintage) as lease:
        planned = ledger.releases.planned(dataset.id, vintage)
        if planned is not None and is_settled(deployment, planned):
            # The archive may have published it already: settle that before planning another release.
            return Plan(planned, planned.change, unchanged=False)
        refuse_shared_name(deployment, dataset)
        refuse_taken_name(deployment, dataset, vintage)
        if at_least is Bump.NONE and planned is None and (done := _published_before(deployment, dataset, vintage)):
            return Plan(done, Change(Bump.NONE, ()), unchanged=True)
        staged = read_build(deployment, dataset, vintage)
        if at_least is Bump.NONE and ledger.releases.newest_published(dataset.id, vintage) is None:
            same = _published_alike(deployment, dataset, vintage, staged)
            if same is not None:
                if planned is not None:
                    abandon_plan(deployment, planned, lease, f"the data is that of the published {same.vintage}")
                ledger.natives.record_same(dataset.id, vintage, same.vintage)
                ledger.builds.settle(dataset.id, vintage, same)
                return Plan(same, Change(Bump.NONE, ()), unchanged=True)
        change, result = next_release(deployment, dataset, vintage, staged, at_least)
        if planned is not None:
            if result == planned.name and _stands(deployment, dataset, planned, staged):
                ledger.builds.settle(dataset.id, vintage, planned)
                return Plan(planned, planned.change, unchanged=False)
            same = isinstance(result, PublishedRelease)
            why = "the data is that of the published release again" if same else "a newer build took its place"
            abandon_plan(deployment, planned, lease, why)
        if isinstance(result, str) and adopt_published(deployment, dataset, vintage, lease):
            # The ledger was lost or restored: the archive has more releases, and their versions continue.
            change, result = next_release(deployment, dataset, vintage, staged, at_least)
        if isinstance(result, PublishedRelease):
            ledger.builds.settle(dataset.id, vintage, result)
            return Plan(result, change, unchanged=True)
        name = result
        refuse_unknown_releases(deployment, deployment.stores[:1])
        version = ReleaseName.parse(name).version
        staged, changes = with_changes(deployment, dataset, vintage, name, staged)
        artifacts = _stage(deployment, dataset, vintage, version, name, staged, changes)
        _share(deployment, dataset, vintage, name, artifacts)
        ledger.declarations.record(dataset)
        release = ledger.releases.plan(
            dataset.id,
            vintage,
            version,
            name=name,
            key=release_key(dataset.id, vintage, version, artifacts),
            change=change,
            summary=staged.summary,
            artifacts=artifacts,
        )
        ledger.builds.settle(dataset.id, vintage, release)
        return Plan(release, change, unchanged=False)


def next_release(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, staged: StagedBuild, at_least: Bump
) -> tuple[Change, PublishedRelease | str]:
    """Return the change against the newest published release, and that release if unchanged, else the next name."""
    newest = deployment.ledger.releases.newest_published(dataset.id, vintage)
    change = _change(deployment, newest, staged, at_least)
    stage = dataset.publication.stage
    if newest is None:
        version = first_version(dataset.publication.initial_version, stage)
    elif change.bump is Bump.NONE:
        return change, newest
    else:
        version = next_version(newest.version, change.bump, stage)
    return change, str(dataset.release_name(vintage, version))


def _published_before(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> PublishedRelease | None:
    """Return the published release of the newest build if its files were removed from staging since."""
    build = deployment.ledger.builds.current(dataset.id, vintage)
    if build is None or build.release_id is None or is_staged(deployment, dataset, vintage):
        return None
    release = deployment.ledger.releases.get(build.release_id)
    return release if isinstance(release, PublishedRelease) else None


def _published_alike(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, staged: StagedBuild
) -> PublishedRelease | None:
    """Return the release of another vintage that has the same content, whatever the format it was delivered in.

    Native files differ by what their writer adds: a time stamp in a JSON document, in a sheet, in a GeoPackage.
    """
    if not is_dated_by_its_files(dataset):
        return None
    newest: dict[Vintage, PublishedRelease] = {}
    for release in deployment.ledger.releases.published(dataset.id):
        if release.vintage != vintage and not is_ahead(release.vintage.start):
            newest[release.vintage] = max(newest.get(release.vintage, release), release, key=lambda each: each.version)
    summary = staged.summary
    for found in sorted(newest, reverse=True)[:_ALIKE]:
        published = newest[found].summary
        # If the ledger shows a difference, no file is read.
        if (published.rows, published.columns, published.key, published.crs, published.bounds) != (
            summary.rows,
            summary.columns,
            summary.key,
            summary.crs,
            summary.bounds,
        ):
            continue
        if change_of(_data_differences(deployment, newest[found], staged)).bump is Bump.NONE:
            return newest[found]
    return None


def _data_differences(
    deployment: Deployment, published: PublishedRelease, staged: StagedBuild
) -> tuple[Difference, ...]:
    settings = deployment.settings
    return compare(
        [artifact_path(deployment, published, file) for file in published.data_files],
        staged.paths,
        threads=settings.threads,
        memory_limit=settings.memory_limit,
        temp=settings.temp,
    )


def _change(deployment: Deployment, newest: PublishedRelease | None, staged: StagedBuild, at_least: Bump) -> Change:
    if newest is None:
        return change_of([NothingPublished()], at_least)
    same = newest.data_sha256 == staged.sha256
    differences = [
        *(() if same else _data_differences(deployment, newest, staged)),
        *_partition_differences(newest, staged),
        *derived_differences(deployment, newest, staged),
    ]
    return change_of(differences, at_least)


def _partition_differences(newest: PublishedRelease, staged: StagedBuild) -> tuple[Difference, ...]:
    """Return whether the declared partition changed, which changes the names of the files.

    Different parts of the same partition (from more data, or another writer) are not a difference.
    """
    now = staged.summary.partition
    return () if newest.summary.partition == now else (PartitionChanged(now, len(staged.data)),)


def _stage(
    deployment: Deployment,
    dataset: Dataset,
    vintage: Vintage,
    version: Version,
    name: str,
    staged: StagedBuild,
    changes: Path | None,
) -> list[Artifact]:
    folder = release_folder(deployment, name, dataset.id, str(vintage))
    shutil.rmtree(folder, ignore_errors=True)
    artifacts = [
        *(_linked_data(deployment, file, folder / file_name(name, file.part)) for file in staged.data),
        _linked(staged.profile, folder / PROFILE_NAME, ArtifactRole.PROFILE),
        *(_linked(made.path, folder / f"{name}{made.suffix}", made.role, made.sha256) for made in staged.derived),
    ]
    if changes is not None:
        artifacts.append(_linked(changes, folder / f"{name}{CHANGES_SUFFIX}", ArtifactRole.CHANGES))
    manifest = _manifest(dataset, vintage, version, name, staged, artifacts)
    write_file(folder / MANIFEST_NAME, manifest.to_bytes())
    artifacts.append(as_artifact(folder / MANIFEST_NAME, ArtifactRole.MANIFEST))
    write_file(folder / CODE_NAME, code_archive(dataset))
    artifacts.append(as_artifact(folder / CODE_NAME, ArtifactRole.CODE))
    if isinstance(dataset.license, DeclaredLicence):
        write_file(folder / LICENCE_NAME, dataset.license.content(dataset.folder))
        artifacts.append(as_artifact(folder / LICENCE_NAME, ArtifactRole.LICENCE))
    write_file(folder / CHECKSUMS_NAME, checksum_list(artifacts))
    artifacts.append(as_artifact(folder / CHECKSUMS_NAME, ArtifactRole.CHECKSUMS))
    return artifacts


def _share(
    deployment: Deployment,
    dataset: Dataset,
    vintage: Vintage,
    name: str,
    artifacts: Sequence[Artifact],
) -> None:
    """Put the files of the plan that are not files of the build into the primary store, where homes share them."""
    folder = release_folder(deployment, name, dataset.id, str(vintage))
    of_build = {each.sha256 for each in work_of(deployment, dataset.id, vintage)}
    put_work(deployment, dataset.id, vintage, (folder / each.name for each in artifacts if each.sha256 not in of_build))


def _manifest(
    dataset: Dataset,
    vintage: Vintage,
    version: Version,
    name: str,
    staged: StagedBuild,
    artifacts: Sequence[Artifact],
) -> Manifest:
    parts = {file_name(name, part.name): part for part in staged.summary.parts}
    rows = {f"{name}{made.suffix}": made.rows for made in staged.derived if made.rows is not None}

    def output(file: Artifact) -> Output:
        facts = {"name": file.name, "role": file.role, "sha256": file.sha256, "size": file.size}
        if (part := parts.get(file.name)) is not None:
            return Output(**facts, rows=part.rows, bounds=part.bounds)
        return Output(**facts, rows=rows[file.name]) if file.name in rows else Output(**facts)

    made_by = provenance()
    return Manifest(
        release=name,
        dataset=dataset.id,
        vintage=str(vintage),
        version=str(version),
        license=_license(dataset),
        definition_sha256=definition_digest(dataset),
        native_files=tuple(map(_native, staged.natives)),
        parameters=staged.parameters,
        code=made_by.code,
        lock_sha256=made_by.lock_sha256,
        libraries=made_by.libraries,
        summary=staged.summary,
        derived=DerivedFacts(
            parameters={made.suffix: made.parameters for made in staged.derived},
            tools=tools() if staged.derived else {},
        ),
        outputs=tuple(map(output, artifacts)),
    )


def _license(dataset: Dataset) -> str | LicenceTerms:
    """Return the id of the licence, or title and address of a fully declared licence."""
    terms = dataset.terms
    return dataset.license if isinstance(dataset.license, str) else LicenceTerms(title=terms.title, url=terms.url)


def _native(file: NativeFile) -> NativeFacts:
    return NativeFacts(
        name=file.name,
        url=public_address(file.url),
        sha256=file.sha256,
        size=file.size,
        last_modified=file.last_modified,
    )


def _linked_data(deployment: Deployment, file: StagedData, target: Path) -> Artifact:
    """Add a data file to the release; the same read computes its pieces, which are kept beside it."""
    hasher = piece_hasher(file.path, hybrid=deployment.settings.hybrid_torrents)
    artifact = _linked(file.path, target, ArtifactRole.DATA, file.sha256, hasher)
    keep_pieces(target, artifact, hasher.finish())
    return artifact


def _linked(source: Path, target: Path, role: ArtifactRole, recorded: str | None = None, *others: Hasher) -> Artifact:
    """Add a staged file to the release; `recorded` is the sha256 that 'processed' recorded."""
    link_file(source, target)
    artifact = as_artifact(target, role, *others)
    if recorded is not None and artifact.sha256 != recorded:
        raise IntegrityError(f"The staged {source.name} changed under our hands", rerun="processed")
    return artifact


def _stands(deployment: Deployment, dataset: Dataset, planned: PlannedRelease, staged: StagedBuild) -> bool:
    """Return whether a plan is still valid: same data, derived files and definition, complete, not rejected.

    Nor do its changes begin with a release that was withdrawn or superseded since.
    """
    base = base_of(deployment, dataset, planned.vintage) if dataset.outputs.changes else None
    if since(planned) != (base and base.name):
        return False
    made = {made.suffix: made.sha256 for made in staged.derived}
    if planned.data_sha256 != staged.sha256 or derived_artifacts(planned) != made:
        return False
    # A rejection was interrupted before the plan was abandoned.
    if any(review.decision == REJECTED for review in deployment.ledger.judgements.reviews(planned)):
        return False
    if not _is_whole(deployment, planned):
        return False
    return manifest_of(deployment, planned).definition_sha256 == definition_digest(dataset)


def _is_whole(deployment: Deployment, release: Release) -> bool:
    try:
        for artifact in release.artifacts:
            artifact_path(deployment, release, artifact)
    except IntegrityError:
        return False
    return True
