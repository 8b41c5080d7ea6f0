"""Finds the rows of a JSON document: the list of records in a service's response, and whether the response is complete.

CKAN, Socrata, Opendatasoft, OData, ArcGIS, Django and similar services wrap rows in an object that states their number
and the next page. Reading the rows belongs to `json_rows`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.readers.answers import MORE, NEXTS, TOTALS, word
from d4c_pipeline.tables import duckdb_engine

_OBJECT_BYTES = 256 << 20
_LINES = (".jsonl", ".ndjson")
# Depth and number of objects to search. A response is not deeper; other documents have more objects.
_DEPTH, _MOST = 5, 200
# Names of the list of rows, in the order in which they decide between several lists, and of the objects around it.
_ROWS = (
    "records",
    "rows",
    "results",
    "result",
    "items",
    "value",
    "data",
    "features",
    "observations",
    "entries",
    "hits",
    "d",
)
_AROUND = frozenset((*_ROWS, "response", "body", "payload", "answer", "content", "embedded"))
# Names of the list of columns (for rows that are lists), and the keys of a column's name.
_HEADS = ("columns", "fields", "headers", "header", "columnnames", "cols")
_NAME_KEYS = ("fieldName", "name", "id", "field", "key", "label", "title")
# Names of objects that describe the rows.
_ABOUT = frozenset(("meta", "metadata", "pagination", "paging", "page", "pageinfo", "links", "cursor", "info"))
_PAGES = frozenset(("totalpages", "pages", "pagecount", "lastpage", "numpages"))
_ALL = "Fetch all rows: the portal's export instead of its paged service, or an address with a limit above the count"


@dataclass(frozen=True)
class Rows:
    """The location of the rows: `source` is a DuckDB table expression with one JSON value per row in the column `json`.

    `names`: the names of the columns if rows are lists.
    """

    source: str
    names: tuple[str, ...] | None = None


@dataclass
class _Lists:
    """The lists of a document and the scalars of each object, by JSON pointer."""

    lists: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])  # length, type of elements
    objects: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict[str, dict[str, tuple[str, str]]])


def find(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    declared: str | None,
    header: Sequence[str],
    report: dict[str, Any],
) -> Rows:
    """Return the location of the rows of the file at `path` (UTF-8 without a byte order mark).

    The elements of an array and values in sequence are rows. A single object has its rows in the list `declared`
    (`result.records`; `.`: the object is the only row), else in its only list with a usual name of rows. Raises
    DataError, naming the lists, when the list is ambiguous, when the response reports a failure, and when it states
    more rows than it has. `report` gets `records`.
    """
    source = _objects(path)
    if declared == ".":
        return Rows(source)
    if declared is not None and _several(connection, source):
        return _of_each(connection, path, source, _pointer(declared))
    if _first_byte(path) != b"{" or (declared is None and _several(connection, source)):
        if declared is not None:
            raise DataError(
                f"{path.name} is a list, in which processing.records ({declared}) has no match",
                "Leave out processing.records",
            )
        return Rows(source, tuple(header) or None) if _first_byte(path) == b"[" and header else Rows(source)
    connection.execute(f"CREATE TEMP TABLE document AS SELECT json FROM {source}")
    known = _searched(connection)
    _check_success(connection, known, path)
    if declared is None and path.name.lower().removesuffix(".plain").endswith(_LINES):
        # One row per line, and a single line; a response does not have this suffix.
        if any(_last(pointer) in _ROWS for pointer in known.lists):
            raise _unclear(known, list(known.lists), path)
        return Rows(source)
    pointer = _pointer(declared) if declared is not None else _evident(known, path)
    if pointer not in known.lists:
        raise DataError(
            f"{path.name} has no list at {declared}; its lists are {_listed(known)}", "Correct processing.records"
        )
    length, kind = known.lists[pointer]
    _check_complete(connection, known, pointer, length, path)
    names = None if kind != "ARRAY" else tuple(header) or _names(connection, known, pointer, path)
    report["records"] = _dotted(pointer)
    return Rows(_extracted(connection, pointer, path), names)


def _objects(path: Path) -> str:
    name = duckdb_engine.text_literal(duckdb_engine.literal_pattern(path))
    return f"read_json_objects({name}, maximum_object_size={_OBJECT_BYTES})"


def _first_byte(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(1 << 16).lstrip()[:1]


def _several(connection: duckdb.DuckDBPyConnection, source: str) -> bool:
    return len(connection.execute(f"SELECT 1 FROM {source} LIMIT 2").fetchall()) > 1


def _of_each(connection: duckdb.DuckDBPyConnection, path: Path, source: str, pointer: str) -> Rows:
    # The values are pages in sequence.
    at = duckdb_engine.text_literal(pointer)
    without = connection.execute(
        f"SELECT count(*) FROM {source} WHERE json_type(json, {at}) IS DISTINCT FROM 'ARRAY'"
    ).fetchone()
    if without is not None and without[0]:
        raise DataError(
            f"{path.name} has {without[0]} values without a list at {_dotted(pointer)}", "Correct processing.records"
        )
    return Rows(f"(SELECT unnest(json_extract(json, {at})::JSON[]) AS json FROM {source})")


def _extracted(connection: duckdb.DuckDBPyConnection, pointer: str, path: Path) -> str:
    # Through a file: unnesting a list of 400,000 objects in DuckDB took 13 s, reading it from a file 0.5 s.
    at = duckdb_engine.text_literal(pointer)
    found = connection.execute(f"SELECT json_extract(json, {at})::VARCHAR FROM document").fetchone()
    connection.execute("DROP TABLE document")
    rows = path.with_name(f"{path.name}.rows")
    rows.write_text(str(found[0]) if found else "[]", "utf-8")
    return _objects(rows)


def _searched(connection: duckdb.DuckDBPyConnection) -> _Lists:
    known = _Lists()
    waiting: list[tuple[str, int]] = [("", 0)]
    while waiting and len(known.objects) < _MOST:
        pointer, depth = waiting.pop(0)
        at = duckdb_engine.text_literal(pointer)
        below: dict[str, tuple[str, str]] = {}
        # A subquery, not a join: DuckDB would repeat the document for each key, and 20,000 times 400 kB is 8 GB.
        for key, kind, length, atom in connection.execute(
            f"""
            SELECT key, type, CASE type WHEN 'ARRAY' THEN json_array_length(value) END,
                   CASE WHEN type NOT IN ('ARRAY', 'OBJECT') THEN value ->> '$' END
            FROM json_each((SELECT json_extract(json, {at}) FROM document)) ORDER BY id
            """
        ).fetchall():
            inner = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
            below[str(key)] = (str(kind), "" if atom is None else str(atom))
            if kind == "OBJECT" and depth < _DEPTH:
                waiting.append((inner, depth + 1))
            elif kind == "ARRAY":
                known.lists[inner] = (int(length), _kind_of_elements(connection, inner, int(length)))
        known.objects[pointer] = below
    return known


def _kind_of_elements(connection: duckdb.DuckDBPyConnection, pointer: str, length: int) -> str:
    # The type of the first element; the types of the others are checked when rows are read.
    if not length:
        return "NULL"
    at = duckdb_engine.text_literal(f"{pointer}/0")
    found = connection.execute(f"SELECT json_type(json, {at}) FROM document").fetchone()
    return str(found[0]) if found else "NULL"


def _evident(known: _Lists, path: Path) -> str:
    lists = {pointer: found for pointer, found in known.lists.items() if found[1] in ("OBJECT", "ARRAY")}
    lists = {pointer: found for pointer, found in lists.items() if not _describes(pointer)}
    if not lists:
        empty = [pointer for pointer, (length, _) in known.lists.items() if not length and not _describes(pointer)]
        if len(empty) == 1:
            return empty[0]
        raise DataError(
            f"{path.name} is one object, not a list of records: it has {', '.join(list(known.objects[''])[:10])}",
            "Declare processing.records: . if the object is the only row, or fetch the list",
        )
    named = [pointer for pointer in lists if _last(pointer) in _ROWS]
    if len(lists) == 1:
        (only,) = lists
        is_only_member = len(known.objects[only.rpartition("/")[0]]) == 1
        if named or is_only_member or set(_steps(only)) & _AROUND:
            return only
    elif len(named) == 1:
        return named[0]
    raise _unclear(known, named or list(lists), path)


def _unclear(known: _Lists, lists: Sequence[str], path: Path) -> DataError:
    return DataError(
        f"{path.name} is one object with {'a list' if len(lists) == 1 else 'lists'} of records in it: {_listed(known)}",
        f"Declare the list to read, such as processing.records: {_dotted(lists[0])}, or . if the object is one row",
    )


def _describes(pointer: str) -> bool:
    steps = _steps(pointer)
    return (
        steps[-1] in _HEADS
        or steps[-1] in ("links", "facets", "facetgroups", "errors", "warnings")
        or bool(set(steps[:-1]) & _ABOUT)
    )


def _check_success(connection: duckdb.DuckDBPyConnection, known: _Lists, path: Path) -> None:
    top = known.objects[""]
    failed = any(word(key) in ("success", "ok") and text == "false" for key, (_, text) in top.items())
    if failed or ("error" in map(word, top) and not known.lists and top[_named(top, "error")][0] != "NULL"):
        excerpt = connection.execute("SELECT left(json::VARCHAR, 200) FROM document").fetchone()
        raise DataError(
            f"{path.name} is the response to a failed request, without records: {excerpt[0] if excerpt else ''}",
            "Check the address of the source, then fetch again",
        )


def _named(top: dict[str, tuple[str, str]], wanted: str) -> str:
    return next(key for key in top if word(key) == wanted)


def _check_complete(
    connection: duckdb.DuckDBPyConnection, known: _Lists, pointer: str, length: int, path: Path
) -> None:
    facts = list(_facts(known, pointer))
    stated = [(key, int(text)) for key, kind, text in facts if word(key) in TOTALS and text.isdecimal()]
    more = [f"{key} is {count}" for key, count in stated if count > length]
    more += [f"{key} is true" for key, _, text in facts if word(key) in MORE and text == "true"]
    if not any(count == length and word(key) != "count" for key, count in stated):
        # Some services name a next page after the last page, so the total takes precedence.
        more += [
            f"{key} is {text or 'present'}"
            for key, kind, text in facts
            if word(key) in NEXTS and kind != "NULL" and text not in ("false", "0") and (text or kind == "OBJECT")
        ]
        more += [
            f"{key} is {text}" for key, _, text in facts if word(key) in _PAGES and text.isdecimal() and int(text) > 1
        ]
        more += _next_links(connection, known, pointer)
    if more:
        raise DataError(f"{path.name} is incomplete: it has {length} records, but its {'; '.join(more[:3])}", _ALL)


def _facts(known: _Lists, pointer: str) -> Iterator[tuple[str, str, str]]:
    # Scalars (and names of objects) of the objects around the rows, and of the objects that describe the rows.
    around = {""}
    steps = pointer.split("/")[1:]
    around |= {"/" + "/".join(steps[:end]) for end in range(1, len(steps))}
    about = {
        inner
        for inner in known.objects
        for outer in around
        if inner.startswith(f"{outer}/") and set(_steps(inner[len(outer) :])) <= _ABOUT
    }
    for each in sorted(around | about):
        for key, (kind, text) in known.objects.get(each, {}).items():
            yield key, kind, text


def _next_links(connection: duckdb.DuckDBPyConnection, known: _Lists, pointer: str) -> list[str]:
    for at, (length, kind) in known.lists.items():
        if _last(at) == "links" and kind == "OBJECT" and length and at != pointer:
            links = connection.execute(
                f"SELECT json_extract_string(json, {duckdb_engine.text_literal(_path(at) + '[*].rel')}) FROM document"
            ).fetchone()
            if links and "next" in (links[0] or []):
                return ["links name a next page"]
    return []


def _names(connection: duckdb.DuckDBPyConnection, known: _Lists, pointer: str, path: Path) -> tuple[str, ...]:
    for at in known.lists:
        if _last(at) not in _HEADS:
            continue
        found = connection.execute(
            f"SELECT json_extract(json, {duckdb_engine.text_literal(at)})::VARCHAR FROM document"
        )
        names = [_column_name(each) for each in json.loads(str((found.fetchone() or ["[]"])[0]))]
        if names and None not in names:
            return tuple(str(name) for name in names)
    raise DataError(
        f"The records of {path.name} at {_dotted(pointer)} are lists, and no other list has the names of their columns",
        "Declare their names as processing.header",
    )


def _column_name(column: Any) -> str | None:
    if isinstance(column, dict):
        column = next((column[key] for key in _NAME_KEYS if column.get(key)), None)
    return column if isinstance(column, str) and column.strip() else None


def _pointer(declared: str) -> str:
    # A JSON pointer (RFC 6901), or names separated by dots.
    if declared.startswith("/"):
        return declared
    return "".join(f"/{name.replace('~', '~0').replace('/', '~1')}" for name in declared.split("."))


def _path(pointer: str) -> str:
    # The pointer as a JSONPath, which supports wildcards.
    names = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    return "$" + "".join(f'."{name}"' for name in names)


def _dotted(pointer: str) -> str:
    names = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    return pointer if any("." in name for name in names) else ".".join(names)


def _steps(pointer: str) -> list[str]:
    return [word(step) for step in pointer.split("/")[1:]]


def _last(pointer: str) -> str:
    return word(pointer.rpartition("/")[2])


def _listed(known: _Lists) -> str:
    every = [f"{_dotted(pointer)} ({length})" for pointer, (length, kind) in known.lists.items() if kind != "NULL"]
    return ", ".join(every[:10]) + (f" and {len(every) - 10} more" if len(every) > 10 else "") or "none"
