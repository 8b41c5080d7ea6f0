"""What tests of appraisal share: a server of sources on the loopback, reached by the names of public hosts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

CSV = "species,diameter,note\nÉrable,31,\nOak,12,\n".encode()
ORIGIN = "http://data.example.ca"


class Sources(BaseHTTPRequestHandler):
    """Files by path; `/sized` states 50 GB, `/endless` no length, `/inner` leads inside, `/status/403.csv` is a 403."""

    files: ClassVar[dict[str, bytes]] = {"/trees.csv": CSV, "/page": b"<!DOCTYPE html><html><body>data</body></html>"}
    redirects: ClassVar[dict[str, str]] = {
        "/inner": "http://169.254.169.254/latest/meta-data",
        "/name": "http://inner.example.ca/x.csv",
    }

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if self.path in self.redirects:
            self.send_response(302)
            self.send_header("Location", self.redirects[self.path])
            self.end_headers()
        elif self.path.startswith("/status/"):
            self.send_error(int(self.path[8:11]))
        elif self.path == "/sized.csv":
            self.send_response(200)
            self.send_header("Content-Length", str(50_000_000_000))
            self.end_headers()
        elif self.path == "/endless.csv":
            self.send_response(200)
            self.end_headers()
            for _ in range(200 if body else 0):
                self.wfile.write(b"1,2,3\n" * 10_000)
        elif (content := self.files.get(self.path)) is not None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)
        else:
            self.send_error(410)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="session")
def origins() -> Iterator[dict[str, str]]:
    """The origin of `ORIGIN` -> a server on the loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Sources) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield {ORIGIN: f"http://127.0.0.1:{server.server_port}"}
        server.shutdown()
