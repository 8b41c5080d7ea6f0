"""Parses the numbers of Statistics Canada's tables: exact as float64, or null with the symbol in place of the value.

`wds` and `census` share this module and select the columns; `codes` defines the symbols.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.statcan.codes import IN_PLACE_OF_A_VALUE
from d4c_pipeline.tables.narrow import comes_back

_NUMBER = r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)$"
_SURE_LENGTH = 15
_SYMBOLS = pa.array(sorted(IN_PLACE_OF_A_VALUE))
_NOTHING = pa.scalar(None, pa.string())


def plain(column: pa.Array) -> pa.Array:
    """Return a column of text as plain strings, with null for blank text; a dictionary is decoded."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    blank = pc.equal(column, "")
    return pc.if_else(blank, _NOTHING, column) if pc.any(blank).as_py() else column


def numbers(column: pa.Array, name: str) -> tuple[pa.Array, pa.Array | None]:
    """Return the texts of `column` as float64, and the symbols in place of values (None without symbols).

    float64 represents every text as the same decimal number. Raises DataError with the column `name` for a text that is
    neither a number nor a known symbol, and for a number with more digits than float64 keeps.
    """
    symbols: pa.Array | None = None
    try:
        values = column.cast(pa.float64())
    except pa.ArrowInvalid:
        column = pc.utf8_trim_whitespace(column)
        marked = pc.fill_null(pc.is_in(column, _SYMBOLS), fill_value=False)
        symbols, column = pc.if_else(marked, column, _NOTHING), pc.if_else(marked, _NOTHING, column)
        misfits = column.filter(pc.invert(pc.match_substring_regex(column, _NUMBER)))
        if len(misfits):
            examples = ", ".join(map(repr, pc.unique(misfits).slice(0, 3).to_pylist()))
            raise DataError(
                f"Column {name} has values that are neither numbers nor known symbols: {examples}",
                "Declare them as nulls, or check the file of the source",
            ) from None
        values = column.cast(pa.float64())
    long = column.filter(pc.greater(pc.binary_length(column), _SURE_LENGTH)).drop_null()
    if len(long) and not comes_back(long):
        raise DataError(
            f"Column {name} has numbers with more digits than float64 holds, such as {long[0]}",
            "Remove processing.wds or census and declare the column as string",
        )
    return values, symbols
