"""What the services for machines take: subsets, searches, harvests, and 200 clients for a minute.

Run `.venv/bin/python benchmarks/services.py [--quick] [--pygeoapi PYTHON]`. A home with 20,000 catalogued releases is
made, one of which has a million polygons (9 vertices each); `d4c serve` runs as a process of its own. Clients ask by a
mixed profile, each its next request after the last answer; one reader takes 1 kB/s of a large result all the while. The
lines before the last show each kind of request under that load; the last line is one JSON object:

- `oai_records_per_s`: records of OAI-PMH (oai_dc) that one harvester gets in a second
- `search_p95_ms`: 95th percentile of searches over as many made-up datasets (`search.py`), one client
- `subset_first_byte_ms`: median time to the first byte of a subset by a small box, one client
- `subset_1m_s`: seconds until all polygons are there as GeoParquet
- `vs_pygeoapi`: time of a box of some 32,000 polygons as GeoJSON, as a part of pygeoapi's; null without `--pygeoapi`
- `peak_mb`: most memory (RSS) of the server, with its worker processes, over all of that
- `errors`: answers of the load that are no success, and connections that broke

A figure is null when its protocol is not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import duckdb
import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import search as searches
import shapely

from d4c_pipeline.chain.catalogue import rebuild
from d4c_pipeline.geoparquet import GeometryLayout, covering, geo_metadata
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.protocol import all_protocols
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.catalogued import fill
from d4c_pipeline_tests.support.ports import free_port

EXECUTION = "/processes/subset/execution"
_SEED = 18
_WORDS = ("provinces", "territoires", "boundaries", "census", "limites", "2016", "digital", "recensement")
# Kind of request -> its share of the load.
_PROFILE = {"search": 40, "subset": 25, "csv": 10, "oai": 10, "dap": 5, "process": 5, "refused": 5, "csw": 5,
            "records": 5, "stac": 5}  # fmt: skip
# Kind of request -> the protocol that it needs.
_NEEDS = {"search": "search", "oai": "oai-pmh", "csw": "csw", "records": "records", "stac": "stac-api"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 releases, 100,000 polygons, 20 clients, 5 seconds")
    parser.add_argument("--home", type=Path, help="a folder to make the home in, and to find it again")
    parser.add_argument("--pygeoapi", help="a Python with pygeoapi, to be measured beside")
    options = parser.parse_args()
    releases, polygons, clients, seconds = (1_000, 100_000, 20, 5) if options.quick else (20_000, 1_000_000, 200, 60)
    with tempfile.TemporaryDirectory(prefix="d4c-services-") as folder:
        home = options.home or Path(folder) / "home"
        dataset, data = made_home(home, releases, polygons)
        with serving(home, dataset) as (url, process), Watch(process.pid) as watch:
            figures = single(url, dataset)
            before = watch.now
            figures["errors"] = asyncio.run(load(url, dataset, clients, seconds))
            print(f"memory {before >> 20} MB before the load, {watch.now >> 20} MB after it")
            figures["vs_pygeoapi"] = beside_pygeoapi(options.pygeoapi, url, dataset, data) if options.pygeoapi else None
        figures["peak_mb"] = round(watch.peak / 2**20)
    figures["search_p95_ms"] = searches.measured(releases)["search_p95_ms"] if "search" in all_protocols() else None
    order = ("oai_records_per_s", "search_p95_ms", "subset_first_byte_ms", "subset_1m_s", "vs_pygeoapi", "peak_mb",
             "errors")  # fmt: skip
    print(json.dumps({name: figures[name] for name in order}))


def made_home(home: Path, releases: int, count: int) -> tuple[str, Path]:
    """Make a home whose catalogue has `releases`, one of them with polygons; return its dataset and its file."""
    began = time.perf_counter()
    kept = home / "services-benchmark.json"
    if kept.exists():
        dataset, data = json.loads(kept.read_text())
        return dataset, Path(data)
    with Deployment.open(Settings(home=home), archive=False) as deployment:
        fill(deployment.ledger, releases)
        rebuild(deployment)
    # Requests without a vintage mean the newest, so its release gets the polygons.
    row = duckdb.sql(
        f"FROM (FROM '{home}/store/catalogue/stac.parquet' WHERE is_latest "
        "QUALIFY row_number() OVER (PARTITION BY dataset ORDER BY vintage DESC) = 1) "
        "SELECT dataset, vintage, version, data_urls[1] WHERE len(data_urls) = 1 ORDER BY dataset LIMIT 1"
    ).fetchone()
    assert row is not None
    dataset, vintage, version, url = row
    name = Path(unquote(urlsplit(url).path)).name
    path = home / "store" / "releases" / dataset / vintage / f"v{version}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    polygons(path, count)
    kept.write_text(json.dumps([dataset, str(path)]))
    print(f"home of {releases:,} releases and {count:,} polygons: {time.perf_counter() - began:.0f} s")
    return dataset, path


def polygons(path: Path, count: int) -> None:
    """Write so many polygons over Canada as GeoParquet with a covering, in row groups of 20,000."""
    random_numbers = np.random.default_rng(_SEED)
    side = int(np.sqrt(count))
    number = np.arange(count)
    x, y = -140 + number % side * 80 / side, 42 + number // side * 40 / side
    angles = np.sort(random_numbers.random((count, 9)), axis=1) * 2 * np.pi
    radius = 0.02 * (0.5 + random_numbers.random((count, 9)))
    places = np.stack([x[:, None] + radius * np.cos(angles), y[:, None] + radius * np.sin(angles)], -1)
    shapes = shapely.polygons(shapely.linearrings(np.concatenate([places, places[:, :1]], axis=1)))
    bounds = shapely.bounds(shapes)
    box = (*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist())
    crs = pyproj.CRS.from_epsg(4326).to_json_dict()
    table = pa.table(
        {
            "id": number,
            "name": [f"Place {each % 5_000}" for each in number],
            "value": random_numbers.random(count),
            "geometry": pa.array(shapely.to_wkb(shapes), pa.binary()),
            "bbox": covering(bounds),
        },
        metadata={"geo": json.dumps(geo_metadata(GeometryLayout("1.1.0", crs, ("Polygon",), box)))},
    )
    pq.write_table(table, path, row_group_size=20_000, compression="zstd")


@contextmanager
def serving(home: Path, dataset: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    command = [sys.executable, "-m", "d4c_pipeline.commands.main", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "D4C_HOME": str(home)}, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 180
        while not _answers(f"{url}{EXECUTION}?dataset={dataset}&columns=id&bbox=0,0,0,0&format=csv"):
            assert time.monotonic() < deadline, "the server did not start"
            assert process.poll() is None, "the server ended"
            time.sleep(0.2)
        yield url, process
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code != 503
    except httpx.HTTPError:
        return False


class Watch:
    """The most memory of a process and its children, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self.peak = self.now = 0
        self._process, self._ended = psutil.Process(pid), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            try:
                tree = [self._process, *self._process.children(recursive=True)]
                self.now = sum(each.memory_info().rss for each in tree)
                self.peak = max(self.peak, self.now)
            except psutil.NoSuchProcess:
                continue


