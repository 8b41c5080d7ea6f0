"""What the catalogue costs: a complete build, a release more, a query over HTTP; rustac and stac-geoparquet beside it.

Run `.venv/bin/python benchmarks/catalogue.py [--items N] [--quick]`. `--keep DIR` leaves ledger and store in DIR; then
`--part NAME --home DIR` measures one part again. A ledger of N published releases is made (20 of a dataset, a tenth in
parts, a tenth of all but at most 10,000 as vintages of one rolling dataset). Each measurement is a process of its own,
in the folder for temporary files (TMPDIR). The table has one line per measurement; the last line is one JSON object:
ratios of time (lower is better), seconds, requests, kilobytes. A time is CPU time (user and system) where it says
`cpu`, else elapsed time; requests are calls of the store, or HTTP requests of DuckDB. `vs_rustac` and
`vs_stac_geoparquet` compare a build of items, their collections and the Parquet files, without records for citation and
harvesting, feeds and pages; `all_documents_vs_rustac` is the build of all. The rest is measured with all documents.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.catalogue.grouped_file import ExistingFile, Growing
from d4c_pipeline.catalogue.record_parts import files_of
from d4c_pipeline.catalogue.records_parquet import RECORDS
from d4c_pipeline.catalogue.row_groups import runs
from d4c_pipeline.catalogue.stac_geoparquet import STAC
from d4c_pipeline.chain import catalogued_datasets
from d4c_pipeline.chain.catalogue import rebuild
from d4c_pipeline.chain.catalogue_copies import CatalogueCopies
from d4c_pipeline.chain.site_pages import SitePages
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.catalogued import ROLLING, fill, last_release, prepared, publish, write

_CONCURRENT = ("writes while rebuilding", "two together")
_GROWN = 1_000_000
_MOST_CONCURRENT = 100_000  # they build everything again
_QUERIES = {
    "latest": "SELECT version, data_urls FROM '{url}' WHERE dataset = 'set_000003' AND is_latest",
    "bbox": "SELECT id, title, data_urls FROM '{url}' WHERE is_latest AND bbox.xmin < -75.5 AND bbox.xmax > -75.9"
    " AND bbox.ymin < 45.6 AND bbox.ymax > 45.2 LIMIT 20",
    "title": "SELECT id, title, data_urls FROM '{url}' WHERE is_latest AND title ILIKE '%provinces%2006%' LIMIT 20",
}
_REQUESTS = (
    "replace",
    "replace_many",
    "share",
    "put_immutable",
    "stat",
    "facts",
    "open",
    "read_bytes",
    "move",
    "delete",
    "verify",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="300 items")
    parser.add_argument(
        "--grown", action="store_true", help="then multiply the file of all datasets to a million rows, and append"
    )
    parser.add_argument("--items-only", action="store_true", help="without records, feeds and pages over all datasets")
    parser.add_argument("--keep", type=Path, help="a new folder for ledger and store, which stays")
    parser.add_argument("--part", choices=(*PARTS, "rebuild"), help="one measurement alone; it needs --home")
    parser.add_argument("--home", type=Path, help="the folder of an earlier --keep")
    options = parser.parse_args()
    count = 300 if options.quick else options.items
    if options.items_only or options.part == "items":
        _without_records()
    if options.part == "rebuild":
        with Deployment.open(Settings(home=options.home), archive=False) as deployment:
            rebuild(deployment)
        return
    if options.part and options.home is None:
        parser.error("--part needs --home, the folder of an earlier --keep")
    if options.keep is not None and options.keep.exists():
        parser.error(f"{options.keep} exists; name a new folder, or measure there with --part and --home")
    if options.part:
        print(json.dumps(PARTS[options.part](options.home, count)))
        return
    with tempfile.TemporaryDirectory(prefix="d4c-catalogue-") as folder:
        home = options.keep or Path(folder) / "home"
        with Deployment.open(Settings(home=home), archive=False) as deployment:
            began = time.perf_counter()
            fill(deployment.ledger, count, rolling=min(10_000, count // 10))
        print("ledger", {"items": count, "seconds": round(time.perf_counter() - began, 1)}, flush=True)
        found: dict[str, Any] = {}
        parts = [
            part
            for part in PARTS
            if (part not in _CONCURRENT or count <= _MOST_CONCURRENT)
            and (part != "a million" or options.grown)
            and not (part == "build" and options.items_only)
        ]
        for part in parts:
            command = [sys.executable, __file__, "--part", part, "--home", str(home), "--items", str(count)]
            command += ["--items-only"] if options.items_only else []
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found |= json.loads(done.stdout.splitlines()[-1])
            print(part, {name: found[name] for name in json.loads(done.stdout.splitlines()[-1])}, flush=True)
        print(
            json.dumps(
                {
                    "items": count,
                    "vs_rustac": round(found["items_cpu"] / found["rustac_cpu"], 2),
                    "vs_stac_geoparquet": round(found["items_cpu"] / found["stac_geoparquet_cpu"], 2),
                    "append_s": found["append_s"],
                    "append_vs_rewrite": round(found["append_s"] / found["rewrite_s"], 3),
                    "append_requests": found["append_requests"],
                    "peak_mb": found["peak_mb"],
                    "footer_kb": found["footer_kb"],
                    "latest_requests": found["latest_requests"],
                    "latest_kb": found["latest_kb"],
                    "all_documents_vs_rustac": round(found.get("build_cpu", 0.0) / found["rustac_cpu"], 2) or None,
                }
            )
        )


def _without_records() -> None:
    """Let rebuilds of this process write what the peers write: items, their collections, and Parquet."""
    computation = catalogued_datasets._Computation  # noqa: SLF001
    computation._records = lambda *_: {}  # noqa: SLF001
    computation._feeds = lambda *_: ()  # noqa: SLF001
    SitePages.batches = lambda _: ()


def _items_alone(home: Path, count: int) -> dict[str, Any]:
    found = _build(home, count)
    return {"items_cpu": found.pop("build_cpu"), **{f"items_{name}": value for name, value in found.items()}} | {
        "peak_mb": found["peak_mb"],
        "footer_kb": found["footer_kb"],
    }


def _build(home: Path, count: int) -> dict[str, Any]:
    with Deployment.open(Settings(home=home), archive=False) as deployment:
        deployment.ledger.catalogue.forget_form()
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        done = rebuild(deployment)
        after, elapsed = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - began
    assert done.releases == count
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with _catalogue(home).open("rb") as file:
        file.seek(-8, 2)
        (footer,) = struct.unpack("<I", file.read(4))
    return {
        "build_cpu": round(user + system, 2),
        "build_system_cpu": round(system, 2),
        "build_s": round(elapsed, 2),
        "documents": sum(1 for _ in (home / "store" / "catalogue").rglob("*.*")),
        "peak_mb": round(peak),
        "parquet_mb": round(_catalogue(home).stat().st_size / 1e6, 1),
        "footer_kb": round(footer / 1000, 1),
    }


def _append(home: Path, count: int) -> dict[str, Any]:
    spent, requests = _appended(home, "set_000001", "2021", "1.9.0")
    found: dict[str, Any] = {"append_s": spent, "append_requests": requests}
    spent, requests = _appended(home, ROLLING, "2024-02-29", "1.0.0")
    return found | {
        "rolling_vintages": min(10_000, count // 10),
        "rolling_append_s": spent,
        "rolling_append_requests": requests,
    }


def _appended(home: Path, dataset: str, vintage: str, version: str) -> tuple[float, int]:
    """Publish a release, then return the seconds of a rebuild and its calls of the store."""
    with Deployment.open(Settings(home=home), archive=False) as deployment:
        number = last_release(deployment.ledger) + 1
        publish(deployment.ledger, number, dataset, vintage, version)
        with _counted_store() as calls:
            began = time.perf_counter()
            done = rebuild(deployment)
            spent = time.perf_counter() - began
    assert done.releases >= number
    return round(spent, 2), len(calls)


def _writes(home: Path, _count: int) -> dict[str, Any]:
    """Publish releases while another process rebuilds everything; the longest write to the ledger."""
    longest, writes = 0.0, 0
    with Deployment.open(Settings(home=home), archive=False) as deployment:
        deployment.ledger.catalogue.forget_form()
        last = last_release(deployment.ledger)
        with _rebuilding(home) as other:
            while other.poll() is None:
                writes += 1
                number = last + writes
                made = prepared(number, "set_000002", "2021", f"2.{number}.0")
                began = time.perf_counter()
                write(deployment.ledger, number, made)
                longest = max(longest, time.perf_counter() - began)
                time.sleep(0.2)
            assert other.returncode == 0
    return {"writes_while_rebuilding": writes, "longest_write_s": round(longest, 3)}


def _rewrite(home: Path, _count: int) -> dict[str, Any]:
    out = home / "rewritten.parquet"
    began = time.perf_counter()
    duckdb.sql(
        f"COPY (SELECT * FROM '{_catalogue(home)}' UNION ALL (SELECT * FROM '{_catalogue(home)}' LIMIT 1))"  # noqa: S608
        f" TO '{out}' (FORMAT parquet, COMPRESSION zstd)"
    )
    return {"rewrite_s": round(time.perf_counter() - began, 2)}


def _rustac(home: Path, _count: int) -> dict[str, Any]:
    import rustac  # noqa: PLC0415 - the peer of this part alone

    items = _items(home)
    began = time.process_time()
    asyncio.run(_awaited(lambda: rustac.write(str(home / "rustac.parquet"), items)))
    return {"rustac_cpu": round(time.process_time() - began, 2)}


async def _awaited(make: Callable[[], Any]) -> None:
    await make()


def _stac_geoparquet(home: Path, _count: int) -> dict[str, Any]:
    from stac_geoparquet.arrow import parse_stac_items_to_arrow, to_parquet  # noqa: PLC0415

    items = _items(home)
    began = time.process_time()
    to_parquet(parse_stac_items_to_arrow(items, drop_invalid_properties=False), home / "stac-geoparquet.parquet")
    return {"stac_geoparquet_cpu": round(time.process_time() - began, 2)}


def _together(home: Path, _count: int) -> dict[str, Any]:
    """Publish two releases and rebuild in two processes at once; both must succeed, and list both releases."""
    with Deployment.open(Settings(home=home), archive=False) as deployment:
        before, last = rebuild(deployment).releases, last_release(deployment.ledger)
        for number in (1, 2):
            publish(deployment.ledger, last + number, "set_000003", "2021", f"3.{number}.0")
        began = time.perf_counter()
        with _rebuilding(home) as one, _rebuilding(home) as other:
            assert (one.wait(), other.wait()) == (0, 0)
        spent = time.perf_counter() - began
        assert rebuild(deployment).releases == before + 2
    return {"two_together_s": round(spent, 2)}


def _grown(home: Path, _count: int) -> dict[str, Any]:
    """Multiply the files of all datasets to a million rows, with other datasets; append, and let DuckDB rewrite one.

    The ledger keeps its releases, so this measures the files, the list of datasets and the snapshot of a million.
    """
    if duckdb.sql(f"SELECT count(*) FROM '{_catalogue(home)}'").fetchall()[0][0] < _GROWN // 2:  # noqa: S608
        _grow(home)
    spent, requests = _appended(home, "set_000001", "2021", f"1.{1_000 + _releases(home)}.0")
    rewritten = _rewrite(home, 0)["rewrite_s"]
    return {
        "grown_items": duckdb.sql(f"SELECT count(*) FROM '{_catalogue(home)}'").fetchall()[0][0],  # noqa: S608
        "grown_mb": round(_catalogue(home).stat().st_size / 1e6),
        "grown_records_mb": round(sum(path.stat().st_size for path in files_of(home / "store")) / 1e6),
        "grown_records_parts": len(files_of(home / "store")),
        "grown_append_s": spent,
        "grown_append_requests": requests,
        "grown_append_vs_rewrite": round(spent / rewritten, 3),
    }


def _releases(home: Path) -> int:
    with Deployment.open(Settings(home=home), archive=False) as deployment:
        return last_release(deployment.ledger)


def _grow(home: Path) -> None:
    with Deployment.open(Settings(home=home), archive=False) as deployment:
        state, copies = deployment.ledger.catalogue, CatalogueCopies(deployment)
        datasets, known = state.datasets(), state.state()
        assert known is not None
        turns = _GROWN // sum(entry.releases for entry in datasets.values())
        prefixes = ["", *(f"t{turn:03}" for turn in range(1, turns))]
        records = [ExistingFile(path, RECORDS) for path in files_of(copies.root)]
        existing = ExistingFile(copies.stac, STAC)
        with copies.writing(complete=True) as (stac, parts):
            for growing, sources in ((stac, [existing]), (parts, records)):
                for prefix in prefixes:
                    for source in sources:
                        for group in source.groups:
                            _put(growing, prefix, source.read(group.number))
        for prefix in prefixes[1:]:
            state.record_datasets(each._replace(dataset=f"{prefix}{each.dataset}") for each in datasets.values())
        copies.put(deployment.primary, copies.keep(), complete=False)
        state.satisfy(known.satisfied, form=known.form, local=copies.identity(), result=known.result)
    _appended(home, "set_000001", "2021", "1.10.0")  # puts the longer catalog.json


def _put(growing: Growing, prefix: str, rows: pa.Table) -> None:
    """Put the rows of datasets with other ids."""
    names = pc.binary_join_element_wise(prefix, rows.column("dataset"), "")
    place = rows.schema.get_field_index("dataset")
    rows, start = rows.set_column(place, rows.schema.field(place), names), 0
    for dataset, count in runs(names.to_pylist()):
        growing.put(dataset, rows.slice(start, count))
        start += count


@contextmanager
def _rebuilding(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Rebuild the catalogue in another process."""
    same = [option for option in sys.argv if option == "--items-only"]
    command = [sys.executable, __file__, "--part", "rebuild", "--home", str(home), *same]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as other:
        yield other


