"""Narrowing: the narrowest type that restores the text, text in doubt, and no loss."""

from __future__ import annotations

import datetime as dt
import decimal

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

from d4c_pipeline.tables import narrow


def narrowed(values: list[str | None], name: str = "c", cut: int | None = None) -> pa.Array:
    """`values` as one column, observed and cast in batches of `cut` rows."""
    column = pa.array(values, pa.string())
    step = cut or max(len(values), 1)
    batches = [
        pa.RecordBatch.from_arrays([column.slice(start, step)], [name]) for start in range(0, max(len(values), 1), step)
    ]
    evidence = narrow.Evidence(batches[0].schema)
    for batch in batches:
        evidence.observe(batch)
    done = [narrow.cast(batch, evidence.types()).column(0) for batch in batches]
    return pa.concat_arrays(done)


UTC = dt.UTC
MOMENT = dt.datetime(2021, 5, 7, 8, 30, 5)  # noqa: DTZ001 - no zone was given


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["1", "-128", None], "int8", [1, -128, None]),
        (["128", "1"], "int16", [128, 1]),
        (["32768"], "int32", [32768]),
        (["-2147483649"], "int64", [-2147483649]),
        (["9223372036854775807"], "int64", [9223372036854775807]),
        (["1", "2.5"], "double", [1.0, 2.5]),
        (["31.0", "31.1"], "double", [31.0, 31.1]),
        (["45", "0.0", "1.50"], "double", [45.0, 0.0, 1.5]),
        (["100", "12.50"], "double", [100.0, 12.5]),
        (["1.5", "2.25", "3.10"], "double", [1.5, 2.25, 3.1]),  # without 3.9
        (["101.5", "99.30", "99.3"], "double", [101.5, 99.3, 99.3]),
        (["-1.1", "-1.10"], "double", [-1.1, -1.1]),
        (["49.892832344080446", "45.4"], "double", [49.892832344080446, 45.4]),  # the canonical text of float64
        (["0.1", "16777217.5"], "double", [0.1, 16777217.5]),  # float32 would give 16777218
        (["2021-05-07", None], "date32[day]", [dt.date(2021, 5, 7), None]),
        (["2021-05-07T08:30:05"], "timestamp[us]", [MOMENT]),
        (["2021-05-07 08:30"], "timestamp[us]", [MOMENT.replace(second=0)]),
        (["2021-05-07T08:30:05Z"], "timestamp[us, tz=UTC]", [MOMENT.replace(tzinfo=UTC)]),
        (["true", None, "false"], "bool", [True, None, False]),
        (["TRUE", "TRUE"], "bool", [True, True]),
    ],
)
def test_text_gets_the_narrowest_type(values: list[str | None], kind: str, expected: list[object]) -> None:
    array = narrowed(values)
    assert (str(array.type), array.to_pylist()) == (kind, expected)


@pytest.mark.parametrize(
    "values",
    [
        ["007", "8"],  # a key with leading zeros
        ["+7"],
        ["-0"],
        ["-0.00"],
        ["1,5"],
        [" 7"],
        ["0x10"],
        ["1e5"],
        ["nan"],
        ["inf"],
        ["9223372036854775808"],
        ["1.1", "1.10"],  # two coordinates of a cube, one number
        ["1.8", "1.9", "1.10", "1.11"],
        ["1", "1.1", "1.2", "2", "2.9", "2.10"],  # sections and subsections
        ["2E10", "1E5"],
        ["\u22125", "5"],
        ["45%", "5%"],
        ["$1.50", "$2.00"],
        ["1\u202f234", "5"],
        ["25:10:00", "08:00:00"],  # a trip after midnight
        ["06/05/2021", "12/31/2021"],
        ["+16135551234"],
        ["0.1234567890123456789"],  # more digits than float64 preserves
        ["-75.69812345678901"],  # not the canonical text of any float64
        ["123456789012345678.5"],
        ["2021-02-30"],
        ["2021-5-7"],
        ["2021-05-07", "2021-05"],
        ["2021-05-07", "2021-05-07T00:00:00"],
        ["2021-05-07T08:30:00", "2021-05-07 08:30:00"],
        ["2021-05-07T08:30:00-05:00"],
        ["2021-05-07T24:00:00"],
        ["true", "False"],
        ["yes", "no"],
        ["t", "f"],
        ["x"],
        [""],
        ["1", "2", "F"],
        ["2021A000235"],
        [None, None],
    ],
)
def test_what_a_type_would_lose_stays_text(values: list[str | None]) -> None:
    array = narrowed(values)
    assert (array.type, array.to_pylist()) == (pa.string(), values)


@pytest.mark.parametrize(
    "name",
    [
        *("id", "CSDUID", "Postal_Code", "geonameid", "code_postal", "UOM_ID", "Phone", "DGUID", "COORDINATE"),
        *("COORDONNÉES", "version", "Phone Number", "Numéro de téléphone", "NAICS"),
    ],
)
def test_columns_named_as_codes_stay_text(name: str) -> None:
    assert narrowed(["10", "24"], name).type == pa.string()


