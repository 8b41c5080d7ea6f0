"""Finds every row that differs between two states of a dataset and writes them, with both values, to one Parquet file.

Rows are matched by the key where both states have the same one and it identifies their rows; else whole rows are
compared, and a changed row is one removed and one added. Proving the result belongs to `apply`.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline import geoparquet
from d4c_pipeline.files.scratch import disk_trouble, put_in_place
from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.model.differences import ColumnRenamed
from d4c_pipeline.model.outputs import Partition
from d4c_pipeline.model.provinces import CODED_COLUMNS, province_of
from d4c_pipeline.model.provinces import COLUMNS as PROVINCE_COLUMNS
from d4c_pipeline.model.provinces import NAMES as PROVINCE_NAMES
from d4c_pipeline.processing.changes.recipe import METADATA_KEY, ColumnOrigin, DataFile, Recipe, later_schema
from d4c_pipeline.processing.compare import Described, both_opened, identifies, same_key, schema_differences
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline.tables.sql_names import identifier

ADDED, REMOVED, MODIFIED, RESHAPED, EXTENDED = "added", "removed", "modified", "geometry_modified", "extended"
KINDS = (ADDED, REMOVED, MODIFIED, RESHAPED, EXTENDED)

# No column of a dataset has a colon in its name.
_ROW = identifier("d4c:row")
_SHAPES = ("d4c:earlier", "d4c:later")
_PLACES = "d4c:places"
_NUMBER = r"^\s*[-+]?\pN+(?:[.,]\pN*)?\s*$"
_GROUP_ROWS = 65_536
_DIGITS_OF_64_BITS = 18
_WRITING: dict[str, Any] = {
    "version": "2.6",
    "data_page_version": "1.0",
    "compression": "zstd",
    "compression_level": 3,
    "store_schema": True,
}


@dataclass(frozen=True)
class Found:
    """The written file of changes, with its recipe and the number of rows that changed in each column.

    `by_province`: changed rows by the code of the province that they lie in now (removed rows: before), "" for those in
    none; empty where no changed row has a province.
    """

    path: Path
    recipe: Recipe
    by_column: dict[str, int]
    by_province: dict[str, int]


@dataclass(frozen=True)
class _Pair:
    """A later column; `earlier`: its name there, None if not carried; `old`, `new`: SQL of the values to compare."""

    name: str
    earlier: str | None
    old: str
    new: str
    floating: bool = False
    wide: bool = False

    @property
    def differs(self) -> str:
        """SQL: whether a matched row differs in this column. 0.0 and -0.0 are equal as numbers, not as bytes."""
        test = f"{self.old} IS DISTINCT FROM {self.new}"
        return f"({test} OR signbit({self.old}) IS DISTINCT FROM signbit({self.new}))" if self.floating else test

    def hashed(self, side: str) -> str:
        """SQL: the arguments of the row's hash that this column adds."""
        value = self.old if side == "o" else self.new
        if self.wide:  # the text tells apart what DuckDB's hash does not
            return f"{value}, {value}::VARCHAR"
        return f"{value}, signbit({value})" if self.floating else value


def find(
    earlier: Files,
    later: Files,
    into: Path,
    *,
    cut: Partition | None = None,
    names: tuple[Sequence[str], Sequence[str]] | None = None,
    threads: int | None = None,
    memory_limit: str | None = None,
    temp: Path | None = None,
) -> Found:
    """Write the changes from the data files `earlier` to `later` to the file `into`, replaced atomically.

    One row for each row that was `added`, `removed`, `modified`, `geometry_modified` (nothing but its shape) or
    `extended` (nothing but columns that the earlier state lacks): `kind`, `columns` (those that changed), `row` (its
    number in the earlier files, from 0, in the order of the recipe), `key`, `old` and `new` with the values of changed
    columns, and `bbox` of both shapes in the CRS of the data. `cut`: the partition that the later files were written
    with; `names`: names of the earlier and the later files, where those on disk are others. The bytes depend on the
    files only. Raises DataError for files that d4c did not write.
    """
    old, new = Described.of(earlier), Described.of(later)
    schema = later_schema(later)
    called = names or ([path.name for path in listed(earlier)], [path.name for path in listed(later)])
    before = tuple(DataFile.read(path, name) for path, name in zip(listed(earlier), called[0], strict=True))
    now = tuple(DataFile.read(path, name) for path, name in zip(listed(later), called[1], strict=True))
    pairs = _pairs(old, new)
    kinds, columns, provinces = Counter[str](), Counter[str](), Counter[str]()
    with (
        tempfile.TemporaryDirectory(prefix=f".{into.stem}-", dir=temp or into.parent) as work,
        disk_trouble(Path(work)),
        both_opened(earlier, later, threads=threads, memory_limit=memory_limit, temp=temp) as connection,
    ):
        _number_rows(connection, "o", listed(earlier), before)
        _number_rows(connection, "n", listed(later), now)
        key = _key(connection, old, new)
        _match(connection, [pair for pair in pairs if pair.name not in key], key)
        reader = _changed(connection, old, new, pairs, key)
        with pq.ParquetWriter(Path(work) / into.name, _published(reader.schema), **_WRITING) as writer:
            for found in _groups(reader):
                provinces.update(_provinces(found.column(_PLACES)))
                table = _boxed(found.drop_columns([_PLACES]))
                kinds.update(table.column("kind").to_pylist())
                columns.update(table.column("columns").combine_chunks().flatten().to_pylist())
                writer.write_table(table, row_group_size=_GROUP_ROWS)
            recipe = Recipe(
                earlier=before,
                later=now,
                columns=tuple(ColumnOrigin(pair.name, pair.earlier) for pair in pairs),
                key=key,
                counts={kind: kinds[kind] for kind in KINDS if kinds[kind]},
                schema=schema,
                cut=cut,
            )
            writer.add_key_value_metadata({METADATA_KEY: recipe.to_bytes()})
        put_in_place(Path(work) / into.name, into)
    by_column = {name: columns[name] for name in new.types if columns[name]}
    return Found(into, recipe, by_column, dict(sorted(provinces.items())) if any(provinces) else {})


