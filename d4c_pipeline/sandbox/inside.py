"""The working process: a fork of the server that drops its rights, does its work, answers and ends.

After `reach.restrict` returns, the process cannot access anything else, whatever the foreign bytes do to it.
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


def work(request: Request, server: int, answer: int, said: int, dump: int) -> NoReturn:
    """Do what `request` asks for in this fork, which ends with it: 0 when there is an answer, an error being one.

    `server` is the process that forked it; `answer`, `said` and `dump` are the descriptors for the answer, for standard
    output and error, and for a fault.
    """
    code = 1
    try:
        system.end_with(server)
        _become(request, answer, said, dump)
        _write(answer, _answer(request))
        code = 0
    except BaseException as error:  # noqa: BLE001 - the interpreter's own way of ending; a fork must not go on as its server
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # libraries would wait for threads that only the server has


def _become(request: Request, answer: int, said: int, dump: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, place in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(number, place)
    # Those that are kept stay at their numbers: another's, such as PROJ's, must not be taken.
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
    # PROJ keeps its database open from the first look into it on, which was in the server.
    try:
        return os.readlink(f"/proc/self/fd/{number}").startswith((sys.prefix, sys.base_prefix, "/usr/"))  # noqa: PTH115
    except OSError:
        return True  # that of the listing itself, which is closed


def _answer(request: Request) -> str:
    try:
        function, arguments, options = pickle.loads(request.call)  # noqa: S301 - made by the run
        reach.restrict(request.reach)
        answer: dict[str, Any] = {"result": function(*arguments, **options)}
        return json.dumps(answer)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the run raises it
        return json.dumps({"error": failures.told(error)})


def _write(to: int, text: str) -> None:
    packed = text.encode("utf-8", "replace")
    while packed:
        packed = packed[os.write(to, packed) :]