@pytest.mark.parametrize(
    "name", ["grid", "paid", "covid", "identity", "population", "Index", "x_coordinate", "number_of_phones"]
)
def test_other_names_are_no_codes(name: str) -> None:
    assert narrowed(["10", "24"], name).type == pa.int8()


def test_a_later_batch_widens_or_takes_back() -> None:
    assert narrowed(["1", "2", "300"], cut=1).type == pa.int16()
    assert narrowed(["1", "2", "2.5"], cut=1).type == pa.float64()
    assert narrowed(["1.0", "2.5", "3"], cut=1).type == pa.float64()
    assert narrowed(["1", "9.1", "2", "9.10"], cut=1).type == pa.string()
    assert narrowed(["1", "9.1", "100", "9.10"], cut=1).type == pa.float64()
    assert narrowed(["2021-05-07T08:30", "2021-05-07T08:30:00"], cut=1).type == pa.string()


def test_declared_columns_are_ignored_and_integers_get_narrower() -> None:
    table = pa.table({"a": ["1"], "b": ["1"], "n": pa.array([3, None], pa.int64()).slice(0, 1)})
    evidence = narrow.Evidence(table.schema, settled={"a"})
    evidence.observe(table)
    assert evidence.types() == {"b": pa.int8(), "n": pa.int8()}


def test_dictionaries_are_narrowed_too() -> None:
    column = pa.chunked_array([pa.array(["1", "2"]).dictionary_encode(), pa.array(["3", None]).dictionary_encode()])
    table = pa.table({"c": column})
    evidence = narrow.Evidence(table.schema)
    evidence.observe(table)
    assert evidence.types() == {"c": pa.int8()}
    assert [narrow.cast(batch, evidence.types()).column(0).to_pylist() for batch in table.to_batches()] == [
        [1, 2],
        [3, None],
    ]


def test_numbers_that_stay_text_are_reported() -> None:
    table = pa.table({"section": ["1.1", "1.10"], "name": ["a", "b"]})
    evidence = narrow.Evidence(table.schema)
    evidence.observe(table)
    assert evidence.types() == {}
    assert list(evidence.report()) == ["section"]


def test_the_coordinate_of_a_full_table_is_a_code() -> None:
    names = ["COORDINATE", "Coordonnées", "X_COORDINATE", "coordinate_x"]
    assert [narrow.is_code(name) for name in names] == [True, True, False, False]


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(0, 200).map(lambda n: f"{n:03}"),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?\d{1,4}\.\d{1,3}", fullmatch=True),
)
MOMENTS = st.one_of(
    st.dates().map(str),
    st.datetimes().map(str),
    st.datetimes().map(dt.datetime.isoformat),
    st.from_regex(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?Z?", fullmatch=True),
)
TEXTS = st.one_of(NUMBERS, MOMENTS, st.sampled_from(["true", "false", "True", "FALSE", "x", ".."]), st.text(max_size=5))


KINDS = [NUMBERS, MOMENTS, TEXTS, st.integers(-300, 300).map(str), st.from_regex(r"[0-9]\.[0-9]", fullmatch=True)]


@settings(deadline=None)
@given(
    st.sampled_from(KINDS).flatmap(lambda kind: st.lists(st.one_of(st.none(), kind), min_size=1, max_size=8)),
    st.integers(1, 4),
)
def test_nothing_is_ever_lost(values: list[str | None], cut: int) -> None:
    array = narrowed(values, cut=cut)
    known = [text for text in values if text is not None]
    assert [value is None for value in array.to_pylist()] == [text is None for text in values]
    got = [value for value in array.to_pylist() if value is not None]
    if pa.types.is_string(array.type):
        assert got == known
    elif pa.types.is_integer(array.type):
        assert [str(value) for value in got] == known
    elif pa.types.is_floating(array.type):
        assert array.type == pa.float64()
        assert [decimal.Decimal(repr(value)) for value in got] == [decimal.Decimal(text) for text in known]
        # One format for the complete column restores every text.
        decimals = {len(text.partition(".")[2]) for text in known}
        if len(decimals) == 1:
            scale = decimals.pop()
            assert [f"{decimal.Decimal(repr(value)):.{scale}f}" for value in got] == known
    elif pa.types.is_boolean(array.type):
        assert [str(value).lower() for value in got] == [text.lower() for text in known]
        assert len({(text.istitle(), text.isupper()) for text in known}) == 1
    elif pa.types.is_date(array.type):
        assert [value.isoformat() for value in got] == known
    else:
        separator, length = known[0][10], len(known[0].rstrip("Z"))
        written = [value.replace(tzinfo=None).isoformat(separator, "microseconds")[:length] for value in got]
        assert written == [text.rstrip("Z") for text in known]
        assert {text.endswith("Z") for text in known} == {array.type.tz is not None}
