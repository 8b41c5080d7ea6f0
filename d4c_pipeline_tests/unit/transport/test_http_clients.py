"""One factory makes the HTTP clients: no other room constructs one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import d4c_pipeline
from d4c_pipeline.transport.clients import http_client
from d4c_pipeline.transport.identity import user_agent
from d4c_pipeline.transport.patience import Patience

PACKAGE = Path(d4c_pipeline.__file__).parent
MAY = ("transport/", "sources/fetch/")
REQUESTS = {"get", "post", "put", "patch", "delete", "head", "options", "request", "stream"}
CLIENTS = {
    "httpx": {"Client", "AsyncClient"} | REQUESTS,
    "requests": {"Session"} | REQUESTS,
    "urllib3": {
        "PoolManager",
        "ProxyManager",
        "HTTPConnectionPool",
        "HTTPSConnectionPool",
        "connection_from_url",
        "request",
    },
    "urllib.request": {"urlopen", "build_opener", "urlretrieve"},
    "http.client": {"HTTPConnection", "HTTPSConnection"},
}


def clients_in(source: str) -> Iterator[str]:
    """The calls in Python code that make an HTTP client or send a request without one."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                names[each.asname or each.name.partition(".")[0]] = (
                    each.name if each.asname else each.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, *rest = ast.unparse(node.func).split(".")
            module, _, name = ".".join([names.get(head, ""), *rest]).rpartition(".")
            if name in CLIENTS.get(module, ()):
                yield f"{module}.{name}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import httpx\nhttpx.Client()", ["httpx.Client"]),
        ("import httpx as h\nh.get('x')", ["httpx.get"]),
        ("from httpx import Client as C\nC()", ["httpx.Client"]),
        ("import urllib.request\nurllib.request.urlopen('x')", ["urllib.request.urlopen"]),
        ("import urllib3\nurllib3.PoolManager()", ["urllib3.PoolManager"]),
        ("import httpx\nhttpx.Timeout(1)", []),
        ("client.get('x')", []),
    ],
)
def test_a_client_is_recognised(source: str, found: list[str]) -> None:
    assert list(clients_in(source)) == found


def test_only_transport_and_the_fetching_of_sources_make_clients() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), call)
        for path in PACKAGE.rglob("*.py")
        for call in clients_in(path.read_text("utf-8"))
    }
    assert {room for room, _ in found if room.startswith(MAY)} >= {"transport/clients.py", "sources/fetch/pools.py"}
    assert sorted(each for each in found if not each[0].startswith(MAY)) == []


def test_every_client_names_us_and_has_time_outs() -> None:
    with http_client(Patience(connect_timeout=3, read_timeout=7)) as client, http_client(2.0) as other:
        assert client.headers["User-Agent"] == other.headers["User-Agent"] == user_agent()
        assert client.headers["Accept-Encoding"] == "identity"
        assert (client.timeout.connect, client.timeout.read) == (3, 7)
        assert (other.timeout.connect, other.timeout.read) == (2.0, 2.0)
