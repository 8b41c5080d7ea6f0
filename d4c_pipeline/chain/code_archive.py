"""The code that made a release as one zip: this package, the dataset's own definition, the lock of the libraries.

The same code gives the same bytes on any machine: fixed order, times and modes, and no compression, whose output would
depend on the zlib that is installed. What a build was made by in words is `provenance`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from d4c_pipeline.chain.provenance import lock_file, package_folder
from d4c_pipeline.distribution.disk import storage_errors
from d4c_pipeline.model.dataset import Dataset

CODE_NAME = "code.zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can say
_UNIX = 3
_MODE = 0o100644 << 16
# What a wheel brings along inside the package, and a checkout has beside it.
_PACKAGED = {"requirements.lock", "orchestration/dagster.yaml"}
_DEFINITIONS = "defs"


def code_archive(dataset: Dataset) -> bytes:
    """Return the zip: `d4c_pipeline/...` without other datasets, `d4c_pipeline/defs/<id>/...`, `requirements.lock`.

    Raises StorageError when a file can't be read.
    """
    with storage_errors("read the code"):
        content = {f"d4c_pipeline/{name}": path for name, path in _files(package_folder()) if _is_code(name)}
        if dataset.folder is not None:
            content |= {
                f"d4c_pipeline/{_DEFINITIONS}/{dataset.id}/{name}": path for name, path in _files(dataset.folder)
            }
        if (lock := lock_file()) is not None:
            content["requirements.lock"] = lock
        buffer = BytesIO()
        with ZipFile(buffer, "w", ZIP_STORED) as archive:
            for name in sorted(content):
                entry = ZipInfo(name, _EPOCH)
                entry.create_system = _UNIX
                entry.external_attr = _MODE
                archive.writestr(entry, content[name].read_bytes())
    return buffer.getvalue()


def definition_digest(dataset: Dataset) -> str:
    """Return the sha256 (hex) of all that a definition says of data and record.

    How it is published and checked is left out: that changes nothing in what is published.
    """
    said = dataset.model_dump(mode="json", exclude={"publication", "checks"})
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder by its relative path, but for caches and what editors leave."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        left_over = path.suffix == ".pyc" or path.name.endswith("~")
        if path.is_file() and not left_over and not any(part.startswith((".", "__pycache__")) for part in parts):
            yield "/".join(parts), path


def _is_code(name: str) -> bool:
    return name not in _PACKAGED and (not name.startswith(f"{_DEFINITIONS}/") or name.endswith("__init__.py"))
