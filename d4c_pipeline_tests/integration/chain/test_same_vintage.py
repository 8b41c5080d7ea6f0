"""Files under a new date, or a new name of their content, that hold what is retained: no vintage, nothing due."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.chain import latest, raw, versions
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.watch import noticing, vintages
from d4c_pipeline.watch.noticing_report import ask_now
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.integration.chain.test_raw_of_sources import HOST, dataset, zipped
from d4c_pipeline_tests.support import origin_server as o
from d4c_pipeline_tests.support import samples
from d4c_pipeline_tests.support.feature_server import LAYER, FeatureServer, ridings
from d4c_pipeline_tests.support.samples import corrected, define, geojson

ROWS, OTHER = b"id,name\n1,a\n2,b\n", b"id,name\n1,a\n2,c\n"
DAY = "Tue, {:02} Mar 2024 10:00:00 GMT"
V5, V6 = Vintage.parse("2024-03-05"), Vintage.parse("2024-03-06")


class Publisher:
    """One file, with the headers that a test sets; None leaves one out."""

    def __init__(self) -> None:
        self.body = ROWS
        self.etag: str | None = None
        self.date: str | None = DAY.format(5)
        self.bodies: dict[str, bytes] = {}
        self.sent = 0

    def serve(self, handler: o.Handler, _: int = 0) -> None:
        body = self.bodies.get(handler.path, self.body)
        headers = {"ETag": self.etag, "Last-Modified": self.date, "Content-Type": "text/csv"}
        handler.start(200, Content_Length=str(len(body)), **{k: v for k, v in headers.items() if v})
        if handler.command != "HEAD":
            handler.wfile.write(body)
            self.sent += 1


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Publisher:
    made = Publisher()
    monkeypatch.setattr(o.Handler, "whole", lambda handler, **_: made.serve(handler))
    return made


@pytest.fixture
def deployment(tmp_path: Path, publisher: Publisher) -> Iterator[Deployment]:
    with (
        o.serving(o.Origin(publisher.serve)) as running,
        Deployment.open(Settings(home=tmp_path / "home", origins={HOST: running.url})) as opened,
    ):
        yield opened


def stops(name: str = "stops.csv", declared: Any = "discovered") -> Dataset:
    return dataset({"kind": "http", "urls": [f"{HOST}/{name}"]}, declared)


def published(deployment: Deployment, one: Dataset, vintage: Vintage) -> raw.Retained:
    """What the chain records when it goes all the way with a vintage."""
    result = raw.retain(deployment, one, vintage)
    seen = deployment.ledger.observations.get(one.id, str(vintage))
    assert result.fingerprint is not None
    deployment.ledger.observations.record_retained(
        one.id, str(vintage), result.fingerprint, seen.seen if seen else None
    )
    deployment.ledger.observations.record_settled(one.id, str(vintage))
    return result


def served(deployment: Deployment, one: Dataset) -> list[str]:
    source = open_source(one, deployment.settings.origins)
    return [str(vintage) for vintage in vintages.served_vintages(deployment, one, source)]


def due(deployment: Deployment, one: Dataset) -> list[str]:
    row = ask_now(deployment, one)
    assert row["failed"] is None, row
    return row["due"]


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "always modified now": ({}, {"date": DAY.format(6)}),
    "a strong ETag": ({"etag": '"1"'}, {"etag": '"1"', "date": DAY.format(6)}),
    "back ends that name it differently": ({"etag": '"a"'}, {"etag": '"b"'}),
    "back ends of another date": ({"etag": '"a"'}, {"etag": '"b"', "date": DAY.format(4)}),
    "a weak ETag": ({"etag": 'W/"1"'}, {"etag": 'W/"2"', "date": DAY.format(6)}),
}


@pytest.mark.parametrize("how", list(SAME))
def test_the_same_bytes_are_the_same_vintage(deployment: Deployment, publisher: Publisher, how: str) -> None:
    first, then = SAME[how]
    one = stops()
    vars(publisher).update(first)
    assert due(deployment, one) == ["2024-03-05"]
    published(deployment, one, V5)
    assert due(deployment, one) == []
    vars(publisher).update(then)
    assert served(deployment, one) == ["2024-03-05"]
    row = ask_now(deployment, one)
    assert (row["due"], row["failed"]) == ([], None)
    assert ("and serves what is retained as 2024-03-05" in row.get("remark", "")) is ("date" in then)
    publisher.body = OTHER
    publisher.etag = publisher.etag and '"new"'
    publisher.date = DAY.format(7)
    assert due(deployment, one) == ["2024-03-07"], "what really changes is noticed"


def test_a_strong_etag_spares_the_file(deployment: Deployment, publisher: Publisher) -> None:
    one = stops()
    publisher.etag = '"1"'
    published(deployment, one, V5)
    before, publisher.date = publisher.sent, DAY.format(6)
    assert due(deployment, one) == []
    assert publisher.sent == before


def test_an_etag_that_never_changes_is_caught_by_the_length(deployment: Deployment, publisher: Publisher) -> None:
    one = stops()
    publisher.etag = '"0"'
    published(deployment, one, V5)
    publisher.body, publisher.date = OTHER + b"3,d\n", DAY.format(6)
    assert due(deployment, one) == ["2024-03-06"]


@pytest.mark.parametrize(
    ("name", "first", "then"),
    [
        ("stops.zip", zipped(1), zipped(2)),
        ("stops.csv.gz", gzip.compress(ROWS, mtime=1), gzip.compress(ROWS, mtime=2)),
        ("stops.csv.gz", gzip.compress(ROWS * 50, 1, mtime=1), gzip.compress(ROWS * 50, 9, mtime=1)),
    ],
    ids=["zip", "gzip", "gzip of another level"],
)
def test_what_was_packed_anew_is_the_same_vintage(
    deployment: Deployment, publisher: Publisher, name: str, first: bytes, then: bytes
) -> None:
    one = stops(name)
    publisher.body, publisher.etag = first, '"1"'
    kept = published(deployment, one, V5).natives
    publisher.body, publisher.etag, publisher.date = then, '"2"', DAY.format(6)
    assert due(deployment, one) == []
    again = raw.retain(deployment, one, V6)
    assert (again.vintage, [one.sha256 for one in again.natives]) == (V5, [one.sha256 for one in kept])


def test_a_large_file_is_told_by_the_fetch(
    deployment: Deployment, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vintages, "TRIAL_BYTES", 3)
    one = stops()
    published(deployment, one, V5)
    publisher.date = DAY.format(6)
    assert served(deployment, one) == ["2024-03-06"], "nothing that is asked can tell"
    again = raw.retain(deployment, one, V6)
    assert again.vintage == V5
    assert deployment.ledger.natives.vintages(one.id) == (V5,)
    assert deployment.ledger.natives.held_by(one.id, V6) == V5
    publisher.body = OTHER
    assert raw.retain(deployment, one, V6).vintage == V6, "changed on the same day"
    assert deployment.ledger.natives.held_by(one.id, V6) == V6


def test_a_file_of_several_that_is_new_makes_a_vintage(deployment: Deployment, publisher: Publisher) -> None:
    one = dataset({"kind": "http", "urls": [f"{HOST}/a.csv", f"{HOST}/b.csv"]}, "discovered")
    published(deployment, one, V5)
    publisher.date = DAY.format(6)
    assert served(deployment, one) == ["2024-03-05"]
    publisher.bodies["/b.csv"] = OTHER
    assert served(deployment, one) == ["2024-03-06"]
    assert raw.retain(deployment, one, V6).vintage == V6


def test_a_date_ahead_is_refused_until_it_is_right(deployment: Deployment, publisher: Publisher) -> None:
    one = stops()
    publisher.date = "Thu, 01 Jan 2099 00:00:00 GMT"
    with pytest.raises(SourceError, match="in the future"):
        noticing.discover(deployment, one)
    assert "in the future" in ask_now(deployment, one)["failed"]
    assert due(deployment, stops(declared=("2024",))) == ["2024"], "the remedy: a vintage that is listed"


def test_edits_that_nothing_shows_are_seen_by_the_content(
    deployment: Deployment, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stops(declared=("2024",))
    publisher.date = None
    assert ask_now(deployment, one)["due"] == ["2024"]
    published(deployment, one, Vintage.parse("2024"))
    assert due(deployment, one) == []
    publisher.body = OTHER  # as long as before
    assert due(deployment, one) == ["2024"]
    published(deployment, one, Vintage.parse("2024"))
    assert due(deployment, one) == []
    monkeypatch.setattr(vintages, "TRIAL_BYTES", 3)
    row = ask_now(deployment, one)
    assert (row["due"], row["failed"]) == ([], None)
    assert row["remark"].startswith(f"edits of {HOST}/stops.csv can't be noticed")


def stamped(hour: int, content: bytes | None = None) -> bytes:
    """The places as a WFS writes them: with the time of the answer in the document."""
    document = json.loads(content or geojson())
    return json.dumps({**document, "timeStamp": f"2024-03-05T{hour:02}:00:00Z"}).encode()


def test_a_document_with_the_hour_in_it_is_the_vintage_of_its_rows(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = f"{samples.HOST}/current.geojson"
    (definitions,) = chain.settings.definitions
    define(definitions, vintages="discovered", series="rolling", source={"kind": "http", "urls": [current]})
    days = [datetime(2024, 3, day, 10, tzinfo=UTC) for day in (5, 6, 7)]
    chain.origin.put(current, stamped(5), days[0])
    chain.run(vintage="2024-03-05")
    chain.origin.put(current, stamped(6), days[1])
    plan = chain.run("raw", "processed", "checksums", vintage="2024-03-06")
    assert (plan.unchanged, str(plan.release.vintage)) == (True, "2024-03-05")
    natives = chain.opened.ledger.natives
    assert str(natives.held_by("places", Vintage.parse("2024-03-06"))) == "2024-03-05"

    chain.origin.put(current, stamped(7, corrected()), days[2])
    chain.run(vintage="2024-03-07")
    dataset = chain.dataset
    newest = latest.newest_release(chain.opened, dataset, Vintage.parse("2024-03-05"))
    assert newest is not None
    assert str(newest.vintage) == "2024-03-07"
    # One that an older version of the platform published under the date of a mistaken clock.
    monkeypatch.setattr(versions, "is_ahead", lambda moment, _present: moment.day == 7)
    newest = latest.newest_release(chain.opened, dataset, Vintage.parse("2024-03-05"))
    assert newest is not None
    assert str(newest.vintage) == "2024-03-05", "it hides no other"


def test_a_declared_vintage_is_due_for_a_new_date_and_not_for_one_that_is_always_now(
    deployment: Deployment, publisher: Publisher
) -> None:
    one, vintage = stops(declared=("2024",)), Vintage.parse("2024")
    assert ask_now(deployment, one)["due"] == ["2024"]
    published(deployment, one, vintage)
    publisher.date = format_datetime(datetime.now(UTC), usegmt=True)
    assert due(deployment, one) == []
    publisher.date = DAY.format(9)
    assert due(deployment, one) == ["2024"]
    published(deployment, one, vintage)
    publisher.etag = '"a"'
    published(deployment, one, vintage)
    publisher.etag = '"b"'
    assert due(deployment, one) == [], "another server behind the address"


def test_an_edit_of_a_layer_without_a_date_is_seen_by_its_rows(deployment: Deployment, fixtures: Path) -> None:
    server = FeatureServer(ridings(fixtures))
    server.edited = None
    vintage = Vintage.parse("2024")
    with server.serving() as running:
        one = dataset({"kind": "arcgis", "layer": f"{running.url}{LAYER}", "private_addresses": True})
        assert due(deployment, one) == ["2024"]
        published(deployment, one, vintage)
        assert due(deployment, one) == []
        server.rows[4]["attributes"][server.fields[1]["name"]] = "edited"
        assert due(deployment, one) == ["2024"]
        published(deployment, one, vintage)
        assert due(deployment, one) == []


def test_a_layer_whose_date_moved_alone_is_the_same_vintage(deployment: Deployment, fixtures: Path) -> None:
    server = FeatureServer(ridings(fixtures))
    with server.serving() as running:
        source = {"kind": "arcgis", "layer": f"{running.url}{LAYER}", "private_addresses": True}
        one = dataset(source, "discovered")
        published(deployment, one, Vintage.parse("2024-05-04"))
        assert server.edited is not None
        server.edited += 3 * 86_400_000
        assert due(deployment, one) == []
        server.edited = 4_070_908_800_000
        assert "in the future" in ask_now(deployment, one)["failed"]


def test_a_folder_that_was_copied_again_is_the_same_vintage(deployment: Deployment, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()

    def put(content: bytes, day: int) -> None:
        (drop / "a.csv").write_bytes(content)
        moment = datetime(2024, 3, day, 10, tzinfo=UTC).timestamp()
        os.utime(drop / "a.csv", (moment, moment))

    one = dataset({"kind": "folder", "path": str(drop), "stable_seconds": 0}, "discovered")
    put(ROWS, 5)
    published(deployment, one, V5)
    assert due(deployment, one) == []
    put(ROWS, 6)
    assert due(deployment, one) == []
    put(ROWS, 5)
    assert due(deployment, one) == [], "another inode time alone"
    put(OTHER, 5)
    assert due(deployment, one) == ["2024-03-05"], "a kept date over other bytes"
