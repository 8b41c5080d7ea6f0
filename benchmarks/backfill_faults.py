"""A backfill during which daemon, worker, webserver, database, or all of them are killed by kill -9 and restarted.

The processes are those of docker-compose.yml: PostgreSQL, Redis, a daemon with its code server, the guarded webserver,
a Celery worker. For each victim a backfill is launched through the webserver, the victim is killed while a run is in a
step, and restarted. Then ledger, archive, stores and catalogue have to agree, and every file has to have its checksum.
A row per victim is printed. `--quick` takes two victims. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import dagster as dg
import httpx
from scale_out import ACCOUNT, BIN, DATASET, PROGRAMS, kill, made_databases, new_cluster, redis, wait_for
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.errors import TransientError
from d4c_pipeline.model.fixity import FixityPolicy
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.upkeep.fixity import audit
from d4c_pipeline.upkeep.reconciliation import reconcile
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.programs import require_programs
from d4c_pipeline_tests.support.samples import HOST, Origin, define, geojson

ROOT = Path(__file__).parents[1]
VICTIMS = ("daemon", "worker", "webserver", "database", "everything")
QUICK = ("worker", "database")
_LAUNCH = (
    "mutation($backfillParams: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $backfillParams) "
    "{ __typename ... on PythonError { message } } }"
)
_UNFINISHED = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")


@dataclass
class Service:
    """A process in a group of its own, restarted when it ends, as by `restart: unless-stopped`."""

    name: str
    words: Sequence[str | Path]
    log: Path
    options: dict[str, Any]
    restarts: int = -1
    process: subprocess.Popen[bytes] | None = None

    def keep(self) -> None:
        """Start the process if it does not run."""
        if self.process is not None and self.process.poll() is None:
            return
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.words, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, **self.options
            )
        self.restarts += 1

    def kill(self) -> None:
        """Kill the process with its children."""
        if self.process is not None:
            kill(self.process)


@dataclass
class Platform:
    """The running platform."""

    folder: Path
    environment: dict[str, str]
    address: str
    port: int
    services: dict[str, Service] = field(default_factory=dict[str, Service])

    @property
    def settings(self) -> Settings:
        """The settings of the worker."""
        return Settings.from_environment(self.environment)

    def add(self, name: str, words: Sequence[str | Path], **options: Any) -> None:
        """Start a service."""
        options = {"env": self.environment, "cwd": self.folder, **options}
        self.services[name] = Service(name, words, self.folder / f"{name}.log", options)
        self.services[name].keep()

    def until(self, what: str, is_done: Any, seconds: float) -> None:
        """Wait until `is_done`, restarting what ends. A database that does not answer counts as not done."""

        def done() -> bool:
            for service in self.services.values():
                service.keep()
            try:
                return is_done()
            except (OperationalError, TransientError):
                return False

        wait_for(what, done, seconds, self.services["worker"].log if "worker" in self.services else None)

    def launch(self, vintages: Sequence[str]) -> None:
        """Launch a backfill as the page of the UI does."""
        selector = {
            "partitionSetName": f"publish_{DATASET}_partition_set",
            "repositorySelector": {"repositoryName": "__repository__", "repositoryLocationName": "d4c_pipeline"},
        }
        asked = {"backfillParams": {"selector": selector, "partitionNames": list(vintages)}}
        answer = self._post({"query": _LAUNCH, "variables": asked})
        if "LaunchBackfillSuccess" not in answer:
            raise RuntimeError(answer)

    def _post(self, document: dict[str, Any]) -> str:
        answer = httpx.post(f"http://127.0.0.1:{self.port}/graphql", json=document, timeout=120, trust_env=False)
        return answer.raise_for_status().text

    def serves(self) -> bool:
        """Return whether the webserver answers from the database; its connections of before a restart are stale."""
        try:
            return '"Runs"' in self._post({"query": "{ runsOrError(limit: 1) { __typename } }"})
        except httpx.HTTPError:
            return False


def instance_folder(folder: Path) -> Path:
    """Write the instance as the Dockerfile does: the repository's dagster.yaml with its marked lines."""
    home = folder / "dagster"
    home.mkdir()
    lines = [
        line.partition("| ")[2] if line.startswith(("#postgresql|", "#cluster|")) else line
        for line in (ROOT / "dagster.yaml").read_text().splitlines()
    ]
    (home / "dagster.yaml").write_text("\n".join(lines) + "\n")
    shutil.copy(ROOT / "workspace.yaml", home)
    return home


