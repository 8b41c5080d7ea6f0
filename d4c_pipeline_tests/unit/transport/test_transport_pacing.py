"""How fast a server may be asked: its rate-limit headers, and all threads of a process."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from d4c_pipeline.transport.hosts import Hosts
from d4c_pipeline.transport.pacing import Pace


class Clock:
    """A clock that only moves when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waited: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds


def answered(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers={name.replace("_", "-"): text for name, text in headers.items()})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("status", [200, 202, 404, 500])
def test_headers_of_normal_answers_are_nothing_to_wait_for(clock: Clock, status: int) -> None:
    pace = Pace("h.test", Hosts(clock))
    pace.note(answered(status, Retry_After="57", X_RateLimit_Remaining="1", X_RateLimit_Reset="9999999999"), 60.0)
    pace.wait(clock.pause)

    assert clock.waited == []


def test_after_429_everybody_waits_as_long_as_asked(clock: Clock) -> None:
    pace = Pace("h.test", Hosts(clock))
    pace.note(answered(429, Retry_After="7"), 60.0)
    pace.wait(clock.pause)
    pace.wait(clock.pause)  # by then the time is over

    assert clock.waited == [7.0]


def test_the_last_request_of_a_window_is_followed_by_a_wait(clock: Clock) -> None:
    pace = Pace("h.test", Hosts(clock))
    pace.note(answered(200, X_RateLimit_Remaining="0", Retry_After="12"), 60.0)
    pace.wait(clock.pause)

    assert clock.waited == [12.0]


def test_the_reset_counts_where_there_is_no_retry_after(clock: Clock) -> None:
    pace = Pace("h.test", Hosts(clock))
    reset = int(datetime.now(UTC).timestamp()) + 30
    pace.note(answered(200, X_RateLimit_Remaining="0", X_RateLimit_Reset=str(reset)), 60.0)
    pace.wait(clock.pause)

    assert clock.waited == [pytest.approx(30.0, abs=2.0)]


def test_a_date_is_understood_and_a_wait_is_capped(clock: Clock) -> None:
    pace = Pace("h.test", Hosts(clock))
    pace.note(answered(429, Retry_After=format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)), 60.0)
    pace.wait(clock.pause)

    assert clock.waited == [60.0]


def test_a_later_answer_does_not_shorten_the_wait(clock: Clock) -> None:
    pace = Pace("h.test", Hosts(clock))
    pace.note(answered(429, Retry_After="30"), 60.0)
    pace.note(answered(429, Retry_After="1"), 60.0)
    pace.wait(clock.pause)

    assert clock.waited == [30.0]


def test_threads_share_the_pace_of_a_host() -> None:
    Pace("shared.test").note(answered(429, Retry_After="9"), 60.0)
    waited: list[float] = []
    threads = [threading.Thread(target=lambda: Pace("shared.test").wait(waited.append)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Pace("other.test").wait(waited.append)

    assert waited == [pytest.approx(9.0, abs=1.0)] * 4
