"""Statistics Canada's census files, in which a column of symbols stands beside every column of values.

Two layouts: the Census Profile (one row per geography and characteristic) and the semi-wide tables 98-10-xxxx (one row
per geography, a column per member of the last dimension). No real file of either is among the fixtures; what is assumed
is the published layout: the columns listed in the profile's README_meta.txt, and `<dimension> (<n>): <member> [<n>]`
followed by `Symbols` in the semi-wide tables. https://www.statcan.gc.ca/en/developers/csv/user-guide
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.names import snake_case, unique_snake_case
from d4c_pipeline.processing.statcan import codes
from d4c_pipeline.processing.statcan.descriptions import described
from d4c_pipeline.processing.statcan.values import numbers, plain

# A reader suffixes the second column of the same name with _2.
_SYMBOLS = re.compile(r"symbols?(_\d+)?", re.IGNORECASE)
_PROFILE_VALUE = re.compile(r"C\d+_(?P<name>.+)")
_MEMBER_VALUE = re.compile(r"(?P<dimension>.+?) ?\(\d+[A-Z]?\): ?(?P<member>.+?) ?\[(?P<id>\d+)\]")
_LEVEL = "characteristic_level"
_CHARACTERISTIC = "CHARACTERISTIC_NAME"
# Two spaces an indentation: the only place where the profile says what is part of what.
_INDENT = 2


@dataclass(frozen=True)
class _Value:
    value: str  # column of the value
    symbol: str | None  # column of its symbol
    name: str  # output name
    meaning: str  # in English


class Table:
    """One census file on its way: `schema` of what comes out, `batch` for each batch, `report` afterwards.

    Threads may take batches at a time; the report does not depend on their order.
    """

    def __init__(self, attributes: pa.Schema, layout: Literal["profile", "semi_wide"]) -> None:
        """`attributes`: the columns as read, all text. Raises DataError when they are not those of the layout."""
        self._names = attributes.names
        self._values = {value.value: value for value in _values(self._names, layout)}
        if not self._values:
            raise DataError(
                f"No column looks like a value of a census file in the layout {layout}; there are"
                f" {', '.join(self._names[:20])}",
                "Correct processing.census.layout",
            )
        self._symbols = {value.symbol for value in self._values.values() if value.symbol}
        self._legend_en = _legend(0)
        self._legend_fr = _legend(1)
        self._counts: Counter[str] = Counter()
        self._noting = threading.Lock()
        self._unknown: set[str] = set()
        self.schema = pa.schema([field for name in self._names for field in self._fields(name)])

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of `batch` under `schema`. Raises DataError for values that are no numbers."""
        arrays: list[pa.Array] = []
        for name in self._names:
            if name in self._symbols:
                continue
            column = plain(batch.column(name))
            if name in self._values:
                arrays += self._valued(self._values[name], column, batch)
            elif name == _CHARACTERISTIC:
                arrays += _levelled(column)
            else:
                arrays.append(column)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    @property
    def report(self) -> dict[str, Any]:
        """Counts of null values, of those without a symbol, and of symbols that are not known."""
        unknown = {"unknown_symbols_examples": sorted(self._unknown)[:5]} if self._unknown else {}
        return {**{name: self._counts[name] for name in sorted(self._counts)}, **unknown}

    def _fields(self, name: str) -> list[pa.Field]:
        if name in self._symbols:
            return []
        if name == _CHARACTERISTIC:
            level = (
                "Depth of the characteristic in the hierarchy, from 0",
                "Niveau de la caractéristique, à partir de 0",
            )
            return [pa.field(name, pa.string()), described(_LEVEL, pa.int8(), name, *level)]
        if name not in self._values:
            return [pa.field(name, pa.string())]
        value = self._values[name]
        return [
            described(value.name, pa.float64(), name, value.meaning, None),
            described(f"{value.name}_symbol", pa.string(), value.symbol, self._legend_en, self._legend_fr),
        ]

    def _valued(self, value: _Value, column: pa.Array, batch: pa.RecordBatch) -> list[pa.Array]:
        numeric, in_place = numbers(column, value.value)
        symbol = plain(batch.column(value.symbol)) if value.symbol else pa.nulls(len(column), pa.string())
        if in_place is not None:
            symbol = pc.coalesce(symbol, in_place)
        empty = pc.is_null(numeric)
        unexplained = pc.and_(empty, pc.is_null(symbol))
        unknown = set(pc.unique(symbol.drop_null()).to_pylist()) - set(codes.CENSUS)
        with self._noting:
            self._counts["null_values"] += pc.sum(empty).as_py() or 0
            self._counts["null_values_without_symbol"] += pc.sum(unexplained).as_py() or 0
            self._unknown.update(unknown)
        return [numeric, symbol]


def _values(names: Sequence[str], layout: str) -> list[_Value]:
    pattern = _PROFILE_VALUE if layout == "profile" else _MEMBER_VALUE
    found = [(position, match) for position, name in enumerate(names) if (match := pattern.fullmatch(name.strip()))]
    meanings = [match["name"] if layout == "profile" else match["member"] for _, match in found]
    others = [snake_case(name) for name in names]
    stems = unique_snake_case(meanings, taken=[other for other in others if other not in map(snake_case, meanings)])
    out: list[_Value] = []
    for (position, match), stem in zip(found, stems, strict=True):
        following = names[position + 1] if position + 1 < len(names) else ""
        symbol = following if _SYMBOLS.fullmatch(following.strip()) else None
        meaning = match[0] if layout == "profile" else f"{match['dimension']}: {match['member']}"
        out.append(_Value(names[position], symbol, stem, meaning))
    return out


def _levelled(column: pa.Array) -> list[pa.Array]:
    encoded = column.dictionary_encode()
    texts: list[str] = encoded.dictionary.to_pylist()
    levels = pa.array([(len(text) - len(text.lstrip(" "))) // _INDENT for text in texts], pa.int8())
    names = pa.array([text.strip() for text in texts], pa.string())
    return [names.take(encoded.indices), levels.take(encoded.indices)]


def _legend(language: int) -> str:
    return "; ".join(f"{symbol} {meaning[language]}" for symbol, meaning in codes.CENSUS.items())