def box(chance: random.Random, width: float) -> str:
    west, south = chance.uniform(-139, -62), chance.uniform(43, 80)
    return f"{west:.4f},{south:.4f},{west + width:.4f},{south + width / 2:.4f}"


def single(url: str, dataset: str) -> dict[str, Any]:
    """Measure one client alone."""
    chance = random.Random(_SEED)  # noqa: S311
    figures: dict[str, Any] = {"oai_records_per_s": None}
    with httpx.Client(base_url=url, timeout=120) as client:
        first: list[float] = []
        for _ in range(40):
            query = {"dataset": dataset, "bbox": box(chance, 1.0), "format": "geojson"}
            began = time.perf_counter()
            with client.stream("GET", EXECUTION, params=query) as answer:
                assert answer.status_code == 200
                next(answer.iter_raw())
                first.append((time.perf_counter() - began) * 1000)
        figures["subset_first_byte_ms"] = round(statistics.median(first), 1)
        began, size = time.perf_counter(), 0
        with client.stream("GET", EXECUTION, params={"dataset": dataset, "format": "geoparquet"}) as answer:
            assert answer.status_code == 200
            for part in answer.iter_raw():
                size += len(part)
        figures["subset_1m_s"] = round(time.perf_counter() - began, 2)
        print(f"all polygons as GeoParquet: {size / 1e6:.0f} MB in {figures['subset_1m_s']} s")
        if "oai-pmh" in all_protocols():
            figures["oai_records_per_s"] = round(harvest(client, f"/{all_protocols()['oai-pmh'].path}"))
    return figures


