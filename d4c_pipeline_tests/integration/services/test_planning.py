"""Planning a subset of files at an address that answers slowly: its deadline, and how many are planned at a time."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.model.errors import OverdueError, TransientError
from d4c_pipeline.services.lanes import Lane
from d4c_pipeline.services.protocol import Services
from d4c_pipeline.services.subset.engine import Engine
from d4c_pipeline.services.subset.source import Sources
from d4c_pipeline.services.subsetting import planning_lane, subset_lane


class Slow(BaseHTTPRequestHandler):
    body, asked, seconds = b"", list[float](), 0.2

    def do_HEAD(self) -> None:
        self.answer(200, b"", len(self.body))

    def do_GET(self) -> None:
        first, last = map(int, re.findall(r"\d+", self.headers["Range"]))
        part = self.body[first : last + 1]
        self.answer(206, part, len(part))

    def answer(self, status: int, part: bytes, size: int) -> None:
        self.asked.append(time.monotonic())
        time.sleep(self.seconds)
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[str]:
    pq.write_table(pa.table({"id": [1, 2]}), tmp_path / "a.parquet")
    Slow.body = (tmp_path / "a.parquet").read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_footers_of_many_slow_files_have_a_deadline(slow: str) -> None:
    with Engine(threads=1) as engine:
        assert Sources(engine).of((f"{slow}/0.parquet",), "0").rows == 2
        each = len(Slow.asked)
        Slow.asked.clear()
        with pytest.raises(TransientError, match="took too long"):
            Sources(engine, seconds=0.5).of(tuple(f"{slow}/{number}.parquet" for number in range(1, 31)), "1")
    assert len(Slow.asked) < 15 * each  # of 30


def test_the_statistics_of_many_slow_files_have_a_deadline(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They had none: 30 files took six seconds and more."""
    files = tuple(f"{slow}/{number}.parquet" for number in range(30))
    with Engine(threads=1) as engine:
        sources = Sources(engine, seconds=2)
        monkeypatch.setattr(Slow, "seconds", 0)
        assert sources.of(files, "2").rows == 60
        monkeypatch.setattr(Slow, "seconds", 0.2)
        began = time.monotonic()
        with pytest.raises(OverdueError, match="took too long"):
            sources.statistics(files, "2")
        assert time.monotonic() - began < 4


@pytest.mark.parametrize(("here", "threads"), [(True, [4, 2]), (False, [8, 8])])
def test_as_many_are_planned_as_made_where_files_are_waited_for(*, here: bool, threads: list[int]) -> None:
    class Server:
        class index:  # noqa: N801
            class store:  # noqa: N801
                @staticmethod
                def local_path(_address: str) -> Path | None:
                    return Path("catalogue") if here else None

        @staticmethod
        def lane(what: str, threads: int) -> Lane:
            made[what] = threads
            return Lane(what, threads)

    made: dict[str, int] = {}
    services = cast("Services", cast("Any", Server))
    for lane in (planning_lane, subset_lane):
        lane(services)
    assert list(made.values()) == threads
