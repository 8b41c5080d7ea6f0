"""Fetching against curl and aria2c from a server on the loopback: one large file, and many small ones.

Run `.venv/bin/python benchmarks/fetch.py [--quick]`; wants curl and aria2c. Ours is `HttpFiles.fetch` in a process of
its own: with its checks and notes, without the interpreter's start. Each is the median of some runs that take turns,
on a disk that has nothing left to write. The last line is one JSON object: `vs_curl` (one file) and `vs_aria2c` (many),
speeds as ours / theirs, the most memory that ours took, and `vs_curl_sha256`: both sides with the sha256 of the file
made afterwards, as `raw` does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

_LARGE = 2 << 30
_MANY = 500
_SMALL = 64 << 10
_ROUNDS = {"one large file": 3, "small files": 9}
_CHILD = """
import json, sys, time
from pathlib import Path
from d4c_pipeline.model.sources import HttpSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.sources.http import HttpFiles
vintage = Vintage.parse("2021")
source = HttpFiles(HttpSource(kind="http", urls=tuple(sys.stdin.read().split())), origins={}, vintages=(vintage,))
began = time.perf_counter()
fetched = source.fetch(vintage, Path(sys.argv[1]))
seconds = time.perf_counter() - began
for one in fetched:
    sha256_of(one.path)
hashed = time.perf_counter() - began
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({"ours": seconds, "ours+sha256": hashed, "peak_mb": int(status["VmHWM"].split()[0]) / 1024,
                  "bytes": sum(one.size for one in fetched)}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 MB and 100 files")
    quick = parser.parse_args().quick
    missing = [name for name in ("curl", "aria2c") if shutil.which(name) is None]
    if missing:
        print(json.dumps({"skipped": f"{' and '.join(missing)} is not installed"}))
        return
    with tempfile.TemporaryDirectory(prefix="d4c-fetch-") as name:
        folder = Path(name)
        url = serve(made(folder / "served", _LARGE // 10 if quick else _LARGE, _MANY // 5 if quick else _MANY))
        large = [f"{url}/large.bin"]
        many = [f"{url}/{number}.bin" for number in range(_MANY // 5 if quick else _MANY)]
        one = race("one large file", large, folder)
        small = race("small files", many, folder)
    figures = {
        "vs_curl": one["curl"] / one["ours"],
        "vs_curl_sha256": one["curl+sha256sum"] / one["ours+sha256"],
        "vs_aria2c": small["aria2c"] / small["ours"],
        "peak_mb": max(one["peak_mb"], small["peak_mb"]),
    }
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


def race(kind: str, urls: list[str], folder: Path) -> dict[str, float]:
    """Return the median seconds of each side, and the most memory of ours in MB."""
    sides: dict[str, Callable[[list[str], Path], float]] = {
        "curl": curl,
        "curl+sha256sum": lambda urls, into: curl(urls, into) + hashed(into),
        "aria2c": aria2c,
    }
    seconds = ("ours", "ours+sha256", *sides)
    taken: dict[str, list[float]] = {side: [] for side in seconds}
    peak = 0.0
    for _ in range(_ROUNDS[kind]):
        into = folder / "into"
        os.sync()
        done = ours(urls, into)
        for side in ("ours", "ours+sha256"):
            taken[side].append(done[side])
        peak = max(peak, done["peak_mb"])
        for side, run in sides.items():
            shutil.rmtree(into)
            into.mkdir()
            os.sync()
            taken[side].append(run(urls, into))
        shutil.rmtree(into)
    median = {side: statistics.median(each) for side, each in taken.items()}
    print(f"{len(urls):4} {kind:15}" + "".join(f"   {side} {median[side]:.2f} s" for side in seconds))
    return {**median, "peak_mb": peak}


def ours(urls: list[str], into: Path) -> dict[str, float]:
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(into)], input="\n".join(urls), capture_output=True, text=True, check=True
    )
    return json.loads(child.stdout)


def curl(urls: list[str], into: Path) -> float:
    listed = "".join(f'url = "{url}"\noutput = "{into / url.rpartition("/")[2]}"\n' for url in urls)
    return timed(["curl", "-sSf", "--no-progress-meter", "--parallel", "--config", "-"], listed)


def aria2c(urls: list[str], into: Path) -> float:
    return timed(["aria2c", "-q", "-x4", "--file-allocation=none", "-d", str(into), "-i", "-"], "\n".join(urls))


def hashed(into: Path) -> float:
    return timed(["sha256sum", *map(str, into.iterdir())], "", stdout=subprocess.DEVNULL)


def timed(command: list[str], text: str, stdout: int | None = None) -> float:
    began = time.perf_counter()
    subprocess.run(command, input=text, text=True, check=True, stdout=stdout)
    return time.perf_counter() - began


def made(folder: Path, large: int, many: int) -> Path:
    folder.mkdir()
    block = os.urandom(1 << 20)
    with (folder / "large.bin").open("wb") as file:
        for _ in range(large >> 20):
            file.write(block)
    for number in range(many):
        (folder / f"{number}.bin").write_bytes(block[number : number + _SMALL])
    return folder


def serve(folder: Path) -> str:
    """Serve a folder from a process of its own, by sendfile with ranges; it ends with this one."""
    port_of, told = os.pipe()
    if os.fork() == 0:
        parent = os.getppid()
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        os.write(told, str(listener.getsockname()[1]).encode())
        threading.Thread(target=_accept, args=(listener, folder), daemon=True).start()
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(0)
    return f"http://127.0.0.1:{os.read(port_of, 10).decode()}"


def _accept(listener: socket.socket, folder: Path) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_answer, args=(connection, folder), daemon=True).start()


def _answer(connection: socket.socket, folder: Path) -> None:
    waiting = b""
    try:
        while True:
            while b"\r\n\r\n" not in waiting:
                received = connection.recv(1 << 16)
                if not received:
                    return
                waiting += received
            asked, _, waiting = waiting.partition(b"\r\n\r\n")
            lines = asked.decode("latin-1").split("\r\n")
            method, path, _ = lines[0].split(" ")
            wanted = next((line[13:] for line in lines if line.lower().startswith("range: bytes=")), None)
            with (folder / path.lstrip("/")).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                first, last = 0, size - 1
                if wanted is not None:
                    begin, _, end = wanted.partition("-")
                    first, last = int(begin), int(end or size - 1)
                head = f"HTTP/1.1 {200 if wanted is None else 206} OK\r\nContent-Length: {last - first + 1}\r\n"
                head += f'ETag: "{size}"\r\nAccept-Ranges: bytes\r\n'
                head += "" if wanted is None else f"Content-Range: bytes {first}-{last}/{size}\r\n"
                connection.sendall(f"{head}\r\n".encode())
                if method == "GET":
                    connection.sendfile(file, first, last - first + 1)
    except OSError:
        return  # the client has what it wanted
    finally:
        connection.close()


if __name__ == "__main__":
    main()
