"""Sign-in with OpenID Connect at the operator's provider: `/user/login`, `/user/callback`, `/user`, `/user/token`.

The authorization code flow with PKCE; Authlib judges the claims of the identity token. Nothing is stored: the session
is a signed cookie. `/user/check` answers the proxy in front of the UI. What a user may do belongs to `services.access`.
https://openid.net/specs/openid-connect-core-1_0.html
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.model.service_access import ServiceAccess
from d4c_pipeline.model.ui_access import UiAccess
from d4c_pipeline.services.access import CHECK, SESSION_COOKIE, Role, Visitor
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.protocol import Protocol, Services
from d4c_pipeline.services.signing import LOGIN_SECONDS, SESSION_SECONDS, Signer
from d4c_pipeline.transport.clients import http_client

_LOGIN_COOKIE = "d4c_login"
_LOGIN = "/user/login"
_OPERATOR_HEADER = "X-D4C-User"  # the Caddyfile copies it into the request to the UI
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"]  # none with a shared secret
_PROVIDER_SECONDS = 3_600.0
_TIMEOUT = 10.0
_LEEWAY = 60


def _routes(services: Services) -> Sequence[BaseRoute]:
    settings = services.access
    if settings.issuer is None:
        return []
    server = _SignIn(services, settings, services.signer, UiAccess.from_environment().origins)
    return [
        Route("/user", server.user, methods=["GET"]),
        Route(CHECK, server.check, methods=["GET"]),
        Route(_LOGIN, server.login, methods=["GET"]),
        Route("/user/callback", server.callback, methods=["GET"]),
        Route("/user/token", server.token, methods=["POST"]),
        Route("/user/logout", server.logout, methods=["POST"]),
    ]


PROTOCOL = Protocol(
    name="sign-in",
    title="Sign-in (OpenID Connect)",
    path="user",
    routes=_routes,
    needs=("authlib", "joserfc", "itsdangerous"),
)


class _SignIn:
    def __init__(
        self, services: Services, settings: ServiceAccess, signer: Signer, ui_origins: frozenset[str] = frozenset()
    ) -> None:
        self._services, self._settings, self._signer, self._ui_origins = services, settings, signer, ui_origins
        self._lock = threading.Lock()
        self._known: tuple[float, dict[str, Any], dict[str, Any]] | None = None

    def user(self, request: Request) -> Response:
        visitor = Visitor.of(request)
        return _json({"user": visitor.user, "email": visitor.email, "role": visitor.role.name.lower()})

    def check(self, request: Request) -> Response:
        """Answer a proxy that asks before it passes a request to the UI: 204, with the operator's name in a header.

        Without an operator, `?guests=1` lets the request pass with an empty name; else guests are sent to the sign-in.
        A signed-in user without the role is refused: the provider would send them back at once, without end.
        """
        visitor = Visitor.of(request)
        if visitor.user is not None and visitor.role >= Role.OPERATOR:
            name = quote(visitor.email or visitor.user, safe="@+ !#$&'*/=?^`~:|")[:200]
            return Response(status_code=HTTPStatus.NO_CONTENT, headers={_OPERATOR_HEADER: name})
        if request.query_params.get("guests") == "1":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers={_OPERATOR_HEADER: ""})
        if visitor.user is not None:
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "The signed-in user is no operator",
                "Ask for the role 'operator' at the provider, or for an entry in D4C_SERVICES_OPERATORS",
            )
        following = urlencode({"next": _local(request.headers.get("X-Forwarded-Uri", "/"))})
        return RedirectResponse(f"{_LOGIN}?{following}", HTTPStatus.SEE_OTHER)

    def login(self, request: Request) -> Response:
        """Send the reader to the provider; what has to come back lies in a signed cookie for ten minutes."""
        from authlib.oauth2.rfc7636 import create_s256_code_challenge  # noqa: PLC0415 - an extra

        provider, _ = self._provider()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        following = _local(request.query_params.get("next", "/user"))
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect(request),
            "scope": "openid email profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        separator = "&" if "?" in provider["authorization_endpoint"] else "?"
        answer = RedirectResponse(f"{provider['authorization_endpoint']}{separator}{urlencode(asked)}", 303)
        facts = {"state": state, "nonce": nonce, "verifier": verifier, "next": following}
        self._cookie(request, answer, _LOGIN_COOKIE, self._signer.written_login(facts), LOGIN_SECONDS)
        return answer

    def callback(self, request: Request) -> Response:
        begun = self._signer.login(request.cookies.get(_LOGIN_COOKIE, ""))
        given = request.query_params
        if begun is None or not secrets.compare_digest(given.get("state", "").encode(), begun["state"].encode()):
            raise _refused("This sign-in was not begun here, or took more than ten minutes")
        if "code" not in given:
            raise _refused(f"The provider refused: {given.get('error', 'no code')[:100]}")
        claims = self._claims(self._exchanged(request, given["code"], begun["verifier"]), begun["nonce"])
        roles = claims.get(self._settings.roles_claim, [])
        # An address that the provider did not verify may be anybody's.
        email = claims.get("email") if claims.get("email_verified", False) is True else None
        facts = {
            "user": str(claims["sub"]),
            "email": email,
            "roles": [str(role) for role in roles][:50] if isinstance(roles, list) else [],
        }
        answer = RedirectResponse(begun["next"], 303)
        self._cookie(request, answer, SESSION_COOKIE, self._signer.written_session(facts), SESSION_SECONDS)
        answer.delete_cookie(_LOGIN_COOKIE, path="/user")
        return answer

    def token(self, request: Request) -> Response:
        """Return a token for scripts to whoever is signed in by a session; a token makes no other token."""
        facts = self._signer.session(request.cookies.get(SESSION_COOKIE, ""))
        if facts is None:
            raise ProblemError(HTTPStatus.UNAUTHORIZED, "Nobody is signed in", "Sign in at /user/login")
        days = self._settings.token_days
        return _json({"token": self._signer.written_token(facts), "type": "Bearer", "expires_in": days * 86_400})

    def logout(self, _request: Request) -> Response:
        answer = Response(status_code=HTTPStatus.NO_CONTENT)
        answer.delete_cookie(SESSION_COOKIE, path="/")
        return answer

    def _exchanged(self, request: Request, code: str, verifier: str) -> str:
        provider, _ = self._provider()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect(request),
            "client_id": str(self._settings.client_id),
            "code_verifier": verifier,
        }
        secret = self._settings.secret()
        login = (str(self._settings.client_id), secret) if secret is not None else httpx.USE_CLIENT_DEFAULT
        with _provider_errors(), http_client(_TIMEOUT, follow_redirects=False) as client:
            answer = client.post(provider["token_endpoint"], data=form, auth=login)
            if answer.status_code != HTTPStatus.OK:
                raise _refused(f"The provider refused the code ({answer.status_code})")
            token = answer.json().get("id_token")
        if not isinstance(token, str):
            raise _refused("The provider sent no identity token")
        return token

    def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        from authlib.oidc.core import CodeIDToken  # noqa: PLC0415 - an extra
        from joserfc import jwt  # noqa: PLC0415
        from joserfc.errors import JoseError  # noqa: PLC0415
        from joserfc.jwk import KeySet  # noqa: PLC0415

        provider, keys = self._provider()
        try:
            decoded = jwt.decode(token, KeySet.import_key_set(keys), algorithms=_ALGORITHMS)  # pyright: ignore[reportArgumentType]
            options = {
                "iss": {"essential": True, "value": provider["issuer"]},
                "aud": {"essential": True, "value": self._settings.client_id},
                "nonce": {"essential": True, "value": nonce},
                "exp": {"essential": True},
                "sub": {"essential": True},
            }
            checked = CodeIDToken(decoded.claims, decoded.header, options, {"client_id": self._settings.client_id})
            checked.validate(leeway=_LEEWAY)
        except (JoseError, ValueError) as error:
            raise _refused(f"The identity token is not valid ({type(error).__name__})") from error
        return dict(decoded.claims)

    def _provider(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the provider's description and its keys, at most an hour old."""
        with self._lock:
            if self._known is not None and time.monotonic() - self._known[0] < _PROVIDER_SECONDS:
                return self._known[1], self._known[2]
            issuer = str(self._settings.issuer).rstrip("/")
            with _provider_errors(), http_client(_TIMEOUT) as client:
                described = client.get(f"{issuer}/.well-known/openid-configuration").raise_for_status().json()
                if str(described.get("issuer", "")).rstrip("/") != issuer:
                    raise _refused("The provider states another issuer than D4C_OIDC_ISSUER")
                keys = client.get(described["jwks_uri"]).raise_for_status().json()
            self._known = (time.monotonic(), described, keys)
            return described, keys

    def _redirect(self, request: Request) -> str:
        return f"{self._address(request)}/user/callback"

    def _address(self, request: Request) -> str:
        """Return the public address that the reader uses: the UI's where the request came through its proxy.

        The session's cookie belongs to one host, so that a sign-in for the UI has to end there.
        """
        own = (f"{scheme}://{request.url.netloc}".lower() for scheme in ("https", "http"))
        return next((origin for origin in own if origin in self._ui_origins), self._services.base_url(request))

    def _cookie(self, request: Request, answer: Response, name: str, value: str, seconds: int) -> None:
        secure = self._address(request).startswith("https:")
        path = "/" if name == SESSION_COOKIE else "/user"
        answer.set_cookie(name, value, seconds, path=path, secure=secure, httponly=True, samesite="lax")


class _provider_errors:  # noqa: N801 - used as a function
    """Turns the failures of the provider into a problem (502)."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, httpx.HTTPError | ValueError | KeyError):
            raise ProblemError(
                HTTPStatus.BAD_GATEWAY, "The provider of users did not answer as expected", "Sign in again later"
            ) from error


def _local(address: str) -> str:
    """Return the path of an address of these services, `/user` for any other: no sign-in leads elsewhere."""
    parts = urlsplit(address)
    safe = not parts.scheme and not parts.netloc and address.startswith("/") and "\\" not in address
    return address if safe and not address.startswith("//") else "/user"


def _refused(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.FORBIDDEN, detail, "Sign in again at /user/login")


def _json(document: dict[str, Any]) -> Response:
    return Response(orjson.dumps(document), headers={"Cache-Control": "no-store"}, media_type="application/json")
