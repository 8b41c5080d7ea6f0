"""A store that accepts connections and never answers: requests end at their deadline, and others are served."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.services.protocol import opened
from d4c_pipeline.services.subset import service
from d4c_pipeline_tests.support.served import wait

SECONDS, SLACK = 3.0, 3.0


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a file at a server whose connections the system accepts, and that reads none of them."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/a.parquet"


@pytest.fixture
def client(published: Settings, silent: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A client of a server for which the files of `rates` are at `silent`."""
    found = service.SubsetService.release

    def release(self: service.SubsetService, dataset: str, *rest: Any) -> Any:
        chosen = found(self, dataset, *rest)
        return replace(chosen, files=(silent,)) if dataset == "rates" else chosen

    monkeypatch.setattr(service.SubsetService, "release", release)
    monkeypatch.setattr(service, "FOOTER_SECONDS", SECONDS)
    with (
        opened(published) as routes,
        serving(mounts(published), others=routes) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        wait(lambda: client.get("/dap/places.dds").status_code == 200)
        yield client


@pytest.mark.parametrize("address", ["/dap/{}.dods", "/processes/subset/execution?dataset={}&format=csv"])
def test_a_store_that_never_answers_is_504_at_the_deadline_and_the_next_request_is_served(
    client: httpx.Client, address: str
) -> None:
    """DuckDB's own limits are four attempts of 30 seconds, and an interrupt reaches none of them."""
    began = time.monotonic()
    answer = client.get(address.format("rates"))
    took = time.monotonic() - began
    assert answer.status_code == 504, answer.text
    assert "A file of the release was not delivered in time. Ask again later" in answer.text
    assert "Retry-After" in answer.headers
    assert took < SECONDS + SLACK
    began = time.monotonic()
    assert client.get(address.format("places")).status_code == 200
    assert time.monotonic() - began < SLACK
