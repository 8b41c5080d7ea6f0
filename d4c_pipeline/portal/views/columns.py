"""The columns of a release: type, meaning, share of nulls, and a histogram or the most frequent values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from d4c_pipeline.metadata.records.documents import plain
from d4c_pipeline.model.release import Column
from d4c_pipeline.portal.facts import ColumnFacts, ReleaseFacts
from d4c_pipeline.portal.words import Words
from d4c_pipeline.processing.distributions import BINS
from d4c_pipeline.tables.columns import GEOMETRY

WIDTH, HEIGHT = 120, 28
"""The size of a histogram in pixels."""
_STEP = WIDTH // BINS
_LONGEST_VALUE = 40
_NULL_WIDTH = 40
_NUMBERS = ("int", "uint", "float", "double", "decimal", "halffloat")


@dataclass(frozen=True)
class ColumnRow:
    """A row of the table of columns. `bars`: the path of the histogram, or empty; `extremes`: least and greatest."""

    name: str
    type: str
    meaning: str
    source: str | None
    distinct: str
    null_share: str
    null_width: float
    bars: str
    extremes: tuple[str, str] | None
    top: tuple[tuple[str, str], ...]


def rows(facts: ReleaseFacts, words: Words) -> tuple[ColumnRow, ...]:
    """Return a row for each column, in the order of the data."""
    return tuple(_row(column, facts, words) for column in facts.published.columns)


def is_number(arrow: str) -> bool:
    """Return whether an Arrow type is a number."""
    return arrow.startswith(_NUMBERS)


def meaning(column: Column, words: Words) -> str:
    """Return the description in the language, else in the other."""
    own, other = getattr(column, f"description_{words.language}"), getattr(column, f"description_{words.other}")
    return plain(own or other or "")


def _row(column: Column, facts: ReleaseFacts, words: Words) -> ColumnRow:
    values = facts.columns.get(column.name)
    source = column.source if column.source and column.source != column.name else None
    is_geometry = column.name == GEOMETRY and bool(facts.published.geometry_types)
    kind = words["types"]["geometry"] if is_geometry else words.type_name(column.type)
    base = (column.name, kind, meaning(column, words), source)
    if values is None:
        return ColumnRow(*base, "", "", 0, "", None, ())
    share = values.nulls / max(1, facts.published.rows)
    known = values.least is not None and values.greatest is not None
    return ColumnRow(
        *base,
        distinct="" if values.distinct is None else words.number(values.distinct),
        null_share=words.share(share) if values.nulls else "",
        null_width=round(max(1, _NULL_WIDTH * share), 1) if values.nulls else 0,
        bars="".join(_bars(values)),
        extremes=(_shown(values.least, words), _shown(values.greatest, words)) if known else None,
        top=tuple((_shown(value, words), words.number(count)) for value, count in values.top),
    )


def _bars(values: ColumnFacts) -> Iterator[str]:
    """Yield each bar as a piece of one path: an element for each bar would be half of a page's markup."""
    most = max(values.histogram, default=0)
    for place, count in enumerate(values.histogram):
        if count:
            # The root of the counts, so that rare values stay visible.
            height = round(max(1.0, HEIGHT * math.sqrt(count / most)), 1)
            yield f"M{place * _STEP} {HEIGHT}v-{height:g}h{_STEP - 1}v{height:g}z"


def _shown(value: Any, words: Words) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int | float):
        return words.number(value)
    text = plain(str(value))
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
