"""How the data of a submission changed at their sources: real records of portals, a bucket with versions, years."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest

from d4c_pipeline.appraisal.history import History, histories
from d4c_pipeline.model.sources import S3Source
from d4c_pipeline.sources.s3 import S3Objects
from d4c_pipeline_tests.fakes.s3 import Answer, FakeS3, Request

HOST = "https://data.example.ca"
BUCKET = "trees.example"  # with a dot, so that the address has the bucket in its path, as the test server needs it
AMAZON = "https://s3.ca-central-1.amazonaws.com"
PACKAGE = "c088f841-2d79-4c7e-9281-cc65cbae1b06"
LAYER = "/arcgis/rest/services/Trees/FeatureServer/0"


class Publisher(BaseHTTPRequestHandler):
    """Files and documents by path: bytes with a date, a status, or an address to redirect to."""

    answers: ClassVar[dict[str, Any]] = {}

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.path = f"{self.path}#{sent[0]['productId']}"
        self._answer(None)

    def _answer(self, shown: bytes | None) -> None:
        answer = self.answers.get(self.path.partition("?")[0], 404)
        if isinstance(answer, int):
            self.send_error(answer)
        elif isinstance(answer, str):
            self.send_response(302)
            self.send_header("Location", answer)
            self.end_headers()
        elif answer is None:
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b" ")
                time.sleep(0.05)
        else:
            content, kind, changed = answer
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            for name, text in changed.items() if isinstance(changed, dict) else [("Last-Modified", changed)]:
                if text:
                    self.send_header(name, text)
            self.end_headers()
            self.wfile.write(content if shown is None else shown)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def origins() -> Iterator[dict[str, str]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Publisher) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # clients that reach their limit go away
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        own = f"http://127.0.0.1:{server.server_port}"
        yield {HOST: own, "https://open.canada.ca": own, "https://www150.statcan.gc.ca": own}
        server.shutdown()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    monkeypatch.setattr(Publisher, "answers", found)
    return found


def document(content: Any) -> tuple[bytes, str, None]:
    return json.dumps(content).encode(), "application/json", None


def file(size: int, changed: str) -> tuple[bytes, str, str]:
    return bytes(size), "text/csv", changed


def rows(history: History) -> list[tuple[str, str, int | None, str]]:
    return [(each.at, each.en, each.size, each.change_en) for each in history.versions]


@pytest.fixture
def bucket() -> Iterator[tuple[FakeS3, Any]]:
    """A server of S3, and a public bucket with versions."""
    server = FakeS3().start()
    keys = {"aws_access_key_id": "testkey", "aws_secret_access_key": "testsecret"}
    made = boto3.resource("s3", endpoint_url=server.url, region_name="us-east-1", **keys).create_bucket(Bucket=BUCKET)
    made.Acl().put(ACL="public-read")
    made.Versioning().enable()
    yield server, made
    server.fault = None
    made.object_versions.delete()
    made.delete()
    server.stop()


def test_a_bucket_tells_its_dated_folders_and_its_past_versions(bucket: tuple[FakeS3, Any]) -> None:
    server, made = bucket
    made.put_object(Key="trees/2023/on.csv", Body=bytes(2_000))
    made.put_object(Key="trees/2023/qc.csv", Body=bytes(1_000))
    made.put_object(Key="trees/2024/on.csv", Body=bytes(900))
    made.put_object(Key="trees/2024/on.csv", Body=bytes(4_500))
    made.put_object(Key="trees/readme.txt", Body=bytes(10))
    made.put_object(Key="trees/2024/", Body=b"")
    made.put_object(Key="other/2022/on.csv", Body=bytes(1))
    today = f"{made.Object('trees/readme.txt').last_modified:%Y-%m-%d}"
    (history,) = histories([f"{AMAZON}/{BUCKET}/trees/"], {AMAZON: server.url})
    assert rows(history) == [
        ("2023", f"2 objects, last changed on {today}", 3_000, ""),
        ("2024", f"1 object, last changed on {today}", 4_500, "+1.5 kB"),
        (today, "Earlier versions of objects: 1, 900 bytes", None, ""),
        (today, f"1 object, last changed on {today}", 10, ""),
    ]
    assert history.en == f"4 versions or changes from 2023 to {today}."
    assert [each.change_fr for each in history.versions][1] == "+1,5 ko"
    # The source of the platform finds the same vintages and bytes there.
    source = S3Objects(
        S3Source(kind="s3", bucket=BUCKET, prefix="trees/{vintage}/", endpoint=server.url, anonymous=True), origins={}
    )
    assert [str(each) for each in source.discover()] == ["2023", "2024"]
    sizes = [sum(mark.length or 0 for mark in source.observe(each).files) for each in source.discover()]
    assert sizes == [history.versions[0].size, history.versions[1].size]


def test_a_bucket_that_hides_past_versions_tells_its_objects(bucket: tuple[FakeS3, Any]) -> None:
    server, made = bucket
    for size in (3, 5):
        made.put_object(Key="trees/a.csv", Body=bytes(size))

    def hide(request: Request) -> Answer | None:
        hidden = "versions" in request.environ["QUERY_STRING"]
        return Answer("403 Forbidden", "AccessDenied") if hidden else None

    server.fault = hide
    (history,) = histories([f"{AMAZON}/{BUCKET}/"], {AMAZON: server.url})
    assert [each.size for each in history.versions] == [5]


def test_a_package_tells_its_dates_its_resources_and_its_activity(
    fixtures: Path, origins: dict[str, str], answers: dict[str, Any]
) -> None:
    package = json.loads((fixtures / "10_ckan_open_canada" / f"package_{PACKAGE}.json").read_text("utf-8"))
    answers["/data/api/3/action/package_show"] = document({"success": True, "result": package})
    address = f"https://open.canada.ca/data/en/dataset/{PACKAGE}"
    (history,) = histories([address], origins)
    assert ("2024-03-05 15:11", "Package created", None, "") in rows(history)
    assert rows(history)[-1][:2] == ("2025-12-04 20:01", "Package last changed")
    first = history.versions[0]
    assert (first.at, first.size) == ("2024-02-29 15:29", 42_911)
    assert first.fr.endswith(" : dernière modification")
    assert history.fr.endswith("Le portail ne montre pas l'activité du paquet.")
    activity = [
        {"activity_type": "changed package", "timestamp": "2025-02-03T10:00:00.5"},
        {"activity_type": "follow dataset", "timestamp": "2025-02-04T10:00:00"},
    ]
    answers["/data/api/3/action/package_activity_list"] = document({"result": activity})
    (history,) = histories([address], origins)
    assert ("2025-02-03 10:00", "Package changed", None, "") in rows(history)
    assert not any(each.at.startswith("2025-02-04") for each in history.versions)
    assert "activity" not in history.en


def test_a_table_tells_its_release_and_its_corrections(
    fixtures: Path, origins: dict[str, str], answers: dict[str, Any]
) -> None:
    metadata = json.loads((fixtures / "08_statcan_wds" / "18100204.json").read_text("utf-8"))
    answers["/t1/wds/rest/getCubeMetadata#18100204"] = document(metadata)
    (history,) = histories(["https://www150.statcan.gc.ca/t1/tbl1/en/tv.action?pid=1810020401"], origins)
    corrected, released = history.versions
    assert corrected.at == "2016-08-12"
    assert corrected.en.startswith("Correction: On August 12, 2016, the electric power selling price under 5000kw")
    assert corrected.fr.startswith("Correction : Le 12 août 2016, le prix de vente de l'énergie électrique")
    # The service states Eastern time.
    assert (released.at, released.en) == ("2018-12-11 13:30", "Newest release, data of 1981-01-01 - 2014-10-01")
    assert history.en == (
        "2 versions or changes from 2016-08-12 to 2018-12-11 13:30. The service keeps the newest release only."
    )


def test_a_layer_tells_the_dates_of_its_edits(origins: dict[str, str], answers: dict[str, Any]) -> None:
    answers[LAYER] = document(
        {"editingInfo": {"lastEditDate": 1_717_372_800_000, "dataLastEditDate": 10**30, "schemaLastEditDate": "soon"}}
    )
    (history,) = histories([f"{HOST}{LAYER}"], origins)
    assert rows(history) == [("2024-06-03 00:00", "Layer last edited", None, "")]
    assert history.fr == "La seule date indiquée est 2024-06-03 00:00."


def test_a_file_of_a_year_has_those_of_other_years_beside_it(origins: dict[str, str], answers: dict[str, Any]) -> None:
    answers["/y/trees_2024.csv"] = file(5_000, "Sun, 02 Jun 2024 10:00:00 GMT")
    answers["/y/trees_2023.csv"] = file(4_000, "Fri, 02 Jun 2023 10:00:00 GMT")
    answers["/y/trees_2021.csv"] = file(4_000, "")
    answers["/y/trees_2022.csv"] = (b"<!DOCTYPE html><html><body>Gone</body></html>", "text/html", None)
    expected = [
        ("2021", "trees_2021.csv", 4_000, ""),
        ("2023", "trees_2023.csv, last changed on 2023-06-02", 4_000, "same size"),
        ("2024", "trees_2024.csv, last changed on 2024-06-02", 5_000, "+1.0 kB"),
    ]
    (history,) = histories([f"{HOST}/y/trees_2024.csv"], origins)
    assert (rows(history), history.en) == (expected, "3 versions or changes from 2021 to 2024.")
    # A server that fails has not said that there is no such year.
    answers["/y/trees_2020.csv"] = 503
    (history,) = histories([f"{HOST}/y/trees_2024.csv"], origins)
    assert rows(history) == expected
    assert history.en.endswith("The source did not answer every request: the list is not complete.")


def test_a_source_without_history_and_one_that_does_not_answer_are_told_apart(
    origins: dict[str, str], answers: dict[str, Any]
) -> None:
    answers["/plain.csv"] = (b"a\n1\n", "text/csv", None)
    answers["/inner.csv"] = "http://169.254.169.254/latest/meta-data"
    answers[LAYER] = document([1, 2])
    answers["/data/api/3/action/package_show"] = document({"result": "none"})
    addresses = ["/plain.csv", "/gone.csv", "/inner.csv", LAYER, "/data/dataset/p"]
    found = histories([*(f"{HOST}{each}" for each in addresses), "http://10.0.0.7/x.csv"], origins)
    assert [each.versions for each in found] == [()] * 6
    silent, untold = "The source states no history.", "The source did not tell its history."
    assert [each.en for each in found] == [silent, untold, untold, silent, untold, untold]


def test_dates_that_stand_for_unknown_ones_are_left_out(origins: dict[str, str], answers: dict[str, Any]) -> None:
    answers["/data/api/3/action/package_show"] = document(
        {
            "result": {
                "metadata_created": "0001-01-01T00:00:00+05:00",
                "metadata_modified": "2024-06-03",
                "resources": [{"name": "a\0<b>", "last_modified": "9999-12-31T23:59:59-05:00", "size": 1e300}, 7, None],
            }
        }
    )
    (history,) = histories([f"{HOST}/data/dataset/p"], origins)
    assert rows(history) == [("2024-06-03", "Package last changed", None, "")]


def test_headers_that_are_no_dates_or_numbers_fail_no_history(origins: dict[str, str], answers: dict[str, Any]) -> None:
    answers["/zone.csv"] = file(5, "Mon, 01 Jan 2024 00:00:00 +99999999999999")
    answers["/digits.csv"] = (b"a\n1\n", "text/csv", {"Content-Range": f"bytes 0-0/{'9' * 5_000}"})
    answers["/trees_2024.csv"] = file(5, "Mon, 01 Jan 2024 00:00:00 +99999999999999")
    answers["/trees_2023.csv"] = (b"a\n1\n", "text/csv", {"Content-Range": f"bytes 0-0/{'9' * 5_000}"})
    found = histories([f"{HOST}/{name}.csv" for name in ("zone", "digits", "trees_2024")], origins)
    assert [rows(each) for each in found] == [[], [], [("2024", "trees_2024.csv", 5, "")]]
    assert found[1].en == "The source did not tell its history."
    assert found[2].en.endswith("The source did not answer every request: the list is not complete.")


def test_the_limits_hold_over_all_addresses(origins: dict[str, str], answers: dict[str, Any]) -> None:
    answers["/y/trees_2024.csv"] = file(5_000, "Sun, 02 Jun 2024 10:00:00 GMT")
    both = [f"{HOST}/y/trees_2024.csv"] * 2
    first, second = histories(both, origins, requests=4)
    cut = "A limit of time or number was reached: the list is not complete."
    assert first.en == f"The only stated date is 2024. {cut}"
    assert (second.versions, second.en) == ((), cut)
    answers[LAYER] = None  # five seconds, a byte at a time
    begun = time.monotonic()
    (slow,) = histories([f"{HOST}{LAYER}"], origins, seconds=0.5)
    assert (slow.en, time.monotonic() - begun < 2) == (cut, True)