def _queries(home: Path, _count: int) -> dict[str, Any]:
    """Query the file over HTTP; `after` counts the requests that follow the reading of the footer."""
    content = _catalogue(home).read_bytes()
    footer = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]
    requests: list[tuple[int, int]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(0, len(content), body=False)

        def do_GET(self) -> None:
            start, _, end = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
            first = int(start) if start else len(content) - int(end)
            self._answer(first, min(int(end) + 1, len(content)) if start and end else len(content), body=True)

        def _answer(self, first: int, end: int, *, body: bool) -> None:
            self.send_response(206 if self.headers.get("Range") else 200)
            self.send_header("Content-Length", str(end - first))
            self.send_header("Accept-Ranges", "bytes")
            # As nginx does; DuckDB reads the footer once only where it can see that the file stays the same.
            self.send_header("Last-Modified", "Tue, 01 Dec 2026 00:00:00 GMT")
            self.send_header("ETag", '"1"')
            if self.headers.get("Range"):
                self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(content)}")
            self.end_headers()
            if body:
                requests.append((first, end))
                self.wfile.write(content[first:end])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found: dict[str, Any] = {}
    for name, query in _QUERIES.items():
        requests.clear()
        with duckdb.connect() as connection:
            _load_httpfs(connection)
            assert connection.sql(query.format(url=f"http://127.0.0.1:{server.server_port}/stac.parquet")).fetchall()
        found[f"{name}_requests"] = sum(1 for first, _ in requests if first < footer)
        found[f"{name}_all_requests"] = len(requests)
        found[f"{name}_kb"] = round(sum(end - first for first, end in requests) / 1000, 1)
    server.shutdown()
    return found


