"""A finished build in staging: its data, derived files and profile, and the facts that determined their bytes.

`chain.processed` makes a build and every later step reads it; `build.json` beside the files marks it as finished
(docs/build.schema.json). Its files get their names in a release from `chain.checksums`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from d4c_pipeline.files.disk import write_file
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError, UnknownNameError
from d4c_pipeline.model.manifest import Document
from d4c_pipeline.model.parts import set_digest
from d4c_pipeline.model.release import ArtifactRole, DataSummary, NativeFile
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.deployment import Deployment


class DataFile(Document):
    """A data file in the folder of the build."""

    file: str
    part: str
    """The name of the part of the data; empty where it is the only file."""
    sha256: str
    """Hexadecimal."""


class DerivedFile(Document):
    """A file made of the data, in the folder of the build."""

    file: str
    role: ArtifactRole
    suffix: str
    """The end of its name in a release."""
    sha256: str
    """Hexadecimal."""
    rows: int | None
    """Null where rows have no meaning."""
    parameters: Mapping[str, Any]
    """The options of the dataset, without versions of tools."""


class BuildMark(Document):
    """The content of `build.json`, which marks a build as finished."""

    data: tuple[DataFile, ...]
    summary: DataSummary
    natives: tuple[NativeFile, ...]
    parameters: Mapping[str, Any]
    derived: tuple[DerivedFile, ...] = ()


@dataclass(frozen=True)
class StagedData:
    """A data file: its place in staging, its part (empty where it is the only file), its sha256."""

    path: Path
    part: str
    sha256: str


@dataclass(frozen=True)
class StagedDerived:
    """A file made of the data: its place in staging, its role, the end of its name in a release, its options.

    `rows` is None where rows have no meaning; `parameters` are the options of the dataset, without versions of tools.
    """

    path: Path
    role: ArtifactRole
    suffix: str
    sha256: str
    rows: int | None
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class StagedBuild:
    """A finished build in staging: its files, the summary of its data, and the facts that determined its bytes.

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

    Raises UnknownNameError without a finished build, IntegrityError when its data changed since.
    """
    return read_build_in(deployment.staging(dataset, vintage) / "build", f"{dataset.id} {vintage}")


def read_build_in(folder: Path, subject: str) -> StagedBuild:
    """Return the finished build in `folder`; `subject` names it in errors. Raises as `read_build`."""
    try:
        mark = BuildMark.model_validate_json(build_mark(folder).read_bytes())
    except FileNotFoundError as error:
        raise UnknownNameError(
            f"No finished build of {subject} is in staging",
            rerun="processed",
        ) from error
    except ValidationError as error:
        raise IntegrityError(
            f"The staged build of {subject} is not what 'processed' left", rerun="processed"
        ) from error
    found = StagedBuild(
        data=tuple(StagedData(folder / file.file, file.part, file.sha256) for file in mark.data),
        profile=folder / "profile.json",
        summary=mark.summary,
        natives=mark.natives,
        parameters=mark.parameters,
        derived=tuple(
            StagedDerived(folder / made.file, made.role, made.suffix, made.sha256, made.rows, made.parameters)
            for made in mark.derived
        ),
    )
    if any(not file.path.is_file() or sha256_of(file.path) != file.sha256 for file in found.data):
        raise IntegrityError(f"The staged build of {subject} is not what 'processed' left", rerun="processed")
    return found


def write_build(folder: Path, mark: BuildMark) -> None:
    """Mark the build in `folder` as finished."""
    write_file(build_mark(folder), mark.to_bytes())


def build_mark(folder: Path) -> Path:
    """Return the file that marks the build in `folder` as finished; a build removes it first and writes it last."""
    return folder / "build.json"
