"""`processed`: turns the retained native files of a vintage into a data artifact in staging, with its profile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.staging import write_file, write_json
from d4c_pipeline.distribution.disk import storage_errors
from d4c_pipeline.distribution.hashing import sha256_of
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError, UnknownNameError
from d4c_pipeline.model.release import DataSummary, NativeFile
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build


@dataclass(frozen=True)
class StagedBuild:
    """A finished build in staging: its files, what is known of the data, and everything that determined its bytes."""

    data: Path
    profile: Path
    sha256: str
    summary: DataSummary
    natives: tuple[NativeFile, ...]
    parameters: Mapping[str, Any]


def process(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> StagedBuild:
    """Build the data artifact of `vintage` from its retained native files.

    Raises UnknownNameError when none are retained, IntegrityError when one is damaged, and DataError and StorageError
    as the processing does. An earlier build stays in place until the new one is whole.
    """
    folder = deployment.staging(dataset, vintage) / "build"
    with deployment.working_on(dataset, vintage):
        natives = deployment.ledger.natives.current(dataset.id, vintage, dataset.source.addresses(vintage))
        if not natives:
            raise UnknownNameError(
                f"No native files of {dataset.id} {vintage} are retained", "Materialize 'raw' of this vintage first"
            )
        paths = [native_path(deployment, dataset, vintage, native) for native in natives]
        # The mark goes first and comes back last: files of two builds are never taken for one.
        with storage_errors(f"write in {folder}"):
            _mark(folder).unlink(missing_ok=True)
        built = build(dataset, vintage, paths, folder)
        sha256 = sha256_of(built.data)
        write_json(
            _mark(folder),
            {
                "sha256": sha256,
                "summary": built.summary.to_json(),
                "natives": [vars(native) for native in natives],
                "parameters": built.parameters,
            },
        )
        # Still under the lease: the next process to build this vintage takes the mark away.
        return read_build(deployment, dataset, vintage)


def read_build(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> StagedBuild:
    """Return the finished build of a vintage.

    Raises UnknownNameError when there is none, IntegrityError when its data is not what the build left.
    """
    folder = deployment.staging(dataset, vintage) / "build"
    try:
        mark = json.loads(_mark(folder).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnknownNameError(
            f"No finished build of {dataset.id} {vintage} is in staging",
            "Materialize 'processed' of this vintage first",
        ) from error
    found = StagedBuild(
        data=folder / "data.parquet",
        profile=folder / "profile.json",
        sha256=mark["sha256"],
        summary=DataSummary.from_json(mark["summary"]),
        natives=tuple(NativeFile(**native) for native in mark["natives"]),
        parameters=mark["parameters"],
    )
    if not found.data.is_file() or sha256_of(found.data) != found.sha256:
        raise IntegrityError(
            f"The staged build of {dataset.id} {vintage} is not what 'processed' left", "Materialize 'processed' again"
        )
    return found


def native_path(deployment: Deployment, dataset: Dataset, vintage: Vintage, native: NativeFile) -> Path:
    """Return a local file with the bytes of a retained native file.

    Raises IntegrityError when the retained copy is damaged or missing.
    """
    if not deployment.primary.verify(native.address, native.size, native.sha256):
        raise IntegrityError(
            f"The retained native file {native.address} is missing or damaged",
            "Materialize 'raw' of this vintage to fetch it again, or restore it from a mirror",
        )
    local = deployment.primary.local_path(native.address)
    if local is not None:
        return local
    path = deployment.staging(dataset, vintage) / "native" / native.sha256[:12] / native.name
    write_file(path, deployment.primary.read_bytes(native.address))
    return path


def _mark(folder: Path) -> Path:
    return folder / "build.json"
