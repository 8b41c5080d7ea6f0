"""The UI in Chromium as an operator sees it: the graph, a failed check, what needs a person, a review, a backfill.

One webserver and one code server run over an instance in which these things happened. The daemon's part in the backfill
is one tick, made by the test: sensors would start runs of their own.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._grpc.client import DagsterGrpcClient

from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.build import definitions_of
from d4c_pipeline.orchestration.instance import dagster_home, embedded_instance
from d4c_pipeline.orchestration.products import of_dataset
from d4c_pipeline.orchestration.publishing import materialize_chain
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline_tests.integration.orchestration.conftest import STEPS
from d4c_pipeline_tests.support.chromium import CHROMIUM, FLAGS
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import DAY, HOST, PLACES, Origin, corrected, define, geojson

pytestmark = pytest.mark.browser
VINTAGES = ["2011", "2016", "2021"]
WAITING = "ca_example_2021A000011124_d4c-datapkg-foundation_reviewed_2021_v0.1.1-beta"
SIZE = {"width": 1700, "height": 1000}
_LAUNCH = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_AUTOMATIC = {"policy": "automatic", "stage": "beta", "initial_version": "0.1.0"}


@dataclass(frozen=True)
class Shown:
    """A running webserver, the backfill that is under way, a browser, and the folder of the pictures that are taken."""

    url: str
    backfill: str
    browser: Any
    pictures: Path

    def open(self, path: str) -> Any:
        page = self.browser.new_page(viewport=SIZE)
        page.set_default_timeout(30_000)
        page.goto(f"{self.url}{path}")
        return page

    def picture(self, page: Any, name: str) -> None:
        page.screenshot(path=self.pictures / f"{name}.png")


def _declare(folder: Path) -> None:
    define(folder, publication={**_AUTOMATIC, "owners": ["data@example.ca"], "frequency": "P1Y"})
    define(folder, "counted", vintages=["2016", "2021"])
    define(folder, "reviewed")
    define(folder, "many", vintages=VINTAGES)


def _happen(settings: Settings, origin: Origin) -> None:
    """Publish a dataset; fail a check of one of two vintages of another; let the second release of a third wait."""
    (folder,) = settings.definitions
    origin.put(f"{HOST}/places_2021.geojson", geojson())
    origin.put(f"{HOST}/counted_2016.geojson", geojson())
    origin.put(f"{HOST}/counted_2021.geojson", geojson([*PLACES[:3], (3, *PLACES[3][1:])]))
    origin.put(f"{HOST}/reviewed_2021.geojson", geojson())
    for vintage in VINTAGES:
        origin.put(f"{HOST}/many_{vintage}.geojson", geojson())

    def publish(dataset: str, vintage: str) -> None:
        declared = load_datasets([folder])
        again = f"d4c publish {dataset} --vintage {vintage}"
        materialize_chain(settings, of_dataset(declared[dataset]), vintage, list(declared.values()), again, site=False)

    publish("places", "2021")
    publish("counted", "2016")
    with pytest.raises(D4CError, match="keys_identify_rows"):
        publish("counted", "2021")
    publish("reviewed", "2021")
    define(folder, "reviewed", publication={**_AUTOMATIC, "policy": "review"})
    origin.put(f"{HOST}/reviewed_2021.geojson", corrected(), DAY + timedelta(days=1))
    publish("reviewed", "2021")


class _Server:
    """A process of Dagster's that ends with the tests."""

    def __init__(self, closing: ExitStack, log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=output, stderr=subprocess.STDOUT)
        closing.callback(self.process.wait, 60)
        closing.callback(self.process.terminate)

    def until(self, true: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120
        while not true():
            said = self.log.read_text("utf-8", "replace")[-3000:]
            assert self.process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)


def _answers(socket: Path) -> bool:
    try:
        DagsterGrpcClient(socket=str(socket)).ping("")
    except dg.DagsterUserCodeUnreachableError:
        return False
    return True


