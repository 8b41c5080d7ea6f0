"""The home of `support.portal_home`, published once for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from d4c_pipeline_tests.support.portal_home import Portal, on_another_origin, published


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """Places in two versions, a table, a table of 300 columns and one in parts, all published with test DOIs."""
    with published(tmp_path_factory.mktemp("portal")) as made:
        yield made


@pytest.fixture(scope="session")
def elsewhere(portal: Portal) -> Iterator[tuple[Portal, str]]:
    """The same home, and the address of its pages on another origin than its store."""
    with on_another_origin(portal) as url:
        yield portal, url
