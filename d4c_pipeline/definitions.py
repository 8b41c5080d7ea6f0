"""The front door for Dagster: `dagster dev`, code servers and `dg` load the definitions from here."""

from __future__ import annotations

import dagster as dg

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.run_worker import definitions_of_a_run, is_run_worker


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of all datasets that the environment names; in a run, those of its own."""
    folders = Settings.from_environment().definitions
    return definitions_of_a_run(folders) if is_run_worker() else build_definitions(folders)
