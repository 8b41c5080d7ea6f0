"""The changes of a release for its address in the services: the counts, and the rows that a request asks for.

The file of changes belongs to `processing.changes`, which docs/changes.md describes; the route to
`protocols.releases`. Rows are limited as subsets are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
from starlette.datastructures import QueryParams

from d4c_pipeline.metadata.changes import in_words
from d4c_pipeline.metadata.published import TONGUES, Bounds, PublishedFile, PublishedMetadata
from d4c_pipeline.model.errors import OverdueError, TransientError
from d4c_pipeline.model.release import ArtifactRole
from d4c_pipeline.services.discovery.parameters import check_names, limit_of, listed, offset_of, single
from d4c_pipeline.services.key_patterns import fits
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.subset.engine import Engine
from d4c_pipeline.services.subset.service import WHOLE_BYTES
from d4c_pipeline.services.subset.source import is_remote, unreadable
from d4c_pipeline.tables.duckdb_engine import literal_pattern, text_literal
from d4c_pipeline.tables.sql_names import identifier

FORMATS = {"json": "application/json", "csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
FILTERS = ("column", "kind", "key")
PARAMETERS = (*FILTERS, "limit", "offset", "format")
_KINDS = ("added", "removed", "modified", "geometry_modified", "extended")
_DEFAULT, _MOST, _FARTHEST = 100, 1_000, 10**12
_LONGEST_KEY = 1_000
_SECONDS = 60.0
_PIECE = 1 << 20
_GROUP = "ROW_GROUP_SIZE 2048"
_SMALLER = "Narrow the request, or download the file of changes"
_SMALLER_PAGE = "Send a lower limit, or download the file of changes"


@dataclass(frozen=True)
class Wanted:
    """The rows of a request: those that change one of `columns`, are of one of `kinds`, whose key fits the pattern.

    Empty: all of them. In a pattern `*` stands for any characters. `boxes`: the row's box before or now touches one of
    them, in the CRS of the data.
    """

    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    key: str | None
    limit: int = _DEFAULT
    offset: int = 0
    boxes: tuple[Bounds, ...] | None = None

    @property
    def is_narrowed(self) -> bool:
        """Whether rows are asked for, not only counts."""
        return bool(self.columns or self.kinds or self.key is not None)


def read_wanted(query: QueryParams) -> Wanted:
    """Return what the parameters ask for. Raises ProblemError (400) for whatever is wrong with them."""
    check_names(query.keys(), PARAMETERS)
    kinds = listed(single(query, "kind") or "", "kind")
    check_names(kinds, _KINDS, "kind")
    return Wanted(
        columns=tuple(listed(single(query, "column") or "", "column")),
        kinds=tuple(kinds),
        key=key_pattern(query),
        limit=limit_of(single(query, "limit"), _DEFAULT, _MOST),
        offset=offset_of(single(query, "offset"), _FARTHEST),
    )


def key_pattern(query: QueryParams) -> str | None:
    """Return the pattern of keys that a request asks for. Raises ProblemError for one that is too long."""
    key = single(query, "key")
    if key is not None and len(key) > _LONGEST_KEY:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, f"key has {len(key):,} characters, {_LONGEST_KEY:,} are allowed", "Shorten it"
        )
    return key


def counts(published: PublishedMetadata) -> dict[str, Any]:
    """Return the counts of a release, with words in both languages. Raises ProblemError (404) if none were made."""
    found = published.counts
    if found is None:
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            f"{published.name} was not compared with an earlier release",
            "Only releases after the first of a product have changes: see the versions of the dataset",
        )
    named = ("since", "kind", "column", "province", "carried")
    words = {tongue: [in_words(found, tongue).heading, *in_words(found, tongue).lines()] for tongue in TONGUES}
    return {"release": published.name, **{name: found[name] for name in named if name in found}, "words": words}


def changes_file(published: PublishedMetadata) -> PublishedFile | None:
    """Return the file of changes of a release, None if it carries none."""
    return next((file for file in published.files if file.role is ArtifactRole.CHANGES), None)


class ChangedRows:
    """The rows of the file of changes at `file`, a path or an address. `most_cells`: the values that an answer has."""

    def __init__(self, engine: Engine, file: str, wanted: Wanted, *, most_cells: int) -> None:
        self._engine, self._most_cells, self._wanted = engine, most_cells, wanted
        self._remote = is_remote(file)
        pattern = file if self._remote else literal_pattern(Path(file))
        self._table = f"read_parquet({text_literal(pattern)})"

    def page(self) -> tuple[int, list[dict[str, Any]]]:
        """Return how many rows fit, and those of the page: of rows that stayed, the changed columns only.

        Raises ProblemError for a column or a key that the file lacks (400), for rows that are too large (413), and
        when the file can't be read: IntegrityError here, TransientError at an address.
        """
        with self._reading(_SMALLER_PAGE) as (cursor, shape):
            count, rows = self._counted(cursor, shape)
            page = f"LIMIT {self._wanted.limit} OFFSET {self._wanted.offset}"
            # A row has two geometries at most, of any size, and the bytes of a geometry become two digits each.
            measured = f"SELECT {shape.size()} AS bytes {rows} {page}"
            (size,) = cursor.execute(f"SELECT sum(bytes) FROM ({measured})").fetchone() or (0,)  # noqa: S608
            if (size or 0) > WHOLE_BYTES:
                raise ProblemError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"The rows have {size:,} bytes; {WHOLE_BYTES:,} are allowed",
                    _SMALLER_PAGE,
                )
            cursor.execute(f"SELECT {shape.shown()} {rows} {page}")
            names = [each[0] for each in cursor.description or ()]
            return count, [_told(dict(zip(names, row, strict=True))) for row in cursor.fetchall()]

    def count(self) -> int:
        """Return how many rows fit. Raises as `page`, but TransientError where memory is short."""
        with self._reading(None) as (cursor, shape):
            return self._counted(cursor, shape)[0]

    def written(self, form: str, folder: Path) -> Iterator[bytes]:
        """Yield all rows that fit in the format `csv` or `parquet`. Raises as `page`, and ProblemError (413)."""
        with TemporaryDirectory(prefix=".changes-", dir=folder) as made:
            path = Path(made) / f"changes.{form}"
            with self._reading(_SMALLER) as (cursor, shape):
                count, rows = self._counted(cursor, shape)
                if count * shape.cells > self._most_cells:
                    raise ProblemError(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"{count:,} rows with {shape.cells} values each fit; {self._most_cells:,} values are allowed",
                        _SMALLER,
                    )
                selected = shape.flat() if form == "csv" else "*"
                # DuckDB holds a row group in memory; one of its default, 122,880 rows, may exceed the engine's.
                options = "FORMAT csv, HEADER" if form == "csv" else f"FORMAT parquet, COMPRESSION zstd, {_GROUP}"
                cursor.execute(f"COPY (SELECT {selected} {rows}) TO {text_literal(str(path))} ({options})")
            with path.open("rb") as file:
                while part := file.read(_PIECE):
                    yield part

    def _counted(self, cursor: duckdb.DuckDBPyConnection, shape: _Shape) -> tuple[int, str]:
        """Return how many rows fit, and SQL of these rows from its FROM on."""
        rows = f"FROM {self._table} WHERE {shape.condition(self._wanted)}"
        (count,) = cursor.execute(f"SELECT count(*) {rows}").fetchone() or (0,)
        return count, rows

    def _reading(self, smaller: str | None) -> _Reading:
        return _Reading(self._engine, self._table, smaller=smaller, remote=self._remote)


class _Reading:
    """A cursor and the shape of the file, for one request; DuckDB's errors become those of `_unreadable`.

    `smaller`: the remedy for rows that exceed memory, None if the client can't ask for fewer.
    """

    def __init__(self, engine: Engine, table: str, *, smaller: str | None, remote: bool) -> None:
        self._engine, self._cursors, self._table = engine, engine.cursor(), table
        self._smaller, self._remote = smaller, remote

    def __enter__(self) -> tuple[duckdb.DuckDBPyConnection, _Shape]:
        cursor = self._cursors.__enter__()
        self._limit = self._engine.limited(cursor, _SECONDS)
        self._limit.__enter__()
        try:
            relation = cursor.sql(f"SELECT * FROM {self._table}")  # noqa: S608 - a literal of ours
            return cursor, _Shape.of(relation)
        except duckdb.Error as error:
            self.__exit__(type(error), error, None)
            raise self._unreadable(error) from error

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._limit.__exit__(None, None, None)
        self._cursors.__exit__(None, None, None)
        if isinstance(error, duckdb.Error):
            raise self._unreadable(error) from error

    def _unreadable(self, error: duckdb.Error) -> Exception:
        """Return the error of a request for one of DuckDB's, whose message names folders and addresses."""
        if isinstance(error, duckdb.InterruptException):
            return OverdueError("Reading the changes took too long", "Narrow the request, or download the file")
        if isinstance(error, duckdb.OutOfMemoryException):
            if self._smaller is None:
                return TransientError("The memory for changes is in use", "Ask again later")
            return ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The rows need more memory than a request may use", self._smaller
            )
        return unreadable(error, "The file of changes", remote=self._remote)


