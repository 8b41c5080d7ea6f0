"""A small HTTP server for local stores: `d4c serve`, and the test of web seeds on the embedded default.

It serves files with Range, If-Range, ETag and CORS, so torrent clients, DuckDB and browsers can read parts of them.
It never lists folders and never serves hidden files or the folder `hidden/`. A public deployment has a web server or
a bucket instead.
"""

from __future__ import annotations

import asyncio
import codecs
import errno
import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import NotModifiedResponse, PathLike, StaticFiles
from starlette.types import Message, Receive, Scope, Send

from d4c_pipeline.files.media_types import media_type
from d4c_pipeline.model.addresses import HIDDEN, withdrawn_address
from d4c_pipeline.model.errors import D4CError, PermanentError, TransientError
from d4c_pipeline.services import portal_files
from d4c_pipeline.services.http_limits import HEAD_BYTES, LimitedProtocol, limited
from d4c_pipeline.services.problems import (
    FailureDocuments,
    ProblemError,
    WrongMethods,
    answer_http,
    answer_problem,
    problem_response,
)
from d4c_pipeline.stores.headers import cache_control, content_disposition, content_type, security_headers
from d4c_pipeline.transport.clients import http_client

IDENTITY_PATH = "/.well-known/d4c-file-server"
# WebTorrent in a browser sends the last two with every request to a web seed.
READ_HEADERS = ("Range", "If-Range", "If-None-Match", "If-Modified-Since", "Cache-Control", "User-Agent")
# Bodies of requests to the protocols.
SENT_HEADERS = ("Content-Type", "Prefer", "Authorization", "Mcp-Protocol-Version")
SHOWN_HEADERS = (
    "Accept-Ranges", "Content-Range", "Content-Length", "ETag", "Last-Modified", "Link", "Content-Disposition",
    "Content-Location", "Location", "Retry-After", "Allow", "WWW-Authenticate", "Preference-Applied", "Digest",
    "Repr-Digest", "D4C-Release", "D4C-DOI", "D4C-Licence", "D4C-Provenance",
)  # fmt: skip
_CHARSET_BYTES = 64 << 10
_RANGES = {
    400: ("The Range header can't be read", "Send Range: bytes=FIRST-LAST within the {} bytes of the file"),
    416: ("The range is beyond the file", "Ask for a range within its {} bytes"),
}
_START_SECONDS = 10.0
_STOP_SECONDS = 2
_CLOSING_TRIES, _CLOSING_SECONDS = 20, 0.002  # for idle connections, which close when the loop runs next


