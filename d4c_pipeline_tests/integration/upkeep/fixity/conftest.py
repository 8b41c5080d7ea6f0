"""What tests of fixity share: a deployment with two stores and the archive, and one published release in it.

The mirror is a folder, and a bucket: moto's, and one at the real S3 server of D4C_S3_URL.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from d4c_pipeline.model.release import Release
from d4c_pipeline.stores.port import Store
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.stores.s3_client import Bucket
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes import rot
from d4c_pipeline_tests.fakes.s3 import FakeS3

DATA = b"PAR1" + bytes(range(256)) * 8
ON_FOLDERS = pytest.mark.parametrize("mirror", ["folder"], indirect=True)
"""For what only a folder can do, such as change a file and not its tag."""


@pytest.fixture
def dice() -> random.Random:
    return random.Random(6)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(params=["folder", "moto", pytest.param("real", marks=pytest.mark.s3)])
def mirror(request: pytest.FixtureRequest) -> Store | None:
    """A mirror in a bucket of its own; None for a folder of the home."""
    if request.param == "folder":
        return None
    if request.param == "moto":
        server: FakeS3 = request.getfixturevalue("moto")
        there = server.bucket()
    else:
        url, key, secret = request.getfixturevalue("s3_lane")
        there = Bucket("", "d4c", url, addressing="path", access_key=key, secret_key=secret)
    bucket = replace(there, name=f"fixity-{uuid.uuid4().hex}")
    bucket.client().create_bucket(Bucket=bucket.name)
    return S3Store(bucket, f"{bucket.endpoint}/{bucket.name}/d4c", "mirror")


@pytest.fixture
def at(home: Path, mirror: Store | None) -> Iterator[Deployment]:
    with rot.deployment(home, mirror=mirror) as opened:
        yield opened


@pytest.fixture
def release(at: Deployment) -> Release:
    """A release of two files: four copies in two stores, two at the archive."""
    return rot.publish(at, "1.0.0", {"data.parquet": DATA, "manifest.json": b"{}\n"})
