"""`d4c serve` and `d4c ui`: programs that run until they are interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import Annotated

import typer

from d4c_pipeline.commands.common import Debug, Defs, Home, end_by_interrupt, out, read_settings


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port to listen on [D4C_PORT].")] = None,
    home: Home = None,
    debug: Debug = False,
) -> None:
    """Serve the store and the local archive over HTTP."""
    from d4c_pipeline.services.embedded import mounts
    from d4c_pipeline.services.file_server import serve_forever

    settings = read_settings(home, None, debug)
    end_by_interrupt()
    serve_forever(
        mounts(settings), host, port or settings.port, lambda url: out.print(f"Serving {settings.home} at {url}")
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
        # A separate session: Ctrl-C reaches only this process, which then ends Dagster once.
        child = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            code = child.wait()
        except KeyboardInterrupt:
            code = _stop(child)
    raise typer.Exit(code)


def _stop(child: subprocess.Popen[bytes]) -> int:
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
    return 0