def start(opened: ExitStack, folder: Path, vintages: Sequence[str]) -> Platform:
    """Start every service and wait until each works."""
    origin = Origin(folder / "origin")
    opened.callback(origin.close)
    origin.host(HOST)
    for vintage in vintages:
        origin.put(f"{HOST}/{DATASET}_{vintage}.geojson", geojson())
    define(folder / "definitions", DATASET, vintages=vintages)
    for name in ("home", "store"):
        (folder / name).mkdir()
    (folder / "stores.yaml").write_text(json.dumps({"primary": {"kind": "folder", "path": str(folder / "store")}}))
    broker = opened.enter_context(redis(folder))
    database, port = free_port(), free_port()
    address = f"127.0.0.1:{database}"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("D4C_", "DAGSTER_"))},
        "DAGSTER_HOME": str(instance_folder(folder)),
        "DAGSTER_POSTGRES_URL": f"postgresql://{ACCOUNT}@{address}/dagster",
        "DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS": "1",
        "D4C_LEDGER_URL": f"postgresql+psycopg2://{ACCOUNT}@{address}/d4c",
        "D4C_BROKER_URL": broker,
        "D4C_DEFS": str(folder / "definitions"),
        "D4C_STORES": str(folder / "stores.yaml"),
        "D4C_ORIGIN_MAP": origin.map,
        "D4C_HOME": str(folder / "home"),
        "D4C_PORT": str(free_port()),
        "D4C_UI_OPERATOR": "ana",
        "PYTHONWARNINGS": "ignore",
    }
    platform = Platform(folder, environment, address, port)
    opened.callback(lambda: [service.kill() for service in platform.services.values()])
    words, options, data = new_cluster(database)
    opened.callback(shutil.rmtree, data, ignore_errors=True)
    platform.add("database", words, **options)
    platform.until("PostgreSQL", lambda: made_databases(address), 60)
    os.environ.update(environment)  # of the instance that this process reads
    Ledger(environment["D4C_LEDGER_URL"]).close()  # one process creates the tables
    dg.DagsterInstance.get().dispose()
    workspace = folder / "dagster" / "workspace.yaml"
    celery = [BIN / "celery", "-A", "d4c_pipeline.orchestration.worker", "worker", "-Q", "dagster"]
    platform.add("worker", [*celery, "--concurrency", "2", "--loglevel", "INFO"])
    serving = [sys.executable, "-m", "d4c_pipeline.orchestration.webserver", "-p", str(port), "-w", workspace]
    platform.add("webserver", serving)
    platform.add("daemon", [BIN / "dagster-daemon", "run", "-w", workspace])
    ready = platform.services["worker"].log
    platform.until("the worker", lambda: b" ready." in ready.read_bytes(), 180)
    platform.until("the webserver", platform.serves, 180)
    return platform


def runs(*states: str) -> Sequence[dg.DagsterRun]:
    """Return the runs in these states."""
    with dg.DagsterInstance.get() as instance:
        return instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus[state] for state in states]))


def published(platform: Platform) -> Counter[str]:
    """Return the number of releases of each vintage."""
    ledger = Ledger(platform.environment["D4C_LEDGER_URL"])
    try:
        return Counter(str(release.vintage) for release in ledger.releases.published(DATASET))
    finally:
        ledger.close()


