"""The HTTP source against real servers on the loopback: one that is well-behaved, and scripted ones that are not."""

from __future__ import annotations

import hashlib
import os
import resource
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest

from d4c_pipeline.commands.demo import serve, serve_folder
from d4c_pipeline.model.errors import D4CError, SourceError, StorageError, TransientError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import HttpSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.http import HttpFiles
from d4c_pipeline.sources.port import Arrived
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.support.arrivals import path_of, retained, sha256_of

V2021 = Vintage.parse("2021")
QUICK = Patience(attempts=3, first_wait=0.01, longest_wait=0.05, connect_timeout=2, read_timeout=0.5)
BODY = bytes(range(256)) * 2000  # 512 000 bytes
SHA256 = hashlib.sha256(BODY).hexdigest()
DATE = "Sat, 04 May 2024 23:30:00 GMT"


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the script; keeps what was asked."""

    protocol_version = "HTTP/1.1"
    script: Callable[[Handler, int], None]
    asked: list[Handler]

    def do_GET(self) -> None:
        self.asked.append(copy(self))  # one handler serves all requests of a connection
        self.script(self, len([request for request in self.asked if request.command == self.command]))

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def log_message(self, *_: object) -> None: ...

    def answer(self, code: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> None:
        self.send_response(code)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        if length is not None:
            self.close_connection = True


@dataclass
class Origin:
    url: str
    asked: list[Handler] = field(default_factory=list)


@contextmanager
def scripted(script: Callable[[Handler, int], None]) -> Iterator[Origin]:
    asked: list[Handler] = []
    handler = type("Scripted", (Handler,), {"script": staticmethod(script), "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield Origin(f"http://127.0.0.1:{server.server_port}", asked)
        finally:
            server.shutdown()
            thread.join()


def source(*urls: str, vintages: tuple[Vintage, ...] | None = (V2021,), **options: object) -> HttpFiles:
    options = {"origins": {}, "patience": QUICK, **options}
    return HttpFiles(HttpSource(kind="http", urls=urls), vintages=vintages, **options)  # type: ignore[arg-type]


def leaves_nothing(into: Path) -> None:
    assert not into.exists() or [path.name for path in into.iterdir()] == []


def test_files_arrive_whole_with_their_facts_under_the_declared_address(tmp_path: Path) -> None:
    path = tmp_path / "www12.statcan.gc.ca" / "files" / "a b.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    os.utime(path, (1714865400, 1714865400))
    url = "https://www12.statcan.gc.ca/files/a%20b.bin?st=1"
    told: list[tuple[str, int, int | None]] = []
    with serve(tmp_path) as origins:
        (got,) = source(url, origins=origins).fetch(V2021, tmp_path / "into", progress=lambda *t: told.append(t))
        assert path_of(got) == tmp_path / "into" / "a b.bin"
        assert path_of(got).read_bytes() == BODY
        native = retained(got)
        assert (native.name, native.url, native.size, native.sha256) == ("a b.bin", url, 512_000, SHA256)
        assert (native.last_modified, native.content_type) == (DATE, "application/octet-stream")
        assert native.etag == f'"{SHA256[:32]}"'
        assert told[-1] == ("a b.bin", 512_000, 512_000)
        assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
        mark = source(url, origins=origins).observe(V2021).files[0]
        assert (mark.url, mark.etag, mark.last_modified, mark.length) == (url, native.etag, DATE, 512_000)
    assert {each.name for each in (tmp_path / "into").iterdir()} == {"a b.bin", ".fetch.jsonl"}


def test_what_is_known_is_not_sent_again_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "served" / "a.bin"
    path.parent.mkdir()
    path.write_bytes(BODY)
    with serve_folder(path.parent) as origin:
        files = source(f"{origin}/a.bin")
        (first,) = files.fetch(V2021, tmp_path / "one")
        known = replace(retained(first), address="raw/x/2021/abc/a.bin")
        (again,) = files.fetch(V2021, tmp_path / "two", [known])
        assert again is known
        leaves_nothing(tmp_path / "two")
        before = files.observe(V2021)
        path.write_bytes(b"other")
        (changed,) = files.fetch(V2021, tmp_path / "three", [known])
        assert (path_of(changed).read_bytes(), changed.size) == (b"other", 5)
        assert files.observe(V2021).digest != before.digest


@pytest.mark.parametrize("validators", [{"ETag": '"v1"'}, {"Last_Modified": DATE}])
def test_a_server_that_ignores_conditions_is_recognised_by_its_validator(
    tmp_path: Path, validators: dict[str, str]
) -> None:
    with scripted(lambda request, _: request.answer(200, BODY, **validators)) as origin:
        files = source(f"{origin.url}/a.bin")
        (first,) = files.fetch(V2021, tmp_path)
        (again,) = files.fetch(V2021, tmp_path, [retained(first)])
        assert isinstance(again, NativeFile)
        (other,) = files.fetch(V2021, tmp_path / "other", [replace(retained(first), size=7)])
        assert isinstance(other, Arrived), "the same date with another length is another file"
    assert origin.asked[0].headers["User-Agent"].startswith("d4c-pipeline/")
    assert origin.asked[0].headers["User-Agent"].endswith(" (+https://github.com/dataforcanada)")
    assert origin.asked[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("code", "words"),
    [(404, "does not exist"), (410, "does not exist"), (403, "refuses access"), (451, "answered 451")],
)
def test_a_refusal_is_permanent_and_asked_once(tmp_path: Path, code: int, words: str) -> None:
    with scripted(lambda request, _: request.answer(code)) as origin:
        with pytest.raises(SourceError, match=words) as caught:
            source(f"{origin.url}/a.zip").fetch(V2021, tmp_path)
        assert caught.value.remedy
        # A 403 may be meant for our name: it is asked once more under another.
        assert len(origin.asked) == (2 if code == 403 else 1)
    leaves_nothing(tmp_path)


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/zip"])
def test_a_page_with_status_200_is_never_data(tmp_path: Path, content_type: str) -> None:
    page = b"\n<!DOCTYPE html><html><body>Service unavailable / non disponible</body></html>"
    with (
        scripted(lambda request, _: request.answer(200, page, Content_Type=content_type)) as origin,
        pytest.raises(SourceError, match="web page instead of data"),
    ):
        source(f"{origin.url}/lpr_000a21a_e.zip").fetch(V2021, tmp_path)
    leaves_nothing(tmp_path)


def test_a_zip_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    with (
        scripted(lambda request, _: request.answer(200, b"\x1f\x8bgzip", Content_Type="application/zip")) as origin,
        pytest.raises(SourceError, match=r"a\.zip is not a zip"),
    ):
        source(f"{origin.url}/a.zip").fetch(V2021, tmp_path)
    leaves_nothing(tmp_path)


def test_a_file_already_here_survives_a_failing_fetch(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"earlier")
    with scripted(lambda request, _: request.answer(200, b"no zip")) as origin, pytest.raises(SourceError):
        source(f"{origin.url}/a.zip").fetch(V2021, tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == b"earlier"


@pytest.mark.parametrize("code", [408, 425, 429, 500, 503])
def test_a_server_that_recovers_is_waited_for(tmp_path: Path, code: int) -> None:
    def script(request: Handler, number: int) -> None:
        request.answer(code, Retry_After="0") if number == 1 else request.answer(200, BODY)

    with scripted(script) as origin:
        (got,) = source(f"{origin.url}/a.bin").fetch(V2021, tmp_path)
    assert sha256_of(got) == SHA256


def test_a_server_that_does_not_recover_is_transient(tmp_path: Path) -> None:
    with scripted(lambda request, _: request.answer(503)) as origin:
        with pytest.raises(TransientError, match=r"answered 503 \(3 attempts\)"):
            source(f"{origin.url}/a.bin").fetch(V2021, tmp_path)
        assert len(origin.asked) == 3
    leaves_nothing(tmp_path)


def test_a_body_cut_short_is_continued_where_it_ended(tmp_path: Path) -> None:
    def script(request: Handler, number: int) -> None:
        if number == 1:
            request.answer(200, BODY[:300_000], length=len(BODY), ETag='"v1"')
            return
        first = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
        assert request.headers["If-Range"] == '"v1"'
        request.answer(206, BODY[first:], ETag='"v1"', Content_Range=f"bytes {first}-{len(BODY) - 1}/{len(BODY)}")

    with scripted(script) as origin:
        (got,) = source(f"{origin.url}/a.bin").fetch(V2021, tmp_path)
        assert (sha256_of(got), got.size) == (SHA256, len(BODY))
        assert origin.asked[1].headers["Range"] == "bytes=300000-", "what is here is not asked for again"
    assert (tmp_path / "a.bin").read_bytes() == BODY


@pytest.mark.parametrize("how", ["whole", "lies", "weak"])
def test_a_file_that_changed_under_way_is_never_joined_from_two(tmp_path: Path, how: str) -> None:
    def script(request: Handler, number: int) -> None:
        if number == 1:
            request.answer(200, b"old" * 100_000, length=len(BODY), ETag='W/"v1"' if how == "weak" else '"v1"')
        elif "Range" in request.headers and how == "lies":  # sends the range of the new file all the same
            request.answer(206, BODY[300_000:], ETag='"v2"', Content_Range=f"bytes 300000-511999/{len(BODY)}")
        else:
            assert how != "weak" or "Range" not in request.headers
            request.answer(200, BODY, ETag='"v2"')

    with scripted(script) as origin:
        (got,) = source(f"{origin.url}/a.bin").fetch(V2021, tmp_path)
    assert (sha256_of(got), got.etag) == (SHA256, '"v2"')
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_body_that_stays_too_short_is_an_error(tmp_path: Path) -> None:
    with (
        scripted(lambda request, _: request.answer(200, BODY, length=len(BODY) + 1)) as origin,
        pytest.raises(TransientError, match="3 attempts"),
    ):
        source(f"{origin.url}/a.bin").fetch(V2021, tmp_path)
    leaves_nothing(tmp_path)


def test_a_cut_zip_without_a_length_is_noticed(tmp_path: Path) -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", "x" * 5000)
    whole = buffer.getvalue()

    def script(request: Handler, number: int) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(whole if number == 2 else whole[:3000])
        request.close_connection = True

    with scripted(script) as origin:
        (got,) = source(f"{origin.url}/a.zip").fetch(V2021, tmp_path)
        assert got.size == len(whole)
        assert len(origin.asked) == 2


def test_a_silent_server_times_out(tmp_path: Path) -> None:
    release = threading.Event()
    quick = replace(QUICK, attempts=2, read_timeout=0.1)
    with scripted(lambda request, _: (release.wait(5), request.answer(200))[1]) as origin:
        try:
            with pytest.raises(TransientError, match=r"did not answer in time \(2 attempts\)"):
                source(f"{origin.url}/a.bin", patience=quick).fetch(V2021, tmp_path)
        finally:
            release.set()


def redirecting(request: Handler, _: int) -> None:
    targets = {
        "/start.bin?x=1": "https://elsewhere.example/there/a.bin",
        "/there/a.bin": "../here.bin",
        "/loop.bin": "/loop.bin",
        "/ftp.bin": "ftp://a.ca/x.bin",
        "/file.bin": "file:///etc/passwd",
        "/half.bin": "http://[half/x.bin",
    }
    if request.path in targets:
        request.answer(302, Location=targets[request.path])
    else:
        request.answer(200, BODY)


def test_redirects_are_followed_and_each_hop_is_rewritten(tmp_path: Path) -> None:
    with scripted(redirecting) as origin:
        origins = {"https://elsewhere.example": origin.url, "https://start.example": origin.url}
        (got,) = source("https://start.example/start.bin?x=1", origins=origins).fetch(V2021, tmp_path)
        assert [request.path for request in origin.asked] == ["/start.bin?x=1", "/there/a.bin", "/here.bin"]
    assert (sha256_of(got), got.url) == (SHA256, "https://start.example/start.bin?x=1")
    assert got.name == "start.bin"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("loop.bin", "redirects more than 10 times"),
        ("ftp.bin", "'ftp://a.ca/x.bin', which is not http"),
        ("file.bin", "'file:///etc/passwd', which is not http"),
        ("half.bin", "not an address"),
    ],
)
def test_redirects_that_lead_nowhere_are_refused(tmp_path: Path, path: str, words: str) -> None:
    with scripted(redirecting) as origin, pytest.raises(SourceError, match=words):
        source(f"{origin.url}/{path}").fetch(V2021, tmp_path)
    leaves_nothing(tmp_path)


def test_nobody_listening_and_no_such_name_are_transient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with scripted(lambda *_: None) as origin:
        pass  # the port is free again
    with pytest.raises(TransientError, match=r"No connection to 127\.0\.0\.1"):
        source(f"{origin.url}/a.bin").fetch(V2021, tmp_path)
    with pytest.raises(TransientError, match=r"name nowhere\.invalid can't be resolved"):
        source("http://nowhere.invalid/a.bin", patience=replace(QUICK, attempts=1)).fetch(V2021, tmp_path)


def test_a_compressed_answer_is_stored_as_the_file_it_is(tmp_path: Path) -> None:
    import gzip

    packed = gzip.compress(b"a,b\n1,2\n")
    with scripted(lambda request, _: request.answer(200, packed, Content_Encoding="gzip")) as origin:
        (got,) = source(f"{origin.url}/a.csv").fetch(V2021, tmp_path)
    assert (tmp_path / "a.csv").read_bytes() == b"a,b\n1,2\n"
    assert got.size == 8


def test_a_file_larger_than_the_disk_is_refused_before_it_comes(tmp_path: Path) -> None:
    with (
        scripted(lambda request, _: request.answer(200, b"x", length=1 << 60)) as origin,
        pytest.raises(StorageError, match=r"a\.bin needs 1,152,921,504,606,846,976 bytes"),
    ):
        source(f"{origin.url}/a.bin").fetch(V2021, tmp_path)
    leaves_nothing(tmp_path)


def test_a_disk_that_takes_no_more_is_a_storage_error(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with scripted(lambda request, _: request.answer(200, BODY)) as origin:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(StorageError, match="Can't write in"):
                source(f"{origin.url}/a.bin").fetch(V2021, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    leaves_nothing(tmp_path)


def test_two_files_of_one_name_lie_side_by_side(tmp_path: Path) -> None:
    with scripted(lambda request, _: request.answer(200, request.path.encode())) as origin:
        got = source(f"{origin.url}/on/stops.csv", f"{origin.url}/qc/stops.csv").fetch(V2021, tmp_path)
    assert [path_of(each).read_text() for each in got] == ["/on/stops.csv", "/qc/stops.csv"]


def test_the_vintage_is_the_utc_day_of_the_newest_file(tmp_path: Path) -> None:
    for name, moment in (("a.bin", 1714865400), ("b.bin", 1714779000)):  # 4 May 23:30 and 3 May 23:30, UTC
        (tmp_path / name).write_bytes(BODY)
        os.utime(tmp_path / name, (moment, moment))
    with serve_folder(tmp_path) as origin:
        files = source(f"{origin}/b.bin", f"{origin}/a.bin", vintages=None)
        assert [str(vintage) for vintage in files.discover()] == ["2024-05-04"]
        assert len(files.fetch(Vintage.parse("2024-05-04"), tmp_path / "into")) == 2
        with pytest.raises(SourceError, match="serves vintage 2024-05-04 now, not 2024-05-03"):
            files.fetch(Vintage.parse("2024-05-03"), tmp_path / "other")
        leaves_nothing(tmp_path / "other")


def test_a_vintage_that_changes_under_way_is_refused(tmp_path: Path) -> None:
    def script(request: Handler, _: int) -> None:
        newer = "Sun, 05 May 2024 00:10:00 GMT"
        request.answer(200, BODY, Last_Modified=DATE if request.command == "HEAD" else newer)

    with scripted(script) as origin, pytest.raises(SourceError, match="serves vintage 2024-05-05 now, not 2024-05-04"):
        source(f"{origin.url}/a.bin", vintages=None).fetch(Vintage.parse("2024-05-04"), tmp_path)


@pytest.mark.parametrize("code", [405, 501, 403])
def test_a_server_that_refuses_head_is_asked_for_one_byte(tmp_path: Path, code: int) -> None:
    def script(request: Handler, _: int) -> None:
        if request.command == "HEAD":
            request.answer(code)
        else:
            assert request.headers["Range"] == "bytes=0-0"
            request.answer(206, BODY[:1], Content_Range=f"bytes 0-0/{len(BODY)}", Last_Modified=DATE)

    with scripted(script) as origin:
        files = source(f"{origin.url}/a.bin", vintages=None)
        assert [str(vintage) for vintage in files.discover()] == ["2024-05-04"]
        assert files.observe(Vintage.parse("2024-05-04")).files[0].length == len(BODY)


@pytest.mark.parametrize("date", [{}, {"Last_Modified": "yesterday"}])
def test_without_a_date_nothing_is_discovered(tmp_path: Path, date: dict[str, str]) -> None:
    with (
        scripted(lambda request, _: request.answer(200, BODY, ETag='"x"', **date)) as origin,
        pytest.raises(SourceError, match="states no time of its last modification"),
    ):
        source(f"{origin.url}/a.bin", vintages=None).discover()


def test_a_page_makes_no_vintage(tmp_path: Path) -> None:
    with (
        scripted(lambda r, _: r.answer(200, b"<html>", Content_Type="text/html", Last_Modified=DATE)) as origin,
        pytest.raises(D4CError, match="web page"),
    ):
        source(f"{origin.url}/a.zip", vintages=None).discover()


def test_a_proxy_of_the_environment_is_not_asked_for_the_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with scripted(lambda request, _: request.answer(200, BODY)) as origin:
        (got,) = source(f"{origin.url}/a.bin").fetch(V2021, tmp_path)
    assert sha256_of(got) == SHA256
