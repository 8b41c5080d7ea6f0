import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pytest
import shapely

from d4c_pipeline.services.cql2 import Column, Kind, Limits, column_of, condition, queryables
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.tables.duckdb_engine import connect

COLUMNS = {
    "number": Column('"number"', Kind.NUMBER),
    "whole": Column('"whole"', Kind.WHOLE),
    "single": Column('"single"', Kind.SINGLE),
    "title": Column('"title"', Kind.TEXT),
    "open": Column('"open"', Kind.TRUTH),
    "day": Column('"day"', Kind.DATE),
    "moment": Column('"moment"', Kind.MOMENT),
    "until": Column('"until"', Kind.MOMENT),
    "keywords": Column('"keywords"', Kind.TEXTS),
    "place": Column('"place"', Kind.GEOMETRY, ('"west"', '"south"', '"east"', '"north"')),
}
ROWS = [
    (1, 1.5, 7, 0.1, "Élections 50%", True, date(2020, 1, 1), datetime(2020, 12, 31, 15, tzinfo=UTC),
     datetime(2021, 6, 1, tzinfo=UTC), ["census", "votes"], shapely.box(0, 0, 2, 2)),
    (2, -2.0, 9007199254740993, 0.2, "it's\nO_O", False, date(2021, 2, 3), datetime(2021, 1, 1, tzinfo=UTC),
     None, ["census"], shapely.box(5, 5, 6, 6)),
    (3, None, None, None, None, None, None, None, None, None, None),
]  # fmt: skip


@pytest.fixture(scope="module")
def table() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = connect(extensions=("spatial",))
    connection.execute(
        "CREATE TABLE rows (id INT, number DOUBLE, whole BIGINT, single FLOAT, title VARCHAR, open BOOLEAN, day DATE,"
        " moment TIMESTAMPTZ, until TIMESTAMPTZ, keywords VARCHAR[], place BLOB, west DOUBLE, south DOUBLE,"
        " east DOUBLE, north DOUBLE)"
    )
    for row in ROWS:
        *facts, place = row
        box = place.bounds if place is not None else (None,) * 4
        wkb = None if place is None else shapely.to_wkb(place)
        connection.execute(f"INSERT INTO rows VALUES ({', '.join('?' * 15)})", [*facts, wkb, *box])
    yield connection
    connection.close()


