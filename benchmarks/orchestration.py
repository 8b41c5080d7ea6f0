"""What orchestration costs: loading, ticks, runs and backfills, beside plain Dagster with empty assets.

    .venv/bin/python benchmarks/orchestration.py [--quick]

Plain Dagster has the same number of datasets, assets, partitions and jobs in the same run, and does nothing in its
steps. Seconds include everything that a process does from its start. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

STEPS = ("raw", "processed", "checksums", "doi", "copies", "torrent", "stac_item", "deposit", "latest")
ROOT = Path(__file__).parent.parent
MEMBERS = 8000
_HOST = "https://data.example.ca"
_STATCAN = "https://www150.statcan.gc.ca"
_PLACES = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "properties": {"id": n}, "geometry": {"type": "Point", "coordinates": [-75.0 + n, 45.0]}}
        for n in range(3)
    ],
}


def define(folder: Path, number: int, partitions: list[str]) -> None:
    """Write the definition of a tiny dataset."""
    name = f"tiny_{number:04d}"
    (folder / name).mkdir(parents=True)
    attributes = {
        "id": name,
        "name": {
            "region": "ca",
            "source": "example",
            "dguid": "2021A000011124",
            "package": "d4c-datapkg-foundation",
            "theme": name,
        },
        "title": {"en": "Places", "fr": "Lieux"},
        "description": {"en": "A few places.", "fr": "Quelques lieux."},
        "license": "ogl-canada-2.0",
        "creators": [{"name": "Example"}],
        "series": "editions",
        "vintages": partitions,
        "source": {"kind": "http", "urls": [f"{_HOST}/{{vintage}}.geojson"]},
        "processing": {"kind": "vector", "key": ["id"]},
    }
    document = {"type": "d4c_pipeline.PublishedDataset", "attributes": attributes}
    (folder / name / "defs.yaml").write_text(yaml.safe_dump(document), "utf-8")


def define_family(folder: Path) -> None:
    """Write the shipped family of tables under another name."""
    document = yaml.safe_load((ROOT / "d4c_pipeline/defs/statcan_tables/defs.yaml").read_text("utf-8"))
    document["attributes"]["id"] = "many"
    document["attributes"]["dataset"]["name"]["package"] = "d4c-datapkg-many"
    (folder / "many").mkdir(parents=True)
    (folder / "many" / "defs.yaml").write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")


def plain(datasets: int, partitions: list[str]) -> Any:
    """Return definitions of plain Dagster: ten empty assets, the source first, and a job for each dataset."""
    import dagster as dg  # noqa: PLC0415 - each part loads what it measures

    keys = dg.StaticPartitionsDefinition(partitions)

    def asset(name: str, step: str, upstream: str | None) -> dg.AssetsDefinition:
        @dg.asset(
            key=[name, step],
            deps=[dg.AssetKey([name, upstream])] if upstream else [],
            partitions_def=keys,
            group_name=name,
            description="Does nothing.",
        )
        def empty() -> None:
            pass

        return empty

    names = [f"plain_{number:04d}" for number in range(datasets)]
    assets = [
        asset(name, step, before) for name in names for before, step in pairwise((None, "source", *STEPS)) if step
    ]
    jobs = [dg.define_asset_job(f"publish_{name}", selection=dg.AssetSelection.groups(name)) for name in names]
    return dg.Definitions(assets=assets, jobs=jobs, executor=dg.in_process_executor)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def load(side: str, datasets: str) -> dict[str, float]:
    """Load a code location as a code server does, up to the serialized snapshot."""
    if side == "plain":
        made: Any = plain(int(datasets), ["2021", "2022"])
    else:
        from d4c_pipeline.definitions import defs  # noqa: PLC0415 - reads D4C_DEFS

        made = defs()
    from dagster._core.remote_representation.external_data import RepositorySnap  # noqa: PLC0415
    from dagster_shared.serdes import serialize_value  # noqa: PLC0415

    serialize_value(RepositorySnap.from_def(made.get_repository_def(), defer_snapshots=True))
    return {"mb": _peak_mb()}


def family(folder: str) -> dict[str, float]:
    """Load a family alone and tick its sensors over 8,000 members: seconds of the load and of the slowest tick."""
    began = time.perf_counter()
    import dagster as dg  # noqa: PLC0415

    from d4c_pipeline.orchestration.build import definitions_of  # noqa: PLC0415
    from d4c_pipeline.orchestration.products import product_of_declared  # noqa: PLC0415
    from d4c_pipeline.orchestration.resources import DeploymentResource  # noqa: PLC0415
    from d4c_pipeline.orchestration.sensors.noticing import sensors_of  # noqa: PLC0415
    from d4c_pipeline.orchestration.sensors.publishing import changes_are_published  # noqa: PLC0415
    from d4c_pipeline.workspace.datasets import load_definitions  # noqa: PLC0415

    imported = time.perf_counter()
    product = product_of_declared(load_definitions([Path(folder)], ["many"])["many"])
    definitions = definitions_of(["many"], [Path(folder)], spanning=False)
    assert definitions is not None
    job = definitions.resolve_job_def("publish_many")
    loaded = time.perf_counter() - imported
    ticks: dict[str, float] = {}
    with dg.DagsterInstance.local_temp(os.environ["DAGSTER_HOME"]) as instance:
        sensors = [*sensors_of(product), changes_are_published([product], [job])]
        for turn in ("first", "again"):
            for sensor in sensors:
                start = time.perf_counter()
                context = dg.build_sensor_context(
                    instance=instance, definitions=definitions, resources={"deployment": DeploymentResource()}
                )
                with context:
                    result: Any = sensor(context)
                for request in result.dynamic_partitions_requests or ():
                    instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
                for event in result.asset_events:
                    instance.report_runless_asset_event(event)
                ticks[f"{sensor.name} {turn}"] = time.perf_counter() - start
        members = len(instance.get_dynamic_partitions("many_members"))
    assert members == MEMBERS, members
    return {"imports": imported - began, "load": loaded, "tick": max(ticks.values()), **ticks}


def in_process(side: str, folder: str) -> dict[str, float]:
    """Publish a tiny vintage in this process: the second one, since the first imports."""
    import logging  # noqa: PLC0415

    import dagster as dg  # noqa: PLC0415

    from d4c_pipeline.model.settings import Settings  # noqa: PLC0415
    from d4c_pipeline.orchestration.instance import embedded_instance  # noqa: PLC0415

    settings = Settings.from_environment()
    seconds: list[float] = []
    if side == "plain":
        logging.getLogger("dagster").setLevel("CRITICAL")
        chain = [each for each in plain(1, ["2021", "2022"]).assets if each.key.path[-1] != "source"]
        for key in ("2021", "2022"):
            start = time.perf_counter()
            with embedded_instance(settings) as instance:
                config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
                assert dg.materialize(chain, instance=instance, partition_key=key, run_config=config).success
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds[-1]}
    from d4c_pipeline.orchestration.publishing import publish_vintage  # noqa: PLC0415
    from d4c_pipeline.workspace.datasets import load_datasets  # noqa: PLC0415

    declared = load_datasets([Path(folder)])
    outcomes = []
    for key in ("2021", "2022", "2022"):
        start = time.perf_counter()
        outcomes.append(publish_vintage(settings, declared["tiny_0000"], key, list(declared.values()))["outcome"])
        seconds.append(time.perf_counter() - start)
    assert outcomes == ["published", "published", "unchanged"], outcomes
    return {"seconds": seconds[1], "unchanged": seconds[2]}


@contextmanager
def served() -> Iterator[str]:
    """Serve the tiny file under any path, and a web data service with 8,000 tables; yields the address."""
    tables = [
        {"productId": 10_000_000 + n, "cubeTitleEn": f"Table {n}", "cubeTitleFr": f"Tableau {n}", "archived": "2",
         "releaseTime": "2026-01-14T13:30:00Z", "corrections": []}
        for n in range(MEMBERS)
    ]  # fmt: skip
    places, listing = json.dumps(_PLACES).encode(), json.dumps(tables).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = places
            if "getAllCubesListLite" in self.path:
                body = listing
            elif "getChangedCubeList" in self.path:
                body = b'{"status": "SUCCESS", "object": []}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", "Mon, 06 May 2024 10:00:00 GMT")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the name that the base class calls

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def environment(folder: Path, address: str) -> dict[str, str]:
    """Return the environment of a home in `folder`; bytecode is cached, as where programs are installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("D4C_", "DAGSTER_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    home = folder / "home"
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    return {
        **kept,
        "D4C_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "D4C_DEFS": str(folder / "definitions"),
        "D4C_ORIGIN_MAP": f"{_HOST}={address},{_STATCAN}={address}",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }


def part(name: str, *arguments: str, env: dict[str, str]) -> dict[str, float]:
    """Run a part in a new process; returns its figures and the seconds and CPU seconds from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--part", name, *arguments], env=env, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{name} {arguments}: {done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(done.stdout.splitlines()[-1]), "process": seconds, "cpu": cpu}


@contextmanager
def daemon(folder: Path, env: dict[str, str]) -> Iterator[Any]:
    """Run Dagster's daemon beside a code server of ours and one of plain Dagster's; yields the instance.

    The code servers are processes of their own, as in `docker-compose.yml` and under `dagster dev`: a daemon that
    starts them itself starts new ones every minute.
    """
    import dagster as dg  # noqa: PLC0415

    from d4c_pipeline.model.settings import Settings  # noqa: PLC0415
    from d4c_pipeline.orchestration.instance import dagster_home  # noqa: PLC0415

    dagster_home(Settings(home=folder / "home"))
    workspace = folder / "workspace.yaml"
    (folder / "plain_location.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from benchmarks.orchestration import PARTITIONS, plain\ndefs = plain(1, PARTITIONS)\n",
        "utf-8",
    )
    targets = {"d4c_pipeline": ("-m", "d4c_pipeline.definitions"), "plain": ("-f", str(folder / "plain_location.py"))}
    sockets = {name: folder / f"{name}.sock" for name in targets}
    entries = "".join(
        f"  - grpc_server: {{socket: {socket}, location_name: {name}}}\n" for name, socket in sockets.items()
    )
    workspace.write_text(f"load_from:\n{entries}", "utf-8")
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> None:
        command = [sys.executable, "-m", *arguments]
        processes.append(subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT))

    try:
        with (folder / "daemon.log").open("wb") as log:
            for name, target in targets.items():
                start("dagster", "api", "grpc", "--socket", str(sockets[name]), *target)
            for socket in sockets.values():
                wait_for_server(socket)
            start("dagster._daemon", "run", "-w", str(workspace))
        with dg.DagsterInstance.from_config(env["DAGSTER_HOME"]) as instance:
            yield instance
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=60)


def wait_for_server(socket: Path) -> None:
    """Wait until a code server has loaded its definitions."""
    from dagster._core.errors import DagsterUserCodeUnreachableError  # noqa: PLC0415
    from dagster._grpc.client import DagsterGrpcClient  # noqa: PLC0415

    client, deadline = DagsterGrpcClient(socket=str(socket)), time.monotonic() + 120
    while True:
        try:
            client.ping("")
        except DagsterUserCodeUnreachableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


PARTITIONS = [str(year) for year in range(1901, 2002)]


def backfill(instance: Any, side: str, partitions: list[str], limit: float) -> tuple[float, list[float]]:
    """Start a backfill of a chain and wait for it: seconds from its first start to its last end, and those per run."""
    import dagster as dg  # noqa: PLC0415
    from dagster._core.execution.backfill import PartitionBackfill  # noqa: PLC0415

    started = time.time()
    name = {"ours": "tiny_0000", "plain": "plain_0000"}[side]
    definitions = plain(1, PARTITIONS) if side == "plain" else _ours()
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id=f"{side}{started:.0f}",
            asset_graph=definitions.resolve_asset_graph(),
            partition_names=partitions,
            asset_selection=[dg.AssetKey([name, step]) for step in STEPS],
            backfill_timestamp=started,
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
    )
    chosen = dg.RunsFilter(tags={"dagster/backfill": f"{side}{started:.0f}"})
    while True:
        time.sleep(0.5)
        records = instance.get_run_records(chosen)
        if len(records) == len(partitions) and all(each.dagster_run.is_finished for each in records):
            break
        assert time.time() - started < limit, f"{side}: {[each.dagster_run.status for each in records]}"
    failed = [each.dagster_run.run_id for each in records if not each.dagster_run.is_success]
    assert not failed, failed
    spans = [(_launched(instance, each.dagster_run.run_id), each.end_time) for each in records]
    return max(end for _, end in spans) - min(start for start, _ in spans), [end - start for start, end in spans]


def _launched(instance: Any, run: str) -> float:
    import dagster as dg  # noqa: PLC0415

    events = instance.get_records_for_run(run, of_type=dg.DagsterEventType.PIPELINE_STARTING).records
    return events[0].event_log_entry.timestamp


def _ours() -> Any:
    from d4c_pipeline.orchestration.build import definitions_of  # noqa: PLC0415

    definitions = definitions_of(["tiny_0000"], [Path(os.environ["D4C_DEFS"])], spanning=False)
    assert definitions is not None
    return definitions


def by_daemon(folder: str, partitions: str) -> dict[str, float]:
    """Release one vintage alone, then make a backfill, of both sides by one daemon."""
    count = int(partitions)
    with daemon(Path(folder), dict(os.environ)) as instance:
        backfill(instance, "plain", PARTITIONS[-1:], 300)  # the code servers have started
        alone = {side: backfill(instance, side, PARTITIONS[:1], 300)[1][0] for side in ("plain", "ours")}
        many = {side: backfill(instance, side, PARTITIONS[1 : count + 1], 3600)[0] for side in ("plain", "ours")}
    return {f"{side}_{what}": found[side] for what, found in (("run", alone), ("backfill", many)) for side in found}


_PARTS = {"load": load, "family": family, "in_process": in_process, "by_daemon": by_daemon}


def main() -> None:
    """Print the figures of each part, then those with a limit as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 datasets and no backfill: under a minute")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        name, *arguments = options.part
        print(json.dumps(_PARTS[name](*arguments)))
        return
    datasets, partitions = (20, 0) if options.quick else (200, 100)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="d4c-bench-") as temporary, served() as address:
        folder = Path(temporary)
        for number in range(datasets):
            define(folder / "load" / "definitions", number, ["2021", "2022"])
        define_family(folder / "family" / "definitions")
        for name in ("in_process", "daemon"):
            define(folder / name / "definitions", 0, PARTITIONS if name == "daemon" else ["2021", "2022"])
        for name, side in (("load", "plain"), ("load", "ours"), ("in_process", "plain"), ("in_process", "ours")):
            env = environment(folder / name, address)
            definitions = str(folder / name / "definitions")
            arguments = (side, str(datasets) if name == "load" else definitions)
            if name == "load" and side == "plain":
                part(name, side, "1", env=env)  # the bytecode of imports
            found[f"{name} {side}"] = part(name, *arguments, env=env)
            print(f"{name} {side}:", _words(found[f"{name} {side}"]), flush=True)
        env = environment(folder / "family", address)
        found["family"] = part("family", str(folder / "family" / "definitions"), env=env)
        print("family:", _words(found["family"]), flush=True)
        if partitions:
            env = environment(folder / "daemon", address)
            found["daemon"] = part("by_daemon", str(folder / "daemon"), str(partitions), env=env)
            print("daemon:", _words(found["daemon"]), flush=True)
    figures = {
        f"load_s_{datasets}": found["load ours"]["process"],
        f"load_mb_{datasets}": found["load ours"]["mb"],
        "family_load_s": found["family"]["load"],
        "family_tick_s": found["family"]["tick"],
        "overhead_in_process_s": found["in_process ours"]["seconds"] - found["in_process plain"]["seconds"],
    }
    if partitions:
        figures["overhead_multiprocess_s"] = found["daemon"]["ours_run"] - found["daemon"]["plain_run"]
        figures["vs_plain_backfill"] = found["daemon"]["ours_backfill"] / found["daemon"]["plain_backfill"]
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


def _words(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in figures.items())


if __name__ == "__main__":
    main()
