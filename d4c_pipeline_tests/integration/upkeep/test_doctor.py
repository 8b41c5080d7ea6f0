"""`d4c doctor`: a healthy deployment passes, and each check finds the fault that it is for and says the remedy."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from d4c_pipeline.commands import common
from d4c_pipeline.commands.main import app
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.ledger.database import HEAD
from d4c_pipeline.model.errors import TransientError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.stores import FolderPlace, Stores
from d4c_pipeline.orchestration.diagnosis import instance_findings
from d4c_pipeline.orchestration.instance import embedded_instance
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.torrents.operator_key import make_key
from d4c_pipeline.upkeep import attention
from d4c_pipeline.upkeep.doctor import machine, services
from d4c_pipeline.upkeep.doctor.findings import Check, Finding, Health, diagnose, good
from d4c_pipeline_tests.fakes.invenio import TOKEN, FakeInvenio
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import declared as declared_as
from d4c_pipeline_tests.support.samples import define

OK, WARNING, FAILED = Health.OK, Health.WARNING, Health.FAILED


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a home that exists and has a ledger."""
    home = tmp_path / "home"
    Ledger.in_folder(home).close()
    return Settings(home=home, port=free_port())


def only(findings: Iterable[Finding]) -> Finding:
    found = list(findings)
    assert len(found) == 1, found
    return found[0]


def worst(findings: Iterable[Finding]) -> Finding:
    order = list(Health)
    return max(findings, key=lambda each: order.index(each.health))


@contextmanager
def http(handler: type[BaseHTTPRequestHandler] | Any) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


# The command


def doctor(home: Path, *arguments: str, **variables: str) -> tuple[int, Any]:
    done = CliRunner().invoke(app, ["doctor", "--json", "--home", str(home), *arguments], env=variables)
    return done.exit_code, json.loads(done.stdout)


