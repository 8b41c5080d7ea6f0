"""Sources that change, and what Dagster makes of it: sensors evaluated on a real instance, tick by tick."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from d4c_pipeline.chain import raw
from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.orchestration import failures
from d4c_pipeline.orchestration.resources import PROCESS
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline.watch import noticing
from d4c_pipeline_tests.integration.orchestration.conftest import STEPS, Daemon, Project, reported
from d4c_pipeline_tests.support.samples import HOST, PLACES_URL, corrected, define, geojson

CURRENT = f"{HOST}/current.geojson"
LATER = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def daemon(project: Project) -> Daemon:
    """Of a dataset with two declared vintages."""
    define(project.definitions, vintages=["2021", "2022"])
    for vintage in ("2021", "2022"):
        project.origin.put(f"{HOST}/places_{vintage}.geojson", geojson())
    return Daemon(project)


@pytest.fixture
def discovered(project: Project) -> Daemon:
    """Of a dataset whose source only serves its current vintage."""
    define(
        project.definitions,
        vintages="discovered",
        series="rolling",
        source={"kind": "http", "urls": [CURRENT]},
    )
    project.origin.put(CURRENT, geojson())
    return Daemon(project)


def ask_again(daemon: Daemon, sensor: str = "observe_places") -> dg.SensorResult:
    """The next tick after the hours until the next round have passed."""
    told = json.loads(daemon.cursors[sensor] or "")
    told["began"] = (datetime.fromisoformat(told["began"]) - timedelta(hours=7)).isoformat()
    daemon.cursors[sensor] = json.dumps(told)
    return daemon.tick(sensor)


def test_what_changed_is_published_and_what_did_not_is_left_alone(daemon: Daemon) -> None:
    assert daemon.asked_for() == set()
    first = daemon.tick("observe_places")
    assert set(reported(first)) == {"2021", "2022"}
    assert daemon.asked_for() == {"2021", "2022"}
    assert daemon.asked_for() == set(), "asked for once"
    for vintage in ("2021", "2022"):
        assert daemon.project.materialize("places", vintage).success
    assert daemon.asked_for() == set(), "that it was materialized is no change"
    assert reported(ask_again(daemon)) == {}
    assert daemon.asked_for() == set()

    daemon.project.origin.put(f"{HOST}/places_2022.geojson", corrected(), LATER)
    early = daemon.tick("observe_places")
    assert reported(early) == {}
    assert "All observed since" in str(early.skip_reason)
    assert set(reported(ask_again(daemon))) == {"2022"}
    assert daemon.asked_for() == {"2022"}
    assert daemon.project.materialize("places", "2022").success
    assert reported(ask_again(daemon)) == {}
    assert daemon.asked_for() == set()
    with daemon.project.opened() as deployment:
        published = [(str(one.vintage), str(one.version)) for one in deployment.ledger.releases.published("places")]
    assert published == [("2021", "0.1.0-beta"), ("2022", "0.1.0-beta"), ("2022", "0.1.1-beta")]


def test_a_tick_that_was_killed_is_made_again_and_nothing_is_told_twice(daemon: Daemon) -> None:
    assert daemon.asked_for() == set()
    # Killed before anything was stored, twice; then after the events, before the cursor.
    assert set(reported(daemon.evaluate("observe_places"))) == {"2021", "2022"}
    assert set(reported(daemon.evaluate("observe_places"))) == {"2021", "2022"}
    for event in daemon.evaluate("observe_places").asset_events:
        daemon.project.instance.report_runless_asset_event(event)
    assert reported(daemon.tick("observe_places")) == {}
    assert daemon.asked_for() == {"2021", "2022"}
    assert daemon.asked_for() == set()


def test_a_vintage_that_was_fetched_and_not_published_is_published(daemon: Daemon) -> None:
    assert daemon.project.materialize("places", "2021", "raw").success
    assert daemon.project.materialize("places", "2022").success
    assert set(reported(daemon.tick("observe_places"))) == {"2021"}
    assert daemon.asked_for() == {"2021"}
    assert daemon.asked_for() == set()


def test_a_request_that_the_daemon_lost_is_made_again_under_the_same_key(daemon: Daemon) -> None:
    daemon.tick("observe_places")
    first, second = (daemon.evaluate("changes_are_published").run_requests or [] for _ in range(2))
    assert [(each.run_key, each.partition_key) for each in first] == [
        (each.run_key, each.partition_key) for each in second
    ]
    version = {each.partition_key: each.tags["d4c/source_version"] for each in first}
    assert {each.run_key for each in first} == {f"places/{key}/{version[key]}" for key in ("2021", "2022")}
    assert daemon.asked_for() == {"2021", "2022"}
    assert daemon.asked_for() == set()


def test_a_run_of_the_sensor_names_its_dataset_and_makes_every_step(daemon: Daemon) -> None:
    daemon.tick("observe_places")
    request = (daemon.evaluate("changes_are_published").run_requests or [])[0]
    assert (request.job_name, request.tags["d4c/dataset"]) == ("publish_places", "places")
    job = daemon.definitions.resolve_job_def("publish_places")
    assert {key.path[-1] for key in job.asset_layer.selected_asset_keys} == set(STEPS)
    run = job.execute_in_process(instance=daemon.project.instance, partition_key=request.partition_key)
    stored = daemon.project.instance.get_run_by_id(run.run_id)
    assert stored is not None
    assert {name: stored.tags.get(name) for name in ("d4c/dataset", "d4c/version")} == {
        "d4c/dataset": "places",
        "d4c/version": "0.1.0-beta",
    }


def test_a_cursor_that_cannot_be_read_starts_over(daemon: Daemon) -> None:
    daemon.cursors["observe_places"] = "{broken"
    assert set(reported(daemon.tick("observe_places"))) == {"2021", "2022"}
    assert json.loads(daemon.cursors["observe_places"] or "")["complete"] is True


def test_a_round_goes_on_where_the_last_tick_ran_out_of_time(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    vintages = [str(year) for year in range(2001, 2013)]
    define(project.definitions, vintages=vintages)
    for vintage in vintages:
        project.origin.put(f"{HOST}/places_{vintage}.geojson", geojson())
    daemon = Daemon(project)
    opened = noticing.open_source

    def slow(*args: object, **options: object) -> object:
        source = opened(*args, **options)  # type: ignore[arg-type]
        plain = source.observe

        def observe(vintage: object) -> object:
            time.sleep(0.6)
            return plain(vintage)  # type: ignore[arg-type]

        source.observe = observe  # type: ignore[method-assign]
        return source

    monkeypatch.setattr(noticing, "open_source", slow)
    monkeypatch.setattr(noticing.observe, "__kwdefaults__", {"budget": 1.0, "now": None})
    told: list[str] = []
    ticks = 0
    while not told or not json.loads(daemon.cursors["observe_places"] or "")["complete"]:
        began = time.monotonic()
        told += sorted(reported(daemon.tick("observe_places")))
        assert time.monotonic() - began < 5
        ticks += 1
    assert ticks >= 2
    assert told == vintages, "each once, in order"
    heads = [line for line in project.origin.asked if line.startswith("HEAD")]
    assert len(heads) == len(vintages)


def test_one_that_does_not_answer_stops_none_of_the_others(daemon: Daemon) -> None:
    daemon.project.origin.codes["/places_2021.geojson"] = 404
    result = daemon.tick("observe_places")
    assert set(reported(result)) == {"2022"}
    assert "2021: https://data.example.ca/places_2021.geojson" in str(result.skip_reason)
    with daemon.project.opened() as deployment:
        (failed,) = deployment.ledger.failures.standing()
    assert (failed.partition, failed.step, failed.kind, failed.transient) == ("2021", "observe", "SourceError", False)
    del daemon.project.origin.codes["/places_2021.geojson"]
    assert set(reported(ask_again(daemon))) == {"2021"}, "2022 was told and waits for its run"
    with daemon.project.opened() as deployment:
        assert deployment.ledger.failures.standing() == ()


def test_a_source_that_is_down_is_asked_again_later(discovered: Daemon) -> None:
    discovered.project.origin.codes["/current.geojson"] = 503
    for sensor in ("discover_places", "observe_places"):
        result = discovered.tick(sensor)
        assert "Source unreachable: " in str(result.skip_reason)
        assert "503" in str(result.skip_reason)
        assert not result.dynamic_partitions_requests
    del discovered.project.origin.codes["/current.geojson"]
    assert discovered.tick("discover_places").dynamic_partitions_requests
    assert set(reported(discovered.tick("observe_places"))) == {"2024-05-06"}


def test_discovery_adds_what_is_new_and_never_removes(discovered: Daemon) -> None:
    def partitions() -> list[str]:
        return [*discovered.project.instance.get_dynamic_partitions("places_vintages")]

    assert reported(discovered.tick("observe_places")) == {}, "nothing is known yet"
    discovered.tick("discover_places")
    assert partitions() == ["2024-05-06"]
    assert discovered.tick("discover_places").dynamic_partitions_requests == []
    assert discovered.asked_for() == set()
    assert set(reported(ask_again(discovered))) == {"2024-05-06"}
    assert discovered.asked_for() == {"2024-05-06"}

    discovered.project.origin.put(CURRENT, corrected(), LATER)
    assert reported(ask_again(discovered)) == {}, "the old vintage is not asked about: the source has left it behind"
    discovered.tick("discover_places")
    assert partitions() == ["2024-05-06", "2024-06-01"]
    assert set(reported(ask_again(discovered))) == {"2024-06-01"}
    assert discovered.asked_for() == {"2024-06-01"}


@pytest.mark.parametrize(
    ("listed", "kind"), [([], "EmptyListingError"), (["2020"], "ShrunkenListingError")], ids=["empty", "shrunken"]
)
def test_an_empty_or_shrunken_listing_is_refused_and_remembered(
    discovered: Daemon, monkeypatch: pytest.MonkeyPatch, listed: list[str], kind: str
) -> None:
    with discovered.project.opened() as deployment:
        deployment.ledger.listings.record("places", ["2020", "2021"])
    old = datetime.now(UTC) - timedelta(days=2)
    monkeypatch.setattr("d4c_pipeline.ledger.noticing.now", lambda: old)
    with discovered.project.opened() as deployment:
        deployment.ledger.listings.record("places", ["2020", "2021"])
    monkeypatch.undo()
    listing: Callable[..., object] = lambda *_, **__: type("Listing", (), {"discover": lambda _: listed})()  # noqa: E731
    monkeypatch.setenv("D4C_HOME", str(discovered.project.home))
    monkeypatch.setattr(noticing, "open_source", listing)
    with pytest.raises(SourceError, match=r"lists (nothing, and listed 2 before|1 where it listed 2 before)"):
        discovered.tick("discover_places")
    assert discovered.project.instance.get_dynamic_partitions("places_vintages") == []
    with discovered.project.opened() as deployment:
        known = deployment.ledger.listings.of("places")
        (failed,) = deployment.ledger.failures.standing()
    assert known is not None
    assert known.entries == ("2020", "2021")
    assert (failed.partition, failed.step, failed.kind) == ("", "discover", kind)


def test_a_change_while_the_chain_runs_is_kept_until_it_is_through(daemon: Daemon) -> None:
    assert daemon.asked_for() == set()
    daemon.tick("observe_places")
    assert daemon.asked_for() == {"2021", "2022"}
    # The run of 2021 fetched, and was still at work when the source changed again and was seen to.
    assert daemon.project.materialize("places", "2021", "raw").success
    instance = daemon.project.instance
    run = create_run_for_test(
        instance, "publish_places", tags={"dagster/partition": "2021"}, status=dg.DagsterRunStatus.STARTED
    )
    daemon.project.origin.put(PLACES_URL, corrected(), LATER)
    assert reported(ask_again(daemon)) == {}
    assert daemon.asked_for() == set()
    assert daemon.project.materialize("places", "2021", *STEPS[1:]).success
    instance.report_run_canceled(run)
    assert set(reported(daemon.tick("observe_places"))) == {"2021"}
    assert daemon.asked_for() == {"2021"}


def test_a_run_of_something_else_or_of_a_dead_process_holds_nothing_up(daemon: Daemon) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "from d4c_pipeline.ledger.leases import this_process; print(this_process())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    started = dg.DagsterRunStatus.STARTED
    instance = daemon.project.instance
    create_run_for_test(instance, "publish_other", tags={"dagster/partition": "2021"}, status=started)
    tags = {"dagster/partition": "2021", PROCESS: dead}
    create_run_for_test(instance, "__ephemeral_asset_job__", tags=tags, status=started)
    create_run_for_test(instance, "__ASSET_JOB", tags={"dagster/partition": "2022"}, status=started)
    assert set(reported(daemon.tick("observe_places"))) == {"2021"}


@pytest.mark.parametrize(("code", "again"), [(503, True), (404, False)])
def test_a_run_that_failed_gets_another_chance_only_if_that_can_help(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, code: int, again: bool
) -> None:
    monkeypatch.setattr(failures, "RETRIES", dg.RetryPolicy(max_retries=0))
    monkeypatch.setattr(raw, "open_source", partial(open_source, patience=Patience(attempts=1)))
    assert daemon.asked_for() == set()
    version = reported(daemon.tick("observe_places"))["2021"]
    assert daemon.asked_for() == {"2021", "2022"}
    daemon.project.origin.codes["/places_2021.geojson"] = code
    assert not daemon.project.materialize("places", "2021", "raw").success
    del daemon.project.origin.codes["/places_2021.geojson"]
    assert reported(ask_again(daemon)) == {}, "it was told just now"
    monkeypatch.setattr(noticing, "_FIRST_WAIT", timedelta(0))
    told = reported(ask_again(daemon))
    assert told.get("2021") == (f"{version}.2" if again else None)
    assert daemon.asked_for() == set(told)


def test_a_source_that_fails_for_a_fortnight_starts_five_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """It states its changes and breaks off every fetch: reported at once, then after 2, 4, 8 and 16 hours."""
    monkeypatch.setattr(failures, "RETRIES", dg.RetryPolicy(max_retries=0))
    monkeypatch.setattr(raw, "open_source", partial(open_source, patience=Patience(attempts=1)))
    clock = [datetime.now(UTC)]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return clock[0].astimezone(tz)

    monkeypatch.setattr(noticing, "datetime", Clock)
    define(project.definitions, vintages=["2021"])
    project.origin.put(PLACES_URL, geojson())
    project.origin.truncated.add("/places_2021.geojson")
    daemon, began, runs = Daemon(project), clock[0], 0
    for hours in (0, 1, 3, 6, 12, *range(24, 15 * 24, 24)):
        clock[0] = began + timedelta(hours=hours)
        daemon.tick("observe_places")
        for vintage in daemon.asked_for():
            runs += 1
            assert not project.materialize("places", vintage, "raw").success
    record_property("runs", runs)
    sys.stdout.write(f"A source that failed for a fortnight started {runs} runs\n")
    assert runs == noticing.REPORTS == 5
    with project.opened() as deployment:
        (failed,) = deployment.ledger.failures.standing("places")
    assert (failed.partition, failed.step, failed.times) == ("2021", "raw", 5)


def test_what_an_operator_sees_is_told_in_words(daemon: Daemon) -> None:
    result = daemon.tick("observe_places")
    (first, _) = result.asset_events
    assert first.asset_key == dg.AssetKey(["places", "source"])
    told = {key: value.value for key, value in first.metadata.items()}
    assert told["reason"] == "Not published yet"
    assert told["published from"] == "none"
    assert result.skip_reason is not None
    assert str(result.skip_reason.skip_message).startswith("Reported 2 changes: 2021, 2022. Observed 2 of 2 vintages")


def test_observing_by_hand_does_the_same(daemon: Daemon) -> None:
    assert daemon.asked_for() == set()
    source = dg.AssetKey(["places", "source"])
    run = (
        daemon.definitions.resolve_implicit_global_asset_job_def()
        .get_subset(asset_selection={source})
        .execute_in_process(instance=daemon.project.instance)
    )
    assert run.success
    assert daemon.asked_for() == {"2021", "2022"}
    assert reported(daemon.tick("observe_places")) == {}
