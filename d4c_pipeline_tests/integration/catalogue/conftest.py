"""A home with releases of every shape, published once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from d4c_pipeline.model.settings import Settings
from d4c_pipeline_tests.support.home_of_releases import publish_all
from d4c_pipeline_tests.support.ports import free_port


@pytest.fixture(scope="session")
def published_home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a home with `RELEASES`, for reading only."""
    return publish_all(tmp_path_factory.mktemp("published"), free_port())


@pytest.fixture
def home_of_releases(published_home: Settings, tmp_path: Path) -> Settings:
    """The settings of a copy of that home."""
    shutil.copytree(published_home.home, tmp_path / "home")
    return published_home.model_copy(update={"home": tmp_path / "home"})
