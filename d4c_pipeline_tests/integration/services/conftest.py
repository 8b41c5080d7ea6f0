"""What tests of the services share: one home with a catalogue of 60 releases, and one server of its protocols."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from d4c_pipeline.model.settings import Settings
from d4c_pipeline_tests.support.catalogued_home import catalogued_home, served


@pytest.fixture(scope="session")
def catalogued(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with 60 published releases: 10 of a rolling series, tables, parts, one withdrawn."""
    return catalogued_home(tmp_path_factory.mktemp("services"))


@pytest.fixture(scope="session")
def services_url(catalogued: Settings) -> Iterator[str]:
    """The address of a server of the home's protocols."""
    with served(catalogued) as url:
        yield url
