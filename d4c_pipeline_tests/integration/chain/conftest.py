"""What tests of the chain share: a deployment on an empty home, and the ten steps called one after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.chain import checksums
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.release import PublishedRelease
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.version import Bump
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.datasets import read_definitions
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import HOST, PLACES_URL, Origin, define, geojson
from d4c_pipeline_tests.support.steps import STEPS


@dataclass
class Chain:
    """The chain of the sample dataset on one home."""

    settings: Settings
    origin: Origin
    opened: Deployment
    results: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def dataset(self) -> Dataset:
        """The dataset as its YAML says this very moment."""
        return next(read_definitions(self.settings.definitions[0] / "places" / "defs.yaml"))

    def run(self, *steps: str, vintage: str = "2021") -> Any:
        """Run the named steps, by default all; returns what the last one did."""
        for step in steps or STEPS:
            self.results[step] = STEPS[step](self.opened, self.dataset, Vintage.parse(vintage))
        return self.results[(steps or tuple(STEPS))[-1]]

    def run_up_to(self, last: str, vintage: str = "2021") -> Any:
        """Run the chain from its start up to the step `last`."""
        names = list(STEPS)
        return self.run(*names[: names.index(last) + 1], vintage=vintage)

    def plan(self, at_least: Bump = Bump.NONE, vintage: str = "2021") -> checksums.Plan:
        return checksums.plan(self.opened, self.dataset, Vintage.parse(vintage), at_least)

    def newest(self, vintage: str = "2021") -> PublishedRelease:
        found = self.opened.ledger.releases.newest_published("places", Vintage.parse(vintage))
        assert found is not None
        return found

    @property
    def home(self) -> Path:
        return self.settings.home


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    folder = tmp_path / "definitions"
    define(folder)
    return folder


@pytest.fixture
def chain(tmp_path: Path, definitions: Path) -> Iterator[Chain]:
    """The chain of the sample dataset, whose source serves the places of 2021."""
    origin = Origin(tmp_path / "origin")
    origin.host(HOST)
    origin.put(PLACES_URL, geojson())
    settings = Settings(home=tmp_path / "home", definitions=(definitions,), origins=origin.origins, port=free_port())
    with Deployment.open(settings) as opened:
        yield Chain(settings, origin, opened)
    origin.close()
