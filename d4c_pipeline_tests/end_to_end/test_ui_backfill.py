"""`d4c ui` as an operator uses it: a backfill over two vintages, launched the way the UI launches it, and the page."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import psutil
import pytest

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import HOST, PLACES, Origin, define, geojson

STEPS = ("raw", "processed", "checksums", "doi", "copies", "torrent", "stac_item", "deposit", "latest")
FORKING = "multiprocessing.forkserver"
CHROMIUM = Path("/usr/bin/chromium")
# --no-proxy-server: a proxy of the environment has no way to the loopback.
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--no-proxy-server"),
]

_LAUNCH = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_BACKFILL = (
    """query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"""
)
_PARTITIONS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  partitionStats { numPartitions numMaterialized numFailed } } } }"""
_CATALOGUE = """query { assetNodeOrError(assetKey: {path: ["catalogue"]}) { ... on AssetNode {
  assetMaterializations(limit: 1) { metadataEntries { label ... on IntMetadataEntry { intValue } } } } } }"""
_LOCATION = """query { workspaceLocationEntryOrError(name: "d4c_pipeline") { ... on WorkspaceLocationEntry {
  locationOrLoadError { __typename ... on PythonError { message } } } } }"""
_RUN = """mutation ($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_STEPS = (
    """query ($id: ID!) { pipelineRunOrError(runId: $id) { ... on Run { status stepStats { stepKey status } } } }"""
)
_SENSORS = """query { sensorsOrError(repositorySelector: {repositoryName: "__repository__",
  repositoryLocationName: "d4c_pipeline"}) { ... on Sensors { results { name sensorState { status } } } } }"""


@dataclass(frozen=True)
class UI:
    """A running `d4c ui`."""

    process: subprocess.Popen[bytes]
    url: str
    home: Path
    files_port: int
    log: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """What the page asks its server."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text("utf-8", "replace")[-4000:]
        try:
            with urllib.request.urlopen(f"{self.url}/server_info", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def opened(self) -> Any:
        return Deployment.open(Settings(home=self.home, port=self.files_port))


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} took longer than {seconds} s"
        time.sleep(0.5)


