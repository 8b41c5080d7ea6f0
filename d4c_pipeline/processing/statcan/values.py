"""Numbers as Statistics Canada's tables print them: exact as float64, or null with the symbol that stands there.

Shared by `wds` and `census`, which know the columns; the meaning of symbols stands in `codes`.
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
    """Return a column of text as plain strings, blank ones null; a dictionary is taken apart."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    blank = pc.equal(column, "")
    return pc.if_else(blank, _NOTHING, column) if pc.any(blank).as_py() else column


def numbers(column: pa.Array, name: str) -> tuple[pa.Array, pa.Array | None]:
    """Return the texts of `column` as float64, and the symbols that stood in place of values (None if there were none).

    A text is the same decimal number after a way through float64. Raises DataError, naming column `name`, for a text
    that is neither a number nor a known symbol, and for one with more digits than float64 gives back.
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
                "Declare them as nulls, or look at what the source delivers",
            ) from None
        values = column.cast(pa.float64())
    long = column.filter(pc.greater(pc.binary_length(column), _SURE_LENGTH)).drop_null()
    if len(long) and not comes_back(long):
        raise DataError(
            f"Column {name} has numbers with more digits than float64 holds, such as {long[0]}",
            "Leave out processing.wds or census and declare the column as string",
        )
    return values, symbols
