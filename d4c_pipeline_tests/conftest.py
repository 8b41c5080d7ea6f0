"""What all tests share: the folder of real data, found by `D4C_FIXTURES`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of real Canadian data (see its MANIFEST.md); without it, the test is skipped and says so."""
    folder = os.environ.get("D4C_FIXTURES")
    if not folder:
        pytest.skip("D4C_FIXTURES is not set: the real data files are not part of this repository")
    return Path(folder)
