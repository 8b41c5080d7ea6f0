"""`processed`: turns the retained native files of a vintage into data files in staging, with their profile.

The files that the dataset asks for beside the data (tiles, desktop formats...) are made here as well, by
`processing.derived`; what all of them are called in a release is decided by `checksums`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.files.scratch import remove_leftovers
from d4c_pipeline.model import secrets
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError, UnknownNameError
from d4c_pipeline.model.release import LEFT_OUT, ArtifactRole, DataSummary, NativeFile
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import apart
from d4c_pipeline.processing.derived import derive as derived
from d4c_pipeline.processing.notebook import refuse_secrets
from d4c_pipeline.sandbox import call as child
from d4c_pipeline.sandbox.wire import Limits, Reach
from d4c_pipeline.tables.parallel import most_memory
from d4c_pipeline.workspace.builds import StagedBuild, build_mark, read_build
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import artifact_path, native_copy, write_json

_SETTINGS = child.Settings(memory="D4C_BUILD_MEMORY", time="D4C_BUILD_SECONDS")


def process(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> StagedBuild:
    """Build the data of `vintage` from its retained native files, and what the dataset derives from it.

    Foreign bytes are parsed by a process of their own (`processing.child`), which `D4C_BUILD_MEMORY` and
    `D4C_BUILD_SECONDS` bound. Raises UnknownNameError when no native files are retained, IntegrityError when one is
    damaged, DataError and StorageError as the processing does, DataError when that process crashes or passes a bound.
    An earlier build stays in place until the new one is whole.
    """
    folder = deployment.staging(dataset, vintage) / "build"
    with deployment.working_on(dataset, vintage):
        derived.check(dataset)
        natives = deployment.ledger.natives.current(dataset.id, vintage, dataset.source.addresses(vintage))
        if not natives:
            raise UnknownNameError(f"No native files of {dataset.id} {vintage} are retained", rerun="raw")
        paths = [native_path(deployment, dataset, vintage, native) for native in natives]
        # The mark goes first and comes back last: files of two builds are never taken for one.
        with storage_errors(f"write in {folder}"):
            build_mark(folder).unlink(missing_ok=True)
        inputs = _inputs(deployment, dataset)
        chosen = derived.parameters(dataset)
        built = _built(
            deployment, dataset, vintage, paths, {name: files for name, (files, _) in inputs.items()}, folder
        )
        write_json(
            build_mark(folder),
            {
                "data": [
                    {"file": path.name, "part": part, "sha256": sha256_of(path)} for part, path in built.files.items()
                ],
                "summary": _with_left_out(built.summary, built.derived).to_json(),
                "natives": [vars(native) for native in natives],
                "parameters": {
                    **built.parameters,
                    **({"inputs": {name: said for name, (_, said) in inputs.items()}} if inputs else {}),
                },
                "derived": [
                    *_executed(built, dataset),
                    *(
                        {
                            "file": made.path.name,
                            "role": made.role,
                            "suffix": made.suffix,
                            "sha256": sha256_of(made.path),
                            "rows": made.rows,
                            "parameters": chosen[made.suffix],
                        }
                        for made in built.derived
                    ),
                ],
            },
        )
        # Still under the lease: the next process to build this vintage takes the mark away.
        return read_build(deployment, dataset, vintage)


def _built(
    deployment: Deployment,
    dataset: Dataset,
    vintage: Vintage,
    natives: Sequence[Path],
    inputs: Mapping[str, Sequence[Path]],
    folder: Path,
) -> apart.Made:
    """Have the build made by a process that may read these files, and write in `folder`, alone."""
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
            what=f"The build of {dataset.id} {vintage}",
            limits=Limits(settings.build_memory or most_memory(), settings.build_seconds),
            settings=_SETTINGS,
            reach=Reach(
                scratch,
                readable=(*natives, *(file for files in inputs.values() for file in files), *_folder_of(dataset)),
                writable=(folder, *([settings.temp] if settings.temp is not None else [])),
                # Its kernel is reached over the loopback; what it may reach besides is its reviewers' decision.
                network=dataset.processing.notebook is not None,
            ),
        )
        built = apart.made(answer, folder, derived.parameters(dataset))
        if built.notebook is not None:
            # Secrets are known here, not there.
            secrets.declare_environment(os.environ)
            refuse_secrets(built.notebook, f"The notebook {dataset.processing.notebook}")
    except BaseException:
        # A process that was ended could not.
        with storage_errors(f"write in {folder}"):
            remove_leftovers(folder, settings.temp)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return built


def _folder_of(dataset: Dataset) -> list[Path]:
    return [dataset.folder] if dataset.folder is not None else []


def _with_left_out(summary: DataSummary, made: Sequence[apart.DerivedFile]) -> DataSummary:
    """Return `summary` with how many rows derived files leave out: FlatGeobuf and tiles those without geometry."""
    told = {one.suffix: one.left_out for one in made if one.left_out}
    if not told:
        return summary
    return replace(summary, report={**summary.report, LEFT_OUT: told})


def _inputs(deployment: Deployment, dataset: Dataset) -> dict[str, tuple[list[Path], dict[str, str]]]:
    """The data of the latest releases that the dataset's SQL or notebook asks for, and which these are.

    Raises UnknownNameError when one has no published release yet.
    """
    found: dict[str, tuple[list[Path], dict[str, str]]] = {}
    for name, wanted in sorted(dataset.processing.inputs.items()):
        releases = deployment.ledger.releases.published(wanted)
        if not releases:
            raise UnknownNameError(
                f"The input {name} of {dataset.id} is the dataset {wanted}, which has no published release",
                f"Publish it first: d4c publish {wanted}",
            )
        newest = releases[-1]
        said = {"release": newest.name, "sha256": newest.data_sha256}
        found[name] = ([artifact_path(deployment, newest, file) for file in newest.data_files], said)
    return found


def _executed(built: apart.Made, dataset: Dataset) -> list[dict[str, Any]]:
    """The executed copy of the notebook as a derived file: the provenance of what it made."""
    if built.notebook is None or dataset.processing.notebook is None or dataset.folder is None:
        return []
    return [
        {
            "file": built.notebook.name,
            "role": ArtifactRole.NOTEBOOK,
            "suffix": "_notebook.ipynb",
            "sha256": sha256_of(built.notebook),
            "rows": None,
            "parameters": {"notebook_sha256": sha256_of(dataset.folder / dataset.processing.notebook)},
        }
    ]


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
