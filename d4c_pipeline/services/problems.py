"""Answers to requests that can't be fulfilled: problem documents of RFC 9457, each with a remedy.

Every protocol without error documents of its own answers with these. The error tree belongs to `model.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from d4c_pipeline.model.errors import D4CError, TransientError, UnknownNameError

MEDIA_TYPE = "application/problem+json"
_RETRY_SECONDS = "5"


class ProblemError(Exception):
    """A refused request: the HTTP `status`, the cause as `detail`, and what the client has to change as `remedy`."""

    def __init__(
        self, status: HTTPStatus, detail: str, remedy: str = "", *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail, remedy)
        self.status, self.detail, self.remedy, self.headers = status, detail, remedy, dict(headers or {})

    @classmethod
    def of(cls, error: D4CError) -> ProblemError:
        """Return the problem of an error: 404 for an unknown name, 503 for what a retry may mend, else 400."""
        if isinstance(error, UnknownNameError):
            return cls(HTTPStatus.NOT_FOUND, error.cause, error.remedy)
        if isinstance(error, TransientError):
            headers = {"Retry-After": _RETRY_SECONDS}
            return cls(HTTPStatus.SERVICE_UNAVAILABLE, error.cause, error.remedy, headers=headers)
        return cls(HTTPStatus.BAD_REQUEST, error.cause, error.remedy)


def problem_response(problem: ProblemError) -> Response:
    """Return the problem document: `title`, `status`, `detail`, and `remedy` if there is one."""
    document: dict[str, str | int] = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": problem.status.value,
        "detail": f"{problem.detail.rstrip('.')}.",
    }
    if problem.remedy:
        document["remedy"] = f"{problem.remedy.rstrip('.')}."
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **problem.headers}
    return JSONResponse(document, problem.status.value, headers, MEDIA_TYPE)


def answer_problem(_request: Request, error: Exception) -> Response:
    """Answer a `ProblemError` or a `D4CError`: the exception handler of the routes of all protocols."""
    if isinstance(error, ProblemError):
        return problem_response(error)
    if isinstance(error, D4CError):
        return problem_response(ProblemError.of(error))
    raise error
