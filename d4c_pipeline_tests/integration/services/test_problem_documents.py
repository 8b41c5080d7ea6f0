"""Every address of a server with every protocol: a wrong method, type or body gets a document that says what to change.

OAI-PMH, CSW, DAP and MCP have error documents of their own for what their specifications call an error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services import metrics
from d4c_pipeline.services.access import SESSION_COOKIE
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.services.protocol import all_protocols, opened
from d4c_pipeline.services.signing import Signer, signing_key
from d4c_pipeline_tests.support.served import wait
from d4c_pipeline_tests.support.submitted import document

JSON, FORM, FILES = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"
# What each address that takes a body reads; the others with POST read none.
BODIES = {
    "/oai": FORM,
    "/stac/search": JSON,
    "/processes/subset/execution": JSON,
    "/metadata/{dataset}": FORM,
    "/submit": FORM,
    "/submission/{token}": FORM,
    "/submission/{token}/files": FILES,
    "/submissions/{number:int}/decision": FORM,
    "/submissions/{number:int}/assignment": FORM,
    "/mcp": JSON,
}
BODILESS = {"/user/token", "/user/logout", "/submission/{token}/complete", "/submission/{token}/uploads"}
OWN = {"/csw": "ExceptionReport", "/mcp": "jsonrpc"}
MALFORMED = {JSON: b'{"inputs": ', FORM: b"title=\xff&csrf=%FF", FILES: b"--x\r\nContent-Disposition: nothing"}
ORIGIN = {"Origin": "https://reader.example.org"}
SECRET = "/home/operator/private/ledger.sqlite"


@dataclass(frozen=True)
class Server:
    """A server with every protocol: its `routes`, clients of somebody and of a manager, a submission's `token`."""

    routes: list[Route]
    client: httpx.Client
    manager: httpx.Client
    token: str

    def address(self, path: str) -> str:
        """An address of a route, whose parts exist where that matters."""
        known = {"token": self.token, "number:int": "1"}
        return re.sub(r"\{([^}]+)\}", lambda found: known.get(found[1], "x"), path)


@pytest.fixture(scope="module")
def server(catalogued: Settings, issuer: str) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "D4C_SUBMISSIONS": "1", "D4C_METADATA_MANAGER": "1", "D4C_OIDC_ISSUER": issuer, "D4C_OIDC_CLIENT_ID": "d4c",
            "D4C_OIDC_CLIENT_SECRET": "s", "D4C_SERVICES_MANAGERS": "mia",
        }.items():  # fmt: skip
            environment.setenv(name, value)
        signer = Signer(signing_key(catalogued.home / "services" / "key"), 30)
        session = {SESSION_COOKIE: signer.written_session({"user": "mia", "email": None})}
        with (
            opened(catalogued) as routes,
            serving(mounts(catalogued), others=[*_broken(), metrics.route(catalogued), *routes]) as url,
            httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
            httpx.Client(base_url=url, timeout=30, trust_env=False, cookies=session) as manager,
        ):
            wait(lambda: client.get("/oai?verb=Identify").status_code == 200)
            sent = client.post("/submit", json=document(sources=None, upload=True))
            assert sent.status_code == 201, sent.text
            token = sent.headers["Location"].rpartition("/")[2]
            yield Server([each for each in routes if isinstance(each, Route)], client, manager, token)


def _broken() -> list[BaseRoute]:
    def fails(_: Request) -> Response:
        raise RuntimeError(f"unable to open {SECRET}")

    return [Route("/broken", fails)]


def problem_of(answer: httpx.Response, status: int | None = None) -> dict[str, Any]:
    """The problem document of a refused request, which names a remedy in its detail."""
    what = (answer.request.method, str(answer.request.url), answer.status_code, answer.text[:300])
    assert answer.headers.get("Content-Type") == "application/problem+json", what
    found: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "remedy"} <= set(found), what
    assert found["status"] == answer.status_code == (status or answer.status_code), what
    assert found["detail"].endswith(found["remedy"]), what
    assert len(found["detail"]) > len(found["remedy"]) + 10, what
    return found


def test_the_walk_knows_every_protocol_and_every_body(server: Server) -> None:
    first = {route.path.split("/")[1] for route in server.routes}
    assert {folder for each in all_protocols().values() for folder in each.folders} <= first
    with_post = {route.path for route in server.routes if "POST" in (route.methods or ())}
    assert with_post == {*BODIES, *BODILESS, *OWN}


def test_a_wrong_method_of_every_address_is_405_with_the_methods_that_it_takes(server: Server) -> None:
    machine = {"Accept": "application/json"}  # the page of a release answers others
    for route in server.routes:
        taken = {method for each in server.routes if each.path == route.path for method in (each.methods or ())}
        address = server.address(route.path)
        others = [each for each in server.routes if each.path_regex.match(address)]  # /metadata/style.css is a dataset
        taken |= {method for each in others for method in (each.methods or ())}
        for method in {"PUT", "DELETE", "POST", "PROPFIND"} - taken:
            answer = server.client.request(method, address, headers=machine)
            found = problem_of(answer, 405)
            allowed = set(answer.headers["Allow"].split(", "))
            assert taken | {"OPTIONS"} <= allowed, (route.path, allowed)
            assert method not in allowed, (route.path, allowed)
            assert all(each in found["detail"] for each in taken), (route.path, found)


