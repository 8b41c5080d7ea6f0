"""Every link of every document of the catalogue answers, from `d4c serve`; again after the store moved."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.model.addresses import RECORD_PARTS
from d4c_pipeline.model.settings import Settings
from d4c_pipeline_tests.support.commands import D4C, Zygote
from d4c_pipeline_tests.support.home_of_releases import RELEASES
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import Origin

_ABSOLUTE = re.compile(r"https?://[^\s\"'<>)\]}|\\`]+")
_ATTRIBUTE = re.compile(r"\b(?:href|url|src)=\"([^\"]*)\"")
# Keys of JSON documents and columns whose values are links that may be relative.
_LINKS = {"href", "torrent", "data_urls", "archive_url", "torrent_url", "contentUrl", "url"}


def links(document: Path, address: str) -> Iterator[str]:
    """Yield the links of a document that lies at `address`, absolute."""
    if document.suffix == ".parquet":
        yield from _in_json(pq.read_table(document).to_pylist(), address)
        metadata = pq.read_schema(document).metadata
        if document.parent.name != "record-parts":  # they have the facts of records as JSON, with addresses in stores
            yield from _in_json(json.loads(metadata[b"stac-geoparquet"]), address)
        return
    text = document.read_text("utf-8")
    if document.suffix in (".json", ".jsonld"):
        yield from _in_json(json.loads(text), address)
        return
    for href in _ATTRIBUTE.findall(text):
        yield urljoin(address, unescape(href))
    yield from (unescape(url).rstrip(".,;") for url in _ABSOLUTE.findall(text))


def _in_json(value: Any, address: str, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _in_json(each, address, name)
    elif isinstance(value, list):
        for each in value:
            yield from _in_json(each, address, key)
    elif isinstance(value, str):
        if key in _LINKS:
            yield urljoin(address, value)
        elif _ABSOLUTE.fullmatch(value):
            yield value


@contextmanager
def serve(d4c: D4C, port: int) -> Iterator[str]:
    """`d4c serve` of the home at a port."""
    with subprocess.Popen(
        [sys.executable, "-m", "d4c_pipeline.commands.main", "serve", "--port", str(port)],
        env=d4c.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as serving:
        assert serving.stdout is not None
        try:
            serving.stdout.readline()
            yield f"http://127.0.0.1:{port}"
        finally:
            serving.terminate()


def dead_links(store: Path, base: str) -> tuple[set[str], dict[str, str]]:
    """Open every link of the documents below catalogue/; return the links on this machine and the dead ones."""
    found: dict[str, str] = {}
    for document in sorted((store / "catalogue").rglob("*")):
        address = document.relative_to(store).as_posix()
        if document.is_file() and not document.name.startswith("preflight"):
            found |= {link.partition("#")[0]: address for link in links(document, f"{base}/{address}")}
    local = {link for link in found if urlsplit(link).hostname == "127.0.0.1"}
    with httpx.Client(trust_env=False) as client:
        codes = {link: client.head(link).status_code for link in sorted(local)}
    return local, {link: f"{code} in {found[link]}" for link, code in codes.items() if code != 200}


@pytest.fixture
def d4c(home_of_releases: Settings, zygote: Zygote, tmp_path: Path) -> D4C:
    origin = Origin(tmp_path / "origin")
    definitions = str(home_of_releases.definitions[0])
    return D4C(zygote, home_of_releases.home, home_of_releases.port, origin, {"D4C_DEFS": definitions})


def test_every_link_answers_and_again_after_the_store_moved(d4c: D4C) -> None:
    store = d4c.home / "store"
    with serve(d4c, d4c.port) as first:
        before, dead = dead_links(store, first)
        assert dead == {}
        # Each data file and torrent, each document of the tree, the record and its files at the archive.
        assert {link for link in before if link.endswith(".parquet")} >= {
            f"{first}/{path.relative_to(store)}" for path in (store / "releases").rglob("*.parquet")
        }
        assert len([link for link in before if "/archive/records/" in link]) >= len(RELEASES)
        # The server at the first address stays for the archive: the documents name nothing else there.
        moved = free_port()
        d4c.settings["D4C_STORE_URL"] = f"http://127.0.0.1:{moved}"
        with serve(d4c, moved) as second:
            found = d4c.ok("catalogue", "rebuild")
            assert (found["releases"], found["left_out"]) == (len(RELEASES), [])
            after, dead = dead_links(store, second)
            assert dead == {}
    assert {link for link in after if link.startswith(first) and "/archive/records/" not in link} == set()
    # Parts of the records are named by their bytes, which state addresses.
    same = {link for link in before if "archive" not in link and RECORD_PARTS not in link}
    assert {link.replace(second, first) for link in after} >= same