def app(mounts: Mapping[str, Path], others: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the ASGI application that serves each folder below its path (`/` the store, `/archive` the archive).

    The portal has several paths; its folder is that of `portal_files.PATHS`. `others` take precedence over files.
    """
    identities = {path: _identity(folder) for path, folder in mounts.items()}

    def identity(_: Request) -> Response:
        return JSONResponse({"serves": identities}, headers={"Cache-Control": "no-store"})

    # The longest path first, so that `/archive` does not match as a folder of `/`.
    paths = sorted(mounts.keys() - {portal_files.PATHS}, key=len, reverse=True)
    folders = [Mount(path.rstrip("/"), _Folder(mounts[path], path)) for path in paths]
    portal = portal_files.routes(mounts[portal_files.PATHS]) if portal_files.PATHS in mounts else []
    cors = Middleware(
        _Cors,
        allow_origins=["*"],
        allow_methods=["GET", "HEAD", "POST", "DELETE"],
        allow_headers=[*READ_HEADERS, *SENT_HEADERS],
        expose_headers=list(SHOWN_HEADERS),
    )
    routes = [Route(IDENTITY_PATH, identity), *others, portal_files.icon_route(), *portal]
    return Starlette(
        routes=[*routes, WrongMethods(routes), *folders],
        middleware=[cors, Middleware(FailureDocuments)],
        exception_handlers={ProblemError: answer_problem, D4CError: answer_problem, HTTPException: answer_http},
    )


@contextmanager
def serving(
    mounts: Mapping[str, Path],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    protocol: type[LimitedProtocol] | None = None,
    others: Sequence[BaseRoute] = (),
) -> Iterator[str]:
    """Serve `mounts` and `others` in a thread during the block; yield the base URL without a trailing slash.

    If a d4c server already serves the same folders at that address, it is used and left running. `protocol`: other
    connection limits (`http_limits.limited`). Raises PermanentError when another program has the port.
    """
    try:
        listener = _listen(host, port)
    except _PortTakenError as taken:
        if not _serves_the_same(taken.url, mounts):
            raise taken.as_error() from taken
        yield taken.url
        return
    server = _ThreadedServer(_config(mounts, protocol, others))
    thread = threading.Thread(target=server.run, args=([listener],), name="d4c-file-server", daemon=True)
    thread.start()
    try:
        _wait_until_started(server, thread)
        yield _base_url(host, listener.getsockname()[1])
    finally:
        server.stop()
        thread.join()
        listener.close()


def is_served(mounts: Mapping[str, Path], host: str = "127.0.0.1", port: int = 0) -> bool:
    """Return whether a d4c server already serves `mounts` at that address, False if the port is free.

    Raises PermanentError when another program has the port.
    """
    try:
        _listen(host, port).close()
    except _PortTakenError as taken:
        if not _serves_the_same(taken.url, mounts):
            raise taken.as_error() from taken
        return True
    return False


def serve_forever(
    mounts: Mapping[str, Path],
    host: str,
    port: int,
    on_ready: Callable[[str], None] | None = None,
    others: Sequence[BaseRoute] = (),
) -> None:
    """Serve `mounts` and `others` until interrupted; `on_ready` receives the base URL once connections are accepted.

    Raises PermanentError when the port is taken, also by another d4c server.
    """
    try:
        listener = _listen(host, port)
    except _PortTakenError as taken:
        if _serves_the_same(taken.url, mounts):
            raise PermanentError(
                f"{taken.url} serves this home already", "Use it, or stop the other d4c serve"
            ) from taken
        raise taken.as_error() from taken
    with listener:
        if on_ready is not None:
            on_ready(_base_url(host, listener.getsockname()[1]))
        try:
            uvicorn.Server(_config(mounts, others=others)).run([listener])
        except KeyboardInterrupt:
            # uvicorn has closed its connections and passes the interrupt on: the normal end of this service.
            return


class _ThreadedServer(uvicorn.Server):
    """A server in a thread that stops at once: uvicorn alone takes 0.2 s, and a release starts four servers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End the server; another thread may call this."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stopping.set)

    async def main_loop(self) -> None:
        self._loop, counter = asyncio.get_running_loop(), 0
        while not await self.on_tick(counter):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 0.1)
            counter = (counter + 1) % 864_000  # as in uvicorn

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for _ in range(_CLOSING_TRIES):
            if not self.server_state.connections and not self.server_state.tasks:
                return
            await asyncio.sleep(_CLOSING_SECONDS)
        await super().shutdown(sockets)  # waits for answers that are being sent


class _Cors(CORSMiddleware):
    """Answers a refused preflight with a problem document, which a developer reads in the browser's console."""

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code < HTTPStatus.BAD_REQUEST:
            return answer
        headers = {name: each for name, each in answer.headers.items() if not name.startswith("content-")}
        remedy = (
            f"Pages of other sites may send {', '.join(self.allow_methods)}, with the headers "
            f"{', '.join((*READ_HEADERS, *SENT_HEADERS))}; send any other request from a program"
        )
        cause = bytes(answer.body).decode()
        return problem_response(ProblemError(HTTPStatus.BAD_REQUEST, cause, remedy, headers=headers))