def harvest(client: httpx.Client, path: str, seconds: float = 20.0) -> float:
    """Harvest oai_dc for some seconds, or to the end; return the records of a second."""
    began, records = time.perf_counter(), 0
    query: dict[str, str] = {"verb": "ListRecords", "metadataPrefix": "oai_dc"}
    while time.perf_counter() - began < seconds:
        answer = client.get(path, params=query)
        assert answer.status_code == 200, answer.text[:500]
        records += answer.text.count("<record>")
        token = re.search(r"<resumptionToken[^>]*>([^<]+)<", answer.text)
        if token is None:
            break
        query = {"verb": "ListRecords", "resumptionToken": token.group(1)}
    assert records
    return records / (time.perf_counter() - began)


async def load(url: str, dataset: str, clients: int, seconds: float) -> int:
    """Ask as `clients` for `seconds`; print each kind of request and return the number of errors."""
    took: dict[str, list[float]] = defaultdict(list)
    errors: Counter[str] = Counter()
    slow = threading.Thread(target=slow_reader, args=(url, dataset, seconds), daemon=True)
    slow.start()
    known = all_protocols()
    shares = {kind: share for kind, share in _PROFILE.items() if kind not in _NEEDS or _NEEDS[kind] in known}
    deadline = time.monotonic() + seconds

    async def one(number: int) -> None:
        chance, client = random.Random(_SEED + number), Connection(url)  # noqa: S311
        while time.monotonic() < deadline:
            kind = chance.choices(list(shares), list(shares.values()))[0]
            path, query, expected = asked(kind, dataset, chance)
            began = time.perf_counter()
            try:
                async with asyncio.timeout(60):
                    status = await client.get(f"{path}?{urlencode(query)}" if query else path)
            except (OSError, EOFError) as error:
                errors[f"{kind} {type(error).__name__}"] += 1
                continue
            took[kind].append((time.perf_counter() - began) * 1000)
            if status != expected:
                errors[f"{kind} {status}"] += 1
        client.close()

    await asyncio.gather(*(one(number) for number in range(clients)))
    slow.join(5)
    for kind, times in sorted(took.items()):
        p95 = statistics.quantiles(times, n=20)[18] if len(times) > 1 else times[0]
        median = statistics.median(times)
        print(
            f"{kind:8} {len(times):6} answers, {len(times) / seconds:6.1f}/s, median {median:5.0f}, p95 {p95:7.0f} ms"
        )
    every = [each for times in took.values() for each in times]
    print(f"all      {len(every):6} answers, p95 {statistics.quantiles(every, n=20)[18]:.0f} ms")
    if errors:
        print(f"errors: {dict(errors)}")
    return errors.total()


class Connection:
    """A connection of one client, kept open between its requests, and opened again where the server closed it.

    A client by httpx takes 6 ms of processor time for an answer, which is as much as the server takes: on two cores
    200 of these measured one another.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, address: str) -> int:
        """Return the status of an answer whose body has come. Raises OSError or EOFError for a broken connection."""
        again = self._streams is not None  # the server may have closed an idle one
        try:
            return await self._get(address)
        except (OSError, EOFError):
            self.close()
            if not again:
                raise
            return await self._get(address)

    async def _get(self, address: str) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._parts.hostname, self._parts.port, limit=1 << 20)
        reader, writer = self._streams
        writer.write(f"GET {address} HTTP/1.1\r\nHost: {self._parts.netloc}\r\n\r\n".encode())
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        else:
            await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.close()
        return int(lines[0].split(" ")[1])

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def asked(kind: str, dataset: str, chance: random.Random) -> tuple[str, dict[str, str], int]:
    """Return path, parameters and expected status of a request of a kind."""
    match kind:
        case "search":
            return "/search", {"q": " ".join(chance.sample(_WORDS, 2))}, 200
        case "subset":
            return EXECUTION, {"dataset": dataset, "bbox": box(chance, 1.0), "format": "geojson"}, 200
        case "csv":
            query = {"dataset": dataset, "filter": f"id < {chance.randrange(2_000)}", "format": "csv", "columns": "id"}
            return EXECUTION, query, 200
        case "oai":
            path = f"/{all_protocols()['oai-pmh'].path}"
            return path, {"verb": "ListIdentifiers", "metadataPrefix": "oai_dc"}, 200
        case "dap":
            return f"/dap/{dataset}.dods?rows.id[0:99]", {}, 200
        case "csw":
            constraint = f"csw:AnyText LIKE '%{chance.choice(_WORDS)}%'"
            query = {"service": "CSW", "version": "2.0.2", "request": "GetRecords", "typeNames": "csw:Record"}
            query |= {"resultType": "results", "constraintLanguage": "CQL_TEXT", "constraint": constraint}
            return "/csw", query, 200
        case "records":
            return "/records/collections/catalogue/items", {"q": chance.choice(_WORDS)}, 200
        case "stac":
            return "/stac/search", {"bbox": box(chance, 5.0), "limit": "10"}, 200
        case "process":
            return "/processes/subset", {}, 200
        case _:
            return EXECUTION, {"dataset": dataset, "bbox": "1,2,3"}, 400


def slow_reader(url: str, dataset: str, seconds: float) -> None:
    """Take 1 kB a second of a large result."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), 10) as connection:
        head = f"GET {EXECUTION}?dataset={dataset}&format=geojson HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
        connection.sendall(head.encode())
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(1)
            if not connection.recv(1_024):
                return


