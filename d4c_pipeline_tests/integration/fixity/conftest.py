"""What tests of fixity share: a deployment with two stores and the archive, and one published release in it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.model.release import Release
from d4c_pipeline_tests.fakes import rot

DATA = b"PAR1" + bytes(range(256)) * 8


@pytest.fixture
def dice() -> random.Random:
    return random.Random(6)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def at(home: Path) -> Iterator[Deployment]:
    with rot.deployment(home) as opened:
        yield opened


@pytest.fixture
def release(at: Deployment) -> Release:
    """A release of two files: four copies in two stores, two at the archive."""
    return rot.publish(at, "1.0.0", {"data.parquet": DATA, "manifest.json": b"{}\n"})
