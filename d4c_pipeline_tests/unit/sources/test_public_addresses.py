"""Which addresses a redirect or a document may lead to, and that it is judged before anything is connected."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import urllib3

from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.model.sources import HttpSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.fetch.pools import pools
from d4c_pipeline.sources.fetch.public import is_public, public_addresses
from d4c_pipeline.sources.http import HttpFiles
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.support import origin_server as o

INNER = """
127.0.0.1 127.8.8.8 0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 169.254.169.254 172.16.0.1 192.0.0.8 192.0.0.192
192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 168.63.129.16 224.0.0.1 239.1.1.1 240.0.0.1
255.255.255.255 :: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1
fe80::1%eth0 fec0::1 ff02::1 ff0e::1
"""
PUBLIC = "8.8.8.8 1.1.1.1 142.24.10.1 ::ffff:8.8.8.8 2606:4700:4700::1111 2001:4860:4860::8888 2a00:1450::1"
V2021 = Vintage.parse("2021")


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have names lead to one of `answers` after the other; return what is asked for."""
    asked: list[str] = []
    rest = list(answers)

    def getaddrinfo(host: str, port: Any, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        found = rest.pop(0) if len(rest) > 1 else rest[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("address", INNER.split())
def test_what_is_not_of_the_public_internet_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_what_is_public_passes(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("spelt", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost"])
def test_every_spelling_of_the_loopback_is_one(spelt: str) -> None:
    with pytest.raises(SourceError, match="no public address"):
        public_addresses(spelt, 80)


def test_one_inner_address_of_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(SourceError, match=r"resolves to 10\.0\.0\.1"):
        public_addresses("rebinds.example", 80)


def test_the_address_that_was_judged_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[Any] = []

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    asked = resolving(monkeypatch, ["8.8.8.8", "1.1.1.1"], ["127.0.0.1"])
    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    manager = pools({"retries": False}, secure=False, proxy=None, guarded=True)
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        manager.request("GET", "http://rebinds.example:81/x")
    assert connected == [("8.8.8.8", 81), ("1.1.1.1", 81)]
    assert asked == ["rebinds.example"], "asked once: the second answer would have been the loopback"


def files(url: str, origins: dict[str, str], **declared: Any) -> HttpFiles:
    source = HttpSource(kind="http", urls=(url,), **declared)
    return HttpFiles(source, origins=origins, vintages=(V2021,), patience=Patience(attempts=1))


@pytest.mark.parametrize(
    "inner", ["{url}/data.zip", "http://localhost:{port}/data.zip", "http://[::1]:{port}/data.zip"]
)
def test_a_publisher_s_redirect_inside_is_refused_and_nothing_is_said_there(inner: str, tmp_path: Path) -> None:
    with o.serving(o.Origin(o.good)) as inside, o.serving(o.Origin(o.good)) as publisher:
        to = inner.format(url=inside.url, port=inside.url.rpartition(":")[2])
        publisher.behaviour = lambda handler, _: handler.reply(302, Location=to)
        origins = {"https://data.example.ca": publisher.url}
        with pytest.raises(SourceError, match="no public address") as caught:
            files("https://data.example.ca/data.zip", origins).fetch(V2021, tmp_path)
        assert inside.asked == []
        assert "private_addresses: true" in caught.value.remedy


def test_where_it_is_declared_an_inner_address_is_followed(tmp_path: Path) -> None:
    with o.serving(o.Origin(o.good)) as inside, o.serving(o.Origin(o.good)) as publisher:
        publisher.behaviour = lambda handler, _: handler.reply(302, Location=f"{inside.url}/data.zip")
        url, origins = "https://data.example.ca/data.zip", {"https://data.example.ca": publisher.url}
        (got,) = files(url, origins, private_addresses=True).fetch(V2021, tmp_path)
        assert got.size == len(inside.body)
