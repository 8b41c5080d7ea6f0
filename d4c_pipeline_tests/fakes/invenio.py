"""A fake InvenioRDM on the loopback: a real HTTP server over `invenio_state.State`, with faults at chosen calls.

Use it as a context manager. Drafts, files and DOIs are those of a recorded walk; `calls` says what was asked for since
`begin`, so that a sequence can be counted first and broken at every place of it then.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import re
import select
import signal
import socket
import struct
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from d4c_pipeline_tests.fakes.faults import Fault, Kind
from d4c_pipeline_tests.fakes.invenio_state import Blob, Record, Reply, State

TOKEN = "t0ken-of-alice-which-nobody-may-ever-see"
OTHER_TOKEN = "t0ken-of-bob"
_BLOCK = 1 << 20
_PAGE = b"<!doctype html><html><title>Gateway</title><body><h1>We'll be back soon</h1></body></html>"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class FakeInvenio:
    """A server at `url`. `state` is what it remembers; `keep`: whether contents are kept or only measured.

    `ranges`: whether downloads answer Range, as Zenodo does and InvenioRDM by itself does not.
    """

    def __init__(self, state: State | None = None, *, keep: bool = True, ranges: bool = False) -> None:
        self.state = state or State()
        self.users = {TOKEN: "1", OTHER_TOKEN: "2"}
        self.per_minute = 100_000
        self.calls: list[str] = []
        self.waits: list[float] = []
        """What `pause` was asked for."""
        self.agents: set[str] = set()
        self.keep, self.ranges = keep, ranges
        self.victim = 0
        self._victim_known = threading.Event()
        self._fault: Fault | None = None
        self._spent = False
        self._asked = 0
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="fake-invenio-")
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeInvenio:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()

    # What tests do

    def begin(self, fault: Fault | None = None) -> None:
        """Count calls anew, and break them as `fault` says."""
        with self._lock:
            self.calls, self._fault, self._spent, self._asked = [], fault, False, 0
            self.victim = 0
            self._victim_known.clear()

    def name_victim(self, pid: int) -> None:
        """Say which process a `killed` fault is to kill."""
        self.victim = pid
        self._victim_known.set()

    def snapshot(self) -> State:
        with self.state.lock:
            return copy.deepcopy(self.state)

    def restore(self, state: State) -> None:
        self.state = copy.deepcopy(state)

    def pause(self, seconds: float) -> None:
        """A `pause` for clients: remembers what was asked for and waits next to nothing."""
        self.waits.append(seconds)
        time.sleep(min(seconds, 0.005))

    def contents(self, record: Record) -> dict[str, bytes]:
        """The files of a record as they were kept."""
        return {
            name: Path(file.blob.path).read_bytes()
            for name, file in record.files.items()
            if file.blob is not None and file.blob.path is not None
        }

    # What the handler does

    def _next(self, label: str) -> Kind | None:
        with self._lock:
            number = len(self.calls)
            self.calls.append(label)
            if self._fault is None or not self._fault.hits(number) or (self._spent and not self._fault.lasting):
                return None
            self._spent = True
            return self._fault.kind

    def _used_up(self) -> tuple[int, bool]:
        with self._lock:
            self._asked += 1
            return max(0, self.per_minute - self._asked), self._asked > self.per_minute

    def _kill(self) -> None:
        self._victim_known.wait(10)
        os.kill(self.victim, signal.SIGKILL)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    fake: FakeInvenio

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients are killed here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        if urlsplit(self.path).path.startswith("/api/"):
            self._api()
        else:
            self._download()

    do_HEAD = do_GET  # noqa: N815 - the base class's names

    def do_POST(self) -> None:
        self._api()

    do_PUT = do_DELETE = do_POST  # noqa: N815

    def _api(self) -> None:
        fake, parts = self.server.fake, urlsplit(self.path)
        path = parts.path.removeprefix("/api")
        download = re.fullmatch(r"/records/([^/]+)/files/([^/]+)/content", path)
        if download:
            self._send_file(unquote(download[1]), unquote(download[2]), ranges=False)
            return
        fake.agents.add(self.headers.get("User-Agent", ""))
        kind = fake._next(label(self.command, path))
        if kind is Kind.RESET_BEFORE:
            self._reset()
            return
        if kind is Kind.KILLED_BEFORE:
            fake._kill()
            self._reset()
            return
        blob, sent = self._read_body(path)
        left, too_many = fake._used_up()
        limits = {"X-RateLimit-Limit": fake.per_minute, "X-RateLimit-Remaining": left, "Retry-After": 57}
        if kind is Kind.TOO_MANY or too_many:
            limits["X-RateLimit-Remaining"] = 0
            self._json(429, {"message": "40 per 1 minute", "status": 429}, limits)
            return
        if kind is Kind.INTERNAL:
            self._json(500, {"message": "The server encountered an internal error.", "status": 500}, limits)
            return
        if kind is Kind.BAD_GATEWAY:
            self._page(502)
            return
        user = fake.users.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
        query = dict(parse_qsl(parts.query))
        reply = fake.state.answer(self.command, path, query, user, sent, blob, fake.url)
        self._reply(reply, kind, limits)

    def _reply(self, reply: Reply, kind: Kind | None, limits: dict[str, Any]) -> None:
        if kind is Kind.KILLED_AFTER:
            self.server.fake._kill()
            self._reset()
        elif kind is Kind.RESET_AFTER:
            self._reset()
        elif kind is Kind.TIMEOUT_AFTER:
            select.select([self.connection], [], [], 30)  # until the client has had enough
            self.close_connection = True
        elif kind is Kind.GATEWAY_TIMEOUT_AFTER:
            self._page(504)
        elif kind is Kind.HTML_AFTER:
            self._page(200)
        elif kind is Kind.ERRORS_AFTER:
            body = reply.body if isinstance(reply.body, dict) else {}
            errors = [{"field": "metadata.injected", "messages": ["Something is wrong."]}]
            self._json(200, {**body, "errors": errors}, limits)
        elif kind is Kind.TRUNCATED_AFTER:
            self._json(reply.status, reply.body or {"nothing": True}, limits, cut=True)
        elif reply.location is not None:
            self._send(reply.status, "text/html", b"", {"Location": reply.location})
        elif reply.body is None:
            self._send(reply.status, "text/html; charset=utf-8", b"", limits)
        else:
            self._json(reply.status, reply.body, limits)

    def _read_body(self, path: str) -> tuple[Blob | None, Any]:
        if path.endswith("/content") and self.command == "PUT":
            return self._receive(), None
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            return None, json.loads(raw) if raw else None
        except ValueError as error:
            return None, error

    def _receive(self) -> Blob:
        """Take a file's bytes in constant memory."""
        fake = self.server.fake
        left = size = int(self.headers["Content-Length"])
        md5 = hashlib.md5(usedforsecurity=False)
        with contextlib.ExitStack() as stack:
            path = None
            sink = None
            if fake.keep:
                handle, path = tempfile.mkstemp(dir=fake._folder.name)
                sink = stack.enter_context(os.fdopen(handle, "wb"))
            while left:
                block = self.rfile.read(min(left, _BLOCK))
                if not block:
                    raise ConnectionError("the client went away")
                left -= len(block)
                md5.update(block)
                if sink is not None:
                    sink.write(block)
        return Blob(path, size, md5.hexdigest())

    def _download(self) -> None:
        found = re.fullmatch(r"/records/([^/]+)/files/([^/]+)", urlsplit(self.path).path)
        if found is None:
            self._page(404)
        else:
            self._send_file(unquote(found[1]), unquote(found[2]), ranges=self.server.fake.ranges)

    def _send_file(self, key: str, name: str, *, ranges: bool) -> None:
        record = self.server.fake.state.records.get(key)
        file = record.files.get(name) if record is not None and record.published else None
        if file is None or file.blob is None or file.blob.path is None:
            self._json(404, {"status": 404, "message": "Not found."}, {})
            return
        content = Path(file.blob.path).read_bytes()
        more = {"ETag": f'"md5:{file.blob.md5}"', "Content-Disposition": f"attachment; filename={name}"}
        span = _RANGE.fullmatch(self.headers.get("Range", "")) if ranges else None
        if span is None:
            self._send(200, "application/octet-stream", content, more)
            return
        first, last = int(span[1]), min(int(span[2] or len(content) - 1), len(content) - 1)
        more["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._send(206, "application/octet-stream", content[first : last + 1], more)

    def _json(self, status: int, body: Any, more: dict[str, Any], *, cut: bool = False) -> None:
        self._send(status, "application/json", json.dumps(body).encode(), more, cut=cut)

    def _page(self, status: int) -> None:
        self._send(status, "text/html", _PAGE, {})

    def _send(self, status: int, kind: str, content: bytes, more: dict[str, Any], *, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        for name, value in more.items():
            self.send_header(name, str(value))
        if cut:
            self.send_header("Connection", "close")
            content = content[: len(content) // 2]
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        if cut:
            self.wfile.flush()
            self.close_connection = True

    def _reset(self) -> None:
        """Close the connection the hard way: the client gets a reset, not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


def label(method: str, path: str) -> str:
    """Name a call without its ids and names."""
    path = re.sub(r"/records/[^/]+", "/records/{id}", path)
    return f"{method} {re.sub(r'/files/[^/]+', '/files/{name}', path)}"
