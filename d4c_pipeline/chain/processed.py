"""`processed`: builds the data files of a vintage from its retained native files, in staging, with their profile.

The same step makes the derived files that the dataset declares (tiles, desktop formats), by `processing.derived`. The
names of all these files in a release belong to `checksums`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from d4c_pipeline.chain.preflight import require_hidden
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.files.scratch import remove_leftovers
from d4c_pipeline.model import secrets
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError, UnknownNameError
from d4c_pipeline.model.parts import PROFILE_NAME
from d4c_pipeline.model.release import LEFT_OUT, ArtifactRole, DataSummary, NativeFile
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import apart
from d4c_pipeline.processing.derived import derive as derived
from d4c_pipeline.processing.notebook import refuse_secrets
from d4c_pipeline.review.policy import may_need_review
from d4c_pipeline.sandbox import call as child
from d4c_pipeline.sandbox.wire import Limits, Reach
from d4c_pipeline.tables.parallel import most_memory
from d4c_pipeline.workspace.builds import (
    BuildMark,
    DataFile,
    DerivedFile,
    StagedBuild,
    build_mark,
    forget_build,
    read_build_in,
    record_build,
    write_build,
)
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import artifact_path, native_copy
from d4c_pipeline.workspace.work import is_shared

_SETTINGS = child.Settings(memory="D4C_BUILD_MEMORY", time="D4C_BUILD_SECONDS")


def process(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> StagedBuild:
    """Build the data of `vintage` from its retained native files, and the derived files of the dataset.

    A separate process (`sandbox`) parses the foreign bytes, within `D4C_BUILD_MEMORY` and `D4C_BUILD_SECONDS`. An
    earlier build stays in place until the new build is complete. Raises UnknownNameError when no native files are
    retained, IntegrityError when one is damaged, DataError and StorageError as processing does, DataError when the
    process crashes or exceeds a limit. Raises PermanentError, before the build, when the primary store that homes share
    lists hidden files and a release of the dataset may wait for an approval.
    """
    with deployment.working_on(dataset, vintage):
        if is_shared(deployment) and may_need_review(deployment, dataset):
            require_hidden(deployment.primary)  # the build is put there long before the step `doi`
        derived.check(dataset)  # a wrong definition leaves the earlier build as it is
        # Forgotten first and recorded last, so that files of two builds never pass for one build.
        forget_build(deployment, dataset, vintage)
        built = build_into(deployment, dataset, vintage, deployment.staging(dataset, vintage) / "build")
        record_build(deployment, dataset, vintage, built)
        return built


def build_into(
    deployment: Deployment,
    dataset: Dataset,
    vintage: Vintage,
    folder: Path,
    fetched: Sequence[tuple[NativeFile, Path]] = (),
    *,
    most_rows: int | None = None,
) -> StagedBuild:
    """Build as `process` does into `folder`, on which no other process may work. Changes nothing else.

    `fetched`: native files with their local files, in place of those that are retained. `most_rows`: see `build`.
    """
    derived.check(dataset)
    natives: Sequence[NativeFile] = [native for native, _ in fetched]
    if not natives:
        natives = deployment.ledger.natives.current(dataset.id, vintage, dataset.source.addresses(vintage))
    if not natives:
        raise UnknownNameError(f"No native files of {dataset.id} {vintage} are retained", rerun="raw")
    paths = [path for _, path in fetched] or [native_path(deployment, dataset, vintage, each) for each in natives]
    # The mark is removed first and written last, so that files of two builds never pass for one build.
    with storage_errors(f"write in {folder}"):
        build_mark(folder).unlink(missing_ok=True)
    inputs = _inputs(deployment, dataset)
    chosen = derived.parameters(dataset)
    files = {name: files for name, (files, _) in inputs.items()}
    built = _built(deployment, dataset, vintage, paths, files, folder, most_rows)
    write_build(
        folder,
        BuildMark(
            data=tuple(
                DataFile(file=path.name, part=part, sha256=sha256_of(path)) for part, path in built.files.items()
            ),
            summary=_with_left_out(built.summary, built.derived),
            natives=tuple(natives),
            parameters={
                **built.parameters,
                **({"inputs": {name: stated for name, (_, stated) in inputs.items()}} if inputs else {}),
            },
            profile_sha256=sha256_of(folder / PROFILE_NAME),
            derived=(
                *_executed(built, dataset),
                *(
                    DerivedFile(
                        file=made.path.name,
                        role=made.role,
                        suffix=made.suffix,
                        sha256=sha256_of(made.path),
                        rows=made.rows,
                        parameters=chosen[made.suffix],
                    )
                    for made in built.derived
                ),
            ),
        ),
    )
    return read_build_in(folder, f"{dataset.id} {vintage}")


def _built(
    deployment: Deployment,
    dataset: Dataset,
    vintage: Vintage,
    natives: Sequence[Path],
    inputs: Mapping[str, Sequence[Path]],
    folder: Path,
    most_rows: int | None,
) -> apart.Made:
    """Run the build in a process that can read only these files and write only in `folder`."""
    settings, scratch = deployment.settings, folder.with_name("scratch")
    with storage_errors(f"write in {folder}"):
        shutil.rmtree(scratch, ignore_errors=True)
        for needed in (folder, scratch):
            needed.mkdir(parents=True, exist_ok=True)
    try:
        answer = child.run(
            apart.make,
            dataset,
            vintage,
            natives,
            folder,
            inputs,
            settings.threads,
            settings.memory_limit,
            settings.temp,
            most_rows,
            what=f"The build of {dataset.id} {vintage}",
            limits=Limits(settings.build_memory or most_memory(), settings.build_seconds),
            settings=_SETTINGS,
            reach=Reach(
                scratch,
                readable=(*natives, *(file for files in inputs.values() for file in files), *_folder_of(dataset)),
                writable=(folder, *([settings.temp] if settings.temp is not None else [])),
                # A notebook's kernel listens on the loopback; its reviewers decide on any other access.
                network=dataset.processing.notebook is not None,
            ),
        )
        built = apart.made(answer, folder, derived.parameters(dataset))
        if built.notebook is not None:
            # This process has the secrets of the environment; the sandbox does not.
            secrets.declare_environment(os.environ)
            refuse_secrets(built.notebook, f"The notebook {dataset.processing.notebook}")
    except BaseException:
        # A killed process does not remove its scratch files.
        with storage_errors(f"write in {folder}"):
            remove_leftovers(folder, settings.temp)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return built


def _folder_of(dataset: Dataset) -> list[Path]:
    return [dataset.folder] if dataset.folder is not None else []


def _with_left_out(summary: DataSummary, made: Sequence[apart.DerivedFile]) -> DataSummary:
    """Return `summary` with the number of rows, all without geometry, that FlatGeobuf and tiles omit."""
    omitted = {file.suffix: file.left_out for file in made if file.left_out}
    if not omitted:
        return summary
    return replace(summary, report={**summary.report, LEFT_OUT: omitted})


def _inputs(deployment: Deployment, dataset: Dataset) -> dict[str, tuple[list[Path], dict[str, str]]]:
    """Return, by input name, the data files of the newest release of that dataset and the identity of the release.

    Raises UnknownNameError when an input dataset has no published release.
    """
    found: dict[str, tuple[list[Path], dict[str, str]]] = {}
    for name, wanted in sorted(dataset.processing.inputs.items()):
        published = deployment.ledger.releases.published(wanted)
        releases = [release for release in published if release.withdrawn is None]
        if not releases:
            raise UnknownNameError(
                f"The input {name} of {dataset.id} is the dataset {wanted}, which has no published release"
                f"{' that is not withdrawn' if published else ''}",
                f"Publish it first: d4c publish {wanted}",
            )
        newest = releases[-1]
        stated = {"release": newest.name, "sha256": newest.data_sha256}
        found[name] = ([artifact_path(deployment, newest, file) for file in newest.data_files], stated)
    return found


def _executed(built: apart.Made, dataset: Dataset) -> tuple[DerivedFile, ...]:
    """Return the executed copy of the notebook, the provenance of its results, as a derived file."""
    if built.notebook is None or dataset.processing.notebook is None or dataset.folder is None:
        return ()
    return (
        DerivedFile(
            file=built.notebook.name,
            role=ArtifactRole.NOTEBOOK,
            suffix="_notebook.ipynb",
            sha256=sha256_of(built.notebook),
            rows=None,
            parameters={"notebook_sha256": sha256_of(dataset.folder / dataset.processing.notebook)},
        ),
    )


def native_path(deployment: Deployment, dataset: Dataset, vintage: Vintage, native: NativeFile) -> Path:
    """Return a local file with the bytes of a retained native file.

    Raises IntegrityError when the retained copy is damaged or missing.
    """
    found = native_copy(deployment, dataset.id, vintage, native)
    if found is None:
        raise IntegrityError(
            f"The retained native file {native.address} is missing or damaged",
            "Restore it from a backup of that store, or fetch it again",
            rerun="raw",
        )
    return found
