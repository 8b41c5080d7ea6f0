"""Who may: sign-in at a real OpenID provider, tokens, headers of proxies, roles and rates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.service_access import ServiceAccess
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services import file_server
from d4c_pipeline.services.access import Guard, Rates, Role, Visitor, guarded, open_to
from d4c_pipeline.services.protocol import Services
from d4c_pipeline.services.protocols import sign_in
from d4c_pipeline.services.signing import Signer, signing_key
from d4c_pipeline_tests.support.ports import free_port

KEY = "0123456789abcdef0123456789abcdef"


@contextmanager
def served(home: Path, access: ServiceAccess) -> Iterator[httpx.Client]:
    """A server with sign-in and one costly route, and a client that follows no redirect."""

    def costly(request: Request) -> Response:
        visitor = Visitor.of(request)
        visitor.require("this")
        return JSONResponse({"user": visitor.user, "role": visitor.role.name, "address": visitor.address})

    services = Services(Settings(home=home), None, access)  # type: ignore[arg-type]
    routes = [Route("/costly", costly), *sign_in.PROTOCOL.routes(services)]
    guard = Guard(access, services.signer)
    with (
        file_server.serving({}, port=free_port(), others=guarded(routes, guard)) as url,
        httpx.Client(base_url=url) as client,
    ):
        yield client


def at_the_provider(client: httpx.Client, user: str, **changes: str) -> httpx.Response:
    """Sign in as `user`: to the provider and back. `changes`: parameters of the way back."""
    start = client.get("/user/login", params={"next": "/costly"})
    assert start.status_code == 303
    back = httpx.post(start.headers["Location"], data={"sub": user})
    assert back.status_code == 302, back.text
    address = httpx.URL(back.headers["Location"])
    return client.get("/user/callback", params={**dict(address.params), **changes})


def test_sign_in_token_and_sign_out(issuer: str, tmp_path: Path) -> None:
    access = ServiceAccess(
        issuer=issuer, client_id="d4c", client_secret=SecretStr("s"), needs_user=True, managers=("ana@example.ca",)
    )
    with served(tmp_path, access) as client:
        refused = client.get("/costly")
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "/user/login" in refused.json()["remedy"]
        done = at_the_provider(client, "ana")
        assert (done.status_code, done.headers["Location"]) == (303, "/costly")
        cookie = done.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert client.get("/costly").json()["user"] == "ana"
        assert client.get("/user").json() == {"user": "ana", "email": "ana@example.ca", "role": "manager"}
        token = client.post("/user/token").json()["token"]
        client.post("/user/logout")
        client.cookies.clear()
        assert client.get("/costly").status_code == 401
        assert client.get("/costly", headers={"Authorization": f"Bearer {token}"}).json()["role"] == "MANAGER"
        bearer = {"Authorization": f"Bearer {token[:-2]}xx"}
        assert client.get("/costly", headers=bearer).status_code == 401
        # A token opens no session and makes no other token; a session's cookie is no token.
        assert client.post("/user/token", headers={"Authorization": f"Bearer {token}"}).status_code == 401
        assert client.get("/costly", headers={"Cookie": f"d4c_session={token}"}).status_code == 401


def test_an_address_that_nobody_verified_gives_no_role(issuer: str, tmp_path: Path) -> None:
    access = ServiceAccess(issuer=issuer, client_id="d4c", client_secret=SecretStr("s"), managers=("boss@example.ca",))
    with served(tmp_path, access) as client:
        at_the_provider(client, "bob")
        assert client.get("/user").json() == {"user": "bob", "email": None, "role": "specialist"}


def test_a_sign_in_that_was_not_begun_here_is_refused(issuer: str, tmp_path: Path) -> None:
    access = ServiceAccess(issuer=issuer, client_id="d4c", client_secret=SecretStr("s"))
    with served(tmp_path, access) as client:
        assert at_the_provider(client, "ana", state="other").status_code == 403
        client.cookies.clear()
        assert client.get("/user/callback", params={"code": "x", "state": ""}).status_code == 403
        start = client.get("/user/login", params={"next": "//evil.example/"})
        asked = httpx.URL(start.headers["Location"]).params
        assert (asked["code_challenge_method"], asked["scope"]) == ("S256", "openid email profile")
        back = httpx.post(start.headers["Location"], data={"sub": "ana"})
        done = client.get("/user/callback", params=httpx.URL(back.headers["Location"]).params)
        assert done.headers["Location"] == "/user"
        # The same code again: the provider refuses it.
        assert client.get("/user/callback", params=httpx.URL(back.headers["Location"]).params).status_code == 403


def test_a_provider_that_is_gone_is_a_problem_document(tmp_path: Path) -> None:
    access = ServiceAccess(issuer=f"http://127.0.0.1:{free_port()}", client_id="d4c")
    with served(tmp_path, access) as client:
        assert client.get("/user/login").status_code == 502


def test_a_header_counts_from_the_proxy_only(tmp_path: Path) -> None:
    header = {"X-User": "ana", "X-Forwarded-For": "9.9.9.9, 203.0.113.7"}
    trusted = ServiceAccess.from_environment(
        {"D4C_SERVICES_USER_HEADER": "X-User", "D4C_SERVICES_PROXIES": "127.0.0.1", "D4C_SERVICES_SIGN_IN": "1"}
    )
    with served(tmp_path, trusted) as client:
        assert client.get("/costly", headers=header).json() == {
            "user": "ana", "role": "READER", "address": "203.0.113.7",
        }  # fmt: skip
        assert client.get("/costly").status_code == 401
    other = ServiceAccess.from_environment(
        {"D4C_SERVICES_USER_HEADER": "X-User", "D4C_SERVICES_PROXIES": "10.0.0.1", "D4C_SERVICES_SIGN_IN": "1"}
    )
    with served(tmp_path, other) as client:
        assert client.get("/costly", headers=header).status_code == 401


def test_too_many_requests_are_refused_with_a_time(tmp_path: Path) -> None:
    with served(tmp_path, ServiceAccess(rate=3)) as client:
        answers = [client.get("/costly") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[3].headers["Retry-After"]) <= 21
        assert answers[3].headers["Content-Type"] == "application/problem+json"
    with served(tmp_path, ServiceAccess()) as client:  # the loopback
        assert {client.get("/costly").status_code for _ in range(650)} == {200}


def test_rates_fill_again() -> None:
    rates = Rates(60)
    assert [rates.take("a", 0.0) for _ in range(60)] == [0.0] * 60
    assert rates.take("a", 0.0) == pytest.approx(1.0)
    assert rates.take("b", 0.0) == 0
    assert rates.take("a", 1.0) == 0
    assert rates.take("a", 1.5) == pytest.approx(0.5)


def test_signed_facts(tmp_path: Path) -> None:
    key = signing_key(tmp_path / "services" / "key")
    assert signing_key(tmp_path / "services" / "key") == key
    assert (tmp_path / "services" / "key").stat().st_mode & 0o77 == 0
    signer = Signer(key, 30)
    assert signer.token(signer.written_token({"user": "a"})) == {"user": "a"}
    assert signer.session(signer.written_token({"user": "a"})) is None
    assert Signer(KEY, 30).token(signer.written_token({"user": "a"})) is None
    (tmp_path / "short").write_text("abc")
    with pytest.raises(PermanentError):
        signing_key(tmp_path / "short")


@pytest.mark.parametrize(
    "environment",
    [
        {"D4C_SERVICES_USER_HEADER": "X-User"},
        {"D4C_SERVICES_SIGN_IN": "1"},
        {"D4C_OIDC_ISSUER": "https://id.example.ca"},
        {"D4C_SERVICES_RATE": "0"},
        {"D4C_SERVICES_PROXIES": "proxy.example.ca"},
    ],
)
def test_settings_that_protect_nothing_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(PermanentError):
        ServiceAccess.from_environment(environment)


def test_the_first_line_of_a_server_says_who_may(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_to("127.0.0.1") == open_to("::1") == open_to("localhost") == ""
    assert re.search("open to every address: nobody can sign in", open_to("0.0.0.0"))  # noqa: S104
    monkeypatch.setenv("D4C_OIDC_ISSUER", "https://id.example.ca")
    monkeypatch.setenv("D4C_OIDC_CLIENT_ID", "d4c")
    assert "users can sign in" in open_to("192.0.2.1")
    monkeypatch.setenv("D4C_SERVICES_SIGN_IN", "1")
    assert open_to("::") == ", open to every address; jobs need a user"
    assert Role.READER < Role.SPECIALIST < Role.MANAGER < Role.OPERATOR
