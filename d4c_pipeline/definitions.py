"""The front door for Dagster: `dagster dev`, code servers and `dg` load the definitions from here."""

from __future__ import annotations

import gc

import dagster as dg

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.forked_runs import fork_runs
from d4c_pipeline.orchestration.run_worker import definitions_of_a_run, is_run_worker


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of all datasets that the environment names; in a run, those of its own."""
    folders = Settings.from_environment().definitions
    if is_run_worker():
        return definitions_of_a_run(folders)
    fork_runs()
    # Everything built here lives as long as the process: collections would search it in vain, for a fifth of the time.
    gc.disable()
    try:
        return build_definitions(folders)
    finally:
        gc.freeze()
        gc.enable()
