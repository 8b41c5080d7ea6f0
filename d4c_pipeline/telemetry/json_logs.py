"""Log records as JSON, one object a line, with the labels of the work in progress.

Keys: `time` (UTC, ISO 8601), `level`, `logger`, `message`, the labels (`dataset`, `vintage`, `step`, `run`),
`exception` (the traceback). Which processes log so is decided by the setting D4C_LOG.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from d4c_pipeline.model.secrets import mask, sanitise
from d4c_pipeline.telemetry.labels import labels

OURS = "d4c_pipeline"
"""The logger above all loggers of this package."""


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON. `more` returns further keys of a record, which win over the labels."""

    def __init__(self, more: Callable[[logging.LogRecord], Mapping[str, str | None]] = lambda _: {}) -> None:
        super().__init__()
        self._more = more

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without credentials."""
        found: dict[str, str | None] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **labels(),
            **self._more(record),
        }
        found["message"] = " ".join(sanitise(str(found["message"])).split())
        if record.exc_info:
            found["exception"] = mask(self.formatException(record.exc_info))
        return json.dumps({name: value for name, value in found.items() if value}, ensure_ascii=False)


def log_as_json(*replaced: str) -> logging.Handler:
    """Make the loggers of this process write JSON to stderr; return the handler.

    Ours log from INFO on, others from WARNING on unless they have a level. `replaced`: loggers whose own handlers go.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    logging.getLogger(OURS).setLevel(logging.INFO)
    for name in replaced:
        logging.getLogger(name).handlers.clear()
    return handler
