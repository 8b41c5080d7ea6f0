"""A home with a catalogue of many releases, and a server of its protocols, for the tests and benchmarks of services."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from d4c_pipeline.chain import catalogue
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.services.protocol import opened
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.catalogued import fill


def catalogued_home(folder: Path, count: int = 60, *, rolling: int = 10, withdrawn: int | None = 17) -> Settings:
    """A home whose catalogue has `count` releases, one of them withdrawn, `rolling` in a rolling series."""
    settings = Settings(home=folder / "home", contact="data@example.ca")
    with Deployment.open(settings, archive=False) as deployment:
        fill(deployment.ledger, count, rolling=rolling)
        catalogue.rebuild(deployment)
        if withdrawn is not None:
            release = next(each for each in deployment.ledger.releases.published() if each.id == withdrawn)
            built = int(time.time())
            while int(time.time()) == built:  # harvests know seconds: the withdrawn record changes in a later one
                time.sleep(0.05)
            assert deployment.ledger.withdrawals.withdraw(release, who="ana", reason="The boundaries were wrong")
            catalogue.rebuild(deployment)
    return settings


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Serve the home with its protocols at a free port; yield the address once the index of the catalogue is ready."""
    with opened(settings) as routes, serving(mounts(settings), others=routes) as url:
        deadline = time.monotonic() + 60
        while (answer := httpx.get(f"{url}/oai?verb=Identify")).status_code != httpx.codes.OK:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)
        yield url
