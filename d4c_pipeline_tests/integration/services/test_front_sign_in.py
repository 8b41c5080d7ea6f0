"""Caddy with sign-in at a real OpenID provider: who sees the UI behind its guard, and who may change it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Thread

import httpx
import pytest
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from d4c_pipeline.model.service_access import ServiceAccess
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.ui_access import UiAccess
from d4c_pipeline.orchestration.ui_guard import SIGNED_IN
from d4c_pipeline.orchestration.ui_guard import Guard as UiGuard
from d4c_pipeline.services import file_server
from d4c_pipeline.services.access import Guard, guarded
from d4c_pipeline.services.protocol import Services
from d4c_pipeline.services.protocols import sign_in
from d4c_pipeline_tests.support.caddy import caddy
from d4c_pipeline_tests.support.ports import free_port

CHANGE = {"query": "mutation { launchRun { __typename } }"}


@dataclass(frozen=True)
class Front:
    """The addresses of the UI: with guests, and for operators only."""

    ui: str
    closed: str


async def _echo(request: Request) -> Response:
    kept = {name: request.headers.get(name) for name in ("x-d4c-user", "cookie", "authorization")}
    return JSONResponse({"path": request.url.path, "who": SIGNED_IN.get(), **kept})


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(str(SIGNED_IN.get()))
    await socket.close()


@contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """Serve an application by uvicorn during the block; yield its host and port."""
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), log_level="error", proxy_headers=False))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield f"127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def front(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Two Caddies before one server of the services and an echo behind the guard of the UI."""
    folder = tmp_path_factory.mktemp("front")
    ui, closed, store, other = (f"http://127.0.0.1:{free_port()}" for _ in range(4))
    access = ServiceAccess(
        issuer=issuer,
        client_id="d4c",
        client_secret=SecretStr("s"),
        operators=("ana@example.ca",),
        managers=("bob",),
        rate=60,  # one visit of the UI sends more requests
    )
    # The portal has an address of its own, where a session for the UI would be of no use.
    services = Services(Settings(home=folder, portal_url="https://portal.example.ca"), None, access)  # type: ignore[arg-type]
    with ExitStack() as opened, pytest.MonkeyPatch.context() as patch:
        patch.setenv("D4C_UI_URL", f"{ui},{closed}")
        routes = guarded([*sign_in.PROTOCOL.routes(services)], Guard(access, services.signer))
        behind = opened.enter_context(file_server.serving({}, port=free_port(), others=routes))
        echo = Starlette(routes=[WebSocketRoute("/ws", _socket), Route("/{rest:path}", _echo, methods=["GET", "POST"])])
        rules = UiAccess.from_environment(
            {"D4C_UI_URL": f"{ui},{closed}", "D4C_UI_USER_HEADER": "X-D4C-User", "D4C_UI_PROXIES": "127.0.0.1"}
        )
        page = opened.enter_context(running(UiGuard(echo, rules)))
        upstreams = {"FILES": behind.removeprefix("http://"), "UI": page, "SIGN_IN": "openid"}
        for address, shop, guests in ((ui, store, "1"), (closed, other, "0")):
            own = folder / guests
            own.mkdir()
            opened.enter_context(caddy(own, ui=address, store=shop, GUESTS=guests, **upstreams))
        yield Front(ui, closed)


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


def sign_in_as(browser: httpx.Client, ui: str, user: str) -> httpx.Response:
    """Sign in from the UI's own link; return the answer of the page that follows."""
    start = browser.get(f"{ui}/sign-in")
    assert (start.status_code, start.headers["Location"]) == (302, "/user/login?next=/")
    return at_the_provider(browser, ui, start.headers["Location"], user)


def at_the_provider(browser: httpx.Client, ui: str, login: str, user: str) -> httpx.Response:
    asked = browser.get(f"{ui}{login}")
    assert asked.status_code == 303
    back = httpx.post(asked.headers["Location"], data={"sub": user}, trust_env=False)
    assert back.headers["Location"].startswith(f"{ui}/user/callback?")
    done = browser.get(back.headers["Location"])
    assert done.status_code == 303
    return browser.get(f"{ui}{done.headers['Location']}")


