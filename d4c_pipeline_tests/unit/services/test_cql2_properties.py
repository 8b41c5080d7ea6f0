"""CQL2 against a plain evaluation in Python, and against injection."""

import json
import operator
import re
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_pipeline.services.cql2 import Column, Kind, condition
from d4c_pipeline.services.cql2.compiling import OPERATORS
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.tables.duckdb_engine import connect

COLUMNS = {
    "a": Column('"a"', Kind.WHOLE),
    "b": Column('"b"', Kind.NUMBER),
    "it's": Column('"it\'s"', Kind.TEXT),
    'x"; DROP TABLE rows; --': Column('"d"', Kind.TEXT),
    "yes": Column('"yes"', Kind.TRUTH),
}
TEXTS = ["", "a", "A", "é", "ab", "a%", "_", "\\", "'", "' OR '1'='1", "\n"]
NUMBERS = [-2, 0, 1, 1.5, 3]
ROWS = [
    {"a": a, "b": b, "it's": TEXTS[n % 11], 'x"; DROP TABLE rows; --': (None, *TEXTS)[n * 5 % 12], "yes": yes}
    for n, (a, b, yes) in enumerate(
        (a, b, yes) for a in (None, -2, 0, 1, 3) for b in (None, -2.0, 1.5) for yes in (None, True, False)
    )
]
COMPARE = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip


@pytest.fixture(scope="module")
def table() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = connect(threads=1)
    connection.execute('CREATE TABLE rows (n INT, a BIGINT, b DOUBLE, "it\'s" VARCHAR, d VARCHAR, yes BOOLEAN)')
    connection.executemany(
        "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", [[n, *row.values()] for n, row in enumerate(ROWS)]
    )
    yield connection
    connection.close()


def prop(*names: str) -> st.SearchStrategy[Any]:
    return st.sampled_from([{"property": name} for name in names])


numbers = prop("a", "b") | st.sampled_from(NUMBERS)
texts = prop(*list(COLUMNS)[2:4]) | st.sampled_from(TEXTS)
sums = numbers | st.tuples(st.sampled_from("+-*/"), numbers, numbers).map(lambda t: {"op": t[0], "args": list(t[1:])})


def op(name: str, *arguments: Any) -> Any:
    return st.tuples(*arguments).map(lambda found: {"op": name, "args": list(found)})


leaves = st.one_of(
    *(op(name, sums, sums) for name in COMPARE),
    *(op(name, texts, texts) for name in COMPARE),
    op("between", numbers, numbers, numbers),
    op("in", texts, st.lists(texts, min_size=1, max_size=3)),
    op("like", texts, st.sampled_from(["%", "a%", "_", "%'%", "\\%", "\\\\", "%a%b%", "é"])),
    op("isNull", texts | numbers),
    prop("yes"),
    st.booleans(),
)
trees = st.recursive(
    leaves,
    lambda inner: (
        op("not", inner)
        | st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)).map(
            lambda found: {"op": found[0], "args": found[1]}
        )
    ),
    max_leaves=6,
)


def value(node: Any, row: dict[str, Any]) -> Any:
    """Evaluate a node for a row, with None for NULL."""
    if not isinstance(node, dict):
        return node
    if "property" in node:
        return row[node["property"]]
    name = node["op"]
    if name in ("and", "or"):
        found = [value(each, row) for each in node["args"]]
        decides = name == "or"
        return decides if decides in found else (None if None in found else not decides)
    if name == "in":
        tested, choices = value(node["args"][0], row), [value(each, row) for each in node["args"][1]]
        if tested is None:
            return None
        return True if tested in choices else (None if None in choices else False)
    found = [value(each, row) for each in node["args"]]
    if name == "isNull":
        return found[0] is None
    if name == "between":
        low = None if None in found[:2] else found[0] >= found[1]
        high = None if None in (found[0], found[2]) else found[0] <= found[2]
        return False if False in (low, high) else (None if None in (low, high) else True)
    if None in found:
        return None
    if name == "not":
        return not found[0]
    if name == "like":
        return like(*found)
    if name == "/":
        return None if found[1] == 0 else found[0] / found[1]
    return {**COMPARE, "+": operator.add, "-": operator.sub, "*": operator.mul}[name](*found)


def like(text: str, pattern: str) -> bool:
    if not pattern:
        return not text
    head, rest = pattern[0], pattern[1:]
    if head == "%":
        return any(like(text[start:], rest) for start in range(len(text) + 1))
    if head == "\\":
        return text[:1] == rest[:1] and like(text[1:], rest[1:])
    return bool(text) and head in ("_", text[0]) and like(text[1:], rest)


@given(tree=trees)
@settings(max_examples=150, deadline=None)
def test_sql_finds_what_a_plain_evaluation_finds(table: duckdb.DuckDBPyConnection, tree: Any) -> None:
    made = condition(tree, COLUMNS)
    rows = table.execute(f"SELECT n FROM rows WHERE {made.sql}", list(made.parameters)).fetchall()
    assert {n for (n,) in rows} == {n for n, row in enumerate(ROWS) if value(tree, row) is True}


wild = st.text(max_size=12) | st.sampled_from(
    [
        "read_text",
        "getenv",
        "' OR 1=1 --",
        '"',
        "a) OR (1=1",
        "{}",
        "{0.__class__}",
        "?",
        "a\x00b",
        'x"; DROP TABLE rows; --',
    ]
)
named = wild.map(lambda name: {"property": name})
scalars = st.one_of(wild, st.integers(), st.floats(), st.booleans(), st.none(), named)
keys = wild | st.sampled_from(["op", "args", "date", "interval", "type", "bbox", "coordinates"])
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3),
        st.tuples(st.sampled_from(sorted(OPERATORS)) | wild, st.lists(inner, max_size=3)).map(
            lambda found: {"op": found[0], "args": found[1]}
        ),
    ),
    max_leaves=8,
)
ALLOWED = re.compile(
    r"(\(|\)|,|\?| |=|<>|<=|>=|<|>|AND|OR|NOT|IN|IS NULL|BETWEEN|CAST|AS|BOOLEAN|VARCHAR|\[\]|TIMESTAMPTZ|DATE|BIGINT"
    r"|DOUBLE|lower|strip_accents|regexp_full_match|'s'|'-?infinity'|list_has_all|list_has_any|trunc|pow|nullif|0|\+|-|\*|/|%"
    r"|ST_\w+|BLOB|\"a\"|\"b\"|\"it's\"|\"d\"|\"yes\"|INTERVAL 1 DAY|INTERVAL 1 MICROSECOND)*"
)


@given(tree=anything)
@settings(max_examples=300, deadline=None)
def test_no_text_of_a_tree_enters_the_sql(tree: Any) -> None:
    try:
        text = json.dumps(tree)
    except ValueError:
        return
    try:
        made = condition(text, COLUMNS, language="cql2-json")
    except ProblemError:
        return
    assert ALLOWED.fullmatch(made.sql), made.sql
    assert made.sql.count("?") == len(made.parameters)


words = st.sampled_from(["a", "=", "1", "(", ")", "'x'", "AND", "NOT", "read_text(", "LIKE", "-", ","])


@given(text=st.lists(wild | words, max_size=12).map(" ".join))
@settings(max_examples=300, deadline=None)
def test_no_part_of_a_text_enters_the_sql(text: str) -> None:
    try:
        made = condition(text, COLUMNS)
    except ProblemError:
        return
    assert ALLOWED.fullmatch(made.sql), made.sql
    assert made.sql.count("?") == len(made.parameters)
