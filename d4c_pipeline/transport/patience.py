"""When to try an HTTP request again, how long to wait before, and how to say in the end why it failed.

Deciding and explaining are pure functions; the only loop of attempts is `persist`. Dagster's own retries (of a whole
asset) belong to `orchestration`.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from socket import gaierror
from typing import TypeVar

import httpx

from d4c_pipeline.model.errors import D4CError, SourceError, TransientError

T = TypeVar("T")
_RETRYABLE_STATUS = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Patience:
    """How long to go on; all times in seconds.

    The wait before attempt n+1 is drawn between half of and the whole of `first_wait * 2**(n-1)`, capped by
    `longest_wait`. A server that asks (Retry-After) for more than `longest_wait` is not waited for.
    """

    attempts: int = 4
    first_wait: float = 1.0
    longest_wait: float = 60.0
    connect_timeout: float = 15.0
    read_timeout: float = 60.0


def is_retryable(error: Exception) -> bool:
    """Say whether the same request may succeed later: 408, 425, 429, 5xx, connection, time-out, a body cut short."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status in _RETRYABLE_STATUS or status >= 500
    if isinstance(error, httpx.UnsupportedProtocol) or _cause(error, ssl.SSLCertVerificationError):
        return False
    return isinstance(error, (httpx.TransportError, TransientError))


def retry_after(error: Exception, now: datetime) -> float | None:
    """Return the seconds that the server asks to wait (RFC 9110, 10.2.3: seconds or a date), None if it doesn't."""
    if not isinstance(error, httpx.HTTPStatusError):
        return None
    return seconds_asked(error.response.headers.get("Retry-After"), now)


def seconds_asked(header: str | None, now: datetime) -> float | None:
    """Read the value of a Retry-After header in either form; None when there is none or it can't be read."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    moment = http_date(text)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def http_date(text: str | None) -> datetime | None:
    """Read the date of an HTTP header; None when there is none or it can't be read."""
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def persist(
    action: Callable[[], T],
    url: str,
    patience: Patience,
    pause: Callable[[float], None] = time.sleep,
    *,
    retryable: Callable[[Exception], bool] = is_retryable,
    explaining: Callable[[Exception, str, int, float], D4CError] | None = None,
) -> T:
    """Return what `action` returns, after as many attempts as `patience` allows.

    `retryable` says of an error whether the same action may be tried again, `explaining` (default: `explain`) what to
    raise in the end, given error, url, attempts and the seconds that the server asked to wait. Raises what it says,
    SourceError or TransientError by default; errors that are neither httpx's nor transient pass unchanged.
    """
    for attempt in count(1):
        try:
            return action()
        except (httpx.HTTPError, httpx.InvalidURL, TransientError) as error:
            asked = retry_after(error, datetime.now(UTC)) or 0.0
            if attempt >= patience.attempts or not retryable(error) or asked > patience.longest_wait:
                told = (explaining or explain)(error, url, attempt, asked)
                if told is error:  # it is explained already; as its own cause it would make a circle
                    raise
                raise told from error
            backoff = min(patience.first_wait * 2 ** (attempt - 1), patience.longest_wait)
            # Half of the wait is left to chance, so that many clients that failed together don't come back together.
            pause(max(asked, backoff * random.uniform(0.5, 1.0)))  # noqa: S311 - not for cryptography
    raise AssertionError("count() has no end")


def explain(error: Exception, url: str, attempts: int = 1, asked: float = 0.0) -> D4CError:
    """Return the error of our tree that tells a person what `error` at `url` means, after so many attempts."""
    tries = f" ({attempts} attempts)" if attempts > 1 else ""
    host = url.partition("://")[2].partition("/")[0]
    match error:
        case D4CError():
            return error
        case httpx.HTTPStatusError():
            return _explain_status(error.response.status_code, url, tries, asked)
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return SourceError(f"{url} is no address that can be fetched ({error})", "Correct the address")
        case httpx.TimeoutException():
            return TransientError(f"{url} did not answer in time{tries}", "Try again later")
        case _ if _cause(error, ssl.SSLCertVerificationError):
            return SourceError(
                f"The certificate of {host} can't be trusted ({error})",
                "Check the address; on a network with its own authority, set SSL_CERT_FILE to its certificate",
            )
        case _ if _cause(error, gaierror):
            return TransientError(
                f"The name {host} can't be resolved{tries}", "Check the address and the network connection"
            )
        case httpx.ConnectError():
            return TransientError(
                f"No connection to {host} for {url}{tries}: {error}", "Check the network connection, try again later"
            )
        case _:
            return TransientError(f"The connection for {url} broke{tries}: {error}", "Try again later")


def _explain_status(status: int, url: str, tries: str, asked: float) -> D4CError:
    if status in _RETRYABLE_STATUS or status >= 500:
        when = f"Try again in {asked:.0f} s, as the server asks" if asked else "Try again later"
        return TransientError(f"{url} answered {status}{tries}", when)
    if status in (404, 410):
        return SourceError(f"{url} does not exist (the server answered {status})", "Correct the address or the vintage")
    if status in (401, 403, 407):
        return SourceError(
            f"{url} refuses access (the server answered {status})", "Only public addresses can be fetched; correct it"
        )
    return SourceError(f"{url} answered {status}", "Look at the address in a browser and correct it")


def _cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
