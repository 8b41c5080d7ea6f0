"""A backfill on two Celery workers with separate homes, one of them killed in the middle.

PostgreSQL, Redis and an S3 server (the one at D4C_S3_URL, else moto's) run beside a daemon and two workers, each a
process with a home of its own. Every partition has to be published once, whichever worker began it; what stays undone
is printed, and the status is then 1. `--quick` takes few partitions. The last line is a JSON object: `workers_share`
counts publications, `other_runs` the rebuilds of the catalogue.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import boto3
import dagster as dg
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.addresses import WORK
from d4c_pipeline.orchestration.resources import DATASET as DATASET_TAG
from d4c_pipeline_tests.fakes.s3 import FakeS3
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.programs import require_programs
from d4c_pipeline_tests.support.samples import HOST, Origin, define, geojson

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
DATASET = "places"
ACCOUNT = "postgres"
PROGRAMS = ("initdb", "postgres", "redis-server")
_SUCCEEDED = re.compile(r"Task execute_job\[([^]]+)\] succeeded")
_RECEIVED = re.compile(r"Task execute_job\[([^]]+)\] received")
_BACKFILL = (
    "mutation($backfillParams: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $backfillParams) "
    "{ __typename ... on PythonError { message } } }"
)
_TASK = "dagster-celery/task_id"
# A run is retried within a minute, and one that does not start or move is failed after five (dagster.yaml), twice more.
_STALLED_SECONDS = 1200
_IDLE_SECONDS = 180
_UNFINISHED = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")


@contextmanager
def process(words: Sequence[str | Path], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own, which is killed at the end."""
    with log.open("wb") as output:
        started = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, **options)
        try:
            yield started
        finally:
            kill(started)


def kill(started: subprocess.Popen[bytes]) -> None:
    """Kill a process with its children, as a power cut does."""
    try:
        os.killpg(started.pid, signal.SIGKILL)
    except ProcessLookupError:  # the group ended by itself
        return
    finally:
        started.wait()


