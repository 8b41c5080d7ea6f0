"""What tests of several rooms share: an S3 server of ours, as AWS is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from d4c_pipeline_tests.fakes.s3 import FakeS3


@pytest.fixture(scope="module")
def moto() -> Iterator[FakeS3]:
    """Moto's server; it verifies checksums."""
    server = FakeS3(verifying=True).start()
    yield server
    server.stop()
