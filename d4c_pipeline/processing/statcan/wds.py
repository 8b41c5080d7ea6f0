"""Interprets full tables of Statistics Canada's Web Data Service: periods, bilingual members, values, missing values.

A batch of text columns under the source's names goes in; the same rows with typed and translated columns come out, for
the English and the French table alike. Reading the metadata of a table belongs to `cube`.
https://www.statcan.gc.ca/en/developers/csv/user-guide describes the columns.
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
from d4c_pipeline.processing.statcan import codes, french
from d4c_pipeline.processing.statcan.cube import EN, FR, Cube, Dimension, Names
from d4c_pipeline.processing.statcan.descriptions import COLUMNS, described
from d4c_pipeline.processing.statcan.ref_date import period
from d4c_pipeline.processing.statcan.values import numbers, plain
from d4c_pipeline.tables.names import unique_snake_case

_FIXED = (
    "REF_DATE", "GEO", "DGUID", "UOM", "UOM_ID", "SCALAR_FACTOR", "SCALAR_ID", "VECTOR", "COORDINATE", "VALUE",
    "STATUS", "SYMBOL", "TERMINATED", "DECIMALS",
)  # fmt: skip
_Meanings: TypeAlias = "Mapping[str, Names]"
_NEEDED = ("REF_DATE", "COORDINATE", "VALUE", "STATUS")
_WHOLE = {"UOM_ID": pa.int16(), "SCALAR_ID": pa.int8(), "DECIMALS": pa.int8()}
_MOST_EXAMPLES = 5
_ENDS = ("en", "fr")
# Columns in the language of the table; a dimension of the same name must not replace the columns made of them.
_WORDS = ("STATUS", "SYMBOL", "UOM", "SCALAR_FACTOR")


class Table:
    """Interprets one full table: `schema` of the result, `batch` for each batch, `report` after the last batch.

    Several threads may call `batch`; the report does not depend on their order.
    """

    def __init__(
        self,
        attributes: pa.Schema,
        cube: Cube | None,
        *,
        fiscal_year_start: int | None = None,
        units: Mapping[str, str] | None = None,
    ) -> None:
        """`attributes`: the columns as read, all text. `units`: UOM_ID -> name in the other language than the table's.

        Raises DataError when the columns are not those of a full table, or not those of `cube`.
        """
        self._language = FR if french.is_french(attributes.names) else EN
        self._sources: dict[str, str] = {french.COLUMNS.get(name, name): name for name in attributes.names}
        self._names = list(self._sources)
        missing = [name for name in _NEEDED if name not in self._names]
        if missing:
            raise DataError(
                f"Columns of a full table are missing: {', '.join(missing)}; there are {', '.join(attributes.names)}",
                "Use the table's -eng.zip or -fra.zip, declare census: {layout: semi_wide} for 98-10-xxxx, or remove"
                " processing.wds",
            )
        self._cube = cube
        self._fiscal_year_start = fiscal_year_start
        self._units = units
        dimensions = [name for name in self._names if name == "GEO" or name not in _FIXED]
        self._dimension_of = _matched(dimensions, cube, self._language) if cube else {}
        english = [name if name == "GEO" else self._english(name) for name in dimensions]
        taken = [name.lower() for name in _WORDS]
        self._stems = dict(zip(dimensions, unique_snake_case(english, taken=taken), strict=True))
        self._lookups = {name: _lookup(dimension) for name, dimension in self._dimension_of.items()}
        self._status = _meanings(codes.STATUS, cube)
        self._symbol = _meanings(codes.SYMBOL, cube)
        self._periods: dict[str, tuple[dt.date, dt.date] | None] = {}
        self._counts: Counter[str] = Counter()
        self._noting = threading.Lock()
        self._examples: dict[str, set[str]] = {}
        self.schema = pa.schema([field for name in self._names for field in self._fields(name)])

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of `batch` with `schema`. Raises DataError for values of another type."""
        columns = {name: plain(batch.column(self._sources[name])) for name in self._names}
        if self._language == FR:
            columns["VALUE"] = french.with_points(columns["VALUE"])
            columns["STATUS"] = _by_text(columns["STATUS"], lambda text: codes.FRENCH_SYMBOLS.get(text, text))
        columns["VALUE"], in_place = numbers(columns["VALUE"], "VALUE")
        if in_place is not None:
            self._count("symbols_in_value", pc.is_valid(in_place))
            columns["STATUS"] = pc.coalesce(columns["STATUS"], in_place)
        empty = pc.is_null(columns["VALUE"])
        self._count("null_values", empty)
        self._count("null_values_without_status", pc.and_(empty, pc.is_null(columns["STATUS"])))
        members = _members(columns["COORDINATE"], len(self._lookups))
        arrays: list[pa.Array] = []
        for name in self._names:
            arrays += self._made(name, columns, members)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    @property
    def report(self) -> dict[str, Any]:
        """The counts of the batches so far, and up to five examples of each kind of fault."""
        cube = {"cube": self._cube.product_id} if self._cube else {}
        examples = {name: sorted(texts)[:_MOST_EXAMPLES] for name, texts in sorted(self._examples.items())}
        return {**cube, **{name: self._counts[name] for name in sorted(self._counts)}, **examples}

    def _english(self, name: str) -> str:
        dimension = self._dimension_of.get(name)
        return (dimension.names[EN] if dimension else None) or name

    def _fields(self, name: str) -> list[pa.Field]:
        source = self._sources[name]
        if name in self._stems or name in ("UOM", "SCALAR_FACTOR"):
            stem, meaning = self._stems.get(name, name), self._meaning(name)
            return [described(f"{stem}_{_ENDS[at]}", pa.string(), source, *meaning) for at in self._languages(name)]
        kinds: dict[str, pa.DataType] = {"VALUE": pa.float64(), "TERMINATED": pa.bool_(), **_WHOLE}
        fields = [described(name, kinds.get(name, pa.string()), source, *COLUMNS[name])]
        match name:
            case "REF_DATE":
                ends = ("ref_start_date", "ref_end_date")
                fields += [described(end, pa.date32(), source, *COLUMNS[end]) for end in ends]
            case "STATUS" | "SYMBOL":
                ends = (f"{name.lower()}_en", f"{name.lower()}_fr")
                fields += [described(end, pa.string(), source, *COLUMNS[end]) for end in ends]
            case _:
                pass
        return fields

    def _meaning(self, name: str) -> Names:
        if name in COLUMNS and name not in self._dimension_of:
            return COLUMNS[name]
        dimension = self._dimension_of.get(name)
        return dimension.names if dimension else (name, None) if self._language == EN else (None, name)

    def _languages(self, name: str) -> list[int]:
        # The language of the table, and the other language if its texts are known.
        if name in self._stems:
            dimension = self._dimension_of.get(name)
            other = dimension is not None and dimension.names[1 - self._language] is not None
        else:
            other = bool(self._units) if name == "UOM" else "SCALAR_ID" in self._names
        return [EN, FR] if other else [self._language]

    def _made(self, name: str, columns: Mapping[str, pa.Array], members: Sequence[pa.Array]) -> list[pa.Array]:
        column = columns[name]
        if name in self._stems:
            translated = self._translated(name, column, members) if name in self._dimension_of else None
            return self._in_languages(name, column, translated)
        match name:
            case "REF_DATE":
                return [column, *self._spans(column)]
            case "STATUS":
                return [column, *self._explained(column, self._status, "unknown_status")]
            case "SYMBOL":
                return [column, *self._explained(column, self._symbol, "unknown_symbol")]
            case "TERMINATED":
                return [self._flag(column)]
            case "UOM":
                units = self._units or {}
                return self._in_languages(name, column, _worded(columns.get("UOM_ID"), units))
            case "SCALAR_FACTOR":
                words = {str(power): names[1 - self._language] for power, names in codes.SCALAR.items()}
                return self._in_languages(name, _by_text(column, str.strip), _worded(columns.get("SCALAR_ID"), words))
            case "DGUID":
                self._count("rows_without_dguid", pc.is_null(column))
                return [column]
            case "UOM_ID" | "SCALAR_ID" | "DECIMALS":
                return [_whole(column, name)]
            case _:
                return [column]

    def _in_languages(self, name: str, own: pa.Array, other: pa.Array | None) -> list[pa.Array]:
        languages = self._languages(name)
        if other is None or len(languages) == 1:
            return [own]
        return [own, other] if self._language == EN else [other, own]

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
        # Translates members; a member whose name differs from that of the metadata is reported as renamed.
        dimension, (positions, names) = self._dimension_of[name], self._lookups[name]
        filled = pc.fill_null(members[dimension.position - 1], 0).to_numpy(zero_copy_only=False)
        at = positions[np.clip(filled, 0, len(positions) - 1)]
        place = pa.array(at, mask=at < 0)
        unknown = pc.is_null(place)
        self._trouble("members_unknown", column.filter(unknown), unknown)
        renamed = pc.fill_null(pc.not_equal(names[self._language].take(place), column), fill_value=False)
        self._trouble("members_renamed", column.filter(renamed), renamed)
        return names[1 - self._language].take(place)

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
                "Check the file of the source",
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


