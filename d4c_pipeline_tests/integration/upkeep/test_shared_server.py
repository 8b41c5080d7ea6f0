"""Tests of many addresses share one file server, and never keep a publication from its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from d4c_pipeline.ledger import Ledger, lease_keys
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services import embedded, file_server
from d4c_pipeline.services.embedded import SharedServer
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.ports import free_port


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was started and stopped, in order."""
    found: list[str] = []

    @contextmanager
    def serving(*_: object, **__: object) -> Iterator[str]:
        found.append("start")
        yield "http://127.0.0.1"
        found.append("stop")

    monkeypatch.setattr(file_server, "serving", serving)
    return found


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Deployment]:
    settings = Settings.from_environment({"D4C_HOME": str(tmp_path / "home"), "D4C_PORT": str(free_port())})
    with Deployment.open(settings, archive=False) as deployment:
        yield deployment


def test_one_start_serves_many_tests_and_a_pause_ends_it(opened: Deployment, starts: list[str]) -> None:
    with SharedServer(opened) as server:
        assert starts == [], "nothing starts before the first test"
        assert [server.silent() for _ in range(5)] == [None] * 5
        assert starts == ["start"]
        server.pause()
        assert starts == ["start", "stop"]
        server.silent()
    assert starts == ["start", "stop", "start", "stop"]


def test_a_waiting_publication_gets_its_turn(
    opened: Deployment, starts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_SHARED_SECONDS", 0.0)
    served = threading.Event()

    def publish() -> None:
        with (
            closing(Ledger.in_folder(opened.settings.home)) as ledger,
            ledger.leases.hold(lease_keys.EMBEDDED_SERVER, wait=20),
        ):
            served.set()

    with SharedServer(opened) as server:
        server.silent()
        other = threading.Thread(target=publish)
        other.start()
        assert not served.wait(0.4), "one server at a time"
        for _ in range(20):
            server.silent()
            if served.is_set():
                break
        other.join()
    assert served.is_set()
    assert starts.count("start") <= 21
