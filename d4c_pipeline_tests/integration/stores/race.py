"""A process that publishes one version of a dataset through the ledger and switches `/processed/`, to be killed.

What a version consists of follows from its number alone, so that every process and every reader knows it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from d4c_pipeline.chain import latest
from d4c_pipeline.chain.copies import put_artifacts
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import BusyError
from d4c_pipeline.model.release import Artifact, ArtifactRole, Change, DataSummary, Release, release_key
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.stores.port import Store
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.stores.s3_client import Bucket
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import release_folder, write_file
from d4c_pipeline_tests.support.samples import declared

VINTAGE = Vintage.parse("2021")
FILES = {".parquet": ArtifactRole.DATA, ".fgb": ArtifactRole.DESKTOP}
_SUMMARY = DataSummary(1, (), ("id",), None, None, (), {})


@dataclass(frozen=True)
class Place:
    """Where the one store lies: a folder, or a bucket; in a form that a new process can be given."""

    url: str
    folder: Path | None = None
    bucket: Bucket | None = None

    def store(self, name: str = "primary") -> Store:
        if self.bucket is not None:
            return S3Store(self.bucket, self.url, name)
        assert self.folder is not None
        return FolderStore(self.folder, self.url, name)


def dataset(**changes: Any) -> Dataset:
    return Dataset.model_validate(declared(**changes))


@contextmanager
def opened(home: Path, *stores: Store) -> Iterator[Deployment]:
    with Deployment.open(Settings(home=home)) as deployment:
        yield replace(deployment, stores=stores)


def content(number: int, suffix: str) -> bytes:
    """The bytes of a file of version `number`: no two have the same, nor the same length."""
    return random.Random(f"{number}{suffix}").randbytes(100_000 + 7_919 * ((number * 7) % 20) + len(suffix))


def publish_version(deployment: Deployment, number: int, *, of: Dataset | None = None) -> Release:
    """Plan version 0.`number`.0 (or go on with the plan that is there, of whichever version), put it, publish it."""
    of = of or dataset()
    releases = deployment.ledger.releases
    wanted = Version(0, number, 0)
    with deployment.working_on(of, VINTAGE):
        left = releases.planned(of.id, VINTAGE)
        if left is not None:
            _finish(deployment, left)
        for release in releases.published(of.id, VINTAGE):
            if release.version == wanted:
                return release
        name = str(of.release_name(VINTAGE, wanted))
        artifacts = [_artifact(name + suffix, number, suffix) for suffix in FILES]
        planned = releases.plan(
            of.id,
            VINTAGE,
            wanted,
            name=name,
            key=release_key(of.id, VINTAGE, wanted, artifacts),
            change=Change(Bump.MINOR, ()),
            summary=_SUMMARY,
            artifacts=artifacts,
        )
        return _finish(deployment, planned)


def publish_and_switch(home: Path, place: Place, number: int) -> None:
    """What one worker does."""
    with opened(home, place.store()) as deployment:
        publish_version(deployment, number)
        try:
            latest.switch(deployment, dataset(), VINTAGE)
        except BusyError:  # a request of a process that was killed came through after ours: run again
            latest.switch(deployment, dataset(), VINTAGE)


def _artifact(name: str, number: int, suffix: str) -> Artifact:
    data = content(number, suffix)
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Artifact(name, FILES[suffix], len(data), md5, hashlib.sha256(data).hexdigest(), "application/octet-stream")


def _finish(deployment: Deployment, release: Release) -> Release:
    folder = release_folder(deployment, release.name, release.dataset, str(release.vintage))
    for suffix in FILES:
        write_file(folder / (release.name + suffix), content(release.version.minor, suffix))
    put_artifacts(deployment, release, release.artifacts)
    return deployment.ledger.releases.mark_published(release)
