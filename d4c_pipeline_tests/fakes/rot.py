"""Published releases in several stores and the local archive, and rot that eats them; tests and a benchmark share it.

Everything but the rot is real: ledger, stores, archive. What was harmed, and whether a good copy is left of it, is
worked out here from the files alone, past the code under test.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d4c_pipeline.archives import deposit
from d4c_pipeline.archives.local.archive import LocalArchive
from d4c_pipeline.archives.port import Archive
from d4c_pipeline.chain import copies
from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.metadata.record import record_metadata
from d4c_pipeline.model.addresses import raw_address
from d4c_pipeline.model.differences import Stated
from d4c_pipeline.model.fixity import CopyKind, ExpectedCopy
from d4c_pipeline.model.release import Artifact, ArtifactRole, Change, NativeFile, Release, release_key
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.stores.port import QUARANTINE, Store
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.upkeep.fixity import expected_copies
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import release_folder
from d4c_pipeline_tests.fakes.deposits import DATASET, SUMMARY

_ROLES = {".parquet": ArtifactRole.DATA, ".json": ArtifactRole.MANIFEST}
_FILES = 15  # of a release
STORES = ("primary", "mirror", "second")


@contextmanager
def deployment(
    home: Path,
    stores: int = 2,
    *,
    store_url: str | None = "https://data.example.org",
    mirror: Store | None = None,
    archive: Archive | None = None,
) -> Iterator[Deployment]:
    """A deployment with so many folders as stores, the first in its usual place, and the local archive.

    `mirror` stands in for the folder of that name, `archive` for the local one.
    """
    settings = Settings(home=home, store_url=store_url)
    with closing(Ledger.in_folder(home)) as ledger:
        folders = [
            FolderStore(root_of(home, name), f"{store_url or settings.embedded_url}/{name}", name)
            for name in STORES[:stores]
        ]
        chosen = [mirror if mirror is not None and folder.name == mirror.name else folder for folder in folders]
        yield Deployment(settings, ledger, tuple(chosen), archive or LocalArchive(home / "archive"))


def root_of(home: Path, store: str) -> Path:
    return home / "store" if store == "primary" else home / f"store-{store}"


def publish(
    at: Deployment, version: str, files: dict[str, bytes], *, dataset: str = "provinces", vintage: str = "2021"
) -> Release:
    """Publish a release with these files: planned, put into every store, deposited, marked."""
    read, moment = Version.read(version), Vintage.parse(vintage)
    declared = DATASET.model_copy(update={"id": dataset})
    name = f"{dataset}_{vintage}_v{version}"
    folder = release_folder(at, name, dataset, vintage)
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    artifacts = [_artifact(path) for path in sorted(folder.iterdir())]
    release = at.ledger.releases.plan(
        dataset, moment, read, name=name, key=release_key(dataset, moment, read, artifacts),
        change=Change(Bump.PATCH, (Stated("values changed"),)), summary=SUMMARY, artifacts=artifacts,
    )  # fmt: skip
    before = at.ledger.releases.newest_published(dataset, moment)
    metadata = record_metadata(declared, release, ["https://example.org/a.zip"])
    deposit.reserve(
        at.ledger, at.archive, release, metadata, previous=at.ledger.deposits.of(before) if before else None
    )
    deposit.complete(at.ledger, at.archive, release, {path.name: path for path in folder.iterdir()}, metadata)
    published = at.ledger.releases.mark_published(release)
    copies.put_artifacts(at, published, published.artifacts)  # at once where everybody may have them
    for path in folder.iterdir():
        path.unlink()
    return published


def retain(
    at: Deployment, name: str, content: bytes, *, dataset: str = "provinces", vintage: str = "2021"
) -> NativeFile:
    """Retain a native file in the primary store."""
    staged = at.settings.home / name
    staged.write_bytes(content)
    digests = hash_file(staged)
    address = raw_address(dataset, Vintage.parse(vintage), digests.sha256, name)
    at.primary.put_immutable(staged, address, digests)
    staged.unlink()
    native = NativeFile(name, f"https://example.org/{name}", digests.sha256, digests.size, None, None, None, address)
    at.ledger.natives.record(dataset, Vintage.parse(vintage), [native], "cc-by-4.0")
    return native


def _artifact(path: Path) -> Artifact:
    digests = hash_file(path)
    role = _ROLES.get(path.suffix, ArtifactRole.PROFILE)
    return Artifact(path.name, role, digests.size, digests.md5, digests.sha256, "application/octet-stream")


def fill(at: Deployment, copies_wanted: int, dice: random.Random, *, size: int = 4096) -> int:
    """Publish releases of fifteen files, and retain native files, until there are so many copies; returns how many."""
    places = len(at.stores) + 1
    releases = copies_wanted * 9 // 10 // (_FILES * places)
    for number in range(releases):
        dataset = f"data_{number % 7}"
        files = {f"{dataset}_{number}_{part}.parquet": dice.randbytes(dice.randint(1, size)) for part in range(_FILES)}
        publish(at, f"1.0.{number}", files, dataset=dataset)
    for number in range(copies_wanted - releases * _FILES * places):
        retain(at, f"native_{number}.zip", dice.randbytes(dice.randint(1, size)), dataset=f"data_{number % 7}")
    return len(expected_copies(at))


def path_of(at: Deployment, copy: ExpectedCopy) -> Path:
    """Where the file of a copy lies, or should."""
    if copy.kind is CopyKind.ARCHIVE:
        record_id, _, name = copy.address.partition("/")
        return at.settings.home / "archive" / "records" / record_id / "files" / name
    return root_of(at.settings.home, copy.place) / copy.address


def in_bucket(at: Deployment, place: str) -> S3Store | None:
    """The store of that name where it is a bucket."""
    return next((store for store in at.stores if store.name == place and isinstance(store, S3Store)), None)


def content_of(at: Deployment, copy: ExpectedCopy) -> bytes | None:
    """What lies where a copy should; None when nothing does."""
    store = in_bucket(at, copy.place)
    if store is not None:
        return store.read_bytes(copy.address) if store.stat(copy.address) is not None else None
    path = path_of(at, copy)
    return path.read_bytes() if path.is_file() else None


def put_content(at: Deployment, copy: ExpectedCopy, content: bytes | None) -> None:
    """Put bytes where a copy should be, or nothing, past everything that watches over it."""
    store = in_bucket(at, copy.place)
    if store is not None:
        client, where = store.bucket.client(), {"Bucket": store.bucket.name, "Key": store.bucket.key(copy.address)}
        if content is None:
            client.delete_object(**where)
        else:
            # What a server says of an object is not what rots.
            kept = client.head_object(**where)["Metadata"] if store.stat(copy.address) is not None else {}
            client.put_object(**where, Body=content, Metadata=kept)
        return
    path = path_of(at, copy)
    if content is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.chmod(0o644)
    path.write_bytes(content)


def set_aside(at: Deployment, place: str) -> list[bytes]:
    """What lies in the quarantine of a store, by its path."""
    store = in_bucket(at, place)
    if store is None:
        folder = root_of(at.settings.home, place) / QUARANTINE
        return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    client, bucket = store.bucket.client(), store.bucket
    found: list[Any] = client.list_objects_v2(Bucket=bucket.name, Prefix=bucket.key(QUARANTINE)).get("Contents", [])
    return [client.get_object(Bucket=bucket.name, Key=one["Key"])["Body"].read() for one in found]


def is_right(at: Deployment, copy: ExpectedCopy) -> bool:
    content = content_of(at, copy)
    return content is not None and hashlib.sha256(content).hexdigest() == copy.sha256


WAYS = ("flip", "truncate", "delete", "append", "zero", "empty")


def rotten(content: bytes, way: str, dice: random.Random) -> bytes | None:
    """What disks and people make of bytes."""
    if way == "delete":
        return None
    changed = bytearray(content)
    at = dice.randrange(len(changed))
    if way == "flip":
        changed[at] ^= 1 << dice.randrange(8)
    elif way == "truncate":
        del changed[at:]
    elif way == "append":
        changed += dice.randbytes(7)
    elif way == "zero":
        changed[at:] = bytes(byte ^ 0xFF for byte in changed[at:])
    else:
        changed.clear()
    return bytes(changed)


def harm(path: Path, way: str, dice: random.Random) -> None:
    """Do to a file what disks and people do, at its time as far as that can be: rot does not tell when it came."""
    changed, times = rotten(path.read_bytes(), way, dice), path.stat()
    if changed is None:
        path.unlink()
        return
    path.chmod(0o644)
    path.write_bytes(changed)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def harm_copy(at: Deployment, copy: ExpectedCopy, way: str, dice: random.Random) -> None:
    """Do the same to a copy wherever it lies; a bucket has no way to change an object and not its tag."""
    if in_bucket(at, copy.place) is None:
        harm(path_of(at, copy), way, dice)
        return
    content = content_of(at, copy)
    assert content is not None
    put_content(at, copy, rotten(content, way, dice))


@dataclass(frozen=True)
class Harmed:
    """What was done: which copies, and those of them in stores that some untouched copy has the bytes of."""

    copies: frozenset[ExpectedCopy]
    mendable: frozenset[ExpectedCopy]


def rot(at: Deployment, share: float, dice: random.Random) -> Harmed:
    """Harm a share of all copies, of some files every one."""
    everything = expected_copies(at)
    chosen = set(dice.sample(everything, int(len(everything) * share)))
    # Files of which nothing good is left: chance alone would make few of them.
    for sha256 in dice.sample(sorted({copy.sha256 for copy in everything if copy.kind is CopyKind.RELEASE}), 3):
        chosen |= {copy for copy in everything if copy.sha256 == sha256}
    for copy in sorted(chosen, key=lambda copy: copy.key):
        harm_copy(at, copy, dice.choice(WAYS), dice)
    good = {copy.sha256 for copy in everything if copy not in chosen}
    return Harmed(frozenset(chosen), frozenset(copy for copy in chosen if copy.kind.is_stored and copy.sha256 in good))