def found(connection: duckdb.DuckDBPyConnection, expression: Any, **more: Any) -> set[int]:
    made = condition(expression, COLUMNS, **more)
    return {
        row[0] for row in connection.execute(f"SELECT id FROM rows WHERE {made.sql}", list(made.parameters)).fetchall()
    }


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("number = 1.5", {1}),
        ("number <> 1.5", {2}),
        ("NOT number = 1.5", {2}),  # three-valued: a row without a number is not found
        ("number IS NULL", {3}),
        ("number IS NOT NULL", {1, 2}),
        ("whole = 7", {1}),
        ("whole > 7.5", {2}),
        ("single = 0.1", {1}),  # in single precision
        ("single > 0.1", {2}),
        ("whole IN (7, 8)", {1}),
        ("whole NOT IN (7, 8)", {2}),
        ("number BETWEEN -2 AND 0", {2}),
        ("number * 2 + 1 = 4", {1}),
        ("whole + 9223372036854775807 > 0", {1, 2}),  # no overflow
        ("number / 0 IS NULL", {1, 2, 3}),
        ("whole div 2 = 3", {1}),
        ("whole % 4 = 3 OR open = false", {1, 2}),
        ("number ^ 2 = 4", {2}),
        ("-number = 2", {2}),
        ("open", {1}),
        ("NOT open", {2}),
        ("true", {1, 2, 3}),
        ("title = 'it''s\nO_O'", {2}),
        ("title LIKE 'Él%'", {1}),
        ("title LIKE '%50\\%'", {1}),
        ("title LIKE '%O\\_O'", {2}),
        ("title LIKE '%O.O'", set()),  # a dot is a dot
        ("title LIKE '____s%'", set()),
        ("title LIKE '___s%'", {2}),
        ("title NOT LIKE '%s%'", set()),
        ("CASEI(title) LIKE CASEI('ÉLECT%')", {1}),
        ("ACCENTI(CASEI(title)) LIKE ACCENTI(CASEI('ELECT%'))", {1}),
        ("CASEI(title) = CASEI('IT''S\no_o')", {2}),
        ("number = 1.5 OR number = -2 AND open", {1}),
        ("(number = 1.5 OR number = -2) AND open = false", {2}),
        ("day = DATE('2020-01-01')", {1}),
        ("day >= '2020-01-02'", {2}),
        ("day < TIMESTAMP('2020-01-01T00:00:01Z')", {1}),
        ("moment = TIMESTAMP('2021-01-01T01:00:00+01:00')", {2}),
        ("moment > DATE('2020-12-31')", {1, 2}),
        ("moment BETWEEN '2020-12-31T00:00:00Z' AND '2020-12-31T23:00:00Z'", {1}),
        ("T_DURING(moment, INTERVAL('2020-01-01', '2020-12-31'))", {1}),
        ("T_INTERSECTS(moment, INTERVAL('2021-01-01', '..'))", {2}),
        ("T_AFTER(day, DATE('2020-01-01'))", {2}),
        ("T_BEFORE(day, '2020-01-02')", {1}),
        ("T_EQUALS(day, DATE('2020-01-01'))", {1}),
        ("T_CONTAINS(INTERVAL(moment, until), DATE('2021-03-01'))", {1}),
        ("T_INTERSECTS(INTERVAL(moment, '..'), DATE('2021-03-01'))", {1, 2}),
        ("T_MEETS(INTERVAL(moment, until), INTERVAL('2021-06-01T00:00:00Z', '..'))", {1}),
        ("T_STARTS(moment, INTERVAL(moment, until))", {1}),
        ("A_CONTAINS(keywords, ('census', 'votes'))", {1}),
        ("A_CONTAINEDBY(keywords, ('census', 'roads'))", {2}),
        ("A_OVERLAPS(keywords, ('votes', 'x'))", {1}),
        ("A_EQUALS(keywords, ('votes', 'census'))", {1}),
        ("S_INTERSECTS(place, BBOX(1, 1, 3, 3))", {1}),
        ("S_INTERSECTS(place, BBOX(4, -10, 1, 10))", {1, 2}),  # across the 180th meridian: 4 to 180, -180 to 1
        ("S_INTERSECTS(place, BBOX(7, -10, -1, 10))", set()),
        ("S_WITHIN(place, POLYGON((4 4, 7 4, 7 7, 4 7, 4 4)))", {2}),
        ("S_DISJOINT(place, POINT(1 1))", {2}),
        ("NOT S_INTERSECTS(place, POINT(1 1))", {2}),
        ("S_CONTAINS(POLYGON((4 4, 7 4, 7 7, 4 7, 4 4)), place)", {2}),
        ("S_TOUCHES(place, POINT(2 1))", {1}),
        ("S_EQUALS(place, BBOX(0, 0, 2, 2))", {1}),
        ("S_OVERLAPS(place, BBOX(1, 1, 3, 3))", {1}),
        ("S_CROSSES(place, LINESTRING(-1 1, 3 1))", {1}),
    ],
)  # fmt: skip
def test_a_filter_finds_the_rows_that_the_standard_says(
    table: duckdb.DuckDBPyConnection, text: str, ids: set[int]
) -> None:
    assert found(table, text) == ids


def test_json_keeps_whole_numbers_exact(table: duckdb.DuckDBPyConnection) -> None:
    tree = {"op": "=", "args": [{"property": "whole"}, 7]}
    assert found(table, tree) == found(table, json.dumps(tree), language="cql2-json") == {1}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("nothing = 1", "'nothing' is not a property"),
        ("read_text('/etc/passwd') = 'x'", "'read_text' is not an operator"),
        ("upper(title) = 'X'", "'upper' is not an operator"),
        ("title = 1", "title is text and 1 is a whole number"),
        ("number = '1'", "number is a number and '1' is text"),
        ("number", "number is a number, not a condition"),
        ("title = null", "null is no value"),
        ("place = 1", "place is a geometry"),
        ("keywords = 'x'", "keywords is a list of texts"),
        ("number =", "not CQL2 text at line 1, character 9"),
        ("title = 'x", "quotation mark"),
        ("(number = 1", "not closed"),
        ("number = 1)", "not opened"),
        ("whole = 9007199254740993", "more digits than are exact"),
        ("day = DATE('2020-13-01')", "neither a date nor a time"),
        ("day = DATE('2020-W01-1')", "neither a date nor a time"),
        ("day > 'soon'", "neither a date nor a time"),
        ("moment = TIMESTAMP('2020-01-01')", "is not a timestamp"),
        ("T_AFTER(title, DATE('2020-01-01'))", "title is text, not a time"),
        ("T_DURING(moment, INTERVAL('2021-01-01', '2020-01-01'))", "ends before it begins"),
        ("title LIKE 'x\\'", "ends with \\"),
        ("title LIKE number", "not a text"),
        ("S_INTERSECTS(place, BBOX(0, 5, 1, 4))", "south of a box"),
        ("S_INTERSECTS(place, BBOX(0, 5, 1))", "4 or 6 numbers"),
        ("S_INTERSECTS(place, title)", "title is text"),
        ("S_INTERSECTS(place, POLYGON((0 0, 1 1, 0 1, 1 0, 0 0)))", "not valid: Self-intersection"),
        ("title IN ('a')" + " OR title IN ('a')" * 1_000, "bytes, and 10,000 are allowed"),
        ("(" * 40 + "number = 1" + ")" * 40, "nested 40 deep"),
        ("(" * 40, "not closed"),
        ("1" + "=1" * 3_000, "more than 1,000 operators"),
        ("number IN (" + "1," * 2_500 + "1)", "2,000 operators and values"),
        ("NOT " * 500 + "open", "nested more than 32 deep"),
    ],
)  # fmt: skip
def test_a_wrong_filter_is_refused_with_the_part_that_is_wrong(text: str, part: str) -> None:
    with pytest.raises(ProblemError) as refused:
        condition(text, COLUMNS)
    assert part in refused.value.detail
    assert refused.value.status == 400
    assert refused.value.remedy


