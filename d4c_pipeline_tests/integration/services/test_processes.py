"""OGC API - Processes: subsets at once and as jobs, problems, quotas, restarts and kills."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import signal
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import geopandas
import httpx
import pandas
import pytest
from aiosmtpd.controller import Controller
from pydantic import SecretStr

from d4c_pipeline.model.service_settings import JobSettings
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.access import Visitor
from d4c_pipeline.services.jobs import JobFolder, JobQueue, State, notices, worker
from d4c_pipeline.services.jobs.folder import Job, Outcome
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.served import finished, protocols, results, serving

EXECUTION = "/processes/subset/execution"


@pytest.fixture(scope="module")
def home(published: Settings) -> Settings:
    return published


@pytest.fixture(scope="module")
def client(home: Settings) -> Iterator[httpx.Client]:
    with protocols(home) as opened:
        yield opened


def run(client: httpx.Client, **inputs: Any) -> httpx.Response:
    return client.post(EXECUTION, json={"inputs": {name.replace("_", "-"): value for name, value in inputs.items()}})


def test_a_small_subset_is_the_answer(client: httpx.Client) -> None:
    answer = run(client, dataset="places", format="geojson")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/geo+json")
    frame = geopandas.read_file(io.BytesIO(answer.content))
    assert answer.json()["d4c"]["version"] == "0.1.1-beta"  # latest of the newest vintage
    csv = run(client, dataset="rates", format="csv")
    assert csv.text.splitlines() == ["day,rate", '"2021-01-04",1.2725', '"2021-01-05",1.268']
    stated = json.loads(csv.headers["D4C-Provenance"])
    assert stated["request"] == {"dataset": "rates", "vintage": "2021", "version": "0.1.0-beta", "format": "csv"}
    assert csv.headers["D4C-Release"] == stated["release"]
    assert stated["test_doi"] is True  # of the local archive
    assert "Link" not in csv.headers
    content: Any = io.BytesIO(run(client, dataset="parted").content)  # the stub knows paths only
    parted = geopandas.read_parquet(content)
    assert len(parted) == len(frame)


@pytest.mark.parametrize(
    ("vintage", "version", "expected"),
    [
        (None, "latest", ("2021", "0.1.1-beta")),
        ("2016", "latest", ("2016", "0.1.0-beta")),
        (None, "0.1.0-beta", ("2021", "0.1.0-beta")),
        ("2021", "0.*", ("2021", "0.1.1-beta")),
        (2016, "v0.1.*", ("2016", "0.1.0-beta")),
    ],
)
def test_versions(client: httpx.Client, vintage: Any, version: str, expected: tuple[str, str]) -> None:
    answer = run(client, dataset="places", vintage=vintage, version=version, format="geojson").json()["d4c"]
    assert (answer["vintage"], answer["version"]) == expected


def test_an_address_with_parameters_has_a_tag(client: httpx.Client) -> None:
    query = {"dataset": "rates", "format": "csv", "columns": "rate,day", "filter": "rate > 1.27"}
    answer = client.get(EXECUTION, params=query)
    assert answer.text.splitlines() == ["rate,day", '1.2725,"2021-01-04"']
    again = client.get(EXECUTION, params=query, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.head(EXECUTION, params=query).status_code == 200


TOO_MANY = [[[0, 0], *([[1, number / 1e6] for number in range(12_000)]), [0, 0]]]


@pytest.mark.parametrize(
    ("inputs", "status", "words"),
    [
        ({}, 400, "dataset is missing"),
        ({"dataset": "nothing"}, 404, "No dataset is called nothing"),
        ({"dataset": "places", "vintage": "1999"}, 404, "Its vintages are 2016, 2021"),
        ({"dataset": "places", "vintage": "soon"}, 400, "not a vintage"),
        ({"dataset": "places", "version": "9.*"}, 404, "no release with version 9.*"),
        ({"dataset": "places", "version": "*.1"}, 400, "Send latest, 1.*"),
        ({"dataset": "places", "bbox": [1, 2, 3]}, 400, "four finite numbers"),
        ({"dataset": "places", "bbox": "a,b,c,d"}, 400, "not a list of numbers"),
        ({"dataset": "places", "bbox": [0, 10, 1, 5]}, 400, "south of bbox"),
        ({"dataset": "places", "bbox": [0, 0, 400, 5]}, 400, "range of degrees"),
        ({"dataset": "places", "bbox": [True, 0, 1, 1]}, 400, "four finite numbers"),
        ({"dataset": "places", "bbox": [0, 0, 1, 1], "bbox_crs": "EPSG:999999"}, 400, "not known"),
        ({"dataset": "places", "bbox": [0, 0, 1, 1], "bbox_crs": "+init=/etc/passwd"}, 400, "no name of a coordinate"),
        ({"dataset": "places", "crs": "EPSG:5703"}, 400, "not a two-dimensional CRS"),
        ({"dataset": "places", "crs": 4326}, 400, "no name of a coordinate"),
        ({"dataset": "places", "crs": "EPSG:3347", "format": "geojson"}, 400, "longitude and latitude"),
        ({"dataset": "rates", "bbox": [0, 0, 1, 1]}, 400, "table without geometry"),
        ({"dataset": "rates", "format": "geojson"}, 400, "table without geometry"),
        ({"dataset": "places", "columns": ["nope"]}, 400, "Its columns are"),
        ({"dataset": "places", "columns": []}, 400, "not a list of names"),
        ({"dataset": "places", "columns": ["id", "id"]}, 400, "id twice"),
        ({"dataset": "places", "filter": "x" * 10_001}, 413, "10,001 characters"),
        ({"dataset": "places", "filter": "read_text('/etc/passwd') = 'a'"}, 400, "filter"),
        ({"dataset": "places", "filter": "nope = 1"}, 400, "nope"),
        ({"dataset": "places", "format": "xlsx"}, 400, "Use one of parquet"),
        ({"dataset": "places", "size": 3}, 400, "Unknown input size"),
        ({"dataset": "places", "geometry": {"type": "Point", "coordinates": [0, 0]}}, 400, "not a GeoJSON polygon"),
        ({"dataset": "places", "geometry": {"type": "Polygon", "coordinates": TOO_MANY}}, 413, "12,002 vertices"),
        (
            {"dataset": "places", "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1], [1, 0],
             [0, 0]]]}}, 400, "Self-intersection",
        ),
        ({"dataset": "places", "geometry": {"type": "Polygon", "coordinates": [["a"]]}}, 400, "not nested lists"),
        ({"dataset": "../../etc"}, 400, "dataset is no name"),
    ],
)  # fmt: skip
def test_bad_requests_are_problem_documents(client: httpx.Client, inputs: Any, status: int, words: str) -> None:
    answer = run(client, **inputs)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert words in f"{problem['detail']} {problem.get('remedy')}"
    assert problem["remedy"]


def test_bad_bodies(client: httpx.Client) -> None:
    for body, status in ((b"{", 400), (b"[]", 400), (b'{"inputs": []}', 400), (b'{"input": {}}', 400)):
        assert client.post(EXECUTION, content=body).status_code == status, body
    million = {"type": "Polygon", "coordinates": [[[0.1, 0.1]] * 1_000_000]}
    answer = run(client, dataset="places", geometry=million)
    assert (answer.status_code, answer.json()["title"]) == (413, "Request Entity Too Large")
    deep = b'{"inputs": {"dataset": "places", "geometry": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    assert client.post(EXECUTION, content=deep).status_code == 400
    assert client.get(EXECUTION + "?dataset=places&dataset=rates").status_code == 400


def test_a_job_from_request_to_result(client: httpx.Client, home: Settings) -> None:
    answer = client.post(
        EXECUTION, json={"inputs": {"dataset": "places", "format": "gpkg"}}, headers={"Prefer": "respond-async"}
    )
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (201, "respond-async")
    status = finished(client, answer.headers["Location"])
    assert (status["status"], status["progress"], status["rowsLeftOut"]) == ("successful", 100, 0)
    result = client.get(f"{answer.headers['Location']}/results")
    assert hashlib.sha256(result.content).hexdigest() == status["sha256"]
    assert len(result.content) == status["size"]
    assert "attachment" in result.headers["Content-Disposition"]
    assert len(geopandas.read_file(io.BytesIO(result.content))) == status["rows"]
    part = client.get(f"{answer.headers['Location']}/results", headers={"Range": "bytes=0-15"})
    assert (part.status_code, part.content) == (206, b"SQLite format 3\0")
    facts = client.get(f"{answer.headers['Location']}/provenance").json()
    assert (facts["version"], facts["sha256_of_result"]) == ("0.1.1-beta", status["sha256"])
    # An equal request of the same sender is the same job; the result is made once.
    inputs = {"version": "0.1.*", "format": "gpkg", "dataset": "places"}
    again = client.post(EXECUTION, json={"inputs": inputs}, headers={"Prefer": "respond-async"})
    assert again.headers["Location"] == answer.headers["Location"]
    assert [job["jobID"] for job in client.get("/jobs").json()["jobs"]] == [status["jobID"]]
    assert client.delete(answer.headers["Location"]).json()["status"] == "dismissed"
    assert client.get(answer.headers["Location"]).status_code == 404
    assert list(results(home.home).iterdir()) == []


def test_documents_of_the_process(client: httpx.Client) -> None:
    listed = client.get("/processes").json()
    assert [each["id"] for each in listed["processes"]] == ["subset"]
    described = client.get("/processes/subset").json()
    assert described["inputs"]["dataset"]["minOccurs"] == 1
    assert set(described["inputs"]) == {
        "dataset", "vintage", "version", "bbox", "bbox-crs", "geometry", "filter", "filter-lang", "columns", "crs",
        "format",
    }  # fmt: skip
    assert "job-list" in str(client.get("/processes/conformance").json())
    assert client.get("/jobs/nothing").status_code == 404
    assert client.get("/jobs/..%2F..%2Fetc").status_code == 404


def test_jobs_survive_the_kill_of_their_server(client: httpx.Client, home: Settings) -> None:
    """Another server of the same folder makes the result, whatever the killed one left half-made."""
    folder = JobFolder(home.home / "services" / "jobs")
    with serving(home, D4C_JOBS_RUNNER="dagster") as (url, process):  # no worker of its own
        body = {"inputs": {"dataset": "places", "format": "csv"}}
        address = httpx.post(f"{url}{EXECUTION}", json=body, headers={"Prefer": "respond-async"}).headers["Location"]
        process.send_signal(signal.SIGKILL)
        process.wait()
    job = folder.job(address.rpartition("/")[2])
    assert job is not None
    status = finished(client, f"/jobs/{job.id}")
    assert status["status"] == "successful"
    rows = client.get(f"/jobs/{job.id}/results").text
    assert len(pandas.read_csv(io.StringIO(rows))) == status["rows"]
    folder.dismiss(job)


def test_a_lock_says_who_works(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    job = submitted(folder, "a", "4" * 64)
    assert folder.state(job.result) is State.ACCEPTED
    with folder.locked(job.result) as mine, JobFolder(tmp_path).locked(job.result) as other:
        assert (mine, other) == (True, False)
        assert folder.state(job.result) is State.RUNNING
        assert not worker.run(folder, job.result, seconds=5, memory="100MB", most_cells=1)
    assert folder.state(job.result) is State.ACCEPTED


def submitted(folder: JobFolder, owner: str, result: str, **request: Any) -> Job:
    return folder.submit(owner, result, request, {})


def test_two_owners_share_a_result_until_both_dismiss_it(tmp_path: Path) -> None:
    folder, result = JobFolder(tmp_path), "0" * 64
    first, second = submitted(folder, "a", result), submitted(folder, "b", result)
    assert first.id != second.id
    assert folder.submit("a", result, {}, {}).id == first.id
    folder.dismiss(first)
    assert folder.state(result) is State.ACCEPTED
    folder.dismiss(second)
    assert folder.state(result) is State.DISMISSED


def test_a_worker_that_always_dies_is_a_failure_in_the_end(tmp_path: Path) -> None:
    """Its request can't even be read: an error that is none of ours ends every attempt."""
    folder = JobFolder(tmp_path)
    job = submitted(folder, "a", "1" * 64, inputs={})
    for _ in range(3):
        with pytest.raises(KeyError):
            worker.run(folder, job.result, seconds=5, memory="100MB", most_cells=1)
        assert folder.state(job.result) is State.ACCEPTED
    worker.run(folder, job.result, seconds=5, memory="100MB", most_cells=1)
    outcome = folder.outcome(job.result)
    assert outcome is not None
    assert outcome.problem == "The work on this job ended without a result three times"


