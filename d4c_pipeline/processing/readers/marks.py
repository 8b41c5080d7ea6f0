"""Numbers with other marks (`1 234,5`) rewritten plainly (`1234.5`), so that casting understands them.

Only what is a number by the declared marks is touched; which columns hold numbers is decided elsewhere.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.processing import Processing
from d4c_pipeline.processing.names import snake_case

# The spaces and apostrophes that are typed for the one of the keyboard.
_SPELLINGS = {" ": "[ \u00a0\u2009\u202f]", "'": "['\u2019]"}


def plain_numbers(column: pa.Array, decimal: str, thousands: str | None) -> pa.Array:
    """Return the text `column` with each value that is a number by these marks in plain notation, all others as is."""
    mark = _SPELLINGS.get(thousands, re.escape(thousands)) if thousands else None
    whole = f"([0-9]{{1,3}}({mark}[0-9]{{3}})+|[0-9]+)" if mark else "[0-9]+"
    number = pc.match_substring_regex(column, rf"^\s*[+-]?{whole}({re.escape(decimal)}[0-9]+)?\s*$")
    plain = pc.replace_substring_regex(column, mark, "") if mark else column
    return pc.if_else(number, pc.replace_substring(plain, decimal, "."), column)


def with_plain_numbers(batches: Iterator[pa.RecordBatch], processing: Processing) -> Iterator[pa.RecordBatch]:
    """Rewrite the text columns of all batches as `decimal` and `thousands` say, but not those declared as strings."""
    if processing.decimal == "." and processing.thousands is None:
        yield from batches
        return
    texts = {name for name, column in processing.columns.items() if column.type == "string"}
    texts |= {column.source for column in processing.columns.values() if column.type == "string" and column.source}
    for batch in batches:
        columns = [
            plain_numbers(array, processing.decimal, processing.thousands)
            if pa.types.is_string(array.type) and field.name not in texts and snake_case(field.name) not in texts
            else array
            for field, array in zip(batch.schema, batch.columns, strict=True)
        ]
        yield pa.record_batch(columns, schema=batch.schema)
