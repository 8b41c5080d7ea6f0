"""What the footers of a release's files state: columns and types, geometry and CRS, rows and boxes of row groups.

Nothing here reads rows. Files are paths or http(s) addresses; DuckDB reads the footers of both.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyproj

from d4c_pipeline.model.errors import D4CError, IntegrityError, OverdueError, TransientError
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.subset.engine import SECONDS, Engine
from d4c_pipeline.tables.duckdb_engine import first_sentence, literal_pattern, text_literal
from d4c_pipeline.tables.sql_names import identifier

_log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SILENCE = "Timeout was reached"
"""What DuckDB says of an address that sends nothing; it has no class for that."""
_CACHED = 256  # releases whose footers stay in memory


@dataclass(frozen=True)
class Source:
    """The files of a release. `schema`: Arrow types of the columns, without the covering.

    `geometry`: the name of the geometry column, None for a table; `crs`, `bounds`, `types`: of that column, as in the
    metadata `geo`. `covering`: the column of boxes, and the SQL type of its corners. `groups`: a row for each row
    group with its rows, bytes and box (NaN without one).
    """

    files: tuple[str, ...]
    schema: pa.Schema
    sql_types: dict[str, str]
    geometry: str | None = None
    crs: pyproj.CRS | None = None
    bounds: Box | None = None
    types: tuple[str, ...] = ()
    covering: str | None = None
    covering_type: str = "FLOAT"
    groups: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 6)))

    @property
    def table(self) -> str:
        """The table function that reads all files in their order."""
        return f"read_parquet([{', '.join(map(text_literal, map(_pattern, self.files)))}])"

    @property
    def rows(self) -> int:
        """The number of all rows."""
        return int(self.groups[:, 0].sum())

    def within(self, boxes: Sequence[Box] | None) -> tuple[int, int]:
        """Return the rows and the compressed bytes of the row groups that touch `boxes`; of all groups for None."""
        taken = np.ones(len(self.groups), bool)
        if boxes is not None and self.covering is not None:
            west, south, east, north = self.groups[:, 2:].T
            taken = np.isnan(west)
            for box in boxes:
                taken |= (west <= box[2]) & (east >= box[0]) & (south <= box[3]) & (north >= box[1])
        return int(self.groups[taken, 0].sum()), int(self.groups[taken, 1].sum())


def is_remote(file: str) -> bool:
    """Return whether `file` is an address, not a path."""
    return file.startswith(("http://", "https://"))


def unreadable(error: duckdb.Error, what: str, *, remote: bool) -> D4CError:
    """Return the error of a file that a request needs: "A file of the release", at an address if `remote`.

    An address may answer later, and memory may be free; all else is a failure of the server. DuckDB's message names
    folders and addresses, so the log has it, not the client.
    """
    message = first_sentence(error)
    _log.warning("%s can't be read: %s", what, message)
    if isinstance(error, duckdb.OutOfMemoryException):
        return TransientError("The memory for requests is in use", "Ask again later")
    if remote and _SILENCE in message:
        return OverdueError(f"{what} was not delivered in time", "Ask again later")
    if remote and isinstance(error, duckdb.IOException | duckdb.HTTPException):
        return TransientError(f"{what} can't be read", "Ask again later")
    return IntegrityError(f"{what} can't be read", "Tell the operator: d4c fixity repairs it")


def _pattern(file: str) -> str:
    return file if is_remote(file) else literal_pattern(file)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Statistics:
    """What the footers state of a column's values; None where they don't. `missing`: the number of nulls."""

    missing: int | None
    least: float | None
    most: float | None


class Sources:
    """The footers of released files, which never change; those read last stay in memory.

    `seconds`: for those of a release, after which no further request is sent to its address.
    """

    def __init__(self, engine: Engine, *, seconds: float = SECONDS) -> None:
        self._engine, self._seconds = engine, seconds
        self._read = lru_cache(maxsize=_CACHED)(self._read_now)
        self.statistics = lru_cache(maxsize=_CACHED)(self._statistics_now)

    def of(self, files: tuple[str, ...], _sha256: str) -> Source:
        """Return what the footers of `files` state. `_sha256`: of their bytes.

        Raises IntegrityError when a file is gone or no Parquet, OverdueError when reading takes too long or an address
        is silent, TransientError when it fails otherwise.
        """
        return self._read(files, _sha256)

    def _statistics_now(self, files: tuple[str, ...], _sha256: str) -> dict[str, Statistics]:
        """Return the statistics of columns that are not nested. Arguments and errors as `of`."""
        self.of(files, _sha256)
        listed = f"[{', '.join(text_literal(_pattern(file)) for file in files)}]"
        least, most = "coalesce(stats_min_value, stats_min)", "coalesce(stats_max_value, stats_max)"
        with self._reading(files) as cursor:
            rows = cursor.execute(
                "SELECT path_in_schema, "
                "CASE WHEN bool_and(stats_null_count IS NOT NULL) THEN sum(stats_null_count) END, "
                f"CASE WHEN bool_and({least} IS NOT NULL OR stats_null_count = num_values) "
                f"THEN min(try_cast({least} AS DOUBLE)) END, "
                f"CASE WHEN bool_and({most} IS NOT NULL OR stats_null_count = num_values) "
                f"THEN max(try_cast({most} AS DOUBLE)) END "
                f"FROM parquet_metadata({listed}) GROUP BY path_in_schema"
            ).fetchall()
        return {str(name): Statistics(missing, low, high) for name, missing, low, high in rows}

    def _read_now(self, files: tuple[str, ...], _sha256: str) -> Source:
        if not files:
            raise ProblemError(HTTPStatus.NOT_FOUND, "The release has no data files", "Download its other files")
        with self._reading(files) as cursor:
            return _read(cursor, files)

    @contextmanager
    def _reading(self, files: tuple[str, ...]) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a cursor that reads the footers of `files` within the time for them; errors as `of`."""
        try:
            with self._engine.cursor() as cursor, self._engine.limited(cursor, self._seconds):
                yield cursor
        except duckdb.InterruptException as error:
            raise OverdueError("Reading the files of the release took too long", "Ask again later") from error
        except duckdb.Error as error:
            raise unreadable(error, "A file of the release", remote=any(map(is_remote, files))) from error


