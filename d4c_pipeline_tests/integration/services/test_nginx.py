"""nginx with our configuration answers as `d4c serve` does: the same bytes, status and headers, on a real nginx."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.services.nginx import configuration
from d4c_pipeline.services.portal_files import PATHS
from d4c_pipeline.services.protocol import chosen, opened

REPOSITORY = Path(__file__).parents[3]
IN_CONTAINER = {
    "store": "/var/lib/d4c/store",
    "records": "/var/lib/d4c/archive/records",
    "portal": "/var/lib/d4c/portal",
    "listen": "8763",
    "scratch": "/tmp",
    "services": "127.0.0.1:8770",
}
FILES = {
    "processed/stops.parquet": bytes(range(256)) * 1000,
    "catalogue/catalog.json": b"{}",
    "catalogue/stops/0.1.0.json": b"{}",
    "catalogue/torrents.rss": b"<rss/>",
    "releases/stops/2024/v0.1.0/stops.parquet": b"PAR1" * 1000,
    "releases/stops/2024/v0.1.0/stops.item.json": b"{}",
    "releases/stops/2024/v0.1.0/stops.CHECKSUMS": b"0  stops.parquet\n",
    "releases/stops/2024/v0.1.0/README.md": "# Arrêts".encode(),
    "releases/stops/2024/v0.1.0/page.html": b"<script>",
    "releases/stops/2024/v0.1.0/stops.gpkg": b"SQLite format 3",
    "raw/stops/2024/0123456789ab/PAGE.HTML": b"<script>",
    "raw/stops/2024/0123456789ab/map.svg": b"<svg/>",
    "raw/stops/2024/0123456789ab/unknown.xyz": b"\x00\x01",
    "raw/stops/2024/0123456789ab/stops.csv": b"id\n1\n",
    "raw/stops/2024/0123456789ab/arr\xeats l\u2019\xe9t\xe9.zip": b"PK",
    "snapshots/catalogue-0123456789ab.parquet": b"PAR1",
    "torrents/stops_v0.1.0.torrent": b"d4:infoe",
    "processed/gone.parquet.withdrawn.txt": "Withdrawn: arrêts".encode(),
}
PORTAL = {
    "index.html": b"<h1>Donn\xc3\xa9es</h1>",
    "en/index.html": b"<h1>Data</h1>" * 200,
    "fr/datasets/stops/index.html": b"<h1>Arr\xc3\xaats</h1>",
    "en/datasets/stops/2021/0.1.0-beta/index.html": (
        b'<head><link rel="canonical" href="https://x.example.org/">'
        b'<link rel="cite-as" href="https://doi.org/10.5281/zenodo.1?a=1&amp;b=2">'
        b'<link rel="item" href="/releases/stops.parquet" type="application/x-parquet">'
        b'<link rel="item" href="/releases/&#34;, &lt;x&gt;" type="text/html">'
        b'<link rel="describedby" href="/catalogue/stops/2021/0.1.0-beta.json" type="application/geo+json"></head>'
        b'<link rel="item" href="/of-the-body">'
    ),
    "fr/404.html": b"<h1>Rien</h1>",
    "assets/site-0a1b2c3d.js": b"export {}\n" * 200,
    "assets/base-0a1b2c3d.pmtiles": bytes(range(256)) * 10,
    "assets/licences.txt": b"MIT",
}
ALIKE = (
    "Content-Type",
    "Content-Length",
    "Cache-Control",
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "Content-Range",
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses of d4c serve and of nginx, over the same folders."""
    if shutil.which("nginx") is None:
        assert "CI" not in os.environ, "CI installs nginx-light"
        pytest.skip("nginx is not installed")
    root = tmp_path_factory.mktemp("served")
    store, records, scratch = root / "store", root / "records", root / "scratch"
    scratch.mkdir()
    for name, content in FILES.items():
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(content)
    portal = root / "portal"
    for name, content in PORTAL.items():
        (portal / name).parent.mkdir(parents=True, exist_ok=True)
        (portal / name).write_bytes(content)
    (portal / ".state.sqlite").write_bytes(b"SQLite format 3")
    (store / "releases" / ".0123.part").write_bytes(b"half")
    (store / "link").symlink_to(root / "scratch")
    (records / "1" / "files").mkdir(parents=True)
    (records / "1" / "files" / "stops.svg").write_bytes(b"<svg/>")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folders = {"store": str(store), "records": str(records), "portal": str(portal)}
    others = [Route(path, _echo, methods=["GET", "POST"]) for path in ("/oai", "/jobs/{job}", "/datasets/{rest:path}")]
    nginx = {"listen": f"127.0.0.1:{port}", "scratch": str(scratch)}
    with (
        serving({"/": store, "/archive/records": records, PATHS: portal}, others=others) as ours,
        _nginx(root, configuration(**folders, **nginx, services=ours.removeprefix("http://")), port),
    ):
        yield ours, f"http://127.0.0.1:{port}"


