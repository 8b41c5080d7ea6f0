"""A finished build in staging: its data, derived files and profile, and the facts that determined their bytes.

`chain.processed` makes a build and every later step reads it; `build.json` beside the files lists them
(docs/build.schema.json), and the ledger records its sha256: the build that counts. Another home fetches the files from
the primary store (`work`). They get their names in a release from `chain.checksums`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from d4c_pipeline.files.disk import storage_errors, write_file
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.ledger.placements import Placement
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError, UnknownNameError
from d4c_pipeline.model.manifest import Document
from d4c_pipeline.model.parts import PROFILE_NAME, set_digest
from d4c_pipeline.model.release import ArtifactRole, DataSummary, NativeFile
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import fetched
from d4c_pipeline.workspace.work import free_work, is_shared, put_work, work_of


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
    profile_sha256: str
    """Hexadecimal, of `profile.json`."""
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
    profile_sha256: str
    summary: DataSummary
    natives: tuple[NativeFile, ...]
    parameters: Mapping[str, Any]
    derived: tuple[StagedDerived, ...] = ()

    @property
    def checksums(self) -> dict[Path, str]:
        """The sha256 of every file."""
        return {
            **{file.path: file.sha256 for file in (*self.data, *self.derived)},
            self.profile: self.profile_sha256,
        }

    @property
    def sha256(self) -> str:
        """One sha256 (hex) over all data files, see `parts.set_digest`."""
        return set_digest((file.part, file.sha256) for file in self.data)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The data files."""
        return tuple(file.path for file in self.data)


def read_build(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> StagedBuild:
    """Return the finished build of a vintage; files that staging lacks are fetched from the primary store.

    Raises UnknownNameError without a finished build, IntegrityError when its files changed since or are lost, and what
    the store raises.
    """
    folder, subject = deployment.staging(dataset, vintage) / "build", f"{dataset.id} {vintage}"
    build = deployment.ledger.builds.current(dataset.id, vintage)
    if build is None:
        raise _missing(subject)
    shared = _Shared(deployment, dataset.id, vintage)
    if not shared.provides(build_mark(folder), build.sha256):
        raise _lost(subject)
    found = _listed(folder, subject)
    if not all(shared.provides(path, sha256) for path, sha256 in found.checksums.items()):
        raise _lost(subject)
    return found


def is_staged(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> bool:
    """Return whether staging has a build of a vintage."""
    return build_mark(deployment.staging(dataset, vintage) / "build").is_file()


def read_build_in(folder: Path, subject: str) -> StagedBuild:
    """Return the finished build in `folder`; `subject` names it in errors. Raises as `read_build`."""
    found = _listed(folder, subject)
    if any(not file.path.is_file() or sha256_of(file.path) != file.sha256 for file in found.data):
        raise _lost(subject)
    return found


def _listed(folder: Path, subject: str) -> StagedBuild:
    """Return the build that the mark in `folder` lists, without reading its files."""
    try:
        mark = BuildMark.model_validate_json(build_mark(folder).read_bytes())
    except FileNotFoundError as error:
        raise _missing(subject) from error
    except ValidationError as error:  # of an earlier version of this program
        raise _lost(subject) from error
    return StagedBuild(
        data=tuple(StagedData(folder / file.file, file.part, file.sha256) for file in mark.data),
        profile=folder / PROFILE_NAME,
        profile_sha256=mark.profile_sha256,
        summary=mark.summary,
        natives=mark.natives,
        parameters=mark.parameters,
        derived=tuple(
            StagedDerived(folder / made.file, made.role, made.suffix, made.sha256, made.rows, made.parameters)
            for made in mark.derived
        ),
    )


def _missing(subject: str) -> UnknownNameError:
    return UnknownNameError(f"No finished build of {subject} is in staging", rerun="processed")


def _lost(subject: str) -> IntegrityError:
    return IntegrityError(f"The staged build of {subject} is not what 'processed' left", rerun="processed")


class _Shared:
    """The files of a vintage in the primary store, for a home that lacks them."""

    def __init__(self, deployment: Deployment, dataset: str, vintage: Vintage) -> None:
        self._deployment, self._dataset, self._vintage = deployment, dataset, vintage

    @cached_property
    def _placed(self) -> tuple[Placement, ...]:
        """The files of steps, and those that `copies` moved to the hidden address of the plan."""
        placed = work_of(self._deployment, self._dataset, self._vintage)
        planned = self._deployment.ledger.releases.planned(self._dataset, self._vintage)
        if planned is None or not is_shared(self._deployment):
            return placed
        of_plan = self._deployment.ledger.placements.of(planned)
        return (*placed, *(each for each in of_plan if each.store == self._deployment.primary.name))

    def provides(self, path: Path, sha256: str) -> bool:
        """Return whether the file at `path` has these bytes, after fetching it if needed."""
        if path.is_file() and sha256_of(path) == sha256:
            return True
        return any(
            fetched(self._deployment.primary, each.address, each.size, sha256, path)
            for each in self._placed
            if each.sha256 == sha256
        )


def forget_build(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> None:
    """Forget the finished build of a vintage, before its files in staging are replaced."""
    deployment.ledger.builds.forget(dataset.id, vintage)
    folder = deployment.staging(dataset, vintage) / "build"
    with storage_errors(f"write in {folder}"):
        build_mark(folder).unlink(missing_ok=True)


def write_build(folder: Path, mark: BuildMark) -> None:
    """Mark the build in `folder` as finished."""
    write_file(build_mark(folder), mark.to_bytes())


def record_build(deployment: Deployment, dataset: Dataset, vintage: Vintage, build: StagedBuild) -> None:
    """Record the build in staging as finished, after its files are in the primary store, where homes share them.

    Files of an earlier or a killed build are deleted there, except those of a plan, which later steps still read.
    """
    mark = build_mark(deployment.staging(dataset, vintage) / "build")
    put_work(deployment, dataset.id, vintage, [mark, *build.checksums])
    sha256 = sha256_of(mark)
    deployment.ledger.builds.record(dataset.id, vintage, sha256)
    planned = deployment.ledger.releases.planned(dataset.id, vintage)
    of_plan = () if planned is None else tuple(artifact.sha256 for artifact in planned.artifacts)
    free_work(deployment, dataset.id, vintage, keep={sha256, *build.checksums.values(), *of_plan})


def build_mark(folder: Path) -> Path:
    """Return the file that lists the files of the build in `folder`."""
    return folder / "build.json"
