"""Bodies of requests, of bounded length, for handlers that run in threads.

Each protocol has its own forms; the size of heads belongs to `http_limits`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from d4c_pipeline.services.problems import ProblemError

MOST_BYTES = 1 << 20
"""The most bytes of a body, by default."""
JSON, FORM, FILES = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"


def with_body(
    handler: Callable[[Request, bytes], Response], *kinds: str, most: int = MOST_BYTES
) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that reads the body, then calls `handler` in a thread.

    Answers 415 for a body of another media type than `kinds`, 413 as soon as it has more than `most` bytes.
    """

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(handler, request, await read_body(request, *kinds, most=most))

    return endpoint


def require_type(request: Request, *kinds: str) -> None:
    """Raise ProblemError (415) if a request states another media type than `kinds`.

    Any `+json` is JSON. A body without a stated type is read: the parser says what is wrong with it.
    """
    stated = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if stated and stated not in kinds and not (JSON in kinds and stated.endswith("+json")):
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"The body is '{stated[:80]}'",
            f"Send it as {' or '.join(kinds)}, and state that in Content-Type",
            headers={"Accept": ", ".join(kinds), "Connection": "close"},  # the body is not read
        )


async def read_body(request: Request, *kinds: str, most: int = MOST_BYTES) -> bytes:
    """Return the body of a request.

    Raises ProblemError: 415 for another media type than `kinds`, if there are any; 413 as soon as it has more than
    `most` bytes.
    """
    if kinds:
        require_type(request, *kinds)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The body has more than {most:,} bytes",
                "Send less in one request",
                headers={"Connection": "close"},
            )
        parts.append(part)
    return b"".join(parts)


def json_object(body: bytes) -> dict[str, Any]:
    """Return a body that is a JSON object. Raises ProblemError (400) for any other."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, f"The body is not JSON: {error}", "Send a JSON object in UTF-8"
        ) from error
    if not isinstance(found, dict):
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The body is not a JSON object", "Send a JSON object")
    return found