async def _echo(request: Request) -> Response:
    """Answer what reached a protocol."""
    seen = {
        "method": request.method,
        "url": str(request.url),
        "for": request.headers.get("X-Forwarded-For"),
        "body": len(await request.body()),
    }
    return JSONResponse(seen, headers={"Cache-Control": "no-store", "Vary": "Accept"})


@contextmanager
def _nginx(root: Path, text: str, port: int) -> Iterator[None]:
    scratch, text = root / "scratch", text.replace("worker_processes auto", "worker_processes 1")
    # Started by root, nginx would read as nobody, who may not look into the folders of tests.
    (root / "nginx.conf").write_text(("user root;\n" if os.geteuid() == 0 else "") + text, "utf-8")
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(["nginx", "-c", root / "nginx.conf", "-p", scratch], stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (root / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("path", [*FILES, "archive/records/1/files/stops.svg"])
@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=1-1"}])
def test_a_file_is_served_alike(servers: tuple[str, str], path: str, headers: dict[str, str]) -> None:
    asked = headers | {"Origin": "https://reader.example.org"}
    ours, theirs = (httpx.get(f"{url}/{path}", headers=asked, trust_env=False) for url in servers)
    assert (theirs.status_code, theirs.content) == (ours.status_code, ours.content)
    assert ours.status_code == 206 if headers else 200
    assert headers or theirs.headers["Accept-Ranges"] == "bytes"
    told = [{name: answer.headers.get(name) for name in ALIKE} for answer in (ours, theirs)]
    assert told[1] == told[0]
    disposition = [answer.headers["Content-Disposition"].split(";")[0] for answer in (ours, theirs)]
    assert disposition[1] == disposition[0]
    shown = [set(answer.headers["Access-Control-Expose-Headers"].split(", ")) for answer in (ours, theirs)]
    assert theirs.headers["Access-Control-Allow-Origin"] == "*"
    assert shown[1] == shown[0]


@pytest.mark.parametrize("path", ["", "en/", "fr/datasets/stops/", *(name for name in PORTAL if "/" in name)])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_the_portal_is_served_alike(servers: tuple[str, str], path: str, coding: str) -> None:
    answers = [httpx.get(f"{url}/{path}", headers={"Accept-Encoding": coding}, trust_env=False) for url in servers]
    names = ("Content-Type", "Cache-Control", "Content-Security-Policy", "X-Content-Type-Options", "Content-Encoding")
    ours, theirs = ({name: answer.headers.get(name) for name in names} for answer in answers)
    assert theirs == ours
    assert answers[1].content == answers[0].content
    assert [answer.status_code for answer in answers] == [200, 200]
    packed = coding == "gzip" and path in ("en/", "en/index.html", "assets/site-0a1b2c3d.js")
    assert ours["Content-Encoding"] == ("gzip" if packed else None)
    assert ours["Cache-Control"] == (
        "public, max-age=31536000, immutable" if path.startswith("assets/") and "licences" not in path else "no-cache"
    )
    assert "frame-ancestors 'none'" in str(ours["Content-Security-Policy"])


def test_the_icon_is_served_alike(servers: tuple[str, str]) -> None:
    ours, theirs = (httpx.get(f"{url}/favicon.ico", trust_env=False) for url in servers)
    names = ("Content-Type", "Cache-Control", "Content-Security-Policy", "X-Content-Type-Options")
    assert [theirs.headers[name] for name in names] == [ours.headers[name] for name in names]
    assert (theirs.status_code, theirs.content) == (200, ours.content)


def test_the_links_of_a_release_are_a_header(servers: tuple[str, str]) -> None:
    ours, theirs = (httpx.head(f"{url}/en/datasets/stops/2021/0.1.0-beta/", trust_env=False) for url in servers)
    assert ours.links["cite-as"]["url"] == "https://doi.org/10.5281/zenodo.1?a=1&b=2"
    assert ours.links["item"] == {"url": "/releases/stops.parquet", "rel": "item", "type": "application/x-parquet"}
    # nginx reads no page: the linkset has the other links.
    item = {"url": "/catalogue/stops/2021/0.1.0-beta.json", "rel": "describedby", "type": "application/geo+json"}
    assert (ours.links["describedby"], theirs.links["describedby"]) == (item, item)
    assert theirs.links["linkset"]["url"] == "/catalogue/stops/2021/0.1.0-beta/linkset.json"
    for url in servers:
        for path in ("en/", "en/datasets/stops/2021/9.9.9/", "en/datasets/a%0d%0aX-Bad:1/2021/1.0.0/"):
            assert "Link" not in httpx.get(f"{url}/{path}", trust_env=False).headers


def test_a_missing_page_has_the_page_for_it(servers: tuple[str, str]) -> None:
    for url in servers:
        answer = httpx.get(f"{url}/fr/datasets/nothing/", trust_env=False)
        assert (answer.status_code, answer.content) == (404, PORTAL["fr/404.html"])
        assert httpx.get(f"{url}/en/nothing/", trust_env=False).status_code == 404
        moved = httpx.get(f"{url}/fr/datasets/stops", trust_env=False, follow_redirects=True)
        assert moved.content == PORTAL["fr/datasets/stops/index.html"]
        for hidden in (".state.sqlite", "assets/.state.sqlite", "en/.x/index.html"):
            assert httpx.get(f"{url}/{hidden}", trust_env=False).status_code == 404


@pytest.mark.parametrize(
    "path", ["releases", "releases/", "releases/.0123.part", "link", "link/nginx.pid", "nothing", "archive/records/1"]
)
def test_what_is_hidden_is_hidden_alike(servers: tuple[str, str], path: str) -> None:
    for url in servers:
        assert httpx.get(f"{url}/{path}", trust_env=False, follow_redirects=True).status_code == 404


def test_a_withdrawn_release_is_gone_alike(servers: tuple[str, str]) -> None:
    for server in servers:
        gone = httpx.get(f"{server}/processed/gone.parquet", trust_env=False)
        assert (gone.status_code, gone.text) == (410, "Withdrawn: arrêts"), server
        assert gone.headers["content-type"] == "text/plain; charset=utf-8"
        assert httpx.get(f"{server}/processed/other.parquet", trust_env=False).status_code == 404


def test_browsers_may_ask_and_nobody_may_write(servers: tuple[str, str]) -> None:
    for url in servers:
        answer = httpx.options(
            f"{url}/processed/stops.parquet",
            headers={
                "Origin": "https://x.example.org",
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "range, cache-control",
            },
            trust_env=False,
        )
        assert answer.status_code < 300
        assert {"range", "cache-control", "user-agent"} <= set(
            answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
        )
        assert httpx.post(f"{url}/processed/stops.parquet", trust_env=False).status_code == 405


def test_protocols_are_reached_through_nginx(servers: tuple[str, str]) -> None:
    _, nginx = servers
    with httpx.Client(base_url=nginx, trust_env=False) as client:
        body = "verb=Identify&x=" + "a" * 10_000
        posted = client.post("/oai?a=1", content=body)
        assert posted.json() == {"method": "POST", "url": f"{nginx}/oai?a=1", "for": "127.0.0.1", "body": len(body)}
        assert posted.headers.get_list("X-Content-Type-Options") == ["nosniff"]
        assert posted.headers.get_list("Cache-Control") == ["no-store"]
        assert "Content-Disposition" not in posted.headers
        forwarded = client.get("/jobs/1", headers={"X-Forwarded-For": "192.0.2.7"}).json()
        assert forwarded["for"] == "192.0.2.7, 127.0.0.1"
        assert client.post("/oai", content=b"a" * (2 << 20)).status_code == 413
        assert client.get("/oaixml").status_code == 404  # a file of the store, which it does not have
        asked = {"Origin": "https://x.example.org", "Access-Control-Request-Method": "POST"}
        assert "POST" in client.options("/oai", headers=asked).headers["Access-Control-Allow-Methods"]
        assert "POST" not in client.options("/processed/x", headers=asked).headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [("text/html,*/*;q=0.8", True), ("*/*", True), ("", True), ("application/ld+json", False), ("image/png", False)],
)
def test_a_page_answers_who_accepts_no_html_by_the_protocol(
    servers: tuple[str, str], accept: str, is_page: bool
) -> None:
    _, nginx = servers
    address = "datasets/stops/2021/0.1.0-beta"
    answer = httpx.get(f"{nginx}/en/{address}/", headers={"Accept": accept}, trust_env=False)
    assert answer.headers["Vary"].startswith("Accept")
    assert ("cite-as" in answer.text) == is_page
    if not is_page:
        assert answer.json()["url"] == f"{nginx}/{address}"


def test_every_address_of_a_protocol_is_passed_on(tmp_path: Path) -> None:
    for protocol in chosen(Settings(home=tmp_path)):
        with opened(Settings(home=tmp_path).model_copy(update={"services": (protocol.name,)})) as routes:
            folders = {str(getattr(route, "path", "")).split("/")[1] for route in routes}
        # A page of the portal asks for the record of its release.
        missing = folders - {*protocol.folders, "en", "fr"}
        assert not missing, f"{protocol.name}: state {', '.join(sorted(missing))} as `others`"


def test_a_condition_spares_a_transfer_alike(servers: tuple[str, str]) -> None:
    for url in servers:
        etag = httpx.head(f"{url}/processed/stops.parquet", trust_env=False).headers["ETag"]
        again = httpx.get(f"{url}/processed/stops.parquet", headers={"If-None-Match": etag}, trust_env=False)
        assert (again.status_code, again.content) == (304, b"")


def test_the_file_of_the_repository_is_what_the_tables_say() -> None:
    assert (REPOSITORY / "nginx.conf").read_text("utf-8") == configuration(**IN_CONTAINER), (
        "write nginx.conf again: d4c_pipeline.services.nginx.configuration"
    )
