"""Runs a build with its derived files in a separate process, and validates the answer of that process.

`make` runs in that process, on foreign bytes; `made` runs in the caller and trusts nothing in the answer. Starting and
limiting the process belongs to `sandbox`, the steps of the build to `build` and `derived`.
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
    """A file derived from the data, see `derived.derive.Derived`."""

    path: Path
    role: ArtifactRole
    suffix: str
    rows: int | None
    left_out: int


@dataclass(frozen=True)
class Made:
    """The result of a build, see `build.Build`, with its derived files."""

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
    most_rows: int | None = None,
) -> dict[str, Any]:
    """Build and derive into the folder `into`; return the answer for `made`. Raises as `build` and `derive` do."""
    # The caller of `made` does not need these imports.
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
        most_rows=most_rows,
    )
    return {
        "files": {part: path.name for part, path in built.files.items()},
        "profile": built.profile.name,
        "summary": built.summary.to_json(),
        "parameters": built.parameters,
        "notebook": built.notebook.name if built.notebook is not None else None,
        "derived": [
            {
                "file": file.path.name,
                "role": file.role,
                "suffix": file.suffix,
                "rows": file.rows,
                "left_out": file.left_out,
            }
            for file in derive.derive(list(built.files.values()), dataset, vintage, into)
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
    """Validate the `answer` of `make` for the folder `into`; `suffixes`: the derived files that it may name.

    Raises DataError for a malformed answer, and for a file that is not a regular file in that folder: hostile bytes may
    have taken over the process that parsed them.
    """
    suspect = "Inspect the native file with care: it may be an attack on its readers"
    try:
        valid = _Answer.model_validate_json(json.dumps(answer))
        _SUMMARY.validate_json(json.dumps(valid.summary))
        summary = DataSummary.from_json(valid.summary)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("The build process returned a malformed answer", suspect) from error
    if undeclared := {file.suffix for file in valid.derived} - set(suffixes):
        raise DataError(f"The build made files that are not declared: {', '.join(sorted(undeclared))}", suspect)
    named = [*valid.files.values(), valid.profile, *(derived.file for derived in valid.derived)]
    for name in [*named, valid.notebook] if valid.notebook is not None else named:
        if not _is_own_file(into / name):
            raise DataError(f"The build names a file that it did not make: {name}", suspect)
    return Made(
        files={part: into / name for part, name in valid.files.items()},
        profile=into / valid.profile,
        summary=summary,
        parameters=valid.parameters,
        notebook=into / valid.notebook if valid.notebook is not None else None,
        derived=tuple(
            DerivedFile(into / each.file, each.role, each.suffix, each.rows, each.left_out) for each in valid.derived
        ),
    )


def _is_own_file(path: Path) -> bool:
    # Following a link could publish a file of the operator.
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