def test_a_healthy_deployment_passes_and_an_empty_home_stays_absent(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy = type("Usage", (), {"total": 10**12, "used": 0, "free": 10**12})
    monkeypatch.setattr(attention.shutil, "disk_usage", lambda _: roomy)
    code, answer = doctor(settings.home, D4C_PORT=str(settings.port), D4C_SEED_LISTEN=f"127.0.0.1:{free_port()}")
    assert (code, answer["healthy"]) == (0, True), answer
    verdicts: dict[str, list[str]] = defaultdict(list)
    for finding in answer["findings"]:
        verdicts[finding["subject"]].append(finding["health"])
    assert set(verdicts) == {
        *("settings", "packages", "duckdb", "secrets", "home", "disk", "clock", "ports", "ledger", "store primary"),
        *("archive local", "definitions", "dagster"),
    }
    assert set(verdicts["ledger"] + verdicts["store primary"] + verdicts["archive local"] + verdicts["duckdb"]) == {OK}
    assert not [file for file in settings.home.rglob("*") if file.name.startswith((".doctor", ".trial"))]

    code, answer = doctor(tmp_path / "none", D4C_PORT=str(settings.port))
    assert code == 0, answer
    assert not (tmp_path / "none").exists()


def test_a_failure_ends_with_code_1_and_a_line_of_cause_and_remedy(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common.out, "width", 240)
    monkeypatch.setenv("D4C_PORT", "none")
    done = CliRunner().invoke(app, ["doctor", "--home", str(settings.home)])
    assert done.exit_code == 1
    assert (
        "failed   settings         Deployment: D4C_PORT is 'none'. Write a port number from 1 to 65535"
        in done.stdout.splitlines()
    )


# The run of checks


def test_checks_are_bounded_in_time_and_a_bug_in_one_hides_no_other() -> None:
    def hang() -> Iterable[Finding]:
        time.sleep(30)
        return [good("a", "late")]

    def refuse() -> Iterable[Finding]:
        raise TransientError("No answer", "Start it")

    def break_down() -> Iterable[Finding]:
        raise KeyError("x")

    begun = time.monotonic()
    checks = [Check("a", hang), Check("b", refuse), Check("c", break_down), Check("d", lambda: [good("d", "fine")])]
    found = diagnose(checks, 0.5)
    assert time.monotonic() - begun < 5
    assert [(each.subject, each.health) for each in found] == [("a", FAILED), ("b", FAILED), ("c", FAILED), ("d", OK)]
    assert found[0].detail == "The check did not end within 0.5 s"
    assert found[1].line == "No answer. Start it"
    assert "KeyError" in found[2].detail


# The machine


def test_a_misspelt_variable_is_named_with_the_one_that_is_meant() -> None:
    found = only(machine.settings_findings({"D4C_ARCHVE": "zenodo", "D4C_HOME": "/tmp", "HOME": "/root"}))
    assert (found.health, found.detail) == (WARNING, "D4C_ARCHVE is no setting and has no effect")
    assert found.remedy.startswith("Correct it to D4C_ARCHIVE;")


def test_a_variable_that_the_document_of_stores_names_is_known(tmp_path: Path) -> None:
    document = tmp_path / "stores.yaml"
    keys = {"access_key_env": "D4C_OUR_KEY", "secret_key_env": "D4C_OUR_SECRET"}
    mirror = {"name": "far", "kind": "s3", "bucket": "bucket", "url": "https://far.example.org", **keys}
    document.write_text(yaml.safe_dump({"mirrors": [mirror]}))
    environment = {"D4C_STORES": str(document), "D4C_OUR_KEY": "k", "D4C_OUR_SECRET": "s"}
    assert only(machine.settings_findings(environment)).health is OK
    assert only(machine.settings_findings({**environment, "D4C_THEIR_KEY": "k"})).health is WARNING


def test_every_wrong_setting_is_reported_not_the_first_alone() -> None:
    found = list(machine.settings_findings({"D4C_PORT": "0", "D4C_SEED_METRICS_PORT": "x", "D4C_UI_USER_HEADER": "u"}))
    assert {each.detail.partition(":")[0] for each in found} >= {"Deployment", "Seeder", "Access to the UI"}
    assert {each.health for each in found} == {FAILED}


def test_a_key_that_others_may_read_is_named(settings: Settings) -> None:
    key = settings.home / "keys" / "operator.pem"
    make_key(key)
    assert only(machine.secret_file_findings(settings)).health is OK
    key.chmod(0o640)
    assert only(machine.secret_file_findings(settings)).remedy == f"Run chmod 600 {key}"


def test_a_home_that_cannot_be_written_fails(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    at_file = settings.model_copy(update={"home": file})
    assert diagnose([Check("home", partial(machine.home_findings, at_file))], 10)[0].health is FAILED
    below = settings.model_copy(update={"home": file / "home"})
    assert only(machine.home_findings(below)).health is FAILED
    assert only(machine.home_findings(settings)).health is OK
    monkeypatch.setattr(machine, "_disk_kind", lambda _: "nfs4")
    assert only(machine.home_findings(settings)).remedy.startswith("Move the home to a local disk, or use PostgreSQL")


def test_a_full_disk_and_a_mirror_that_is_not_mounted_fail(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert only(machine.disk_findings(settings)).health in Health
    usage = type("Usage", (), {"total": 10**12, "used": 0, "free": 10**9})
    monkeypatch.setattr(attention.shutil, "disk_usage", lambda _: usage)
    assert only(machine.disk_findings(settings)).line.startswith(f"{settings.home}: 1.0 GB of 1,000 GB are free. Free")
    monkeypatch.undo()
    away = FolderPlace(name="away", kind="folder", path=tmp_path / "away", url="https://away.example.org")
    mirrored = settings.model_copy(update={"stores": Stores(mirrors=(away,))})
    assert worst(machine.disk_findings(mirrored)).detail == f"The folder of store away is missing: {tmp_path / 'away'}"


def test_a_clock_that_differs_from_a_server_fails(settings: Settings) -> None:
    class Late(Quiet):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(datetime.now(UTC) - timedelta(hours=2), usegmt=True)

    assert only(machine.clock_findings(settings)).health is OK
    with http(Late) as late:
        found = only(machine.clock_findings(settings.model_copy(update={"store_url": late})))
    assert found.health is FAILED
    # The second may change between the two clocks.
    assert found.detail in {f"This clock is 7,20{more} s ahead of {late}" for more in (0, 1)}
    with http(Quiet) as right:
        fine = settings.model_copy(update={"store_url": right})
        assert only(machine.clock_findings(fine)).health is OK
        behind = only(machine.clock_findings(fine, datetime.now(UTC) + timedelta(seconds=600)))
        assert behind.detail == "This clock is 600 s behind the ledger's server"
    silent = settings.model_copy(update={"store_url": f"http://127.0.0.1:{free_port()}"})
    assert only(machine.clock_findings(silent)).health is FAILED


def test_a_missing_extension_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_EXTENSIONS", ("spatial", "nowhere"))
    found = only(machine.extension_findings())
    assert (found.health, found.detail) == (FAILED, "DuckDB's extension nowhere is not installed")


def test_a_package_of_another_version_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("duckdb==1.0.0 \\\n    --hash=sha256:ab\nnot-installed==1.0\n")
    found = worst(machine.package_findings(lock))
    assert found.health is WARNING
    assert "1 packages differ from the lock" in found.detail
    assert "(locked 1.0.0)" in found.detail


def test_a_port_of_another_program_fails_and_our_own_server_is_recognised(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("D4C_SEED_LISTEN", f"127.0.0.1:{(seed := free_port())}")
    first = f"{settings.port}: free for 'd4c serve'"
    assert [each.detail for each in machine.port_findings(settings)] == [first, f"{seed}: free for 'd4c seed'"]
    with serving(mounts(settings), port=settings.port):
        assert next(machine.port_findings(settings)).detail == f"{settings.port}: 'd4c serve' answers"
    with socket.create_server(("127.0.0.1", settings.port)):
        found = next(machine.port_findings(settings))
    assert (found.health, found.remedy) == (FAILED, "Stop that program, or choose another port (D4C_PORT)")
    with socket.create_server(("", seed)):
        assert list(machine.port_findings(settings))[1].health is WARNING


# What the platform keeps


def test_a_ledger_is_reported_by_its_state_and_never_changed(settings: Settings) -> None:
    file = settings.home / "ledger.sqlite"
    assert only(services.ledger_findings(settings)).detail == f"SQLite, revision {HEAD}"

    def at(revision: str) -> Finding:
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.close()
        found = only(services.ledger_findings(settings))
        with sqlite3.connect(file) as connection:
            assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (revision,)
        connection.close()
        return found

    assert at("0001").health is WARNING
    assert at("9999").health is FAILED
    content = bytearray(file.read_bytes())
    content[4096:12288] = os.urandom(8192)
    file.write_bytes(content)
    assert diagnose([Check("ledger", partial(services.ledger_findings, settings))], 10)[0].health is FAILED
    file.unlink()
    assert only(services.ledger_findings(settings)).health is OK
    assert not file.exists()


def test_a_ledger_server_that_does_not_answer_fails(settings: Settings) -> None:
    url = f"postgresql+psycopg2://d4c:hunter2hunter2@127.0.0.1:{free_port()}/d4c"
    away = settings.model_copy(update={"ledger_url": url})
    found = diagnose([Check("ledger", partial(services.ledger_findings, away))], 20)[0]
    assert found.health is FAILED
    assert "hunter2" not in found.line


def test_a_store_passes_by_its_address_with_ranges(tmp_path: Path, settings: Settings) -> None:
    root = settings.home / "store"
    root.mkdir(parents=True)
    with serving({"/": root}) as url:
        found = only(services.store_findings(settings.model_copy(update={"store_url": url}), 0))
    assert (found.health, found.subject) == (OK, "store primary")
    with http(partial(Quiet, directory=str(root))) as url:
        found = only(services.store_findings(settings.model_copy(update={"store_url": url}), 0))
    assert found.health is FAILED
    assert found.detail.startswith("The address serves no ranges of a file")


def test_a_store_that_gives_back_other_bytes_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FolderStore, "read_bytes", lambda *_: b"rot")
    found = diagnose([Check("store", partial(services.store_findings, settings, 0))], 10)[0]
    assert found.detail.startswith("Store primary gives back other bytes than it was given")


def test_a_wrong_token_fails_and_a_right_one_leaves_no_draft(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeInvenio() as fake:
        remote = settings.model_copy(update={"archive": "invenio", "archive_url": fake.url})
        monkeypatch.setenv("D4C_ARCHIVE_TOKEN", TOKEN)
        assert only(services.archive_findings(remote)).detail.startswith("its token may create a draft and delete it")
        assert fake.state.drafts() == []
        expiring = remote.model_copy(update={"archive_token_expires": date(2027, 1, 1)})
        found = next(services.archive_findings(expiring, today=date(2026, 12, 20)))
        assert (found.health, found.detail) == (WARNING, "The token expires on 2027-01-01")
        monkeypatch.setenv("D4C_ARCHIVE_TOKEN", "wrong-token-of-somebody")
        found = diagnose([Check("archive", partial(services.archive_findings, remote))], 20)[0]
        assert found.health is FAILED
        assert "deposit:write" in found.remedy
        assert "wrong-token" not in found.line
    monkeypatch.delenv("D4C_ARCHIVE_TOKEN")
    found = diagnose([Check("archive", partial(services.archive_findings, remote))], 20)[0]
    assert found.remedy.startswith("Set D4C_ARCHIVE_TOKEN")


def test_definitions_that_share_a_name_or_lack_a_variable_fail(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "definitions"
    define(folder, source={"kind": "http", "urls": ["https://example.org/a.zip"], "authorization": "OUR_SOURCE"})
    declared = settings.model_copy(update={"definitions": (folder,)})
    found = list(services.definition_findings(declared, {}))
    assert found[0].detail == "The source of places needs the variable OUR_SOURCE, which is not set"
    assert [each.health for each in services.definition_findings(declared, {"OUR_SOURCE": "Bearer x"})] == [OK]
    define(folder, "again", name={**declared_as("places")["name"], "theme": "places"})
    assert FAILED in {each.health for each in services.definition_findings(declared, {"OUR_SOURCE": "Bearer x"})}
    (folder / "places" / "defs.yaml").write_text("type: d4c_pipeline.PublishedDataset\nattributes: {id: places}\n")
    assert diagnose([Check("definitions", partial(services.definition_findings, declared, {}))], 10)[0].health is FAILED


# Dagster


def test_dagster_is_reported_by_its_home_its_settings_and_its_daemon(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert only(instance_findings(settings)).health is OK
    assert not (settings.home / "dagster").exists()
    with embedded_instance(settings):
        pass
    found = list(instance_findings(settings))
    assert [(each.subject, each.health) for each in found] == [("dagster", OK), ("daemon", WARNING)]
    file = settings.home / "dagster" / "dagster.yaml"
    file.write_text("telemetry: {enabled: false}\n")
    (_, lacking, _) = instance_findings(settings)
    assert (lacking.health, lacking.detail) == (WARNING, f"{file} lacks freshness: Dagster's default for it is off")
    file.write_text("storage: {postgres: {}}\n")
    assert only(instance_findings(settings)).health is FAILED
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "nowhere"))
    assert only(instance_findings(settings)).detail == f"DAGSTER_HOME is {tmp_path / 'nowhere'}, no folder"
