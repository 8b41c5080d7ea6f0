"""Clocks that differ or step back, locks that last, servers that restart: what the ledger makes of them."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import psycopg2
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from d4c_pipeline.ledger import Ledger, natives, schema, torrents
from d4c_pipeline.ledger.database import chunked, explained, reading
from d4c_pipeline.ledger.leases import this_process
from d4c_pipeline.model.errors import BusyError, StorageError, TransientError
from d4c_pipeline.model.release import NativeFile, Torrent
from d4c_pipeline.model.vintage import Vintage

VINTAGE = Vintage.parse("2021")
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def native(sha: str, url: str = "https://a.ca/x.csv") -> NativeFile:
    return NativeFile("x.csv", url, sha * 64, 1, None, None, None, f"raw/{sha}")


def test_the_newest_delivery_is_the_last_one_whatever_the_clock_says(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = native("o", "https://a.ca/y.csv")
    moments = iter([NOON, NOON - timedelta(minutes=10), NOON - timedelta(days=400), NOON])
    monkeypatch.setattr(natives, "now", lambda: next(moments))
    ledger.natives.record("d", VINTAGE, [native("a"), other], "cc0-1.0")
    ledger.natives.record("d", VINTAGE, [native("b")], "cc0-1.0")  # a machine whose clock is ten minutes behind
    assert ledger.natives.current("d", VINTAGE) == (native("b"),)
    assert ledger.natives.current("d", VINTAGE, [native("a").url]) == (native("b"),)
    ledger.natives.record("d", VINTAGE, [native("a")], "cc0-1.0")  # back to what was there first, a year "earlier"
    assert ledger.natives.current("d", VINTAGE) == (native("a"),)
    # Two deliveries at one moment of the clock are two.
    ledger.natives.record("d", VINTAGE, [native("c")], "cc0-1.0")
    assert ledger.natives.current("d", VINTAGE) == (native("c"),)
    assert ledger.natives.current("d", VINTAGE, [other.url]) == (other,)


def test_the_newest_snapshot_is_the_last_one_whatever_the_clock_says(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([NOON, NOON - timedelta(days=1), NOON - timedelta(days=2)])
    monkeypatch.setattr(torrents, "now", lambda: next(moments))
    torrent = Torrent("h", None, "magnet:?x", 16_384, (), "torrents/x.torrent")
    for name in ("a", "b", "a"):
        ledger.torrents.record_snapshot(sha256=name * 64, size=1, address=name, torrent=torrent)
    assert [snapshot.address for snapshot in ledger.torrents.snapshots()] == ["a", "b"]


def test_deliveries_of_an_earlier_ledger_are_numbered_in_the_order_of_their_moments(url: str) -> None:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).parent.mkdir()
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(files("d4c_pipeline.ledger") / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
        columns = "dataset, vintage, url, name, sha256, size, licence, address, fetched_at, seen_at"
        for number, (sha, path, day) in enumerate((("a", "x", 1), ("b", "x", 3), ("o", "y", 3), ("p", "y", 2)), 1):
            connection.execute(
                text(
                    f"INSERT INTO native_file (id, {columns}) VALUES ({number}, 'd', '2021', 'https://a.ca/{path}.csv',"
                    f" 'x.csv', '{sha * 64}', 1, 'cc0-1.0', 'raw/{sha}', '2026-01-01', '2026-01-0{day} 00:00:00')"
                )
            )
    engine.dispose()
    with closing(Ledger(url)) as ledger:
        current = ledger.natives.current("d", VINTAGE)
        assert [file.sha256[0] for file in current] == ["b", "o"]
        with ledger._engine.begin() as connection:
            numbers = connection.execute(select(schema.native_file.c.delivery).order_by(schema.native_file.c.id))
            assert numbers.scalars().all() == [1, 3, 3, 2]


def test_a_live_lease_is_kept_whatever_the_clock_of_another_says(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ledger.leases.hold("a", ttl=60) as lease:
        for skew in (600, -600, 86_400 * 365):
            real = time.time
            monkeypatch.setattr(time, "time", lambda skew=skew, real=real: real() + skew)
            with pytest.raises(BusyError), ledger.leases.hold("a", wait=0):
                pass
            monkeypatch.undo()
        lease.renew()


def test_a_lease_from_before_the_machine_was_started_is_free(tmp_path: Path) -> None:
    with closing(Ledger.in_folder(tmp_path)) as ledger:
        holder = this_process()
        moment = datetime(2030, 1, 1, tzinfo=UTC)
        for key, name in (("a", holder), ("b", f"elsewhere|1|2|{'0' * 12}.another1"), ("c", "elsewhere|1|2|0123")):
            with ledger._engine.begin() as connection:
                connection.execute(insert(schema.lease).values(key=key, holder=name, expires_at=moment))
        with pytest.raises(BusyError), ledger.leases.hold("a", wait=0):
            pass
        for key in ("b", "c"):
            with ledger.leases.hold(key, wait=0):
                pass


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[tuple[Ledger, sqlite3.Connection]]:
    """A ledger that waits for nobody, and another connection to it, which may lock it."""
    with closing(Ledger.in_folder(tmp_path)) as ledger:
        ledger._engine.dispose()

        from sqlalchemy import event

        @event.listens_for(ledger._engine, "connect")
        def impatient(connection: sqlite3.Connection, _record: object) -> None:
            connection.execute("PRAGMA busy_timeout=1")

        other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None, check_same_thread=False)
        yield ledger, other
        other.close()


def test_a_lock_is_a_short_outage_and_readers_do_not_wait_for_it(locked: tuple[Ledger, sqlite3.Connection]) -> None:
    ledger, other = locked
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError, match=r"Another process held a database under the home .*database is locked"):
        ledger.natives.record("d", VINTAGE, [native("a")], "cc0-1.0")
    assert ledger.natives.current("d", VINTAGE) == ()
    assert ledger.releases.published() == ()
    other.execute("ROLLBACK")
    # A reader keeps no writer away.
    with reading(ledger._engine) as connection:
        connection.execute(select(schema.native_file)).all()
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")


def test_the_keeper_of_a_lease_outlives_a_lock(locked: tuple[Ledger, sqlite3.Connection]) -> None:
    ledger, other = locked
    expiry = select(schema.lease.c.expires_at)
    with ledger.leases.hold("a", ttl=0.9):
        with reading(ledger._engine) as connection:
            first = connection.execute(expiry).scalar_one()
        other.execute("BEGIN IMMEDIATE")
        time.sleep(0.5)  # past the first renewal, which fails
        other.execute("ROLLBACK")
        deadline = time.monotonic() + 20
        while True:
            with reading(ledger._engine) as connection:
                if connection.execute(expiry).scalar_one() > first:
                    break
            assert time.monotonic() < deadline, "the keeper never came back"
            time.sleep(0.02)
        assert [thread.name for thread in threading.enumerate() if thread.name == "lease a"] == ["lease a"]


def test_what_was_done_under_a_lease_stands_when_it_can_not_be_given_back(
    locked: tuple[Ledger, sqlite3.Connection],
) -> None:
    ledger, other = locked
    with ledger.leases.hold("a", ttl=60):
        other.execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    with pytest.raises(BusyError), ledger.leases.hold("a", wait=0):
        pass


@pytest.mark.postgres
def test_a_server_that_closed_its_connections_is_asked_again(postgres: str) -> None:
    from d4c_pipeline_tests.integration.ledger.conftest import _database

    url = _database(postgres)
    with closing(Ledger(url)) as ledger:
        assert ledger.releases.published() == ()
        killing = create_engine(url, isolation_level="AUTOCOMMIT")
        kill = text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with killing.connect() as connection:
            connection.execute(kill)
        assert ledger.releases.published() == (), "a connection of the pool is tried before it is used"

        def cut_off() -> None:
            with reading(ledger._engine) as reader:
                with killing.connect() as connection:
                    connection.execute(kill)
                reader.execute(select(schema.release))

        with pytest.raises(TransientError, match="server could not do it now"):
            cut_off()
        killing.dispose()


def sqlite_error(code: int) -> DBAPIError:
    cause = sqlite3.OperationalError("it said something")
    cause.sqlite_errorcode = code
    return OperationalError("SELECT 1", None, cause)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (sqlite_error(sqlite3.SQLITE_BUSY), TransientError, "Another process held a database"),
        (sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT), TransientError, "Another process held a database"),
        (sqlite_error(sqlite3.SQLITE_NOMEM), TransientError, "not enough memory"),
        (sqlite_error(sqlite3.SQLITE_IOERR_SHMMAP), TransientError, "not enough memory"),
        (sqlite_error(sqlite3.SQLITE_IOERR_NOMEM), TransientError, "not enough memory"),
        (sqlite_error(sqlite3.SQLITE_FULL), StorageError, "can't be written or read"),
        (sqlite_error(sqlite3.SQLITE_IOERR_WRITE), StorageError, "can't be written or read"),
        (sqlite_error(sqlite3.SQLITE_ERROR), None, ""),
        (
            OperationalError("", None, psycopg2.OperationalError("server closed the connection unexpectedly")),
            TransientError,
            "server could not do it now: server closed",
        ),
        (
            OperationalError("", None, psycopg2.OperationalError("FATAL: the database system is starting up")),
            TransientError,
            "starting up",
        ),
        (OperationalError("", None, psycopg2.OperationalError("password authentication failed")), None, ""),
        (ValueError("no error of a database"), None, ""),
    ],
)
def test_an_outage_is_told_from_a_disk_and_from_a_bug(
    error: BaseException, kind: type[Exception] | None, said: str
) -> None:
    told = explained(error)
    assert (None if told is None else type(told)) == kind
    assert said in str(told or "")


def test_lists_of_any_length_go_in_pieces() -> None:
    assert [len(part) for part in chunked(range(1_201))] == [500, 500, 201]
    assert list(chunked([])) == []


def test_more_releases_than_a_statement_has_parameters_are_read(tmp_path: Path) -> None:
    with closing(Ledger.in_folder(tmp_path)) as ledger:
        summary = {
            "rows": 1,
            "columns": [],
            "key": [],
            "crs": None,
            "bounds": None,
            "geometry_types": [],
            "report": {},
        }
        common = {"vintage": "2021", "version": "1.0.0", "state": "published", "key": "k", "bump": 0, "reasons": []}
        count = 40_000  # SQLite's limit is 32,766
        with ledger._engine.begin() as connection:
            connection.execute(
                insert(schema.release),
                [
                    {**common, "id": n, "dataset": f"d{n}", "name": f"d{n}", "summary": summary, "planned_at": NOON}
                    for n in range(1, count + 1)
                ],
            )
            connection.execute(
                insert(schema.artifact).values(
                    release_id=count, name="x", role="data", size=1, md5="m", sha256="a", media_type="x/y"
                )
            )
        found = ledger.releases.published()
        assert len(found) == count
        assert [release.id for release in found if release.artifacts] == [count]
