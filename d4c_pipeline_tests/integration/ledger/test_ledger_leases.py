"""Leases: one holder at a time, over at its end, its expiry or its death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from d4c_pipeline.ledger import Ledger, schema
from d4c_pipeline.model.errors import BusyError


def _rows(ledger: Ledger) -> int:
    with ledger._engine.begin() as connection:
        return len(connection.execute(select(schema.lease)).all())


def test_a_lease_is_exclusive_and_ends_with_its_block(ledger: Ledger) -> None:
    with ledger.leases.hold("a"):
        with pytest.raises(BusyError, match="Another process works on a"), ledger.leases.hold("a", wait=0):
            pass
        with ledger.leases.hold("b", wait=0):
            assert _rows(ledger) == 2
    assert _rows(ledger) == 0
    with ledger.leases.hold("a", wait=0):
        pass


def test_a_lease_ends_with_an_exception(ledger: Ledger) -> None:
    with pytest.raises(KeyboardInterrupt), ledger.leases.hold("a"):
        raise KeyboardInterrupt
    assert _rows(ledger) == 0


def test_who_waits_gets_it_afterwards(ledger: Ledger) -> None:
    order: list[str] = []

    def second() -> None:
        with ledger.leases.hold("a", wait=10):
            order.append("second")

    with ledger.leases.hold("a"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", "second"]


def test_of_many_one_holds_it_at_any_moment(ledger: Ledger) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with ledger.leases.hold("a", wait=30):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.01)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert most == [1] * 8


def test_an_expired_lease_is_free_and_its_former_holder_learns_it(ledger: Ledger) -> None:
    with ledger.leases.hold("a", ttl=60) as first:
        first.renew()
        with ledger._engine.begin() as connection:  # as if it had stalled for longer than its time
            now = connection.execute(select(schema.lease.c.expires_at)).scalar_one()
            connection.execute(update(schema.lease).values(expires_at=now.replace(year=2000)))
        with ledger.leases.hold("a", wait=0) as second:
            with pytest.raises(BusyError, match="went to another process"):
                first.renew()
            second.renew()
        with pytest.raises(BusyError):
            first.renew()


def test_a_lease_is_kept_while_its_holder_works(ledger: Ledger) -> None:
    with ledger.leases.hold("a", ttl=0.6):
        time.sleep(1.3)
        with pytest.raises(BusyError), ledger.leases.hold("a", wait=0):
            pass


def test_the_former_holder_does_not_end_the_lease_of_the_next(ledger: Ledger) -> None:
    first = ledger.leases.hold("a")
    first.__enter__()
    with ledger._engine.begin() as connection:
        now = connection.execute(select(schema.lease.c.expires_at)).scalar_one()
        connection.execute(update(schema.lease).values(expires_at=now.replace(year=2000)))
    with ledger.leases.hold("a", wait=0):
        first.__exit__(None, None, None)
        with pytest.raises(BusyError), ledger.leases.hold("a", wait=0):
            pass


HOLD = """
import sys, time
from d4c_pipeline.ledger import Ledger
with Ledger(sys.argv[1]).leases.hold("a", ttl=3600):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "zombie"])
def test_the_lease_of_a_killed_process_is_free_at_once(url: str, ledger: Ledger, reaped: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BusyError), ledger.leases.hold("a", wait=0):
            pass
        process.send_signal(signal.SIGKILL)
        if reaped:
            process.wait(timeout=10)
        else:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but its parent has not looked yet
        started = time.monotonic()
        with ledger.leases.hold("a", wait=5):
            assert time.monotonic() - started < 2
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()


def test_the_lease_of_another_machine_is_not_taken_for_dead(ledger: Ledger) -> None:
    with ledger.leases.hold("a", ttl=60):
        with ledger._engine.begin() as connection:
            holder = connection.execute(select(schema.lease.c.holder)).scalar_one()
            _, _, rest = holder.partition("|")
            connection.execute(update(schema.lease).values(holder=f"elsewhere|{rest.replace(str(os.getpid()), '1')}"))
        with pytest.raises(BusyError), ledger.leases.hold("a", wait=0):
            pass