def _matched(columns: Sequence[str], cube: Cube, language: int) -> dict[str, Dimension]:
    # Columns have the names of their dimensions, except the geography, which is GEO.
    by_name = {(dimension.names[language] or "").casefold(): dimension for dimension in cube.dimensions}
    found = {name: by_name.pop(name.strip().casefold()) for name in columns if name.strip().casefold() in by_name}
    if "GEO" in columns and "GEO" not in found and len(by_name) == 1:
        found["GEO"] = by_name.popitem()[1]
    if by_name or len(found) != len(columns):
        known = ", ".join(each.names[language] or "?" for each in cube.dimensions)
        raise DataError(
            f"The cube metadata have the dimensions {known}, the table the columns {', '.join(columns)}",
            "Fetch metadata and data on the same day",
        )
    return found


def _lookup(dimension: Dimension) -> tuple[np.ndarray[Any, Any], tuple[pa.Array, pa.Array]]:
    # Member id -> position in the names (English, French), -1 for an unknown id. No member has the id 0.
    positions = np.full(max(dimension.members, default=0) + 2, -1, np.int32)
    for position, member in enumerate(dimension.members):
        positions[member] = position
    names = list(dimension.members.values())
    return positions, (pa.array([en for en, _ in names], pa.string()), pa.array([fr for _, fr in names], pa.string()))


