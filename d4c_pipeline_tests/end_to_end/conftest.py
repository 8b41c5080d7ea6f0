"""What end-to-end tests share: an origin, a home with a port of its own, and `d4c` as a process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from d4c_pipeline_tests.support.commands import D4C, Zygote
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import HOST, PLACES_URL, Origin, define, geojson


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    """An origin that serves what the test puts there."""
    serving = Origin(tmp_path / "origin")
    serving.host(HOST)
    yield serving
    serving.close()


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    """An operator's own folder of definitions, empty."""
    folder = tmp_path / "definitions"
    folder.mkdir()
    return folder


@pytest.fixture
def port() -> int:
    """A free port for D4C_PORT."""
    return free_port()


@pytest.fixture
def d4c(zygote: Zygote, tmp_path: Path, port: int, origin: Origin, definitions: Path) -> D4C:
    """The command `d4c` on an empty home, which knows the test's own definitions."""
    return D4C(zygote, tmp_path / "home", port, origin, {"D4C_DEFS": str(definitions)})


@pytest.fixture(scope="session")
def released_home(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one release of the sample dataset, to be copied."""
    folder = tmp_path_factory.mktemp("released")
    origin = Origin(folder / "origin")
    try:
        origin.put(PLACES_URL, geojson())
        define(folder / "definitions")
        D4C(zygote, folder / "home", free_port(), origin, {"D4C_DEFS": str(folder / "definitions")}).ok(
            "publish", "places"
        )
    finally:
        origin.close()
    return folder / "home"


@pytest.fixture
def released(d4c: D4C, origin: Origin, definitions: Path, released_home: Path) -> D4C:
    """The command `d4c` on a home in which the sample dataset has one release, 0.1.0-beta."""
    shutil.copytree(released_home, d4c.home)
    define(definitions)
    origin.put(PLACES_URL, geojson())
    return d4c
