"""Census files in the published layouts (made by hand: none is among the fixtures)."""

from __future__ import annotations

from typing import Any

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


def _built(columns: dict[str, list[str | None]], layout: Any) -> tuple[census.Table, dict[str, list[Any]]]:
    batch = pa.RecordBatch.from_pydict({name: pa.array(values, pa.string()) for name, values in columns.items()})
    table = census.Table(batch.schema, layout)
    out = table.batch(batch)
    assert out.schema.equals(table.schema)
    return table, out.to_pydict()


@pytest.mark.parametrize("area", ["Census Divisions", "Dissemination Areas", "Census Tracts"])
def test_the_profile_of_2016_has_the_columns_of_that_of_2021(area: str) -> None:
    # Header of 98-401-X2016060_English_CSV_data.csv, symbols in place of values.
    table, rows = _built(
        {
            "CENSUS_YEAR": ["2016", "2016"],
            "GEO_CODE (POR)": ["9330001.00", "9330001.00"],
            "GEO_LEVEL": ["2", "2"],
            "GEO_NAME": ["Les Îles", "Les Îles"],
            "GNR": ["4.0", None],
            "GNR_LF": ["5.1", "..."],
            "DATA_QUALITY_FLAG": ["00000", "00000"],
            "ALT_GEO_CODE": ["0933", "0933"],
            f"DIM: Profile of {area} (2247)": ["Population, 2016", "  0 to 14 years"],
            f"Member ID: Profile of {area} (2247)": ["1", "9"],
            f"Notes: Profile of {area} (2247)": ["1", None],
            "Dim: Sex (3): Member ID: [1]: Total - Sex": ["12475", "45.0"],
            "Dim: Sex (3): Member ID: [2]: Male": ["...", "x"],
            "Dim: Sex (3): Member ID: [3]: Female": ["..", "F"],
        },
        "profile",
    )
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("CENSUS_YEAR", "int16"), ("GEO_CODE (POR)", "string"), ("GEO_LEVEL", "string"), ("GEO_NAME", "string"),
        ("GNR", "double"), ("GNR_LF", "double"), ("DATA_QUALITY_FLAG", "string"), ("ALT_GEO_CODE", "string"),
        ("CHARACTERISTIC_NAME", "string"), ("characteristic_level", "int8"), ("CHARACTERISTIC_ID", "string"),
        ("CHARACTERISTIC_NOTE", "string"), ("total_sex", "double"), ("total_sex_symbol", "string"),
        ("male", "double"), ("male_symbol", "string"), ("female", "double"), ("female_symbol", "string"),
    ]  # fmt: skip
    assert (rows["CHARACTERISTIC_NAME"], rows["characteristic_level"]) == (
        ["Population, 2016", "0 to 14 years"],
        [0, 1],
    )
    assert (rows["total_sex"], rows["male"], rows["male_symbol"]) == ([12475.0, 45.0], [None, None], ["...", "x"])
    assert (rows["GEO_CODE (POR)"], rows["GNR_LF"]) == (["9330001.00"] * 2, [5.1, None])
    assert table.report == {"null_values": 4, "null_values_without_symbol": 0, "symbols_in_GNR_LF": 1}
    assert table.schema.field("CHARACTERISTIC_NAME").metadata[b"source"].decode() == f"DIM: Profile of {area} (2247)"
    assert table.schema.field("male").metadata[b"description_en"] == b"Sex: Male"


def test_a_table_of_2016_has_its_dimensions_by_name() -> None:
    # Header of 98-400-X2016039_English_CSV_data.csv, with the notes that other tables have in the names of members.
    columns: dict[str, list[str | None]] = {
        "CENSUS_YEAR": ["2016"],
        "GEO_CODE (POR)": ["01"],
        "DIM: Sex (3)": ["Total - Sex"],
        "Member ID: Sex (3)": ["1"],
        "Notes: Sex (3)": [None],
        "DIM: Marital status (13)": ["    Never married"],
        "Member ID: Marital status (13)": ["9"],
        "Notes: Marital status (13)": ["2"],
        "Dim: Age (16A): Member ID: [1]: Total - Age (Note: 3)": ["1234567890.5"],
        "Dim: Age (16A): Member ID: [2]: 15 to 19 years": ["x"],
    }
    table, rows = _built(columns, "semi_wide")
    assert table.schema.names == [
        "CENSUS_YEAR", "GEO_CODE (POR)", "Sex", "sex_level", "Sex id", "Sex note", "Marital status",
        "marital_status_level", "Marital status id", "Marital status note", "total_age", "total_age_symbol",
        "c_15_to_19_years", "c_15_to_19_years_symbol",
    ]  # fmt: skip
    assert (rows["Marital status"], rows["marital_status_level"]) == (["Never married"], [2])
    assert (rows["total_age"], rows["c_15_to_19_years_symbol"]) == ([1234567890.5], ["x"])
    with pytest.raises(DataError, match=r"table of the census of 2016.*Declare processing\.census.layout: semi_wide"):
        _built(columns, "profile")


def test_french_census_files_are_read_with_their_commas() -> None:
    _, rows = _built(
        {
            "ANNÉE_RECENSEMENT": ["2021"],
            "IDUGD": ["2021A000224"],
            "NOM_CARACTÉRISTIQUE": ["  0 à 14 ans"],
            "C1_CHIFFRE_TOTAL": ["41,5"],
            "SYMBOLE": ["r"],
            "C2_CHIFFRE_HOMMES+": [None],
            "SYMBOLE_2": ["x"],
        },
        "profile",
    )
    assert (rows["chiffre_total"], rows["chiffre_total_symbol"]) == ([41.5], ["r"])
    assert (rows["chiffre_hommes"], rows["chiffre_hommes_symbol"]) == ([None], ["x"])
    assert (rows["NOM_CARACTÉRISTIQUE"], rows["characteristic_level"]) == (["0 à 14 ans"], [1])
    _, rows = _built(
        {
            "CODE_GÉO": ["01"],
            "DIM: Profil des aires de diffusion (57)": ["  Âge"],
            "Membre ID: Profil des aires de diffusion (57)": ["2"],
            "Dim: Sexe (3): Membre ID: [1]: Total - Sexe": ["7,25"],
            "Dim: Sexe (3): Membre ID: [2]: Sexe masculin": ["..."],
        },
        "profile",
    )
    assert (rows["CHARACTERISTIC_NAME"], rows["total_sexe"]) == (["Âge"], [7.25])
    assert (rows["sexe_masculin"], rows["sexe_masculin_symbol"]) == ([None], ["..."])


def test_the_profile_of_2011_has_its_flags() -> None:
    _, rows = _built(
        {
            "Geo_Code": ["1001"],
            "Characteristic": ["  0 to 4 years"],
            "Total": ["10"],
            "Flag_Total": [None],
            "Male": [None],
            "Flag_Male": ["x"],
        },
        "profile",
    )
    assert (rows["total"], rows["male"], rows["male_symbol"]) == ([10.0], [None], ["x"])
    assert (rows["Characteristic"], rows["characteristic_level"]) == (["0 to 4 years"], [1])


def test_another_layout_is_refused() -> None:
    with pytest.raises(DataError, match="No column looks like a value of a census file in the layout semi_wide"):
        census.Table(pa.schema([(name, pa.string()) for name in PROFILE]), "semi_wide")
    batch = pa.RecordBatch.from_pydict({"C1_COUNT_TOTAL": ["many"]})
    with pytest.raises(DataError, match="C1_COUNT_TOTAL has values that are neither numbers nor known symbols: 'many'"):
        census.Table(batch.schema, "profile").batch(batch)
