"""Reads a DAP2 constraint expression over one sequence: a projection, slices of rows, and comparisons.

Comparisons become parameterised SQL. Functions, and comparisons of two variables, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from d4c_pipeline.services.cql2 import Condition
from d4c_pipeline.services.dap.variables import STRING, Variable
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.tables.sql_names import identifier

MOST_CHARACTERS = 8_192
_MOST_COMPARISONS = 100
_MOST_PATTERN = 200
_SLICE = re.compile(r"\[(\d{1,15})(?::(\d{1,15}))?(?::(\d{1,15}))?\]")
_ITEM = re.compile(r"([^\[\]]+)((?:\[[0-9:]+\])?)")
_COMPARISON = re.compile(r"([A-Za-z0-9_.%-]+?)(<=|>=|!=|=~|<|>|=)(.+)", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][-+]?\d{1,3})?")
_SQL = {"=": "=", "!=": "<>", "<": "<", ">": ">", "<=": "<=", ">=": ">="}


@dataclass(frozen=True)
class Constraint:
    """What a request wants of a sequence: `names` in order, rows `start`, `start + step`, ... below `stop`."""

    names: tuple[str, ...]
    condition: Condition | None = None
    start: int = 0
    stop: int | None = None
    step: int = 1


def read_constraint(query: str, sequence: str, known: Mapping[str, Variable]) -> Constraint:
    """Return the constraint of a query string. Raises ProblemError (400) for any other form or an unknown name."""
    if len(query) > MOST_CHARACTERS:
        raise _bad(f"The constraint has {len(query):,} characters", f"Shorten it to at most {MOST_CHARACTERS:,}")
    projection, *selection = unquote(query).split("&")
    names: list[str] = []
    slices: set[tuple[int, int | None, int]] = set()
    for item in filter(None, (part.strip() for part in projection.split(","))):
        found = _ITEM.fullmatch(item)
        if found is None:
            raise _bad(f"'{item[:60]}' is no variable", "Name variables, with commas")
        name, rows = found.group(1), found.group(2)
        slices.add(_slice(rows))
        if name == sequence:
            names += list(known)
        else:
            names.append(_known(name, sequence, known).name)
    if len(slices) > 1:
        raise _bad("The variables have different slices", "Slice all variables alike")
    comparisons = [part for part in selection if part]
    if len(comparisons) > _MOST_COMPARISONS:
        raise _bad(f"The constraint has {len(comparisons)} comparisons", f"Send at most {_MOST_COMPARISONS}")
    made = [_comparison(part, sequence, known) for part in comparisons]
    condition = None
    if made:
        condition = Condition(" AND ".join(sql for sql, _ in made), tuple(value for _, value in made))
    start, stop, step = slices.pop() if slices else (0, None, 1)
    return Constraint(tuple(dict.fromkeys(names)) or tuple(known), condition, start, stop, step)


def _slice(text: str) -> tuple[int, int | None, int]:
    if not text:
        return 0, None, 1
    found = _SLICE.fullmatch(text)
    if found is None:
        raise _bad(f"'{text[:60]}' is no slice", "Write [start:stop] or [start:stride:stop]")
    numbers = [int(number) for number in found.groups() if number is not None]
    # DAP's last number belongs to the slice.
    start, step, last = {1: (numbers[0], 1, numbers[0])}.get(len(numbers)) or (
        (numbers[0], 1, numbers[1]) if len(numbers) == 2 else (numbers[0], numbers[1], numbers[2])
    )
    if step < 1 or last < start:
        raise _bad(f"'{text[:60]}' is no slice", "A stride is 1 or more, and the end is not before the start")
    return start, last + 1, step


def _comparison(text: str, sequence: str, known: Mapping[str, Variable]) -> tuple[str, Any]:
    found = _COMPARISON.fullmatch(text)
    if found is None:
        raise _bad(f"'{text[:60]}' is no comparison", f'Write {sequence}.name="value" or {sequence}.name>1')
    variable = _known(found.group(1), sequence, known)
    operator, value = found.group(2), _value(found.group(3))
    column = identifier(variable.name)
    if not variable.comparable:
        raise _bad(f"{variable.name} can't be compared ({variable.note})", "Compare another variable, or use a subset")
    if (variable.kind == STRING) != isinstance(value, str):
        kind = "a text in quotation marks" if variable.kind == STRING else "a number"
        raise _bad(f"{variable.name} is compared with another kind of value", f"Compare it with {kind}")
    if operator == "=~":
        if not isinstance(value, str) or len(value) > _MOST_PATTERN:
            raise _bad("=~ needs a text and a short pattern", f"Write a pattern of at most {_MOST_PATTERN} characters")
        return f"regexp_full_match(CAST({column} AS VARCHAR), ?)", f"(?s:{value}).*"
    shown = f"CAST({column} AS VARCHAR)" if variable.kind == STRING else column
    return f"{shown} {_SQL[operator]} ?", value


def _known(name: str, sequence: str, known: Mapping[str, Variable]) -> Variable:
    found = known.get(name.removeprefix(f"{sequence}."))
    if found is None:
        raise _bad(f"There is no variable {name[:60]}", f"The variables are {', '.join(list(known)[:40])}")
    return found


def _value(text: str) -> int | float | str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _unescaped(text[1:-1])
    if _NUMBER.fullmatch(text) is None:
        raise _bad(f"'{text[:60]}' is no value", 'Write a number, or a text in quotation marks ("...")')
    return int(text) if re.fullmatch(r"[-+]?\d{1,18}", text) else float(text)


def _unescaped(text: str) -> str:
    """Return a text that is escaped as `tables.escaped` does, or with a backslash before any character."""
    found = re.sub(r"\\(u[0-9a-fA-F]{4}|.)", _character, text, flags=re.DOTALL)
    return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(escape: re.Match[str]) -> str:
    text = escape.group(1)
    return chr(int(text[1:], 16)) if len(text) == 5 else {"n": "\n", "t": "\t", "r": "\r"}.get(text, text)


def _bad(detail: str, remedy: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, detail, remedy)
