"""The file server over a real socket: ranges, conditions, CORS, what it hides, and how it starts and stops."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.services.file_server import IDENTITY_PATH, serve_forever, serving
from d4c_pipeline.stores.folder import FolderStore

CONTENT = bytes(range(256)) * 1000
ADDRESS = "/releases/stops/2024/v0.1.0/stops.parquet"


@pytest.fixture
def mounts(tmp_path: Path) -> dict[str, Path]:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    store = FolderStore(tmp_path / "store", "http://x")
    store.put_immutable(source, ADDRESS[1:], hash_file(source))
    store.replace(b'{"type": "Catalog"}', "catalogue/catalog.json")
    store.replace(b"latest", "processed/stops.parquet")
    archive = tmp_path / "archive"
    FolderStore(archive, "http://x").replace(b"deposited", "records/1/files/stops.parquet")
    return {"/": tmp_path / "store", "/archive": archive}


@pytest.fixture
def client(mounts: dict[str, Path]) -> Iterator[httpx.Client]:
    with serving(mounts) as url, httpx.Client(base_url=url, trust_env=False) as http:
        yield http


def test_a_range_is_answered_with_206_and_its_very_bytes(client: httpx.Client) -> None:
    answer = client.get(ADDRESS, headers={"Range": "bytes=300-555"})
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == "bytes 300-555/256000"
    assert answer.headers["Content-Length"] == "256"
    assert answer.content == CONTENT[300:556]
    tail = client.get(ADDRESS, headers={"Range": "bytes=-10"})
    assert (tail.headers["Content-Range"], tail.content) == ("bytes 255990-255999/256000", CONTENT[-10:])


def test_the_icon_that_browsers_request_beside_every_file_is_served_without_a_portal(client: httpx.Client) -> None:
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/svg+xml")
    assert answer.content.startswith(b"<svg ")


def test_a_range_beyond_the_end_is_416_with_the_size(client: httpx.Client) -> None:
    answer = client.get(ADDRESS, headers={"Range": "bytes=256000-256001"})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */256000"


def test_head_and_the_whole_file_say_type_size_and_ranges(client: httpx.Client) -> None:
    for answer in (client.head(ADDRESS), client.get(ADDRESS)):
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/vnd.apache.parquet"
        assert answer.headers["Content-Length"] == "256000"
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert "Content-Encoding" not in answer.headers
    assert client.head(ADDRESS).content == b""
    assert client.get(ADDRESS).content == CONTENT
    assert client.post(ADDRESS).status_code == 405


def test_conditions_spare_or_protect_a_transfer(client: httpx.Client) -> None:
    etag = client.head(ADDRESS).headers["ETag"]
    unchanged = client.get(ADDRESS, headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["ETag"] == etag
    resumed = client.get(ADDRESS, headers={"Range": "bytes=0-9", "If-Range": etag})
    assert (resumed.status_code, resumed.content) == (206, CONTENT[:10])
    changed = client.get(ADDRESS, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (changed.status_code, changed.content) == (200, CONTENT)


def test_a_switched_file_has_another_etag_even_of_equal_size_and_time(
    client: httpx.Client, mounts: dict[str, Path]
) -> None:
    path = mounts["/"] / "processed/stops.parquet"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    before = client.head("/processed/stops.parquet").headers["ETag"]
    FolderStore(mounts["/"], "http://x").replace(b"newest", "processed/stops.parquet")
    os.utime(path, ns=times)
    after = client.get("/processed/stops.parquet")
    assert after.content == b"newest"
    assert after.headers["ETag"] != before


@pytest.mark.parametrize(
    ("path", "cache"),
    [
        (ADDRESS, "public, max-age=31536000, immutable"),
        ("/processed/stops.parquet", "public, no-cache"),
        ("/catalogue/catalog.json", "public, no-cache"),
        ("/archive/records/1/files/stops.parquet", "public, no-cache"),
    ],
)
def test_releases_are_cached_for_ever_and_the_latest_shortly(client: httpx.Client, path: str, cache: str) -> None:
    etag = client.get(path).headers["ETag"]
    for answer in (
        client.get(path),
        client.get(path, headers={"Range": "bytes=0-1"}),
        client.get(path, headers={"If-None-Match": etag}),
    ):
        assert answer.headers["Cache-Control"] == cache
    assert client.get("/releases/not/there").headers["Cache-Control"] == "no-store"


def test_browsers_of_any_origin_may_ask_for_ranges(client: httpx.Client) -> None:
    origin = {"Origin": "https://reader.example.org"}
    preflight = client.options(
        ADDRESS,
        headers=origin | {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range,if-range"},
    )
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "Range" in preflight.headers["Access-Control-Allow-Headers"]
    answer = client.get(ADDRESS, headers=origin | {"Range": "bytes=0-1"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    shown = answer.headers["Access-Control-Expose-Headers"]
    assert {"Content-Range", "Content-Length", "ETag", "Accept-Ranges"} <= set(shown.split(", "))


def test_folders_hidden_files_and_what_lies_outside_are_not_served(
    client: httpx.Client, mounts: dict[str, Path]
) -> None:
    root = mounts["/"]
    (root / "releases" / ".0123.part").write_bytes(b"half")
    (root / ".secret").mkdir()
    (root / ".secret" / "key").write_bytes(b"key")
    (root / "link").symlink_to(root.parent / "source")
    for path in ("/", "/releases/", "/releases", "/releases/.0123.part", "/.secret/key", "/link", "/nothing"):
        assert client.get(path).status_code == 404, path
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as raw:
        raw.sendall(b"GET /releases/../../source HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert raw.makefile("rb").readline().startswith(b"HTTP/1.1 404")


def test_a_page_of_the_portal_is_served_where_it_lies(client: httpx.Client, mounts: dict[str, Path]) -> None:
    FolderStore(mounts["/"], "http://x").replace(b"<h1>Donn\xc3\xa9es</h1>", "index.html")
    answer = client.get("/")
    assert (answer.status_code, answer.text) == (200, "<h1>Données</h1>")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_the_archive_is_a_mount_of_its_own(client: httpx.Client) -> None:
    assert client.get("/archive/records/1/files/stops.parquet").content == b"deposited"
    assert client.get("/archive/catalogue/catalog.json").status_code == 404


def test_a_file_switched_during_requests_is_served_whole(client: httpx.Client, mounts: dict[str, Path]) -> None:
    store = FolderStore(mounts["/"], "http://x")
    versions = {bytes([number]) * (200_000 + 1000 * number) for number in range(10)}
    done = threading.Event()

    def switch() -> None:
        while not done.is_set():
            for version in versions:
                store.replace(version, "processed/stops.parquet")

    store.replace(next(iter(versions)), "processed/stops.parquet")
    writer = threading.Thread(target=switch)
    writer.start()
    try:
        for _ in range(60):
            assert client.get("/processed/stops.parquet").content in versions
    finally:
        done.set()
        writer.join()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files can't be counted here")
def test_no_file_stays_open(client: httpx.Client) -> None:
    client.get(ADDRESS)
    etag = client.head(ADDRESS).headers["ETag"]
    before = len(list(Path("/proc/self/fd").iterdir()))
    for headers in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": etag}, {"Range": "bytes=999999-"}) * 10:
        client.get(ADDRESS, headers=headers)
        client.head(ADDRESS, headers=headers)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


def test_a_home_that_does_not_exist_yet_answers_404(tmp_path: Path) -> None:
    with serving({"/": tmp_path / "later"}) as url:
        assert httpx.get(f"{url}/catalogue/catalog.json", trust_env=False).status_code == 404


def test_it_stops_with_its_block_and_the_port_is_free_again(mounts: dict[str, Path]) -> None:
    with serving(mounts) as url:
        port = httpx.URL(url).port or 0
        assert httpx.get(url + ADDRESS, trust_env=False).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(url + ADDRESS, trust_env=False)
    with serving(mounts, port=port) as again:
        assert again == url


def test_a_server_of_the_same_home_is_used_and_left_running(mounts: dict[str, Path]) -> None:
    with serving(mounts) as url:
        with serving({"/": mounts["/"]}, port=httpx.URL(url).port or 0) as second:
            assert second == url
        assert httpx.get(url + ADDRESS, trust_env=False).status_code == 200
        told = httpx.get(url + IDENTITY_PATH, trust_env=False).text
        assert str(mounts["/"]) not in told


def test_a_port_with_another_owner_is_a_clear_error(mounts: dict[str, Path], tmp_path: Path) -> None:
    with serving(mounts) as url:
        port = httpx.URL(url).port or 0
        with (
            pytest.raises(PermanentError, match=f"{url} is in use by another program"),
            serving({"/": tmp_path / "another home"}, port=port),
        ):
            pass
        with pytest.raises(PermanentError, match="serves this home already"):
            serve_forever(mounts, "127.0.0.1", port)
    foreign = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=foreign.serve_forever, args=(0.01,), daemon=True).start()
    try:
        with pytest.raises(PermanentError, match="D4C_STORE_URL"), serving(mounts, port=foreign.server_port):
            pass
    finally:
        foreign.shutdown()
        foreign.server_close()


def test_an_address_of_another_machine_is_a_clear_error(mounts: dict[str, Path]) -> None:
    with (
        pytest.raises(PermanentError, match=r"Can't serve at http://192\.0\.2\.1:8763"),
        serving(mounts, "192.0.2.1", 8763),
    ):
        pass


def test_serve_forever_ends_cleanly_when_interrupted(mounts: dict[str, Path]) -> None:
    program = (
        "import signal, sys; from pathlib import Path\n"
        "from d4c_pipeline.services.file_server import serve_forever\n"
        # A test runner in the background of a script ignores the interrupt, and its children would too.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "serve_forever({'/': Path(sys.argv[1])}, '127.0.0.1', 0, lambda url: print(url, flush=True)); print('ended')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(mounts["/"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert httpx.get(url + ADDRESS, trust_env=False).content == CONTENT
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=15)
    assert (process.returncode, rest, errors) == (0, "ended\n", "")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("page.html", b"<script>alert(1)</script>", "text/html"),
        ("map.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image/svg+xml"),
        ("features.xml", b"<?xml-stylesheet href='x.xsl'?><a/>", "application/xml"),
        ("PAGE.HTML", b"<b>", "text/html"),
    ],
)
@pytest.mark.parametrize("place", ["raw/stops/2024/0123456789ab", "releases/stops/2024/v0.1.0"])
def test_what_a_publisher_wrote_never_runs_on_the_origin_of_the_store(
    client: httpx.Client, mounts: dict[str, Path], name: str, content: bytes, kind: str, place: str
) -> None:
    file = mounts["/"] / place / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    answer = client.get(f"/{place}/{name}")
    assert answer.content == content
    assert answer.headers["Content-Type"].startswith(kind)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_records_of_the_archive_are_foreign_too_and_our_own_pages_run(
    client: httpx.Client, mounts: dict[str, Path]
) -> None:
    FolderStore(mounts["/archive"], "http://x").replace(b"<script/>", "records/1/files/page.html")
    foreign = client.get("/archive/records/1/files/page.html").headers
    assert (foreign["Content-Disposition"][:10], foreign["Content-Security-Policy"][:7]) == ("attachment", "sandbox")
    FolderStore(mounts["/"], "http://x").replace(b"<h1>", "index.html")
    own = client.get("/index.html").headers
    assert (own["Content-Disposition"][:6], own.get("Content-Security-Policy")) == ("inline", None)
    assert own["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("id,name\n1,Montréal\n".encode("cp1252"), "text/csv"),
        ("id,name\n1,Montréal\n".encode("mac_roman"), "text/csv"),
        ("id,name\n1,Montréal\n".encode(), "text/csv; charset=utf-8"),
        ("\ufeffid\n".encode(), "text/csv; charset=utf-8"),
        ("id,name\n1,Montréal\n".encode("utf-16"), "text/csv; charset=utf-16"),
        (b"id,name\n1,Montreal\n", "text/csv"),
        (b"a" * 65535 + "é".encode(), "text/csv"),  # cut within a letter: nothing is known, nothing is wrong
        (b"", "text/csv"),
    ],
)
def test_a_native_text_has_the_charset_that_its_bytes_show(
    client: httpx.Client, mounts: dict[str, Path], content: bytes, kind: str
) -> None:
    file = mounts["/"] / "raw/stops/2024/0123456789ab/stops.csv"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert client.get("/raw/stops/2024/0123456789ab/stops.csv").headers["Content-Type"] == kind


def test_webtorrent_in_a_browser_may_send_its_headers(client: httpx.Client) -> None:
    asked = "cache-control,range,user-agent"
    preflight = client.options(
        ADDRESS,
        headers={
            "Origin": "https://player.example.org",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": asked,
        },
    )
    assert preflight.status_code == 200
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
    assert all(header in allowed for header in asked.split(","))


def test_a_server_without_open_answers_stops_at_once(mounts: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Uvicorn's own end waits twice for 0.1 s; a release starts and stops the server four times."""
    slow: list[object] = []
    monkeypatch.setattr(uvicorn.Server, "shutdown", lambda server, _sockets=None: slow.append(server))
    with serving(mounts) as url, httpx.Client(base_url=url, trust_env=False) as http:
        assert http.get(ADDRESS).status_code == 200
    assert not slow
    port = int(url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)) as again:  # the port is free for the next process
        assert again.getsockname()[1] == port
