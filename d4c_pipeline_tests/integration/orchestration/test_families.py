"""A family of 8,000 tables: noticed as a whole, published table by table; the service counts its requests."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from d4c_pipeline.commands.reports import status
from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.orchestration.instance import system_user
from d4c_pipeline.review import decisions
from d4c_pipeline_tests.integration.orchestration.conftest import Daemon, Project, reported
from d4c_pipeline_tests.unit.model.test_family import declared

REST = "/t1/wds/rest"
HOST = "https://www150.statcan.gc.ca"
RETAIL = "18100204"
MORNING = datetime(2026, 3, 4, 6, 0, tzinfo=UTC)


class Service:
    """The Web Data Service with many tables, one of them with real data. Every request is counted."""

    def __init__(self, fixtures: Path, tables: int) -> None:
        folder = fixtures / "08_statcan_wds"
        self.metadata: dict[str, Any] = json.loads((folder / f"{RETAIL}.json").read_text("utf-8"))
        self.zip = (folder / f"{RETAIL}-eng.zip").read_bytes()
        self.released = {str(10_000_000 + number): "2026-01-14T13:30:00Z" for number in range(tables - 1)}
        self.released[RETAIL] = "2026-02-20T13:30:00Z"
        self.listed: dict[str, str] = {}  # where the listing says another time than the table
        self.corrections: dict[str, list[dict[str, str]]] = {}
        self.requests: Counter[str] = Counter()
        self.unlisted: set[str] = set()

    def answer(self, path: str) -> bytes:
        """The body for a path; the service's own forms of numbers and times."""
        call = path.removeprefix(REST).strip("/").split("/")
        self.requests[call[0]] += 1
        match call:
            case ["getAllCubesListLite"]:
                found: Any = [
                    {
                        "productId": int(key),
                        "cansimId": None,
                        "cubeTitleEn": f"Table {key}",
                        "cubeTitleFr": f"Tableau {key}",
                        "releaseTime": self.listed.get(key, released),
                        "corrections": self.corrections.get(key, []),
                        "archived": "2",
                    }
                    for key, released in self.released.items()
                    if key not in self.unlisted
                ] + [{"productId": 99999999, "releaseTime": "2001-01-01T13:30:00Z", "archived": "1"}]
            case ["getChangedCubeList", day]:
                found = {
                    "status": "SUCCESS",
                    "object": [
                        {"responseStatusCode": 0, "productId": key, "releaseTime": _eastern(released)}
                        for key, released in self.released.items()
                        if released.startswith(day)
                    ],
                }
            case ["getCubeMetadata"]:
                inner = {**self.metadata, "releaseTime": _eastern(self.released[RETAIL])}
                found = [{"status": "SUCCESS", "object": inner}]
            case ["getFullTableDownloadCSV", table, "en"]:
                found = {"status": "SUCCESS", "object": f"{HOST}/n1/tbl/csv/{table}-eng.zip"}
            case _:
                assert path == f"/n1/tbl/csv/{RETAIL}-eng.zip", path
                return self.zip
        return json.dumps(found).encode()


def revised(content: bytes) -> bytes:
    """The zip of a table after one value was revised."""
    buffer = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info, data.replace(b'"121.6"', b'"121.7"', 1) if info.filename == f"{RETAIL}.csv" else data)
    return buffer.getvalue()


def _eastern(released: str) -> str:
    """A release time as the calls without a time zone write it (winter)."""
    return f"{datetime.fromisoformat(released) - timedelta(hours=5):%Y-%m-%dT%H:%M}"


