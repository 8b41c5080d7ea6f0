"""Alerts reach a real webhook and a real mail server once per cause and day; a dead address is listed, not raised."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from aiosmtpd.controller import Controller
from pydantic import SecretStr

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.alerting import AlertSettings
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.alerting import alerting_definitions, failed_checks, failed_run
from d4c_pipeline.orchestration.daily.attention import launch_of as launch
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.upkeep import attention
from d4c_pipeline.upkeep.alerts import alerts_of, send, weekly_report
from d4c_pipeline.upkeep.attention import Attention, Kind, alert_label, needs_attention
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.catalogued import fill
from d4c_pipeline_tests.support.ports import free_port

SECRET = "hook-secret-4711"
UI = "https://ui.example.org"
NOON = datetime(2026, 12, 2, 12, tzinfo=UTC)


class Hook:
    """A webhook on the loopback, which answers with `status`."""

    def __init__(self) -> None:
        self.status, self.received = 200, list[dict[str, Any]]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805 - `self` is the hook
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                if self.status == 200:
                    self.received.append(json.loads(body))
                handler.send_response(self.status)
                handler.send_header("Content-Length", "0")
                handler.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/{SECRET}"


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.in_folder(tmp_path)
    yield opened
    opened.close()


@contextmanager
def mail_server() -> Iterator[tuple[int, list[EmailMessage]]]:
    received: list[EmailMessage] = []

    class Handler:
        async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's
            received.append(message_from_bytes(envelope.content, policy=policy.default))
            return "250 OK"

    controller = Controller(Handler(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield controller.port, received
    finally:
        controller.stop()


def told(*addresses: str) -> AlertSettings:
    return AlertSettings(addresses=SecretStr(" ".join(addresses)), ui=UI)


def failure(partition: str, host: str = "a.example.org") -> Attention:
    return Attention(
        Kind.FAILED,
        f"places {partition}",
        f"raw: {host} does not answer for {partition}",
        f"d4c publish places --vintage {partition}",
        dataset="places",
        partition=partition,
        step="raw",
    )


def review(name: str) -> Attention:
    return Attention(Kind.REVIEW, name, "planned 2026-12-01", f"d4c review show {name}")


def test_forty_partitions_with_one_cause_are_one_message_with_command_and_link(ledger: Ledger, hook: Hook) -> None:
    found = [failure(str(year)) for year in range(1980, 2020)]
    sent = send(ledger, alerts_of(found, launch, UI), told(hook.address), at=NOON)
    assert (sent.delivered, sent.failed, len(hook.received)) == (1, (), 1)
    message = hook.received[0]
    assert message["title"] == "d4c: partition failed: places 1980 and 39 more"
    lines = message["message"].splitlines()
    assert lines[0] == "raw: a.example.org does not answer for 1980"
    assert "  d4c publish places --vintage 1980 or " + UI + "/assets/places/raw?view=partitions&partition=1980" in lines
    assert lines[-1] == "- and 30 more; 'd4c todo' lists all"


def test_a_cause_is_told_once_a_day_and_another_at_once(ledger: Ledger, hook: Hook) -> None:
    def tell(*found: Attention, at: datetime = NOON) -> int:
        return send(ledger, alerts_of(found, launch, UI), told(hook.address), at=at).delivered

    assert tell(failure("2020")) == 1
    assert tell(failure("2020"), failure("2021")) == 0, "the same cause in another partition"
    assert tell(failure("2020", "b.example.org")) == 1
    assert tell(failure("2020"), at=NOON + timedelta(hours=11)) == 0
    assert tell(failure("2020"), at=NOON + timedelta(hours=12)) == 1, "the next day"
    assert tell(review("places_2020_v1.0.0")) == 1
    assert tell(review("places_2020_v1.0.0"), review("places_2021_v1.0.0")) == 1, "another review waits"


def test_a_dead_address_raises_nothing_hides_no_other_and_is_tried_again(
    ledger: Ledger, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    dead = f"json://user:{SECRET}@127.0.0.1:{free_port()}/{SECRET}"
    alerts = alerts_of([failure("2020")], launch, UI)
    sent = send(ledger, alerts, told(dead, hook.address, "nonsense://x"), at=NOON)
    assert (sent.delivered, sent.failed) == (1, (alert_label(dead), alert_label("nonsense://x")))
    first, second = ledger.alerts.failing([alert_label(dead), alert_label("nonsense://x"), alert_label(hook.address)])
    assert "Connection error" in first.cause
    assert second.cause == "It is no address that Apprise knows"
    assert SECRET not in caplog.text + first.cause + first.address
    hook.status = 500
    assert send(ledger, alerts_of([review("a")], launch, UI), told(hook.address), at=NOON).failed != ()
    hook.status = 200
    assert send(ledger, alerts_of([review("a")], launch, UI), told(hook.address), at=NOON).delivered == 1
    assert ledger.alerts.failing([alert_label(hook.address)]) == ()


def test_mail_arrives(ledger: Ledger) -> None:
    with mail_server() as (port, received):
        place = f"mailto://127.0.0.1:{port}?from=d4c@example.org&to=ops@example.org&mode=insecure"
        assert send(ledger, alerts_of([review("places_2020_v1.0.0")], launch, UI), told(place), at=NOON).delivered == 1
    message = received[0]
    assert message["Subject"] == "d4c: review waits: places_2020_v1.0.0"
    body = message.get_body(("plain", "html"))
    assert body is not None
    assert "d4c review show places_2020_v1.0.0" in body.get_content()


def test_addresses_come_from_a_file_and_are_never_shown(tmp_path: Path, hook: Hook) -> None:
    file = tmp_path / "addresses"
    file.write_text(f"# operators\n{hook.address}\n")
    settings = AlertSettings.from_environment({"D4C_ALERTS_FILE": str(file)})
    assert settings.places() == (hook.address,)
    shown = AlertSettings.from_environment({"D4C_ALERTS": hook.address})
    assert SECRET not in repr(shown) + str(shown.model_dump())
    with pytest.raises(PermanentError, match="a word that is no address"):
        AlertSettings.from_environment({"D4C_ALERTS": "ops@example.org"}).places()
    with pytest.raises(PermanentError, match="can't be read"):
        AlertSettings.from_environment({"D4C_ALERTS_FILE": str(tmp_path / "none")}).places()


def test_an_address_that_fails_is_listed_and_settled_by_the_next_delivery(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("D4C_ALERTS", hook.address)
    with Deployment.open(Settings(home=tmp_path, copies=1)) as opened:
        hook.status = 503
        send(opened.ledger, alerts_of([review("a")], launch, UI), told(hook.address), at=NOON)
        waits = [each for each in needs_attention(opened, []) if each.kind is Kind.ALERT]
        assert [each.subject for each in waits] == [alert_label(hook.address)]
        assert alerts_of(waits, launch, UI) == [], "it is not told by the address that fails"
        hook.status = 200
        send(opened.ledger, alerts_of([review("a")], launch, UI), told(hook.address), at=NOON)
        assert [each for each in needs_attention(opened, []) if each.kind is Kind.ALERT] == []


def test_the_weekly_report_has_numbers_new_releases_and_what_waits_and_is_sent_once(tmp_path: Path, hook: Hook) -> None:
    with Deployment.open(Settings(home=tmp_path)) as opened:
        fill(opened.ledger, 3)
        newest = max(each.published_at for each in opened.ledger.releases.published())
        report = weekly_report(opened, [review("a"), failure("2020")], at=newest + timedelta(days=1))
        assert report.title.startswith("d4c: state of the collection, week ")
        lines = report.body.splitlines()
        assert lines[0] == "releases: 3"
        assert "waits for a person: 2" in lines
        assert "- 1 review waits" in lines
        again = weekly_report(opened, [], at=newest + timedelta(days=1))
        assert send(opened.ledger, [report], told(hook.address), at=NOON).delivered == 1
        assert send(opened.ledger, [again], told(hook.address), at=NOON).delivered == 0


# In Dagster


@dg.asset(check_specs=[dg.AssetCheckSpec("keys_identify_rows", asset="sample")])
def sample() -> dg.MaterializeResult:
    severity = dg.AssetCheckSeverity.ERROR
    result = dg.AssetCheckResult(
        passed=False, severity=severity, description="2 duplicate keys", check_name="keys_identify_rows"
    )
    return dg.MaterializeResult(check_results=[result])


@dg.op
def breaks() -> None:
    raise ValueError("no disk")


@dg.job
def job_that_breaks() -> None:
    breaks()


def test_the_sensors_tell_failed_checks_and_failed_runs_and_skip_without_an_address(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy = type("Usage", (), {"total": 10**12, "used": 0, "free": 10**12})
    monkeypatch.setattr(attention.shutil, "disk_usage", lambda _: roomy)
    resources = {"deployment": DeploymentResource(home=str(tmp_path))}
    defs = dg.Definitions.merge(
        alerting_definitions([]), dg.Definitions(assets=[sample], jobs=[job_that_breaks], resources=resources)
    )
    repository = defs.get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([sample], instance=instance, raise_on_error=False)
        found = list(failed_checks(instance, repository))
        assert [(each.kind, each.subject, each.detail) for each in found] == [
            (Kind.CHECK, "sample", "keys_identify_rows: 2 duplicate keys")
        ]
        sensor = defs.get_sensor_def("alerts_are_sent")

        def tick() -> str | None:
            with dg.build_sensor_context(instance, repository_def=repository, resources=resources) as context:
                result = sensor(context)
            assert isinstance(result, dg.SkipReason)
            return result.skip_message

        assert tick() == "D4C_ALERTS names no address"
        monkeypatch.setenv("D4C_ALERTS", hook.address)
        assert tick() == "Sent 1 alerts"
        assert tick() == "Sent 0 alerts"
        assert hook.received[0]["title"] == "d4c: check failed: sample"
        failed = defs.get_job_def("job_that_breaks").execute_in_process(instance=instance, raise_on_error=False)
        waits = list(failed_run(failed.dagster_run, "Steps failed: ['breaks']"))
        assert [(each.kind, each.subject) for each in waits] == [(Kind.RUN, "job_that_breaks")]
        report = defs.get_job_def("report_collection").execute_in_process(instance=instance)
        assert report.success
    assert hook.received[-1]["title"].startswith("d4c: state of the collection")


def test_a_source_that_is_not_checked_in_its_rhythm_waits(tmp_path: Path) -> None:
    from d4c_pipeline.workspace.datasets import load_datasets
    from d4c_pipeline_tests.support.samples import define

    folder = tmp_path / "definitions"
    define(folder, noticing={"enabled": True, "discover_hours": 24})
    dataset = load_datasets([folder])["places"]
    with Deployment.open(Settings(home=tmp_path / "home")) as opened:
        opened.ledger.listings.record("places", ["2021"])

        def overdue(hours: float) -> list[str]:
            moment = datetime.now(UTC) + timedelta(hours=hours)
            return [each.command for each in needs_attention(opened, [dataset], at=moment) if each.kind is Kind.OVERDUE]

        assert overdue(48) == []
        assert overdue(50) == ["d4c notice places"]
