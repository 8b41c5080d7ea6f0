"""A client for JSON over HTTP with a token: one request function that distinguishes safe and unsafe repetition.

Every attempt opens its body again and waits for the host's pace. The credential goes into one header and nowhere else.
Paths, bodies and the meaning of a refusal belong to the protocol (`archives`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from d4c_pipeline.model import secrets
from d4c_pipeline.model.errors import D4CError, PermanentError, TransientError
from d4c_pipeline.transport.clients import http_client
from d4c_pipeline.transport.pacing import Pace
from d4c_pipeline.transport.patience import Patience, explain, is_retryable, persist

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_BLOCK = 1 << 20  # fewer iterations per byte; measured by benchmarks/upload.py
_SHOWN = 300  # characters of a server's message
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class UncertainError(TransientError):
    """The outcome of a request that must not be repeated is unknown: check its effect before the next request."""


class Repeat(Enum):
    """The effect of sending a request twice."""

    SAFE = "the same as one"
    UNSAFE = "something else: it is only sent again when the first was certainly not carried out"


@dataclass(frozen=True)
class Body:
    """The body of a request, of `length` bytes; `open` starts it again for each attempt."""

    content_type: str
    length: int
    open: Callable[[], AbstractContextManager[Iterator[bytes]]]


@dataclass(frozen=True)
class Answer:
    """An accepted response: its status and its JSON object (empty without one)."""

    status: int
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Refusal:
    """A status that is neither a success nor retryable. `message`: the server's own message, cleaned."""

    method: str
    path: str
    status: int
    message: str
    body: Mapping[str, Any]


def json_body(value: object) -> Body:
    """Return a body of JSON."""
    content = json.dumps(value, ensure_ascii=False).encode()
    return Body("application/json", len(content), lambda: nullcontext(iter((content,))))


def file_body(path: Path) -> Body:
    """Return a body of a file's bytes, read in blocks in constant memory. Raises OSError."""

    @contextmanager
    def opened() -> Generator[Iterator[bytes]]:
        with path.open("rb", buffering=0) as file:
            yield iter(lambda: file.read(_BLOCK), b"")

    return Body("application/octet-stream", path.stat().st_size, opened)


class RestClient:
    """Requests to one server under `base_url`. Thread-safe.

    `authorization` is the complete value of that header. `refused` turns a refusal into an explained error. `pause` is
    called with seconds to wait. `pace` is the host's pace by default.
    """

    def __init__(
        self,
        base_url: str,
        authorization: str | None,
        *,
        refused: Callable[[Refusal], D4CError],
        accept: str = "application/json",
        patience: Patience | None = None,
        pace: Pace | None = None,
        pause: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise PermanentError(
                f"'{base_url}' is not the address of a server", "Use https://<host> without credentials"
            )
        if authorization and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise PermanentError(f"{base_url} would receive the token unencrypted", "Use its https address")
        self.base_url = base_url.rstrip("/")
        self._refused = refused
        secrets.declare((authorization or "").rpartition(" ")[2])
        self._patience = patience or Patience()
        self._pace = pace or Pace(parts.netloc)
        self._pause = pause
        self._client = http_client(
            self._patience,
            headers={"Accept": accept} | ({"Authorization": authorization} if authorization else {}),
            follow_redirects=False,  # a redirect would carry the token elsewhere
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Body | None = None,
        repeat: Repeat = Repeat.SAFE,
        passing: tuple[int, ...] = (),
    ) -> Answer:
        """Send a request, with retries if `repeat` allows them, and return its response: 2xx or a status of `passing`.

        Raises UncertainError if the outcome of an unsafe request is unknown, TransientError if the server is
        unavailable, and the error of `refused` for a refusal.
        """
        label = f"{method} {self.base_url}{path}"

        def attempt() -> Answer:
            try:
                return self._attempt(method, path, params, body, passing)
            except (httpx.HTTPError, TransientError) as error:
                if repeat is Repeat.UNSAFE and _may_have_happened(error):
                    raise UncertainError(
                        f"The outcome of {label} is unknown ({self._explained(error, label).cause})",
                        "Run again: the next run checks its effect first",
                    ) from error
                raise

        return persist(
            attempt,
            label,
            self._patience,
            self._pause,
            retryable=lambda error: is_retryable(error) and not isinstance(error, UncertainError),
            explaining=lambda error, _url, tries, wait_requested: self._explained(error, label, tries, wait_requested),
        )

    def _attempt(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        body: Body | None,
        passing: tuple[int, ...],
    ) -> Answer:
        self._pace.wait(self._pause)
        with body.open() if body is not None else nullcontext() as content:
            headers = {} if body is None else {"Content-Type": body.content_type, "Content-Length": str(body.length)}
            response = self._client.request(
                method, f"{self.base_url}{path}", params=params, content=content, headers=headers
            )
        self._pace.note(response, self._patience.longest_wait)
        if response.status_code not in passing and not response.is_success:
            raise httpx.HTTPStatusError("", request=response.request, response=response)
        return Answer(response.status_code, self._object(response))

    def _object(self, response: httpx.Response) -> Mapping[str, Any]:
        """Read a JSON object. Raises TransientError for any other content: a page of a proxy, a truncated document."""
        if not response.content or not (response.is_success or _is_json(response)):
            return {}
        request = f"{response.request.method} {response.request.url.copy_with(query=None)}"
        if not _is_json(response):
            kind = "an HTML page" if "html" in response.headers.get("Content-Type", "") else "something"
            raise TransientError(
                f"{request} answered {response.status_code} with {kind} instead of JSON", "Try again later"
            )
        try:
            value = json.loads(response.content)
        except ValueError as error:
            raise TransientError(f"{request} answered with broken JSON ({error})", "Try again later") from error
        return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {"items": value}

    def _explained(self, error: Exception, label: str, tries: int = 1, wait_requested: float = 0.0) -> D4CError:
        """Return the error that explains a failure. It quotes only parts of the response without secrets."""
        if not isinstance(error, httpx.HTTPStatusError) or is_retryable(error):
            return explain(error, label, tries, wait_requested)
        response = error.response
        try:
            body = self._object(response)
        except TransientError:  # the status of a refusal suffices
            body = dict[str, Any]()
        message = str(body.get("message") or response.reason_phrase)
        method, _, address = label.partition(" ")
        return self._refused(
            Refusal(method, address.removeprefix(self.base_url), response.status_code, message[:_SHOWN], body)
        )


def _is_json(response: httpx.Response) -> bool:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _may_have_happened(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500  # 4xx, 429 among them: refused before any work
    return not isinstance(error, _NEVER_SENT)