def beside_pygeoapi(python: str, url: str, dataset: str, data: Path) -> float:
    """Return our time for a box of polygons as GeoJSON as a part of pygeoapi's, best of two."""
    query = {"bbox": "-100,50,-90,60"}
    with tempfile.TemporaryDirectory() as folder, pygeoapi(python, Path(folder), data) as peer:
        theirs = f"{peer}/collections/polygons/items"
        ours = {**query, "dataset": dataset, "format": "geojson"}
        counts: list[int] = []
        best: list[float] = []
        for address, asked_for in ((f"{url}{EXECUTION}", ours), (theirs, {**query, "limit": "100000", "f": "json"})):
            times: list[float] = []
            features = 0
            for _ in range(2):
                began = time.perf_counter()
                answer = httpx.get(address, params=asked_for, timeout=300).raise_for_status()
                times.append(time.perf_counter() - began)
                features = len(answer.json()["features"])
            counts.append(features)
            best.append(min(times))
    print(f"box of {counts[0]:,} polygons: {best[0]:.2f} s, pygeoapi {counts[1]:,} in {best[1]:.2f} s")
    # pygeoapi leaves out what the sides of the box cross.
    assert 0.95 * counts[0] < counts[1] <= counts[0], "the answers differ"
    return round(best[0] / best[1], 3)


@contextmanager
def pygeoapi(python: str, folder: Path, data: Path) -> Iterator[str]:
    """Serve the polygons by pygeoapi's Parquet provider."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # It finds boxes in columns of their own only.
    table = pq.read_table(data)
    boxes = pa.concat_arrays(table["bbox"].chunks)
    for corner in ("xmin", "ymin", "xmax", "ymax"):
        table = table.append_column(corner, boxes.field(corner))
    pq.write_table(table.drop_columns(["bbox"]), flat := folder / "flat.parquet", row_group_size=20_000)
    config = {
        "server": {
            "bind": {"host": "127.0.0.1", "port": port}, "url": address, "mimetype": "application/json",
            "encoding": "utf-8", "language": "en-US", "gzip": False, "map": {"url": "x", "attribution": "x"},
            "limits": {"default_items": 100_000, "max_items": 100_000},
        },
        "logging": {"level": "ERROR"},
        "metadata": {
            "identification": {"title": "t", "description": "d", "keywords": ["k"], "keywords_type": "theme",
                               "terms_of_service": "x", "url": "https://example.ca"},
            "license": {"name": "x", "url": "https://example.ca"}, "provider": {"name": "x", "url": "https://x.ca"},
            "contact": {"name": "x"},
        },
        "resources": {
            "polygons": {
                "type": "collection", "title": "p", "description": "p", "keywords": ["p"], "links": [],
                "extents": {"spatial": {"bbox": [-180, -90, 180, 90], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}},
                "providers": [{"type": "feature", "name": "Parquet", "data": {"source": str(flat)}, "id_field": "id",
                               "x_field": ["xmin", "xmax"], "y_field": ["ymin", "ymax"]}],
            }
        },
    }  # fmt: skip
    (folder / "config.yml").write_text(json.dumps(config))  # YAML has JSON
    environment = {
        **os.environ,
        "PYGEOAPI_CONFIG": str(folder / "config.yml"),
        "PYGEOAPI_OPENAPI": str(folder / "openapi.yml"),
    }
    tool = str(Path(python).parent / "pygeoapi")
    made = subprocess.run(
        [tool, "openapi", "generate", str(folder / "config.yml")], env=environment, capture_output=True, check=True
    )
    (folder / "openapi.yml").write_bytes(made.stdout)
    process = subprocess.Popen(
        [tool, "serve"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not _answers(f"{address}/conformance"):
            assert time.monotonic() < deadline
            assert process.poll() is None, "pygeoapi ended"
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it serves in a child
        process.wait()


if __name__ == "__main__":
    main()
