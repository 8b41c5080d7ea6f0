"""The index that all protocols read: a DuckDB file made of the catalogue's Parquet files, renewed in the background.

A server reads the primary store and nothing else, so any number of them run beside it. A thread looks whether the
catalogue changed, builds the next index beside the present one and switches to it; a request never builds anything.
What a protocol adds (full-text indexes, ...) belongs to its own module; SQL of people to `catalogue.query`.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from d4c_pipeline.catalogue.record_parts import Part, parts_of
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, RECORDS_MANIFEST
from d4c_pipeline.model.errors import D4CError, DataError, TransientError, UnknownNameError
from d4c_pipeline.stores.port import Store
from d4c_pipeline.tables.duckdb_engine import connect, first_sentence, literal_pattern

Preparation = tuple[str, Callable[[duckdb.DuckDBPyConnection], None]]
"""The name of a protocol, and what it adds to an index in the making: it gets the open, writable connection."""
RELEASES = "releases"
"""The table of all rows of the catalogue, in the catalogue's columns and order, with the row's number as `position`."""
RECORDS = "records"
"""The table of the facts of all releases, in the columns and the order of the parts; `modified` is seconds since 1970
(UTC)."""
_ATTEMPTS = 3
_LOOK_SECONDS = 2.0
_FORM = "2"
"""The form of the index; another one makes it anew."""
_MEMORY = "400MB"
_READING = "120MB"
_EXTENSIONS = ("fts", "spatial")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """One state of the index. `identity` changes with the catalogue's bytes; it is safe in ETags and tokens."""

    identity: str
    connection: duckdb.DuckDBPyConnection


@dataclass(frozen=True)
class _Copies:
    """Copies of the catalogue on this machine: the file of all items with its sha256, and the parts of the records."""

    releases: Path
    sha256: str
    records: list[tuple[Part, Path]]


