"""The front door for Dagster: `dagster dev`, code servers and `dg` load the definitions from here."""

from __future__ import annotations

import gc

# What is imported and built here lives as long as the process: collections would search it in vain, for a sixth of the
# time. Frozen, it is not searched later either.
gc.disable()

import dagster as dg  # noqa: E402

from d4c_pipeline.model.settings import Settings  # noqa: E402
from d4c_pipeline.orchestration.build import build_definitions  # noqa: E402
from d4c_pipeline.orchestration.forked_runs import fork_runs  # noqa: E402
from d4c_pipeline.orchestration.run_logs import runs_log_as_json  # noqa: E402
from d4c_pipeline.orchestration.run_worker import definitions_of_a_run, is_run_worker  # noqa: E402

gc.freeze()
gc.enable()
_SERVER_THRESHOLD = 50_000  # new objects between two collections: a snapshot of 200 jobs makes millions that stay


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of all datasets that the environment names; in a run, those of its own."""
    settings = Settings.from_environment()
    if settings.log == "json":
        runs_log_as_json()
    folders = settings.definitions
    if is_run_worker():
        return definitions_of_a_run(folders)
    fork_runs()
    gc.set_threshold(_SERVER_THRESHOLD, *gc.get_threshold()[1:])
    gc.disable()
    try:
        return build_definitions(folders)
    finally:
        gc.freeze()
        gc.enable()
