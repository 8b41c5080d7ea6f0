"""Leases: at most one process at a time works on a release.

A lease is a row with a holder and an expiry time, which the holder renews. It ends by release, by expiry (by the
database's clock), or at once if the holder was a process of this machine that has ended, so that a run after
`kill -9` need not wait.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Collection, Generator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import database_now, reading
from d4c_pipeline.model.errors import BusyError, D4CError

_TTL_SECONDS = 120.0
_POLL_SECONDS = 0.2
_OVERDUE = timedelta(minutes=1)
_log = logging.getLogger(__name__)


def _process_start(pid: int) -> str | None:
    """Return the start of a process of this machine (clock ticks since boot); None if it ended or is unreadable."""
    try:
        # Fields 3 (state) and 22; the command in parentheses before them may contain spaces.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        # A zombie has ended: in a container whose first process does not reap, it is never removed.
        return None if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return None


def _this_machine() -> str:
    """Return host and process namespace: containers that share a host name do not share its process ids."""
    try:
        return f"{socket.gethostname()}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname()


@cache
def _this_start() -> str:
    """Return the id of this machine's boot, which all its containers share; empty where the kernel has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip().partition("-")[0]
    except OSError:
        return ""


def this_process() -> str:
    """Return a name of this process from which other processes detect its end; each call returns a new name."""
    pid = os.getpid()
    return f"{_this_machine()}|{pid}|{_process_start(pid) or ''}|{uuid.uuid4().hex[:12]}.{_this_start()}"


def is_gone(process: str, *, single_machine: bool = False) -> bool:
    """Return whether a process named by `this_process` has ended; False for a process of another machine.

    `single_machine`: every user of the ledger is on this machine, so each process from before its last boot has ended.
    """
    parts = process.split("|")
    if single_machine and _this_start() and process.rpartition(".")[2] != _this_start():
        return True
    if len(parts) != 4 or parts[0] != _this_machine() or not parts[2]:
        return False
    return _process_start(int(parts[1])) != parts[2]


def is_running(process: str) -> bool:
    """Return whether a process named by `this_process` runs on this machine; False for one of another machine."""
    parts = process.split("|")
    if len(parts) != 4 or parts[0] != _this_machine() or not parts[2]:
        return False
    return _process_start(int(parts[1])) == parts[2]


class Lease:
    """A lease that this process holds."""

    def __init__(self, engine: Engine, key: str, holder: str, ttl: float) -> None:
        self._engine, self._key, self._holder, self._ttl = engine, key, holder, ttl

    def renew(self) -> None:
        """Extend the lease. Call it before a step that can't be undone.

        Raises BusyError if another process holds the lease.
        """
        with self._engine.begin() as connection:
            renewed = connection.execute(
                update(schema.lease)
                .where(schema.lease.c.key == self._key, schema.lease.c.holder == self._holder)
                .values(expires_at=database_now(connection) + timedelta(seconds=self._ttl))
            ).rowcount
        if not renewed:
            raise BusyError(f"The lease on {self._key} went to another process", "Run again when that process is done")


class Leases:
    """Leases in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def hold(self, key: str, *, wait: float = 60.0, ttl: float = _TTL_SECONDS) -> Generator[Lease]:
        """Hold the lease `key`, after waiting up to `wait` seconds for its holder.

        Raises BusyError if another process still holds it then.
        """
        holder = this_process()
        deadline = time.monotonic() + wait
        while not self._try_take(key, holder, ttl):
            if time.monotonic() >= deadline:
                raise BusyError(f"Another process works on {key}", "Run again when it is done")
            time.sleep(_POLL_SECONDS)
        lease = Lease(self._engine, key, holder, ttl)
        stop = threading.Event()

        def keep() -> None:
            pause = ttl / 3
            while not stop.wait(pause):
                try:
                    lease.renew()
                    pause = ttl / 3
                except BusyError:
                    return  # the work under the lease detects it at its own `renew`
                except (D4CError, SQLAlchemyError) as error:
                    # A lock or a restart of the server passes, and two thirds of the time are left.
                    _log.warning("The lease on %s could not be renewed yet: %s", key, error)
                    pause = ttl / 20

        keeper = threading.Thread(target=keep, name=f"lease {key}", daemon=True)
        try:
            keeper.start()
            yield lease
        finally:
            stop.set()
            if keeper.is_alive():
                keeper.join(timeout=5)
            self._release(key, holder)

    def alive(self, keys: Collection[str]) -> dict[str, bool]:
        """Return for each of `keys` with a lease whether its holder is alive; a released lease is absent.

        A holder on this machine is alive while its process runs, even if it did not renew (a laptop that slept). A
        holder on another machine is dead when its lease expired a minute ago: every holder retries a renewal sooner.
        """
        with reading(self._engine) as connection:
            moment = database_now(connection)
            single_machine = connection.dialect.name == "sqlite"
            rows = connection.execute(select(schema.lease).where(schema.lease.c.key.in_(keys))).all()
        return {
            row.key: not is_gone(row.holder, single_machine=single_machine)
            and (is_running(row.holder) or row.expires_at + _OVERDUE > moment)
            for row in rows
        }

    def _release(self, key: str, holder: str) -> None:
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    delete(schema.lease).where(schema.lease.c.key == key, schema.lease.c.holder == holder)
                )
        except (D4CError, SQLAlchemyError) as error:
            # The work under the lease is done or has raised its own error; the lease expires.
            _log.warning("The lease on %s could not be released and expires by itself: %s", key, error)

    def _try_take(self, key: str, holder: str, ttl: float) -> bool:
        with self._engine.begin() as connection:
            moment = database_now(connection)
            expires = moment + timedelta(seconds=ttl)
            single_machine = connection.dialect.name == "sqlite"
            row = connection.execute(
                select(schema.lease.c.holder, schema.lease.c.expires_at)
                .where(schema.lease.c.key == key)
                .with_for_update()
            ).first()
            if row is None:
                if connection.dialect.name == "postgresql":
                    from sqlalchemy.dialects.postgresql import insert as pg_insert  # noqa: PLC0415

                    values = {"key": key, "holder": holder, "expires_at": expires}
                    taken = connection.execute(pg_insert(schema.lease).values(**values).on_conflict_do_nothing())
                    return taken.rowcount == 1
                connection.execute(insert(schema.lease).values(key=key, holder=holder, expires_at=expires))
                return True
            # Waiting for the row may have taken a while.
            moment = database_now(connection)
            if row.expires_at > moment and not is_gone(row.holder, single_machine=single_machine):
                return False
            connection.execute(
                update(schema.lease)
                .where(schema.lease.c.key == key)
                .values(holder=holder, expires_at=moment + timedelta(seconds=ttl))
            )
            return True
