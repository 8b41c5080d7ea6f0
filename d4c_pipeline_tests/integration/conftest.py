"""Fixtures of several rooms: an S3 server of ours, as AWS is; datasets declared in a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from d4c_pipeline_tests.fakes.s3 import FakeS3
from d4c_pipeline_tests.support.declared import Declare, declaring


@pytest.fixture(scope="module")
def moto() -> Iterator[FakeS3]:
    """Moto's server; it verifies checksums."""
    server = FakeS3(verifying=True).start()
    yield server
    server.stop()


@pytest.fixture
def declare(tmp_path: Path) -> Declare:
    """Make a dataset of the given `processing` fields, whose folder is the test's own."""
    return declaring(tmp_path / "definition")