def wait_for(
    what: str,
    is_done: Callable[[], bool],
    seconds: float,
    log: Path | None = None,
    needed: subprocess.Popen[bytes] | None = None,
) -> None:
    """Wait until `is_done`. Raises TimeoutError with the end of the log, at once if the process `needed` has ended."""
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline or (needed is not None and needed.poll() is not None):
            tail = log.read_text(errors="replace")[-3000:] if log else ""
            raise TimeoutError(f"{what} after {seconds:.0f} s\n{tail}")
        time.sleep(0.3)


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A server with the databases `d4c` and `dagster`; yields its address without a database."""
    port = free_port()
    words, options, data = new_cluster(port)
    try:
        with process([*words, "-c", "fsync=off"], folder / "postgresql.log", **options):
            address = f"127.0.0.1:{port}"
            wait_for("PostgreSQL", lambda: made_databases(address), 60, folder / "postgresql.log")
            yield address
    finally:
        shutil.rmtree(data, ignore_errors=True)


def new_cluster(port: int) -> tuple[list[str | Path], dict[str, Any], Path]:
    """Make an empty cluster; return the command of its server, the options of the process, and the folder."""
    initdb, server = require_programs("initdb", "postgres")
    owner: dict[str, str] = {"user": ACCOUNT} if os.geteuid() == 0 else {}
    data = Path(mkdtemp(prefix="d4c-postgresql-"))
    if owner:
        shutil.chown(data, ACCOUNT)
    options: dict[str, Any] = {"cwd": data, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}, **owner}
    words = [initdb, "-D", data / "data", "-U", ACCOUNT, "--auth", "trust", "--no-sync"]
    subprocess.run(words, check=True, capture_output=True, **options)
    return [server, "-D", data / "data", "-p", str(port), "-k", data], options, data


def made_databases(address: str) -> bool:
    """Make the databases `d4c` and `dagster`; return whether the server answers yet."""
    engine = create_engine(f"postgresql+psycopg2://{ACCOUNT}@{address}/postgres", isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for name in ("d4c", "dagster"):
                connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError as error:
        if "starting up" in str(error) or "refused" in str(error):
            return False
        raise
    finally:
        engine.dispose()
    return True


@contextmanager
def bucket(folder: Path) -> Iterator[tuple[dict[str, str], Any, str]]:
    """Yield the environment that reaches a new bucket, a client, and the bucket's name."""
    with ExitStack() as opened:
        if "D4C_S3_URL" in os.environ:
            url, key, secret = (os.environ[f"D4C_S3_{name}"] for name in ("URL", "KEY", "SECRET"))
        else:
            server = FakeS3(verifying=True).start()
            opened.callback(server.stop)
            url, key, secret = server.url, "testkey", "testsecret"
        client = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret
        )
        name = f"scale-{uuid.uuid4().hex[:12]}"
        client.create_bucket(Bucket=name)
        allowed = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
        client.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
        place = {
            "kind": "s3",
            "url": f"{url}/{name}/d4c",
            "bucket": name,
            "prefix": "d4c",
            "endpoint": url,
            "addressing": "path",
            "access_key_env": "SCALE_KEY",
            "secret_key_env": "SCALE_SECRET",
        }
        (folder / "stores.yaml").write_text(json.dumps({"primary": place}))
        logs = {"D4C_LOGS_BUCKET": name, "D4C_LOGS_ENDPOINT": url}
        keys = {"SCALE_KEY": key, "SCALE_SECRET": secret, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        yield (
            {"D4C_STORES": str(folder / "stores.yaml"), "AWS_DEFAULT_REGION": "us-east-1", **logs, **keys},
            client,
            name,
        )


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis server that keeps nothing on disk; yields its URL."""
    port = free_port()
    words = [
        *require_programs("redis-server"),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    with process(words, folder / "redis.log"):
        wait_for("Redis", lambda: b"Ready to accept" in (folder / "redis.log").read_bytes(), 20, folder / "redis.log")
        yield f"redis://127.0.0.1:{port}/0"


def instance_folder(folder: Path, concurrent: int) -> Path:
    """Write the instance of a cluster: the repository's dagster.yaml with its marked lines."""
    home = folder / "dagster"
    home.mkdir()
    settings = re.sub(r"^#(postgresql|s3|cluster)\| ", "", (ROOT / "dagster.yaml").read_text(), flags=re.MULTILINE)
    settings = settings.replace("max_concurrent_runs: 4", f"max_concurrent_runs: {concurrent}")
    settings = settings.replace("default_limit: 2", f"default_limit: {concurrent}")
    (home / "dagster.yaml").write_text(settings)
    shutil.copy(ROOT / "workspace.yaml", home)
    return home


def worker(folder: Path, number: int, slots: int, environment: dict[str, str]) -> Any:
    """Start a worker with a home of its own; the homes share the folder of the local archive, as by a mount."""
    home = folder / f"home{number}"
    home.mkdir()
    (home / "archive").symlink_to(folder / "archive")
    words = [
        BIN / "celery",
        "-A",
        "d4c_pipeline.orchestration.worker",
        "worker",
        "-Q",
        "dagster",
        "-n",
        f"w{number}@%h",
    ]
    words += ["--concurrency", str(slots), "--loglevel", "INFO"]
    return process(words, folder / f"worker{number}.log", env={**environment, "D4C_HOME": str(home)}, cwd=folder)


def launch_backfill(folder: Path, workspace: Path, vintages: Sequence[str], environment: dict[str, str]) -> None:
    """Launch the backfill as the UI does; the daemon makes its runs. (Dagster can't retry those of its command.)"""
    selector = {
        "partitionSetName": f"publish_{DATASET}_partition_set",
        "repositorySelector": {"repositoryName": "__repository__", "repositoryLocationName": "d4c_pipeline"},
    }
    asked = {"backfillParams": {"selector": selector, "partitionNames": list(vintages)}}
    words = [BIN / "dagster-graphql", "-w", workspace, "-t", _BACKFILL, "-v", json.dumps(asked)]
    answer = subprocess.run(words, check=True, env=environment, cwd=folder, capture_output=True, text=True).stdout
    if "LaunchBackfillSuccess" not in answer:
        raise RuntimeError(answer)


def succeeded(folder: Path, number: int) -> int:
    """Return the number of runs that a worker completed."""
    return len(_SUCCEEDED.findall((folder / f"worker{number}.log").read_text(errors="replace")))


def share(folder: Path, number: int, runs: Sequence[dg.DagsterRun]) -> int:
    """Return the number of publications that a worker completed; the runs of the catalogue count elsewhere."""
    done = set(_SUCCEEDED.findall((folder / f"worker{number}.log").read_text(errors="replace")))
    return sum(run.tags.get(_TASK) in done and DATASET_TAG in run.tags for run in runs)


def wait_for_end(instance: dg.DagsterInstance, ledger_url: str, vintages: Sequence[str], seconds: float) -> None:
    """Wait until every vintage is published and no run is unfinished, or until nothing moves any more.

    What stays unfinished or unpublished is printed, so that the figures show it and the benchmark ends.
    """
    begun = moved = time.monotonic()
    before: object = None
    while True:
        unfinished = _of(instance, *_UNFINISHED)
        missing = set(vintages) - _published(ledger_url)
        now = time.monotonic()
        if not unfinished and not missing:
            return
        state = ({(run.run_id, run.status) for run in unfinished}, missing)
        if state != before:
            before, moved = state, now
        if now - moved > (_STALLED_SECONDS if unfinished else _IDLE_SECONDS) or now - begun > seconds:
            for run in unfinished:
                print(f"unfinished: {run.job_name} {run.tags.get('dagster/partition')} {run.run_id} {run.status.value}")
            print(f"not published: {', '.join(sorted(missing)) or 'none'}", flush=True)
            return
        time.sleep(1)


def in_work(folder: Path, number: int) -> bool:
    """Return whether a worker executes a run."""
    log = (folder / f"worker{number}.log").read_text(errors="replace")
    return len(_RECEIVED.findall(log)) > len(re.findall(r"Task execute_job\[[^]]+\] (?:succeeded|raised)", log))


def wait_for_ending_run(instance: dg.DagsterInstance, ledger_url: str, folder: Path, seconds: float) -> None:
    """Wait until a run of worker 2 has done its last step and given up its heartbeat, and its end is not recorded."""
    ledger = Ledger(ledger_url)
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            received = set(_RECEIVED.findall((folder / "worker2.log").read_text(errors="replace")))
            runs = {run.run_id: run for run in _of(instance, "STARTED") if run.tags.get(_TASK) in received}
            for run_id in runs.keys() - ledger.active_runs.alive(runs).keys():
                if instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS):
                    return
    finally:
        ledger.close()
    raise TimeoutError(f"No run of worker 2 was at its end within {seconds:.0f} s")