def _ask(url: str, query: str, **variables: Any) -> Any:
    """What the page asks its server; None until it listens."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)["data"]
    except urllib.error.URLError:
        return None


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    folder = tmp_path_factory.mktemp("shown")
    definitions, socket = folder / "definitions", folder / "code.sock"
    definitions.mkdir()
    _declare(definitions)
    url = f"http://127.0.0.1:{free_port()}"
    with ExitStack() as closing:
        origin = Origin(folder / "origin")
        closing.callback(origin.close)
        origin.host(HOST)
        environment = closing.enter_context(pytest.MonkeyPatch.context())
        for name in [name for name in os.environ if name.startswith(("D4C_", "DAGSTER_")) and name != "D4C_FIXTURES"]:
            environment.delenv(name)
        for name, value in {
            "D4C_HOME": folder / "home",
            "D4C_DEFS": definitions,
            "D4C_PORT": free_port(),
            "D4C_ORIGIN_MAP": origin.map,
            "D4C_UI_OPERATOR": "ana",
            "DAGSTER_HOME": folder / "home" / "dagster",
        }.items():
            environment.setenv(name, str(value))
        settings = Settings.from_environment()
        workspace = dagster_home(settings) / "workspace.yaml"
        workspace.write_text(
            f"load_from: [{{grpc_server: {{socket: {socket}, location_name: d4c_pipeline}}}}]\n", "utf-8"
        )
        module = ("--socket", str(socket), "-m", "d4c_pipeline.definitions")
        code = _Server(closing, folder / "code.log", "dagster", "api", "grpc", *module)
        _happen(settings, origin)
        code.until(lambda: _answers(socket))
        options = ("-w", str(workspace), "-p", url.rpartition(":")[2])
        web = _Server(closing, folder / "web.log", "d4c_pipeline.orchestration.webserver", *options)
        instance = closing.enter_context(embedded_instance(settings))
        spanning = definitions_of([], [definitions], spanning=True)
        assert spanning is not None
        assert spanning.resolve_job_def("list_what_waits").execute_in_process(instance=instance).success
        web.until(lambda: _ask(url, "{ version }"))

        keys = [{"path": ["many", step]} for step in STEPS]
        params = {"assetSelection": keys, "partitionNames": VINTAGES, "title": "All vintages again"}
        backfill = _ask(url, _LAUNCH, params=params)["launchPartitionBackfill"]["backfillId"]
        origin.held["/many_2016.geojson"] = Event()
        target = GrpcServerTarget(host="localhost", port=None, socket=str(socket), location_name="d4c_pipeline")
        with create_test_daemon_workspace_context(target, instance) as context:
            list(execute_backfill_iteration(context, logging.getLogger("backfill")))
            started = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill}))
            runs = {run.tags["dagster/partition"]: run.run_id for run in started}
            assert set(runs) == set(VINTAGES)

            def finished(vintage: str) -> bool:
                run = instance.get_run_by_id(runs[vintage])
                return run is not None and run.is_finished

            for vintage in ("2011", "2016"):
                instance.launch_run(runs[vintage], context.create_request_context())
            code.until(lambda: finished("2011"))
            list(execute_backfill_iteration(context, logging.getLogger("backfill")))
        closing.callback(code.until, lambda: finished("2016"))
        closing.callback(origin.held["/many_2016.geojson"].set)
        driver = closing.enter_context(playwright.sync_playwright())
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=[*FLAGS, "--no-proxy-server"])
        closing.callback(browser.close)
        yield Shown(url, backfill, browser, folder)


def metadata_of(page: Any) -> dict[str, str]:
    """The rows of the page's table of metadata: label and text; of nested tables those with two cells as well."""
    cells = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    return {row[0]: row[1] for row in page.locator("tr").evaluate_all(cells) if len(row) >= 2}


def test_the_graph_names_every_step_and_an_asset_says_what_it_does(shown: Shown) -> None:
    page = shown.open("/locations/__repository__@d4c_pipeline/asset-groups/places/lineage")
    for name in ("source", *STEPS, "catalogue"):
        page.get_by_text(name, exact=True).first.wait_for()
    shown.picture(page, "graph")
    page.goto(f"{shown.url}/assets/places/processed")
    sentence = "Converts, cleans and sorts the native data and writes it as (Geo)Parquet, with its profile."
    for text in (sentence, "data@example.ca", "DuckDB", "Parquet", "changes_are_published"):
        page.get_by_text(text, exact=True).first.wait_for()
    page.get_by_text("defs.yaml").first.wait_for()
    picture = page.locator("img[alt='map of the geometry']").first
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") == 320
    shown.picture(page, "asset")


