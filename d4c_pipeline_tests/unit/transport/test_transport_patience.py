"""What is tried again, after how long, and what a person reads in the end."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime

import pytest
from urllib3.exceptions import (
    HTTPError,
    LocationParseError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from d4c_pipeline.model.errors import (
    D4CError,
    DataError,
    NeedsPersonError,
    SourceError,
    StorageError,
    TransientError,
)
from d4c_pipeline.transport.patience import HttpStatusError, Patience, explain, is_retryable, persist, retry_after

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
URL = "https://a.ca/x.zip"


def status(code: int, **headers: str) -> HttpStatusError:
    return HttpStatusError(code, {name.replace("_", "-"): text for name, text in headers.items()})


def timed_out() -> HTTPError:
    return ReadTimeoutError(None, URL, "read timed out")  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504, 599])
def test_transient_statuses_are_retryable(code: int) -> None:
    assert is_retryable(status(code))
    assert isinstance(explain(status(code), URL), TransientError)


@pytest.mark.parametrize("code", [400, 403, 404, 405, 409, 410, 416, 451, 300])
def test_other_statuses_are_not(code: int) -> None:
    assert not is_retryable(status(code))
    assert isinstance(explain(status(code), URL), SourceError)


def test_credentials_are_for_a_person() -> None:
    assert not is_retryable(status(401))
    assert isinstance(explain(status(401), URL), NeedsPersonError)


@pytest.mark.parametrize(
    "error",
    [
        timed_out(),
        ProtocolError("Connection broken", ConnectionResetError(104, "reset")),
        ConnectionResetError(),
        TimeoutError(),
        TransientError("cut short"),
    ],
)
def test_connections_and_time_outs_are_retryable(error: Exception) -> None:
    assert is_retryable(error)


@pytest.mark.parametrize(
    "error",
    [
        LocationParseError("http://["),
        SourceError("a page"),
        DataError("no CRS"),
        StorageError("full"),
        NeedsPersonError("look"),
        ValueError("a bug"),
        OSError(28, "No space left on device"),
        KeyboardInterrupt(),
    ],
)
def test_what_stays_so_is_not(error: BaseException) -> None:
    assert not is_retryable(error)


def test_a_false_certificate_is_not_tried_again_and_explained() -> None:
    untrusted = SSLError(ssl.SSLCertVerificationError("self-signed"))
    assert not is_retryable(untrusted)
    assert "SSL_CERT_FILE" in str(explain(untrusted, URL))


def test_a_name_that_is_not_known_is_said_so() -> None:
    unknown = NewConnectionError(None, "x")  # type: ignore[arg-type]
    unknown.__cause__ = socket.gaierror(-2, "Name or service not known")
    assert str(explain(unknown, URL, 4)).startswith("The name a.ca can't be resolved (4 attempts).")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("Sat, 21 Nov 2026 12:01:30 GMT", 90.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("2026-11-21T12:00:10", 10.0),
        ("soon", None),
        ("Sat, 21 Nov 2026 12:01:30 +99999999999999", None),
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
    _, action = failing(4, timed_out())
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


def test_an_attempt_that_brought_something_makes_the_count_begin_anew() -> None:
    here = [0]

    def action() -> str:
        here[0] += 1
        if here[0] < 20:
            raise timed_out()
        return "done"

    assert persist(action, URL, Patience(attempts=2), lambda _: None, gained=lambda: here[0]) == "done"
    with pytest.raises(TransientError, match="2 attempts"):
        persist(failing(9, timed_out())[1], URL, Patience(attempts=2), lambda _: None)  # type: ignore[arg-type]


def test_the_whole_time_ends_what_goes_on_for_ever() -> None:
    here = [0]

    def action() -> str:
        here[0] += 1
        raise timed_out()

    with pytest.raises(TransientError):
        persist(action, URL, Patience(attempts=2, whole_timeout=0.2, first_wait=0.01), gained=lambda: here[0])
    assert 2 < here[0] < 100
