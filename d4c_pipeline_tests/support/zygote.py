"""A process that has imported the command line once and forks for every call: real processes, real exit codes, quickly.

Speaks JSON lines: a request to start a call (answered with its pid) or to wait for one (answered with its code). A call
can be told to be killed where a chosen function of the chain is entered or has done its work.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coverage

from d4c_pipeline import chain
from d4c_pipeline.sandbox import call as call_module
from d4c_pipeline.sandbox import server


def die() -> None:
    """What `kill -9` does: no handler, no clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(where: str, when: str) -> None:
    """Have this process killed `before` or `after` the work of `where` (`module:function` or `module:Class.method`)."""
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    original: Callable[..., Any] = getattr(owner, name)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            die()
        result = original(*args, **kwargs)
        die()
        return result

    setattr(owner, name, deadly)


class ForkedServer:
    """A server of builds that is a fork as well, where a real process would load for a second what is loaded here.

    What starts it otherwise, and in which environment, has tests of its own (`test_work_in_a_child`).
    """

    def __init__(self, connection: socket.socket) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                os.dup2(connection.fileno(), 0)
                # The run's end among them, which must close when the run dies.
                for opened in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
                    with contextlib.suppress(OSError):
                        if opened > 2 and stat.S_ISSOCK(os.fstat(opened).st_mode):
                            os.close(opened)
                server.serve()
            finally:
                os._exit(0)
        self.code: int | None = None

    def poll(self) -> int | None:
        if self.code is None and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.code = 0
        return self.code

    def wait(self, seconds: float) -> int:
        self.code = reap(self.pid, seconds) if self.code is None else self.code
        return self.code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def become(request: dict[str, Any]) -> None:
    """Turn this fork into the process that was asked for: its environment, folder, limits, standard streams."""
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        handle = os.open(request[name], flags, 0o644)
        os.dup2(handle, number)
        os.close(handle)
    if request["file_size_limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size_limit"],) * 2)
    # Now, while there is one thread: the server that `raw` would start.
    start, call_module.start = call_module.start, ForkedServer
    call_module.warm()
    call_module.start = start
    if request["kill"]:
        arm(*request["kill"])
    sys.argv = [str(Path(sys.executable).with_name("d4c")), *request["arguments"]]


def call(function: str) -> int:
    """Run `module:function` as an entry point; the exit code is what the process would end with."""
    module, _, name = function.partition(":")
    work = getattr(importlib.import_module(module), name)
    try:
        if name == "main":
            work()
        else:
            work(*sys.argv[1:])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the interpreter's own way of ending
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def leave(code: int, known: frozenset[str], learned: Path) -> None:
    """End a fork at once: libraries would wait for threads that only its parent has (DuckDB's at its import)."""
    sys.stdout.flush()
    sys.stderr.flush()
    learned.write_text("\n".join(name for name in sys.modules if name not in known), "utf-8")
    measured = coverage.Coverage.current()
    if measured is not None:
        measured.stop()
        measured.save()
    os._exit(code)


def reap(pid: int, seconds: float) -> int:
    """Wait for a fork and return its exit code; one that takes longer than `seconds` is killed."""
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def learn(learned: Path) -> None:
    """Import what forks had to import for themselves, so that the next one need not."""
    if learned.exists():
        for name in learned.read_text("utf-8").split():
            # Some are no modules of their own: migrations and the like that were loaded from a path.
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        learned.unlink()


def serve(learned: Path) -> None:
    """Answer requests until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = {"code": reap(request["wait"], request["seconds"])}
        else:
            learn(learned)
            known = frozenset(sys.modules)
            pid = os.fork()
            if pid == 0:
                become(request)
                leave(call(request["function"]), known, learned)
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    importlib.import_module("d4c_pipeline.commands.main")
    # Everything that a publication imports on its way. The threads it starts belong to libraries that know of forks.
    for name in (
        "orchestration.publishing",
        "commands.progress_bar",
        "commands.demo",
        "services.file_server",
        "processing.build",
        *(f"chain.{module.name}" for module in pkgutil.iter_modules(chain.__path__)),
        "review.changes",
        "review.verdicts",
        *server.PRELOADED,
    ):
        importlib.import_module(f"d4c_pipeline.{name}")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    serve(Path(sys.argv[1]))