def _provinces(places: pa.ChunkedArray) -> Counter[str]:
    """Return the number of rows of each province, "" for none, from lists of values that are all of one length."""
    values = places.combine_chunks().flatten().to_pylist()
    width = len(values) // len(places) if values else 0
    found = Counter[str]()
    # Each combination is read once, and none is kept: a DGUID may be another in every row.
    rows = zip(*[iter(values)] * width, strict=True) if width else [()] * len(places)
    for row, count in Counter(rows).items():
        found[province_of(row) or ""] += count
    return found


def _pairs(old: Described, new: Described) -> list[_Pair]:
    renamed = {each.now: each.before for each in schema_differences(old, new) if isinstance(each, ColumnRenamed)}
    return [_pair(name, renamed.get(name, name), old, new) for name in new.types]


def _pair(name: str, before: str, old: Described, new: Described) -> _Pair:
    later, kind = f"n.{identifier(name)}", new.types[name]
    known = old.types.get(before)
    other_place = name == new.geometry and (old.geometry != name or old.crs != new.crs)
    wide = _common_type(known, kind) if known is not None and not other_place else None
    if known is None or wide is None:
        # The earlier values say nothing about these: every value that is not null is new.
        return _Pair(name, None, "NULL::INTEGER", f"CASE WHEN {later} IS NOT NULL THEN 1 END")
    earlier = f"o.{identifier(before)}"
    if known == kind:
        return _Pair(name, before, earlier, later, pa.types.is_floating(kind), _is_hashed_badly(kind))
    return _Pair(name, before, f"{earlier}::{wide}", f"{later}::{wide}", pa.types.is_floating(kind))


def _is_hashed_badly(kind: pa.DataType) -> bool:
    """Return whether DuckDB stores a type, or one within it, in 128 bits: its hash is that of both halves XORed.

    0 and -1 then have one hash, as have 1 and 2 ** 64. These are decimals of more than 18 digits.
    """
    if pa.types.is_decimal(kind):
        return kind.precision > _DIGITS_OF_64_BITS
    return any(_is_hashed_badly(kind.field(number).type) for number in range(kind.num_fields))


def _common_type(before: pa.DataType, now: pa.DataType) -> str | None:
    """Return DuckDB's type in which two types compare without loss, None if none carries values from one to the other.

    Where the later type is narrower, values beyond it differ from all its values, so that `apply` replaces them.
    """
    if before == now:
        return str(now)
    if pa.types.is_integer(before) and pa.types.is_integer(now):
        # Never HUGEINT: DuckDB's hash of it is the same for 0 and -1.
        return "VARCHAR" if pa.types.is_uint64(before) or pa.types.is_uint64(now) else "BIGINT"
    if pa.types.is_floating(now) and (pa.types.is_floating(before) or pa.types.is_integer(before)):
        return "DOUBLE"
    return None


def _number_rows(
    connection: duckdb.DuckDBPyConnection, view: str, paths: Sequence[Path], files: Sequence[DataFile]
) -> None:
    """Make a view of the rows with their number over all files, from 0."""
    selects: list[str] = []
    first = 0
    for path, file in zip(paths, files, strict=True):
        source = duckdb_engine.parquet(path).removesuffix(")") + ", file_row_number = true)"
        selects.append(f"SELECT * EXCLUDE (file_row_number), file_row_number + {first} AS {_ROW} FROM {source}")
        first += file.rows
    connection.execute(f"CREATE VIEW {view} AS {' UNION ALL '.join(selects)}")