def test_a_failed_check_shows_what_helps_and_each_vintage_has_its_verdict(shown: Shown) -> None:
    page = shown.open("/assets/counted/processed?view=checks&checkDetail=keys_identify_rows")
    page.get_by_text("d4c publish counted --vintage 2021", exact=True).wait_for()
    page.get_by_text("The declared key columns are never null and never the same twice.").wait_for()
    said = metadata_of(page)
    shown.picture(page, "check")
    assert said["expected"] == "no null and no duplicate in id"
    assert said["actual"] == "0 rows with a null key, 1 duplicate key"
    assert said["command"] == "d4c publish counted --vintage 2021"
    assert said["override"].startswith("d4c review override counted --vintage 2021 --check keys_identify_rows --reason")
    assert said["remedy"] == "Declare the columns that identify a row under processing.key, or none"
    assert said["outcome (0 passed, 1 warned, 2 failed)"] == "2"
    assert said["id"] == "rows"  # the table of examples: the value that two rows have
    assert said["3"] == "2"
    page.get_by_role("tab", name="Partitions").last.click()
    page.get_by_text("Failed (1)", exact=True).wait_for()
    page.get_by_text("Passed (1)", exact=True).wait_for()
    page.locator("text='2016' >> visible=true").last.click()
    page.get_by_text("Succeeded", exact=True).last.wait_for()
    page.get_by_text("0 rows with a null key, 0 duplicate keys", exact=True).wait_for()
    shown.picture(page, "check-partitions")


def test_what_needs_a_person_is_a_table_whose_links_open_the_launch(shown: Shown) -> None:
    page = shown.open("/assets/needs_attention?view=events")
    page.get_by_text("what waits", exact=True).wait_for()
    said = metadata_of(page)
    shown.picture(page, "attention")
    assert said["count"] == "5"
    assert said["review waits"] == WAITING
    assert said["partition failed"] == "counted 2021"
    page.get_by_text("[Show Markdown]").click()
    page.get_by_role("link", name="approve", exact=True).wait_for()
    shown.picture(page, "attention-links")
    page.get_by_role("link", name="approve", exact=True).click()
    page.get_by_text("No errors", exact=True).wait_for()
    page.get_by_text(WAITING, exact=True).wait_for()
    shown.picture(page, "launch")


def test_a_review_shows_what_changes_before_a_person_decides(shown: Shown) -> None:
    page = shown.open("/assets/reviewed/deposit?view=checks&checkDetail=reviewed")
    page.get_by_text("no review is pending", exact=True).wait_for()
    said = metadata_of(page)
    shown.picture(page, "review")
    assert said["actual"] == f"{WAITING} is complete and waits for a review: the dataset's policy is 'review'"
    for decision in ("approve", "reject"):
        assert said[decision].startswith("/locations/__repository__@d4c_pipeline/jobs/review/playground/setup?config=")
        assert page.locator(f"a[href*='decision%3A%20{decision}']").first.is_visible()
    page.get_by_text("[Show Markdown]").click()
    page.get_by_text(f"{WAITING}: PATCH", exact=True).wait_for()
    tables = (
        page.get_by_role("dialog")
        .locator("tr")
        .evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))")
    )
    assert ["population", "int32", "int32", "1"] in tables
    assert ["3", "population", "7429", "7430"] in tables
    maps = page.get_by_role("dialog").locator("img")
    maps.last.scroll_into_view_if_needed()
    shown.picture(page, "changes")
    assert maps.evaluate_all("images => images.map(image => image.naturalWidth)") == [360, 360]


def test_a_backfill_under_way_counts_its_vintages(shown: Shown) -> None:
    page = shown.open(f"/runs/b/{shown.backfill}")
    page.get_by_text("33% completed").first.wait_for()
    shown.picture(page, "backfill")
    assert page.get_by_text("33% completed").count() == len(STEPS)
    page.get_by_text("In progress", exact=True).first.wait_for()
    page.goto(f"{shown.url}/runs?show_runs_within_backfills=true")
    page.get_by_text("publish_counted", exact=True).first.wait_for()
    shown.picture(page, "runs")
    assert page.get_by_text("d4c/process").count() == 0
    assert page.get_by_text("d4c/dataset: reviewed").count() == 2
