"""A published store with a withdrawn release, and mirrors of it: good, lying, stalling, cutting connections."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from d4c_pipeline.chain import catalogue
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.home_of_releases import publish_all
from d4c_pipeline_tests.support.ports import free_port

REASON = "The population of Iqaluit is wrong"


class Bad(http.server.BaseHTTPRequestHandler):
    """Serves a folder; `manner` spoils every data file: lie, short, stall, cut, trickle. `ranges`: those asked for."""

    folder: Path
    manner: str
    ranges: list[str | None]
    paths: list[str]
    ended: threading.Event
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.folder / self.path.lstrip("/")
        self.paths.append(self.path)
        if not path.is_file():
            self.send_error(404)
            return
        content, spoiled = path.read_bytes(), self.path.startswith("/releases/") and path.suffix == ".parquet"
        first = 0
        if spoiled:
            self.ranges.append(self.headers.get("Range"))
            if self.manner == "lie":
                content = bytes([content[0] ^ 1]) + content[1:]
            if self.manner == "short":
                content = content[:-1]
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            first = int(asked[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        if spoiled and self.manner in ("stall", "trickle"):
            while not self.ended.wait(0.1):
                if self.manner == "trickle":
                    self.wfile.write(content[first : first + 1])
                    self.wfile.flush()
                    first += 1
            return
        body = content[first:]
        if spoiled and self.manner == "cut" and not first:
            body = body[:4000]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client hangs up on a bad mirror."""


@contextmanager
def bad_mirror(folder: Path, manner: str) -> Iterator[tuple[str, type[Bad]]]:
    ended = threading.Event()
    facts = {"folder": folder, "manner": manner, "ranges": [], "paths": [], "ended": ended}
    handler = type("Spoiling", (Bad,), facts)
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        ended.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with `RELEASES`; places 2021 v0.1.0-beta is withdrawn. Nobody serves the address that it states."""
    settings = publish_all(tmp_path_factory.mktemp("clients"), free_port())
    with Deployment.open(settings) as deployment:
        release = next(
            each
            for each in deployment.ledger.releases.published()
            if each.dataset == "places" and str(each.vintage) == "2021" and str(each.version) == "0.1.0-beta"
        )
        assert deployment.ledger.withdrawals.withdraw(release, who="ana", reason=REASON)
        catalogue.rebuild(deployment)
    return settings


@pytest.fixture(scope="session")
def store(published: Settings) -> Path:
    return published.home / "store"


@pytest.fixture(scope="session")
def good(store: Path) -> Iterator[str]:
    """The address of a mirror by the product's own file server."""
    with serving({"/": store}) as url:
        yield url


@pytest.fixture
def mirror(store: Path) -> Iterator[Callable[[str], tuple[str, type[Bad]]]]:
    """Start a mirror that spoils data in a manner; return its address and its handler."""
    with ExitStack() as running:
        yield lambda manner: running.enter_context(bad_mirror(store, manner))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("D4C_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("D4C_MIRRORS", raising=False)
    return tmp_path / "cache"
