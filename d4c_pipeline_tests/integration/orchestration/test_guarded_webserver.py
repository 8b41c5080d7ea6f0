"""Dagster's real webserver behind the guard: what it executes, under whose name, and what a hostile page gets done."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from d4c_pipeline.orchestration.resources import SIGNED_IN_TAG

CHROMIUM = Path("/usr/bin/chromium")
DEFINITIONS = """
import dagster as dg

@dg.op
def nothing() -> None: ...

@dg.job
def review() -> None:
    nothing()

defs = dg.Definitions(jobs=[review])
"""
LAUNCH = """mutation { launchRun(executionParams: {
  selector: {repositoryName: "__repository__", repositoryLocationName: "jobs.py", jobName: "review"},
  runConfigData: "{}",
  executionMetadata: {tags: [{key: "d4c/signed_in_as", value: "mallory"}, {key: "note", value: "NOTE"}]}
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


@dataclass(frozen=True)
class Webserver:
    """A guarded webserver that runs as `ana`."""

    port: int
    home: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, query: str, method: str = "POST", **headers: str) -> tuple[int, Any]:
        target, body = f"{self.url}/graphql", None
        if method == "GET":
            target += "?" + urllib.parse.urlencode({"query": query})
        else:
            body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(target, body, {"Content-Type": "application/json", **headers}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def notes(self) -> dict[str, str | None]:
        """Who launched the runs that there are, by their note."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            return {run.tags["note"]: run.tags.get(SIGNED_IN_TAG) for run in instance.get_runs()}


@pytest.fixture(scope="module")
def webserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    folder = tmp_path_factory.mktemp("webserver")
    (folder / "jobs.py").write_text(DEFINITIONS, "utf-8")
    (folder / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "run_coordinator: {module: dagster._core.run_coordinator, class: QueuedRunCoordinator}\n",
        "utf-8",
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("D4C_", "DAGSTER_"))}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "d4c_pipeline.orchestration.webserver", "-f", "jobs.py", "-p", str(port)],
            cwd=folder,
            env={**kept, "DAGSTER_HOME": str(folder), "D4C_UI_OPERATOR": "ana"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Webserver(port, folder)
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, log.read_text("utf-8")
            try:
                if running.send("{ version }")[0] == 200:
                    break
            except OSError:
                time.sleep(0.2)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=60)


def launch(note: str) -> str:
    return LAUNCH.replace("NOTE", note)


def test_a_run_says_who_signed_in_whatever_its_request_says(webserver: Webserver) -> None:
    status, answer = webserver.send(launch("own page"), Origin=webserver.url)
    assert (status, answer["data"]["launchRun"]["__typename"]) == (200, "LaunchRunSuccess"), answer
    assert webserver.notes()["own page"] == "ana"


def test_foreign_pages_launch_nothing(webserver: Webserver) -> None:
    attacks: list[tuple[str, dict[str, str]]] = [
        ("GET", {}),
        ("GET", {"Sec-Fetch-Site": "cross-site"}),
        ("POST", {"Origin": "https://evil.example"}),
        ("POST", {"Sec-Fetch-Site": "cross-site"}),
        ("POST", {"Host": "evil.example"}),
        ("GET", {"Host": "evil.example"}),
    ]
    for number, (method, headers) in enumerate(attacks):
        assert webserver.send(launch(f"attack {number}"), method, **headers)[0] == 403
    assert [note for note in webserver.notes() if note.startswith("attack")] == []


def test_subscriptions_go_on_working(webserver: Webserver) -> None:
    async def subscribe(origin: str) -> list[str]:
        url = f"ws://127.0.0.1:{webserver.port}/graphql"
        async with connect(url, origin=origin, subprotocols=["graphql-ws"], proxy=None) as ws:  # type: ignore[arg-type]
            await ws.send(json.dumps({"type": "connection_init"}))
            kinds = [json.loads(await ws.recv())["type"]]
            query = "subscription { locationStateChangeEvents { __typename } }"
            await ws.send(json.dumps({"type": "start", "id": "1", "payload": {"query": query}}))
            await ws.send(json.dumps({"type": "connection_terminate"}))
            return kinds

    assert asyncio.run(subscribe(webserver.url)) == ["connection_ack"]
    with pytest.raises(InvalidStatus):
        asyncio.run(subscribe("https://evil.example"))


@pytest.mark.browser
def test_a_hostile_page_in_a_browser_launches_nothing_and_frames_nothing(webserver: Webserver, tmp_path: Path) -> None:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    address = f"{webserver.url}/graphql?" + urllib.parse.urlencode({"query": launch("hostile page")})
    page_text = f"""<!doctype html><iframe id=f src="{webserver.url}/"></iframe><img src="{address}">
      <form id=p method=post action="{address}" target=t></form><iframe name=t></iframe><script>
      fetch("{address}", {{mode: "no-cors", credentials: "include"}}).catch(() => 0);
      fetch("{webserver.url}/graphql", {{method: "POST", mode: "no-cors",
        body: JSON.stringify({{query: {json.dumps(launch("hostile page"))}}})}}).catch(() => 0);
      document.getElementById("p").submit(); open("{address}")</script>""".encode()

    class Hostile(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page_text)

        def log_message(self, *_args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--disable-popup-blocking"]
    try:
        with playwright.sync_playwright() as driver:
            context = driver.chromium.launch_persistent_context(
                tmp_path / "browser", executable_path=str(CHROMIUM), args=flags
            )
            page = context.new_page()
            page.goto(f"http://localhost:{server.server_address[1]}/")
            page.wait_for_load_state("networkidle")
            framed = page.locator("#f").element_handle().content_frame()
            assert framed.get_by_text("Overview").count() == 0
            own = context.new_page()
            own.goto(webserver.url)
            own.get_by_text("Runs", exact=True).first.wait_for(state="visible", timeout=30_000)
            context.close()
    finally:
        server.shutdown()
        server.server_close()
    assert "hostile page" not in webserver.notes()