class CatalogueIndex:
    """The index of the catalogue in `store`, kept in `folder`; a context manager that renews it while it is open."""

    def __init__(self, store: Store, folder: Path, preparations: Sequence[Preparation] = ()) -> None:
        self._store, self._folder = store, folder
        self._preparations = tuple(preparations)
        self._snapshot: Snapshot | None = None
        self._trouble: D4CError | None = None
        self._seen: tuple[object, ...] | None = None
        self._renewing, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="d4c-catalogue-index", daemon=True)

    def __enter__(self) -> CatalogueIndex:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._snapshot is not None:
            self._snapshot.connection.close()

    @property
    def store(self) -> Store:
        """The store with the catalogue and its documents."""
        return self._store

    @property
    def snapshot(self) -> Snapshot:
        """The present state. Raises TransientError, or why the catalogue can't be read, before the first index."""
        found = self._snapshot
        if found is not None:
            return found
        if self._trouble is not None:
            raise self._trouble
        raise TransientError("The index of the catalogue is being built", "Ask again in a few seconds")

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a cursor of the present state for one request; the state stays as it is until the request ends."""
        cursor = self.snapshot.connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def renew(self) -> bool:
        """Build the index if the catalogue changed since the last look; return whether the state is another now.

        Raises TransientError without a catalogue, DataError when its file can't be read, errors of store and disk.
        """
        with self._renewing:
            # The manifest names the parts by their content, so it changes with each of them.
            seen = tuple(self._store.facts(address) for address in (CATALOGUE_PARQUET, RECORDS_MANIFEST))
            if seen == self._seen:
                return False
            if seen[0] is None:
                raise TransientError("Nothing is published yet", "Publish a release: d4c publish DATASET")
            if None in seen:
                raise TransientError(
                    "The catalogue was written by an earlier version", "Rebuild it: d4c catalogue rebuild"
                )
            path = self._built()
            before = self._snapshot
            if before is None or before.identity != path.stem:
                self._snapshot = Snapshot(path.stem, self._opened(path))
            self._seen, self._trouble = seen, None
            self._forget(path)
            return before is not self._snapshot

    def _opened(self, path: Path) -> duckdb.DuckDBPyConnection:
        # One thread for each query: with two, a search of 18 ms takes 37 ms of processor time, and requests are many.
        return connect(database=path, read_only=True, extensions=_EXTENSIONS, threads=1, memory_limit=_READING)

    def _watch(self) -> None:
        while True:
            try:
                self.renew()
            except D4CError as error:
                # Told by every request, until a look succeeds; the last state stays in use.
                if str(error) != str(self._trouble):
                    _log.warning("%s", error)
                self._trouble = error
            if self._ended.wait(_LOOK_SECONDS):
                return

    def _built(self) -> Path:
        """Return the file of the index of the catalogue as it is now, built unless it exists."""
        with storage_errors(f"write {self._folder}"):
            self._folder.mkdir(parents=True, exist_ok=True)
            # A folder of its own: another server of this home may build at the same time.
            with tempfile.TemporaryDirectory(prefix=".", dir=self._folder) as temporary:
                copies = self._copied(Path(temporary))
                path = self._folder / f"{self._identity(copies)}.duckdb"
                if not path.exists():
                    self._fill(made := Path(temporary) / path.name, copies)
                    made.replace(path)
            return path

    def _identity(self, copies: _Copies) -> str:
        digest = hashlib.sha256("\n".join((_FORM, duckdb.__version__, *(n for n, _ in self._preparations))).encode())
        for sha256 in (copies.sha256, *(part.sha256 for part, _ in copies.records)):
            digest.update(bytes.fromhex(sha256))
        return digest.hexdigest()[:32]

    def _copied(self, folder: Path) -> _Copies:
        """Copy the catalogue to `folder`. Raises TransientError when a part is missing again and again."""
        # Copied first: the store replaces the file while it is read.
        sha256 = self._copy(CATALOGUE_PARQUET, releases := folder / RELEASES)
        for _ in range(_ATTEMPTS):
            try:
                return _Copies(releases, sha256, self._copied_parts(folder))
            except UnknownNameError:
                continue  # a part: the manifest was replaced since, and the part removed
        raise TransientError(
            "A part of the catalogue's records is not there",
            "Ask again in a few seconds; if it is still missing then, put it again: d4c catalogue rebuild",
        )

    def _copied_parts(self, folder: Path) -> list[tuple[Part, Path]]:
        parts = parts_of(self._store.read_bytes(RECORDS_MANIFEST))
        copies = [(part, folder / f"{part.sha256}.parquet") for part in parts]
        for part, copy in copies:
            if not copy.exists() and self._copy(part.address, copy) != part.sha256:
                raise DataError(
                    f"{part.address} in store {self._store.name} has other bytes than were put there",
                    "Rebuild the catalogue: d4c catalogue rebuild",
                )
        return copies

    def _copy(self, address: str, target: Path) -> str:
        """Copy a file of the store to `target` and return its sha256."""
        digest = hashlib.sha256()
        with self._store.open(address) as source, target.open("wb") as copy:
            while block := source.read(1 << 20):
                digest.update(block)
                copy.write(block)
        return digest.hexdigest()

    def _fill(self, path: Path, copies: _Copies) -> None:
        connection = connect(database=path, memory_limit=_MEMORY, extensions=_EXTENSIONS, spill=path.parent, threads=2)
        try:
            _numbered(connection, copies.releases, 0).create(RELEASES)
            rows_before = 0
            for number, (part, copy) in enumerate(copies.records):
                rows = _numbered(connection, copy, rows_before)
                rows = rows.project("* REPLACE (epoch(modified)::BIGINT AS modified)")
                if number:
                    rows.insert_into(RECORDS)
                else:
                    rows.create(RECORDS)
                rows_before += part.rows
            for _, prepare in self._preparations:
                prepare(connection)
            connection.execute("CHECKPOINT")
        except duckdb.Error as error:
            raise DataError(
                f"The index of the catalogue can't be built: {first_sentence(error)}",
                "Rebuild the catalogue: d4c catalogue rebuild",
            ) from error
        finally:
            connection.close()

    def _forget(self, current: Path) -> None:
        # Another server of this home may read an older one: its open file stays readable.
        for old in self._folder.glob("*.duckdb"):
            if old != current:
                old.unlink(missing_ok=True)


def _numbered(connection: duckdb.DuckDBPyConnection, copy: Path, before: int) -> duckdb.DuckDBPyRelation:
    """Return the rows of a file with their number, after those of `before`, as `position`."""
    rows = connection.read_parquet(literal_pattern(copy), file_row_number=True)
    return rows.project(f"* EXCLUDE (file_row_number), file_row_number + {before} AS position")
