"""A piece of SQL with its parameters and kind, and how pieces of different kinds are compared."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from d4c_pipeline.services.cql2.columns import Kind
from d4c_pipeline.services.cql2.limits import bad_filter

_EXACT = 1 << 53
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?P<clock>T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII | re.IGNORECASE)
_NUMBER = (Kind.NUMBER, Kind.WHOLE, Kind.SINGLE)


@dataclass(frozen=True)
class Piece:
    """An expression: `sql` with a `?` for each of `parameters`, and its `kind`.

    `value`: that of a literal, else None. `name`: what messages call it. `box`: as in `Column`.
    """

    sql: str
    parameters: tuple[Any, ...]
    kind: Kind
    name: str
    value: Any = None
    box: tuple[str, str, str, str] | None = None

    @property
    def is_literal(self) -> bool:
        """Whether the filter states the value."""
        return self.value is not None


def joined(template: str, *pieces: Piece, kind: Kind, name: str) -> Piece:
    """Return `template`, which has a `{}` for each of `pieces` in order, as a piece."""
    parameters = tuple(parameter for piece in pieces for parameter in piece.parameters)
    return Piece(template.format(*(piece.sql for piece in pieces)), parameters, kind, name)


def literal(value: str | float | bool | date | datetime) -> Piece:
    """Return a value that the filter states."""
    name = f"'{value[:60]}'" if isinstance(value, str) else str(value)
    match value:
        case bool():
            return Piece("CAST(? AS BOOLEAN)", (value,), Kind.TRUTH, name, value)
        case str():
            return Piece("CAST(? AS VARCHAR)", (_storable(value),), Kind.TEXT, name, value)
        case datetime():
            return Piece("CAST(? AS TIMESTAMPTZ)", (value,), Kind.MOMENT, name, value)
        case date():
            return Piece("CAST(? AS DATE)", (value,), Kind.DATE, name, value)
        case int() if abs(value) < _EXACT:
            return Piece("CAST(? AS BIGINT)", (value,), Kind.WHOLE, name, value)
        case _:
            if not math.isfinite(value):
                raise bad_filter(f"{value} is not finite", "Write a finite number")
            if value.is_integer() if isinstance(value, float) else True:
                return _whole(value, name)
            return Piece("CAST(? AS DOUBLE)", (float(value),), Kind.NUMBER, name, float(value))


def comparable(pieces: Sequence[Piece], operator: str) -> list[Piece]:
    """Return `pieces` in one kind that SQL compares. Raises ProblemError when they have none in common."""
    kinds = {piece.kind for piece in pieces}
    if Kind.GEOMETRY in kinds or Kind.TEXTS in kinds:
        found = next(piece for piece in pieces if piece.kind in (Kind.GEOMETRY, Kind.TEXTS))
        remedy = "Use s_intersects(...)" if found.kind is Kind.GEOMETRY else "Use a_contains(...), a_overlaps(...)"
        raise bad_filter(f"{found.name} is {found.kind.value}, which '{operator}' does not compare", remedy)
    if any(kind.is_time for kind in kinds):
        pieces = [_as_time(piece) for piece in pieces]
        kinds = {piece.kind for piece in pieces}
    if len(kinds) == 1 and not kinds & set(_NUMBER):
        return list(pieces)
    if all(kind.is_time for kind in kinds):
        return [moment(piece) for piece in pieces]
    if all(kind.is_number for kind in kinds):
        return _numbers(pieces)
    first = pieces[0]
    other = next(piece for piece in pieces if piece.kind is not first.kind)
    kinds_named = f"{first.name} is {first.kind.value} and {other.name} is {other.kind.value}"
    raise bad_filter(
        f"{kinds_named}, so '{operator}' can't compare them", f"Compare {first.name} with {first.kind.value}"
    )


def moment(piece: Piece) -> Piece:
    """Return a date as its first moment (UTC), and a time as it is."""
    if piece.kind is not Kind.DATE:
        return piece
    return joined("CAST({} AS TIMESTAMPTZ)", piece, kind=Kind.MOMENT, name=piece.name)


def time_of(text: str) -> date | datetime:
    """Return the date or time (UTC) that an RFC 3339 text states. Raises ProblemError for other text."""
    remedy = "Write 2021-05-11 or 2021-05-11T00:00:00Z"
    found = _TIME.fullmatch(text)
    if found is None:
        raise bad_filter(f"'{text[:60]}' is neither a date nor a time", remedy)
    try:
        if found["clock"] is None:
            return date.fromisoformat(text)
        stated = datetime.fromisoformat(text.upper())
        return (stated if stated.tzinfo else stated.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise bad_filter(f"'{text[:60]}' is neither a date nor a time", remedy) from error


def _as_time(piece: Piece) -> Piece:
    """Return a text that the filter states as the time that it means; other pieces as they are."""
    return literal(time_of(piece.value)) if piece.kind is Kind.TEXT and piece.is_literal else piece


def _numbers(pieces: Sequence[Piece]) -> list[Piece]:
    kinds = {piece.kind for piece in pieces if not piece.is_literal}
    if Kind.WHOLE in kinds and (wide := [piece for piece in pieces if _is_inexact(piece)]):
        raise bad_filter(f"{wide[0].name} has more digits than are exact", f"Use numbers below {_EXACT:,}")
    # 0.1 in single precision is another number than 0.1 in double precision: a literal takes the column's.
    if kinds == {Kind.SINGLE}:
        return [
            joined("CAST({} AS FLOAT)", piece, kind=Kind.SINGLE, name=piece.name) if piece.is_literal else piece
            for piece in pieces
        ]
    return list(pieces)


def _is_inexact(piece: Piece) -> bool:
    return piece.is_literal and abs(piece.value) >= _EXACT


def _whole(value: float, name: str) -> Piece:
    if abs(value) < _EXACT:
        whole = int(value)
        return Piece("CAST(? AS BIGINT)", (whole,), Kind.WHOLE, str(whole), whole)
    try:
        return Piece("CAST(? AS DOUBLE)", (float(value),), Kind.NUMBER, name, float(value))
    except OverflowError as error:
        raise bad_filter(f"{name[:60]} is too large", "Use a smaller number") from error


def _storable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise bad_filter("a text has characters that are not Unicode", "Write the text in UTF-8") from error
    return text
