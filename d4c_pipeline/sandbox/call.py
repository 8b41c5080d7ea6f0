"""Runs work in a separate process, and raises an error with the cause when that process dies without an answer.

The first call, or `warm` before it, starts a server, which runs until this process ends. After `share_servers`, the
forks of this process get servers that one process forks, which has imported the modules of a build once.
"""

from __future__ import annotations

import atexit
import json
import os
import pickle
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

from d4c_pipeline.model.errors import D4CError, DataError, NeedsPersonError, PermanentError, TransientError
from d4c_pipeline.model.secrets import sanitise
from d4c_pipeline.sandbox import environment, failures
from d4c_pipeline.sandbox.wire import Limits, Reach, Request, receive_message, send_request

# SIGKILL comes from the kernel when memory runs out, the others from a person or a service manager.
_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
_PATIENCE = 10  # seconds for a server to end its work
# A line of faulthandler's dump, which lists the innermost call first.
_FRAME = re.compile(r'File ".*/d4c_pipeline/(?!sandbox/)(?P<file>[^"]+)", line (?P<line>[0-9]+) in ')


@dataclass(frozen=True)
class Settings:
    """The names of the settings that limit the work, for the remedy when a limit is exceeded."""

    memory: str
    time: str


def run(
    function: Callable[..., Any], *arguments: Any, what: str, limits: Limits, settings: Settings, reach: Reach
) -> Any:
    """Call `function` (defined at module level) in a separate process; return its result.

    The result must be JSON. Foreign bytes may have taken the process over, so the caller validates the result. A
    D4CError is raised again with its type, any other error as BugInChildError. `what` names the work in a sentence
    ("The build of roads 2021"). Raises DataError with the current activity when the process crashes or exceeds
    `limits`, NeedsPersonError when it was killed from outside, TransientError when it could not be started.
    """
    own = {"HOME": str(reach.scratch), "TMPDIR": str(reach.scratch)}
    request = Request(pickle.dumps((function, arguments, {})), environment.allowed(own), limits, reach)
    with _Lent() as server:
        end = server.work(request)
    return _judged(end, what, limits, settings)


def start(connection: socket.socket, *options: str) -> subprocess.Popen[bytes]:
    """Start a server whose standard input is `connection`. Raises OSError when the system refuses."""
    return subprocess.Popen(
        # -P: no module is imported from the working folder.
        [sys.executable, "-P", "-m", "d4c_pipeline.sandbox", *options],
        stdin=connection.fileno(),
        env=environment.allowed({}),
        # Ctrl-C goes to this process only, which ends the server.
        start_new_session=True,
    )


def share_servers() -> None:
    """Start the process that forks a server for this process and each of its later forks, until all have ended."""
    global _shared
    _shared, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        _forking.append(start(theirs, "--fork"))


def warm() -> None:
    """Start a server unless an idle server exists, so that later work starts at once."""
    with _lock:
        if not _idle:
            _idle.append(_Server())


