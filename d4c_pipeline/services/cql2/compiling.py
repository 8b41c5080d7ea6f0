"""Turns a filter into SQL: every node of its tree is checked, and only listed operators become SQL.

Names of properties are keys of the caller's columns and values are parameters, so no text of the filter enters SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from d4c_pipeline.services.cql2 import parsing, spatial, temporal
from d4c_pipeline.services.cql2.columns import Column, Kind
from d4c_pipeline.services.cql2.expressions import Piece, comparable, joined, literal, time_of
from d4c_pipeline.services.cql2.limits import Limits, bad_filter

TEXT, JSON = "cql2-text", "cql2-json"
CONFORMANCE = tuple(
    f"http://www.opengis.net/spec/cql2/1.0/conf/{name}"
    for name in (
        *("cql2-text", "cql2-json", "basic-cql2", "advanced-comparison-operators", "case-insensitive-comparison"),
        *("accent-insensitive-comparison", "basic-spatial-functions", "basic-spatial-functions-plus"),
        *("spatial-functions", "temporal-functions", "array-functions", "property-property", "arithmetic"),
    )
)
_COMPARISONS = frozenset({"=", "<>", "<", ">", "<=", ">="})
# A division by zero is NULL, as in SQL; DuckDB has infinity.
_ARITHMETIC = {
    "+": "({} + {})",
    "-": "({} - {})",
    "*": "({} * {})",
    "/": "({} / nullif({}, 0))",
    "%": "({} % nullif({}, 0))",
    "div": "trunc({} / nullif({}, 0))",
    "^": "pow({}, {})",
}
_FOLDING = {"casei": "lower({})", "accenti": "strip_accents({})"}
_LISTS = {
    "a_contains": "list_has_all({0}, {1})",
    "a_containedby": "list_has_all({1}, {0})",
    "a_overlaps": "list_has_any({0}, {1})",
    "a_equals": "(list_has_all({0}, {1}) AND list_has_all({2}, {3}))",
}
OPERATORS = frozenset(
    {"and", "or", "not", "between", "in", "like", "isnull", *_COMPARISONS, *_ARITHMETIC, *_FOLDING, *_LISTS}
    | {*spatial.OPERATORS, *temporal.OPERATORS}
)
_NAMES_SHOWN = 40
_PATTERN = 500
"""The most characters of a pattern: a regular expression of more may exceed what RE2 compiles."""


@dataclass(frozen=True)
class Condition:
    """An SQL expression that is true, false or NULL for a row, with a `?` for each of `parameters`, in order."""

    sql: str
    parameters: tuple[Any, ...]


def condition(
    expression: str | bytes | Mapping[str, Any] | bool,
    columns: Mapping[str, Column],
    *,
    language: str | None = None,
    limits: Limits | None = None,
) -> Condition:
    """Return the SQL of a filter over `columns` by name.

    `expression`: text in `language` (`cql2-text`, the default for text, or `cql2-json`), or a tree of CQL2 JSON.
    Raises ProblemError (400) that names the part of the filter that is wrong, unknown or beyond `limits`.
    """
    bounds = limits or Limits()
    if isinstance(expression, str | bytes):
        if language not in (None, TEXT, JSON):
            raise bad_filter(f"'{language[:60]}' is not a language of filters", f"Use filter-lang={TEXT} or {JSON}")
        if language == JSON:
            tree = parsing.of_json(expression, bounds)
        else:
            tree = parsing.of_text(expression if isinstance(expression, str) else expression.decode(), bounds)
    else:
        parsing.check_size(expression, bounds)
        tree = expression
    made = _Compiler(columns, bounds).truth(tree, 0)
    return Condition(made.sql, made.parameters)


class _Compiler:
    def __init__(self, columns: Mapping[str, Column], limits: Limits) -> None:
        self._columns, self._limits = columns, limits
        self._nodes = 0

    def truth(self, node: Any, depth: int) -> Piece:
        found = self.piece(node, depth)
        if found.kind is not Kind.TRUTH:
            raise bad_filter(f"{found.name} is {found.kind.value}, not a condition", "Compare it with a value")
        return found

    def piece(self, node: Any, depth: int) -> Piece:
        """Return the SQL of a node."""
        self._count(depth)
        match node:
            case bool() | str() | int() | float():
                return literal(node)
            case None:
                raise bad_filter("null is no value to compare with", "Write: property IS NULL")
            case {"property": str(name)} if len(node) == 1:
                return self._property(name)
            case {"op": str(operator), "args": list(arguments)} if len(node) == 2:
                return self._operation(operator, arguments, depth + 1)
            case {"date": str(text)} if len(node) == 1:
                return self._time(text, "date", is_date=True)
            case {"timestamp": str(text)} if len(node) == 1:
                return self._time(text, "timestamp", is_date=False)
            case {"bbox": numbers} if len(node) == 1:
                return spatial.box(numbers)
            case {"type": str(kind)} if kind in spatial.TYPES:
                return spatial.geometry(node, self._limits)
            case {"interval": _}:
                raise bad_filter("an interval is not compared like that", "Use t_intersects(...), t_during(...)")
            case list():
                raise bad_filter("a list stands where one value belongs", "Use IN (...) or a_contains(...)")
            case _:
                raise bad_filter(
                    f"{str(node)[:100]} is no expression",
                    'Write {"op": ..., "args": [...]}, {"property": ...} or a value',
                )

    def _count(self, depth: int) -> None:
        self._nodes += 1
        if self._nodes > self._limits.nodes:
            raise bad_filter(f"it has more than {self._limits.nodes:,} operators and values", "Shorten it")
        if depth > self._limits.depth:
            raise bad_filter(f"it is nested more than {self._limits.depth} deep", "Nest it less")

    def _property(self, name: str) -> Piece:
        column = self._columns.get(name)
        if column is None:
            known = list(self._columns)
            more = f" and {len(known) - _NAMES_SHOWN} more" if len(known) > _NAMES_SHOWN else ""
            raise bad_filter(f"'{name[:100]}' is not a property", f"Use one of {', '.join(known[:_NAMES_SHOWN])}{more}")
        sql = f"ST_GeomFromWKB({column.sql})" if column.kind is Kind.GEOMETRY else column.sql
        return Piece(sql, (), column.kind, name, box=column.box)

    def _time(self, text: str, what: str, *, is_date: bool) -> Piece:
        found = literal(time_of(text))
        if (found.kind is Kind.DATE) is not is_date:
            example = "DATE('2021-05-11')" if is_date else "TIMESTAMP('2021-05-11T00:00:00Z')"
            raise bad_filter(f"'{text[:60]}' is not a {what}", f"Write {example}")
        return found

    def _operation(self, name: str, arguments: list[Any], depth: int) -> Piece:
        operator = name.lower()
        if operator not in OPERATORS:
            raise bad_filter(f"'{name[:60]}' is not an operator", f"Use one of {', '.join(sorted(OPERATORS))}")
        if operator in ("and", "or"):
            if not arguments:
                raise bad_filter(f"'{operator}' has no arguments", "Give it at least one")
            parts = [self.truth(argument, depth) for argument in arguments]
            return _combined(f" {operator.upper()} ", parts, operator)
        if operator in spatial.OPERATORS:
            first, second = self._pieces(operator, arguments, 2, depth)
            return spatial.comparison(operator, first, second)
        if operator in temporal.OPERATORS:
            first, second = self._exactly(operator, arguments, 2)
            return temporal.comparison(operator, self._span(first, depth), self._span(second, depth))
        if operator in _LISTS:
            return self._lists(operator, arguments, depth)
        if operator in _FOLDING:
            (text,) = self._pieces(operator, arguments, 1, depth)
            _demand(text, Kind.TEXT, operator)
            return joined(_FOLDING[operator], text, kind=Kind.TEXT, name=text.name)
        if operator in _ARITHMETIC:
            return self._arithmetic(operator, arguments, depth)
        if operator in _COMPARISONS:
            first, second = comparable(self._pieces(operator, arguments, 2, depth), operator)
            return joined(f"({{}} {operator} {{}})", first, second, kind=Kind.TRUTH, name=operator)
        return self._others(operator)(arguments, depth)

    def _others(self, operator: str) -> Callable[[list[Any], int], Piece]:
        return {"not": self._not, "between": self._between, "in": self._in, "like": self._like, "isnull": self._null}[
            operator
        ]

    def _not(self, arguments: list[Any], depth: int) -> Piece:
        (argument,) = self._exactly("not", arguments, 1)
        return joined("(NOT {})", self.truth(argument, depth), kind=Kind.TRUTH, name="not")

    def _null(self, arguments: list[Any], depth: int) -> Piece:
        (tested,) = self._pieces("isNull", arguments, 1, depth)
        return joined("({} IS NULL)", tested, kind=Kind.TRUTH, name="isNull")

    def _between(self, arguments: list[Any], depth: int) -> Piece:
        pieces = comparable(self._pieces("between", arguments, 3, depth), "between")
        return joined("({} BETWEEN {} AND {})", *pieces, kind=Kind.TRUTH, name="between")

    def _in(self, arguments: list[Any], depth: int) -> Piece:
        tested, choices = self._exactly("in", arguments, 2)
        if not isinstance(choices, list) or not choices:
            raise bad_filter("'in' has no list of values", "Write: property IN ('a', 'b')")
        found = [self.piece(tested, depth), *(self.piece(choice, depth) for choice in choices)]
        pieces = comparable(found, "in")
        template = f"({{}} IN ({', '.join(['{}'] * (len(pieces) - 1))}))"
        return joined(template, *pieces, kind=Kind.TRUTH, name="in")

    def _like(self, arguments: list[Any], depth: int) -> Piece:
        tested, pattern = self._exactly("like", arguments, 2)
        text = self.piece(tested, depth)
        _demand(text, Kind.TEXT, "like")
        template = "{}"
        while isinstance(pattern, dict) and str(pattern.get("op", "")).lower() in _FOLDING:
            template = template.replace("{}", _FOLDING[pattern["op"].lower()])
            (pattern,) = self._exactly(pattern["op"], pattern.get("args"), 1)
            self._count(depth := depth + 1)
        if not isinstance(pattern, str):
            raise bad_filter("the pattern of 'like' is not a text", "Write a pattern such as 'Census%'")
        if len(pattern) > _PATTERN:
            raise bad_filter(f"a pattern of 'like' has more than {_PATTERN} characters", "Shorten it")
        # By a regular expression, whose time is linear: DuckDB's LIKE needs 1.7 s for ten rows and four %.
        made = literal(_regular_expression(pattern))
        folded = joined(template, made, kind=Kind.TEXT, name="pattern")
        return joined("regexp_full_match({}, {}, 's')", text, folded, kind=Kind.TRUTH, name="like")

    def _arithmetic(self, operator: str, arguments: list[Any], depth: int) -> Piece:
        pieces = self._pieces(operator, arguments, 2, depth)
        for piece in pieces:
            if not piece.kind.is_number:
                raise bad_filter(f"{piece.name} is {piece.kind.value}, and '{operator}' needs numbers", "Use numbers")
        # In double precision, so that no whole number overflows.
        wide = [joined("CAST({} AS DOUBLE)", piece, kind=Kind.NUMBER, name=piece.name) for piece in pieces]
        return joined(_ARITHMETIC[operator], *wide, kind=Kind.NUMBER, name=f"'{operator}'")

    def _lists(self, operator: str, arguments: list[Any], depth: int) -> Piece:
        first, second = (self._texts(each, operator, depth) for each in self._exactly(operator, arguments, 2))
        parts = {"a_equals": (first, second, second, first), "a_containedby": (second, first)}
        used = parts.get(operator, (first, second))
        template = re.sub(r"\{\d\}", "{}", _LISTS[operator])
        return joined(template, *used, kind=Kind.TRUTH, name=operator)

    def _texts(self, node: Any, operator: str, depth: int) -> Piece:
        if isinstance(node, list):
            texts = [self.piece(each, depth) for each in node]
            for text in texts:
                if text.kind is not Kind.TEXT or not text.is_literal:
                    raise bad_filter(f"{text.name} in the list of {operator} is not a text", "Write a list of texts")
            return Piece("CAST(? AS VARCHAR[])", ([text.value for text in texts],), Kind.TEXTS, "the list")
        found = self.piece(node, depth)
        _demand(found, Kind.TEXTS, operator)
        return found

    def _span(self, node: Any, depth: int) -> temporal.Span:
        if not (isinstance(node, dict) and "interval" in node):
            instant = self._instant(node, depth)
            return temporal.span(instant, instant)
        ends = node["interval"]
        if len(node) != 1 or not isinstance(ends, list) or len(ends) != 2:
            raise bad_filter("an interval does not have two ends", "Write INTERVAL('2020-01-01', '..')")
        start = temporal.OPEN_START if ends[0] == ".." else self._instant(ends[0], depth)
        end = temporal.OPEN_END if ends[1] == ".." else self._instant(ends[1], depth)
        return temporal.span(start, end)

    def _instant(self, node: Any, depth: int) -> Piece:
        self._count(depth)
        return literal(time_of(node)) if isinstance(node, str) else self.piece(node, depth)

    def _pieces(self, operator: str, arguments: Any, count: int, depth: int) -> list[Piece]:
        return [self.piece(argument, depth) for argument in self._exactly(operator, arguments, count)]

    def _exactly(self, operator: str, arguments: Any, count: int) -> Sequence[Any]:
        if not isinstance(arguments, list) or len(arguments) != count:
            given = len(arguments) if isinstance(arguments, list) else "no"
            raise bad_filter(f"'{operator}' has {given} arguments", f"Give it {count}")
        return arguments


def _combined(word: str, parts: Sequence[Piece], name: str) -> Piece:
    return joined(f"({word.join(['{}'] * len(parts))})", *parts, kind=Kind.TRUTH, name=name)


def _demand(piece: Piece, kind: Kind, operator: str) -> None:
    if piece.kind is not kind:
        raise bad_filter(
            f"{piece.name} is {piece.kind.value}, and '{operator}' needs {kind.value}", "Use another property"
        )


def _regular_expression(pattern: str) -> str:
    """Return a pattern of LIKE as a regular expression. Raises ProblemError when nothing follows an escape."""
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            escaped = next(characters, None)
            if escaped is None:
                raise bad_filter("the pattern of 'like' ends with \\", "Write \\\\ for one backslash")
            parts.append(re.escape(escaped))
        else:
            parts.append({"%": ".*", "_": "."}.get(character) or re.escape(character))
    return "".join(parts)
