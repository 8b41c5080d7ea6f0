"""The log of a run on its process's stderr, as JSON where D4C_LOG says so.

Dagster writes the events of a run with a coloured logger unless each job configures another. The patched function
belongs to the pinned Dagster; a test executes a real run. The log in the UI is not concerned.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.execution import context_creation_job
from dagster._core.log_manager import DagsterLogHandler

from d4c_pipeline.orchestration.resources import DATASET, PARTITION
from d4c_pipeline.telemetry.json_logs import OURS, JsonFormatter, log_as_json


def runs_log_as_json() -> None:
    """Make this process log as JSON: our loggers, those of Dagster, and the runs that it executes."""
    log_as_json("dagster", "dagster-webserver").addFilter(_is_of_no_run)
    module: Any = context_creation_job
    module.default_system_loggers = _json_loggers


def _is_of_no_run(record: logging.LogRecord) -> bool:
    """Return whether a record is not one that Dagster takes over into the log of a run, which has it too."""
    taken = any(isinstance(handler, DagsterLogHandler) for handler in logging.getLogger(OURS).handlers)
    return not (taken and record.name.startswith(OURS))


@dg.logger
def _json_logger(_: dg.InitLoggerContext) -> logging.Logger:
    made = logging.Logger("dagster", logging.DEBUG)  # noqa: LOG001 - of one run; a named one would outlive it
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(_of_run))
    made.addHandler(handler)
    return made


def _json_loggers(_: dg.DagsterInstance | None) -> Sequence[tuple[dg.LoggerDefinition, Mapping[str, object]]]:
    return [(_json_logger, {})]


def _of_run(record: logging.LogRecord) -> dict[str, str | None]:
    """Return the keys of a record of Dagster: the run, and what the tags of the run and the event name."""
    found: Mapping[str, Any] = getattr(record, "dagster_meta", {})
    tags: Mapping[str, str] = found.get("job_tags") or {}
    event = found.get("dagster_event")
    dataset, _, step = (found.get("step_key") or "").rpartition("__")
    names = {
        "message": found.get("orig_message"),
        "run": found.get("run_id"),
        "job": found.get("job_name"),
        "dataset": tags.get(DATASET) or dataset,
        "vintage": tags.get(PARTITION),
        "step": step,
        "event": event.event_type_value if event is not None else None,
    }
    return {name: value for name, value in names.items() if value}
