"""Feeds of the releases whose changes touch a column, a key, a box or a province."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import feedparser
import httpx
import pyproj
import pytest

from d4c_pipeline.catalogue import feeds
from d4c_pipeline.metadata.published import Bounds, PublishedMetadata
from d4c_pipeline.model.errors import DataError, IntegrityError, TransientError
from d4c_pipeline.model.release import Withdrawal
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.version import Version
from d4c_pipeline.services import record_port
from d4c_pipeline.services.protocols import feeds as protocol
from d4c_pipeline.services.protocols.feeds import _boxes  # pyright: ignore[reportPrivateUsage]
from d4c_pipeline.services.release_changes import ChangedRows, changes_file
from d4c_pipeline_tests.support.samples import PLACES
from d4c_pipeline_tests.support.served import protocols

ATOM = "/feeds/releases.en.atom"
(_, _, _, X, Y), *_ = [each for each in PLACES if each[0] == 3]
NEAR, FAR = f"{X - 1},{Y - 1},{X + 1},{Y + 1}", f"{X + 2},{Y + 2},{X + 3},{Y + 3}"


@pytest.fixture(scope="module")
def client(published: Settings) -> Iterator[httpx.Client]:
    with protocols(published) as opened:
        yield opened


@pytest.mark.parametrize(
    ("query", "versions"),
    [
        ("dataset=places", ["2021, v0.1.1-beta", "2021, v0.1.0-beta", "2016, v0.1.0-beta"]),
        ("dataset=places&column=population", ["2021, v0.1.1-beta"]),
        ("dataset=places,rates&column=population,rate", ["2021, v0.1.1-beta"]),
        ("dataset=places&column=name", []),
        ("dataset=places&key=3", ["2021, v0.1.1-beta"]),
        ("dataset=places&key=4*", []),
        (f"dataset=places&bbox={NEAR}", ["2021, v0.1.1-beta"]),
        (f"dataset=places&bbox={FAR}", []),
        (f"dataset=places&bbox={NEAR}&key=3&column=population", ["2021, v0.1.1-beta"]),
        (f"dataset=places&bbox={NEAR}&column=name", []),
        ("dataset=places&province=QC", []),  # its rows state no province
        ("dataset=rates&key=*", []),
    ],
)
def test_only_releases_whose_changes_touch_it(client: httpx.Client, query: str, versions: list[str]) -> None:
    answer = client.get(f"{ATOM}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/atom+xml")
    read = feedparser.parse(answer.content)
    assert not read.bozo
    assert [entry.title.partition(", ")[2] for entry in read.entries] == versions
    (own,) = [link.href for link in read.feed.links if link.rel == "self"]
    assert client.get(own).content == answer.content
    unchanged = client.get(f"{ATOM}?{query}", headers={"If-None-Match": answer.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


def test_a_feed_in_json_and_french_and_an_id_for_each_query(client: httpx.Client) -> None:
    found = client.get("/feeds/releases.fr.json?dataset=places&key=3").json()
    assert found["language"] == "fr"
    assert found["title"] == "Changements de places, clé 3"
    assert "enregistrements dont des valeurs diffèrent : 1" in found["items"][0]["content_text"]
    queries = ("dataset=places", "dataset=places&key=3", "dataset=places&key=4")
    identifiers = {feedparser.parse(client.get(f"{ATOM}?{query}").content).feed.id for query in queries}
    assert len(identifiers) == 3


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        (ATOM, 400, "/catalogue/releases.en.atom"),
        (f"{ATOM}?dataset=nothing", 404, "catalog.json"),
        (f"{ATOM}?dataset=places&bbox=1,2,3", 400, "bbox="),
        (f"{ATOM}?dataset=places&bbox=1,50,2,40", 400, "bbox="),
        (f"{ATOM}?dataset=places&bbox=a,b,c,d", 400, "bbox="),
        (f"{ATOM}?dataset=places&province=Saskatoon", 400, "letters"),
        (f"{ATOM}?dataset=places&keys=3", 400, "column"),
        (f"{ATOM}?dataset=places&key={'a' * 1_001}", 400, "Shorten"),
        ("/feeds/releases.de.atom?dataset=places", 404, "releases.fr.json"),
    ],
)
def test_a_wrong_request_is_a_problem_document(client: httpx.Client, address: str, status: int, words: str) -> None:
    answer = client.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert words in answer.json()["remedy"]


def test_a_box_in_the_crs_of_the_data() -> None:
    assert _boxes((-80.0, 45.0, -70.0, 50.0), "EPSG:4326") == ((-80.0, 45.0, -70.0, 50.0),)
    assert len(_boxes((170.0, -10.0, -170.0, 10.0), "EPSG:4326")) == 2
    ((west, south, east, north),) = _boxes((-80.0, 45.0, -70.0, 50.0), "EPSG:3347")
    # Ottawa (-75.70, 45.42) and Saguenay (-71.07, 48.43) in metres.
    for x, y in ((7_471_069, 1_190_424), (7_715_141, 1_615_457)):
        assert west < x < east
        assert south < y < north


# Iqaluit, Ottawa, St. John's, Victoria, Alert and Windsor.
CANADA = ((-68.52, 63.75), (-75.70, 45.42), (-52.71, 47.56), (-123.37, 48.43), (-62.35, 82.50), (-83.04, 42.31))


@pytest.mark.parametrize("crs", ["EPSG:3347", "EPSG:3978", "EPSG:26918", "EPSG:4617"])
@pytest.mark.parametrize(
    "box",
    [
        (-180.0, -90.0, 180.0, 90.0),
        (-180.0, -89.0, 180.0, 89.0),
        (-170.0, 40.0, 179.0, 84.0),
        (100.0, 0.0, -50.0, 84.0),
    ],
)
def test_a_box_with_all_of_canada_has_it_in_every_crs(crs: str, box: Bounds) -> None:
    boxes = _boxes(box, crs)
    there = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    for place in CANADA:
        x, y = there.transform(*place)
        assert any(west < x < east and south < y < north for west, south, east, north in boxes), place


@pytest.mark.parametrize("crs", ["EPSG:3347", "EPSG:4617"])
@pytest.mark.parametrize("box", [(60.0, 30.0, 110.0, 60.0), (-180.0, -60.0, 180.0, -1.0), (-180.0, 40.0, -150.0, 84.0)])
def test_a_box_elsewhere_has_no_place_of_canada(crs: str, box: Bounds) -> None:
    there = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    for place in CANADA:
        x, y = there.transform(*place)
        found = [each for each in _boxes(box, crs) if each[0] < x < each[2] and each[1] < y < each[3]]
        assert not found, place


def test_a_box_at_180_degrees_keeps_that_side_in_another_datum() -> None:
    ((west, _, east, _),) = _boxes((-180.0, 40.0, 180.0, 80.0), "EPSG:4617")
    assert (west, east) == (-180.0, 180.0)
    ((west, _, east, _),) = _boxes((-180.0, 40.0, -170.0, 80.0), "EPSG:4267")
    assert west == -180.0
    assert east == pytest.approx(-170.0, abs=0.02)


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[PublishedMetadata]:
    """The release with rows of changes, which all requests of a test find five times under other names."""
    real, copies = record_port.published, []

    def published(cursor: Any, rows: Any) -> dict[int, PublishedMetadata]:
        found = real(cursor, rows)
        (each,) = [each for each in found.values() if changes_file(each) is not None]
        for number in range(5):
            files = tuple(replace(file, sha256=f"{each.name}{number}{len(copies)}") for file in each.files)
            copies.append(replace(each, files=files, version=Version(9, 0, number)))
        return dict(enumerate(copies))

    monkeypatch.setattr(record_port, "published", published)
    return copies


def items(client: httpx.Client, query: str) -> list[Any]:
    answer = client.get(f"/feeds/releases.fr.json?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def test_each_dataset_has_its_newest_releases(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_MOST_READ", 1)
    monkeypatch.setattr(feeds, "PAGE", 1)
    assert len(items(client, "dataset=places,rates")) == 1
    (newest,) = items(client, "dataset=places")
    assert newest["title"].endswith("2021, v0.1.1-beta")


@pytest.mark.usefixtures("copied")
def test_no_more_files_are_read_than_a_feed_has_entries(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(ChangedRows, "count", lambda _: read.append("") or 1)
    monkeypatch.setattr(feeds, "PAGE", 2)
    assert (len(items(client, "dataset=places&key=2*")), len(read)) == (2, 2)


@pytest.mark.usefixtures("copied")
def test_a_release_whose_changes_cannot_be_read_is_in_the_feed(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([TransientError("gone"), DataError("damaged"), IntegrityError("missing")])

    def count(_: ChangedRows) -> int:
        if (failure := next(failures, None)) is not None:
            raise failure
        return 0

    monkeypatch.setattr(ChangedRows, "count", count)
    assert len(items(client, "dataset=places&key=1*")) == 3
    assert caplog.text.count("narrowed feeds have it") == 3


@pytest.mark.usefixtures("copied")
def test_a_release_whose_changes_are_gone_from_the_store_is_in_the_feed(
    client: httpx.Client, published: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    (file,) = [path for path in published.home.rglob("*changes*.parquet") if "releases" in path.parts]
    away = file.rename(file.with_name("away"))
    try:
        assert len(items(client, "dataset=places&key=1*1")) == 5
    finally:
        away.rename(file)
    assert "is not in the store" in caplog.text


def test_a_request_that_takes_too_long_is_to_be_asked_again(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "_SECONDS", -1.0)
    answer = client.get(f"{ATOM}?dataset=places&key=5")
    assert (answer.status_code, answer.headers["retry-after"]) == (504, "5")
    assert "Ask again" in answer.json()["remedy"]
    assert client.get(f"{ATOM}?dataset=places&column=population").status_code == 200  # reads no file


def test_the_changes_of_a_withdrawn_release_are_not_read(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    real, withdrawal = record_port.published, Withdrawal(datetime(2026, 12, 1, tzinfo=UTC), "Wrong values")

    def withdrawn(cursor: Any, rows: Any) -> dict[int, PublishedMetadata]:
        return {place: replace(each, withdrawn=withdrawal) for place, each in real(cursor, rows).items()}

    monkeypatch.setattr(record_port, "published", withdrawn)
    monkeypatch.setattr(ChangedRows, "count", lambda _: pytest.fail("read"))
    for query in ("key=6", f"bbox={FAR}&key=6"):
        (item,) = items(client, f"dataset=places&{query}")
        assert "2021, v0.1.1-beta" in item["title"]


def test_a_province_is_found_by_the_counts(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    real = record_port.published

    def counted(cursor: Any, rows: Any) -> dict[int, PublishedMetadata]:
        return {
            position: replace(each, counts=each.counts and {**each.counts, "province": {"24": 1}})
            for position, each in real(cursor, rows).items()
        }

    monkeypatch.setattr(record_port, "published", counted)
    for province, count in (("QC", 1), ("24", 1), ("Québec,Ontario", 1), ("Ontario", 0)):
        found = client.get("/feeds/releases.en.json", params={"dataset": "places", "province": province}).json()
        assert len(found["items"]) == count, province