def _load_httpfs(connection: duckdb.DuckDBPyConnection) -> None:
    import duckdb_extension_httpfs  # noqa: PLC0415

    folder = Path(duckdb_extension_httpfs.__file__).parent
    connection.load_extension(str(next(folder.rglob("httpfs.duckdb_extension"))))


@contextmanager
def _counted_store() -> Iterator[list[str]]:
    calls: list[str] = []
    kept = {name: getattr(FolderStore, name) for name in _REQUESTS}

    def counting(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.extend(arguments[1] if name == "replace_many" else [name])  # a request for each document
            return kept[name](*arguments, **options)

        return call

    for name in kept:
        setattr(FolderStore, name, counting(name))
    try:
        yield calls
    finally:
        for name, method in kept.items():
            setattr(FolderStore, name, method)


def _items(home: Path) -> list[dict[str, Any]]:
    paths = sorted((home / "store" / "catalogue").glob("*/*/[0-9]*.json"))
    return [json.loads(path.read_bytes()) for path in paths]


def _catalogue(home: Path) -> Path:
    return home / "store" / "catalogue" / "stac.parquet"


PARTS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "items": _items_alone,
    "rustac": _rustac,
    "stac-geoparquet": _stac_geoparquet,
    "build": _build,
    "rewrite": _rewrite,
    "append": _append,
    "queries over HTTP": _queries,
    "writes while rebuilding": _writes,
    "two together": _together,
    "a million": _grown,
}


if __name__ == "__main__":
    main()