@pytest.fixture
def service(project: Project, fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """8,000 tables, and a family of all of them."""
    made = Service(fixtures, 8000)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = made.answer(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "application/zip" if body[:2] == b"PK" else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - as the base class calls it
            """Keep quiet."""

    folder = project.definitions / "tables"
    folder.mkdir()
    document = {"type": "d4c_pipeline.PublishedFamily", "attributes": declared()}
    document["attributes"]["dataset"]["processing"]["key"] = ["ref_date", "coordinate"]
    document["attributes"]["dataset"]["extent"] = {"west": -141, "south": 41, "east": -52, "north": 84}
    document["attributes"]["dataset"]["name"]["package"] = "d4c-datapkg-tables"  # not that of the shipped family
    (folder / "defs.yaml").write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        monkeypatch.setenv("D4C_ORIGIN_MAP", f"{HOST}=http://127.0.0.1:{server.server_port}")
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The hour of the day, for whoever looks at it to decide what is due; the test moves it."""
    moment = [MORNING]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return moment[0].astimezone(tz)

    for module in ("watch.families", "watch.noticing", "orchestration.sensors.noticing"):
        monkeypatch.setattr(f"d4c_pipeline.{module}.datetime", Clock)
    monkeypatch.setattr("d4c_pipeline.ledger.noticing.now", lambda: moment[0])
    return moment


def one_day(daemon: Daemon, clock: list[datetime]) -> dict[str, str]:
    """Tick both sensors every hour, and return what was reported."""
    told: dict[str, str] = {}
    end = clock[0] + timedelta(days=1)
    while clock[0] < end:
        daemon.tick("discover_tables")
        told |= reported(daemon.tick("observe_tables"))
        clock[0] += timedelta(hours=1)
    return told


def test_8000_tables_cost_a_handful_of_requests_a_day(
    project: Project, service: Service, clock: list[datetime]
) -> None:
    daemon = Daemon(project, "tables")
    assert one_day(daemon, clock) == {}, "what was never published waits for a person"
    assert len(project.instance.get_dynamic_partitions("tables_members")) == 8000
    first = sum(service.requests.values())
    with project.opened() as deployment:  # three of them were published since
        for key in ("10000003", "10000004", RETAIL):
            seen = deployment.ledger.observations.get("tables", key)
            assert seen is not None
            deployment.ledger.observations.record_retained("tables", key, seen.seen or "", seen.seen)
            deployment.ledger.observations.record_settled("tables", key)
    service.requests.clear()
    assert daemon.asked_for() == set()
    service.released |= dict.fromkeys(("10000003", RETAIL, "10000777"), "2026-03-05T13:30:00Z")
    told = one_day(daemon, clock)
    assert told == {"10000003": "2026-03-05T1330", RETAIL: "2026-03-05T1330"}
    assert daemon.asked_for() == {"10000003", RETAIL}
    # One listing, a list of changes at each of four looks, and one more for the day that ended between two of them.
    assert (first, dict(service.requests)) == (6, {"getAllCubesListLite": 1, "getChangedCubeList": 5})


def test_days_without_a_look_are_caught_up_and_a_long_pause_is_listed(
    project: Project, service: Service, clock: list[datetime]
) -> None:
    daemon = Daemon(project, "tables")
    daemon.tick("discover_tables")
    daemon.tick("observe_tables")
    service.requests.clear()
    clock[0] += timedelta(days=3)
    daemon.tick("observe_tables")
    assert service.requests == {"getChangedCubeList": 4}
    service.requests.clear()
    clock[0] += timedelta(days=30)
    daemon.tick("observe_tables")
    assert service.requests == {"getAllCubesListLite": 1}
    service.requests.clear()
    daemon.cursors["observe_tables"] = "[broken"
    daemon.tick("observe_tables")
    assert service.requests == {"getAllCubesListLite": 1}


def test_a_listing_that_lost_many_tables_is_refused(project: Project, service: Service, clock: list[datetime]) -> None:
    daemon = Daemon(project, "tables")
    daemon.tick("discover_tables")
    service.unlisted = {str(10_000_000 + number) for number in range(402)}
    service.released["20000000"] = "2026-03-05T13:30:00Z"
    clock[0] += timedelta(days=1)
    with pytest.raises(SourceError, match="lists 7599 where it listed 8000 before"):
        daemon.tick("discover_tables")
    assert "20000000" not in project.instance.get_dynamic_partitions("tables_members")
    service.unlisted = {str(10_000_000 + number) for number in range(100)}
    daemon.tick("discover_tables")
    partitions = project.instance.get_dynamic_partitions("tables_members")
    assert len(partitions) == 8001, "the new one is added, and none that is gone is removed"


@pytest.mark.timeout(180)
def test_a_member_is_published_in_the_vintage_of_its_release_and_follows_the_next(
    project: Project, service: Service, clock: list[datetime], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = Daemon(project, "tables")
    daemon.tick("discover_tables")
    assert daemon.asked_for() == set()
    assert daemon.project.materialize("tables", RETAIL).success
    capsys.readouterr()
    status(defs=[project.definitions], as_json=True)
    (member,) = [row for row in json.loads(capsys.readouterr().out) if row["dataset"] == "tables_18100204"]
    assert (member["vintage"], member["state"], member["rows"]) == ("2026-02-20T1330", "published", 11804)
    with project.opened() as deployment:
        (release,) = deployment.ledger.releases.published("tables_18100204")
        declarations = {one.id: one for one in deployment.ledger.declarations.all()}
    assert release.name == ("ca_statcan_2021A000011124_d4c-datapkg-tables_table_18100204_2026-02-20T1330_v0.1.0-beta")
    assert release.summary.rows == 11804
    assert declarations["tables_18100204"].title.fr == "Tableau 18100204"
    daemon.tick("observe_tables")
    assert daemon.asked_for() == set()

    service.released[RETAIL], service.zip = "2026-03-04T13:30:00Z", revised(service.zip)
    clock[0] += timedelta(hours=8)
    assert reported(daemon.tick("observe_tables")) == {RETAIL: "2026-03-04T1330"}
    assert daemon.asked_for() == {RETAIL}
    assert daemon.project.materialize("tables", RETAIL).success
    with project.opened() as deployment:
        vintages = [str(one.vintage) for one in deployment.ledger.releases.published("tables_18100204")]
        assert deployment.ledger.observations.due("tables").get(RETAIL) is None
    assert vintages == ["2026-02-20T1330", "2026-03-04T1330"]
    assert date.fromisoformat(vintages[1][:10]) == date(2026, 3, 4)


@pytest.mark.timeout(180)
def test_a_member_is_settled_by_the_time_of_the_listing_and_a_correction_makes_it_due(
    project: Project, service: Service, clock: list[datetime]
) -> None:
    """The release time of product 10100007 in getAllCubesListLite is not that in its getCubeMetadata."""
    service.listed[RETAIL] = "2026-02-09T13:30:00Z"
    daemon = Daemon(project, "tables")

    def due_after_a_listing() -> list[str]:
        clock[0] += timedelta(days=1)
        daemon.tick("discover_tables")
        with project.opened() as deployment:
            return list(deployment.ledger.observations.due("tables", fetched_before=True))

    daemon.tick("discover_tables")
    assert daemon.project.materialize("tables", RETAIL).success
    assert due_after_a_listing() == []
    service.listed[RETAIL] = service.released[RETAIL]
    assert due_after_a_listing() == [], "the listing caught up with what was fetched from the table"
    service.corrections[RETAIL] = [{"correctionId": "1", "correctionDate": "2026-03-01"}]
    assert due_after_a_listing() == [RETAIL]
    daemon.tick("observe_tables")
    with project.opened() as deployment:
        assert list(deployment.ledger.observations.due("tables", fetched_before=True)) == [RETAIL]
    assert daemon.project.materialize("tables", RETAIL).success
    assert due_after_a_listing() == []
    with project.opened() as deployment:
        assert len(deployment.ledger.releases.published("tables_18100204")) == 1


@pytest.mark.timeout(180)
def test_a_member_that_waits_for_a_person_is_published_by_the_review_as_its_partition(
    project: Project, service: Service
) -> None:
    file = project.definitions / "tables" / "defs.yaml"
    document = yaml.safe_load(file.read_text("utf-8"))
    document["attributes"]["dataset"]["publication"] = {"policy": "review"}
    file.write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    daemon = Daemon(project, "tables")
    daemon.tick("discover_tables")
    assert daemon.project.materialize("tables", RETAIL).success
    with project.opened() as deployment:
        assert deployment.ledger.releases.published("tables_18100204") == ()
        (waiting,) = decisions.waiting(deployment)
        assert list(deployment.ledger.observations.due("tables", fetched_before=True)) == [RETAIL]

    run = daemon.definitions.resolve_job_def("review").execute_in_process(
        instance=project.instance,
        run_config={
            "ops": {
                "decide": {
                    "config": {"dataset": "tables", "decision": "approve", "who": "Ana", "reason": "as at the source"}
                }
            }
        },
    )
    assert run.success
    events = [event.step_materialization_data.materialization for event in run.get_asset_materialization_events()]
    assert [(event.asset_key.to_user_string(), event.partition) for event in events] == [
        ("tables/deposit", RETAIL),
        ("tables/latest", RETAIL),
    ]
    checks = {each.check_name: each for each in run.get_asset_check_evaluations()}
    assert checks.keys() == {"reviewed", "archive_web_seed"}
    assert (checks["reviewed"].passed, checks["reviewed"].partition) == (True, RETAIL)
    assert checks["reviewed"].metadata["approved_by"].value == f"{system_user()} on behalf of Ana"
    with project.opened() as deployment:
        assert [one.name for one in deployment.ledger.releases.published("tables_18100204")] == [waiting.name]
        assert not deployment.ledger.observations.due("tables", fetched_before=True)
