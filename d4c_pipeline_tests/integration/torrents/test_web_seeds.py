"""Web seeds that serve, ignore ranges, lie, hang or are dead; and a real client that has only a web seed."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import libtorrent as lt
import pytest

from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.torrents.pieces import PieceHasher, Pieces, hash_pieces
from d4c_pipeline.torrents.torrent_files import torrent_of
from d4c_pipeline.torrents.web_seeds import try_web_seed

PIECE = 16_384
SIZE = 10 * PIECE + 123
NAME = "stops.parquet"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    path = folder / NAME
    path.write_bytes(hashlib.shake_256(b"d4c").digest(SIZE))
    return path


def pieces(path: Path, piece_size: int = PIECE) -> Pieces:
    hasher = PieceHasher(piece_size)
    hash_file(path, hasher)
    return hasher.finish()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up early, as the trial does on purpose, is no error worth printing."""


@contextmanager
def a_server(handler: type[http.server.BaseHTTPRequestHandler] | functools.partial[object]) -> Iterator[str]:
    server = Server(("127.0.0.1", 0), handler)  # pyright: ignore[reportArgumentType]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The standard library's file server, which knows no ranges."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        pass


def answering(
    status: int, headers: dict[str, str], body: bytes = b"", pause: float = 0
) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(Quiet):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            for start in range(0, len(body), 1024):
                self.wfile.write(body[start : start + 1024])
                time.sleep(pause)

    return Handler


def test_a_good_seed_is_tried_at_first_last_and_sampled_pieces(data: Path) -> None:
    with serving({"/": data.parent}) as url:
        verdict = try_web_seed(f"{url}/{NAME}", pieces(data))
        assert (verdict.ok, verdict.reason) == (True, "5 of 11 pieces are right")
        assert try_web_seed(f"{url}/{NAME}", pieces(data, 1 << 20)).reason == "1 of 1 pieces are right"
        assert try_web_seed(f"{url}/{NAME}", pieces(data), samples=100).reason == "11 of 11 pieces are right"
        with httpx.Client(trust_env=False) as client:
            assert try_web_seed(f"{url}/{NAME}?download=1", pieces(data), client=client).ok
            assert not client.is_closed


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    with serving({"/": data.parent}) as url:
        assert try_web_seed(f"{url}/{NAME}", pieces(data)).ok


@pytest.mark.parametrize("damaged", [0, SIZE - 1])
def test_one_flipped_byte_in_the_first_or_last_piece_is_seen(data: Path, damaged: int) -> None:
    content = bytearray(data.read_bytes())
    content[damaged] ^= 1
    (data.parent / "other.parquet").write_bytes(content)
    with serving({"/": data.parent}) as url:
        verdict = try_web_seed(f"{url}/other.parquet", pieces(data))
    assert (verdict.ok, verdict.reason) == (False, f"serves other bytes in piece {damaged // PIECE}")


def test_a_longer_file_with_the_same_beginning_is_seen(data: Path) -> None:
    (data.parent / "longer.parquet").write_bytes(data.read_bytes() + b"x")
    with serving({"/": data.parent}) as url:
        verdict = try_web_seed(f"{url}/longer.parquet", pieces(data))
    assert not verdict.ok
    assert verdict.reason == f"answered Content-Range 'bytes 0-16383/{SIZE + 1}' instead of 'bytes 0-16383/{SIZE}'"


def test_a_seed_that_ignores_range_is_refused(data: Path) -> None:
    with a_server(functools.partial(Quiet, directory=str(data.parent))) as url:
        verdict = try_web_seed(f"{url}/{NAME}", pieces(data))
    assert not verdict.ok
    assert verdict.reason.startswith("ignores Range: it answered 200")


def test_a_redirect_is_followed(data: Path) -> None:
    with serving({"/": data.parent}) as target, a_server(answering(302, {"Location": f"{target}/{NAME}"})) as url:
        assert try_web_seed(f"{url}/elsewhere", pieces(data)).ok


def test_a_redirect_in_circles_ends(data: Path) -> None:
    with a_server(answering(302, {"Location": "/again"})) as url:
        verdict = try_web_seed(f"{url}/again", pieces(data))
    assert not verdict.ok
    assert "redirects" in verdict.reason