class _Folder(StaticFiles):
    """Static files with the headers of an open-data store. `mount`: the path below which the folder is served."""

    def __init__(self, folder: Path, mount: str) -> None:
        super().__init__(directory=folder, html=True, check_dir=False)
        self._folder, self._mount = folder.resolve(), mount.strip("/")
        # An empty home answers 404, not an error.
        self.config_checked = True

    async def get_response(self, path: str, scope: Scope) -> Response:
        parts = Path(path).parts
        # Also on a case-insensitive disk.
        hidden = not self._mount and parts and f"{parts[0].casefold()}/" == HIDDEN
        if hidden or any(part.startswith(".") for part in parts):
            raise HTTPException(status_code=404)
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != HTTPStatus.NOT_FOUND or (why := self._withdrawn(parts)) is None:
                raise
            headers = {"Cache-Control": cache_control("/".join(parts)), "X-Content-Type-Options": "nosniff"}
            return PlainTextResponse(why, HTTPStatus.GONE, headers)
        if response.status_code < 300 or response.status_code == 304:
            response.headers["Cache-Control"] = cache_control("/".join(parts))
        return response

    def _withdrawn(self, parts: Sequence[str]) -> str | None:
        """Return why an address under `/processed/` serves nothing any more; None without a withdrawal."""
        if self._mount or parts[:1] != ("processed",):
            return None
        address = self._folder / withdrawn_address("/".join(parts))
        try:
            return address.read_text(encoding="utf-8") if address.resolve().is_relative_to(self._folder) else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def file_response(
        self,
        full_path: PathLike,
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        # Opened before its size is read: a file that is switched meanwhile is served completely, old or new.
        descriptor = os.open(full_path, os.O_RDONLY)
        address = self._address(os.fspath(full_path))
        response = _OpenedFileResponse(descriptor, media_type(address), status_code)
        response.headers["Content-Type"] = content_type(address) + _charset(address, descriptor)
        response.headers["Content-Disposition"] = content_disposition(address)
        response.headers.update(security_headers(address))
        request = Request(scope)
        if self.is_not_modified(response.headers, request.headers):
            os.close(descriptor)
            return NotModifiedResponse(response.headers)
        return response

    def _address(self, full_path: str) -> str:
        below = Path(full_path).resolve().relative_to(self._folder).as_posix()
        return f"{self._mount}/{below}" if self._mount else below


def _charset(address: str, descriptor: int) -> str:
    """Return the detected encoding of a native text as a parameter of Content-Type, from its beginning.

    A byte order mark states the encoding; non-ASCII letters in valid UTF-8 show it too. Otherwise the result is empty:
    browsers detect the encoding themselves, and a wrong label is worse than no label.
    """
    if not address.startswith("raw/") or not media_type(address).startswith("text/"):
        return ""
    head = os.pread(descriptor, _CHARSET_BYTES, 0)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "; charset=utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(head)  # a character cut at the end is neither decoded nor an error
    except UnicodeDecodeError:
        return ""
    return "" if text.isascii() else "; charset=utf-8"


class _OpenedFileResponse(FileResponse):
    """A file response over an open descriptor, which it closes."""

    def __init__(self, descriptor: int, kind: str, status_code: int) -> None:
        status = os.fstat(descriptor)
        super().__init__(f"/dev/fd/{descriptor}", status_code, media_type=kind, stat_result=status)
        # To the nanosecond and with the inode: two switches within a tick of the clock must not share a tag.
        facts = f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
        self.headers["ETag"] = f'"{hashlib.sha256(facts.encode()).hexdigest()[:32]}"'
        self._descriptor, self._size = descriptor, status.st_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused: list[int] = []

        async def sent(message: Message) -> None:
            # Starlette answers a range that it can't serve with plain text.
            if message["type"] == "http.response.start" and message["status"] in _RANGES:
                refused.append(message["status"])
                headers = {"Content-Range": f"bytes */{self._size}", "Accept-Ranges": "bytes"}
                cause, remedy = _RANGES[message["status"]]
                problem = ProblemError(HTTPStatus(message["status"]), cause, remedy.format(self._size), headers=headers)
                await problem_response(problem)(scope, receive, send)
            elif not refused:
                await send(message)

        try:
            await super().__call__(scope, receive, sent)
        finally:
            os.close(self._descriptor)


class _PortTakenError(Exception):
    """The port has another owner; never leaves this module."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.url = _base_url(host, port)

    def as_error(self) -> PermanentError:
        return PermanentError(
            f"{self.url} is in use by another program", "Stop that program, or choose another address (D4C_STORE_URL)"
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _PortTakenError(host, port) from error
        raise PermanentError(
            f"Can't serve at {_base_url(host, port)}: {error.strerror or type(error).__name__}",
            "Choose an address and port of this machine that this user may use (D4C_STORE_URL)",
        ) from error


def _base_url(host: str, port: int) -> str:
    # A server on all addresses is reached on the loopback.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(
    mounts: Mapping[str, Path], protocol: type[LimitedProtocol] | None = None, others: Sequence[BaseRoute] = ()
) -> uvicorn.Config:
    # Logging of this process stays unchanged; readers' addresses are not logged.
    return uvicorn.Config(
        app(mounts, others),
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # services.access names the proxies whose headers count
        http=protocol or limited(),
        h11_max_incomplete_event_size=HEAD_BYTES,
        ws="none",
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise TransientError("The file server did not start", "Run again; its log says why")
        time.sleep(0.01)


def _identity(folder: Path) -> str:
    """A token of the folder that does not reveal its path."""
    return hashlib.sha256(f"d4c-file-server {folder.resolve()}".encode()).hexdigest()


def _serves_the_same(url: str, mounts: Mapping[str, Path]) -> bool:
    try:
        with http_client(2.0) as client:
            answer = client.get(url + IDENTITY_PATH)
        serves = answer.json()["serves"] if answer.status_code == httpx.codes.OK else {}
        return all(serves.get(path) == _identity(folder) for path, folder in mounts.items())
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        # Another program listens there.
        return False
