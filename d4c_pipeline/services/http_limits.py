"""Limits of the file server's connections: stalled readers are closed, idle connections never block others.

Only limits that uvicorn lacks belong here: the time for a request's head and for reading an answer, the size of a head,
the number of connections. Without them 1,300 half-sent requests blocked all other readers (each holds a file
descriptor), and a head of 60 MB stalled all readers for 15 s in the parser of httptools; h11 refuses a head above
16 KiB once it has read that much.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections import OrderedDict
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from d4c_pipeline.services.problems import ProblemError, problem_response

HEAD_SECONDS = 10.0
HEAD_BYTES = 16 << 10
# A reader must read a full buffer of its connection, 64 KiB, in this time: 0.5 kB/s.
WRITE_SECONDS = 120.0
# Each connection needs up to two descriptors (its socket, the file it reads); the rest is for the server itself.
_DESCRIPTORS_A_CONNECTION, _DESCRIPTORS_KEPT = 2, 64
_MOST_CONNECTIONS = 4096


def most_connections() -> int:
    """Raise this process's limit of open files to the allowed maximum, and return how many connections fit into it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS_A_CONNECTION * _MOST_CONNECTIONS + _DESCRIPTORS_KEPT
    if soft < wanted and (hard == resource.RLIM_INFINITY or soft < hard):
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(16, min(_MOST_CONNECTIONS, (soft - _DESCRIPTORS_KEPT) // _DESCRIPTORS_A_CONNECTION))


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 of uvicorn with a deadline for each request's head, and a cap on connections.

    A connection without a complete head after `head_seconds` is closed, and so is a connection whose reader reads
    nothing for `write_seconds`. With more connections than `most`, the connection that has waited longest without a
    request is closed; if all are busy, the new connection is closed.
    """

    head_seconds = HEAD_SECONDS
    write_seconds = WRITE_SECONDS
    most = _MOST_CONNECTIONS
    # Connections without a complete head, the longest wait first. One per class: `limited` makes a class per server.
    waiting: OrderedDict[LimitedProtocol, None]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_due: asyncio.TimerHandle | None = None
        self._write_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Wait for a request; close the oldest waiting connection if there are too many."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > self.most:
            oldest = next(iter(self.waiting))  # at least this connection
            oldest.close_waiting()

    def data_received(self, data: bytes) -> None:
        """Read bytes of a request; cancel its deadline once the head is complete."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._await_head()
        else:
            self._head_arrived()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        # Between two requests uvicorn's own timer closes it; until then it may be closed for other connections.
        if not self.transport.is_closing():
            self.waiting[self] = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request with a problem document; uvicorn calls this while it handles the parser's error."""
        error = sys.exception()
        hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if hint == 431 else HTTPStatus.BAD_REQUEST
        if status is HTTPStatus.BAD_REQUEST:
            cause, remedy = "This is no HTTP/1.1 request", "Send a request line, headers and a body as RFC 9112 states"
        else:
            cause, remedy = f"The head is longer than {HEAD_BYTES >> 10} KiB", "Send long inputs in the body of a POST"
        answer = problem_response(ProblemError(status, cause, remedy, headers={"Connection": "close"}))
        # A request that was answered before, or a half-sent answer, leaves no room for another one.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head = h11.Response(status_code=status, headers=answer.raw_headers, reason=status.phrase.encode())
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def pause_writing(self) -> None:
        """Start the deadline of a reader that stopped reading (asyncio calls this when its buffer is full)."""
        super().pause_writing()
        self._write_due = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancel the deadline: the reader reads again."""
        self._writing_goes_on()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its deadlines."""
        self._writing_goes_on()
        self._head_arrived()
        super().connection_lost(exc)

    def close_waiting(self) -> None:
        """Close this connection, which waits for a request."""
        self._head_arrived()
        self.transport.close()

    def _await_head(self) -> None:
        # Not restarted by each byte: a slow head gets no more time than a missing one.
        if self._head_due is None:
            self._head_due = self.loop.call_later(self.head_seconds, self.close_waiting)
        self.waiting[self] = None

    def _writing_goes_on(self) -> None:
        if self._write_due is not None:
            self._write_due.cancel()
            self._write_due = None

    def _head_arrived(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
        self.waiting.pop(self, None)


def limited(
    *, head_seconds: float = HEAD_SECONDS, write_seconds: float = WRITE_SECONDS, most: int | None = None
) -> type[LimitedProtocol]:
    """Return the protocol class of one server. `most`: concurrent connections, by default from the open file limit."""
    return type(
        "LimitedProtocol",
        (LimitedProtocol,),
        {
            "head_seconds": head_seconds,
            "write_seconds": write_seconds,
            "most": most or most_connections(),
            "waiting": OrderedDict(),
        },
    )
