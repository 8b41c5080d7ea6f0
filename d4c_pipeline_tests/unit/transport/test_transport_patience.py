"""What is tried again, after how long, and what a person reads in the end."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime

import httpx
import pytest

from d4c_pipeline.model.errors import D4CError, SourceError, TransientError
from d4c_pipeline.transport.patience import Patience, explain, is_retryable, persist, retry_after

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
URL = "https://a.ca/x.zip"


def status(code: int, **headers: str) -> httpx.HTTPStatusError:
    response = httpx.Response(code, headers={name.replace("_", "-"): text for name, text in headers.items()})
    return httpx.HTTPStatusError("", request=httpx.Request("GET", URL), response=response)


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504, 599])
def test_transient_statuses_are_retryable(code: int) -> None:
    assert is_retryable(status(code))
    assert isinstance(explain(status(code), URL), TransientError)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 410, 416, 451, 300])
def test_other_statuses_are_not(code: int) -> None:
    assert not is_retryable(status(code))
    assert isinstance(explain(status(code), URL), SourceError)


def test_connections_and_time_outs_are_retryable_but_not_a_false_certificate() -> None:
    assert is_retryable(httpx.ReadTimeout(""))
    assert is_retryable(httpx.RemoteProtocolError(""))
    assert is_retryable(TransientError("cut short"))
    assert not is_retryable(httpx.UnsupportedProtocol(""))
    assert not is_retryable(SourceError("a page"))
    untrusted = httpx.ConnectError("self-signed")
    untrusted.__cause__ = ssl.SSLCertVerificationError("self-signed")
    assert not is_retryable(untrusted)
    assert "SSL_CERT_FILE" in str(explain(untrusted, URL))


def test_a_name_that_is_not_known_is_said_so() -> None:
    unknown = httpx.ConnectError("x")
    unknown.__cause__ = socket.gaierror(-2, "Name or service not known")
    assert str(explain(unknown, URL, 4)).startswith("The name a.ca can't be resolved (4 attempts).")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("Sat, 21 Nov 2026 12:01:30 GMT", 90.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_forms(text: str, seconds: float | None) -> None:
    assert retry_after(status(503, Retry_After=text), NOW) == seconds


def failing(times: int, error: Exception) -> tuple[list[int], object]:
    calls: list[int] = []

    def action() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return "done"

    return calls, action


def test_waits_grow_are_jittered_and_capped() -> None:
    waits: list[float] = []
    _, action = failing(4, httpx.ReadTimeout(""))
    assert persist(action, URL, Patience(attempts=5, first_wait=1, longest_wait=3), waits.append) == "done"  # type: ignore[arg-type]
    assert [0.5 <= waits[0] <= 1, 1 <= waits[1] <= 2, 1.5 <= waits[2] <= 3, 1.5 <= waits[3] <= 3] == [True] * 4


def test_retry_after_is_waited_for_and_a_long_one_is_not() -> None:
    waits: list[float] = []
    _, action = failing(1, status(429, Retry_After="5"))
    assert persist(action, URL, Patience(first_wait=0.1), waits.append) == "done"  # type: ignore[arg-type]
    assert waits == [5.0]
    calls, action = failing(9, status(503, Retry_After="3600"))
    with pytest.raises(TransientError, match="Try again in 3600 s, as the server asks"):
        persist(action, URL, Patience(), waits.append)  # type: ignore[arg-type]
    assert (len(calls), len(waits)) == (1, 1)


def test_what_can_not_succeed_is_asked_once() -> None:
    calls, action = failing(9, status(404))
    with pytest.raises(D4CError, match="does not exist"):
        persist(action, URL, Patience(), lambda _: None)  # type: ignore[arg-type]
    assert len(calls) == 1


def test_an_error_that_is_explained_already_keeps_its_cause() -> None:
    def fail() -> None:
        raise TransientError("cut short") from OSError("the disk")

    with pytest.raises(TransientError) as caught:
        persist(fail, URL, Patience(attempts=2, first_wait=0.0))
    assert isinstance(caught.value.__cause__, OSError)
    assert not is_retryable(ValueError())
    assert is_retryable(caught.value)  # ends: the chain of causes has no circle
