"""A consistent copy of the ledger into an SQLite file, and back into an empty ledger of either kind.

The copy is one SQLite file whatever the ledger's server is, so that a backup of PostgreSQL can be restored without one
and needs no client program of the server's version. Packing the copy belongs to `upkeep.backup`.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, create_engine, func, insert, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import HEAD, open_engine, revision_of
from d4c_pipeline.model import secrets
from d4c_pipeline.model.errors import IntegrityError, NeedsPersonError, PermanentError

_BATCH = 1_000
_OF_PROCESSES = (schema.lease, schema.active_run)
"""Tables about processes that no longer run after a restore: a lease would block its vintage."""


def copy_out(url: str, target: Path) -> None:
    """Copy the ledger at the SQLAlchemy `url` into the new SQLite file `target`; writers are not blocked.

    Raises PermanentError if there is no ledger at `url`, or a server's ledger has the schema of another version.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        _copy_file(Path(str(parsed.database)), target)
    else:
        _copy_server(url, target)


def examine_copy(file: Path) -> tuple[str, dict[str, int]]:
    """Return the revision of the schema of a copy, and the number of rows of each table.

    Raises IntegrityError if SQLite finds damage, or the file is no ledger.
    """
    engine = _plain(f"sqlite:///{file}")
    with engine.connect() as connection:
        damage = connection.execute(text("PRAGMA integrity_check(1)")).scalar_one()
        revision = revision_of(connection)
        if damage != "ok" or revision is None:
            raise IntegrityError(
                f"The copy of the ledger is damaged: {damage if damage != 'ok' else 'it has no schema'}",
                "Use another backup",
            )
        names = sorted(set(inspect(connection).get_table_names()) - {"alembic_version"})
        counts = {name: connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one() for name in names}  # noqa: S608
    return revision, counts


def copy_in(file: Path, url: str) -> None:
    """Fill the empty ledger at `url` with the copy in `file`, which is brought up to date first.

    A ledger on a server changes in one transaction. Leases and active runs are left out. Raises NeedsPersonError if the
    ledger at `url` has rows, or a newer version of this code wrote the copy.
    """
    source = open_engine(f"sqlite:///{file}")
    try:
        with source.begin() as connection:
            for table in _OF_PROCESSES:
                connection.execute(table.delete())
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            place = Path(str(parsed.database))
            if place.exists():
                raise NeedsPersonError(f"A ledger exists at {place}", "Restore into an empty home")
            _flat(source)
            source.dispose()
            file.rename(place)
            return
        target = open_engine(url)
        try:
            _fill(source, target, parsed.render_as_string(hide_password=True))
        finally:
            target.dispose()
    finally:
        source.dispose()


def _copy_file(file: Path, target: Path) -> None:
    if not file.is_file():
        raise PermanentError(f"No ledger is at {file}", "Correct the home (--home, D4C_HOME); a backup needs a ledger")
    with closing(sqlite3.connect(file, timeout=30)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it


def _copy_server(url: str, target: Path) -> None:
    secrets.declare(make_url(url).password)
    source = _plain(url)
    with source.connect().execution_options(isolation_level="REPEATABLE READ") as reader, reader.begin():
        found = revision_of(reader)
        if found != HEAD:
            raise PermanentError(
                f"The ledger has revision {found}, this version reads {HEAD}",
                "Run 'd4c status' once, which changes the schema, or use the version that wrote it",
            )
        copy = open_engine(f"sqlite:///{target}")
        try:
            with copy.begin() as writer:
                for table in schema.metadata.sorted_tables:
                    _copy_rows(reader, writer, table)
            _flat(copy)
        finally:
            copy.dispose()


def _fill(source: Engine, target: Engine, shown: str) -> None:
    with source.connect() as reader, target.begin() as writer:
        for table in schema.metadata.sorted_tables:
            if writer.execute(select(func.count()).select_from(table)).scalar_one():
                raise NeedsPersonError(
                    f"The ledger at {shown} has rows in {table.name}", "Restore into an empty database"
                )
        for table in schema.metadata.sorted_tables:
            _copy_rows(reader, writer, table)
            key = table.autoincrement_column
            if key is not None:
                newest = select(func.max(key)).scalar_subquery()
                sequence = func.pg_get_serial_sequence(table.name, key.name)
                # An empty table starts at 1: a sequence has no value 0.
                writer.execute(select(func.setval(sequence, func.coalesce(newest, 1), newest.is_not(None))))


def _copy_rows(reader: Connection, writer: Connection, table: Table) -> None:
    rows = reader.execution_options(yield_per=_BATCH).execute(select(table)).mappings()
    for batch in rows.partitions(_BATCH):
        writer.execute(insert(table), [dict(row) for row in batch])


def _flat(engine: Engine) -> None:
    """Move the write-ahead log into the file, so that the file alone is the database."""
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        if not isinstance(driver, sqlite3.Connection):
            raise TypeError("only an SQLite file has a write-ahead log")
        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _plain(url: str) -> Engine:
    return create_engine(make_url(url), poolclass=NullPool)
