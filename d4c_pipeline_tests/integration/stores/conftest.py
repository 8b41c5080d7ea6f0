"""The stores that every contract test runs against: a folder, moto's server, and the real S3 server of D4C_S3_URL."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.stores.port import Store
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.stores.s3_client import Bucket
from d4c_pipeline_tests.fakes.s3 import PART, FakeS3

REAL = pytest.param("real", marks=pytest.mark.s3)


@pytest.fixture(scope="session")
def moto() -> Iterator[FakeS3]:
    server = FakeS3().start()
    yield server
    server.stop()


@pytest.fixture
def fake(moto: FakeS3) -> Iterator[FakeS3]:
    """Moto's server as AWS is: it verifies checksums."""
    moto.verifying = True
    moto.requests.clear()
    yield moto
    moto.verifying, moto.fault = False, None


@pytest.fixture(scope="session")
def real_s3(s3_lane: tuple[str, str, str]) -> Any:
    """A client of the real server."""
    url, key, secret = s3_lane
    return boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret
    )


@pytest.fixture
def real_store(real_s3: Any, s3_lane: tuple[str, str, str]) -> S3Store:
    """A store in a bucket of its own at the real server, which anybody may read."""
    name = f"t-{uuid.uuid4().hex}"
    real_s3.create_bucket(Bucket=name, ACL="public-read")
    url, key, secret = s3_lane
    bucket = Bucket(name, "d4c", url, addressing="path", access_key=key, secret_key=secret)
    return S3Store(bucket, f"{url}/{name}/d4c", part_size=PART)


@pytest.fixture(params=["moto", REAL])
def s3_store(request: pytest.FixtureRequest, moto: FakeS3) -> S3Store:
    """An S3 store whose server verifies no sha256."""
    return request.getfixturevalue("real_store") if request.param == "real" else moto.store(uuid.uuid4().hex)


@pytest.fixture(params=["folder", "moto", "verifying", REAL])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    match request.param:
        case "folder":
            return FolderStore(tmp_path / "store", "http://127.0.0.1:8763/")
        case "real":
            return request.getfixturevalue("real_store")
        case kind:
            server: FakeS3 = request.getfixturevalue("moto" if kind == "moto" else "fake")
            return server.store(uuid.uuid4().hex)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three parts, the last one short; each with bytes of its own."""
    path = tmp_path_factory.mktemp("large") / "large.parquet"
    path.write_bytes(random.Random(6).randbytes(2 * PART + 12_345))
    return path