def _members(coordinate: pa.Array, depth: int) -> list[pa.Array]:
    # Member ids of each dimension, in the order of the dimensions; each distinct coordinate is split once. A coordinate
    # with too few parts has no members.
    encoded = coordinate.dictionary_encode()
    complete = pc.greater_equal(pc.count_substring(encoded.dictionary, "."), depth - 1)
    parts = pc.split_pattern(pc.if_else(complete, encoded.dictionary, pa.scalar(None, pa.string())), ".")
    try:
        ids = [pc.list_element(parts, n).cast(pa.int32()) for n in range(depth)]
    except pa.ArrowInvalid as error:
        raise DataError(
            f"COORDINATE has a value that is not member numbers separated by points: {error}",
            "Check the file of the source",
        ) from error
    return [each.take(encoded.indices) for each in ids]


def _meanings(known: Mapping[str, Names], cube: Cube | None) -> dict[str, Names]:
    # The table's legend takes precedence: it may have symbols that the code sets lack.
    legend = cube.legend if cube else {}
    out: dict[str, Names] = {}
    for symbol in (*known, *legend):
        (en, fr), (code_en, code_fr) = legend.get(symbol, (None, None)), known.get(symbol, (None, None))
        out[symbol] = en or code_en, fr or code_fr
    return out


def _worded(numbers: pa.Array | None, words: Mapping[str, str]) -> pa.Array | None:
    return None if numbers is None else _by_text(numbers, words.get)


def _by_text(column: pa.Array, change: Any) -> pa.Array:
    encoded = column.dictionary_encode()
    changed = pa.array([change(text) or None for text in encoded.dictionary.to_pylist()], pa.string())
    return changed.take(encoded.indices)


def _whole(column: pa.Array, name: str) -> pa.Array:
    try:
        return column.cast(_WHOLE[name])
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{name} has a value that is not a small number: {error}", "Check the file of the source"
        ) from error