@dataclass(frozen=True)
class _Shape:
    """The columns of a file of changes: those of the key, and of both sides; whether a column holds bytes."""

    key: dict[str, bool]
    old: dict[str, bool]
    new: dict[str, bool]
    boxed: bool

    @classmethod
    def of(cls, relation: duckdb.DuckDBPyRelation) -> _Shape:
        types = dict(zip(relation.columns, relation.types, strict=True))
        sides: dict[str, dict[str, bool]] = {}
        for name in ("key", "old", "new"):
            fields = types[name].children if name in types else []
            sides[name] = {field: str(kind) == "BLOB" for field, kind in fields}
        return cls(**sides, boxed="bbox" in types)

    @property
    def cells(self) -> int:
        """The values of a row."""
        return 3 + len(self.key) + len(self.old) + len(self.new) + 4 * self.boxed

    def condition(self, wanted: Wanted) -> str:
        """Return SQL of the rows that fit."""
        found = ["true"]
        if wanted.columns:
            check_names(wanted.columns, self.old | self.new, "column")
            found.append(f"list_has_any(columns, {_texts(wanted.columns)})")
        if wanted.kinds:
            found.append(f"list_contains({_texts(wanted.kinds)}, kind)")
        if wanted.key is not None:
            if not self.key:
                raise ProblemError(
                    HTTPStatus.BAD_REQUEST, "The rows of this dataset have no key", "Send column or kind instead of key"
                )
            text = " || ', ' || ".join(f"key.{identifier(name)}::VARCHAR" for name in self.key)
            found.append(fits(text, wanted.key))
        if wanted.boxes is not None:
            touching = [
                f"(bbox.xmin <= {_number(east)} AND bbox.xmax >= {_number(west)}"
                f" AND bbox.ymin <= {_number(north)} AND bbox.ymax >= {_number(south)})"
                for west, south, east, north in wanted.boxes
            ]
            found.append(f"({' OR '.join(touching)})" if self.boxed else "false")
        return " AND ".join(found)

    def size(self) -> str:
        """Return SQL of about the bytes of a row as JSON."""
        values = (
            f"2 * octet_length({name}.{identifier(field)})" if blob else f"strlen({name}.{identifier(field)}::VARCHAR)"
            for name, fields in self._sides()
            for field, blob in fields.items()
        )
        return " + ".join(["0", *(f"coalesce({value}, 0)" for value in values)])

    def shown(self) -> str:
        """Return SQL of the columns for JSON; bytes in hexadecimal digits."""
        sides = [f"{_packed(name, fields)} AS {name}" for name, fields in self._sides()]
        return ", ".join(["kind", "columns", "row", *sides, *(["bbox"] if self.boxed else [])])

    def flat(self) -> str:
        """Return SQL of a column for each value, for CSV."""
        sides = [
            f"{_value(name, field, blob=blob)} AS {identifier(f'{name}.{field}')}"
            for name, fields in self._sides()
            for field, blob in fields.items()
        ]
        corners = [f"bbox.{corner} AS {corner}" for corner in ("xmin", "ymin", "xmax", "ymax")] if self.boxed else []
        return ", ".join(["kind", "array_to_string(columns, ' ') AS columns", "row", *sides, *corners])

    def _sides(self) -> list[tuple[str, dict[str, bool]]]:
        return [(name, fields) for name in ("key", "old", "new") if (fields := getattr(self, name))]


def _number(value: float) -> str:
    return f"'{value!r}'::DOUBLE"  # also inf


def _packed(side: str, fields: dict[str, bool]) -> str:
    values = ", ".join(f"{identifier(name)} := {_value(side, name, blob=blob)}" for name, blob in fields.items())
    return f"CASE WHEN {side} IS NOT NULL THEN struct_pack({values}) END"


def _value(side: str, field: str, *, blob: bool) -> str:
    value = f"{side}.{identifier(field)}"
    return f"hex({value})" if blob else value


def _texts(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(text_literal, texts))}]::VARCHAR[]"


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the empty places of columns that did not change."""
    changed = set(row["columns"])
    if row["new"] is not None and row["old"] is not None:
        row["new"] = {name: value for name, value in row["new"].items() if name in changed}
        # A renamed column has its earlier name there.
        row["old"] = {name: value for name, value in row["old"].items() if name in changed or value is not None}
    return row
