"""What a run tells machines: its log as JSON, its steps as spans at a real OTLP receiver."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import UUID

import pytest
from dagster._core.execution import context_creation_job
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from d4c_pipeline.orchestration.run_logs import runs_log_as_json
from d4c_pipeline.telemetry import spans
from d4c_pipeline_tests.integration.orchestration.conftest import Project
from d4c_pipeline_tests.support.samples import PLACES_URL, define, geojson


class Collector:
    """An OTLP receiver."""

    def __init__(self) -> None:
        received = self.received = list[Any]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    names = {each.key: each.value.string_value for each in resource.resource.attributes}
                    assert names["service.name"] == "d4c_pipeline"
                    received.extend(each for scope in resource.scope_spans for each in scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    spans._tracer.cache_clear()
    yield made
    made.close()
    spans._tracer.cache_clear()


@pytest.fixture
def json_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    # Noted here, so that the end of the test restores what the call replaces.
    monkeypatch.setattr(context_creation_job, "default_system_loggers", context_creation_job.default_system_loggers)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    for name in ("dagster", "dagster-webserver"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
    runs_log_as_json()


def test_steps_are_spans_of_the_trace_of_their_run_and_its_log_is_json(
    project: Project, collector: Collector, json_logs: None, capfd: pytest.CaptureFixture[str]
) -> None:
    define(project.definitions)
    project.origin.put(PLACES_URL, geojson())
    project.origin.codes["/places_2021.geojson"] = 404
    failed = project.materialize("places", "2021", "raw", "processed")
    assert not failed.success
    del project.origin.codes["/places_2021.geojson"]
    done = project.materialize("places", "2021", "raw", "processed")
    assert done.success
    # Each run has sent its spans at its end: a forked process runs no exit handlers.
    shown = [
        (UUID(bytes=each.trace_id), each.name, {entry.key: entry.value.string_value for entry in each.attributes})
        for each in collector.received
    ]
    of_both = {"d4c.dataset": "places", "d4c.vintage": "2021"}
    assert shown == [
        (UUID(run.run_id), step, {**of_both, "d4c.step": step, "d4c.run": run.run_id})
        for run, step in ((failed, "raw"), (done, "raw"), (done, "processed"))
    ]
    assert [each.status.code for each in collector.received] == [2, 0, 0]
    assert "does not exist (the server answered 404)" in collector.received[0].status.message
    assert [event.name for event in collector.received[0].events] == ["exception"]

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert {line.get("run") for line in lines} == {failed.run_id, done.run_id}
    (success,) = [line for line in lines if line.get("event") == "STEP_SUCCESS" and line["step"] == "processed"]
    assert (success["dataset"], success["vintage"], success["level"]) == ("places", "2021", "debug")
    (failure,) = [line for line in lines if line.get("event") == "STEP_FAILURE" and line["run"] == failed.run_id]
    assert (failure["level"], failure["step"]) == ("error", "raw")
    assert len({json.dumps(line, sort_keys=True) for line in lines}) == len(lines), "a record is logged twice"


def test_without_a_collector_nothing_of_opentelemetry_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in spans.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(spans, "_tracer", lambda: pytest.fail("a tracer was made"))
    with spans.span("raw"):
        pass
