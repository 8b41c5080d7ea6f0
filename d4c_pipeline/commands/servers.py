"""`d4c serve` and `d4c ui`: programs that run until they are interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from typing import Annotated

import typer

from d4c_pipeline.commands.common import Debug, Defs, Home, end_by_interrupt, out, read_settings, report
from d4c_pipeline.model.errors import NeedsPersonError

_MOST_STARTS, _STARTS_WITHIN = 5, 600.0


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port to listen on [D4C_PORT].")] = None,
    home: Home = None,
    debug: Debug = False,
) -> None:
    """Serve the store and the local archive over HTTP."""
    from d4c_pipeline.services.access import open_to
    from d4c_pipeline.services.embedded import mounts
    from d4c_pipeline.services.file_server import serve_forever
    from d4c_pipeline.services.memory import use_one_arena
    from d4c_pipeline.services.metrics import route
    from d4c_pipeline.services.protocol import opened

    use_one_arena()
    settings = read_settings(home, None, debug)
    end_by_interrupt()
    with opened(settings) as protocols:
        serve_forever(
            mounts(settings),
            host,
            port or settings.port,
            lambda url: report(f"Serving {settings.home} at {url}{open_to(host)}"),
            [route(settings), *protocols],
        )


def ui(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every change.")] = False,
    home: Home = None,
    defs: Defs = None,
    debug: Debug = False,
) -> None:
    """Run the Dagster UI of this home and serve its files."""
    from d4c_pipeline.orchestration.instance import ui_command
    from d4c_pipeline.services.embedded import mounts
    from d4c_pipeline.services.file_server import serving

    settings = read_settings(home, defs, debug)
    command, environment = ui_command(settings, port, read_only=read_only)
    end_by_interrupt()
    with serving(mounts(settings), port=settings.port) as url:
        out.print(f"UI     http://127.0.0.1:{port}\nfiles  {url}\nhome   {settings.home}")
        keep_running(command, environment)


def keep_running(command: list[str], environment: dict[str, str], *, pause: float = 5.0) -> None:
    """Run Dagster until an interrupt; start it again after `pause` seconds when it ends by itself.

    Dagster ends its webserver and its scheduler when one of them is killed. Raises NeedsPersonError when it ended
    `_MOST_STARTS` times within `_STARTS_WITHIN` seconds.
    """
    children: list[subprocess.Popen[bytes]] = []
    starts: deque[float] = deque(maxlen=_MOST_STARTS)
    with suppress(KeyboardInterrupt):
        try:
            while True:
                starts.append(time.monotonic())
                # A separate session: Ctrl-C reaches only this process, which then ends Dagster once.
                children.append(subprocess.Popen(command, env=environment, start_new_session=True))
                code = children[-1].wait()
                if code < 0:
                    # Killed itself, it left its services behind; runs that die with them are ended and retried.
                    with suppress(ProcessLookupError):
                        os.killpg(children[-1].pid, signal.SIGKILL)
                if not _has_processes(children[-1].pid):  # else runs in progress
                    children.pop()
                if len(starts) == _MOST_STARTS and starts[-1] - starts[0] < _STARTS_WITHIN:
                    raise NeedsPersonError(
                        f"Dagster ended {_MOST_STARTS} times within {_STARTS_WITHIN / 60:g} minutes, last with code "
                        f"{code}",
                        "Read its messages above; free the port (--port) or the memory that it lacked",
                    )
                out.print(f"Dagster ended by itself (code {code}); it starts again in {pause:g} seconds")
                time.sleep(pause)
        finally:
            for child in children:
                _stop(child)


def _has_processes(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End Dagster and all of its processes; a second interrupt ends the wait."""
    with suppress(subprocess.TimeoutExpired, KeyboardInterrupt, ProcessLookupError):
        child.terminate()
        child.wait(timeout=60)
        # A run in progress keeps its code server alive. After an interrupt Dagster records its end; a killed run would
        # show as running until an operator cancels it.
        os.killpg(child.pid, signal.SIGTERM)
        for _ in range(300):
            time.sleep(0.1)
            os.killpg(child.pid, 0)  # raises when no process is left
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
