"""A bucket that keeps versions: `/processed/` switches there too, also where the server's conditions never hold."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.model.errors import BusyError
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.stores.s3_client import Bucket
from d4c_pipeline_tests.fakes.s3 import PART, Answer, FakeS3, Request

ADDRESS = "processed/stops.parquet"


@pytest.fixture
def versioned(fake: FakeS3) -> S3Store:
    """A store in a bucket with versions whose server refuses every `If-Match`, as radosgw does there."""
    name = f"v-{uuid.uuid4().hex}"
    fake.client().create_bucket(Bucket=name)
    fake.client().put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def refuse(request: Request) -> Answer | None:
        asked = request.environ["REQUEST_METHOD"] in ("PUT", "POST") and "HTTP_IF_MATCH" in request.environ
        return Answer("412 Precondition Failed", "PreconditionFailed") if asked else None

    fake.fault = refuse
    bucket = Bucket(name, "d4c", fake.url, addressing="path", access_key="testkey", secret_key="testsecret")
    return S3Store(bucket, f"{fake.url}/{name}/d4c", part_size=PART)


def test_a_small_file_is_switched(versioned: S3Store) -> None:
    for content in (b"first", b"second", b"third"):
        assert versioned.replace(content, ADDRESS).changed
        assert versioned.read_bytes(ADDRESS) == content


def test_a_file_in_parts_is_switched(versioned: S3Store, tmp_path: Path) -> None:
    for byte in (b"1", b"2"):
        path = tmp_path / "data"
        path.write_bytes(byte * (PART + 1))
        assert versioned.replace(path, ADDRESS).changed
    assert versioned.read_bytes(ADDRESS)[:1] == b"2"


def test_another_writer_in_between_is_not_written_over(versioned: S3Store, fake: FakeS3) -> None:
    versioned.replace(b"first", ADDRESS)

    def other() -> None:
        key = versioned.bucket.key(ADDRESS)
        fake.client().put_object(Bucket=versioned.bucket.name, Key=key, Body=b"other", Metadata={"sha256": "0"})

    with pytest.raises(BusyError, match="Another process wrote"):
        versioned.replace(b"second", ADDRESS, guard=other)
    assert versioned.read_bytes(ADDRESS) == b"other"


@pytest.mark.s3
def test_a_real_server_with_versions_switches(real_s3: Any, real_store: S3Store) -> None:
    real_s3.put_bucket_versioning(Bucket=real_store.bucket.name, VersioningConfiguration={"Status": "Enabled"})
    for content in (b"first", b"second"):
        assert real_store.replace(content, ADDRESS).changed
        assert real_store.read_bytes(ADDRESS) == content
