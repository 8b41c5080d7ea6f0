"""The record of a release, fetched from a server that breaks off, or that names files which lie elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from d4c_pipeline.archives.retrieval import download, retrieve
from d4c_pipeline.model.errors import IntegrityError, TransientError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline.upkeep import fetched_records
from d4c_pipeline_tests.unit.model.test_manifest import WRITTEN

DOI = "10.5072/example.1"
ONCE = Patience(attempts=1)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]
    broken: frozenset[str]

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        content = self._record() if self.path == "/api/records/example.1" else self.files.get(name)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:-1] if name in self.broken else content)
        self.close_connection = True

    def _record(self) -> bytes:
        entries = {
            name: {"size": len(content), "checksum": f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}"}
            for name, content in self.files.items()
        }
        pids = {"doi": {"identifier": DOI}}
        parent = {"id": "example.0", "pids": {"doi": {"identifier": "10.5072/example.0"}}}
        record = {"id": "example.1", "pids": pids, "parent": parent, "files": {"entries": entries}, "metadata": {}}
        return json.dumps({**record, "created": "2026-01-01T00:00:00+00:00"}).encode()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def serving(files: dict[str, bytes], *broken: str) -> Iterator[str]:
    """The address of an InvenioRDM with one record; files in `broken` end a byte too early."""
    handler = type("Handler", (_Handler,), {"files": files, "broken": frozenset(broken)})
    with ExitStack() as stack:
        server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        stack.callback(server.shutdown)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"


def record(*outputs: str) -> dict[str, bytes]:
    """The files of a record whose manifest names `outputs`."""
    of = {"role": "data", "sha256": "b" * 64, "size": 4}
    manifest = {**WRITTEN, "outputs": [{**of, "name": name} for name in outputs]}
    files = dict.fromkeys((*outputs, "code.zip", "checksums.sha256", "item.json"), b"data")
    return {**files, "manifest.json": json.dumps(manifest).encode()}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(fetched_records, "retrieve", partial(retrieve, patience=ONCE))
    return Settings.from_environment({"D4C_HOME": str(tmp_path / "home")})


def test_a_download_that_breaks_off_is_not_fetched_rather_than_damaged(settings: Settings) -> None:
    with (
        serving(record("a.parquet", "b.parquet"), "a.parquet") as address,
        fetched_records.fetched_record(DOI, settings, address) as found,
    ):
        assert (found.doi, list(found.left_out)) == (DOI, ["a.parquet"])
        assert "broke" in found.left_out["a.parquet"]
        names = sorted(path.name for path in found.folder.iterdir())
        assert names == ["b.parquet", "checksums.sha256", "code.zip", "item.json", "manifest.json"]


def test_a_manifest_that_names_a_file_elsewhere_is_refused_before_anything_is_fetched(
    settings: Settings, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    with (
        serving({**record(str(target)), "target": b"data"}) as address,
        pytest.raises(IntegrityError) as raised,
        fetched_records.fetched_record(DOI, settings, address),
    ):
        pass
    assert "target' is no file name" in raised.value.cause
    assert not target.exists()


def test_a_download_that_breaks_off_leaves_the_file_before_it_and_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "a.parquet"
    target.write_bytes(b"before")
    with serving(record("a.parquet"), "a.parquet") as address, pytest.raises(TransientError):
        download(f"{address}/files/a.parquet", target, patience=ONCE)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.parquet": b"before"}
