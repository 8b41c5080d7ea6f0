"""Opening the ledger's database: the engine with its safety settings, and the migrations up to today's schema.

Queries belong to the modules named after what they ask for.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, inspect, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError

from d4c_pipeline.model import secrets
from d4c_pipeline.model.errors import NeedsPersonError, PermanentError, StorageError, TransientError

HEAD = "0008"
"""The newest migration; a test holds it equal to what Alembic finds."""

_BUSY_SECONDS = 30
_DISK_CODES = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
_MIGRATION_LOCK = 0x643463  # "d4c": PostgreSQL's advisory lock while the schema changes


def open_engine(url: str) -> Engine:
    """Return an engine on the ledger at `url`, its schema brought up to date.

    Two processes may open a new ledger at the same moment: one creates it, the other waits. Raises StorageError when
    the folder can't be written, TransientError when the server can't be reached, PermanentError when `url` names none,
    NeedsPersonError when the ledger was written by a newer version of this code.
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
        engine = create_engine(parsed, connect_args={"timeout": _BUSY_SECONDS} if embedded else {})
        if embedded:
            _make_sqlite_safe(engine)
        _upgrade(engine)
    except OSError as error:
        raise StorageError(
            f"The ledger's folder can't be written ({shown}): {error.strerror}", "Check the disk"
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


def disk_refused(error: BaseException | None) -> StorageError | None:
    """Return what it means that SQLite could not use its disk; None when `error` says something else."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    # The low byte of an extended result code is the code itself: https://www.sqlite.org/rescode.html
    if not isinstance(cause, sqlite3.Error) or getattr(cause, "sqlite_errorcode", 0) & 0xFF not in _DISK_CODES:
        return None
    return StorageError(
        f"A database under the home can't be written or read: {cause}", "Check disk and access, then run again"
    )


def _make_sqlite_safe(engine: Engine) -> None:
    @event.listens_for(engine, "handle_error")
    def on_error(context: ExceptionContext) -> None:
        refusal = disk_refused(context.sqlalchemy_exception)
        if refusal is not None:
            raise refusal

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        # The driver's own BEGIN comes too late (before the first write only) and would let two readers both decide
        # to write; SQLAlchemy's recipe: switch it off and begin ourselves.
        connection.isolation_level = None
        cursor = connection.cursor()
        _log_ahead(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _log_ahead(cursor: sqlite3.Cursor) -> None:
    """Switch a database to its write-ahead log; a no-op from the second time on.

    The first time SQLite wants it for itself alone, and while another process writes to it answers "busy" at once,
    whatever the timeout: the busy handler is not asked where waiting could be for ever.
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


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(engine: Engine) -> None:
    with engine.begin() as connection:
        if _revision(connection) == HEAD:
            return
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        # Alembic takes a quarter of a second to import: only who has to migrate pays for it.
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
                f"The ledger has revision {_revision(connection)}, which this version does not know",
                "Install the version of d4c_pipeline that wrote it, or a newer one",
            ) from error


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert `rows` (all with the same columns); where the primary key is there already, their values replace its."""
    if not rows:
        return
    insert: Any = sqlite.insert
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - not paid for by the embedded ledger

        insert = postgresql.insert
    keys = [column.name for column in table.primary_key]
    statement = insert(table)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=replaced), list(rows))


def is_conflict(error: DBAPIError) -> bool:
    """Say whether a database error is a violated constraint, the sign that somebody else was first."""
    return type(error).__name__ == "IntegrityError"