def _key(connection: duckdb.DuckDBPyConnection, old: Described, new: Described) -> tuple[str, ...]:
    """Return the key by which rows match; empty where the states have none in common or it does not identify rows."""
    key = new.key
    if not key or key != old.key or any(old.types.get(name) != new.types.get(name) for name in key):
        return ()
    return key if all(identifies(connection, key, view) for view in ("d4c_previous", "d4c_new")) else ()


def _match(connection: duckdb.DuckDBPyConnection, pairs: Sequence[_Pair], key: Sequence[str]) -> None:
    """Make the table `pairs` of row numbers: rows that differ, and rows of one side (the other number is null).

    Hashes of 64 bits stand for the values: two matched rows that differ are taken for equal once in 10^19, and then
    `apply` does not find the later files.
    """
    names = "".join(f", {identifier(name)}" for name in key)
    for side in ("o", "n"):
        values = ", ".join(pair.hashed(side) for pair in pairs) or "0"
        connection.execute(
            f"CREATE TEMP TABLE hash_{side} AS SELECT {_ROW} AS row{names}, hash({values}) AS h FROM {side}"
        )
    if key:
        connection.execute(
            "CREATE TEMP TABLE pairs AS SELECT p.row AS o, n.row AS n FROM hash_o p FULL JOIN hash_n n"
            f" ON {same_key(key)} WHERE p.h IS DISTINCT FROM n.h"
        )
        return
    # Only values that occur more or less often than before are counted out, row by row.
    connection.execute(
        "CREATE TEMP TABLE uneven AS SELECT h FROM (SELECT h, count(*) AS c FROM hash_o GROUP BY h) AS o"
        " FULL JOIN (SELECT h, count(*) AS c FROM hash_n GROUP BY h) AS n USING (h) WHERE o.c IS DISTINCT FROM n.c"
    )
    for side in ("o", "n"):
        connection.execute(
            f"CREATE TEMP VIEW counted_{side} AS SELECT row, h, row_number() OVER (PARTITION BY h ORDER BY row) AS nth"
            f" FROM hash_{side} WHERE h IN (SELECT h FROM uneven)"
        )
    connection.execute(
        "CREATE TEMP TABLE pairs AS SELECT o.row AS o, n.row AS n FROM counted_o AS o FULL JOIN counted_n AS n"
        " USING (h, nth) WHERE o.row IS NULL OR n.row IS NULL"
    )


def _changed(
    connection: duckdb.DuckDBPyConnection,
    old: Described,
    new: Described,
    pairs: Sequence[_Pair],
    key: Sequence[str],
) -> pa.RecordBatchReader:
    """Return the changed rows in the order of their earlier number, those added last, with the shapes of both sides."""
    for side in ("o", "n"):
        connection.execute(
            f"CREATE TEMP TABLE changed_{side} AS SELECT * FROM {side} WHERE {_ROW} IN (SELECT {side} FROM pairs)"
        )
    gone, come = "pairs.n IS NULL", "pairs.o IS NULL"
    differing = [f"CASE WHEN NOT ({gone} OR {come}) AND ({pair.differs}) THEN {_text(pair.name)} END" for pair in pairs]
    earlier_pairs = {pair.earlier or pair.name: pair for pair in pairs}
    values = {
        "columns": f"list_filter([{', '.join(differing)}]::VARCHAR[], lambda name: name IS NOT NULL)",
        "row": "pairs.o",
        **(
            {"key": _packed(f"{identifier(n)} := coalesce(n.{identifier(n)}, o.{identifier(n)})" for n in key)}
            if key
            else {}
        ),
        "old": _packed((_shown("o", name, gone, earlier_pairs.get(name)) for name in old.types), unless=come),
        "new": _packed((_shown("n", pair.name, come, pair) for pair in pairs), unless=gone),
        **(_shapes(old, new) if old.geometry or new.geometry else {}),
        _PLACES: _places(connection, old, new),
    }
    selected = ", ".join(f"{value} AS {identifier(name)}" for name, value in values.items())
    new_columns = ", ".join(_text(name) for name in new.types if name not in old.types)
    kind = (
        f"CASE WHEN later IS NULL THEN {_text(REMOVED)} WHEN row IS NULL THEN {_text(ADDED)}"
        f" WHEN columns = [{_text(new.geometry or '')}] THEN {_text(RESHAPED)}"
        f" WHEN list_has_all([{new_columns}]::VARCHAR[], columns) THEN {_text(EXTENDED)} ELSE {_text(MODIFIED)} END"
    )
    return connection.execute(
        f"SELECT {kind} AS kind, * EXCLUDE (later) FROM (SELECT {selected}, pairs.n AS later FROM pairs"
        f" LEFT JOIN changed_o o ON o.{_ROW} = pairs.o LEFT JOIN changed_n n ON n.{_ROW} = pairs.n)"
        " ORDER BY row NULLS LAST, later"
    ).to_arrow_reader(_GROUP_ROWS)


