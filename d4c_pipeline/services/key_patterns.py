"""SQL of a request's pattern of keys, in which `*` stands for any characters.

Reading a pattern from a request belongs to `release_changes`, patterns of CQL2 to `discovery`.
"""

from __future__ import annotations

import re

from d4c_pipeline.tables.duckdb_engine import text_literal


def fits(text: str, pattern: str) -> str:
    """Return the SQL condition that `text`, an expression of SQL, fits all of `pattern`."""
    # Not LIKE: DuckDB backtracks over several wildcards, 29 s for `*e*e*e*e*q*` over 2,048 keys of 200 characters, and
    # interrupts a query only between vectors. RE2 takes time linear in the text.
    pieces = (re.escape(piece).replace("\0", r"\x00") for piece in re.split(r"\*+", pattern))
    return f"regexp_full_match({text}, {text_literal('.*'.join(pieces))}, 's')"