def test_a_guest_looks_and_changes_nothing_whatever_header_comes_along(front: Front, browser: httpx.Client) -> None:
    for name in ("X-D4C-User", "x-d4c-user"):
        seen = browser.get(f"{front.ui}/runs", headers={name: "ana"})
        assert (seen.status_code, seen.json()["path"], seen.json()["who"]) == (200, "/runs", None)
        refused = browser.post(f"{front.ui}/graphql", json=CHANGE, headers={name: "ana"})
        assert refused.status_code == 403
        assert "read-only where nobody signed in" in refused.text


def test_an_operator_is_named_and_a_forged_request_is_still_refused(front: Front, browser: httpx.Client) -> None:
    page = sign_in_as(browser, front.ui, "ana")
    assert page.json() == {
        "path": "/", "who": "ana@example.ca", "x-d4c-user": "ana@example.ca", "cookie": None, "authorization": None,
    }  # fmt: skip
    done = browser.post(f"{front.ui}/graphql", json=CHANGE, headers={"Origin": front.ui, "X-D4C-User": "root"})
    assert done.json()["who"] == "ana@example.ca"
    for forged in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        refused = browser.post(f"{front.ui}/graphql", json=CHANGE, headers=forged)
        assert (refused.status_code, refused.text[:24]) == (403, "d4c refused this request")
    # A page of the UI sends many requests; none of them is counted against the rate of the services.
    assert {browser.get(f"{front.ui}/asset.js").status_code for _ in range(80)} == {200}
    assert browser.post(f"{front.ui}/user/logout").status_code == 204
    assert browser.get(f"{front.ui}/").json()["who"] is None


def test_a_user_without_the_role_stays_a_guest(front: Front, browser: httpx.Client) -> None:
    assert sign_in_as(browser, front.ui, "bob").json()["who"] is None
    assert browser.get(f"{front.ui}/user").json()["role"] == "manager"
    assert browser.post(f"{front.ui}/graphql", json=CHANGE).status_code == 403


def test_a_closed_ui_leads_guests_to_the_provider_and_back_to_their_page(front: Front, browser: httpx.Client) -> None:
    refused = browser.get(f"{front.closed}/runs?status=failed", headers={"X-D4C-User": "ana"})
    login = "/user/login?next=%2Fruns%3Fstatus%3Dfailed"
    assert (refused.status_code, refused.headers["Location"]) == (303, login)
    assert browser.post(f"{front.closed}/graphql", json=CHANGE).status_code == 303
    page = at_the_provider(browser, front.closed, login, "ana")
    assert (page.json()["path"], page.json()["who"]) == ("/runs", "ana@example.ca")
    # Cookies know no port, so that the session would count on the other address too.
    browser.cookies.clear()
    no_operator = at_the_provider(browser, front.closed, login, "bob")
    assert (no_operator.status_code, no_operator.headers.get("Location")) == (403, None)
    assert "no operator" in no_operator.json()["detail"]
    forged = {"Cookie": "d4c_session=eyJ1c2VyIjoiYW5hIn0.aaaa.bbbb"}
    browser.cookies.clear()
    assert browser.get(f"{front.closed}/runs", headers=forged).status_code == 303


def test_a_websocket_follows_the_same_rules(front: Front, browser: httpx.Client) -> None:
    sign_in_as(browser, front.ui, "ana")
    cookie = f"d4c_session={browser.cookies['d4c_session']}"

    async def first_message(address: str, **headers: str) -> str:
        async with connect(f"{address.replace('http', 'ws')}/ws", additional_headers=headers, proxy=None) as socket:
            return str(await socket.recv())

    assert asyncio.run(first_message(front.ui, Cookie=cookie)) == "ana@example.ca"
    assert asyncio.run(first_message(front.closed, Cookie=cookie)) == "ana@example.ca"
    assert asyncio.run(first_message(front.ui)) == "None"