@pytest.mark.parametrize("status", [403, 404, 429, 503])
def test_an_error_status_is_in_the_reason(data: Path, status: int) -> None:
    with a_server(answering(status, {})) as url:
        verdict = try_web_seed(f"{url}/{NAME}", pieces(data))
    assert verdict.reason == f"answered {status} instead of 206"
    # Whether it says something of the bytes that lie there: a busy server doesn't, one that refuses or has none does.
    assert verdict.silent is (status in (429, 503))


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({}, b"", "answered Content-Range ''"),
        ({"Content-Range": f"bytes 0-16383/{SIZE}"}, b"short", "sends 16379 bytes fewer"),
        ({"Content-Range": f"bytes 0-16383/{SIZE}"}, bytes(PIECE + 1), "sends more bytes than requested"),
        ({"Content-Range": f"bytes 0-16383/{SIZE}", "Content-Encoding": "gzip"}, b"", "sends the file compressed"),
    ],
)
def test_a_206_that_is_none(data: Path, headers: dict[str, str], body: bytes, reason: str) -> None:
    with a_server(answering(206, headers, body)) as url:
        verdict = try_web_seed(f"{url}/{NAME}", pieces(data))
    assert not verdict.ok
    assert verdict.reason.startswith(reason)


def test_dead_hanging_and_trickling_seeds_end_in_a_verdict(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hanging = try_web_seed(f"http://127.0.0.1:{port}/{NAME}", pieces(data), timeout=0.3)
        assert (hanging.ok, hanging.reason) == (False, "did not answer within 0.3 seconds")
    dead = try_web_seed(f"http://127.0.0.1:{port}/{NAME}", pieces(data))
    assert (dead.ok, dead.silent, hanging.silent) == (False, True, True)
    assert dead.reason.startswith("can't be reached: ")
    trickle = answering(206, {"Content-Range": f"bytes 0-16383/{SIZE}"}, data.read_bytes()[:PIECE], pause=0.1)
    with a_server(trickle) as url:
        slow = try_web_seed(f"{url}/{NAME}", pieces(data), timeout=0.4)
    assert (slow.ok, slow.reason) == (False, "did not send a piece within 0.4 seconds")


@pytest.mark.parametrize("url", ["", "no url", "http://", "ftp://127.0.0.1/x", "http://127.0.0.1:99999/x"])
def test_what_is_no_address_is_a_verdict_too(data: Path, url: str) -> None:
    verdict = try_web_seed(url, pieces(data))
    assert not verdict.ok


def download(torrent: bytes, folder: Path, seconds: float) -> None:
    """Let a libtorrent session without any peers finish the torrent in `folder`, from its web seeds alone."""
    session = lt.session(
        {
            "listen_interfaces": "127.0.0.1:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "ssrf_mitigation": False,
            "alert_mask": 0,
        }
    )
    parameters = lt.load_torrent_buffer(torrent)
    parameters.save_path = str(folder)
    handle = session.add_torrent(parameters)
    deadline = time.monotonic() + seconds
    while not (status := handle.status()).is_seeding:
        assert time.monotonic() < deadline, f"{status.state} at {status.progress:.0%}, {status.num_peers} peers"
        time.sleep(0.05)
    session.remove_torrent(handle)


@pytest.mark.parametrize("hybrid", [False, True])
def test_libtorrent_downloads_from_the_web_seed_alone(tmp_path: Path, data: Path, hybrid: bool) -> None:
    data.write_bytes(os.urandom(3_000_000))
    got = tmp_path / "got"
    got.mkdir()
    with serving({"/": data.parent}) as url:
        made = torrent_of(
            hash_pieces(data, hybrid=hybrid),
            NAME,
            web_seeds=[f"{url}/{NAME}"],
            trackers=[],
            comment="",
            created=datetime(2026, 11, 21, tzinfo=UTC),
        )
        download(made.data, got, 15)
    assert hashlib.sha256((got / NAME).read_bytes()).digest() == hashlib.sha256(data.read_bytes()).digest()
