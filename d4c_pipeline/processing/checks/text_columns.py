"""The check of columns that are text because of a few values among numbers.

Types are found by `tables.narrow`; wrongly decoded text belongs to `declared`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.processing.checks.attributes import Numeric
from d4c_pipeline.processing.checks.verdict import MOST_EXAMPLES, Built, Outcome, Verdict
from d4c_pipeline.tables.narrow import is_code
from d4c_pipeline.tables.sql_names import identifier

_FEWEST_NUMBERS = 3
# Symbols in place of values, of Statistics Canada and others (x: suppressed, F: too unreliable, E and A to D: quality).
_MARKERS = frozenset(
    ("x", "f", "e", "r", "p", "s", "a", "b", "c", "d", "n", "na", "n/a", "n.a.", "nd", "n.d.", "ns", "s.o.", "nil",
     "nan", "null", "none")
)  # fmt: skip
_SKIP = "or declare checks.skip: [types_plausible] if the data is right"
_OF_NO_VALUE = "Declare the values as nulls of their columns if they mean no value, or the type string if they are data"


def types_plausible(name: str, built: Built) -> Verdict:
    """No row is that of names or units among numbers, and no column is text because of a few values.

    A row without a number and with different words in the columns that have numbers elsewhere is a FAILURE: the names
    of a second table, or units. A column most of whose values are numbers, with a few that are not, is a WARNING.
    """
    declared = built.dataset.processing.columns
    columns = {
        column: found
        for column, found in built.attributes.numeric.items()
        if found.numbers >= _FEWEST_NUMBERS
        and not is_code(column)
        and (column not in declared or declared[column].type is None)
    }
    expected = "columns of numbers without single texts among them"
    if rows := _rows_of_names(built, columns):
        shown = ", ".join(f"{column} {value!r}" for column, value in rows[0].items())
        return Verdict(
            name,
            Outcome.FAILURE,
            expected,
            f"rows of words where others have numbers ({shown}): names of a second table, or units",
            rows,
            "Have the publisher deliver one table, leave the rows out in processing.sql (or by footer_rows, if they are"
            f" last), {_SKIP}",
        )
    examples = [
        {"column": column, "numbers": found.numbers, "value": value, "rows": count}
        for column, found in columns.items()
        for value, count in sorted(found.odd.items(), key=lambda each: (-each[1], each[0]))
    ]
    return Verdict(
        name,
        Outcome.WARNING if examples else Outcome.PASS,
        expected,
        f"text because of a few values: {', '.join(columns)}" if columns else "no fault",
        examples[:MOST_EXAMPLES],
        f"{_OF_NO_VALUE}, {_SKIP}" if examples else "",
    )


def _rows_of_names(built: Built, columns: Mapping[str, Numeric]) -> list[dict[str, Any]]:
    """Return the different rows with other words in place of all their numbers, by column, sorted.

    A row with a number in any column is data: names in it would have made text of that column too.
    """
    words = {column: [text for text in found.odd if _is_word(text)] for column, found in columns.items()}
    worded = [column for column, found in words.items() if found]
    if len(worded) < 2:
        return []
    names = ", ".join(map(identifier, worded))
    schema = pq.read_schema(built.files[0])
    measured = [each.name for each in schema if pa.types.is_floating(each.type) or pa.types.is_integer(each.type)]
    conditions = [
        *(f"({identifier(each)} IS NULL OR {identifier(each)} IN ?)" for each in worded),
        *(f"{identifier(each)} IS NULL" for each in measured),
        f"list_count([{names}]) >= 2",
        f"len(list_distinct([{names}])) = list_count([{names}])",  # one word in each is a marker of no value
    ]
    with built.duckdb() as connection:
        found = connection.execute(
            f"SELECT DISTINCT {names} FROM data WHERE {' AND '.join(conditions)} ORDER BY ALL LIMIT {MOST_EXAMPLES}",
            [words[each] for each in worded],
        ).fetchall()
    return [{name: value for name, value in zip(worded, row, strict=True) if value is not None} for row in found]


def _is_word(text: str) -> bool:
    return any(letter.isalpha() for letter in text) and text.strip().casefold() not in _MARKERS
