"""The guard before the UI: what a browser's page can and can't have it do, request by request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.ui_access import UiAccess
from d4c_pipeline.orchestration.ui_guard import SIGNED_IN, Guard

MUTATION = "mutation { launchRun { __typename } }"
QUERY = "query { version }"
HOST = "127.0.0.1:3000"
LOCAL = UiAccess(operator="ana")
PUBLIC = UiAccess.from_environment(
    {
        "D4C_UI_URL": "https://d4c.example.ca",
        "D4C_UI_USER_HEADER": "X-Forwarded-User",
        "D4C_UI_PROXIES": "172.18.0.0/16,::1",
    }
)


async def answer(request: Request) -> JSONResponse:
    body = (await request.body()).decode()
    return JSONResponse({"who": SIGNED_IN.get(), "body": body}, headers={"Content-Security-Policy": "script-src x"})


APP = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PUT"])])


class Client:
    """Requests to a guarded application, as if they came from `peer`."""

    def __init__(self, access: UiAccess, peer: str = "127.0.0.1", host: str = HOST) -> None:
        self.transport = httpx.ASGITransport(Guard(APP, access), client=(peer, 50000))
        self.base = f"http://{host}"

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self.transport, base_url=self.base) as http:
                return await http.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


client = Client


def post(to: Client, query: str = MUTATION, **headers: str) -> Any:
    return to.post("/graphql", json={"query": query}, headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_the_page_itself_and_tools_without_a_browser_go_on_working() -> None:
    ui = client(LOCAL)
    assert post(ui, Origin=f"http://{HOST}", Sec_Fetch_Site="same-origin").json()["who"] == "ana"
    assert json.loads(post(ui).json()["body"]) == {"query": MUTATION}, "the body arrives as it was sent"
    assert ui.get("/", headers={"Sec-Fetch-Site": "none"}).status_code == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert ui.get("/runs/1", headers=link).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8763"},  # where native .html files are served
        {"Origin": f"https://evil.example, http://{HOST}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Host": "evil.example:3000"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost@evil.example"},
        {"Host": ""},
    ],
)
def test_what_another_page_sends_is_refused(headers: dict[str, str]) -> None:
    ui = client(LOCAL)
    for method, path in (("POST", "/graphql"), ("POST", "/report_asset_materialization/a"), ("GET", "/graphql")):
        refused = ui.request(method, path, headers=headers)
        assert refused.status_code == 403, (method, path)
        assert refused.text.startswith("d4c refused this request: ")


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/prefix/graphql"])
@pytest.mark.parametrize(
    "document", [MUTATION, f"{QUERY} {MUTATION.replace('mutation', 'mutation b')}", f"# {QUERY}\n{MUTATION}"]
)
def test_a_mutation_by_get_is_refused_whoever_signed_in(path: str, document: str) -> None:
    refused = client(LOCAL).get(path, params=[("query", QUERY), ("query", document)])
    assert (refused.status_code, "mutation by GET" in refused.text) == (403, True)
    assert client(LOCAL).get(path, params={"query": QUERY}).status_code == 200


def test_nothing_can_be_framed_and_the_page_s_own_policy_stays() -> None:
    for one in (client(LOCAL).get("/"), client(LOCAL).get("/", headers={"Host": "evil.example"})):
        assert "frame-ancestors 'none'" in one.headers["content-security-policy"]
        assert one.headers["x-frame-options"] == "DENY"
    assert "script-src x" in client(LOCAL).get("/").headers["content-security-policy"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (json.dumps({"query": MUTATION}).encode(), "application/json"),
        (json.dumps({"query": MUTATION}).encode("utf-16"), "application/json"),
        (MUTATION.encode(), "application/graphql"),
        (b"x", "text/plain"),
    ],
)
def test_where_nobody_signs_in_nothing_changes(content: bytes, kind: str) -> None:
    ui = client(UiAccess())
    refused = ui.post(f"/graphql?query={MUTATION}", content=content, headers={"Content-Type": kind})
    assert (refused.status_code, "read-only" in refused.text) == (403, True)
    assert post(ui, QUERY).status_code == 200
    assert ui.post("/report_asset_materialization/a", json={}).status_code == 403
    assert ui.request("PUT", "/graphql", json={"query": QUERY}).status_code == 403


def test_a_header_names_the_user_only_when_the_proxy_sends_it() -> None:
    host = "d4c.example.ca"
    named = {"X_Forwarded_User": "ana@example.ca", "Origin": f"https://{host}"}
    assert post(client(PUBLIC, "172.18.0.1", host), **named).json()["who"] == "ana@example.ca"
    assert post(client(PUBLIC, "::ffff:172.18.0.1", host), **named).json()["who"] == "ana@example.ca"
    assert post(client(PUBLIC, "172.19.0.1", host), **named).status_code == 403
    assert post(client(PUBLIC, "172.19.0.1", host), X_Forwarded_For="172.18.0.1", **named).status_code == 403
    assert post(client(PUBLIC, "172.18.0.1", host), Origin=f"https://{host}").status_code == 403
    assert post(client(PUBLIC, "172.18.0.1", host), X_Forwarded_User=" ", Origin=f"https://{host}").status_code == 403
    # http is another origin than https.
    assert post(client(PUBLIC, "172.18.0.1", host), **named | {"Origin": f"http://{host}"}).status_code == 403
    # Nobody is let in by a header that no setting names.
    assert post(client(LOCAL), X_Forwarded_User="eve").json()["who"] == "ana"


def through_a_websocket(messages: list[Message], **headers: str) -> tuple[list[Message], list[Message]]:
    """What the application receives of `messages`, and what is sent back."""
    got: list[Message] = []
    sent: list[Message] = []
    waiting = iter(messages)

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        while not got or got[-1]["type"] != "websocket.disconnect":
            got.append(await receive())

    async def receive() -> Message:
        return next(waiting)

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "websocket",
        "path": "/graphql",
        "query_string": b"",
        "client": ("127.0.0.1", 50000),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(Guard(app, LOCAL)(scope, receive, send))
    return got, sent


def test_a_websocket_passes_the_same_rules() -> None:
    def start(query: str) -> Message:
        payload = {"type": "start", "id": "1", "payload": {"query": query}}
        return {"type": "websocket.receive", "text": json.dumps(payload)}

    wanted = [{"type": "websocket.connect"}, start("subscription { a }")]
    got, sent = through_a_websocket([*wanted, start(MUTATION)], Origin=f"http://{HOST}", Host=HOST)
    assert got == [*wanted, {"type": "websocket.disconnect", "code": 1008}]
    assert sent == []
    for headers in ({"Origin": "https://evil.example", "Host": HOST}, {"Host": "evil.example"}):
        got, sent = through_a_websocket(wanted, **headers)
        assert (got, [(one["type"], one["code"]) for one in sent]) == ([], [("websocket.close", 1008)])


@pytest.mark.parametrize(
    "variables",
    [
        {"D4C_UI_USER_HEADER": "X-User"},
        {"D4C_UI_USER_HEADER": "X-User", "D4C_UI_PROXIES": "proxy"},
        {"D4C_UI_URL": "d4c.example.ca"},
        {"D4C_UI_URL": "https://user:pass@d4c.example.ca"},
    ],
)
def test_settings_that_protect_nothing_are_refused(variables: dict[str, str]) -> None:
    with pytest.raises(PermanentError) as caught:
        UiAccess.from_environment(variables)
    assert "pass" not in str(caught.value)
