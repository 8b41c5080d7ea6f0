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

from d4c_pipeline.archives import deposit
from d4c_pipeline.archives.local import LocalArchive
from d4c_pipeline.archives.metadata import record_metadata
from d4c_pipeline.chain import copies
from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.fixity import expected_copies
from d4c_pipeline.chain.staging import release_folder
from d4c_pipeline.distribution.folder_store import FolderStore
from d4c_pipeline.distribution.hashing import hash_file
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.addresses import raw_address
from d4c_pipeline.model.fixity import CopyKind, ExpectedCopy
from d4c_pipeline.model.release import Artifact, ArtifactRole, Change, NativeFile, Release, release_key
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline_tests.fakes.deposits import DATASET, SUMMARY

_ROLES = {".parquet": ArtifactRole.DATA, ".json": ArtifactRole.MANIFEST}
_FILES = 15  # of a release
STORES = ("primary", "mirror", "second")


@contextmanager
def deployment(
    home: Path, stores: int = 2, *, store_url: str | None = "https://data.example.org"
) -> Iterator[Deployment]:
    """A deployment with so many folders as stores, the first in its usual place, and the local archive."""
    settings = Settings(home=home, store_url=store_url)
    with closing(Ledger.in_folder(home)) as ledger:
        yield Deployment(
            settings,
            ledger,
            tuple(
                FolderStore(root_of(home, name), f"{store_url or settings.embedded_url}/{name}", name)
                for name in STORES[:stores]
            ),
            LocalArchive(home / "archive"),
        )


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
        change=Change(Bump.PATCH, ("values changed",)), summary=SUMMARY, artifacts=artifacts,
    )  # fmt: skip
    copies.put_artifacts(at, release, release.artifacts)
    before = at.ledger.releases.newest_published(dataset, moment)
    metadata = record_metadata(declared, release, ["https://example.org/a.zip"])
    deposit.reserve(
        at.ledger, at.archive, release, metadata, previous=at.ledger.deposits.of(before) if before else None
    )
    deposit.complete(at.ledger, at.archive, release, {path.name: path for path in folder.iterdir()}, metadata)
    for path in folder.iterdir():
        path.unlink()
    return at.ledger.releases.mark_published(release)


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


def is_right(at: Deployment, copy: ExpectedCopy) -> bool:
    path = path_of(at, copy)
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == copy.sha256


WAYS = ("flip", "truncate", "delete", "append", "zero", "empty")


def harm(path: Path, way: str, dice: random.Random) -> None:
    """Do to a file what disks and people do, at its size and time as far as that can be."""
    if way == "delete":
        path.unlink()
        return
    content, times = bytearray(path.read_bytes()), path.stat()
    at = dice.randrange(len(content))
    if way == "flip":
        content[at] ^= 1 << dice.randrange(8)
    elif way == "truncate":
        del content[at:]
    elif way == "append":
        content += dice.randbytes(7)
    elif way == "zero":
        content[at:] = bytes(byte ^ 0xFF for byte in content[at:])
    else:
        content.clear()
    path.chmod(0o644)
    path.write_bytes(content)
    # Rot does not tell when it came.
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


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
        harm(path_of(at, copy), dice.choice(WAYS), dice)
    good = {copy.sha256 for copy in everything if copy not in chosen}
    return Harmed(frozenset(chosen), frozenset(copy for copy in chosen if copy.kind.is_stored and copy.sha256 in good))
