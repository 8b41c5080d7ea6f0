"""Runs work in a separate process, and words the error when that process dies without an answer.

The first call, or `warm` before it, starts a server, which runs until this process ends.
"""

from __future__ import annotations

import atexit
import json
import os
import pickle
import re
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

# The kernel's when memory runs out, and those of a person.
_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
_PATIENCE = 10  # seconds for a server to end what it started
# A line of faulthandler's, the innermost call first.
_FRAME = re.compile(r'File ".*/d4c_pipeline/(?!sandbox/)(?P<file>[^"]+)", line (?P<line>[0-9]+) in ')


@dataclass(frozen=True)
class Settings:
    """The names of the settings that say the limits of some work, for the sentence that says which one was passed."""

    memory: str
    time: str


def run(
    function: Callable[..., Any], *arguments: Any, what: str, limits: Limits, settings: Settings, reach: Reach
) -> Any:
    """Call `function` (of a module, not of another function) in a process of its own; return its answer.

    What it returns must be JSON; here it is whatever the process made of it, and to be judged as such. Errors of ours
    are raised as they were raised there, an error that is none of ours as BugInChildError. `what` names the work in a
    sentence ("The build of roads 2021"). Raises DataError when the process crashes or passes `limits`, naming what it
    was doing; NeedsPersonError when it was killed from outside; TransientError when it could not be started.
    """
    own = {"HOME": str(reach.scratch), "TMPDIR": str(reach.scratch)}
    request = Request(pickle.dumps((function, arguments, {})), environment.allowed(own), limits, reach)
    with _Lent() as server:
        end = server.ask(request)
    return _judged(end, what, limits, settings)


def start(connection: socket.socket) -> subprocess.Popen[bytes]:
    """Start a server whose standard input is `connection`. Raises OSError when the system can't."""
    return subprocess.Popen(
        # -P: no module is ever taken from the working folder.
        [sys.executable, "-P", "-m", "d4c_pipeline.sandbox"],
        stdin=connection.fileno(),
        env=environment.allowed({}),
        # Ctrl-C is this process's to answer: it ends the server.
        start_new_session=True,
    )


def warm() -> None:
    """Start a server, unless one waits already, so that work which comes later need not wait for it."""
    with _lock:
        if not _idle:
            _idle.append(_Server())


class _Server:
    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = start(theirs)
            except OSError as error:
                self._socket.close()
                raise TransientError(
                    f"No process can be started for a build: {error.strerror or error}", "Run less at once"
                ) from error

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: Request) -> dict[str, Any]:
        try:
            send_request(self._socket, request)
            while (message := receive_message(self._socket)) is not None:
                if "end" in message:
                    return message
                sys.stderr.write(sanitise_lines(message["said"]))
        except (OSError, ValueError):
            pass  # it is gone, as below
        code = self._process.wait(_PATIENCE)
        return {"end": "server", "status": code, "doing": None, "answer": "", "faults": "", "peak": 0}

    def forget(self) -> None:
        """Leave it to the process that this one was forked from."""
        self._socket.close()

    def close(self) -> None:
        self._socket.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_idle: list[_Server] = []
_lent: list[_Server] = []
_lock = Lock()


class _Lent:
    """A server for one piece of work, back among the idle ones after it; one whose work was interrupted is ended."""

    def __enter__(self) -> _Server:
        with _lock:
            while _idle:
                self._server = _idle.pop()
                if self._server.lives:
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
    # A fork has no part in the conversation, and must not keep the socket open when this process dies.
    global _lock  # noqa: PLW0603 - it may have been held by a thread that the fork does not have
    _lock = Lock()
    for server in (*_idle, *_lent):
        server.forget()
    _idle.clear()
    _lent.clear()


os.register_at_fork(after_in_child=_after_fork)


def sanitise_lines(text: str) -> str:
    """Return what a process said, without secrets and control characters, its lines as they are."""
    return "\n".join(map(sanitise, text.split("\n")))


def _judged(end: dict[str, Any], what: str, limits: Limits, settings: Settings) -> Any:
    doing = sanitise(end["doing"] or "")
    at = f" while {doing}" if doing else ""
    if end["end"] == "memory":
        raise DataError(
            f"{what} was ended{at}: it used more than {limits.memory / 1e9:.3g} GB of memory",
            f"Look whether the file is what it should be; if it is, raise {settings.memory}",
        )
    if end["end"] == "time":
        raise DataError(
            f"{what} was ended{at}: it took longer than {limits.seconds:g} seconds",
            f"Look whether the file is what it should be; if it is, raise {settings.time}",
        )
    if end["end"] == "answer":
        raise DataError(f"{what} was ended{at}: its answer has no end", "Report the file")
    if end["end"] == "exit" and end["status"] == 0:
        return _answered(end["answer"], what)
    if end["end"] == "server":
        raise PermanentError(
            f"{what} was lost: the process that watches over it ended with code {end['status']}",
            "Look at what it said above, or whether somebody killed it; then run again",
        )
    raise _death(end, what, at, settings)


def _answered(answer: str, what: str) -> Any:
    with suppress(ValueError):
        match json.loads(answer):
            case {"result": result}:
                return result
            case {"error": error}:
                raise failures.untold(error)
            case _:
                pass
    raise PermanentError(f"{what} ended without an answer that can be understood", "Report this bug")


def _death(end: dict[str, Any], what: str, at: str, settings: Settings) -> D4CError:
    status = end["status"]
    if status < 0 and -status in _FROM_OUTSIDE:
        return NeedsPersonError(
            f"{what} was killed{at} by {_signal(-status)}, not by itself",
            f"The system does that when memory runs out: run less at once, or lower {settings.memory}, so that a build "
            "is ended before; then run again",
        )
    frame = _FRAME.search(end["faults"])
    where = f" (in {frame['file']}, line {frame['line']})" if frame else ""
    how = f"by {_signal(-status)}" if status < 0 else f"with exit code {status} and no answer"
    return DataError(
        f"{what} crashed{at} {how}{where}: a library could not bear the file, and nothing else was harmed",
        "Have the source deliver the file again or in another format, and report the file; the same file crashes again",
    )


def _signal(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