def group_of(leader: int) -> list[int]:
    """The processes of the session that `leader` began, it included (Linux)."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] not in "ZX" and int(fields[3]) == leader:
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UI]:
    folder = tmp_path_factory.mktemp("ui")
    origin = Origin(folder / "origin")
    origin.put(f"{HOST}/places_2021.geojson", geojson(PLACES))
    origin.put(f"{HOST}/places_2022.geojson", geojson(PLACES[:3]))
    define(folder / "definitions", vintages=["2021", "2022"])
    # A publisher that takes connections and never says a word.
    silent = socket.create_server(("127.0.0.1", 0))
    define(folder / "definitions", "slow", source={"kind": "http", "urls": ["https://slow.example.ca/{vintage}.csv"]})
    origins = f"{origin.map},https://slow.example.ca=http://127.0.0.1:{silent.getsockname()[1]}"
    port, files_port = free_port(), free_port()
    log = folder / "ui.log"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("D4C_", "DAGSTER_"))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "d4c_pipeline.commands.main", "ui"),
                *("--home", "home", "--defs", "definitions", "--port", str(port)),
            ],
            cwd=folder,
            env={**kept, "D4C_PORT": str(files_port), "D4C_ORIGIN_MAP": origins},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = UI(process, f"http://127.0.0.1:{port}", folder / "home", files_port, log)
    try:
        wait_until(running.is_up, 150, "starting the UI")
        located = running.ask(_LOCATION)["workspaceLocationEntryOrError"]["locationOrLoadError"]
        assert located["__typename"] == "RepositoryLocation", located
        yield running
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        finally:
            if process.poll() is None:
                process.kill()
            silent.close()
            origin.close()


@pytest.mark.timeout(300)
def test_a_backfill_publishes_both_vintages_and_the_catalogue_follows(ui: UI) -> None:
    keys = [{"path": ["places", step]} for step in STEPS]
    launched = ui.ask(_LAUNCH, params={"assetSelection": keys, "partitionNames": ["2021", "2022"], "title": "both"})
    backfill = launched["launchPartitionBackfill"]["backfillId"]

    def status() -> str:
        return ui.ask(_BACKFILL, id=backfill)["partitionBackfillOrError"]["status"]

    wait_until(lambda: status() not in ("REQUESTED", "CANCELING"), 150, "the backfill")
    assert status() == "COMPLETED_SUCCESS", ui.log.read_text("utf-8", "replace")[-4000:]
    for step in STEPS:
        node = ui.ask(_PARTITIONS, key={"path": ["places", step]})["assetNodeOrError"]
        assert node["partitionStats"] == {"numPartitions": 2, "numMaterialized": 2, "numFailed": 0}, step

    with ui.opened() as deployment:
        published = deployment.ledger.releases.published("places")
        deposits = [deployment.ledger.deposits.of(release) for release in published]
    assert [(str(r.vintage), str(r.version), r.summary.rows) for r in published] == [
        ("2021", "0.1.0-beta", 4),
        ("2022", "0.1.0-beta", 3),
    ]
    # Two vintages are two products: a concept each.
    assert len({deposit.concept_doi for deposit in deposits if deposit}) == 2
    processed = sorted(path.name for path in (ui.home / "store" / "processed").iterdir())
    assert [name.rsplit("_", 1)[1] for name in processed] == ["2021.parquet", "2022.parquet"]

    # Nobody asked for the catalogue: its automation condition did.
    def catalogued() -> int:
        found = ui.ask(_CATALOGUE)["assetNodeOrError"]["assetMaterializations"]
        return max((entry.get("intValue") or 0 for one in found for entry in one["metadataEntries"]), default=0)

    wait_until(lambda: catalogued() == 2, 120, "the catalogue")
    query = f"SELECT id FROM '{ui.home}/store/catalogue/stac.parquet' ORDER BY id"
    assert [row[0] for row in duckdb.sql(query).fetchall()] == [release.name for release in published]


def test_the_location_has_the_name_of_the_checkouts_workspace(ui: UI) -> None:
    sensors = ui.ask(_SENSORS)["sensorsOrError"]["results"]
    running = {sensor["name"] for sensor in sensors if sensor["sensorState"]["status"] == "RUNNING"}
    assert running == {
        *("alerts_are_sent", "failed_runs_are_told"),
        *("catalogue_follows", "changes_are_published", "dead_runs_are_ended", "runs_that_died"),
        *("submissions_are_assessed", "accepted_are_drafted", "submitters_are_told"),
    }
    assert {"discover_statcan_tables", "observe_statcan_tables", "observe_places"} <= {one["name"] for one in sensors}
    assert "BetaWarning" not in ui.log.read_text("utf-8", "replace")


def test_what_another_page_sends_is_refused(ui: UI) -> None:
    mutation = urllib.parse.urlencode({"query": "mutation { stopRunningSchedule: __typename }"})
    for target, headers in (
        (f"{ui.url}/graphql?{mutation}", {}),
        (f"{ui.url}/server_info", {"Host": "evil.example"}),
        (f"{ui.url}/server_info", {"Origin": "https://evil.example"}),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(target, headers=headers), timeout=30)
        assert refused.value.code == 403


@pytest.mark.browser
def test_the_page_of_a_dataset_names_the_ten_assets(ui: UI, tmp_path: Path) -> None:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            tmp_path / "browser",
            executable_path=str(CHROMIUM),
            args=FLAGS,
            viewport={"width": 2600, "height": 700},
        )
        try:
            page = context.new_page()
            page.goto(f"{ui.url}/locations/__repository__@d4c_pipeline/asset-groups/places/lineage")
            for name in (*STEPS, "catalogue"):
                page.get_by_text(name, exact=True).first.wait_for(state="visible", timeout=30_000)
        finally:
            context.close()


def test_it_ends_when_told_with_everything_it_started_runs_included(ui: UI) -> None:
    """Last in this file: the UI is gone after it."""
    children = Path(f"/proc/{ui.process.pid}/task/{ui.process.pid}/children")
    if not children.exists():
        pytest.skip("no /proc to look for its processes in")
    (dagster,) = [int(pid) for pid in children.read_text("utf-8").split()]
    job = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "d4c_pipeline",
        "pipelineName": "publish_slow",
    }
    tags = [{"key": "dagster/partition", "value": "2021"}]
    params = {"selector": job, "runConfigData": "{}", "executionMetadata": {"tags": tags}}
    run = ui.ask(_RUN, params=params)["launchPipelineExecution"]["run"]["runId"]

    def fetching() -> bool:
        steps = ui.ask(_STEPS, id=run)["pipelineRunOrError"]["stepStats"]
        return ("slow__raw", "IN_PROGRESS") in {(step["stepKey"], step["status"]) for step in steps}

    wait_until(fetching, 60, "starting the run")
    assert len(group_of(dagster)) >= 5, "dagster dev, its code server, webserver, daemon, and the run"
    # The run is a fork of a process that has imported its code, and so are the servers of its builds.
    forks = [psutil.Process(pid) for pid in group_of(dagster) if FORKING in psutil.Process(pid).cmdline()[-1]]
    (forking,) = [each for each in forks if each.parent() not in forks]
    assert [each.ppid() for each in forks if each != forking] == [forking.pid]
    (builders,) = [each for each in forking.children() if each not in forks]
    assert builders.cmdline()[-1] == "--fork"
    ui.process.send_signal(signal.SIGTERM)
    assert ui.process.wait(timeout=60) == 0
    assert group_of(dagster) == []
    wait_until(lambda: not builders.is_running(), 10, "the end of the process that forks servers of builds")
    with dg.DagsterInstance.from_config(str(ui.home / "dagster")) as instance:
        ended = instance.get_run_by_id(run)
    assert ended is not None
    assert ended.is_finished, "a run that was interrupted must not stand as running"