def measure(folder: Path, partitions: int, slots: int, into: float = 3, *, ending: bool = False) -> dict[str, Any]:
    """Run the backfill, kill worker 2 in one of its runs in the middle, and return the figures.

    It is killed `into` seconds into the run, or (`ending`) between its last step and the record of its end.
    """
    vintages = [f"{2000 + month // 12}-{month % 12 + 1:02}" for month in range(partitions)]
    origin = Origin(folder / "origin")
    origin.host(HOST)
    for vintage in vintages:
        origin.put(f"{HOST}/{DATASET}_{vintage}.geojson", geojson())
    define(folder / "definitions", DATASET, vintages=vintages)
    (folder / "archive").mkdir()
    with ExitStack() as opened:
        opened.callback(origin.close)
        address = opened.enter_context(postgresql(folder))
        broker = opened.enter_context(redis(folder))
        at_store, client, name = opened.enter_context(bucket(folder))
        ledger_url = f"postgresql+psycopg2://{ACCOUNT}@{address}/d4c"
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("D4C_")},
            **at_store,
            "DAGSTER_HOME": str(instance_folder(folder, 2 * slots)),
            "DAGSTER_POSTGRES_URL": f"postgresql://{ACCOUNT}@{address}/dagster",
            "D4C_LEDGER_URL": ledger_url,
            "D4C_BROKER_URL": broker,
            "D4C_DEFS": str(folder / "definitions"),
            "D4C_ORIGIN_MAP": origin.map,
            "D4C_HOME": str(folder / "daemon"),
            "PYTHONWARNINGS": "ignore",
        }
        (folder / "daemon").mkdir()
        os.environ.update(environment)  # of the instance that this process reads
        Ledger(ledger_url).close()  # one process creates the tables
        instance = opened.enter_context(dg.DagsterInstance.get())
        begun = time.monotonic()
        both = [opened.enter_context(worker(folder, number, slots, environment)) for number in (1, 2)]
        for number in (1, 2):
            log = folder / f"worker{number}.log"
            wait_for(f"worker {number}", lambda log=log: b" ready." in log.read_bytes(), 120, log, both[number - 1])
        workspace = folder / "dagster" / "workspace.yaml"
        launch_backfill(folder, workspace, vintages, environment)
        daemon = folder / "daemon.log"
        words = [BIN / "dagster-daemon", "run", "-w", workspace]
        opened.enter_context(process(words, daemon, env=environment, cwd=folder))
        # In the middle, while the second worker is in a run.
        wait_for(
            "the middle",
            lambda: succeeded(folder, 1) + succeeded(folder, 2) >= partitions // 3 and in_work(folder, 2),
            partitions * 60 + 300,
            folder / "worker2.log",
        )
        if ending:
            wait_for_ending_run(instance, ledger_url, folder, 600)
        else:
            time.sleep(into)
            wait_for("a run of worker 2", lambda: in_work(folder, 2), 120, folder / "worker2.log")
        kill(both[1])
        killed = len(_of(instance, "STARTED"))
        print(f"worker 2 killed after {succeeded(folder, 2)} runs, {killed} runs started", flush=True)
        wait_for_end(instance, ledger_url, vintages, partitions * 60 + 600)
        seconds = time.monotonic() - begun
        runs = instance.get_runs()
        shares = {f"worker{number}": share(folder, number, runs) for number in (1, 2)}
        others = sum(run.is_success and DATASET_TAG not in run.tags for run in runs)
        print(f"{seconds:.0f} s, runs by state {dict(Counter(run.status.value for run in runs))}", flush=True)
        releases = Counter(str(release.vintage) for release in _releases(ledger_url))
        records = Counter(
            json.loads(path.read_text())["metadata"].get("version", "") if path.name == "record.json" else ""
            for path in (folder / "archive" / "records").glob("*/record.json")
        )
        left = client.list_objects_v2(Bucket=name, Prefix=f"d4c/{WORK}").get("Contents", [])
        return {
            "partitions": partitions,
            "completed": len(releases),
            "workers_share": shares,
            "killed": 1,
            "duplicates": sum(releases.values()) - len(releases),
            "records": sum(records.values()) or len(list((folder / "archive" / "records").iterdir())),
            "left_in_work": len(left),
            "other_runs": others,
            "seconds": round(seconds),
        }


