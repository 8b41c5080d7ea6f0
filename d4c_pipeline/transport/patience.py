"""Retries of requests: which errors are retried, how long to wait, and the final error that explains the failure.

`is_retryable` alone decides which failures are temporary; it and `explain` are pure. The only loop of attempts is
`persist`. It handles the errors of both HTTP libraries: urllib3 receives files of sources, httpx sends requests to
services. Dagster's retries (of a complete asset) belong to `orchestration`.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from socket import gaierror
from typing import TYPE_CHECKING, TypeVar

import httpx
from urllib3.exceptions import (
    HTTPError,
    IncompleteRead,
    LocationValueError,
    NewConnectionError,
    ProxyError,
)
from urllib3.exceptions import TimeoutError as HttpTimeoutError

from d4c_pipeline.model.errors import D4CError, NeedsPersonError, SourceError, TransientError

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)
# X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_OF_THE_CLOCK = frozenset({9, 10})
_NOT_READY = 202
_RETRYABLE_STATUS = frozenset({_NOT_READY, 408, 425, 429})


@dataclass(frozen=True)
class Patience:
    """The limits of retries; all times in seconds.

    The wait before attempt n+1 is random between half of and all of `first_wait * 2**(n-1)`, capped by
    `longest_wait`. A longer wait requested by the server (Retry-After) ends the attempts. `whole_timeout` covers one
    file with all its attempts.
    """

    attempts: int = 4
    first_wait: float = 1.0
    longest_wait: float = 60.0
    connect_timeout: float = 15.0
    read_timeout: float = 60.0
    whole_timeout: float = 6 * 3600.0


class HttpStatusError(Exception):
    """A status that is neither a success nor handled by the caller.

    `headers`: names in any case. `message`: the server's own message, if known.
    """

    def __init__(self, status: int, headers: Mapping[str, str], message: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.message = message


FAILURES = (HttpStatusError, HTTPError, httpx.HTTPError, httpx.InvalidURL, ConnectionError, TimeoutError)
"""The errors of an attempt over HTTP besides explained errors; `explain` explains them."""

_RETRIED = (*FAILURES, TransientError)


def is_retryable_status(status: int) -> bool:
    """Return whether a request with this status may succeed later: 202 (not ready), 408, 425, 429 and 5xx."""
    return status in _RETRYABLE_STATUS or status >= 500


def is_retryable(error: BaseException) -> bool:
    """Return whether the same request may succeed later: 202, 408, 425, 429, 5xx, connection, time-out, truncated body.

    An untrusted certificate, an invalid address and every explained error but a TransientError are permanent; any other
    exception is a bug and permanent too.
    """
    if (answered := _answered(error)) is not None:
        return is_retryable_status(answered[0])
    match error:
        case D4CError():
            return isinstance(error, TransientError)
        case LocationValueError() | httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return False
        case _ if _cause(error, ssl.SSLCertVerificationError):
            return False
        case _:
            return isinstance(error, (HTTPError, httpx.TransportError, ConnectionError, TimeoutError))


def retry_after(error: BaseException, now: datetime) -> float | None:
    """Return the wait in seconds that the server requests (RFC 9110, 10.2.3: seconds or a date), None without one."""
    answered = _answered(error)
    if answered is None:
        return None
    # A date is by the server's clock, which may differ from ours.
    return requested_seconds(answered[1].get("Retry-After"), http_date(answered[1].get("Date")) or now)


def requested_seconds(header: str | None, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header in either form; None if it is missing or invalid."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    moment = http_date(text)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def http_date(text: str | None) -> datetime | None:
    """Return the date of an HTTP header, also in ISO 8601; None if it is missing or invalid."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text or "")
        except (ValueError, OverflowError):  # the second for a zone of more than some days
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def persist(
    action: Callable[[], T],
    url: str,
    patience: Patience,
    pause: Callable[[float], None] = time.sleep,
    gained: Callable[[], int] = lambda: 0,
    *,
    retryable: Callable[[Exception], bool] = is_retryable,
    explaining: Callable[[Exception, str, int, float], D4CError] | None = None,
) -> T:
    """Return the result of `action`, after as many failed attempts in a row as `patience` allows.

    `gained` returns the bytes that all attempts have received so far. An attempt that adds to them resets the count, so
    that a file arrives over a connection that breaks every minute; then only the total time is limited. `retryable`
    decides whether an error permits another attempt. `explaining` (default: `explain`) makes the final error from
    error, url, attempts and the wait in seconds that the server requests. Errors that are neither of HTTP nor transient
    pass unchanged.
    """
    # Imported here: the import takes a tenth of a second, since it loads asyncio and tornado.
    from tenacity import Retrying, retry_if_exception  # noqa: PLC0415

    attempts = _Attempts(patience, gained)
    retrying = Retrying(
        sleep=pause,
        retry=retry_if_exception(lambda error: isinstance(error, _RETRIED) and retryable(error)),
        after=attempts.count,
        wait=attempts.wait,
        stop=attempts.are_over,
        reraise=True,
    )
    try:
        return retrying(action)
    except _RETRIED as error:
        explained = (explaining or explain)(error, url, retrying.statistics["attempt_number"], _wait_requested(error))
        if explained is error:  # an error can't be its own cause
            raise
        raise explained from error


