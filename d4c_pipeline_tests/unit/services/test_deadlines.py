"""The one thread that ends queries which take too long, and the others go on."""

from __future__ import annotations

import threading
import time

import duckdb
import pytest

from d4c_pipeline.services.subset import Engine

# One side is held in memory, 8 MB a query: of ten million three queries did not fit into the 200 MB of an engine.
_ENDLESS = "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b"


def test_a_query_beyond_its_time_is_interrupted_and_a_later_one_of_the_cursor_is_not() -> None:
    with Engine(threads=1) as engine, engine.cursor() as cursor, engine.cursor() as other:
        began = time.monotonic()
        with pytest.raises(duckdb.InterruptException), engine.limited(other, 60), engine.limited(cursor, 0.2):
            cursor.execute(_ENDLESS)
        assert time.monotonic() - began < 5
        with engine.limited(cursor, 60):
            assert cursor.execute("SELECT 42").fetchall() == [(42,)]
        assert other.execute("SELECT 43").fetchall() == [(43,)]


def test_a_query_that_begins_when_its_time_is_over_is_interrupted_too() -> None:
    with Engine(threads=1) as engine, engine.cursor() as cursor:
        with engine.limited(cursor, 0.05):
            time.sleep(0.3)
            with pytest.raises(duckdb.InterruptException):
                cursor.execute(_ENDLESS)
        assert cursor.execute("SELECT 42").fetchall() == [(42,)]


def test_each_query_has_its_own_time_and_all_share_one_thread() -> None:
    took: dict[float, float] = {}

    def endless(engine: Engine, seconds: float) -> None:
        began = time.monotonic()
        with engine.cursor() as cursor, pytest.raises(duckdb.InterruptException), engine.limited(cursor, seconds):
            cursor.execute(_ENDLESS)
        took[seconds] = time.monotonic() - began

    before = threading.active_count()
    with Engine(threads=1) as engine:
        threads = [threading.Thread(target=endless, args=(engine, seconds)) for seconds in (1.2, 0.2, 0.7)]
        for thread in threads:
            thread.start()
        assert threading.active_count() <= before + len(threads) + 1
        for thread in threads:
            thread.join(20)
    assert sorted(took, key=took.__getitem__) == [0.2, 0.7, 1.2]
    assert all(seconds <= found < seconds + 5 for seconds, found in took.items())
    assert threading.active_count() == before


def test_without_a_limit_nothing_is_started() -> None:
    before = threading.active_count()
    with Engine(threads=1) as engine, engine.cursor() as cursor, engine.limited(cursor, None):
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
        assert threading.active_count() == before