def test_an_unknown_property_names_the_known_ones() -> None:
    with pytest.raises(ProblemError) as refused:
        condition("nothing = 1", COLUMNS)
    assert refused.value.remedy == "Use one of " + ", ".join(COLUMNS)


@pytest.mark.parametrize(
    "tree",
    [
        {"op": "foo", "args": []},
        {"op": "="},
        {"op": "and", "args": []},
        {"op": "=", "args": [{"property": 1}, 1]},
        {"op": "=", "args": [{"property": "number"}, 1], "more": 1},
        {"op": "s_intersects", "args": [{"property": "place"}, {"type": "Polygon", "coordinates": [[]]}]},
        {"op": "s_intersects", "args": [{"property": "place"}, {"type": "Point", "coordinates": ["x", 0]}]},
        {"op": "like", "args": [{"property": "title"}, {"op": "casei", "args": [1]}]},
        {"op": "like", "args": [{"property": "title"}, {"op": "casei"}]},
        {"op": "in", "args": [{"property": "title"}, []]},
        {"op": "t_after", "args": [{"interval": ["..", 5]}, {"date": "2020-01-01"}]},
        {"op": "t_after", "args": [{"interval": [".."]}, {"date": "2020-01-01"}]},
        {"op": "=", "args": [{"date": {"property": "day"}}, {"date": "2020-01-01"}]},
        [],
        "x",
        {},
        None,
    ],
)  # fmt: skip
def test_a_wrong_tree_is_refused(tree: Any) -> None:
    with pytest.raises(ProblemError):
        condition(json.dumps(tree), COLUMNS, language="cql2-json")


def test_deep_json_is_refused_and_not_recursed_into() -> None:
    deep = '{"op":"not","args":[' * 200 + "true" + "]}" * 200
    with pytest.raises(ProblemError, match="nested more than 32 deep"):
        condition(deep, COLUMNS, language="cql2-json")
    with pytest.raises(ProblemError, match="bytes"):
        condition('{"op":"not","args":[' * 5_000 + "true" + "]}" * 5_000, COLUMNS, language="cql2-json")


def test_vertices_are_limited() -> None:
    ring = [[i / 50, (i % 2) / 10] for i in range(50)]
    line = {"type": "LineString", "coordinates": ring}
    tree = {"op": "s_intersects", "args": [{"property": "place"}, line]}
    with pytest.raises(ProblemError, match="50 vertices, and 49 are allowed"):
        condition(tree, COLUMNS, limits=Limits(vertices=49))
    assert condition(tree, COLUMNS, limits=Limits(vertices=50)).parameters


def test_a_pattern_with_many_wildcards_ends() -> None:
    connection = connect()
    made = condition("title LIKE '" + "a%" * 200 + "b'", {"title": Column("title", Kind.TEXT)})
    query = f"SELECT count(*) FROM (SELECT repeat('a', 5000) AS title FROM range(10)) WHERE {made.sql}"
    assert connection.execute(query, list(made.parameters)).fetchone() == (0,)


def test_a_long_pattern_of_single_characters_compiles() -> None:
    connection = connect()
    made = condition("title LIKE '" + "_" * 500 + "'", {"title": Column("title", Kind.TEXT)})
    query = f"SELECT count(*) FROM (SELECT repeat('é', 500) AS title) WHERE {made.sql}"
    assert connection.execute(query, list(made.parameters)).fetchone() == (1,)


def test_columns_follow_from_their_types() -> None:
    kinds = {
        name: column_of("x", name) for name in ("VARCHAR", "UBIGINT", "DECIMAL(9,2)", "TIMESTAMP_NS", "STRUCT(a INT)")
    }
    assert [None if found is None else found.kind for found in kinds.values()] == [
        Kind.TEXT, Kind.WHOLE, Kind.NUMBER, Kind.MOMENT, None,
    ]  # fmt: skip
    assert column_of('a"b', "BIGINT") == Column('"a""b"', Kind.WHOLE)


def test_queryables_describe_the_columns() -> None:
    schema = queryables(COLUMNS, "https://example.org/queryables", "Things")
    assert schema["properties"]["moment"] == {"title": "moment", "type": "string", "format": "date-time"}
    assert schema["additionalProperties"] is False
