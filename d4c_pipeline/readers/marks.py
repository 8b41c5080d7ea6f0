"""Rewrites numbers with declared decimal and thousands marks (`1 234,5`) in plain notation (`1234.5`) for casting.

Only numbers with the declared marks are rewritten. The types of columns belong to `casting` and `narrow`.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.tables import casting
from d4c_pipeline.tables.names import snake_case
from d4c_pipeline.tables.narrow import is_code

_MINUS = "\u2212"  # the typographic minus sign
_POINTED = r"^\s*[+-]?[0-9]+\.[0-9]+\s*$"
# Variants of the space and the apostrophe.
_SPELLINGS = {" ": "[ \u00a0\u2009\u202f]", "'": "['\u2019]"}


def plain_numbers(column: pa.Array, decimal: str, thousands: str | None) -> pa.Array:
    """Return the text `column` with numbers that have these marks in plain notation, and other values unchanged."""
    mark = _SPELLINGS.get(thousands, re.escape(thousands)) if thousands else None
    whole = f"([0-9]{{1,3}}({mark}[0-9]{{3}})+|[0-9]+)" if mark else "[0-9]+"
    number = pc.match_substring_regex(column, rf"^\s*[+{_MINUS}-]?{whole}({re.escape(decimal)}[0-9]+)?\s*$")
    plain = pc.replace_substring_regex(column, mark, "") if mark else column
    plain = pc.replace_substring(pc.replace_substring(plain, decimal, "."), _MINUS, "-")
    return pc.if_else(number, plain, column)


def with_plain_numbers(batches: Iterator[pa.RecordBatch], processing: Processing) -> Iterator[pa.RecordBatch]:
    """Rewrite the text columns of all batches by `decimal` and `thousands`, except strings and codes.

    A column with the name of a code is rewritten if it is declared as a number. Raises DataError for a column with
    numbers of both decimal marks.
    """
    if processing.decimal == "." and processing.thousands is None:
        yield from batches
        return
    texts = {name for name, column in processing.columns.items() if column.type == "string"}
    texts |= {column.source for column in processing.columns.values() if column.type == "string" and column.source}
    declared = [column for column in processing.columns.items() if column[1].type in casting.NUMERIC]
    numbers = {name for name, _ in declared} | {column.source for _, column in declared if column.source}
    mixed = _Mixed(processing.decimal)
    for batch in batches:
        columns = [
            mixed.rewritten(array, field.name, processing.thousands)
            if pa.types.is_string(array.type) and not _is_text(field.name, texts, numbers)
            else array
            for field, array in zip(batch.schema, batch.columns, strict=True)
        ]
        yield pa.record_batch(columns, schema=batch.schema)


def _is_text(name: str, texts: set[str], numbers: set[str]) -> bool:
    # Columns declared as text, and columns with the name of a code, in which 75 001 and 1,10 are not numbers.
    output = snake_case(name)
    return name in texts or output in texts or (is_code(name) and name not in numbers and output not in numbers)


class _Mixed:
    """The columns with numbers that have a decimal comma, and those with numbers that have a decimal point."""

    def __init__(self, decimal: str) -> None:
        self._decimal = decimal
        self._rewritten: dict[str, str] = {}
        self._pointed: dict[str, str] = {}

    def rewritten(self, column: pa.Array, name: str, thousands: str | None) -> pa.Array:
        """Return the column with plain numbers. Raises DataError for numbers of both decimal marks."""
        plain = plain_numbers(column, self._decimal, thousands)
        if self._decimal == ".":
            return plain
        changed = column.filter(pc.and_(pc.not_equal(plain, column), pc.match_substring(column, self._decimal)))
        if len(changed):
            self._rewritten.setdefault(name, changed[0].as_py())
        pointed = column.filter(pc.and_(pc.equal(plain, column), pc.match_substring_regex(column, _POINTED)))
        if len(pointed):
            self._pointed.setdefault(name, pointed[0].as_py())
        if name in self._rewritten and name in self._pointed:
            raise DataError(
                f"Column {name} has numbers with a decimal comma ({self._rewritten[name]!r}) and with a point"
                f" ({self._pointed[name]!r})",
                "Declare processing.thousands: '.' if the point separates thousands, or the column as type: string",
            )
        return plain