def test_results_expire(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path, JobSettings(days=7))
    job = submitted(queue.folder, "a", "2" * 64)
    queue.folder.end(job.result, Outcome(time.time() - 6 * 86_400, rows=1))
    queue.folder.save(Job(job.id, job.result, "a", job.created - 8 * 86_400, {}))
    queue._forget_expired()
    assert queue.folder.job(job.id) is not None
    queue.folder.end(job.result, Outcome(time.time() - 7.1 * 86_400, rows=1))
    queue._forget_expired()
    assert queue.folder.job(job.id) is None
    assert queue.folder.results() == []


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1/x", "http://169.254.169.254/latest", "ftp://example.ca/", "https://u:p@example.ca/", 7,
     "http://[::1]/", "http://2130706433/", "https:///x", "http://localhost:1/"],
)  # fmt: skip
def test_webhooks_to_inner_addresses_are_refused(client: httpx.Client, address: Any) -> None:
    body = {"inputs": {"dataset": "places"}, "subscriber": {"successUri": address}}
    answer = client.post(EXECUTION, json=body)
    assert (answer.status_code, answer.json()["remedy"]) == (
        400, "Send an https address that the public internet reaches.",
    )  # fmt: skip


def test_a_webhook_gets_the_end_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    got: list[Any] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200 if len(got) > 1 else 500)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("d4c_pipeline.sources.fetch.public.is_public", lambda _address: True)
    monkeypatch.setattr("d4c_pipeline.services.jobs.queue._PAUSES", (0.0, 0.0, 0.0))
    queue = JobQueue(tmp_path, JobSettings())
    address = notices.checked_callback(f"http://127.0.0.1:{server.server_port}/done?a=1", "successUri")
    job = queue.folder.submit("a", "3" * 64, {}, {"successful": address})
    queue.folder.end(job.result, Outcome(time.time(), rows=3, sha256="ab"))
    for _ in range(4):  # refused once, delivered once, and never again
        queue._notify()
    server.shutdown()
    said = {"jobID": job.id, "status": "successful", "rows": 3, "sha256": "ab", "message": None}
    assert got == [("/done?a=1", said)] * 2


