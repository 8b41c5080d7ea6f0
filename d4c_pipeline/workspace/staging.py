"""Files in staging: written atomically and found again by their checksum.

Where the primary store is not a local folder, staging also has the files that a step reads. The meaning of the files
belongs to the steps.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from d4c_pipeline.files.disk import storage_errors, unfinished, write_file
from d4c_pipeline.files.hashing import READ_SIZE, Hasher, hash_file, sha256_of
from d4c_pipeline.files.media_types import media_type
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.errors import (
    BusyError,
    D4CError,
    IntegrityError,
    StorageError,
    TransientError,
    UnknownNameError,
)
from d4c_pipeline.model.release import Artifact, ArtifactRole, NativeFile, Release
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.work import free_abandoned_work, free_work, is_continued, work_of

_FORGOTTEN_SECONDS = 86_400.0  # far longer than a step of another home takes to go on with a build


def release_folder(deployment: Deployment, release_name: str, dataset: str, vintage: str) -> Path:
    """Return the staging folder with the files of a planned release under their final names."""
    return deployment.settings.home / "staging" / dataset / vintage / "release" / release_name


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON; equal values give equal bytes."""
    write_file(path, (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def link_file(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`; both are in staging, on one disk.

    Safe because staged files are replaced, never written into. Raises StorageError when the disk refuses.
    """
    with storage_errors(f"write {target.name}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = unfinished(target)
        temporary.unlink(missing_ok=True)
        os.link(source, temporary)
        temporary.replace(target)


def as_artifact(path: Path, role: ArtifactRole, *others: Hasher) -> Artifact:
    """Hash a staged file in one read, which the hashers in `others` share, and return it as an artifact."""
    digests = hash_file(path, *others)
    return Artifact(path.name, role, digests.size, digests.md5, digests.sha256, media_type(path.name))


def checksum_list(artifacts: Iterable[Artifact]) -> bytes:
    """Return sha256 and name of artifacts in the format of sha256sum, so that `sha256sum -c` works beside the files."""
    return "".join(f"{artifact.sha256}  {artifact.name}\n" for artifact in artifacts).encode()


def artifact_path(deployment: Deployment, release: Release, artifact: Artifact) -> Path:
    """Return a local file with the bytes of `artifact`: staged, or fetched from a store, also from another home's work.

    Raises IntegrityError when neither staging nor any store has them; the error of an unreachable store that may have
    them.
    """
    staged = release_folder(deployment, release.name, release.dataset, str(release.vintage)) / artifact.name
    if is_file_of(staged, artifact.size, artifact.sha256):
        return staged
    silent: D4CError | None = None
    for store, address in _places(deployment, release, artifact):
        try:
            found = local_copy(store, address, artifact.size, artifact.sha256, staged)
        except (TransientError, StorageError) as error:
            silent = silent or error
            continue
        if found is not None:
            return found
    if silent is not None:
        raise silent
    raise IntegrityError(
        f"The file {artifact.name} of {release.name} is neither in staging nor intact in a store",
        "Run the step 'checksums' again; if the release is published, restore the file from the archive",
    )


def _places(deployment: Deployment, release: Release, artifact: Artifact) -> Iterator[tuple[Store, str]]:
    """Yield the addresses where a store may have an artifact."""
    public = release_address(release.dataset, release.vintage, release.version, artifact.name)
    copies = deployment.ledger.copies.of(release)
    known = {copy.store: copy.address for copy in copies if copy.artifact == artifact.name}
    for store in deployment.stores:
        # A copy that is hidden, or was hidden when it was recorded.
        for address in dict.fromkeys((known.get(store.name, public), public)):
            yield store, address
    for placed in work_of(deployment, release.dataset, release.vintage, artifact.sha256):
        yield deployment.primary, placed.address


def read_artifact(deployment: Deployment, release: Release, artifact: Artifact) -> bytes:
    """Return the bytes of a small artifact. Raises what `artifact_path` raises."""
    path = artifact_path(deployment, release, artifact)
    with storage_errors(f"read {artifact.name}"):
        return path.read_bytes()


def is_file_of(path: Path, size: int, sha256: str) -> bool:
    """Return whether the file at `path` has this size and sha256. Raises StorageError when it can't be read."""
    with storage_errors(f"read {path.name}"):
        there = path.is_file() and path.stat().st_size == size
    return there and sha256_of(path) == sha256


def local_copy(store: Store, address: str, size: int, sha256: str, path: Path) -> Path | None:
    """Return a local file with the bytes at `address`: the store's own file, or a file fetched to `path` atomically.

    None when the store does not have them. A file at `path` with these bytes is used as it is. Raises StorageError and
    TransientError as the store does.
    """
    if is_file_of(path, size, sha256):
        return path
    if (local := store.local_path(address)) is not None:
        return local if store.verify(address, size, sha256) else None
    return path if fetched(store, address, size, sha256, path) else None


def fetched(store: Store, address: str, size: int, sha256: str, path: Path) -> bool:
    """Write the bytes at `address` to `path` atomically; return False when the store does not have these bytes."""
    if store.stat(address) != size:
        return False
    try:
        with store.open(address) as stream, storage_errors(f"write {path.name}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            return _written(stream, path, sha256)
    except UnknownNameError:
        return False  # deleted since the call before


def _written(stream: BinaryIO, path: Path, sha256: str) -> bool:
    """Write `stream` to `path` if it has the checksum. Each process writes to a temporary file of its own."""
    descriptor, name = tempfile.mkstemp(suffix=".part", prefix=f".{path.name}.", dir=path.parent)
    temporary, found = Path(name), hashlib.sha256()
    try:
        with os.fdopen(descriptor, "wb") as file:
            while block := stream.read(READ_SIZE):
                found.update(block)
                file.write(block)
        if found.hexdigest() == sha256:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return found.hexdigest() == sha256


def native_copy(deployment: Deployment, dataset: str, vintage: Vintage, native: NativeFile) -> Path | None:
    """Return a local file with the bytes of a retained native file, None when the primary store lacks them."""
    path = _native_staged(deployment, dataset, vintage, native)
    return local_copy(deployment.primary, native.address, native.size, native.sha256, path)


def native_path(deployment: Deployment, dataset: str, vintage: Vintage, native: NativeFile) -> Path | None:
    """Return the same without verifying the store's own file."""
    return deployment.primary.local_path(native.address) or native_copy(deployment, dataset, vintage, native)


def keep_native(deployment: Deployment, dataset: str, vintage: Vintage, native: NativeFile, path: Path) -> None:
    """Keep the just retained file at `path` where `native_copy` would fetch it to."""
    if deployment.primary.local_path(native.address) is None:
        link_file(path, _native_staged(deployment, dataset, vintage, native))


def _native_staged(deployment: Deployment, dataset: str, vintage: Vintage, native: NativeFile) -> Path:
    folder = deployment.settings.home / "staging" / dataset / str(vintage) / "retained"
    return folder / native.sha256[:12] / native.name


def sweep(deployment: Deployment, dataset: str, vintage: Vintage) -> None:
    """Remove the files of a published vintage from staging and from the work in the primary store.

    The stores hold the release. Skipped while another process works on the vintage, which sweeps at its end, and while
    a newer build waits for `checksums`. The other vintages that this home has in staging, and the work that any home
    left, are removed likewise.
    """
    ledger, root = deployment.ledger, deployment.settings.home / "staging"
    with suppress(BusyError), ledger.leases.hold(lease_keys.of_vintage(dataset, vintage), wait=0):
        if not is_continued(deployment, dataset, vintage):
            _remove(root / dataset / str(vintage))
            free_work(deployment, dataset, vintage)
    free_abandoned_work(deployment)
    # Another home may have run the later steps of a vintage that was built here, and a new vintage was compared with
    # files of an earlier one that were fetched.
    forgotten = time.time() - _FORGOTTEN_SECONDS
    for folder in (*root.glob("*/*/build"), *root.glob("*/*/release")):
        dataset, vintage = folder.parts[-3], Vintage.parse(folder.parts[-2])
        with suppress(BusyError, FileNotFoundError):
            if folder.stat().st_mtime > forgotten or is_continued(deployment, dataset, vintage):
                continue
            with ledger.leases.hold(lease_keys.of_vintage(dataset, vintage), wait=0):
                _remove(folder.parent)


def _remove(folder: Path) -> None:
    for name in ("retained", "release", "build", "checks", "changes"):
        shutil.rmtree(folder / name, ignore_errors=True)