def _of(instance: dg.DagsterInstance, *states: str) -> Sequence[dg.DagsterRun]:
    return instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus[state] for state in states]))


def _releases(ledger_url: str) -> Sequence[Any]:
    ledger = Ledger(ledger_url)
    try:
        return ledger.releases.published(DATASET)
    finally:
        ledger.close()


def _published(ledger_url: str) -> set[str]:
    return {str(release.vintage) for release in _releases(ledger_url)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few partitions")
    parser.add_argument("--partitions", type=int, default=200)
    parser.add_argument("--slots", type=int, default=1, help="runs at once on each worker")
    parser.add_argument("--into", type=float, default=3, help="seconds into a run at which its worker is killed")
    parser.add_argument("--ending", action="store_true", help="kill it between the last step of a run and its end")
    options = parser.parse_args()
    require_programs(*PROGRAMS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the end of a time limit ends every process
    folder = Path(mkdtemp(prefix="d4c-scale-out-"))
    try:
        partitions = 6 if options.quick else options.partitions
        figures = measure(folder, partitions, options.slots, options.into, ending=options.ending)
        print(json.dumps(figures))
        if figures["completed"] < figures["partitions"] or figures["duplicates"]:
            sys.exit(1)
    finally:
        if "D4C_KEEP" not in os.environ:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
