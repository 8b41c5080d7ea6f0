"""Answers that are sent while they are made, and that give their place back when the client leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse


class Streamed(StreamingResponse):
    """A stream that is closed when the client has all of it, or leaves."""

    def __init__(self, stream: Iterator[bytes], headers: dict[str, str], kind: str) -> None:
        super().__init__(_asynchronous(stream), headers=headers, media_type=kind)
        self._close: Callable[[], None] = stream.close  # pyright: ignore[reportAttributeAccessIssue]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the stream, then close it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await run_in_threadpool(self._close)


async def _asynchronous(stream: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (part := await run_in_threadpool(next, stream, None)) is not None:
        yield part
