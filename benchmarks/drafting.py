"""How much of a definition 'd4c draft' fills, how much of it is right, and how many drafts publish unchanged.

Run `D4C_FIXTURES=../shared/fixtures .venv/bin/python benchmarks/drafting.py [--quick] [--only a,b]`. The sources are
real files, packages and records, served on this machine under the addresses of their publishers. The truth,
`drafting_truth.yaml`, was written by hand. A field counts as right if the draft has the value of the truth, or leaves
the gap where the truth has none; `invented` counts values where the truth has none. A draft without a mark is
published as it is. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from d4c_pipeline.drafting import Draft, draft
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.gaps import is_marked
from d4c_pipeline.model.settings import Settings

_TRUTH = Path(__file__).with_name("drafting_truth.yaml")
_COMMAND = Path(sys.executable).with_name("d4c")
_UNREAD = ("17_gridded/basin_mask.nc", "17_gridded/era5-2mt-2019-03-uk.grib", "18_rasters/cogeo.tif")
_WDS = "/t1/wds/rest"
_MODIFIED = "Wed, 05 Jun 2024 12:30:00 GMT"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the sources, and one publication")
    parser.add_argument("--only", default="", help="names of sources, separated by commas")
    options = parser.parse_args()
    if "D4C_FIXTURES" not in os.environ:
        # The fixtures are no part of the repository; `make bench` goes on without them.
        print("D4C_FIXTURES is not set, so there is nothing to draft")
        print(json.dumps({"sources": 0}))
        return
    fixtures = Path(os.environ["D4C_FIXTURES"]).absolute()
    only = frozenset(options.only.split(",")) - {""}
    truths = [
        truth
        for truth in yaml.safe_load(_TRUTH.read_text("utf-8"))
        if (not only or truth["name"] in only) and (not options.quick or truth.get("quick"))
    ]
    with tempfile.TemporaryDirectory(prefix="d4c-bench-drafts-") as scratch, _publishers(truths, fixtures) as origins:
        settings = Settings(home=Path(scratch) / "home", origins=origins)
        results = [_drafted(truth, fixtures, settings) for truth in truths]
        _print(results)
        ready = [each for each in results if each.draft is not None and each.draft.rows and not each.draft.gaps]
        published = _published(ready[:1] if options.quick else ready, Path(scratch), origins)
        refused = _refused(fixtures, settings) if not only else None
    judged = [each for result in results for each in result.fields]
    print(
        json.dumps(
            {
                "sources": len(results),
                "fields": len(judged),
                "filled": sum(each.filled for each in judged),
                "right": sum(each.right for each in judged),
                "right_share": round(sum(each.right for each in judged) / len(judged), 3),
                "invented": sum(each.invented for each in judged),
                "without_marks": len(ready),
                "published_unchanged": published,
                "refused_formats": refused,
                "median_s": round(median(each.seconds for each in results), 2),
                "most_s": round(max(each.seconds for each in results), 2),
            }
        )
    )


@dataclass(frozen=True)
class Judged:
    """A field of the truth and what the draft has."""

    path: str
    wanted: Any
    had: Any

    @property
    def filled(self) -> bool:
        """Whether the draft has a value."""
        return self.had is not None

    @property
    def right(self) -> bool:
        """Whether the draft has the value of the truth, or the gap that the truth has."""
        if isinstance(self.wanted, str) and self.wanted.endswith("…"):
            return isinstance(self.had, str) and self.had.startswith(self.wanted[:-1])
        return self.had == self.wanted

    @property
    def invented(self) -> bool:
        """Whether the draft has a value that no source states."""
        return self.wanted is None and self.had is not None


@dataclass
class Result:
    """The draft of a source, or the error, with the judgement of each field."""

    name: str
    draft: Draft | None
    seconds: float
    fields: list[Judged] = field(default_factory=list)
    error: str = ""


def _drafted(truth: Mapping[str, Any], fixtures: Path, settings: Settings) -> Result:
    address = truth["address"]
    source = fixtures / address if (fixtures / address).exists() else address
    record = fixtures / truth["metadata"] if "metadata" in truth else None
    begin = time.monotonic()
    try:
        made = draft(
            source,
            settings,
            metadata=record,
            package=truth.get("package"),
            identifier=truth["name"],
            read=truth.get("read", True),
        )
    except D4CError as error:
        fields = [Judged(path, wanted, None) for path, wanted in truth["fields"].items()]
        return Result(truth["name"], None, time.monotonic() - begin, fields, str(error))
    seconds = time.monotonic() - begin
    attributes = {**made.attributes, "rows": made.rows}
    fields = [Judged(path, wanted, _at(attributes, path)) for path, wanted in truth["fields"].items()]
    return Result(truth["name"], made, seconds, fields)


def _at(value: Any, path: str) -> Any:
    """Return the value at a path of the YAML; None if it is missing or marked."""
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    texts = value if isinstance(value, list) else [value]
    return None if any(isinstance(text, str) and is_marked(text) for text in texts) else value


def _print(results: list[Result]) -> None:
    print(f"{'source':<26}{'fields':>7}{'filled':>7}{'right':>6}{'marks':>6}{'rows':>8}{'s':>7}")
    for each in results:
        marks = len(each.draft.gaps) if each.draft is not None else "-"
        rows = each.draft.rows if each.draft is not None and each.draft.rows is not None else "-"
        filled, right = sum(one.filled for one in each.fields), sum(one.right for one in each.fields)
        print(f"{each.name:<26}{len(each.fields):>7}{filled:>7}{right:>6}{marks:>6}{rows:>8}{each.seconds:>7.1f}")
        if each.error:
            print(f"    {each.error}")
        for one in each.fields:
            if not one.right and not each.error:
                print(f"    {one.path}: {one.had!r}, not {one.wanted!r}")


def _published(ready: list[Result], scratch: Path, origins: Mapping[str, str]) -> int:
    """Publish each draft without a mark as it is written, by the command; return how many were."""
    done = 0
    environment = {**os.environ, "D4C_ORIGIN_MAP": ",".join(f"{old}={new}" for old, new in origins.items())}
    for each in ready:
        assert each.draft is not None
        each.draft.write(scratch / "defs")
        command = [_COMMAND, "publish", each.name, "--defs", scratch / "defs", "--home", scratch / "home"]
        vintages = each.draft.attributes["vintages"]
        command += ["--vintage", vintages[0]] if vintages != "discovered" else []
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        done += ran.returncode == 0
        print(f"publish {each.name}: {'published' if ran.returncode == 0 else ran.stderr.strip()[-300:]}")
    return done


def _refused(fixtures: Path, settings: Settings) -> int:
    """Return how many grids and rasters, which the platform does not process, are refused with the reason."""
    refused = 0
    for name in _UNREAD:
        try:
            draft(fixtures / name, settings)
        except D4CError as error:
            refused += "not read" in str(error) or "known kind" in str(error)
    return refused


@contextmanager
def _publishers(truths: list[dict[str, Any]], fixtures: Path) -> Iterator[dict[str, str]]:
    """Serve files, tables and packages as their publishers do; yield origin -> the server here."""
    files = {url: fixtures / name for truth in truths for url, name in truth.get("serves", {}).items()}
    packages: dict[str, Any] = {}
    for truth in truths:
        if "package_document" in truth:
            for line in _documents(fixtures / truth["package_document"]):
                packages[line["id"]] = line
    tables = {truth["table"]: fixtures / "08_statcan_wds" for truth in truths if "table" in truth}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path.endswith("/package_show"):
                package = packages[parse_qs(parts.query)["id"][0]]
                self._json({"success": True, "result": package})
            elif parts.path.startswith(f"{_WDS}/getFullTableDownloadCSV/"):
                table = parts.path.split("/")[-2]
                address = f"https://www150.statcan.gc.ca/n1/tbl/csv/{table}-eng.zip"
                self._json({"status": "SUCCESS", "object": address})
            elif (table := parts.path.rpartition("/")[2].partition("-")[0]) in tables:
                self._file(tables[table] / f"{table}-eng.zip")
            else:
                found = next((path for url, path in files.items() if urlsplit(url).path == parts.path), None)
                if found is None:
                    self.send_error(404)
                else:
                    self._file(found)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

        def do_POST(self) -> None:
            (wanted,) = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path = tables[str(wanted["productId"])] / f"{wanted['productId']}.json"
            self._json([{"status": "SUCCESS", "object": json.loads(path.read_text("utf-8"))}])

        def _json(self, document: Any) -> None:
            self._send(json.dumps(document).encode(), "application/json")

        def _file(self, path: Path) -> None:
            self._send(path.read_bytes(), "application/octet-stream")

        def _send(self, body: bytes, media_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", _MODIFIED)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    addresses = [*files, "https://www150.statcan.gc.ca/", "https://open.canada.ca/"]
    try:
        yield {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}": here for url in addresses}
    finally:
        server.shutdown()
        server.server_close()


def _documents(path: Path) -> list[dict[str, Any]]:
    text = path.read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]


if __name__ == "__main__":
    main()