def test_mail_is_sent_to_addresses_of_users_only() -> None:
    ana = Visitor("10.0.0.1", "ana", "ana@example.ca")
    assert notices.checked_mail("Ana@example.ca", ana) == "Ana@example.ca"
    assert notices.checked_mail("bob@example.ca", Visitor("10.0.0.1", "bob@example.ca")) == "bob@example.ca"
    bad = ("ana@example.ca\nBcc: all@example.ca", "ana@example.ca\r\n", "ana", "a b@example.ca", "@", 7, None,
           "ana@example.ca, bob@example.ca", "ana@example.ca?to=x@example.ca", "ana@example", "a" * 300)  # fmt: skip
    for address in bad:
        with pytest.raises(ProblemError) as refused:
            notices.checked_mail(address, ana)
        assert refused.value.status == 400, address
    for visitor in (ana, Visitor("10.0.0.1")):
        with pytest.raises(ProblemError) as refused:
            notices.checked_mail("stranger@example.ca", visitor)
        assert refused.value.status == 403


def test_requests_for_mail_are_refused_at_once(client: httpx.Client) -> None:
    for address, status in (("ana@example.ca", 403), ("ana@example.ca\nBcc: b@example.ca", 400), (["a@b.ca"], 400)):
        answer = client.post(EXECUTION, json={"inputs": {"dataset": "places"}, "subscriber": {"mail": address}})
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), address
    assert client.get("/jobs").json()["jobs"] == []


