"""Which failures Dagster tries again, seen in the events of real runs against a source that fails."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest

from d4c_pipeline.commands.demo import FolderHandler
from d4c_pipeline.orchestration import failures
from d4c_pipeline_tests.integration.orchestration.conftest import Project
from d4c_pipeline_tests.support.samples import HOST, PLACES, define, geojson


class Busy(FolderHandler):
    """Answers 503 to the first `times[0]` requests, and that there is no use in waiting for it."""

    def __init__(self, times: list[int], folder: Path, *args: object) -> None:
        self._times = times
        super().__init__(folder, *args)

    def _answer(self, *, send_body: bool) -> None:
        if self._times[0] > 0:
            self._times[0] -= 1
            self.send_response(503)
            self.send_header("Retry-After", "86400")  # so that the source itself gives up at once
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super()._answer(send_body=send_body)


@pytest.fixture
def times(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many requests the source still refuses."""
    left = [0]
    define(project.definitions)
    project.origin.put(f"{HOST}/places_2021.geojson", geojson())
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Busy, left, project.origin.folder / "data.example.ca")
    ) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        monkeypatch.setenv("D4C_ORIGIN_MAP", f"{HOST}=http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(failures, "RETRIES", dg.RetryPolicy(max_retries=3, delay=0.01))
        yield left
        server.shutdown()
        thread.join()


def attempts(run: dg.ExecuteInProcessResult, step: str) -> list[str]:
    """What became of each attempt at a step."""
    ends = {
        dg.DagsterEventType.STEP_UP_FOR_RETRY: "again",
        dg.DagsterEventType.STEP_FAILURE: "failed",
        dg.DagsterEventType.STEP_SUCCESS: "done",
    }
    return [ends[event.event_type] for event in run.all_events if event.event_type in ends and event.step_key == step]


def failure_of(run: dg.ExecuteInProcessResult) -> dict[str, object]:
    """Cause, remedy and kind of the one step that failed."""
    (failure,) = [event.step_failure_data for event in run.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    return {key: value.value for key, value in failure.user_failure_data.metadata.items()}


def test_a_source_that_recovers_is_tried_until_it_answers(project: Project, times: list[int]) -> None:
    # Each attempt asks twice: a server that refuses HEAD may answer GET.
    times[0] = 4
    run = project.materialize("places", "2021", "raw", "processed")
    assert run.success
    assert attempts(run, "places__raw") == ["again", "again", "done"]
    assert attempts(run, "places__processed") == ["done"]


def test_a_source_that_stays_down_ends_the_run_after_four_attempts(project: Project, times: list[int]) -> None:
    times[0] = 100
    run = project.materialize("places", "2021", "raw", "processed")
    assert not run.success
    assert attempts(run, "places__raw") == ["again", "again", "again", "failed"]
    assert attempts(run, "places__processed") == []
    told = failure_of(run)
    assert told["kind"] == "TransientError"
    assert "503" in str(told["cause"])
    assert told["remedy"]


def test_a_missing_file_is_not_asked_for_again(project: Project, times: list[int]) -> None:
    project.origin.remove(f"{HOST}/places_2021.geojson")
    run = project.materialize("places", "2021", "raw")
    assert not run.success
    assert attempts(run, "places__raw") == ["failed"]
    told = failure_of(run)
    assert told["kind"] == "SourceError"
    assert "404" in str(told["cause"])


def test_a_bug_is_not_tried_again(project: Project, times: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("d4c_pipeline.chain.raw.retain", broken)
    run = project.materialize("places", "2021", "raw")
    assert not run.success
    assert attempts(run, "places__raw") == ["failed"]
    (failure,) = [event.step_failure_data for event in run.all_events if event.is_step_failure]
    assert failure.user_failure_data is None
    assert failure.error is not None
    assert "ZeroDivisionError" in failure.error.to_string()


def test_a_step_out_of_order_says_which_one_is_missing(project: Project, times: list[int]) -> None:
    run = project.materialize("places", "2021", "torrent")
    assert attempts(run, "places__torrent") == ["failed"]
    told = failure_of(run)
    assert told["cause"] == "No release of places 2021 is planned"
    assert told["remedy"] == "Materialize 'checksums' of this partition"


def test_a_failed_check_stops_what_comes_after_it_and_publication_remembers(project: Project, times: list[int]) -> None:
    project.origin.put(f"{HOST}/places_2021.geojson", geojson([*PLACES, PLACES[0]]))
    run = project.materialize("places", "2021")
    assert not run.success
    (check,) = [one for one in run.get_asset_check_evaluations() if not one.passed and one.blocking]
    assert (check.check_name, check.passed, check.blocking) == ("keys_identify_rows", False, True)
    assert check.metadata["expected"].value == "no null and no duplicate in id"
    assert check.metadata["actual"].value == "0 rows with a null key, 1 duplicate key"
    assert attempts(run, "places__checksums") == []
    # A run of the rest alone does not see that check any more: what publishes looks the verdict up itself.
    rest = ("checksums", "doi", "copies", "torrent", "stac_item", "deposit", "latest")
    later = project.materialize("places", "2021", *rest)
    assert attempts(later, "places__stac_item") == ["done"]
    assert attempts(later, "places__deposit") == ["failed"]
    assert failure_of(later)["kind"] == "NeedsPersonError"
    with project.opened() as deployment:
        assert deployment.ledger.releases.published() == ()
