"""Facts about the ledger's database, read without opening the ledger: nothing is created and no schema is changed.

The judgement of these facts belongs to `upkeep.doctor`, the migrations to `database`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.pool import NullPool

from d4c_pipeline.ledger.database import explained, revision_of
from d4c_pipeline.model import secrets
from d4c_pipeline.model.errors import PermanentError, StorageError, TransientError

_CONNECT_SECONDS = 10


@dataclass(frozen=True)
class LedgerFacts:
    """`revision`: of the schema, None in a database without a ledger. `clock`: the server's time, None for SQLite.

    `damage`: the first problem that SQLite's own check finds, empty if there is none. `writable`: whether this user may
    create tables and the server accepts writes.
    """

    kind: str
    revision: str | None
    damage: str = ""
    writable: bool = True
    clock: datetime | None = None


def examine(url: str) -> LedgerFacts | None:
    """Return the facts of the database at the SQLAlchemy `url`; None for an SQLite file that does not exist.

    Raises PermanentError for an unusable address, StorageError for a file that can't be read, TransientError for a
    server that does not answer.
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
    if embedded and not Path(str(parsed.database)).exists():
        return None
    options: dict[str, Any] = {} if embedded else {"connect_timeout": _CONNECT_SECONDS}
    engine = create_engine(parsed, poolclass=NullPool, connect_args=options)
    shown = parsed.render_as_string(hide_password=True)
    try:
        with engine.connect() as connection:
            return _sqlite(connection) if embedded else _server(connection)
    except DatabaseError as error:
        if (ours := explained(error)) is not None:
            raise ours from error
        if embedded:
            raise StorageError(
                f"The ledger can't be read ({shown}): {error.orig}", "Restore it with 'd4c restore' into an empty home"
            ) from error
        raise TransientError(
            f"The ledger's server can't be used ({shown}): {' '.join(str(error.orig).split())}",
            "Check that it runs, its address (D4C_LEDGER_URL) and the password (PGPASSWORD)",
        ) from error


def _sqlite(connection: Connection) -> LedgerFacts:
    found = str(connection.execute(text("PRAGMA quick_check(1)")).scalar_one())
    return LedgerFacts("SQLite", revision_of(connection), damage="" if found == "ok" else found)


def _server(connection: Connection) -> LedgerFacts:
    row = connection.execute(
        text(
            "SELECT current_setting('server_version') AS version, clock_timestamp() AS clock, "
            "current_setting('transaction_read_only') = 'off' "
            "AND has_schema_privilege(current_schema(), 'CREATE') AS writable"
        )
    ).one()
    clock: datetime = row.clock
    return LedgerFacts(
        f"PostgreSQL {row.version}",
        revision_of(connection),
        writable=bool(row.writable),
        clock=clock.astimezone(UTC),
    )