class _Server:
    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = None if _is_forked(theirs) else start(theirs)
            except OSError as error:
                self._socket.close()
                raise TransientError(
                    f"Cannot start a process for a build: {error.strerror or error}", "Run fewer builds at once"
                ) from error

    @property
    def is_alive(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return not select.select([self._socket], [], [], 0)[0]  # an idle server sends nothing, except its end

    def work(self, request: Request) -> dict[str, Any]:
        try:
            send_request(self._socket, request)
            while (message := receive_message(self._socket)) is not None:
                if "end" in message:
                    return message
                sys.stderr.write(sanitise_lines(message["said"]))
        except (OSError, ValueError):
            pass  # the server has ended; its exit code follows
        code = self._process.wait(_PATIENCE) if self._process is not None else "unknown"
        return {"end": "server", "status": code, "doing": None, "answer": "", "faults": "", "peak": 0}

    def forget(self) -> None:
        """Close the socket in a fork; the server belongs to the parent."""
        self._socket.close()

    def close(self) -> None:
        if self._process is None:
            self._end_fork()
            return
        self._socket.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _end_fork(self) -> None:
        """Close the socket when the server has ended its work, as it does when this side says no more."""
        with self._socket, suppress(OSError):
            self._socket.settimeout(_PATIENCE)
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(1 << 16):
                pass


def _is_forked(connection: socket.socket) -> bool:
    """Pass the connection to the process that forks servers; return whether there is one."""
    if _shared is None:
        return False
    try:
        socket.send_fds(_shared, [b"."], [connection.fileno()])
    except OSError:
        return False  # that process was killed
    return True


_shared: socket.socket | None = None
_forking: list[subprocess.Popen[bytes]] = []
_idle: list[_Server] = []
_lent: list[_Server] = []
_lock = Lock()


class _Lent:
    """Lends a server for one piece of work. It is idle again afterwards, or ended if the work was interrupted."""

    def __enter__(self) -> _Server:
        with _lock:
            while _idle:
                self._server = _idle.pop()
                if self._server.is_alive:
                    break
                self._server.close()
            else:
                self._server = _Server()
            _lent.append(self._server)
        return self._server

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._server.close()
        with _lock:
            _lent.remove(self._server)
            if kind is None:
                _idle.append(self._server)


@atexit.register
def _close_all() -> None:
    while _idle:
        _idle.pop().close()


def _after_fork() -> None:
    # A fork does not use the servers, and must not keep their sockets open when this process dies.
    global _lock  # noqa: PLW0603 - a thread that the fork does not have may hold the lock
    _lock = Lock()
    for server in (*_idle, *_lent):
        server.forget()
    _idle.clear()
    _lent.clear()


os.register_at_fork(after_in_child=_after_fork)


def sanitise_lines(text: str) -> str:
    """Return the output of a process without secrets and control characters, line by line."""
    return "\n".join(map(sanitise, text.split("\n")))


def _judged(end: dict[str, Any], what: str, limits: Limits, settings: Settings) -> Any:
    doing = sanitise(end["doing"] or "")
    at = f" while {doing}" if doing else ""
    if end["end"] == "memory":
        raise DataError(
            f"{what} was ended{at}: it used more than {limits.memory / 1e9:.3g} GB of memory",
            f"Check the file; if it is valid, raise {settings.memory}",
        )
    if end["end"] == "time":
        raise DataError(
            f"{what} was ended{at}: it took longer than {limits.seconds:g} seconds",
            f"Check the file; if it is valid, raise {settings.time}",
        )
    if end["end"] == "answer":
        raise DataError(f"{what} was ended{at}: its result is too large", "Report the file")
    if end["end"] == "exit" and end["status"] == 0:
        return _answered(end["answer"], what)
    if end["end"] == "server":
        raise PermanentError(
            f"{what} was lost: its server process ended with code {end['status']}",
            "Check the output above and whether a person killed the process; then run again",
        )
    raise _death(end, what, at, settings)


def _answered(answer: str, what: str) -> Any:
    with suppress(ValueError):
        match json.loads(answer):
            case {"result": result}:
                return result
            case {"error": error}:
                raise failures.decoded(error)
            case _:
                pass
    raise PermanentError(f"{what} ended without a valid result", "Report this bug")


def _death(end: dict[str, Any], what: str, at: str, settings: Settings) -> D4CError:
    status = end["status"]
    if status < 0 and -status in _FROM_OUTSIDE:
        return NeedsPersonError(
            f"{what} was killed{at} by {_signal(-status)} from outside",
            f"The system kills processes when memory runs out: run fewer builds at once, or lower {settings.memory}, "
            "so that a build ends earlier; then run again",
        )
    frame = _FRAME.search(end["faults"])
    where = f" (in {frame['file']}, line {frame['line']})" if frame else ""
    how = f"by {_signal(-status)}" if status < 0 else f"with exit code {status} and no answer"
    return DataError(
        f"{what} crashed{at} {how}{where}: a library failed on the file; nothing else was affected",
        "Have the source deliver the file again or in another format, and report the file: it crashes every run",
    )


def _signal(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
