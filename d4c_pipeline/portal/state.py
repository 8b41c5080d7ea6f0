"""What was built: the fingerprint of each page, the card of each dataset, and what was read of its files.

It lies in the portal's folder under a hidden name, so that it goes with the pages. Losing it costs a full build.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAME = ".state.sqlite"
_WAIT_SECONDS = 60.0  # for the transaction of another process of the same build
_SCHEMA = """
CREATE TABLE IF NOT EXISTS page (file TEXT PRIMARY KEY, dataset TEXT NOT NULL, fingerprint TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS page_dataset ON page (dataset);
CREATE TABLE IF NOT EXISTS dataset (id TEXT PRIMARY KEY, mark TEXT NOT NULL, card TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS declaration (id TEXT PRIMARY KEY, mark TEXT NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS release (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Settled:
    """A dataset whose pages are built. `pages`: file -> fingerprint; `gone`: files of before that are no pages now."""

    dataset: str
    mark: str
    card: Mapping[str, Any]
    pages: Mapping[str, str]
    gone: Collection[str]


class State:
    """The state of a portal's folder, which several processes may use; each write is a transaction of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(folder / NAME, isolation_level=None, timeout=_WAIT_SECONDS)
        # What a power cut takes away is built again: the pages themselves are synced.
        self._connection.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_SCHEMA}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def marks(self) -> dict[str, str]:
        """Return the mark of each built dataset."""
        return dict(self._connection.execute("SELECT id, mark FROM dataset"))

    def vintages(self) -> dict[str, str]:
        """Return the vintage that each built dataset's page shows."""
        return dict(self._connection.execute("SELECT id, card ->> 'vintage' FROM dataset"))

    def cards(self) -> list[dict[str, Any]]:
        """Return the cards of all built datasets, sorted by dataset."""
        return [json.loads(row[0]) for row in self._connection.execute("SELECT card FROM dataset ORDER BY id")]

    def pages(self, dataset: str) -> dict[str, str]:
        """Return file -> fingerprint of a dataset's pages; of the pages over all datasets for an empty name."""
        found = self._connection.execute("SELECT file, fingerprint FROM page WHERE dataset = ?", [dataset])
        return dict(found)

    def count(self) -> int:
        """Return the number of pages."""
        return self._connection.execute("SELECT count(*) FROM page").fetchone()[0]

    def record(self, dataset: str, pages: Mapping[str, str], gone: Iterable[str]) -> None:
        """Record the fingerprints of written pages, and forget the pages that were removed."""
        with self._transaction() as connection:
            _record(connection, dataset, pages, gone)

    def settle(self, settled: Iterable[Settled]) -> None:
        """Record datasets whose pages are built, all of them or none."""
        with self._transaction() as connection:
            for each in settled:
                _record(connection, each.dataset, each.pages, each.gone)
                row = (each.dataset, each.mark, json.dumps(each.card, ensure_ascii=False))
                connection.execute("INSERT OR REPLACE INTO dataset VALUES (?, ?, ?)", row)

    def forget(self, dataset: str) -> None:
        """Forget a dataset whose pages were removed."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM dataset WHERE id = ?", [dataset])
            connection.execute("DELETE FROM page WHERE dataset = ?", [dataset])
            connection.execute("DELETE FROM declaration WHERE id = ?", [dataset])

    def of_release(self, key: str) -> Any:
        """Return what was computed of the release with this key, None if nothing was."""
        row = self._connection.execute("SELECT value FROM release WHERE key = ?", [key]).fetchone()
        return None if row is None else json.loads(row[0])

    def keep_release(self, key: str, value: Any) -> None:
        """Keep what was computed of the release with this key."""
        row = (key, json.dumps(value, ensure_ascii=False))
        self._connection.execute("INSERT OR REPLACE INTO release VALUES (?, ?)", row)

    def declarations(self) -> dict[str, tuple[str, Any]]:
        """Return dataset -> mark and value that were kept of its declaration."""
        found = self._connection.execute("SELECT id, mark, value FROM declaration")
        return {dataset: (mark, json.loads(value)) for dataset, mark, value in found}

    def keep_declarations(self, found: Mapping[str, tuple[str, Any]]) -> None:
        """Keep what declarations say: dataset -> mark of its declaration, value."""
        rows = [(name, mark, json.dumps(value, ensure_ascii=False)) for name, (mark, value) in found.items()]
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO declaration VALUES (?, ?, ?)", rows)

    def _transaction(self) -> _Transaction:
        return _Transaction(self._connection)


def _record(connection: sqlite3.Connection, dataset: str, pages: Mapping[str, str], gone: Iterable[str]) -> None:
    connection.executemany("DELETE FROM page WHERE file = ?", [(file,) for file in gone])
    rows = [(file, dataset, fingerprint) for file, fingerprint in pages.items()]
    connection.executemany("INSERT OR REPLACE INTO page VALUES (?, ?, ?)", rows)


class _Transaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute("COMMIT" if kind is None else "ROLLBACK")
