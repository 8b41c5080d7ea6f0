"""The front door for Dagster: `dagster dev`, code servers and `dg` load the definitions from here."""

from __future__ import annotations

import dagster as dg

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.build import build_definitions


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of all datasets that the environment names."""
    return build_definitions(Settings.from_environment().definitions)
