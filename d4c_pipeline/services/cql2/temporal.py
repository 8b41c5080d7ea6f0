"""Temporal operators over instants and intervals. A date is the interval of its day, in UTC.

So `t_during(published, INTERVAL('2020-01-01', '2020-12-31'))` includes the afternoon of the last day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from d4c_pipeline.services.cql2.columns import Kind
from d4c_pipeline.services.cql2.expressions import Piece, joined, literal
from d4c_pipeline.services.cql2.limits import bad_filter

# {a} to {b} is the first interval, {c} to {d} the second (CQL2, table 12).
OPERATORS: Mapping[str, str] = {
    "t_after": "a > d",
    "t_before": "b < c",
    "t_contains": "a < c AND b > d",
    "t_disjoint": "b < c OR a > d",
    "t_during": "a > c AND b < d",
    "t_equals": "a = c AND b = d",
    "t_finishedby": "a < c AND b = d",
    "t_finishes": "a > c AND b = d",
    "t_intersects": "a <= d AND b >= c",
    "t_meets": "b = c",
    "t_metby": "a = d",
    "t_overlappedby": "a > c AND a < d AND b > d",
    "t_overlaps": "a < c AND b > c AND b < d",
    "t_startedby": "a = c AND b > d",
    "t_starts": "a = c AND b < d",
}


@dataclass(frozen=True)
class Span:
    """An interval with both ends; an open one ends at infinity."""

    start: Piece
    end: Piece


OPEN_START = Piece("CAST('-infinity' AS TIMESTAMPTZ)", (), Kind.MOMENT, "..")
OPEN_END = Piece("CAST('infinity' AS TIMESTAMPTZ)", (), Kind.MOMENT, "..")


def span(start: Piece, end: Piece) -> Span:
    """Return the interval from the begin of `start` to the end of `end`. Raises ProblemError unless both are times."""
    for piece in (start, end):
        if not piece.kind.is_time:
            raise bad_filter(f"{piece.name} is {piece.kind.value}, not a time", "Name a date or a time")
    first, last = _first(start), _last(end)
    if first.is_literal and last.is_literal and first.value > last.value:
        raise bad_filter(f"the interval from {start.name} to {end.name} ends before it begins", "Exchange its ends")
    return Span(first, last)


def bounds(value: date | datetime) -> tuple[datetime, datetime]:
    """Return the first and the last microsecond (UTC) of a date, or a time twice."""
    if isinstance(value, datetime):
        return value, value
    return datetime.combine(value, time.min, UTC), datetime.combine(value, time.max, UTC)


def comparison(operator: str, first: Span, second: Span) -> Piece:
    """Return a temporal operator over two intervals."""
    ends = {"a": first.start, "b": first.end, "c": second.start, "d": second.end}
    words = OPERATORS[operator].split()
    pieces = [ends[word] for word in words if word in ends]
    template = " ".join("{}" if word in ends else word for word in words)
    return joined(f"({template})", *pieces, kind=Kind.TRUTH, name=operator)


def _first(piece: Piece) -> Piece:
    if piece.is_literal:
        return literal(bounds(piece.value)[0])
    if piece.kind is Kind.MOMENT:
        return piece
    return joined("CAST({} AS TIMESTAMPTZ)", piece, kind=Kind.MOMENT, name=piece.name)


def _last(piece: Piece) -> Piece:
    if piece.is_literal:
        return literal(bounds(piece.value)[1])
    if piece.kind is Kind.MOMENT:
        return piece
    template = "CAST({} + INTERVAL 1 DAY - INTERVAL 1 MICROSECOND AS TIMESTAMPTZ)"
    return joined(template, piece, kind=Kind.MOMENT, name=piece.name)
