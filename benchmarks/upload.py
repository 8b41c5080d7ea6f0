"""How fast a large file goes into an archive: our client against `curl -T`, to the same server on the loopback.

Run `.venv/bin/python benchmarks/upload.py [--quick]`. The server is a process of its own that throws the bytes away, so
that the sender is what is measured; both send the same file in turns, and the median of the turns counts, so that a
busy moment meets both. The last line is one JSON object: our throughput as a ratio to curl's, and the most memory that
our process took, interpreter included, in MB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_SIZE = 2 << 30
_QUICK = 256 << 20
_TURNS = 7
_NAME = "data.parquet"
_BLOCK = 64 << 20
_OURS = """
import json, resource, sys, time
from pathlib import Path
from d4c_pipeline.archives.invenio.client import InvenioArchive
from d4c_pipeline.archives.port import Draft
url, path = sys.argv[1:]
archive = InvenioArchive("sink", url, "token", test=True)
began = time.perf_counter()
file = archive.upload(Draft("1", "0", None, None, None, None), "data.parquet", Path(path))
seconds = time.perf_counter() - began
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file.size]))
"""


class Sink(BaseHTTPRequestHandler):
    """Answers the three calls of a file's upload, and remembers no byte of it."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece: else it waits for the acknowledgement of its head
    taken = 0

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def handle_expect_100(self) -> bool:
        """Tell curl at once that it may go on: it waits a second otherwise."""
        going = super().handle_expect_100()
        self.wfile.flush()
        return going

    def do_POST(self) -> None:  # noqa: D102
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        entry = {"key": _NAME, "status": "completed", "size": Sink.taken, "checksum": "md5:0"}
        self._answer({"entries": []} if self.path.endswith("/files") else entry)

    def do_PUT(self) -> None:  # noqa: D102
        left = Sink.taken = int(self.headers["Content-Length"])
        buffer = memoryview(bytearray(1 << 20))
        while left:
            left -= self.rfile.readinto1(buffer[: min(left, len(buffer))])
        self._answer({"key": _NAME, "status": "pending"})

    def _answer(self, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


def serve() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def ours(url: str, path: Path) -> tuple[float, float]:
    """Return seconds and most memory (MB) of an upload by our client, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _OURS, url, path], check=True, capture_output=True, text=True)
    seconds, peak, size = json.loads(done.stdout)
    assert size == path.stat().st_size
    return seconds, peak


def curl(url: str, path: Path) -> float:
    """Return the seconds of an upload by curl."""
    address = f"{url}/api/records/1/draft/files/{_NAME}/content"
    began = time.perf_counter()
    subprocess.run(["curl", "--silent", "--fail", "-o", os.devnull, "-T", path, address], check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="256 MB instead of 2 GB")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    size = _QUICK if options.quick else _SIZE
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        with tempfile.NamedTemporaryFile(prefix="d4c-upload-") as file:
            block = os.urandom(min(size, _BLOCK))
            for _ in range(size // len(block)):
                file.write(block)
            file.flush()
            path = Path(file.name)
            curl(url, path)  # the file is in memory from here on, for both
            turns = [(curl(url, path), *ours(url, path)) for _ in range(_TURNS)]
    finally:
        server.terminate()
        server.wait()
    ratio = statistics.median(theirs / mine for theirs, mine, _ in turns)
    peak = max(turn[2] for turn in turns)
    for column, name in enumerate(("curl -T", "ours")):
        seconds = statistics.median(turn[column] for turn in turns)
        print(f"{name:8} {seconds:6.2f} s   {size / 1e6 / seconds:7.0f} MB/s")
    print(json.dumps({"vs_curl": round(ratio, 2), "peak_mb": round(peak)}))


if __name__ == "__main__":
    main()
