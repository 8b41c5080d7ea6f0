"""Filters of CSW against a plain evaluation in Python, and against injection by any text in any place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_pipeline.services.csw import filters
from d4c_pipeline.services.csw.errors import CswError
from d4c_pipeline.services.csw.queryables import TABLE
from d4c_pipeline.services.csw.reading import parsed
from d4c_pipeline.tables.duckdb_engine import connect

TITLES = [["a"], ["b", "é"], ["a", "b"], [], ["100%_\\"], ["' OR '1'='1"]]
KINDS = ["dataset", "service", None]
ROWS = [(title, kind) for title in TITLES for kind in KINDS]
TEXTS = ["a", "b", "é", "*", "100%_\\", "' OR '1'='1", "dataset", "?", "a*", "*%*", "'); DROP TABLE csw_records; --"]
TEXT = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@pytest.fixture(scope="module")
def table() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = connect(threads=1)
    connection.execute(f"CREATE TABLE {TABLE} (n INT, title VARCHAR[], kind VARCHAR, anytext VARCHAR)")
    for n, (title, kind) in enumerate(ROWS):
        text = " ".join(title).lower().replace("é", "e")
        connection.execute(f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?)", [n, title, kind, text])
    yield connection
    connection.close()


def found(table: duckdb.DuckDBPyConnection, condition: Any) -> set[int]:
    query = f"SELECT n FROM {TABLE} WHERE {condition.sql}"
    return {n for (n,) in table.execute(query, list(condition.parameters)).fetchall()}


def leaf(operator: str, name: str, text: str) -> tuple[str, Any]:
    attributes = ' wildCard="*" singleChar="?" escapeChar="!"' if operator == "PropertyIsLike" else ""
    document = (
        f"<{operator}{attributes}><PropertyName>{name}</PropertyName><Literal>{escape(text)}</Literal></{operator}>"
    )
    # A literal is white space trimmed, as clients indent it.
    return document, (operator, name, text.strip())


LEAVES = st.builds(
    leaf,
    st.sampled_from(["PropertyIsEqualTo", "PropertyIsNotEqualTo", "PropertyIsLike"]),
    st.sampled_from(["dc:title", "dc:type"]),
    TEXT,
)


def joined(name: str, parts: list[tuple[str, Any]]) -> tuple[str, Any]:
    return f"<{name}>{''.join(document for document, _ in parts)}</{name}>", (name, [tree for _, tree in parts])


def trees(children: st.SearchStrategy[tuple[str, Any]]) -> st.SearchStrategy[tuple[str, Any]]:
    several = st.builds(joined, st.sampled_from(["And", "Or"]), st.lists(children, min_size=1, max_size=3))
    return several | st.builds(joined, st.just("Not"), st.lists(children, min_size=1, max_size=1))


def holds(tree: Any, row: tuple[list[str], str | None]) -> bool | None:
    match tree:
        case ("And", parts):
            values = [holds(part, row) for part in parts]
            return False if False in values else None if None in values else True
        case ("Or", parts):
            values = [holds(part, row) for part in parts]
            return True if True in values else None if None in values else False
        case ("Not", [part]):
            value = holds(part, row)
            return None if value is None else not value
    operator, name, text = tree
    if name == "dc:type" and row[1] is None:
        return None
    values = row[0] if name == "dc:title" else [str(row[1])]
    if operator == "PropertyIsLike":
        pattern = "".join(
            {"*": ".*", "?": "."}.get(each) or re.escape(each)
            for each in re.sub(r"!(.)", lambda m: chr(0xE000 + ord(m[1])) if ord(m[1]) < 0x400 else m[1], text)
        )
        unescaped = re.sub(r"[\ue000-\ue3ff]", lambda m: re.escape(chr(ord(m[0]) - 0xE000)), pattern)
        return any(re.fullmatch(unescaped, value, re.DOTALL) is not None for value in values)
    same = text in values
    return same if operator == "PropertyIsEqualTo" else not same


@settings(max_examples=300, deadline=None)
@given(st.recursive(LEAVES, trees, max_leaves=8))
def test_a_filter_finds_what_python_finds(table: duckdb.DuckDBPyConnection, made: tuple[str, Any]) -> None:
    document, tree = made
    condition = filters.of_xml(parsed(f"<Filter>{document}</Filter>".encode()))
    assert found(table, condition) == {n for n, row in enumerate(ROWS) if holds(tree, row) is True}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["PropertyIsEqualTo", "PropertyIsLike", "PropertyIsNull", "BBOX", "x"]) | TEXT, TEXT, TEXT, TEXT)
def test_no_text_of_a_filter_becomes_sql(
    table: duckdb.DuckDBPyConnection, operator: str, name: str, text: str, escaping: str
) -> None:
    tag = operator if re.fullmatch(r"\w+", operator, re.ASCII) and not operator[0].isdigit() else "PropertyIsLike"
    document = (
        f"<Filter><{tag} wildCard={quoteattr(escaping)} escapeChar={quoteattr(text)}>"
        f"<PropertyName>{escape(name)}</PropertyName><Literal>{escape(text)}</Literal></{tag}></Filter>"
    )
    for make in (
        lambda: filters.of_xml(parsed(document.encode())),
        lambda: filters.of_cql(f"{name} = '{text}'"),
        lambda: filters.of_cql(text),
        lambda: filters.of_words(text),
        lambda: filters.of_time(text),
        lambda: filters.of_box(text),
    ):
        try:
            condition = make()
        except CswError:
            continue
        assert condition.sql.count("?") == len(condition.parameters)
        for given_text in (name, text, escaping):
            if len(given_text) > 4 and "'" in given_text:
                assert given_text not in condition.sql
    assert table.execute(f"SELECT count(*) FROM {TABLE}").fetchone() == (len(ROWS),)


@pytest.mark.parametrize(
    "text",
    [
        "dc:title = 'a' OR read_text('/etc/passwd') = 'b'",
        "read_text('/etc/passwd') LIKE '%'",
        "dc:title = read_text('/etc/passwd')",
        "dc:title = 'a'; DROP TABLE csw_records",
        "dc:title = 'a' UNION SELECT 1",
        "casei(anytext) = anytext",
        "dc:title = dc:creator",
        "geometry = 1",
        "title[1] = 'a'",
        "v = 'a'",
        "1 = 1 OR",
        "'",
        "",
        "a" * 20_000,
        "(" * 200,
    ],
)
def test_what_is_not_cql_is_refused(text: str) -> None:
    with pytest.raises(CswError):
        filters.of_cql(text)
