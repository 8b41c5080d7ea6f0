"""Threads of requests by their cost: a lane for each kind, so that a queue of costly requests delays only these.

Starlette runs every synchronous handler in one pool of 40 threads. 200 clients that ask for subsets fill it, and then a
document that takes a millisecond waits for them too. A request that waits for its lane holds no thread.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from d4c_pipeline.services.problems import ProblemError

WAIT_SECONDS = 30.0
"""Time that a request waits for its lane before the answer is 503."""
_Given = ParamSpec("_Given")
_Returned = TypeVar("_Returned")


class Lane:
    """At most `threads` calls at a time, in the order in which they came. `what`: the work, for a refusal."""

    def __init__(self, what: str, threads: int, wait_seconds: float = WAIT_SECONDS) -> None:
        self._what, self._wait = what, wait_seconds
        self._places = anyio.CapacityLimiter(threads)
        # A pool of its own: a call never waits for the threads of other lanes.
        self._threads = anyio.CapacityLimiter(math.inf)

    def endpoint(self, handler: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of a route that answers with `handler` as `run` calls it."""

        async def answer(request: Request) -> Response:
            return await self.run(handler, request)

        return answer

    async def run(
        self, call: Callable[_Given, _Returned], *arguments: _Given.args, **named: _Given.kwargs
    ) -> _Returned:
        """Return what `call` returns, from a thread. Raises ProblemError (503) after `wait_seconds` without a place."""
        try:
            with anyio.fail_after(self._wait):
                await self._places.acquire_on_behalf_of(place := object())
        except TimeoutError as error:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"The server is busy with other {self._what}",
                "Ask again later",
                headers={"Retry-After": "10"},
            ) from error
        try:
            return await anyio.to_thread.run_sync(lambda: call(*arguments, **named), limiter=self._threads)
        finally:
            self._places.release_on_behalf_of(place)