def test_options_of_every_address_are_the_methods_that_it_takes(server: Server) -> None:
    for route in server.routes:
        answer = server.client.options(server.address(route.path), headers={"Accept": "application/json"})
        assert (answer.status_code, answer.content) == (204, b""), route.path
        if "OPTIONS" not in (route.methods or ()) and not route.path.endswith("/uploads"):  # tus answers these itself
            assert (route.methods or set()) <= set(answer.headers["Allow"].split(", ")), route.path


@pytest.mark.parametrize("path", BODIES)
def test_a_body_of_a_wrong_type_is_415_with_the_types_that_are_read(server: Server, path: str) -> None:
    answer = server.manager.post(server.address(path), content=b"\x89PNG", headers={"Content-Type": "image/png"})
    assert BODIES[path] in problem_of(answer, 415)["detail"]
    assert BODIES[path] in answer.headers["Accept"]


@pytest.mark.parametrize("path", sorted(BODIES.keys() - OWN))
def test_a_malformed_body_is_a_problem_document(server: Server, path: str) -> None:
    headers = {"Content-Type": BODIES[path] + ("; boundary=x" if BODIES[path] == FILES else "")}
    answer = server.manager.post(server.address(path), content=MALFORMED[BODIES[path]], headers=headers)
    problem_of(answer, 400)


@pytest.mark.parametrize("path", ["/submit", "/submission/{token}", "/submissions/{number:int}/decision"])
def test_malformed_json_of_a_submission_is_a_problem_document(server: Server, path: str) -> None:
    answer = server.manager.post(server.address(path), content=MALFORMED[JSON], headers={"Content-Type": JSON})
    assert "Send a JSON object" in problem_of(answer, 400)["detail"]


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [("/csw", "image/png", b"\x89PNG"), ("/csw", "text/xml", b"<a"), ("/csw", JSON, b"{"), ("/mcp", JSON, b"{")],
)
def test_csw_and_mcp_answer_by_their_own_documents(server: Server, path: str, kind: str, body: bytes) -> None:
    headers = {"Content-Type": kind, "Accept": "application/json, text/event-stream"}
    answer = server.client.post(path, content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert OWN[path] in answer.text


def test_errors_of_oai_pmh_and_dap_are_their_own_documents(server: Server) -> None:
    harvest = server.client.post("/oai", data={"verb": "Nothing"})
    assert (harvest.status_code, 'code="badVerb"' in harvest.text) == (200, True)
    series = server.client.get("/dap/nothing.dds")
    assert (series.status_code, series.text[:7]) == (404, "Error {")


def test_what_asks_for_a_user_names_the_sign_in(server: Server) -> None:
    for path in ("/submissions/1/decision", "/metadata/x"):
        found = problem_of(server.client.post(path, data={"a": "b"}), 401)
        assert "Sign in" in found["detail"]


def test_an_unknown_address_and_a_wrong_range_are_problem_documents(server: Server) -> None:
    for path in ("/nothing", "/stac/nothing/at/all", "/.well-known/nothing", "/releases/", "/processes/subset/x"):
        found = problem_of(server.client.get(path), 404)
        assert "/catalogue/catalog.json" in found["detail"]
    catalogue = "/catalogue/catalog.json"
    size = len(server.client.get(catalogue).content)
    beyond = server.client.get(catalogue, headers={"Range": "bytes=99999999-"})
    assert str(size) in problem_of(beyond, 416)["detail"]
    assert beyond.headers["Content-Range"] == f"bytes */{size}"
    assert "bytes=FIRST-LAST" in problem_of(server.client.get(catalogue, headers={"Range": "lines=1"}), 400)["detail"]
    for method in ("POST", "PUT", "DELETE"):
        answer = server.client.request(method, catalogue)
        assert problem_of(answer, 405)["remedy"] == "Send one of GET, HEAD, OPTIONS."
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    asked = server.client.options(catalogue)
    assert (asked.status_code, asked.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")


def test_a_refused_preflight_names_what_is_allowed(server: Server) -> None:
    headers = ORIGIN | {"Access-Control-Request-Method": "PUT"}
    assert "GET, HEAD, POST, DELETE" in problem_of(server.client.options("/oai", headers=headers), 400)["detail"]


def test_a_failure_of_the_server_is_500_with_an_identifier_of_the_log_and_nothing_of_its_cause(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = server.client.get("/broken", headers=ORIGIN)
    found = problem_of(answer, 500)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert SECRET not in answer.text
    assert "RuntimeError" not in answer.text
    (logged,) = [each for each in caplog.records if found["instance"] in each.getMessage()]
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", found["instance"])
    assert found["instance"] in found["detail"]
    assert logged.exc_info is not None
    assert SECRET in str(logged.exc_info[1])


def test_a_page_of_another_site_reads_what_an_answer_says_in_headers(server: Server) -> None:
    shown = server.client.get("/processes", headers=ORIGIN).headers["Access-Control-Expose-Headers"]
    assert {"Location", "Retry-After", "Content-Disposition", "Digest", "Repr-Digest", "Link", "ETag", "Allow"} <= set(
        shown.split(", ")
    )
