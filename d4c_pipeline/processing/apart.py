"""A build and its derived files, made in a separate process: the work there, and the check of its answer here.

`make` runs in that process, on foreign bytes; `made` validates its answer in the run and trusts nothing in it. Starting
and limiting the process belongs to `sandbox`, the steps of the build to `build` and `derived`.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter

from d4c_pipeline.model.data_files import Files
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.release import ArtifactRole, DataSummary
from d4c_pipeline.model.vintage import Vintage

_Part = Annotated[str, StringConstraints(pattern=r"^[^/\x00]*$", max_length=255)]
_Name = Annotated[str, StringConstraints(pattern=r"^[^/\x00]+$", max_length=255)]


@dataclass(frozen=True)
class DerivedFile:
    """A file made of the data, see `derived.derive.Derived`."""

    path: Path
    role: ArtifactRole
    suffix: str
    rows: int | None
    left_out: int


@dataclass(frozen=True)
class Made:
    """What a build left, see `build.Build`, with what was derived from it."""

    files: Mapping[str, Path]
    profile: Path
    summary: DataSummary
    parameters: dict[str, Any]
    notebook: Path | None
    derived: tuple[DerivedFile, ...]


def make(
    dataset: Dataset,
    vintage: Vintage,
    natives: Sequence[Path],
    into: Path,
    inputs: Mapping[str, Files],
    threads: int | None,
    memory_limit: str | None,
    temp: Path | None,
) -> dict[str, Any]:
    """Build and derive into the folder `into`; return what `made` reads. Raises as `build` and `derive` do."""
    # Here, since the run has no use for them.
    from d4c_pipeline.processing.build import build  # noqa: PLC0415
    from d4c_pipeline.processing.derived import derive  # noqa: PLC0415

    built = build(
        dataset,
        vintage,
        natives,
        into,
        inputs=inputs,
        threads=threads,
        memory_limit=memory_limit,
        temp=temp,
    )
    return {
        "files": {part: path.name for part, path in built.files.items()},
        "profile": built.profile.name,
        "summary": built.summary.to_json(),
        "parameters": built.parameters,
        "notebook": built.notebook.name if built.notebook is not None else None,
        "derived": [
            {"file": one.path.name, "role": one.role, "suffix": one.suffix, "rows": one.rows, "left_out": one.left_out}
            for one in derive.derive(list(built.files.values()), dataset, vintage, into)
        ],
    }


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _DerivedAnswer(_Strict):
    file: _Name
    role: ArtifactRole
    suffix: _Name
    rows: int | None
    left_out: int


class _Answer(_Strict):
    files: dict[_Part, _Name]
    profile: _Name
    summary: dict[str, Any]
    parameters: dict[str, Any]
    notebook: _Name | None
    derived: list[_DerivedAnswer]


_SUMMARY = TypeAdapter(DataSummary)


def made(answer: Any, into: Path, suffixes: Collection[str]) -> Made:
    """Return what `make` answered about the folder `into`; `suffixes` are those of the derived files that it may name.

    Raises DataError when that is no such answer, or a file that it names is none of that folder's own: what parsed
    hostile bytes may have been taken over by them.
    """
    strange = "Look at the file with care: it may have been made to harm whoever reads it"
    try:
        told = _Answer.model_validate_json(json.dumps(answer))
        _SUMMARY.validate_json(json.dumps(told.summary))
        summary = DataSummary.from_json(told.summary)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("The build gave an answer that no build gives", strange) from error
    if unasked := {one.suffix for one in told.derived} - set(suffixes):
        raise DataError(f"The build made files that nobody asked for: {', '.join(sorted(unasked))}", strange)
    named = [*told.files.values(), told.profile, *(one.file for one in told.derived)]
    for name in [*named, told.notebook] if told.notebook is not None else named:
        if not _is_own_file(into / name):
            raise DataError(f"The build names a file that it did not make: {name}", strange)
    return Made(
        files={part: into / name for part, name in told.files.items()},
        profile=into / told.profile,
        summary=summary,
        parameters=told.parameters,
        notebook=into / told.notebook if told.notebook is not None else None,
        derived=tuple(
            DerivedFile(into / one.file, one.role, one.suffix, one.rows, one.left_out) for one in told.derived
        ),
    )


def _is_own_file(path: Path) -> bool:
    # A link would have a file of the operator's published.
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
