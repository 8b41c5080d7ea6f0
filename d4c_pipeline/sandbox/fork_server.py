"""The fork server: has imported the modules of a build, and forks a server for each connection that it is sent.

Its forks are servers as any other: clean, with one thread, each for one run, and ended when that run's socket closes.
It ends itself when every process that shares it has ended.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from importlib import import_module
from typing import NoReturn

from d4c_pipeline.sandbox.server import PRELOADED, serve


def fork_servers() -> None:
    """Fork a server for each socket that arrives on standard input, until its other side has closed everywhere."""
    control = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no ended server stays as a zombie
    for name in PRELOADED:
        import_module(f"d4c_pipeline.{name}")
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        for descriptor in descriptors:
            if os.fork() == 0:
                _become_server(control, descriptor)
            os.close(descriptor)


def _become_server(control: socket.socket, descriptor: int) -> NoReturn:
    code = 1
    try:
        control.close()
        os.dup2(descriptor, 0)
        os.close(descriptor)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # it waits for its own work
        os.setsid()
        serve()
        code = 0
    except BaseException as error:  # noqa: BLE001 - reported as the interpreter does; a fork must not go on as its parent
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
