"""The version of the code that makes the data of a dataset: a digest of rooms, libraries, definition and its files.

Dagster compares it with the version of the last materialization and shows what is out of date. The code in a release
belongs to `code_archive`.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.workspace.code_archive import definition_digest, named_files
from d4c_pipeline.workspace.provenance import library_versions, package_folder

SOURCE_ROOMS = ("sources", "transport")
"""The rooms that decide which native files are retained."""
DATA_ROOMS = ("files", "geometry", "geoparquet", "processing", "readers", "sandbox", "tables")
"""The rooms that decide the bytes of the data files."""


def code_version_of_source(dataset: Dataset) -> str:
    """Return the version of the code and the declaration that fetch a dataset (16 hex digits)."""
    declared = json.dumps(dataset.source.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return _digest(_of_rooms(SOURCE_ROOMS), declared)


def code_version_of_data(dataset: Dataset) -> str:
    """Return the version of the code, libraries, definition and its files (SQL, notebook) that build a dataset.

    16 hex digits. A change of publication policy or checks leaves it, because neither changes the data.
    """
    files: list[str] = []
    if dataset.folder is not None:
        with storage_errors(f"read {dataset.folder}"):
            files = [_line(name, path) for name, path in named_files(dataset, dataset.folder)]
    libraries = json.dumps(dict(library_versions()), sort_keys=True)
    return _digest(_of_rooms(DATA_ROOMS), libraries, definition_digest(dataset), *files)


@cache
def _of_rooms(rooms: tuple[str, ...]) -> str:
    folder = package_folder()
    paths = sorted(path for room in rooms for path in (folder / room).rglob("*.py"))
    with storage_errors("read the code"):
        return _digest(*(_line(str(path.relative_to(folder)), path) for path in paths))


def _line(name: str, path: Path) -> str:
    return f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