def _shapes(old: Described, new: Described) -> dict[str, str]:
    """Return SQL of the geometry of both sides; none of the earlier one where its CRS is another."""
    earlier = f"o.{identifier(old.geometry)}" if old.geometry and (old.crs == new.crs or not new.geometry) else None
    later = f"n.{identifier(new.geometry)}" if new.geometry else None
    return dict(zip(_SHAPES, (earlier or "NULL::BLOB", later or "NULL::BLOB"), strict=True))


def _places(connection: duckdb.DuckDBPyConnection, old: Described, new: Described) -> str:
    """Return SQL of the values of columns that may name the province of a row, those of the later state first."""
    values: list[str] = []
    for name in PROVINCE_COLUMNS:
        sides = [side for side, state in (("n", new), ("o", old)) if name in state.types]
        if sides:
            value = f"coalesce({', '.join(f'{side}.{identifier(name)}::VARCHAR' for side in sides)})"
            own = name not in CODED_COLUMNS and _has_own_numbers(connection, name, sides)
            values.append(f"CASE WHEN NOT regexp_matches({value}, {_text(_NUMBER)}) THEN {value} END" if own else value)
    return f"[{', '.join(values)}]::VARCHAR[]"


def _has_own_numbers(connection: duckdb.DuckDBPyConnection, name: str, sides: Sequence[str]) -> bool:
    """Return whether a column has a number, in any row of either state, that is no province's code.

    Its numbers are a publisher's own then (1 to 13), of which 10 to 13 only look like provinces.
    """
    both = " UNION ALL ".join(
        f"SELECT {identifier(name)}::VARCHAR AS v FROM (SELECT DISTINCT {identifier(name)} FROM {side})"
        for side in sides
    )
    codes = ", ".join(_text(code) for code in PROVINCE_NAMES)
    found = connection.execute(
        f"SELECT 1 FROM ({both}) WHERE trim(v) NOT IN ({codes}) AND regexp_matches(v, {_text(_NUMBER)}) LIMIT 1"
    )
    return found.fetchone() is not None


def _packed(fields: Iterable[str], *, unless: str | None = None) -> str:
    packed = f"struct_pack({', '.join(fields)})"
    return packed if unless is None else f"CASE WHEN NOT ({unless}) THEN {packed} END"


def _shown(side: str, name: str, alone: str, pair: _Pair | None) -> str:
    value = f"{side}.{identifier(name)}"
    test = alone if pair is None else f"{alone} OR {pair.differs}"
    return f"{identifier(name)} := CASE WHEN {test} THEN {value} END"


def _text(text: str) -> str:
    return duckdb_engine.text_literal(text)


def _groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Yield tables of the rows of one row group: where DuckDB cuts its batches is no property of the data."""
    held: list[pa.RecordBatch] = []
    for batch in reader:
        held.append(batch)
        while sum(each.num_rows for each in held) >= _GROUP_ROWS:
            table = pa.Table.from_batches(held)
            yield table.slice(0, _GROUP_ROWS)
            held = table.slice(_GROUP_ROWS).to_batches()
    if held:
        yield pa.Table.from_batches(held)


def _published(schema: pa.Schema) -> pa.Schema:
    """Return the schema of the file: the shapes of both sides become one box."""
    fields = [field for field in schema if field.name not in (*_SHAPES, _PLACES)]
    boxed = _SHAPES[0] in schema.names
    return pa.schema([*fields, pa.field("bbox", geoparquet.covering(np.empty((0, 4))).type)] if boxed else fields)


def _boxed(table: pa.Table) -> pa.Table:
    if _SHAPES[0] not in table.schema.names:
        return table
    import shapely  # noqa: PLC0415 - tables do not need GEOS

    sides = [
        shapely.bounds(shapely.from_wkb(table.column(name).combine_chunks().to_numpy(zero_copy_only=False)))
        for name in _SHAPES
    ]
    low = np.fmin(sides[0][:, :2], sides[1][:, :2])
    high = np.fmax(sides[0][:, 2:], sides[1][:, 2:])
    boxes = geoparquet.covering(np.hstack([low, high]))
    return table.drop_columns(list(_SHAPES)).append_column("bbox", boxes)