def steps_in_progress(platform: Platform) -> list[str]:
    """Return the steps that runs are in, by the ledger."""
    engine = create_engine(platform.environment["D4C_LEDGER_URL"])
    try:
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT step FROM active_run WHERE step <> ''")).all()
    finally:
        engine.dispose()
    return sorted(str(row[0]) for row in rows)


def kill_during(platform: Platform, victim: str, vintages: Sequence[str]) -> dict[str, Any]:
    """Run a backfill, kill the victim in the middle, and return what is there at the end."""
    victims = tuple(platform.services) if victim == "everything" else (victim,)
    begun = time.monotonic()
    platform.until("the webserver", platform.serves, 180)
    platform.launch(vintages)
    platform.until("a run in a step", lambda: bool(steps_in_progress(platform)), 300)
    steps = steps_in_progress(platform)
    for name in victims:
        platform.services[name].kill()
    print(f"{victim} killed while runs were in {', '.join(steps)}", flush=True)
    time.sleep(5)  # the others notice
    platform.until(
        f"the end after the death of {victim}",
        lambda: not runs(*_UNFINISHED) and set(vintages) <= set(published(platform)) and not differences(platform),
        120 * len(vintages) + 900,
    )
    releases = published(platform)
    with Deployment.open(platform.settings) as deployment:
        found = audit(deployment, FixityPolicy.of(platform.settings), full=True)
        records = sum(1 for _ in deployment.archive.listed())
    return {
        "victim": victim,
        "in": ",".join(steps),
        "partitions": len(vintages),
        "completed": sum(releases[vintage] > 0 for vintage in vintages),
        "duplicates": sum(releases.values()) - len(releases),
        "records_too_many": records - sum(releases.values()),
        "differences": len(differences(platform)),
        "copies": found.checked,
        "lost": len(found.lost),
        "seconds": round(time.monotonic() - begun),
    }


def differences(platform: Platform) -> list[str]:
    """Return where archive, stores and catalogue differ from the ledger."""
    with Deployment.open(platform.settings) as deployment:
        return [f"{each.kind}: {each.subject} {each.detail}" for each in reconcile(deployment)]


def measure(folder: Path, victims: Sequence[str], partitions: int) -> dict[str, Any]:
    """Kill each victim in turn during a backfill of its own; return the figures."""
    vintages = [f"{2000 + number // 12}-{number % 12 + 1:02}" for number in range(partitions * len(victims))]
    rows: list[dict[str, Any]] = []
    with ExitStack() as opened:
        platform = start(opened, folder, vintages)
        for number, victim in enumerate(victims):
            rows.append(kill_during(platform, victim, vintages[number * partitions : (number + 1) * partitions]))
            print(" ".join(f"{name}={value}" for name, value in rows[-1].items()), flush=True)
        states = dict(Counter(run.status.value for run in runs(*(state.name for state in dg.DagsterRunStatus))))
        print(f"runs by state: {states}; restarts: {[(s.name, s.restarts) for s in platform.services.values()]}")
    return {
        "victims": len(rows),
        "partitions": sum(row["partitions"] for row in rows),
        "completed": sum(row["completed"] for row in rows),
        "duplicates": rows[-1]["duplicates"] + rows[-1]["records_too_many"],
        "differences": sum(row["differences"] for row in rows),
        "lost_copies": sum(row["lost"] for row in rows),
        "seconds": sum(row["seconds"] for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two victims, two partitions each")
    parser.add_argument("--partitions", type=int, default=4, help="partitions per victim")
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    options = parser.parse_args()
    require_programs(*PROGRAMS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the end of a time limit ends every process
    folder = Path(mkdtemp(prefix="d4c-backfill-faults-"))
    try:
        chosen = QUICK if options.quick else tuple(options.victims)
        print(json.dumps(measure(folder, chosen, 2 if options.quick else options.partitions)))
    finally:
        if "D4C_KEEP" not in os.environ:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
