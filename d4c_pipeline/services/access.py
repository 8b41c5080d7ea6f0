"""Who asks: the address, the user and the role of a request, and the rate at which each may ask.

`guarded` puts this before every route of the protocols. A user comes from a header of the operator's proxy, from a
session (a signed cookie), or from a token of a script; signing in belongs to `protocols.sign_in`.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from http import HTTPStatus

from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from d4c_pipeline.model.service_access import ServiceAccess
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.signing import Signer

SESSION_COOKIE = "d4c_session"
_STATE = "d4c_visitor"
_REMEMBERED = 10_000  # addresses and users whose rate is known
CHECK = "/user/check"
"""What a proxy asks before every request of the UI: without a rate, since a page of it sends a hundred requests."""


class Role(IntEnum):
    """Roles in order: each may do what those before it may."""

    READER = 0
    SPECIALIST = 1
    MANAGER = 2
    OPERATOR = 3


@dataclass(frozen=True)
class Visitor:
    """The sender of a request. `user` is None for anonymous requests, `email` where the provider states it.

    `needs_user`: whether what costs is for users only.
    """

    address: str
    user: str | None = None
    email: str | None = None
    role: Role = Role.READER
    needs_user: bool = False

    @classmethod
    def of(cls, request: Request) -> Visitor:
        """Return the sender of a request that came through `guarded`."""
        found = request.scope.get("state", {}).get(_STATE)
        return found if found is not None else cls(request.client.host if request.client else "")

    @property
    def name(self) -> str:
        """The name that quotas count by: the user, else the address."""
        return f"user {self.user}" if self.user is not None else f"address {self.address}"

    @property
    def is_manager(self) -> bool:
        """Whether the sender sees and ends the jobs of others."""
        return self.role >= Role.MANAGER

    def require(self, what: str) -> None:
        """Raise ProblemError (401) unless the sender may have `what`, which costs."""
        if self.needs_user and self.user is None:
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED,
                f"{what[:1].upper()}{what[1:]} needs a user",
                "Sign in at /user/login, or send a token: Authorization: Bearer ...",
                headers={"WWW-Authenticate": "Bearer"},
            )


class Rates:
    """Token buckets by name: `per_minute` requests, as many at once. Safe in several threads."""

    def __init__(self, per_minute: int) -> None:
        self._most, self._per_second = float(per_minute), per_minute / 60
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str, now: float | None = None) -> float:
        """Take one request of `name`; return 0 if it is allowed, else the seconds until it is."""
        moment = time.monotonic() if now is None else now
        with self._lock:
            left, since = self._buckets.pop(name, (self._most, moment))
            left = min(self._most, left + (moment - since) * self._per_second)
            allowed = left >= 1
            self._buckets[name] = (left - 1 if allowed else left, moment)
            if len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
            return 0.0 if allowed else (1 - left) / self._per_second


class Guard:
    """Finds out who asks, and refuses what comes too fast."""

    def __init__(self, settings: ServiceAccess, signer: Signer) -> None:
        self._settings, self._signer = settings, signer
        self._rates = Rates(settings.rate or settings.usual_rate)

    def visitor(self, request: Request) -> Visitor:
        """Return the sender of a request. Raises ProblemError (401) for a token that is not valid."""
        settings = self._settings
        peer = request.client.host if request.client else ""
        address = settings.address_of(peer, request.headers.get("X-Forwarded-For"))
        user, email, roles = None, None, ()
        if settings.user_header is not None and settings.is_proxy(peer):
            user = (request.headers.get(settings.user_header) or "").strip()[:200] or None
        elif (authorization := request.headers.get("Authorization", "")).lower().startswith("bearer "):
            facts = self._signer.token(authorization[7:].strip())
            if facts is None:
                raise ProblemError(
                    HTTPStatus.UNAUTHORIZED,
                    "The token is not valid, or has expired",
                    "Make another one: POST /user/token when signed in",
                    headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
                )
            user, email, roles = facts["user"], facts.get("email"), tuple(facts.get("roles", ()))
        elif (cookie := request.cookies.get(SESSION_COOKIE)) and (facts := self._signer.session(cookie)) is not None:
            user, email, roles = facts["user"], facts.get("email"), tuple(facts.get("roles", ()))
        role = _role(settings, user, email, roles) if user is not None else Role.READER
        return Visitor(address, user, email, role, settings.needs_user)

    def check(self, visitor: Visitor) -> None:
        """Raise ProblemError (429) when the sender asks too fast. The loopback has no limit unless one is set."""
        if self._settings.rate is None and _is_loopback(visitor.address):
            return
        wait = self._rates.take(visitor.name)
        if wait > 0:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"More than {self._settings.rate or self._settings.usual_rate} requests came within a minute",
                "Ask more slowly; download scripts and jobs need fewer requests",
                headers={"Retry-After": str(int(wait) + 1)},
            )


def guarded(routes: Sequence[BaseRoute], guard: Guard) -> list[BaseRoute]:
    """Return `routes` with `guard` before each of them."""
    for route in routes:
        inner: ASGIApp | None = getattr(route, "app", None)
        if inner is not None:
            limited = getattr(route, "path", "") != CHECK
            route.app = _Guarded(inner, guard, limited=limited)  # pyright: ignore[reportAttributeAccessIssue]
    return list(routes)


class _Guarded:
    def __init__(self, inner: ASGIApp, guard: Guard, *, limited: bool) -> None:
        self._inner, self._guard, self._limited = inner, guard, limited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            visitor = self._guard.visitor(Request(scope))
            if self._limited:
                self._guard.check(visitor)
            scope.setdefault("state", {})[_STATE] = visitor
        await self._inner(scope, receive, send)


def _role(settings: ServiceAccess, user: str, email: str | None, roles: tuple[str, ...]) -> Role:
    names = {user, email}
    if names & set(settings.operators) or "operator" in roles:
        return Role.OPERATOR
    if names & set(settings.managers) or "manager" in roles:
        return Role.MANAGER
    if names & set(settings.specialists) or "specialist" in roles:
        return Role.SPECIALIST
    return Role.READER


def open_to(host: str) -> str:
    """Return what a server on `host` says of who may use it; nothing on the loopback."""
    if host == "localhost" or _is_loopback(host):
        return ""
    settings = ServiceAccess.from_environment()
    if settings.needs_user:
        return ", open to every address; jobs need a user"
    who = "users can sign in, and nothing asks for it" if settings.signs_in else "nobody can sign in"
    return f", open to every address: {who} (D4C_SERVICES_SIGN_IN, D4C_OIDC_ISSUER)"


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
