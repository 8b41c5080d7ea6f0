"""Full tables of Statistics Canada's Web Data Service: periods, bilingual members, exact values, reasons for gaps.

A batch of text columns under the source's names goes in, the same rows with their meaning come out; metadata of the
table are read in `cube`. https://www.statcan.gc.ca/en/developers/csv/user-guide describes the columns.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.names import unique_snake_case
from d4c_pipeline.processing.statcan import codes
from d4c_pipeline.processing.statcan.cube import Cube, Dimension
from d4c_pipeline.processing.statcan.descriptions import COLUMNS, described
from d4c_pipeline.processing.statcan.ref_date import period
from d4c_pipeline.processing.statcan.values import numbers, plain

_FIXED = (
    "REF_DATE", "GEO", "DGUID", "UOM", "UOM_ID", "SCALAR_FACTOR", "SCALAR_ID", "VECTOR", "COORDINATE", "VALUE",
    "STATUS", "SYMBOL", "TERMINATED", "DECIMALS",
)  # fmt: skip
_Meanings: TypeAlias = "Mapping[str, tuple[str, str | None]]"
_NEEDED = ("REF_DATE", "COORDINATE", "VALUE", "STATUS")
_WHOLE = {"UOM_ID": pa.int16(), "SCALAR_ID": pa.int8(), "DECIMALS": pa.int8()}
_MOST_EXAMPLES = 5


class Table:
    """One full table on its way: `schema` of what comes out, `batch` for each batch, `report` afterwards.

    Threads may take batches at a time; the report does not depend on their order.
    """

    def __init__(self, attributes: pa.Schema, cube: Cube | None, *, fiscal_year_start: int | None = None) -> None:
        """`attributes`: the columns as read, all text. Raises DataError when they are not those of a full table."""
        missing = [name for name in _NEEDED if name not in attributes.names]
        if missing:
            raise DataError(
                f"Columns of a full table are missing: {', '.join(missing)}; there are {', '.join(attributes.names)}",
                "Take the table's -eng.zip, or leave out processing.wds",
            )
        self._cube = cube
        self._fiscal_year_start = fiscal_year_start
        self._names = attributes.names
        dimensions = [name for name in self._names if name == "GEO" or name not in _FIXED]
        self._dimension_of = _matched(dimensions, cube) if cube else {}
        # A dimension called Status must not take the name of the meaning of STATUS.
        self._stems = dict(zip(dimensions, unique_snake_case(dimensions, taken=("status", "symbol")), strict=True))
        self._french = {name: _lookup(dimension) for name, dimension in self._dimension_of.items()}
        self._status = _meanings(codes.STATUS, cube)
        self._symbol = _meanings(codes.SYMBOL, cube)
        self._periods: dict[str, tuple[dt.date, dt.date] | None] = {}
        self._counts: Counter[str] = Counter()
        self._noting = threading.Lock()
        self._examples: dict[str, set[str]] = {}
        self.schema = pa.schema([field for name in self._names for field in self._fields(name)])

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of `batch` under `schema`. Raises DataError for values that can't be what they should."""
        columns = {name: plain(batch.column(name)) for name in self._names}
        columns["VALUE"], in_place = numbers(columns["VALUE"], "VALUE")
        if in_place is not None:
            self._count("symbols_in_value", pc.is_valid(in_place))
            columns["STATUS"] = pc.coalesce(columns["STATUS"], in_place)
        empty = pc.is_null(columns["VALUE"])
        self._count("null_values", empty)
        self._count("null_values_without_status", pc.and_(empty, pc.is_null(columns["STATUS"])))
        members = _members(columns["COORDINATE"], len(self._french))
        arrays: list[pa.Array] = []
        for name in self._names:
            arrays += self._made(name, columns[name], members)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    @property
    def report(self) -> dict[str, Any]:
        """What was noticed in the batches so far: counts, and up to five examples of each kind of trouble."""
        cube = {"cube": self._cube.product_id} if self._cube else {}
        examples = {name: sorted(texts)[:_MOST_EXAMPLES] for name, texts in sorted(self._examples.items())}
        return {**cube, **{name: self._counts[name] for name in sorted(self._counts)}, **examples}

    def _fields(self, name: str) -> list[pa.Field]:
        if name in self._stems:
            return self._dimension_fields(name)
        kinds: dict[str, pa.DataType] = {"VALUE": pa.float64(), "TERMINATED": pa.bool_(), **_WHOLE}
        fields = [described(name, kinds.get(name, pa.string()), name, *COLUMNS[name])]
        match name:
            case "REF_DATE":
                ends = ("ref_start_date", "ref_end_date")
                fields += [described(end, pa.date32(), name, *COLUMNS[end]) for end in ends]
            case "STATUS" | "SYMBOL":
                ends = (f"{name.lower()}_en", f"{name.lower()}_fr")
                fields += [described(end, pa.string(), name, *COLUMNS[end]) for end in ends]
            case _:
                pass
        return fields

    def _dimension_fields(self, name: str) -> list[pa.Field]:
        stem, dimension = self._stems[name], self._dimension_of.get(name)
        if dimension is None:
            return [described(f"{stem}_en", pa.string(), name, *(COLUMNS["GEO"] if name == "GEO" else (name, None)))]
        names = (dimension.en, dimension.fr)
        if dimension.fr is None:
            return [described(f"{stem}_en", pa.string(), name, *names)]
        return [described(f"{stem}_{end}", pa.string(), name, *names) for end in ("en", "fr")]

    def _made(self, name: str, column: pa.Array, members: Sequence[pa.Array]) -> list[pa.Array]:
        if name in self._stems:
            dimension = self._dimension_of.get(name)
            if dimension is None or dimension.fr is None:
                return [column]
            return [column, self._translated(name, column, members)]
        match name:
            case "REF_DATE":
                return [column, *self._spans(column)]
            case "STATUS":
                return [column, *self._explained(column, self._status, "unknown_status")]
            case "SYMBOL":
                return [column, *self._explained(column, self._symbol, "unknown_symbol")]
            case "TERMINATED":
                return [self._flag(column)]
            case "SCALAR_FACTOR":
                return [_by_text(column, str.strip)]
            case "DGUID":
                self._count("rows_without_dguid", pc.is_null(column))
                return [column]
            case "UOM_ID" | "SCALAR_ID" | "DECIMALS":
                return [_whole(column, name)]
            case _:
                return [column]

    def _spans(self, column: pa.Array) -> list[pa.Array]:
        encoded = column.dictionary_encode()
        texts: list[str] = encoded.dictionary.to_pylist()
        frequency = self._cube.frequency if self._cube else None
        for text in texts:
            if text not in self._periods:
                self._periods[text] = period(text, frequency=frequency, fiscal_year_start=self._fiscal_year_start)
        bad = pa.array([text for text in texts if self._periods[text] is None], pa.string())
        self._trouble("bad_ref_dates", bad, pc.is_in(column, bad))
        spans = [self._periods[text] or (None, None) for text in texts]
        return [pa.array([span[end] for span in spans], pa.date32()).take(encoded.indices) for end in (0, 1)]

    def _translated(self, name: str, column: pa.Array, members: Sequence[pa.Array]) -> pa.Array:
        dimension, (positions, english, french) = self._dimension_of[name], self._french[name]
        filled = pc.fill_null(members[dimension.position - 1], 0).to_numpy(zero_copy_only=False)
        at = positions[np.clip(filled, 0, len(positions) - 1)]
        place = pa.array(at, mask=at < 0)
        unknown = pc.is_null(place)
        self._trouble("members_unknown", column.filter(unknown), unknown)
        renamed = pc.fill_null(pc.not_equal(english.take(place), column), fill_value=False)
        self._trouble("members_renamed", column.filter(renamed), renamed)
        return french.take(place)

    def _explained(self, column: pa.Array, meanings: _Meanings, trouble: str) -> list[pa.Array]:
        if column.null_count == len(column):
            return [column, column]
        encoded = column.dictionary_encode()
        symbols: list[str] = encoded.dictionary.to_pylist()
        unknown = pa.array([symbol for symbol in symbols if symbol.strip() not in meanings], pa.string())
        self._trouble(trouble, unknown, pc.is_in(column, unknown))
        texts = [meanings.get(symbol.strip(), (None, None)) for symbol in symbols]
        return [pa.array([text[end] for text in texts], pa.string()).take(encoded.indices) for end in (0, 1)]

    def _flag(self, column: pa.Array) -> pa.Array:
        other = column.filter(pc.not_equal(column, "t"))
        if len(other):
            raise DataError(
                f"TERMINATED has values other than t: {', '.join(pc.unique(other).slice(0, 3).to_pylist())}",
                "Look at what the source delivers",
            )
        return pc.is_valid(column)

    def _count(self, name: str, rows: pa.Array) -> None:
        count = pc.sum(rows).as_py() or 0
        with self._noting:
            self._counts[name] += count

    def _trouble(self, name: str, texts: pa.Array, rows: pa.Array) -> None:
        if len(texts):
            self._count(name, rows)
            found = pc.unique(texts.drop_null()).to_pylist()
            with self._noting:
                self._examples.setdefault(f"{name}_examples", set()).update(found)


