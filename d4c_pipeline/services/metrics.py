"""Metrics of a deployment for Prometheus, at `/metrics` of `d4c serve`: the ledger's totals at each scrape.

The seeder and Dagster's own processes have metrics of their own. Names: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from d4c_pipeline.ledger.metrics import Totals
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.problems import ProblemError, answer_problem
from d4c_pipeline.workspace.deployment import opened_ledger

PATH = "/metrics"


def route(settings: Settings) -> Route:
    """Return the route that answers with the metrics; 503 and the cause when the ledger can't be read."""

    def answer(request: Request) -> Response:
        try:
            with opened_ledger(settings) as ledger:
                text = exposition(ledger.metrics.totals())
        except D4CError as error:
            return answer_problem(request, ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, error.cause, error.remedy))
        return Response(text, media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})

    return Route(PATH, answer, methods=["GET"])


def exposition(totals: Totals) -> bytes:
    """Return the totals in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Given(totals))
    return generate_latest(registry)


class _Given(Collector):
    """The metrics of given totals."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        totals = self._totals
        releases = _gauge("d4c_releases", "Releases by dataset and state.", "dataset", "state")
        for (dataset, state), number in totals.releases.items():
            releases.add_metric([dataset, state], number)
        yield releases
        yield _by("d4c_published_bytes", "Bytes of all published artifacts.", "dataset", totals.published_bytes)
        yield _by("d4c_retained_bytes", "Bytes of retained native files.", "dataset", totals.retained)
        yield _by(
            "d4c_last_published_timestamp_seconds",
            "Time of the newest publication.",
            "dataset",
            {dataset: at.timestamp() for dataset, at in totals.published_at.items()},
        )
        copies = _gauge(
            "d4c_copies", "Copies of artifacts by store and result of the last verification.", "store", "state"
        )
        sizes = _gauge("d4c_copies_bytes", "Bytes of these copies.", "store", "state")
        for (store, intact), (number, size) in totals.copies.items():
            copies.add_metric([store, "intact" if intact else "damaged"], number)
            sizes.add_metric([store, "intact" if intact else "damaged"], size)
        yield copies
        yield sizes
        yield _by("d4c_checks", "Results of checks by verdict.", "verdict", totals.checks)
        failures = _gauge("d4c_failures", "Failed steps of partitions that did not succeed since.", "subject", "kind")
        for (subject, transient), number in totals.failures.items():
            failures.add_metric([subject, "transient" if transient else "permanent"], number)
        yield failures
        yield GaugeMetricFamily(
            "d4c_builds_uncompared", "Finished builds that wait for the step checksums.", totals.builds
        )
        yield GaugeMetricFamily("d4c_runs_in_progress", "Runs that a process executes.", totals.runs)
        yield _by(
            "d4c_partitions_due", "Partitions whose source changed and that wait for a run.", "subject", totals.due
        )
        yield _by("d4c_source_lag_seconds", "Time since the oldest unpublished change.", "subject", totals.lag)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)


def _by(name: str, text: str, label: str, values: dict[str, int] | dict[str, float]) -> GaugeMetricFamily:
    found = _gauge(name, text, label)
    for key, value in values.items():
        found.add_metric([key], value)
    return found
