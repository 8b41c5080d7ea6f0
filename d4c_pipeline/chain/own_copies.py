"""Restores the primary store's files of a record that names our own stores, out of a mirror (DataCite keeps no files).

An archive with files of its own needs none of this: see `archives.retrieval`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

from d4c_pipeline.archives.port import Listed
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.files.media_types import media_type
from d4c_pipeline.metadata.record import IDENTIFIER_SCHEME
from d4c_pipeline.model.errors import D4CError, IntegrityError, StorageError, TransientError, UnknownNameError
from d4c_pipeline.model.parts import MANIFEST_NAME
from d4c_pipeline.model.release import (
    CHECKSUMS_NAME,
    CHECKSUMS_REST_NAME,
    Artifact,
    ArtifactRole,
    release_key,
)
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import local_copy

_FOLDER = re.compile(r"releases/(?P<dataset>[^/]+)/(?P<vintage>[^/]+)/v(?P<version>[^/]+)(?=/[^/]+$)")


def restore_primary(deployment: Deployment, listed: Listed) -> None:
    """Put the files of a record that the primary store lacks there, from a mirror whose checksums give its identifier.

    Raises IntegrityError when neither the primary store nor a mirror has them; the error of an unreachable mirror that
    may have them.
    """
    address = urlsplit(deployment.archive.file_url(listed.record_id, MANIFEST_NAME) or "").path
    folder = _FOLDER.search(unquote(address))
    if folder is None:
        return
    missing = [name for name in sorted(listed.names) if deployment.primary.stat(f"{folder[0]}/{name}") is None]
    if not missing:
        return
    silent: D4CError | None = None
    for mirror in deployment.stores[1:]:
        try:
            sums = _checksums(mirror, folder, listed)
            if sums is not None and _copied(deployment, mirror, folder[0], missing, sums):
                return
        except (TransientError, StorageError) as error:
            silent = silent or error
    if silent is not None:
        raise silent
    raise IntegrityError(
        f"The record {listed.doi} keeps no files of its own, and no store has all of {folder[0]} "
        f"({missing[0]} is missing in {deployment.primary.name})",
        f"Restore the folder {folder[0]} from a backup into store {deployment.primary.name}, or name a mirror that has "
        "it (D4C_STORES), then run again",
    )


def _checksums(mirror: Store, folder: re.Match[str], listed: Listed) -> Mapping[str, str] | None:
    """Return the sha256 of the files of a release in a mirror; None where they do not give the identifier."""
    try:
        content = mirror.read_bytes(f"{folder[0]}/{CHECKSUMS_NAME}")
    except UnknownNameError:
        return None
    planned = dict(_listed(content))
    planned[CHECKSUMS_NAME] = hashlib.sha256(content).hexdigest()
    files = [Artifact(name, ArtifactRole.SOURCE, 0, "", sha, media_type(name)) for name, sha in planned.items()]
    key = release_key(folder["dataset"], Vintage.parse(folder["vintage"]), Version.read(folder["version"]), files)
    if f"{IDENTIFIER_SCHEME}{key}" != listed.identifier:
        return None
    with suppress(UnknownNameError):  # an earlier release has one list
        planned |= dict(_listed(mirror.read_bytes(f"{folder[0]}/{CHECKSUMS_REST_NAME}")))
    return planned


def _listed(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield name and sha256 of each line in the format of sha256sum."""
    for line in content.decode("utf-8").splitlines():
        digest, _, name = line.partition("  ")
        yield name, digest


def _copied(deployment: Deployment, mirror: Store, folder: str, names: list[str], sums: Mapping[str, str]) -> bool:
    """Copy files to the primary store; return whether the mirror had all of them with these checksums."""
    staging = deployment.settings.home / "staging"
    with storage_errors(f"write in {staging}"):
        staging.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".own-", dir=staging) as scratch:
        for name in names:
            address = f"{folder}/{name}"
            size = mirror.stat(address)
            if size is None:
                return False
            sha256 = sums.get(name)
            if sha256 is None:  # the list of the rest, which lists no checksum of its own
                sha256 = hashlib.sha256(mirror.read_bytes(address)).hexdigest()
            path = local_copy(mirror, address, size, sha256, Path(scratch) / name)
            if path is None:
                return False
            deployment.primary.put_immutable(path, address, hash_file(path))
    return True
