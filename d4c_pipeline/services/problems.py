"""Answers to requests that can't be fulfilled: problem documents of RFC 9457, each with a remedy.

Every protocol without error documents of its own answers with these, and so does the server itself: for an unknown
address, for a wrong method, for its own failures. The error tree belongs to `model.errors`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import duckdb
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, NoMatchFound, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from d4c_pipeline.model.errors import (
    D4CError,
    DataError,
    DefinitionError,
    IntegrityError,
    NeedsPersonError,
    OverdueError,
    SourceError,
    StorageError,
    TransientError,
    UnknownNameError,
    shortage,
)

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_RETRY_SECONDS = "5"
_CAUSES: Mapping[HTTPStatus, tuple[str, str]] = {
    HTTPStatus.BAD_REQUEST: ("The request can't be read", "Correct it as the documentation of the services states"),
    HTTPStatus.UNAUTHORIZED: ("The server may not read this file", "Tell the operator"),
    HTTPStatus.NOT_FOUND: (
        "Nothing is at this address",
        "Correct it; /catalogue/catalog.json lists what is published",
    ),
}
_FAILURES: Mapping[type[D4CError], str] = {
    IntegrityError: "A file of the server is missing or damaged",
    StorageError: "A disk of the server is full, read-only or refuses access",
    NeedsPersonError: "The server waits for a decision of its operator",
    DataError: "Data of the server can't be processed",
    DefinitionError: "A definition of the server is wrong",
    SourceError: "A source of the server delivered something else than declared",
}
"""The sentence for each error that no request causes; the first class that fits decides."""


class ProblemError(Exception):
    """A refused request: the HTTP `status`, the cause as `detail`, and what the client has to change as `remedy`."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        remedy: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        instance: str | None = None,
    ) -> None:
        super().__init__(detail, remedy)
        self.status, self.detail, self.remedy, self.headers = status, detail, remedy, dict(headers or {})
        self.instance = instance

    @classmethod
    def of(cls, error: D4CError) -> ProblemError:
        """Return the problem of an error: its status says whether to correct the request, to retry, or to tell us.

        404 for an unknown name, 504 for an exceeded deadline, 503 for what else a retry may mend, 400 for a request
        that must change. Data, definitions, disks and files of the server are no mistake of the client, and their
        causes name folders: 500 with a sentence of the class and the identifier under which the log has the cause.
        """
        if isinstance(error, UnknownNameError):
            return cls(HTTPStatus.NOT_FOUND, error.cause, error.remedy)
        if isinstance(error, TransientError):
            overdue = isinstance(error, OverdueError)
            status = HTTPStatus.GATEWAY_TIMEOUT if overdue else HTTPStatus.SERVICE_UNAVAILABLE
            return cls(status, error.cause, error.remedy, headers={"Retry-After": _RETRY_SECONDS})
        for kind, sentence in _FAILURES.items():
            if isinstance(error, kind):
                return _failure(error, sentence)
        return cls(HTTPStatus.BAD_REQUEST, error.cause, error.remedy)


def problem_response(problem: ProblemError) -> Response:
    """Return the problem document. Its `detail` has cause and remedy: most clients show only that; `remedy` has one.

    `instance` is the identifier of a failure of the server, which its log has too.
    """
    remedy = f"{problem.remedy.rstrip('.')}." if problem.remedy else ""
    document: dict[str, str | int] = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": problem.status.value,
        "detail": f"{problem.detail.rstrip('.')}. {remedy}".rstrip(),
    }
    if remedy:
        document["remedy"] = remedy
    if problem.instance is not None:
        document["instance"] = problem.instance
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **problem.headers}
    return JSONResponse(document, problem.status.value, headers, MEDIA_TYPE)


def answer_problem(_request: Request, error: Exception) -> Response:
    """Answer a `ProblemError` or a `D4CError`: the exception handler of all routes."""
    if isinstance(error, ProblemError):
        return problem_response(error)
    if isinstance(error, D4CError):
        return problem_response(ProblemError.of(error))
    raise error


def answer_http(request: Request, error: Exception) -> Response:
    """Answer an `HTTPException` of Starlette: an unknown address, a wrong method, a form that can't be read."""
    if not isinstance(error, HTTPException):
        raise error
    status, headers = HTTPStatus(error.status_code), dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join({**dict.fromkeys(headers.get("Allow", "GET, HEAD").split(", ")), "OPTIONS": None})
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
        cause = f"This address takes no {request.method[:20]}"
        return problem_response(ProblemError(status, cause, f"Send one of {headers['Allow']}", headers=headers))
    cause, remedy = _CAUSES.get(status, (status.phrase, "Correct the request"))
    if status is HTTPStatus.BAD_REQUEST and error.detail != status.phrase:
        cause = f"{cause}: {error.detail}"
    return problem_response(ProblemError(status, cause, remedy, headers=headers))


def answer_failure(error: Exception) -> Response:
    """Answer what no handler expected: 503 where memory, threads or open files ran out, 504 for a query that was ended.

    All else is a failure of the server: 500 with the identifier under which the log has it.
    """
    if isinstance(error, duckdb.InterruptException):
        return problem_response(ProblemError.of(OverdueError("The request took too long", "Ask for less")))
    if isinstance(error, duckdb.OutOfMemoryException) or shortage(error) is not None:
        _log.warning("A request had too little of the system: %s", error)
        return problem_response(ProblemError.of(TransientError("The server has too many requests", "Ask again later")))
    return problem_response(_failure(error, "The server failed"))


def _failure(error: Exception, sentence: str) -> ProblemError:
    # The answer has nothing of the error, which may name folders; the log has no address, which may hold a token.
    instance = uuid.uuid4().urn
    _log.error("Failure %s of a request", instance, exc_info=error)
    return ProblemError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        sentence,
        f"Ask again later; if it fails again, send {instance} to the operator, whose log has the cause under it",
        instance=instance,
    )


class FailureDocuments:
    """The middleware that answers what no handler expected with `answer_failure`, unless the answer has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except ClientDisconnect:
            return  # nobody reads an answer
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            await answer_failure(error)(scope, receive, send)


class WrongMethods(BaseRoute):
    """The last route before files: a known address with a method that none of its `routes` takes.

    Files are mounted at `/`, so Starlette's router would send such a request to them, which would answer 404. OPTIONS
    is answered with the methods of the address.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = [route for route in routes if isinstance(route, Route)]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match an address of `routes` whose method is wrong; the child scope has the methods that it takes."""
        if scope["type"] != "http":
            return Match.NONE, {}
        allowed = {
            method
            for route in self._routes
            if route.matches(scope)[0] is Match.PARTIAL
            for method in (route.methods or ())
        }
        return (Match.FULL, {"allowed": sorted(allowed | {"OPTIONS"})}) if allowed else (Match.NONE, {})

    def url_path_for(self, name: str, /, **path_params: object) -> NoMatchFound:  # type: ignore[override]
        """Raise NoMatchFound: this route has no address of its own."""
        raise NoMatchFound(name, dict(path_params))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the handler of `HTTPException`."""
        raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(scope["allowed"])})