def _matched(columns: Sequence[str], cube: Cube) -> dict[str, Dimension]:
    # Dimensions stand under their own names but for the geography, which is GEO.
    by_name = {dimension.en.casefold(): dimension for dimension in cube.dimensions}
    found = {name: by_name.pop(name.strip().casefold()) for name in columns if name.strip().casefold() in by_name}
    if "GEO" in columns and "GEO" not in found and len(by_name) == 1:
        found["GEO"] = by_name.popitem()[1]
    if by_name or len(found) != len(columns):
        raise DataError(
            f"The cube metadata have the dimensions {', '.join(each.en for each in cube.dimensions)}, the table the"
            f" columns {', '.join(columns)}",
            "Take metadata and data of the same day",
        )
    return found


def _lookup(dimension: Dimension) -> tuple[np.ndarray[Any, Any], pa.Array, pa.Array]:
    # Member id -> position in the names, -1 for an id that there is not (0 is none's).
    positions = np.full(max(dimension.members, default=0) + 2, -1, np.int32)
    for position, member in enumerate(dimension.members):
        positions[member] = position
    names = list(dimension.members.values())
    return positions, pa.array([en for en, _ in names], pa.string()), pa.array([fr for _, fr in names], pa.string())


def _members(coordinate: pa.Array, depth: int) -> list[pa.Array]:
    # Member ids of each dimension, in the order of the dimensions; taken apart once per distinct coordinate. One with
    # too few parts names no members.
    encoded = coordinate.dictionary_encode()
    whole = pc.greater_equal(pc.count_substring(encoded.dictionary, "."), depth - 1)
    parts = pc.split_pattern(pc.if_else(whole, encoded.dictionary, pa.scalar(None, pa.string())), ".")
    try:
        ids = [pc.list_element(parts, n).cast(pa.int32()) for n in range(depth)]
    except pa.ArrowInvalid as error:
        raise DataError(
            f"COORDINATE has a value that is not member numbers with points between them: {error}",
            "Look at what the source delivers",
        ) from error
    return [each.take(encoded.indices) for each in ids]


def _meanings(known: Mapping[str, tuple[str, str]], cube: Cube | None) -> dict[str, tuple[str, str | None]]:
    # The table's own legend first: it may have symbols that the code sets don't.
    legend = dict(cube.legend) if cube else {}
    out: dict[str, tuple[str, str | None]] = {symbol: (text, None) for symbol, text in legend.items()}
    return out | {symbol: (legend.get(symbol, en), fr) for symbol, (en, fr) in known.items()}


def _by_text(column: pa.Array, change: Any) -> pa.Array:
    encoded = column.dictionary_encode()
    changed = pa.array([change(text) or None for text in encoded.dictionary.to_pylist()], pa.string())
    return changed.take(encoded.indices)


def _whole(column: pa.Array, name: str) -> pa.Array:
    try:
        return column.cast(_WHOLE[name])
    except pa.ArrowInvalid as error:
        raise DataError(f"{name} has a value that is not a small number: {error}", "Look at the source") from error
