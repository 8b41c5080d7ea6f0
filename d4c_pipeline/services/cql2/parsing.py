"""Reads a filter into the tree of CQL2 JSON, within limits.

The text parser of `cql2` recurses without a limit and tries every bracket twice at each level when a text is wrong: it
overflows the stack at about 3,500 operators in a row, and 20 open brackets take it 1.4 s, each more twice as long. So
brackets and operators are counted before it parses. JSON needs no parser of CQL2: `compiling` checks each node.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import orjson

from d4c_pipeline.services.cql2.limits import Limits, bad_filter

_EXAMPLE = "Write CQL2 text such as \"rows > 1000 AND title LIKE 'Census%'\""
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_OPERATOR = re.compile(r"[-+*/%^]|[<>=!]+|\b(?:not|div|like|in|is|between)\b", re.IGNORECASE)
_OPERATORS = 1_000
_EFFORT = 1 << 20
"""The most of bytes x 2^brackets: about 0.25 s for the worst text."""
_PLACE = re.compile(r"-->\s*(\d+):(\d+)")
_WRONG_IN_JSON = 'Write CQL2 JSON such as {"op": ">", "args": [{"property": "rows"}, 1000]}'


def of_text(text: str, limits: Limits) -> Any:
    """Return the tree of a filter in CQL2 text. Raises ProblemError for other text, and beyond `limits`."""
    _bounded(len(text.encode("utf-8", "surrogatepass")), limits)
    bare = _QUOTED.sub("", text)
    if "'" in bare or '"' in bare:
        raise bad_filter("a quotation mark is not closed", _EXAMPLE)
    depth = _brackets(bare)
    if len(text) << min(depth, 64) > _EFFORT:
        raise bad_filter(
            f"its brackets are nested {depth} deep",
            "Nest fewer brackets, or send the filter as CQL2 JSON (filter-lang=cql2-json)",
        )
    if len(_OPERATOR.findall(bare)) > _OPERATORS:
        raise bad_filter(f"it has more than {_OPERATORS:,} operators", "Shorten it, for example with IN (...)")
    # Of the extra 'services': protocols without filters by text run without it.
    cql2 = import_module("cql2")
    try:
        return cql2.parse_text(text).to_json()
    except cql2.ParseError as error:
        place = _PLACE.search(str(error))
        where = f" at line {place[1]}, character {place[2]}" if place else ""
        detail = "" if place else f" ({' '.join(str(error).split())[:200]})"
        raise bad_filter(f"it is not CQL2 text{where}{detail}", _EXAMPLE) from error


def of_json(document: str | bytes, limits: Limits) -> Any:
    """Return the tree of a filter in CQL2 JSON. Raises ProblemError for what is not JSON, and beyond `limits`."""
    raw = document.encode("utf-8", "replace") if isinstance(document, str) else document
    _bounded(len(raw), limits)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_filter(f"it is not JSON ({error})", _WRONG_IN_JSON) from error


def check_size(tree: Any, limits: Limits) -> None:
    """Raise ProblemError when a tree that came inside a larger document exceeds `limits`."""
    _bounded(len(orjson.dumps(tree)), limits)


def _bounded(size: int, limits: Limits) -> None:
    if size > limits.bytes:
        raise bad_filter(f"it has {size:,} bytes, and {limits.bytes:,} are allowed", "Shorten it")


def _brackets(text: str) -> int:
    """Return how deep brackets are nested. Raises ProblemError when they don't match."""
    depth = deepest = 0
    for character in text:
        if character == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif character == ")":
            depth -= 1
            if depth < 0:
                break
    if depth:
        raise bad_filter(f"a bracket is {'not closed' if depth > 0 else 'not opened'}", _EXAMPLE)
    return deepest
