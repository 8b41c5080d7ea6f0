"""Log records as JSON: one object a line, with the labels of the work, without credentials."""

from __future__ import annotations

import json
import logging
import threading

from d4c_pipeline.telemetry.json_logs import JsonFormatter
from d4c_pipeline.telemetry.labels import labelled, labels


def record(message: str, *words: object, error: BaseException | None = None) -> logging.LogRecord:
    found = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("d4c_pipeline.sources", logging.WARNING, "f.py", 1, message, words, found)


def test_a_record_is_one_line_with_the_labels_of_the_innermost_block() -> None:
    with labelled(dataset="places", vintage="2021", run="", step="raw"), labelled(step="processed", run=None):
        line = JsonFormatter().format(record("fetched %d of %s\nbytes", 7, "étoile"))
    found = json.loads(line)
    assert "\n" not in line
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "warning",
        "logger": "d4c_pipeline.sources",
        "message": "fetched 7 of étoile bytes",
        "dataset": "places",
        "vintage": "2021",
        "step": "processed",
    }
    assert labels() == {}


def test_credentials_are_masked_and_the_traceback_is_kept() -> None:
    error = ValueError("https://ana:hunter22@example.org/a")
    found = json.loads(JsonFormatter().format(record("https://ana:hunter22@example.org/b", error=error)))
    assert "hunter22" not in json.dumps(found)
    assert found["message"] == "https://example.org/b"
    assert found["exception"].startswith("ValueError: https://")


def test_threads_have_labels_of_their_own() -> None:
    seen: list[dict[str, str]] = []
    with labelled(dataset="places"):
        other = threading.Thread(target=lambda: seen.append(dict(labels())))
        other.start()
        other.join()
    assert seen == [{}]