def _read(cursor: duckdb.DuckDBPyConnection, files: tuple[str, ...]) -> Source:
    patterns = [_pattern(file) for file in files]
    listed = f"[{', '.join(map(text_literal, patterns))}]"
    described = cursor.execute(f"DESCRIBE SELECT * FROM read_parquet({listed})").fetchall()
    sql_types = {str(row[0]): str(row[1]) for row in described}
    stated: dict[str, dict[str, str]] = {}
    for name, key, value in cursor.execute(
        f"SELECT file_name, decode(key), decode(value) FROM parquet_kv_metadata({listed}) "
        "WHERE decode(key) IN ('geo', 'ARROW:schema')"
    ).fetchall():
        stated.setdefault(str(name), {})[str(key)] = str(value)
    first = stated.get(files[0], {})
    geo = [json.loads(each["geo"]) for each in stated.values() if "geo" in each]
    geometry = geo[0].get("primary_column") if geo else None
    columns: list[dict[str, Any]] = [part["columns"][geometry] for part in geo if geometry in part.get("columns", {})]
    corners: dict[str, Any] = columns[0].get("covering", {}).get("bbox", {}) if columns else {}
    covering = corners["xmin"][0] if corners else None
    if covering is not None and sql_types.get(covering, "") not in (_struct("FLOAT"), _struct("DOUBLE")):
        covering = None
    boxes = [box for part in columns if (box := part.get("bbox"))]
    return Source(
        files=files,
        schema=_schema(cursor, listed, first.get("ARROW:schema"), sql_types, covering),
        sql_types={name: kind for name, kind in sql_types.items() if name != covering},
        geometry=geometry,
        crs=_crs(columns[0]) if columns else None,
        bounds=_union(boxes),
        types=tuple(sorted({kind for part in columns for kind in part.get("geometry_types", ())})),
        covering=covering,
        covering_type="DOUBLE" if covering and sql_types[covering] == _struct("DOUBLE") else "FLOAT",
        groups=_groups(cursor, listed, covering),
    )


def _struct(kind: str) -> str:
    return f"STRUCT({', '.join(f'{corner} {kind}' for corner in _CORNERS)})"


def _schema(
    cursor: duckdb.DuckDBPyConnection, listed: str, packed: str | None, sql_types: dict[str, str], covering: str | None
) -> pa.Schema:
    """Return Arrow's schema that the file states, else DuckDB's types."""
    read = cursor.execute(f"SELECT * FROM read_parquet({listed}) LIMIT 0").to_arrow_reader(1).schema
    stated: pa.Schema | None = None
    if packed is not None:
        try:
            stated = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(packed)))
        except (pa.ArrowInvalid, binascii.Error):
            stated = None  # the schema is optional: DuckDB's types are right, only less exact
    fields: list[pa.Field] = []
    for name in sql_types:
        if name == covering:
            continue
        own = stated.field(name) if stated is not None and stated.get_field_index(name) >= 0 else None
        fields.append(_field(read.field(name), own))
    return pa.schema(fields)


def _field(read: pa.Field, stated: pa.Field | None) -> pa.Field:
    kind = read.type
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if stated is None:
        return pa.field(read.name, kind)
    wanted = stated.type
    if isinstance(wanted, pa.BaseExtensionType):
        wanted = wanted.storage_type
    if pa.types.is_dictionary(wanted):
        wanted = wanted.value_type
    return pa.field(read.name, wanted, metadata=stated.metadata)


def _crs(column: dict[str, Any]) -> pyproj.CRS:
    # Without a CRS GeoParquet means OGC:CRS84, which is EPSG:4326 with x first.
    stated = column.get("crs")
    return pyproj.CRS.from_json_dict(stated) if stated else pyproj.CRS.from_epsg(4326)


def _union(boxes: Sequence[Sequence[float]]) -> Box | None:
    if not boxes:
        return None
    flat = [(box[0], box[1], box[len(box) // 2], box[len(box) // 2 + 1]) for box in boxes]
    west, south, east, north = zip(*flat, strict=True)
    return min(west), min(south), max(east), max(north)


def _groups(cursor: duckdb.DuckDBPyConnection, listed: str, covering: str | None) -> npt.NDArray[np.float64]:
    stated = covering or ""
    sides = ", ".join(
        f"max(try_cast(coalesce(stats_{name[1:]}_value, stats_{name[1:]}) AS DOUBLE)) "
        f"FILTER (path_in_schema = {text_literal(f'{stated}, {name}')})"
        for name in _CORNERS
    )
    rows = cursor.execute(
        f"SELECT max(row_group_num_rows), sum(total_compressed_size), {sides} FROM parquet_metadata({listed}) "
        "GROUP BY file_name, row_group_id ORDER BY file_name, row_group_id"
    ).fetchall()
    return np.array([[np.nan if value is None else value for value in row] for row in rows], float).reshape(-1, 6)


def column_sql(source: Source, name: str) -> str:
    """Return the SQL of a column: geometry in Parquet's own type becomes WKB."""
    if name == source.geometry and source.sql_types[name].startswith("GEOMETRY"):
        return f"ST_AsWKB({identifier(name)})"
    return identifier(name)
