"""Caddy with the deployment's Caddyfile: everybody may look, and only a signed-in person is named to the webserver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest

from d4c_pipeline_tests.support.caddy import caddy
from d4c_pipeline_tests.support.ports import free_port

PASSWORD = "correct horse: battery"
# As `caddy hash-password` writes it, but of bcrypt's lowest cost: Caddy's own takes a second for each comparison.
HASHED = "JDJhJDA0JGxTaWtvQ1VieXk0REExRnlwUnI3UWU3TVFQN2tJZWVVUjk0ZTRrNnQwTTJlUFRORjNPTmky"


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that it got, as the webserver and the file server would get them."""

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses of the UI and of the store behind a running Caddy."""
    folder = tmp_path_factory.mktemp("front")
    (folder / "users").write_text(f"ana {HASHED}\n", "utf-8")
    behind = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=behind.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    upstream = f"127.0.0.1:{behind.server_port}"
    ui, store = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    try:
        with caddy(folder, ui=ui, store=store, USERS=str(folder / "users"), UI=upstream, FILES=upstream):
            yield ui, store
    finally:
        behind.shutdown()
        behind.server_close()


def ask(url: str, **options: object) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=30, **options)  # type: ignore[arg-type]


def test_a_guest_is_nobody_whatever_header_comes_along(front: tuple[str, str]) -> None:
    for header in ("X-D4C-User", "x-d4c-user"):
        answer = ask(f"{front[0]}/runs", headers={header: "ana"})
        assert (answer.status_code, answer.json()["path"]) == (200, "/runs")
        assert "x-d4c-user" not in answer.json()


def test_who_signs_in_is_named_and_the_password_goes_no_further(front: tuple[str, str]) -> None:
    asked = ask(f"{front[0]}/sign-in")
    assert asked.status_code == 401
    assert asked.headers["WWW-Authenticate"].startswith("Basic ")
    signed = ask(f"{front[0]}/sign-in", auth=("ana", PASSWORD))
    assert (signed.status_code, signed.headers["Location"]) == (302, "/")
    answer = ask(f"{front[0]}/graphql", auth=("ana", PASSWORD), headers={"X-D4C-User": "root"}).json()
    assert answer["x-d4c-user"] == "ana"
    assert "authorization" not in answer


def test_a_wrong_password_reaches_nothing(front: tuple[str, str]) -> None:
    for who in (("ana", "wrong"), ("ana", "")):
        assert ask(f"{front[0]}/graphql", auth=who).status_code == 401


def test_the_store_is_served_without_a_name(front: tuple[str, str]) -> None:
    assert ask(f"{front[1]}/catalogue/stac.parquet").json()["path"] == "/catalogue/stac.parquet"
