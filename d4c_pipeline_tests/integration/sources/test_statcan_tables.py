"""The Web Data Service over real tables and metadata, served as the service answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import StatCanTableSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.statcan_members import StatCanMembers
from d4c_pipeline.sources.statcan_table import StatCanTable, release_vintage
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.support import origin_server as o
from d4c_pipeline_tests.support.arrivals import path_of, retained

REST = "/t1/wds/rest"
QUICK = Patience(attempts=2, first_wait=0.01, longest_wait=0.05, connect_timeout=2, read_timeout=2)
RELEASE = Vintage.parse("2025-06-11T1230")


class Service:
    """The documents of one table, which a test may change."""

    def __init__(self, fixtures: Path) -> None:
        folder = fixtures / "08_statcan_wds"
        self.metadata: dict[str, Any] = json.loads((folder / "33100036.json").read_text("utf-8"))
        self.zip = (folder / "33100036-eng.zip").read_bytes()

    def metadata_answer(self, handler: o.Handler) -> Any:
        assert handler.headers["Content-Type"] == "application/json"
        assert json.loads(handler.form) == [{"productId": 33100036}]
        return [{"status": "SUCCESS", "object": self.metadata}]

    @contextmanager
    def serving(self) -> Iterator[tuple[o.Origin, dict[str, str]]]:
        origin = o.Origin(o.good, body=self.zip)
        origin.documents = {f"{REST}/getCubeMetadata": self.metadata_answer} | {
            f"{REST}/getFullTableDownloadCSV/33100036/{language}": {
                "status": "SUCCESS",
                "object": f"https://www150.statcan.gc.ca/n1/tbl/csv/33100036-{suffix}.zip",
            }
            for language, suffix in (("en", "eng"), ("fr", "fra"))
        }
        with o.serving(origin):
            yield origin, {"https://www150.statcan.gc.ca": origin.url}


@pytest.fixture
def service(fixtures: Path) -> Service:
    return Service(fixtures)


def table(origins: dict[str, str], **declared: Any) -> StatCanTable:
    source = StatCanTableSource(kind="statcan_table", **{"table": "33-10-0036-01", **declared})
    return StatCanTable(source, origins=origins, patience=QUICK)


@pytest.mark.parametrize(
    ("text", "vintage"),
    [
        ("2025-06-11T08:30", "2025-06-11T1230"),  # Eastern daylight time
        ("2018-12-11T08:30", "2018-12-11T1330"),  # Eastern standard time
        ("2025-06-11T12:30:00Z", "2025-06-11T1230"),
        ("2012-08-01T00:00:00-04:00", "2012-08-01T0400"),
        ("2019-10-22T12:10", "2019-10-22T1610"),
    ],
)
def test_a_release_time_is_the_same_moment_whatever_call_tells_it(text: str, vintage: str) -> None:
    assert str(release_vintage(text)) == vintage


def test_a_release_time_that_is_none_is_told() -> None:
    with pytest.raises(SourceError, match="'soon' is not a release time"):
        release_vintage("soon")


def test_a_table_comes_in_both_languages_with_its_metadata(service: Service, tmp_path: Path) -> None:
    with service.serving() as (origin, origins):
        source = table(origins, languages=["en", "fr"])
        assert source.discover() == (RELEASE,)
        fetched = source.fetch(RELEASE, tmp_path)
        names = ["33100036-eng.zip", "33100036-fra.zip", "33100036.json"]
        assert [one.name for one in fetched] == names
        assert path_of(fetched[0]).read_bytes() == service.zip
        assert fetched[0].url == "https://www150.statcan.gc.ca/n1/tbl/csv/33100036-eng.zip"
        assert json.loads((tmp_path / "33100036.json").read_text("utf-8")) == service.metadata
        described = source.describe(RELEASE)
        assert described is not None
        assert described.title[1] == "Taux de change moyens quotidiens en dollars canadiens, Banque du Canada"
        before = origin.sent
        again = source.fetch(RELEASE, tmp_path / "again", [retained(one) for one in fetched])
        assert [isinstance(one, NativeFile) for one in again] == [True, True, False]
        assert origin.sent == before


def test_observing_asks_for_metadata_and_address_and_sees_a_release(service: Service) -> None:
    with service.serving() as (origin, origins):
        before = table(origins).observe(RELEASE)
        assert (origin.requests, origin.sent) == (2, 0)
        assert table(origins).observe(RELEASE) == before
        service.metadata["releaseTime"] = "2025-06-12T08:30"
        assert table(origins).observe(RELEASE).digest != before.digest
        with pytest.raises(SourceError, match="serves vintage 2025-06-12T1230 now, not 2025-06-11T1230"):
            table(origins).fetch(RELEASE, Path("nowhere"))


def test_a_correction_after_the_release_is_seen(service: Service) -> None:
    """The release time stays: the metadata say it, or the zip does."""
    with service.serving() as (origin, origins):
        seen = [table(origins).observe(RELEASE).digest]
        service.metadata["correction"] = [{"correctionId": "1", "correctionDate": "2025-06-12"}]
        seen.append(table(origins).observe(RELEASE).digest)
        service.metadata["issueDate"] = "2025-06-12"
        seen.append(table(origins).observe(RELEASE).digest)
        origin.etag = '"v2"'
        seen.append(table(origins).observe(RELEASE).digest)
        origin.body += b" "
        seen.append(table(origins).observe(RELEASE).digest)
        service.metadata["subjectCode"] = ["1"]
        assert len(set(seen)) == 5
        assert table(origins).observe(RELEASE).digest == seen[-1]


def test_a_zip_that_is_not_yet_that_of_the_release_is_waited_for(service: Service, tmp_path: Path) -> None:
    with service.serving() as (_, origins):
        service.metadata["nbDatapointsCube"] += 21
        with pytest.raises(TransientError, match="it has 90,086 rows, table 33100036 has 90,107"):
            table(origins).fetch(RELEASE, tmp_path)


def test_a_release_that_is_announced_is_none_yet(service: Service, tmp_path: Path) -> None:
    with service.serving() as (_, origins):
        service.metadata["releaseTime"] = "2099-01-05T08:30"
        with pytest.raises(SourceError, match="The release of table 33100036 is dated 2099-01-05 13:30 UTC"):
            table(origins).discover()


def test_a_release_in_the_middle_of_a_fetch_is_not_mixed(service: Service, tmp_path: Path) -> None:
    def released_while_sent(handler: o.Handler, _: int) -> None:
        service.metadata["releaseTime"] = "2025-06-12T08:30"
        handler.whole()

    with service.serving() as (origin, origins):
        origin.behaviour = released_while_sent
        with pytest.raises(SourceError, match="serves vintage 2025-06-12T1230 now"):
            table(origins).fetch(RELEASE, tmp_path)


@pytest.mark.parametrize("how", ["status", "code"])
def test_a_table_that_is_being_updated_is_transient(service: Service, how: str) -> None:
    with service.serving() as (origin, origins):
        if how == "status":
            del origin.documents[f"{REST}/getCubeMetadata"]
            origin.behaviour = lambda handler, _: handler.reply(409, b"{}", Content_Type="application/json")
        else:
            inner = {"responseStatusCode": 6, "productId": 33100036}
            origin.documents[f"{REST}/getCubeMetadata"] = [{"status": "FAILED", "object": inner}]
        with pytest.raises(TransientError, match="being updated"):
            table(origins).discover()


def test_a_file_that_is_being_updated_is_waited_for(service: Service, tmp_path: Path) -> None:
    with service.serving() as (origin, origins):
        address = origin.documents.pop(f"{REST}/getFullTableDownloadCSV/33100036/en")
        origin.behaviour = lambda handler, number: (
            handler.reply(409, b"{}")
            if number == 1
            else handler.reply(200, json.dumps(address).encode(), Content_Type="application/json")
            if "getFull" in handler.path
            else handler.whole()
        )
        assert table(origins).fetch(RELEASE, tmp_path)[0].size == len(service.zip)


def test_a_table_that_does_not_exist_is_told(service: Service) -> None:
    with service.serving() as (origin, origins):
        origin.documents[f"{REST}/getCubeMetadata"] = [{"status": "FAILED", "object": "Cube Product Id is invalid"}]
        with pytest.raises(SourceError, match="Cube Product Id is invalid"):
            table(origins).discover()


def test_8000_tables_cost_one_request_and_the_changes_of_a_day_another() -> None:
    cubes = [
        {
            "productId": 10100000 + number,
            "cubeTitleEn": f"Table {number}",
            "cubeTitleFr": f"Tableau {number}",
            "releaseTime": "2025-06-11T12:30:00Z",
            "archived": "1" if number % 10 == 0 else "2",
        }
        for number in range(8000)
    ]
    changed = [{"responseStatusCode": 0, "productId": "10100007", "releaseTime": "2025-06-12T08:30"}]
    origin = o.Origin(o.is_gone)
    origin.documents = {
        f"{REST}/getAllCubesListLite": cubes,
        f"{REST}/getChangedCubeList/2025-06-12": {"status": "SUCCESS", "object": changed},
        f"{REST}/getChangedCubeList/2025-06-14": {"status": "SUCCESS", "object": "No releases on this date"},
    }
    with o.serving(origin):
        members = StatCanMembers(f"{origin.url}{REST}", origins={}, patience=QUICK)
        listed = members.listed()
        assert (len(listed), sum(one.archived for one in listed)) == (8000, 800)
        assert (listed[7].key, str(listed[7].vintage)) == ("10100007", "2025-06-11T1230")
        assert listed[7].facts == {"title_en": "Table 7", "title_fr": "Tableau 7"}
        assert {key: str(vintage) for key, vintage in members.changed(date(2025, 6, 12)).items()} == {
            "10100007": "2025-06-12T1230"  # a text here, a number there; Eastern here, UTC there
        }
        assert members.changed(date(2025, 6, 14)) == {}
        assert origin.requests == 3


def test_corrections_since_the_release_are_another_state_of_a_member() -> None:
    def cube(*dates: str) -> dict[str, Any]:
        corrections = [{"correctionId": str(number), "correctionDate": date} for number, date in enumerate(dates)]
        return {"productId": 10100007, "releaseTime": "2025-06-11T12:30:00Z", "corrections": corrections}

    marks: list[str] = []
    for dates in ([], ["2016-08-12"], ["2025-06-12"], ["2025-06-12", "2025-06-13"]):
        with o.serving(o.Origin(o.is_gone, documents={f"{REST}/getAllCubesListLite": [cube(*dates)]})) as origin:
            (listed,) = StatCanMembers(f"{origin.url}{REST}", origins={}, patience=QUICK).listed()
            marks.append(listed.mark)
    assert marks[:2] == ["2025-06-11T1230", "2025-06-11T1230"], "an earlier one was part of the release"
    assert len({mark[:16] for mark in marks}) == 3, "told apart by what the automation is told"
    assert all(mark.endswith("2025-06-11T1230") and len(mark) <= 64 for mark in marks)


@pytest.mark.parametrize("code", [404, 409])
def test_a_day_without_releases_is_no_failure(code: int) -> None:
    with o.serving(o.Origin(lambda handler, _: handler.reply(code, b'{"object": "nothing that day"}'))) as origin:
        assert StatCanMembers(f"{origin.url}{REST}", origins={}, patience=QUICK).changed(date(2025, 6, 15)) == {}


@pytest.mark.parametrize("answer", [{"message": "maintenance"}, [{"cubeTitleEn": "no id"}], "sorry"])
def test_a_list_that_is_none_is_refused(answer: Any) -> None:
    origin = o.Origin(o.is_gone, documents={f"{REST}/getAllCubesListLite": answer})
    with o.serving(origin), pytest.raises(SourceError, match="returned no list of tables"):
        StatCanMembers(f"{origin.url}{REST}", origins={}, patience=QUICK).listed()