def test_a_user_gets_one_mail_at_the_end_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[EmailMessage] = []

    class Handler:
        async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's
            got.append(message_from_bytes(envelope.content, policy=policy.default))
            return "451 try again" if len(got) == 1 else "250 OK"

    monkeypatch.setattr("d4c_pipeline.services.jobs.queue._PAUSES", (0.0, 0.0, 0.0))
    server = Controller(Handler(), hostname="127.0.0.1", port=(port := free_port()))
    server.start()
    try:
        address = SecretStr(f"mailto://127.0.0.1:{port}?from=data@example.org&mode=insecure")
        queues = [JobQueue(tmp_path, JobSettings(mail=address)) for _ in range(2)]  # two servers of one folder
        folder, request = queues[0].folder, {"release": {"title": "Places, 2021"}}
        job = folder.submit("user ana", "5" * 64, request, {})
        # An equal request of the same user, while the first is being made, adds the mail.
        again = folder.submit("user ana", "5" * 64, {}, {}, mail="ana@example.ca", base="https://data.example.ca")
        assert again.id == job.id
        queues[0]._notify()
        assert got == []  # not made yet
        folder.end(job.result, Outcome(time.time(), rows=1_234, sha256="ab"))
        for _ in range(3):
            for queue in queues:
                queue._notify()
    finally:
        server.stop()
    assert len(got) == 2  # refused once, delivered once
    assert (got[1]["To"], got[1]["From"].addresses[0].addr_spec) == ("ana@example.ca", "data@example.org")
    assert "Places, 2021" in got[1]["Subject"]
    body = got[1].get_body(("plain",))
    assert body is not None
    assert f"https://data.example.ca/jobs/{job.id}/results" in body.get_content()
    assert "1,234 rows" in body.get_content()


def test_a_job_that_was_dismissed_while_it_is_told_stays_dismissed(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    job = submitted(folder, "a", "6" * 64)

    def told(job: Job) -> tuple[str, ...]:
        folder.dismiss(job)
        return ("webhook",)

    folder.tell(job.id, told)
    assert folder.jobs() == []
