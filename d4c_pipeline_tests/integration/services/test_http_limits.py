"""Readers that stall, trickle or crowd in: each is let go, and everybody else is served meanwhile."""

from __future__ import annotations

import json
import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from d4c_pipeline.services.file_server import serving
from d4c_pipeline.services.http_limits import HEAD_BYTES, limited, most_connections

CONTENT = b"d4c" * 1000


@pytest.fixture
def store(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "processed").mkdir()
    (tmp_path / "processed" / "small.parquet").write_bytes(CONTENT)
    with (tmp_path / "processed" / "large.parquet").open("wb") as handle:
        handle.truncate(64 << 20)
    return {"/": tmp_path}


def _connect(url: str, first: bytes = b"") -> socket.socket:
    address = httpx.URL(url)
    raw = socket.create_connection((address.host, address.port or 0), timeout=20)
    raw.sendall(first)
    return raw


def _small(url: str) -> bytes:
    return httpx.get(f"{url}/processed/small.parquet", trust_env=False, timeout=20).content


def test_a_request_that_is_never_finished_is_closed(store: dict[str, Path]) -> None:
    with serving(store, protocol=limited(head_seconds=0.3)) as url, ExitStack() as stack:
        silent, half = (stack.enter_context(_connect(url, first)) for first in (b"", b"GET /processed/sm"))
        assert (silent.recv(1), half.recv(1)) == (b"", b"")


def test_a_head_that_trickles_has_no_more_time(store: dict[str, Path]) -> None:
    with serving(store, protocol=limited(head_seconds=0.5)) as url, _connect(url, b"GET / HTTP/1.1\r\n") as raw:
        closed = False
        for number in range(100):
            time.sleep(0.05)
            try:
                raw.sendall(f"X-{number}: a\r\n".encode())
            except OSError:
                closed = True
                break
        assert closed


def test_a_second_request_on_a_connection_is_waited_for_as_the_first(store: dict[str, Path]) -> None:
    with serving(store, protocol=limited(head_seconds=0.4)) as url, _connect(url) as raw:
        whole = b"GET /processed/small.parquet HTTP/1.1\r\nHost: x\r\n\r\n"
        reader = raw.makefile("rb")
        for _ in range(3):
            raw.sendall(whole)
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            while reader.readline() != b"\r\n":
                pass
            assert reader.read(len(CONTENT)) == CONTENT
        raw.sendall(whole[:20])
        assert reader.read(1) == b""


def test_a_huge_head_is_refused_when_it_is_too_long_and_stalls_nobody(store: dict[str, Path]) -> None:
    with serving(store) as url, _connect(url, b"GET / HTTP/1.1\r\nX: ") as raw:
        sent = 0
        try:
            while sent < 60 << 20:
                raw.sendall(b"a" * 65536)
                sent += 65536
            answer = raw.recv(100)
        except OSError:
            answer = b"closed"
        assert sent < 60 << 20 or answer.startswith((b"HTTP/1.1 431", b"closed"))
        assert sent < HEAD_BYTES + (16 << 20)  # what the buffers of two sockets hold, no more
        assert _small(url) == CONTENT


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"nonsense\r\n\r\n", 400, "RFC 9112"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, "RFC 9112"),
        (b"GET /%s" % (b"a" * HEAD_BYTES), 431, "16 KiB"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: %s" % (b"a" * HEAD_BYTES), 431, "16 KiB"),
    ],
)
def test_what_is_no_request_gets_a_problem_document(
    store: dict[str, Path], sent: bytes, status: int, words: str
) -> None:
    with serving(store) as url, _connect(url, sent) as raw:
        head, _, body = raw.makefile("rb").read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"content-type: application/problem+json" in head.lower()
        found = json.loads(body)
        assert found["status"] == status
        assert words in found["detail"]
        assert found["detail"].endswith(found["remedy"])
        assert _small(url) == CONTENT


def test_half_sent_requests_shut_nobody_out(store: dict[str, Path]) -> None:
    # Ten times as many as the server may hold: the longest waiting gives way, also to the next of their kind.
    with serving(store, protocol=limited(most=20)) as url, ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(_connect(url, b"GET /proc"))
        for _ in range(5):
            assert _small(url) == CONTENT


def test_busy_readers_are_not_closed_for_newcomers(store: dict[str, Path]) -> None:
    with serving(store, protocol=limited(most=4)) as url, ExitStack() as stack:
        large = b"GET /processed/large.parquet HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        busy = [stack.enter_context(_connect(url, large)) for _ in range(4)]
        for raw in busy:
            assert raw.recv(12) == b"HTTP/1.1 200"
        with pytest.raises(httpx.HTTPError):
            _small(url)
        rest = busy[0].makefile("rb").read()
        assert len(rest) > 64 << 20
        assert _small(url) == CONTENT


def test_a_reader_that_takes_nothing_is_let_go(store: dict[str, Path]) -> None:
    with serving(store, protocol=limited(write_seconds=0.4)) as url:
        descriptors = Path("/proc/self/fd")
        before = len(list(descriptors.iterdir()))
        large = b"GET /processed/large.parquet HTTP/1.1\r\nHost: x\r\n\r\n"
        with _connect(url, large):
            deadline = time.monotonic() + 20
            while len(list(descriptors.iterdir())) <= before + 1 and time.monotonic() < deadline:
                time.sleep(0.01)
            while len(list(descriptors.iterdir())) > before + 1 and time.monotonic() < deadline:
                time.sleep(0.05)
            # Ours is still open; the server's socket and the file are not.
            assert len(list(descriptors.iterdir())) <= before + 1
        assert _small(url) == CONTENT


def test_a_slow_reader_gets_everything(store: dict[str, Path]) -> None:
    with serving(store, protocol=limited(head_seconds=0.3, write_seconds=2)) as url:
        with _connect(url, b"GET /processed/large.parquet HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as raw:
            got = 0
            while data := raw.recv(4 << 20):
                got += len(data)
                time.sleep(0.005)
        assert got > 64 << 20


def test_connections_fit_into_the_open_files_that_the_process_may_have() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = most_connections()
    assert 16 <= most <= 4096
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(soft, 2 * most)
