"""Census files in the published layouts (made by hand: none is among the fixtures)."""

from __future__ import annotations

import pyarrow as pa
import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.statcan import census

PROFILE = {
    "CENSUS_YEAR": ["2021", "2021", "2021"],
    "DGUID": ["2021A000011124"] * 3,
    "CHARACTERISTIC_ID": ["1", "8", "9"],
    "CHARACTERISTIC_NAME": ["Population, 2021", "  0 to 14 years", "    0 to 4 years"],
    "C1_COUNT_TOTAL": ["36991981", "41.0", None],
    "SYMBOL": [None, "r", "x"],
    "C2_COUNT_MEN+": [None, "..", "3"],
    "SYMBOL_2": ["...", None, "§"],
    "C10_RATE_TOTAL": ["", "16.3", "5.0"],
    "SYMBOL_3": [None, None, None],
}


def test_the_profile_has_numbers_and_the_symbol_of_each() -> None:
    batch = pa.RecordBatch.from_pydict({name: pa.array(values, pa.string()) for name, values in PROFILE.items()})
    table = census.Table(batch.schema, "profile")
    out = table.batch(batch)
    assert out.schema.equals(table.schema)
    assert out.schema.names == [
        "CENSUS_YEAR", "DGUID", "CHARACTERISTIC_ID", "CHARACTERISTIC_NAME", "characteristic_level", "count_total",
        "count_total_symbol", "count_men", "count_men_symbol", "rate_total", "rate_total_symbol",
    ]  # fmt: skip
    rows = out.to_pydict()
    assert rows["CHARACTERISTIC_NAME"] == ["Population, 2021", "0 to 14 years", "0 to 4 years"]
    assert rows["characteristic_level"] == [0, 1, 2]
    assert (rows["count_total"], rows["count_total_symbol"]) == ([36991981.0, 41.0, None], [None, "r", "x"])
    assert (rows["count_men"], rows["count_men_symbol"]) == ([None, None, 3.0], ["...", "..", "§"])
    assert rows["rate_total"] == [None, 16.3, 5.0]
    assert table.report == {
        "null_values": 4, "null_values_without_symbol": 1, "unknown_symbols_examples": ["§"],
    }  # fmt: skip
    symbol = out.schema.field("count_men_symbol").metadata
    assert symbol[b"source"] == b"SYMBOL_2"
    assert "x confidentiel en vertu" in symbol[b"description_fr"].decode()


def test_semi_wide_tables_have_a_column_a_member() -> None:
    columns = {
        "REF_DATE": ["2021", "2021"],
        "GEO": ["Canada", "Nunavut"],
        "Coordinate": ["1", "2"],
        "Population and dwelling counts (13): Population, 2021 [1]": ["36991981", None],
        "Symbols": [None, ".."],
        "Population and dwelling counts (13): Land area in square kilometres, 2021 [10]": ["8788702.8", "1836993.78"],
        "Symbols_2": [None, "E"],
    }
    batch = pa.RecordBatch.from_pydict({name: pa.array(values, pa.string()) for name, values in columns.items()})
    table = census.Table(batch.schema, "semi_wide")
    rows = table.batch(batch).to_pydict()
    assert rows["population_2021"] == [36991981.0, None]
    assert rows["population_2021_symbol"] == [None, ".."]
    assert rows["land_area_in_square_kilometres_2021"] == [8788702.8, 1836993.78]
    meaning = table.schema.field("population_2021").metadata[b"description_en"]
    assert meaning == b"Population and dwelling counts: Population, 2021"


def test_another_layout_is_refused() -> None:
    with pytest.raises(DataError, match="No column looks like a value of a census file in the layout semi_wide"):
        census.Table(pa.schema([(name, pa.string()) for name in PROFILE]), "semi_wide")
    batch = pa.RecordBatch.from_pydict({"C1_COUNT_TOTAL": ["many"]})
    with pytest.raises(DataError, match="C1_COUNT_TOTAL has values that are neither numbers nor known symbols: 'many'"):
        census.Table(batch.schema, "profile").batch(batch)
