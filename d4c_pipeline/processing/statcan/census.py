"""Interprets Statistics Canada's census files, where a symbol states why a value is missing or its quality.

The Census Profile has one row per geography and characteristic; the semi-wide tables (98-10-xxxx, 98-400-X2016xxx) have
one row per geography and combination of members, and a column per member of the last dimension. Recognising the columns
belongs to `census_columns`. The fixtures hold no real file; headers are those of real files in public repositories.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.statcan import codes, french
from d4c_pipeline.processing.statcan.census_columns import Column, Layout, recognised
from d4c_pipeline.processing.statcan.descriptions import described
from d4c_pipeline.processing.statcan.values import numbers, plain

# Two spaces per level: only the indentation shows the hierarchy of a profile.
_INDENT = 2
_LEVEL = ("Depth of the member in the hierarchy, from 0", "Niveau du membre dans la hiérarchie, à partir de 0")
_YEAR = pa.int16()


class Table:
    """Interprets one census file: `schema` of the result, `batch` for each batch, `report` after the last batch.

    The types depend only on the names of the columns, so that all files of a layout share them. Several threads may
    call `batch`; the report does not depend on their order.
    """

    def __init__(self, attributes: pa.Schema, layout: Layout) -> None:
        """`attributes`: the columns as read, all text. Raises DataError for columns of another layout."""
        self._columns = recognised(attributes.names, layout)
        self._french = french.is_census(attributes.names)
        self._legend_en, self._legend_fr = _legend(0), _legend(1)
        self._counts: Counter[str] = Counter()
        self._noting = threading.Lock()
        self._unknown: set[str] = set()
        self.schema = pa.schema([field for column in self._columns for field in self._fields(column)])

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of `batch` with `schema`. Raises DataError for values that are not numbers."""
        arrays: list[pa.Array] = []
        for column in self._columns:
            if column.role != "symbol":
                arrays += self._made(column, plain(batch.column(column.source)), batch)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    @property
    def report(self) -> dict[str, Any]:
        """The counts of null values, of null values without a symbol, and examples of unknown symbols."""
        unknown = {"unknown_symbols_examples": sorted(self._unknown)[:5]} if self._unknown else {}
        return {**{name: self._counts[name] for name in sorted(self._counts)}, **unknown}

    def _fields(self, column: Column) -> list[pa.Field]:
        def named(kind: pa.DataType) -> pa.Field:
            renamed = column.source if column.name != column.source else None
            return described(column.name, kind, renamed, None, None)

        match column.role:
            case "symbol":
                return []
            case "value":
                meaning = (None, column.meaning) if self._french else (column.meaning, None)
                return [
                    described(column.name, pa.float64(), column.source, *meaning),
                    described(
                        f"{column.name}_symbol",
                        pa.string(),
                        column.symbol or column.source,
                        self._legend_en,
                        self._legend_fr,
                    ),
                ]
            case "member":
                assert column.level is not None  # noqa: S101 - every member has a level
                return [named(pa.string()), described(column.level, pa.int8(), column.source, *_LEVEL)]
            case "rate":
                return [named(pa.float64())]
            case "year":
                return [named(_YEAR)]
            case _:
                return [named(pa.string())]

    def _made(self, column: Column, texts: pa.Array, batch: pa.RecordBatch) -> list[pa.Array]:
        match column.role:
            case "value":
                return self._valued(column, texts, batch)
            case "member":
                return _levelled(texts)
            case "rate":
                rates, in_place = numbers(self._pointed(texts), column.source)
                if in_place is not None:
                    self._count(f"symbols_in_{column.source}", pc.is_valid(in_place))
                return [rates]
            case "year":
                return [_year(texts, column)]
            case _:
                return [texts]

    def _valued(self, column: Column, texts: pa.Array, batch: pa.RecordBatch) -> list[pa.Array]:
        numeric, in_place = numbers(self._pointed(texts), column.source)
        symbol = plain(batch.column(column.symbol)) if column.symbol else pa.nulls(len(texts), pa.string())
        if in_place is not None:
            symbol = pc.coalesce(symbol, in_place)
        empty = pc.is_null(numeric)
        self._count("null_values", empty)
        self._count("null_values_without_symbol", pc.and_(empty, pc.is_null(symbol)))
        unknown = set(pc.unique(symbol.drop_null()).to_pylist()) - set(codes.CENSUS)
        with self._noting:
            self._unknown.update(unknown)
        return [numeric, symbol]

    def _pointed(self, texts: pa.Array) -> pa.Array:
        return french.with_points(texts) if self._french else texts

    def _count(self, name: str, rows: pa.Array) -> None:
        count = pc.sum(rows).as_py() or 0
        with self._noting:
            self._counts[name] += count


def _year(texts: pa.Array, column: Column) -> pa.Array:
    try:
        return texts.cast(_YEAR)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"Column {column.source} has a value that is not a year: {error}",
            "Remove processing.census to keep the columns unchanged",
        ) from error


def _levelled(column: pa.Array) -> list[pa.Array]:
    encoded = column.dictionary_encode()
    texts: list[str] = encoded.dictionary.to_pylist()
    levels = pa.array([(len(text) - len(text.lstrip(" "))) // _INDENT for text in texts], pa.int8())
    names = pa.array([text.strip() for text in texts], pa.string())
    return [names.take(encoded.indices), levels.take(encoded.indices)]


def _legend(language: int) -> str:
    return "; ".join(f"{symbol} {meaning[language]}" for symbol, meaning in codes.CENSUS.items())
