"""The code that made a release, as a zip: this package, the dataset's own definition, the lock of the libraries.

Of a dataset's folder it holds only `defs.yaml` and the files named there, because a release can't be withdrawn. The
same code gives the same bytes on any machine (`files.stable_zip`). The versions of code and libraries belong to
`provenance`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.stable_zip import stable_zip
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DefinitionError
from d4c_pipeline.model.licences import DeclaredLicence
from d4c_pipeline.model.secrets import is_key_file, secrets_in
from d4c_pipeline.model.sources import FolderSource
from d4c_pipeline.workspace.provenance import lock_file, package_folder

CODE_NAME = "code.zip"
# Files that a wheel has inside the package and a checkout has beside it.
_PACKAGED = {"requirements.lock", "orchestration/dagster.yaml"}
_DEFINITIONS = "defs"
_DEFINITION = "defs.yaml"
_CODE_SUFFIXES = {".py", ".json", ".mako", ".md", ".yaml", ".sql", ".conf", ""}
_REMEDY = "Take it out (authorization: NAME names an environment variable with credentials), then run again"
_LONGEST_NAME = 255
_OPERATORS_FOLDER = "/folder-of-the-operator"  # in place of the path of a drop folder


def code_archive(dataset: Dataset) -> bytes:
    """Return the zip: `d4c_pipeline/...` without other datasets, `d4c_pipeline/defs/<id>/...`, `requirements.lock`.

    Raises StorageError when a file can't be read, DefinitionError when a file of the dataset is outside its folder or
    appears to contain a secret.
    """
    with storage_errors("read the code"):
        content = dict(_own_code(package_folder()))
        if dataset.folder is not None:
            content |= {
                f"d4c_pipeline/{_DEFINITIONS}/{dataset.id}/{name}": _published(dataset, name, path)
                for name, path in _named(dataset, dataset.folder)
            }
        if (lock := lock_file()) is not None:
            content["requirements.lock"] = lock.read_bytes()
    return stable_zip(content)


def pack_own_code() -> None:
    """Read and pack the package, so that forks of this process need not."""
    with storage_errors("read the code"):
        stable_zip(_own_code(package_folder()))


def definition_folder(unpacked: Path, dataset: str) -> Path:
    """Return the folder of a dataset's definition in an unpacked archive."""
    return unpacked / "d4c_pipeline" / _DEFINITIONS / dataset


def definition_digest(dataset: Dataset) -> str:
    """Return the sha256 (hex) of the parts of a definition that determine data and record.

    Publication policy and checks are left out: they don't change a release.
    """
    fields = dataset.model_dump(mode="json", exclude={"publication", "checks"})
    if isinstance(dataset.license, DeclaredLicence):
        # The text is a file of the release, whether the definition has it inline or in a file.
        fields["license"]["sha256"] = hashlib.sha256(dataset.license.content(dataset.folder)).hexdigest()
    return hashlib.sha256(json.dumps(fields, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@cache
def _own_code(folder: Path) -> Mapping[str, bytes]:
    """Return the package as this process first read it: 640 files, for every release of the process."""
    return {f"d4c_pipeline/{name}": path.read_bytes() for name, path in _package(folder) if _is_code(name)}


def _package(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every code file of the package with its relative path; caches and hidden files are skipped."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith((".", "__pycache__")) for part in parts)
        if path.suffix in _CODE_SUFFIXES and not hidden and not path.is_symlink() and path.is_file():
            yield "/".join(parts), path


def _named(dataset: Dataset, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the definition and the files that it names, by relative path."""
    yield from _existing({_DEFINITION, *_texts(dataset.model_dump(mode="python"))}, folder)


def named_files(dataset: Dataset, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files that decide the data, which a definition in `folder` names, by relative path: SQL, notebook.

    Raises DefinitionError for a link that leads out of the folder.
    """
    fields = dataset.model_dump(mode="python", exclude={"publication", "checks", "license"})
    yield from _existing(set(_texts(fields)), folder)


def _existing(texts: set[str], folder: Path) -> Iterator[tuple[str, Path]]:
    for text in sorted(texts):
        relative = PurePosixPath(text)
        if not text or len(text) > _LONGEST_NAME or "\0" in text or relative.is_absolute() or ".." in relative.parts:
            continue
        path = folder / relative
        if path.is_file():
            if not path.resolve().is_relative_to(folder.resolve()):
                raise DefinitionError(
                    f"{path} is a link that leads out of the dataset's folder, which would be published",
                    "Put a copy of the file there",
                )
            yield relative.as_posix(), path


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from chain.from_iterable(map(_texts, value.values()))
    elif isinstance(value, Sequence):
        yield from chain.from_iterable(map(_texts, value))


def _published(dataset: Dataset, name: str, path: Path) -> bytes:
    """Return the bytes of a dataset's file. Raises DefinitionError for a key or another secret."""
    content = path.read_bytes()
    if is_key_file(name):
        raise DefinitionError(f"{path} has the name of a file with keys, and the definition names it", _REMEDY)
    text = content.decode("utf-8", "replace")
    if found := list(secrets_in(text)):
        lines = "; ".join(f"{path}:{secret.line} holds {secret.kind}" for secret in dict.fromkeys(found))
        raise DefinitionError(f"{lines}, which would be published with every release", _REMEDY)
    if name == _DEFINITION and isinstance(dataset.source, FolderSource):
        # The path of an operator's disk is private and useless on another machine.
        place = dataset.source.path.partition("{")[0]
        content = text.replace(place, f"{_OPERATORS_FOLDER}/").encode() if len(place) > 1 else content
    return content


def _is_code(name: str) -> bool:
    return name not in _PACKAGED and (not name.startswith(f"{_DEFINITIONS}/") or name.endswith("__init__.py"))
