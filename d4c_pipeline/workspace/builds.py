"""A finished build in staging: its data, its derived files, its profile, and what determined their bytes.

`chain.processed` makes it and every later step reads it. Its files get their names in a release from `chain.checksums`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError, UnknownNameError
from d4c_pipeline.model.parts import set_digest
from d4c_pipeline.model.release import ArtifactRole, DataSummary, NativeFile
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.deployment import Deployment


@dataclass(frozen=True)
class StagedData:
    """A data file: where it is staged, which part of the data it is (empty where it is all), its sha256."""

    path: Path
    part: str
    sha256: str


@dataclass(frozen=True)
class StagedDerived:
    """A file made of the data: where it is staged, what it is for, how its name in a release ends, what it was made by.

    `rows` is None where rows have no meaning; `parameters` are the dataset's wishes, without versions of tools.
    """

    path: Path
    role: ArtifactRole
    suffix: str
    sha256: str
    rows: int | None
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class StagedBuild:
    """A finished build in staging: its files, what is known of the data, and everything that determined its bytes.

    `data` is sorted by part.
    """

    data: tuple[StagedData, ...]
    profile: Path
    summary: DataSummary
    natives: tuple[NativeFile, ...]
    parameters: Mapping[str, Any]
    derived: tuple[StagedDerived, ...] = ()

    @property
    def sha256(self) -> str:
        """One sha256 (hex) over all data files, see `parts.set_digest`."""
        return set_digest((file.part, file.sha256) for file in self.data)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The data files."""
        return tuple(file.path for file in self.data)


def read_build(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> StagedBuild:
    """Return the finished build of a vintage.

    Raises UnknownNameError when there is none, IntegrityError when its data is not what the build left.
    """
    folder = deployment.staging(dataset, vintage) / "build"
    try:
        mark = json.loads(build_mark(folder).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnknownNameError(
            f"No finished build of {dataset.id} {vintage} is in staging",
            rerun="processed",
        ) from error
    found = StagedBuild(
        data=tuple(StagedData(folder / file["file"], file["part"], file["sha256"]) for file in mark["data"]),
        profile=folder / "profile.json",
        summary=DataSummary.from_json(mark["summary"]),
        natives=tuple(NativeFile(**native) for native in mark["natives"]),
        parameters=mark["parameters"],
        derived=tuple(
            StagedDerived(
                path=folder / made["file"],
                role=ArtifactRole(made["role"]),
                suffix=made["suffix"],
                sha256=made["sha256"],
                rows=made["rows"],
                parameters=made["parameters"],
            )
            for made in mark.get("derived", ())
        ),
    )
    if any(not file.path.is_file() or sha256_of(file.path) != file.sha256 for file in found.data):
        raise IntegrityError(
            f"The staged build of {dataset.id} {vintage} is not what 'processed' left", rerun="processed"
        )
    return found


def build_mark(folder: Path) -> Path:
    """Return the file that marks the build in `folder` as finished; a build removes it first and writes it last."""
    return folder / "build.json"
