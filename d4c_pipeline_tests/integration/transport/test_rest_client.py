"""The one request function, against real sockets: what is sent again, what is not, and what never leaks."""

from __future__ import annotations

import io
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.model.errors import D4CError, PermanentError, TransientError
from d4c_pipeline.transport.hosts import Hosts
from d4c_pipeline.transport.pacing import Pace
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline.transport.rest import Refusal, Repeat, RestClient, UncertainError, file_body, json_body

SECRET = "very-s3cret-token"
QUICK = Patience(attempts=3, first_wait=0.01, longest_wait=60.0, connect_timeout=5.0, read_timeout=5.0)
Say = Callable[[BaseHTTPRequestHandler, bytes], None]


def saying(status: int, content: bytes = b"{}", kind: str = "application/json", **headers: str) -> Say:
    def say(handler: BaseHTTPRequestHandler, _sent: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return say


def hanging_up(handler: BaseHTTPRequestHandler, _sent: bytes) -> None:
    handler.close_connection = True
    handler.connection.close()


def cut_short(handler: BaseHTTPRequestHandler, sent: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"half": ')
    handler.wfile.flush()
    handler.close_connection = True


class Server(ThreadingHTTPServer):
    """Says what it is told to, in that order, the last thing for ever; remembers what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Say] = [saying(200)]
        self.heard: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections are broken on purpose."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.heard.append((self.command, self.path, dict(self.headers), sent))
        say = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        say(self, sent)

    do_POST = do_PUT = do_GET  # noqa: N815


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def waited() -> list[float]:
    return []


def own_pace() -> Pace:
    return Pace("own", Hosts())


@pytest.fixture
def client(server: Server, waited: list[float]) -> Iterator[RestClient]:
    made = RestClient(
        server.url, f"Bearer {SECRET}", refused=refused, patience=QUICK, pace=Pace("own", Hosts()), pause=waited.append
    )
    yield made
    made.close()


def refused(refusal: Refusal) -> D4CError:
    return PermanentError(f"{refusal.status} {refusal.message}")


@pytest.mark.parametrize(
    "failure",
    [hanging_up, cut_short, saying(500), saying(502, b"<html>", "text/html"), saying(200, b"<html>", "text/html")],
    ids=["hung up", "cut short", "500", "502", "a page on 200"],
)
def test_what_may_be_sent_twice_is_and_what_may_not_is_not(server: Server, client: RestClient, failure: Say) -> None:
    server.script = [failure, saying(200, b'{"id": 1}')]
    assert client.request("GET", "/thing").body == {"id": 1}
    assert len(server.heard) == 2

    server.script, server.heard = [failure, saying(200, b'{"id": 1}')], []
    with pytest.raises(UncertainError, match=rf"The outcome of POST {server.url}/thing is unknown"):
        client.request("POST", "/thing", body=json_body({}), repeat=Repeat.UNSAFE)
    assert len(server.heard) == 1


def test_429_is_waited_for_and_sent_again_whatever_it_was(
    server: Server, client: RestClient, waited: list[float]
) -> None:
    server.script = [saying(429, Retry_After="7"), saying(201, b'{"id": 1}')]
    assert client.request("POST", "/thing", body=json_body({"a": 1}), repeat=Repeat.UNSAFE).status == 201
    assert [sent for *_, sent in server.heard] == [b'{"a": 1}'] * 2
    assert max(waited) == pytest.approx(7.0, abs=0.1)


def test_a_server_that_asks_for_an_hour_is_not_waited_for(
    server: Server, client: RestClient, waited: list[float]
) -> None:
    server.script = [saying(429, Retry_After="3600")]
    with pytest.raises(TransientError, match="Try again in 3600 s, as the server asks"):
        client.request("GET", "/thing")
    assert waited == []


def test_nobody_listening_means_that_nothing_was_sent(waited: list[float]) -> None:
    client = RestClient(
        "http://127.0.0.1:9", None, refused=refused, patience=QUICK, pace=Pace("own", Hosts()), pause=waited.append
    )
    with pytest.raises(TransientError, match="No connection to") as caught:
        client.request("POST", "/thing", repeat=Repeat.UNSAFE)
    assert not isinstance(caught.value, UncertainError)
    assert len(waited) == 2


def test_every_attempt_sends_the_whole_file_with_its_length(server: Server, client: RestClient, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    (tmp_path / "data").write_bytes(content)
    server.script = [saying(503), saying(503), saying(200)]
    client.request("PUT", "/data", body=file_body(tmp_path / "data"))

    assert [sent == content for *_, sent in server.heard] == [True, True, True]
    for _, _, headers, _ in server.heard:
        assert headers["Content-Length"] == "1024000"
        assert "Transfer-Encoding" not in headers


def test_we_say_who_we_are(server: Server, client: RestClient) -> None:
    client.request("GET", "/thing")
    agent = server.heard[0][2]["User-Agent"]
    assert agent.startswith("d4c-pipeline/")
    assert "https://github.com/dataforcanada" in agent


def test_a_status_that_is_expected_is_an_answer(server: Server, client: RestClient) -> None:
    server.script = [saying(404, b'{"message": "gone"}')]
    assert client.request("GET", "/thing", passing=(404,)).body == {"message": "gone"}
    server.script = [saying(302, b"<html>", "text/html", Location="/other")]
    assert client.request("GET", "/thing", passing=(302,)).status == 302


def test_the_token_stands_in_one_header_and_nowhere_else(
    server: Server, client: RestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = io.StringIO()
    echo = b'{"message": "the token %s is unknown", "status": 403}' % SECRET.encode()
    scripts: list[list[Say]] = [
        [saying(200)],
        [saying(403, echo)],
        [saying(500)],
        [hanging_up],
        [saying(200, b"<html>", "text/html")],
    ]
    for script in scripts:
        server.script = script
        for repeat in Repeat:
            try:
                client.request("POST", "/thing", params={"q": "x"}, body=json_body({}), repeat=repeat)
            except D4CError as error:
                told.write(f"{error} {error!r} {error.args}")
                traceback.print_exception(error, file=told)
    told.write(f"{client!r} {client}")

    assert told.getvalue().count("Traceback") >= 8
    assert "the token *** is unknown" in told.getvalue()
    assert SECRET not in told.getvalue()
    assert len(caplog.records) > 50
    assert SECRET not in caplog.text
    assert all(SECRET not in path for _, path, _, _ in server.heard)
    assert {headers["Authorization"] for _, _, headers, _ in server.heard} == {f"Bearer {SECRET}"}


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://zenodo.org", "http://zenodo.org would receive the token unencrypted. Use its https address."),
        ("zenodo.org", "'zenodo.org' is not the address of a server. Use https://<host> without credentials."),
        ("https://me:pw@zenodo.org", "is not the address of a server"),
    ],
)
def test_an_address_that_would_give_the_token_away_is_refused(address: str, sentence: str) -> None:
    with pytest.raises(PermanentError) as caught:
        RestClient(address, f"Bearer {SECRET}", refused=refused)
    assert sentence in str(caught.value)
