"""Starts the process of a run as a fork of a process that has imported the code of runs.

Dagster's code server starts a new interpreter for each run, which imports for five seconds of CPU before the first
step. `multiprocessing`'s fork server imports once for all runs of a code server. It has one thread, and opens no
database: a run reads its own definitions. After a reload of the code location, a new code server starts a new fork
server. Runs of Celery workers and in the process of a command don't come here. Concept:
https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
"""

from __future__ import annotations

import multiprocessing
import sys
from typing import Any

_SERVER = "dagster._grpc.server"
PRELOADED = "d4c_pipeline.orchestration.preloaded"


def fork_runs() -> None:
    """Have the code server in this process fork its runs; a no-op in other processes.

    Dagster has no setting for the start method. This replaces an attribute of its server, which belongs to the pinned
    version; a test starts a real server. Without the attribute, runs start as before.
    """
    server: Any = sys.modules.get(_SERVER)
    if server is None:
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    # A property precedes the attribute that the instance, which loads these definitions, has set already.
    server.DagsterApiServer._mp_ctx = property(lambda _: context, lambda *_: None)  # noqa: SLF001 - see above
