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


def with_body(
    handler: Callable[[Request, bytes], Response], most: int = MOST_BYTES
) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that reads the body, then calls `handler` in a thread.

    Answers 413 as soon as the body has more than `most` bytes.
    """

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(handler, request, await read_body(request, most))

    return endpoint


async def read_body(request: Request, most: int = MOST_BYTES) -> bytes:
    """Return the body of a request. Raises ProblemError (413) as soon as it has more than `most` bytes."""
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
