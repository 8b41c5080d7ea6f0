"""The server of a run: a clean process that forks itself for each piece of work and limits its time and memory.

It has imported the modules of a build, so that work starts at once, and never parses foreign bytes itself. It starts
without the run's environment and has one Python thread, so that forking is safe. When the run ends in any way, its
socket closes, and the server ends the work with all its children.
"""

from __future__ import annotations

import gc
import os
import select
import selectors
import signal
import socket
import time
from collections import deque
from contextlib import suppress
from importlib import import_module
from typing import Any

import psutil

from d4c_pipeline.sandbox import inside, system
from d4c_pipeline.sandbox.wire import MOST_ANSWERED, Request, receive_request, send_message

# In the order in which a build uses them.
PRELOADED = (
    "processing.build",
    "processing.profile",
    "readers.text",
    "readers.vector",
    "geometry.cleaning",
    "readers.workbook",
    "processing.derived.derive",
)
"""Modules that the server loads before work arrives, so that every fork has them. No other code here imports them."""
_MEMORY_EVERY, _PROCESSES_EVERY = 0.1, 1.0  # seconds; memory grows by a few GB/s, a walk over /proc takes 6 ms
_MOST_OUTPUT = 1 << 20  # bytes of output passed on for each piece of work
_PIECE = 1 << 16


def serve() -> None:
    """Answer requests on standard input, a socket, until the run closes it."""
    system.adopt_orphans()
    control = socket.socket(fileno=os.dup(0))
    unloaded = deque(f"d4c_pipeline.{name}" for name in PRELOADED)
    has_worked = False
    while True:
        # The first request starts at once and loads missing modules itself. A second request means that more follow,
        # so all modules are loaded before it.
        while unloaded and (has_worked or not _is_readable(control)):
            import_module(unloaded.popleft())
        request = receive_request(control)
        if request is None:
            return
        has_worked = True
        gc.freeze()  # a fork's garbage collector then leaves loaded objects alone, whose pages it would copy
        try:
            with _Work(control, request) as work:
                end = work.oversee()
            send_message(control, end)
        except _RunIsGoneError:
            return


class _RunIsGoneError(Exception):
    """The run that sent the request has ended."""


class _Work:
    """A piece of work: its fork and the pipes to it. Leaving the context ends the fork and all its children."""

    def __init__(self, control: socket.socket, request: Request) -> None:
        self._control, self._request = control, request
        self._answer, answer = os.pipe()
        self._output, output = os.pipe()
        self._dump = os.memfd_create("faults")
        self._began = time.monotonic()
        server = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            inside.work(request, server, answer, output, self._dump)
        os.close(answer)
        os.close(output)
        for reading in (self._answer, self._output):
            os.set_blocking(reading, False)
        self._buffer, self._relayed = bytearray(), 0
        self._doing: str | None = None
        self._peak = 0
        self._status: int | None = None

    def __enter__(self) -> _Work:
        return self

    def __exit__(self, *_: object) -> None:
        _end_all()
        for number in (self._answer, self._output, self._dump):
            os.close(number)

    def oversee(self) -> dict[str, Any]:
        """Wait until the work ends or exceeds a limit; return its outcome. Raises _RunIsGoneError."""
        over: str | None = None
        ended = os.pidfd_open(self._pid)
        processes: list[psutil.Process] = []
        listed_at = 0.0
        with selectors.DefaultSelector() as selector:
            for number in (self._control.fileno(), self._answer, self._output, ended):
                selector.register(number, selectors.EVENT_READ)
            while over is None:
                ready = {key.fd for key, _ in selector.select(_MEMORY_EVERY)}
                if self._control.fileno() in ready:
                    # The run sends nothing during work, so the socket is closed.
                    raise _RunIsGoneError
                for number in ready & {self._answer, self._output}:
                    if not self._take(number):
                        selector.unregister(number)
                if ended in ready:
                    break
                now = time.monotonic()
                if now - listed_at >= _PROCESSES_EVERY or not processes:
                    processes, listed_at = _descendants(), now
                used = sum(map(_memory, processes))
                self._peak = max(self._peak, used)
                if used > self._request.limits.memory:
                    over = "memory"
                elif now - self._began > self._request.limits.seconds:
                    over = "time"
                elif len(self._buffer) > MOST_ANSWERED:
                    over = "answer"
        os.close(ended)
        if over is not None:
            os.kill(self._pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        for number in (self._answer, self._output):
            while self._take(number) and len(self._buffer) <= MOST_ANSWERED:
                pass
        return {
            "end": over or "exit",
            "status": status,
            "doing": self._doing,
            "answer": self._buffer.decode("utf-8", "replace") if over is None else "",
            "faults": os.pread(self._dump, 1 << 16, 0).decode("utf-8", "replace"),
            "peak": self._peak,
        }

    def _take(self, number: int) -> bool:
        """Read from a pipe; return False when it is empty or closed."""
        try:
            piece = os.read(number, _PIECE)
        except BlockingIOError:
            return False
        if number == self._output:
            self._relay(piece)
        else:
            self._buffer += piece
            # Each line reports an activity; the last line, without an end of line, is the answer.
            *lines, rest = self._buffer.split(b"\n") if b"\n" in piece else (self._buffer,)
            if lines:
                self._doing = lines[-1][:1000].decode("utf-8", "replace")
                self._buffer = bytearray(rest)
        return bool(piece)

    def _relay(self, piece: bytes) -> None:
        allowed = piece[: max(0, _MOST_OUTPUT - self._relayed)]
        self._relayed += len(piece)
        if allowed:
            try:
                send_message(self._control, {"said": allowed.decode("utf-8", "replace")})
            except OSError as error:
                raise _RunIsGoneError from error


def _is_readable(control: socket.socket) -> bool:
    return bool(select.select([control], [], [], 0)[0])


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _memory(process: psutil.Process) -> int:
    # Mapped files belong to the page cache and do not count. Pages shared with the server count, about 90 MB.
    try:
        info = process.memory_info()
    except psutil.Error:
        return 0
    return info.rss - info.shared


def _end_all() -> None:
    """Kill all processes that the work started: the server adopts them when their parent dies."""
    while left := _descendants():
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.005)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
