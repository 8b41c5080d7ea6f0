"""Measuring a conversion from outside: seconds, CPU and most memory of a process, and bytes read over HTTP by a query.

What is converted, and by whom, stands in `sides`.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.geoparquet import encode
from d4c_pipeline.tables.duckdb_engine import extension_path

_QUERIES = 20
_SEED = 7


@dataclass(frozen=True)
class Run:
    """What a process took: `cold` seconds, CPU seconds and most memory from its start to the end of its first
    conversion, `warm` seconds of its second; `alone`: seconds of what it did besides.
    """

    cold: float
    cpu: float
    peak_mb: float
    warm: float
    alone: dict[str, float]


class FailedError(Exception):
    """A side could not do it."""


def offline_home() -> Path:
    """Return a new home folder in which DuckDB finds the spatial extension: the peer would download it."""
    home = Path(tempfile.mkdtemp(prefix="d4c-bench-home-"))
    connection = duckdb.connect()
    platform = connection.execute("PRAGMA platform").fetchone()
    connection.close()
    folder = home / ".duckdb" / "extensions" / f"v{duckdb.__version__}" / (platform or ("",))[0]
    folder.mkdir(parents=True)
    shutil.copy(extension_path("spatial"), folder)
    return home


def run(side: str, name: str, file: Path, out: Path, home: Path, alone: Sequence[str] = ()) -> Run:
    """Convert twice in a new process, then do `alone`; raises FailedError with its last words."""
    command = [sys.executable, str(Path(__file__).with_name("sides.py")), side, name, str(file), str(out), *alone]
    began = time.time()
    # Each side finds the bytecode of what it imports, as installed programs do, whatever this environment says of it.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"HOME": str(home), "PYTHONPYCACHEPREFIX": str(home / "bytecode")}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["nothing said"]
        raise FailedError(f"{side} on {name}: exit {done.returncode}: {words[-1][:200]}")
    own = json.loads(done.stdout.splitlines()[-1])
    return Run(own["done"] - began, own["cpu"], own["peak_mb"], own["warm"], {part: own[part] for part in alone})


def verdict(file: Path, home: Path) -> str:
    """Return what `gpio check all` says: PASS, WARNING or FAILURE, and of what."""
    done = subprocess.run(
        [Path(sys.executable).with_name("gpio"), "check", "all", file],
        env={**os.environ, "HOME": str(home), "NO_COLOR": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = (done.stdout + done.stderr).splitlines()
    bad = [line.strip() for line in lines if "✗" in line or "❌" in line or "Error" in line]
    doubtful = [line.strip() for line in lines if "⚠" in line or "WARNING" in line]
    if done.returncode or bad:
        return f"FAILURE ({'; '.join(bad)[:160]})"
    return f"WARNING ({'; '.join(doubtful)[:160]})" if doubtful else "PASS"


class _RangeHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    file: Path
    sent = 0

    def do_GET(self) -> None:
        low, high = self.headers["Range"].removeprefix("bytes=").split("-")
        with self.file.open("rb") as handle:
            handle.seek(int(low))
            body = handle.read(int(high) - int(low) + 1)
        self.send_response(206)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        type(self).sent += len(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Remote(io.RawIOBase):
    """A file behind HTTP ranges, for Arrow."""

    def __init__(self, port: int, size: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._size, self._position = size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._position + size)
        if end <= self._position:
            return b""
        self._connection.request("GET", "/", headers={"Range": f"bytes={self._position}-{end - 1}"})
        body = self._connection.getresponse().read()
        self._position = end
        return body


def query_bytes(file: Path) -> float:
    """Return the bytes that an average query for 1 % of the features reads: the footer, and row groups that may match.

    The same windows for every file of the same rows: they lie around features, and grow until 1 % of them are inside.
    """
    bbox = pq.read_table(file, columns=["bbox"]).column(0).combine_chunks()
    boxes = np.column_stack([bbox.field(corner).to_numpy(zero_copy_only=False) for corner in _CORNERS])
    boxes = boxes[np.lexsort(boxes.T)].astype(np.float64)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_RangeHandler,), {"file": file}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handler = server.RequestHandlerClass
    try:
        for window in _windows(boxes):
            remote = pa.PythonFile(_Remote(server.server_address[1], file.stat().st_size), mode="r")
            parquet = pq.ParquetFile(remote)
            groups = [n for n in range(parquet.num_row_groups) if _may_match(parquet, n, window)]
            parquet.read_row_groups(groups)
        return handler.sent / _QUERIES  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _windows(boxes: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    random = np.random.default_rng(_SEED)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    wanted = max(1, len(boxes) // 100)
    windows: list[npt.NDArray[np.float64]] = []
    for at in random.integers(0, len(boxes), _QUERIES):
        reach = np.sort(np.abs(centres - centres[at]).max(axis=1))[wanted - 1]
        windows.append(np.concatenate([centres[at] - reach, centres[at] + reach]))
    return windows


def _may_match(parquet: pq.ParquetFile, group: int, window: npt.NDArray[np.float64]) -> bool:
    meta = parquet.metadata.row_group(group)
    found = {meta.column(n).path_in_schema: meta.column(n).statistics for n in range(meta.num_columns)}
    low = [found[f"bbox.{corner}"] for corner in _CORNERS[:2]]
    high = [found[f"bbox.{corner}"] for corner in _CORNERS[2:]]
    return all(low[a].min <= window[a + 2] and high[a].max >= window[a] for a in (0, 1))


def regrouped(file: Path, out: Path, rows: int) -> None:
    """Write the rows of our `file` as `out`, all else the same but in groups of `rows`."""
    source = pq.ParquetFile(file)
    table = source.read()
    leaves = source.metadata.row_group(0)
    encodings = {leaves.column(n).path_in_schema: leaves.column(n).encodings for n in range(leaves.num_columns)}
    own = {path: next((e for e in kinds if e not in ("RLE", "PLAIN")), "PLAIN") for path, kinds in encodings.items()}
    levels = dict.fromkeys(own, encode.COMPRESSION_LEVEL)
    levels |= {path: encode.COVERING_LEVEL for path in own if path.startswith("bbox.")}
    levels["geometry"] = encode.choose(source.read_row_group(0, columns=["geometry"])).geometry_level
    with pq.ParquetWriter(
        out, table.schema, compression="zstd", compression_level=levels, write_page_index=True,
        use_dictionary=[path for path, kind in own.items() if "DICTIONARY" in kind],
        column_encoding={path: kind for path, kind in own.items() if "DICTIONARY" not in kind},
        write_statistics=[path for path in own if path != "geometry"],
    ) as writer:  # fmt: skip
        writer.write_table(table, row_group_size=rows)
