"""The working process: a fork of the server that drops its rights, does its work, answers and exits.

After `reach.restrict` returns, the process can access only its own files, even if foreign bytes take it over.
"""

from __future__ import annotations

import faulthandler
import json
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from d4c_pipeline.sandbox import activity, allocator, failures, reach, system
from d4c_pipeline.sandbox.wire import Request


def work(request: Request, server: int, answer: int, output: int, dump: int) -> NoReturn:
    """Do the work of `request` in this fork, then exit: with 0 after a result or an error, with 1 without an answer.

    `server` is the ID of the process that forked this one. `answer`, `output` and `dump` are the descriptors for the
    answer, for standard output and error, and for the dump of a crash.
    """
    code = 1
    try:
        system.end_with(server)
        _become(request, answer, output, dump)
        _write(answer, _answer(request))
        code = 0
    except BaseException as error:  # noqa: BLE001 - reported as the interpreter does; a fork must not go on as its server
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # libraries would wait for threads that only the server has


def _become(request: Request, answer: int, output: int, dump: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, place in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(number, place)
    # The descriptors that stay open keep their numbers: PROJ, for example, holds its number.
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if number not in (0, 1, 2, answer, dump) and not _is_of_a_library(number):
            os.close(number)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    os.chdir(request.reach.scratch)
    system.bound()
    allocator.keep_freed_memory()
    faulthandler.enable(dump, all_threads=True)
    activity.listen(lambda what: _write(answer, " ".join(what.split()) + "\n"))


def _is_of_a_library(number: int) -> bool:
    # PROJ opened its database in the server and keeps it open.
    try:
        return os.readlink(f"/proc/self/fd/{number}").startswith((sys.prefix, sys.base_prefix, "/usr/"))  # noqa: PTH115
    except OSError:
        return True  # the descriptor of the listing itself, which is closed by now


def _answer(request: Request) -> str:
    try:
        function, arguments, options = pickle.loads(request.call)  # noqa: S301 - made by the run
        reach.restrict(request.reach)
        answer: dict[str, Any] = {"result": function(*arguments, **options)}
        return json.dumps(answer)
    except BaseException as error:  # noqa: BLE001 - the run raises it
        return json.dumps({"error": failures.encoded(error)})


def _write(to: int, text: str) -> None:
    packed = text.encode("utf-8", "replace")
    while packed:
        packed = packed[os.write(to, packed) :]
