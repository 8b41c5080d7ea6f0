"""Spans of steps, exported by OpenTelemetry where OTEL_EXPORTER_OTLP_ENDPOINT is set.

Needs the extra `telemetry`. The variables are those of OpenTelemetry:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
Nothing of it is imported while that variable is unset. Counters belong to `services.metrics`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from uuid import UUID

from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.telemetry.labels import labels

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""The variables with the address of a collector (OTLP over HTTP); either one turns spans on."""
_SERVICE = "d4c_pipeline"
_FLUSH_MILLISECONDS = 5_000
_log = logging.getLogger(__name__)


def is_wanted() -> bool:
    """Return whether the environment names a collector."""
    return any(os.environ.get(name) for name in ENDPOINTS)


@contextmanager
def span(name: str) -> Iterator[None]:
    """Record the block as a span with the labels as attributes; an error of the block is its status.

    Spans of one run share the trace whose id is the id of the run, whichever process executes the step.
    """
    tracer = _tracer() if is_wanted() else None
    if tracer is None:
        yield
        return
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - of the extra `telemetry`

    known = labels()
    attributes = {f"d4c.{key}": value for key, value in known.items()}
    with tracer.start_as_current_span(
        name, context=_trace_of(known.get("run")), attributes=attributes, set_status_on_exception=False
    ) as current:
        try:
            yield
        except D4CError as error:
            current.set_status(Status(StatusCode.ERROR, error.cause))
            raise
        except Exception as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def flush() -> None:
    """Send the spans that wait, within a few seconds: a forked process ends without the exit handler that does so."""
    if is_wanted() and _tracer.cache_info().currsize and (tracer := _tracer()) is not None:
        tracer.span_processor.force_flush(_FLUSH_MILLISECONDS)


def _trace_of(run: str | None) -> Any:
    """Return the context of a run: a remote parent whose trace id is the run's; None for an id that is no UUID."""
    from opentelemetry import trace  # noqa: PLC0415 - of the extra `telemetry`

    try:
        number = UUID(run or "").int
    except ValueError:
        return None
    parent = trace.SpanContext(number, number & ((1 << 64) - 1), is_remote=True, trace_flags=trace.TraceFlags(1))
    return trace.set_span_in_context(trace.NonRecordingSpan(parent))


@cache
def _tracer() -> Any:
    """Return the tracer of this process, which sends its spans in the background and the rest at exit."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ModuleNotFoundError as error:
        _log.warning("No spans are sent, because %s is not installed: install d4c-pipeline[telemetry]", error.name)
        return None
    service = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": _SERVICE}
    provider = TracerProvider(resource=Resource.create(service))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer(_SERVICE)
