"""Opening the ledger's database: the engine with its safety settings, and the migrations to the present schema.

Queries belong to the modules of their tables.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, Engine, Table, create_engine, event, func, inspect, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError

from d4c_pipeline.model import secrets
from d4c_pipeline.model.errors import D4CError, NeedsPersonError, PermanentError, StorageError, TransientError

HEAD = "0029"
"""The newest migration; a test holds it equal to what Alembic finds."""

_BUSY_SECONDS = 30
_DISK_CODES = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
_MEMORY_CODES = {
    sqlite3.SQLITE_IOERR_NOMEM,
    sqlite3.SQLITE_IOERR_SHMMAP,
    sqlite3.SQLITE_IOERR_MMAP,
}
# psycopg2's messages without a state for a lost connection.
_LOST = re.compile(
    r"server closed the connection|connection (?:refused|reset|timed out|already closed|not open)|could not connect"
    r"|terminating connection|starting up|shutting down|no connection to the server|SSL connection has been closed"
    r"|could not translate host name|timeout expired",
    re.IGNORECASE,
)
_CHUNK = 500
_Value = TypeVar("_Value")
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_UPTIME_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)  # any fixed day works
_MIGRATION_LOCK = 0x643463  # "d4c": PostgreSQL's advisory lock while the schema changes


def open_engine(url: str) -> Engine:
    """Return an engine on the ledger at `url`, its schema brought up to date.

    If two processes open a new ledger at the same time, one creates it and the other waits. Raises StorageError if the
    folder can't be written, TransientError if the server is unreachable, PermanentError for an invalid `url`,
    NeedsPersonError if a newer version of this code wrote the ledger.
    """
    try:
        parsed = make_url(url)
        parsed.get_dialect().import_dbapi()
    except (ArgumentError, ImportError) as error:
        raise PermanentError(
            f"The ledger's address can't be used ({error})",
            "Correct D4C_LEDGER_URL, an SQLAlchemy URL, or install the driver that it names",
        ) from error
    secrets.declare(parsed.password)
    embedded = parsed.get_backend_name() == "sqlite"
    shown = parsed.render_as_string(hide_password=True)
    try:
        if embedded and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        # `pool_pre_ping` replaces a pooled connection that a restart of the server closed.
        engine = create_engine(
            parsed,
            connect_args={"timeout": _BUSY_SECONDS} if embedded else {},
            pool_pre_ping=not embedded,
            json_deserializer=_from_json,
        )
        _explain_errors(engine)
        if embedded:
            _make_sqlite_safe(engine)
        _upgrade(engine)
    except OSError as error:
        raise StorageError(
            f"The ledger's folder can't be written ({shown}): {error.strerror}", "Check the disk"
        ) from error
    except TransientError as error:
        if embedded:
            raise
        raise TransientError(
            f"The ledger's server can't be reached ({shown})", "Check that it runs, then run again"
        ) from error
    except DatabaseError as error:
        if embedded:
            raise StorageError(
                f"The ledger can't be opened ({shown}): {error.orig}", "Check disk and access"
            ) from error
        if not isinstance(error, OperationalError):
            raise
        raise TransientError(
            f"The ledger's server can't be reached ({shown})", "Check that it runs, then run again"
        ) from error
    return engine


def _from_json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # NaN and infinities, which SQLite stores
        return json.loads(text)


def explained(error: BaseException | None) -> D4CError | None:
    """Return the platform's error for a database that is unavailable now; None for any other `error`.

    A full or read-only disk needs a person. A lock, a restart of the server, too many connections and too little memory
    are transient, so that the step may be retried.
    """
    if not isinstance(error, DBAPIError):
        return None
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _explained_sqlite(cause)
    # https://www.postgresql.org/docs/current/errcodes-appendix.html
    state = str(getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None) or "")
    message = " ".join(str(cause).split())
    if state == "53100":
        return StorageError(f"The disk of the database's server is full: {message}", "Free space there, then run again")
    if state[:2] in ("08", "40", "53", "57") or error.connection_invalidated or (not state and _LOST.search(message)):
        return TransientError(
            f"The database's server could not do it now: {message}", "Check that it runs, then run again"
        )
    return None


def _explained_sqlite(cause: sqlite3.Error) -> D4CError | None:
    extended = getattr(cause, "sqlite_errorcode", 0)
    # The low byte of an extended result code is the code itself: https://www.sqlite.org/rescode.html
    code = extended & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return TransientError(
            f"Another process held a database under the home for longer than {_BUSY_SECONDS} s: {cause}",
            "Run again when it is done",
        )
    if code == sqlite3.SQLITE_NOMEM or extended in _MEMORY_CODES:
        return TransientError(
            f"There was not enough memory for a database under the home: {cause}",
            "Raise the limit of memory (ulimit -v, or that of the container), or run less at once",
        )
    if code not in _DISK_CODES:
        return None
    return StorageError(
        f"A database under the home can't be written or read: {cause}", "Check disk and access, then run again"
    )


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """Open a read-only transaction: on SQLite it takes no lock and waits for no writer."""
    with engine.connect() as opened:
        connection = opened.execution_options(d4c_reading=True)
        with connection.begin():
            yield connection


def chunked(values: Iterable[_Value]) -> Iterator[list[_Value]]:
    """Yield `values` in lists of at most 500: SQLite allows 32,766 parameters in a statement, older versions 999."""
    pending = iter(values)
    while found := list(islice(pending, _CHUNK)):
        yield found


def database_now(connection: Connection) -> datetime:
    """Return the present time of the clock that leases use, the same for every process on the database.

    PostgreSQL uses the clock of its server. SQLite serves one machine and uses the time since its boot, which no
    correction of the clock moves.
    """
    if connection.dialect.name == "postgresql":
        found = connection.execute(select(func.clock_timestamp())).scalar_one()
        return found.astimezone(UTC)
    return _UPTIME_EPOCH + timedelta(seconds=time.clock_gettime(_UPTIME))


def _explain_errors(engine: Engine) -> None:
    @event.listens_for(engine, "handle_error")
    def on_error(context: ExceptionContext) -> None:
        if context.is_pre_ping:
            return  # the pool replaces such a connection
        if (ours := explained(context.sqlalchemy_exception)) is not None:
            raise ours from context.original_exception


def _make_sqlite_safe(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        # The driver sends BEGIN before the first write, too late: two readers could both decide to write.
        # SQLAlchemy's recipe switches it off and sends BEGIN itself.
        connection.isolation_level = None
        cursor = connection.cursor()
        _log_ahead(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        readonly = connection.get_execution_options().get("d4c_reading", False)
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")


def _log_ahead(cursor: sqlite3.Cursor) -> None:
    """Switch a database to its write-ahead log; a no-op if it is switched already.

    The switch needs exclusive access. While another process writes, SQLite answers "busy" at once despite the timeout,
    because it does not call the busy handler where waiting could deadlock.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the schema, None in a database without a ledger."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(engine: Engine) -> None:
    with reading(engine) as connection:
        if revision_of(connection) == HEAD:
            return
    with engine.begin() as connection:
        if revision_of(connection) == HEAD:
            return
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        # Alembic takes 0.25 s to import, so it is imported only for a migration.
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415
        from alembic.util import CommandError  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(files("d4c_pipeline.ledger") / "migrations"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise NeedsPersonError(
                f"The ledger has revision {revision_of(connection)}, which this version does not know",
                "Install the version of d4c_pipeline that wrote it, or a newer one",
            ) from error


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert `rows` (all with the same columns); a row with an existing primary key replaces its values."""
    if not rows:
        return
    insert: Any = sqlite.insert
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - the embedded ledger does not need it

        insert = postgresql.insert
    keys = [column.name for column in table.primary_key]
    statement = insert(table)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=replaced), list(rows))
