"""A server of the protocols over a home with releases: in this process by its application, or as `d4c serve`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services import file_server
from d4c_pipeline.services.protocol import opened
from d4c_pipeline_tests.support.ports import free_port


@contextmanager
def protocols(settings: Settings, *names: str) -> Iterator[httpx.Client]:
    """A client of the named protocols in this process, once their index is built."""
    with (
        opened(settings.model_copy(update={"services": names or ("all",)})) as routes,
        file_server.serving({}, port=free_port(), others=routes) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        wait(lambda: client.get("/processes/subset/execution?dataset=places").status_code == 200)
        yield client


@contextmanager
def serving(settings: Settings, **environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`d4c serve` of a home as a process of its own: its address, and the process."""
    port = free_port()
    command = [sys.executable, "-m", "d4c_pipeline.commands.main", "serve", "--port", str(port)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "D4C_HOME": str(settings.home), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        wait(lambda: _answers(port), 120)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


def wait(until: object, seconds: float = 30.0) -> None:
    """Wait until a function returns true; fail after `seconds`."""
    assert callable(until)
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def finished(client: httpx.Client, address: str, seconds: float = 60.0) -> dict[str, object]:
    """The status of a job when it has ended."""
    found: list[dict[str, object]] = []

    def ended() -> bool:
        found.append(client.get(address).json())
        return found[-1]["status"] in ("successful", "failed")

    wait(ended, seconds)
    return found[-1]


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            pass
        answer = httpx.get(f"http://127.0.0.1:{port}/processes/subset/execution?dataset=places", timeout=5)
    except (OSError, httpx.HTTPError):
        return False
    return answer.status_code == 200


def results(home: Path) -> Path:
    """The folder of the results of jobs."""
    return home / "services" / "jobs" / "results"
