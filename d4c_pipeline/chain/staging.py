"""Files in staging: written whole or not at all, and found again by their checksum.

What they mean belongs to the steps that write and read them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.distribution.disk import storage_errors
from d4c_pipeline.distribution.hashing import hash_file, sha256_of
from d4c_pipeline.distribution.media_types import media_type
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.release import Artifact, ArtifactRole, Release


def release_folder(deployment: Deployment, release_name: str, dataset: str, vintage: str) -> Path:
    """The staging folder that holds the files of a planned release under their final names."""
    return deployment.settings.home / "staging" / dataset / vintage / "release" / release_name


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step: a reader finds the old file or the whole new one.

    Raises StorageError when the disk is full or refuses.
    """
    with storage_errors(f"write {path.name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _unfinished(path)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    # One name for every process: who holds the lease now writes over what one that died has left.
    return path.with_name(f".{path.name}.part")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON that is the same bytes for the same value."""
    write_file(path, (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def link_file(source: Path, target: Path) -> None:
    """Let `target` be the same bytes as `source` without a second copy; both lie in staging, on one disk.

    Safe because staged files are only ever replaced, never written into. Raises StorageError when the disk refuses.
    """
    with storage_errors(f"write {target.name}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _unfinished(target)
        temporary.unlink(missing_ok=True)
        os.link(source, temporary)
        temporary.replace(target)


def as_artifact(path: Path, role: ArtifactRole) -> Artifact:
    """Hash a staged file in one read and describe it as an artifact."""
    digests = hash_file(path)
    return Artifact(path.name, role, digests.size, digests.md5, digests.sha256, media_type(path.name))


def artifact_path(deployment: Deployment, release: Release, artifact: Artifact) -> Path:
    """Return a local file that holds exactly the bytes of `artifact`: staged, or brought back from a store.

    Raises IntegrityError when neither staging nor any store holds them.
    """
    staged = release_folder(deployment, release.name, release.dataset, str(release.vintage)) / artifact.name
    if staged.is_file() and staged.stat().st_size == artifact.size and sha256_of(staged) == artifact.sha256:
        return staged
    address = release_address(release.dataset, release.vintage, release.version, artifact.name)
    for store in deployment.stores:
        if store.verify(address, artifact.size, artifact.sha256):
            local = store.local_path(address)
            if local is not None:
                return local
            with store.open(address) as stream:
                write_file(staged, stream.read())
            return staged
    raise IntegrityError(
        f"The file {artifact.name} of {release.name} is neither in staging nor intact in a store",
        "Run the step 'checksums' again; if the release is published, restore the file from the archive",
    )