class _Attempts:
    """The failures in a row of one `persist`, in the form of tenacity's hooks."""

    def __init__(self, patience: Patience, gained: Callable[[], int]) -> None:
        self._patience, self._gained = patience, gained
        self._failures, self._best, self._wait_requested = 0, gained(), 0.0

    def count(self, state: RetryCallState) -> None:
        """Count a failure. An attempt that received bytes resets the count."""
        self._failures += 1
        if (gained := self._gained()) > self._best:
            self._best, self._failures = gained, 1
        self._wait_requested = _wait_requested(state.outcome.exception() if state.outcome else None)

    def wait(self, _state: RetryCallState) -> float:
        """Return the seconds before the next attempt."""
        backoff = min(self._patience.first_wait * 2 ** (self._failures - 1), self._patience.longest_wait)
        # Half of the wait is random, so that clients that failed together don't retry together.
        return max(self._wait_requested, backoff * random.uniform(0.5, 1.0))  # noqa: S311 - not for cryptography

    def are_over(self, state: RetryCallState) -> bool:
        """Return whether attempts or time are used up, or the server requests too long a wait."""
        patience = self._patience
        late = (state.seconds_since_start or 0.0) + self._wait_requested > patience.whole_timeout
        return self._failures >= patience.attempts or self._wait_requested > patience.longest_wait or late


def _wait_requested(error: BaseException | None) -> float:
    return 0.0 if error is None else retry_after(error, datetime.now(UTC)) or 0.0


def explain(error: BaseException, url: str, attempts: int = 1, wait_requested: float = 0.0) -> D4CError:
    """Return the error of our tree that explains `error` at `url` after `attempts`."""
    tries = f" ({attempts} attempts)" if attempts > 1 else ""
    host = url.partition("://")[2].partition("/")[0]
    if (answered := _answered(error)) is not None:
        return explain_status(answered[0], url, tries, wait_requested, message=getattr(error, "message", ""))
    match error:
        case D4CError():
            return error
        case LocationValueError() | httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return SourceError(f"{url} is not a valid address ({error})", "Correct the address")
        case _ if _cause(error, gaierror):
            return TransientError(
                f"The name {host} can't be resolved{tries}", "Check the address and the network connection"
            )
        case _ if (wrong := _cause_of(error, ssl.SSLCertVerificationError)) is not None:
            return SourceError(
                f"The certificate of {host} can't be trusted ({_short(error)})",
                "Check this machine's clock; if it is right, report the certificate to the publisher"
                if getattr(wrong, "verify_code", None) in _OF_THE_CLOCK
                else "Check the address; on a network with its own authority, set SSL_CERT_FILE to its certificate",
            )
        case NewConnectionError() | ConnectionRefusedError() | httpx.ConnectError():
            return TransientError(
                f"No connection to {host} for {url}{tries}: {_short(error)}",
                "Check the network connection, try again later",
            )
        case HttpTimeoutError() | httpx.TimeoutException() | TimeoutError():
            return TransientError(f"{url} did not answer in time{tries}", "Try again later")
        case ProxyError() | httpx.ProxyError():
            return TransientError(
                f"The proxy refused {url}{tries}: {_short(error)}", "Check HTTP_PROXY and HTTPS_PROXY"
            )
        case IncompleteRead():
            return TransientError(f"{url} sent less than it stated{tries}: {_short(error)}", "Try again later")
        case _:
            return TransientError(f"The connection for {url} broke{tries}: {_short(error)}", "Try again later")


def explain_status(
    status: int, url: str, tries: str = "", wait_requested: float = 0.0, *, message: str = ""
) -> D4CError:
    """Return the error of our tree for an HTTP status. `message`: the server's own message."""
    words = f" ({message})" if message else ""
    if is_retryable_status(status):
        when = f"Try again in {wait_requested:.0f} s, as the server asks" if wait_requested else "Try again later"
        if status == _NOT_READY:
            return TransientError(f"{url} is not ready yet: the server answered 202{words}{tries}", when)
        return TransientError(f"{url} answered {status}{words}{tries}", when)
    if status == 204:
        return SourceError(f"{url} answered 204 (no content)", "Correct the address or the vintage")
    if status in (404, 410):
        return SourceError(
            f"{url} does not exist (the server answered {status}){words}", "Correct the address or the vintage"
        )
    if status in (401, 407):
        return NeedsPersonError(
            f"{url} requires credentials (the server answered {status}){words}",
            "Declare the variable that holds them as the source's authorization, or correct its value",
        )
    if status == 403:
        return SourceError(
            f"{url} refuses access (the server answered 403){words}", "Correct the address, or ask the publisher"
        )
    return SourceError(f"{url} answered {status}{words}", "Open the address in a browser and correct it")


def _answered(error: BaseException) -> tuple[int, Mapping[str, str]] | None:
    """Return status and headers of an error response of either library, None for other errors."""
    match error:
        case HttpStatusError():
            return error.status, error.headers
        case httpx.HTTPStatusError():
            return error.response.status_code, error.response.headers
        case _:
            return None


def _short(error: BaseException) -> str:
    # urllib3 begins its messages with the representation of a connection, and adds the cause as a second argument.
    text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return text.rpartition(">: ")[2] or type(error).__name__


def _cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    return _cause_of(error, kind) is not None


def _cause_of(error: BaseException | None, kind: type[E]) -> E | None:
    while error is not None:
        for each in (error, *error.args):
            if isinstance(each, kind):
                return each
        error = error.__cause__ or error.__context__
    return None
