"""SQL over the catalogue: finds its Parquet file, opens it as a relation, and runs the SELECT of a reader.

The SELECT reads the view `releases` and nothing else (`tables.limited_sql`). Printing rows belongs to `commands`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb

from d4c_pipeline.model.addresses import CATALOGUE_PARQUET
from d4c_pipeline.model.errors import D4CError, DataError, StorageError, TransientError, UnknownNameError
from d4c_pipeline.model.settings import OWN_STORE, Settings, store_root
from d4c_pipeline.tables.duckdb_engine import connect, explained, first_sentence, literal_pattern, text_literal
from d4c_pipeline.tables.limited_sql import confine, foreign_functions, parsed_select

VIEW = "releases"
KEY = ("dataset", "vintage", "version")
_BATCH = 1_000
_COLUMNS = "List the columns: d4c catalogue query 'DESCRIBE releases'"


def is_address(place: str) -> bool:
    """Return whether `place` is an http(s) address, not a path."""
    return place.lower().startswith(("http://", "https://"))


def located(place: str | os.PathLike[str] | None) -> str:
    """Return the path or address of the catalogue's file at `place`, as `d4c_pipeline.catalogue.open` takes it.

    Raises UnknownNameError when no file is there; an address is not requested.
    """
    if place is None:
        settings = Settings.from_environment()
        place = store_root(settings) or settings.store_url or settings.embedded_url
    text = os.fspath(place)
    if is_address(text):
        return text if urlsplit(text).path.endswith(".parquet") else f"{text.rstrip('/')}/{CATALOGUE_PARQUET}"
    if "://" in text:
        raise UnknownNameError(f"{text} is neither a path nor an http(s) address", "Write an https address")
    path = Path(text).expanduser().absolute()
    for found in (path, path / CATALOGUE_PARQUET, path / OWN_STORE / CATALOGUE_PARQUET):
        if found.is_file():
            return str(found)
    raise UnknownNameError(f"No catalogue is at {path}", "Publish a release with 'd4c publish', or correct the path")


def opened(place: str | os.PathLike[str] | None) -> duckdb.DuckDBPyRelation:
    """Return the rows of the catalogue at `place`; see `d4c_pipeline.catalogue.open`."""
    file = located(place)
    # The relation keeps its connection open.
    return releases(connect(extensions=("httpfs",) if is_address(file) else ()), file)


def releases(connection: duckdb.DuckDBPyConnection, file: str) -> duckdb.DuckDBPyRelation:
    """Return the rows of the catalogue's `file`, which `located` found, as a relation of `connection`.

    The extension httpfs is loaded where `file` is an address. Raises DataError when the file is not a catalogue,
    TransientError when an address does not answer.
    """
    pattern = file if is_address(file) else literal_pattern(Path(file))
    try:
        relation = connection.read_parquet(pattern)
    except duckdb.Error as error:
        message = first_sentence(error)
        if isinstance(error, duckdb.IOException) and is_address(file):
            raise TransientError(f"The catalogue at {file} can't be read: {message}", "Check the address") from error
        raise DataError(f"{file} is not a catalogue: {message}", f"Name a file such as {CATALOGUE_PARQUET}") from error
    if missing := [name for name in KEY if name not in relation.columns]:
        raise DataError(
            f"{file} is not a catalogue: it has no column {', '.join(missing)}",
            f"Name a file such as {CATALOGUE_PARQUET}, written by this version or a later one",
        )
    return relation


class Answer:
    """The rows of a SELECT over the catalogue, computed as they are read."""

    def __init__(self, relation: duckdb.DuckDBPyRelation) -> None:
        self._relation = relation
        self.columns: tuple[str, ...] = tuple(relation.columns)

    def texts(self) -> Iterator[tuple[str | None, ...]]:
        """Yield each row with its values as DuckDB writes them, None for NULL."""
        yield from _rows(self._relation.project("COLUMNS(*)::VARCHAR"))

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a JSON object; infinite numbers and NaN, which JSON lacks, are null.

        A repeated name of a column gets a number.
        """
        for (text,) in _rows(self._relation.set_alias("d4c_row").project("to_json(d4c_row)::VARCHAR")):
            yield json.loads(text, parse_constant=_null)


@contextmanager
def answering(sql: str, path: Path, *, view: str = VIEW, memory_limit: str | None = None) -> Iterator[Answer]:
    """Run one SELECT over the Parquet file at `path`, by default the catalogue, while the context is open.

    `view`: the name of the file in SQL.

    The SELECT reads no other file, no network, and changes nothing. Raises DataError for any other SQL and for a SELECT
    that fails, there or while rows are read.
    """
    remedy = f"Write one SELECT over {view}, DESCRIBE {view} or SUMMARIZE {view}"
    with _closing(connect(memory_limit=memory_limit)) as connection:
        if view == VIEW:
            releases(connection, str(path))
        source = text_literal(literal_pattern(path))
        connection.execute(f"CREATE VIEW {view} AS FROM read_parquet({source})")
        confine(connection, [path])
        parsed = parsed_select(connection, sql, "The query", remedy)
        if foreign := foreign_functions(parsed):
            raise DataError(f"The query calls {', '.join(sorted(foreign))}, which it may not", remedy)
        try:
            yield Answer(connection.sql(sql))
        except duckdb.Error as error:
            raise _explained(error, view) from error


@contextmanager
def _closing(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        yield connection
    finally:
        connection.close()


def _explained(error: duckdb.Error, view: str) -> D4CError:
    found = explained(error, "The query")
    listing = _COLUMNS if view == VIEW else f"List the columns with the query 'DESCRIBE {view}'"
    return found if isinstance(found, StorageError) else DataError(found.cause, listing)


def _rows(relation: duckdb.DuckDBPyRelation) -> Iterator[tuple[Any, ...]]:
    while rows := relation.fetchmany(_BATCH):
        yield from rows


def _null(_constant: str) -> None:
    return None
