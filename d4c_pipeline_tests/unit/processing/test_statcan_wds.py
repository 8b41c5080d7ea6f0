"""Full tables of the Web Data Service: the real ones of the fixtures with their known counts, and odd rows by hand."""

from __future__ import annotations

import datetime as dt
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.statcan import cube, wds

Load = Callable[[str], tuple[pa.Table, wds.Table]]
COLUMNS = ["REF_DATE", "GEO", "DGUID", "Value", "UOM", "UOM_ID", "SCALAR_FACTOR", "SCALAR_ID", "VECTOR", "COORDINATE",
           "VALUE", "STATUS", "SYMBOL", "TERMINATED", "DECIMALS"]  # fmt: skip
CELLS = ["2021", "Canada", "2021A000011124", "Wheat", "Tonnes", "287", "units ", "0", "v1", "1.2", "31.0", None, None,
         None, "1"]  # fmt: skip
ROW = dict(zip(COLUMNS, CELLS, strict=True))


def texts(path: Path) -> pa.Table:
    names = pyarrow.csv.open_csv(path).schema.names
    options = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""],
        quoted_strings_can_be_null=True,
    )  # fmt: skip
    return pyarrow.csv.read_csv(path, convert_options=options)


@pytest.fixture
def load(fixtures: Path, tmp_path: Path) -> Load:
    """Read a full table of the fixtures with what metadata there are."""

    def read(product: str) -> tuple[pa.Table, wds.Table]:
        folder = fixtures / "08_statcan_wds"
        with zipfile.ZipFile(folder / f"{product}-eng.zip") as archive:
            archive.extractall(tmp_path)
        answer = folder / f"{product}.json"
        known = cube.read(answer if answer.is_file() else None, [tmp_path / f"{product}_MetaData.csv"], product)
        raw = texts(tmp_path / f"{product}.csv")
        table = wds.Table(raw.schema, known)
        return pa.Table.from_batches([table.batch(batch) for batch in raw.to_batches()], table.schema), table

    return read


def made(
    *rows: dict[str, str | None], known: cube.Cube | None = None, **options: Any
) -> tuple[list[dict[str, Any]], Any]:
    filled = [ROW | row for row in rows]
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    table = wds.Table(schema, known, **options)
    out = table.batch(pa.RecordBatch.from_pylist(filled, schema))
    return out.to_pylist(), table.report


GRAIN = cube.Cube(
    "32100000",
    ("Grain", "Céréales"),
    frequency=12,
    dimensions=(
        cube.Dimension(1, ("Geography", "Géographie"), {1: ("Canada", "Canada")}),
        cube.Dimension(2, ("Value", "Valeur"), {2: ("Wheat", "Blé"), 7: ("Oats", None)}),
    ),
    legend={"..": ("not available", None), "Ü": ("only here", None)},
)


def test_exchange_rates_daily(load: Load) -> None:
    table, done = load("33100036")
    assert table.num_rows == 90_086
    assert done.report == {
        "cube": "33100036",
        "null_values": 12_495,
        "null_values_without_status": 0,
        "rows_without_dguid": 0,
    }
    assert table["VALUE"].null_count == 12_495
    gaps = table.filter(pc.is_null(table["VALUE"]))
    assert pc.unique(gaps["STATUS"]).to_pylist() == [".."]
    assert pc.unique(gaps["status_en"]).to_pylist() == ["not available for a specific reference period"]
    assert pc.unique(gaps["status_fr"]).to_pylist() == ["indisponible pour une période de référence précise"]
    assert pc.sum(table["TERMINATED"]).as_py() == 19_269
    assert sorted(pc.unique(table["DECIMALS"]).to_pylist()) == [4, 5, 6, 8]
    first = table.slice(0, 1).to_pylist()[0]
    assert first["VALUE"] == 98.84069746
    assert (first["ref_start_date"], first["ref_end_date"]) == (dt.date(1981, 5, 4), dt.date(1981, 5, 4))
    assert first["type_of_currency_fr"] == "Dollar canadien indice de taux de change effectif (TCEC)"
    assert table["ref_start_date"].null_count == 0
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["UOM_ID"], types["SCALAR_ID"], types["DECIMALS"]) == ("int16", "int8", "int8")
    assert (types["VALUE"], types["COORDINATE"]) == ("double", "string")


def test_values_are_exact_to_their_decimals(load: Load, tmp_path: Path) -> None:
    table, _ = load("33100036")
    printed = texts(tmp_path / "33100036.csv")["VALUE"].to_pylist()
    again = [
        None if value is None else f"{value:.{decimals}f}"
        for value, decimals in zip(table["VALUE"].to_pylist(), table["DECIMALS"].to_pylist(), strict=True)
    ]
    assert again == printed


def test_carloadings_with_two_more_dimensions_and_rows_without_dguid(load: Load) -> None:
    table, done = load("23100216")
    assert table.num_rows == 104_958
    assert (done.report["null_values"], done.report["rows_without_dguid"]) == (936, 69_972)
    assert pc.unique(table.filter(pc.is_null(table["VALUE"]))["status_fr"]).to_pylist() == [
        "confidentiel en vertu des dispositions de la Loi sur la statistique"
    ]
    east = table.filter(pc.equal(table["geo_en"], "Eastern division"))
    assert pc.unique(east["geo_fr"]).to_pylist() == ["Division est"]
    assert east["DGUID"].null_count == east.num_rows
    assert table["railway_carloading_components_fr"].null_count == table["estimates_fr"].null_count == 0
    # The metadata's own name ends in a space.
    feet = table.filter(pc.equal(table["estimates_en"], "Twenty feet equivalent units"))
    assert pc.unique(feet["estimates_fr"]).to_pylist() == ["Unités équivalent à vingt pieds"]
    assert table["ref_end_date"][0].as_py() == dt.date(1999, 1, 31)


def test_power_prices_by_region(load: Load) -> None:
    table, done = load("18100204")
    assert (table.num_rows, done.report["null_values"]) == (11_804, 32)
    assert pc.unique(table["geo_fr"]).to_pylist()[-1] == "Colombie-Britannique"
    assert "2016A00011" in pc.unique(table["DGUID"]).to_pylist()
    fields = {field.name: field.metadata for field in table.schema}
    assert fields["index_fr"] == {b"source": b"Index", b"description_en": b"Index", b"description_fr": b"Indice"}


def test_an_archived_table_without_cube_metadata_is_english_only(load: Load) -> None:
    table, done = load("10100001")
    assert (table.num_rows, done.report["rows_without_dguid"]) == (182, 182)
    assert table["DGUID"].null_count == 182
    assert pc.unique(table["SCALAR_FACTOR_en"]).to_pylist() == ["units"]
    assert pc.unique(table["SCALAR_FACTOR_fr"]).to_pylist() == ["unités"]
    assert [name for name in table.column_names if name.endswith(("_en", "_fr"))] == [
        "geo_en", "federal_public_sector_employment_en", "UOM_en", "SCALAR_FACTOR_en", "SCALAR_FACTOR_fr", "status_en",
        "status_fr", "symbol_en", "symbol_fr",
    ]  # fmt: skip
    assert table["ref_end_date"][0].as_py() == dt.date(1999, 12, 31)


def test_a_dimension_called_value_stands_beside_the_value() -> None:
    rows, report = made({}, known=GRAIN)
    assert rows[0]["value_en"] == "Wheat"
    assert rows[0]["value_fr"] == "Blé"
    assert rows[0]["VALUE"] == 31.0
    assert rows[0]["TERMINATED"] is False
    assert report["cube"] == "32100000"


def test_reasons_for_gaps_are_kept_wherever_they_stand() -> None:
    rows, report = made(
        {"VALUE": None, "STATUS": ".."},
        {"VALUE": "x"},
        {"VALUE": None},
        {"VALUE": "5", "STATUS": "E", "SYMBOL": "r"},
        {"VALUE": None, "STATUS": "Ü"},
        {"VALUE": "5", "STATUS": "??", "TERMINATED": "t"},
        known=GRAIN,
    )
    assert [row["VALUE"] for row in rows] == [None, None, None, 5.0, None, 5.0]
    assert [row["STATUS"] for row in rows] == ["..", "x", None, "E", "Ü", "??"]
    # The table's own legend has the English of its symbols.
    assert [row["status_en"] for row in rows] == [
        "not available",
        "suppressed to meet the confidentiality requirements of the Statistics Act",
        None, "use with caution", "only here", None,
    ]  # fmt: skip
    assert [row["status_fr"] for row in rows][3:] == ["à utiliser avec prudence", None, None]
    assert (rows[3]["symbol_en"], rows[3]["symbol_fr"]) == ("revised", "révisé")
    assert rows[5]["TERMINATED"] is True
    assert {name: report[name] for name in ("null_values", "null_values_without_status", "symbols_in_value")} == {
        "null_values": 4, "null_values_without_status": 1, "symbols_in_value": 1,
    }  # fmt: skip
    assert (report["unknown_status"], report["unknown_status_examples"]) == (1, ["??"])


def test_members_are_found_by_coordinate_and_strangers_reported() -> None:
    rows, report = made(
        {"COORDINATE": "1.7", "Value": "Oats"},
        {"COORDINATE": "1.9", "Value": "Rye"},
        {"COORDINATE": "1.2", "Value": "Durum"},
        {"COORDINATE": None},
        {"COORDINATE": "1"},
        known=GRAIN,
    )
    assert [row["value_fr"] for row in rows] == [None, None, "Blé", None, None]
    assert [row["value_en"] for row in rows] == ["Oats", "Rye", "Durum", "Wheat", "Wheat"]
    assert (report["members_unknown_examples"], report["members_renamed_examples"]) == (
        ["Canada", "Rye", "Wheat"],
        ["Durum"],
    )


def test_periods_follow_the_frequency_or_the_declaration_and_bad_ones_are_reported() -> None:
    rows, report = made({"REF_DATE": "2023/2024"}, {"REF_DATE": "soon"}, {"REF_DATE": "soon"}, known=GRAIN)
    assert rows[0]["ref_start_date"] == dt.date(2023, 4, 1)
    assert rows[1]["ref_start_date"] is None
    assert rows[1]["REF_DATE"] == "soon"
    assert (report["bad_ref_dates"], report["bad_ref_dates_examples"]) == (2, ["soon"])
    rows, _ = made({"REF_DATE": "2023/2024"}, known=GRAIN, fiscal_year_start=9)
    assert (rows[0]["ref_start_date"], rows[0]["ref_end_date"]) == (dt.date(2023, 9, 1), dt.date(2024, 8, 31))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"VALUE": "about 5"}, r"VALUE has values that are neither numbers nor known symbols: 'about 5'"),
        ({"VALUE": "0.12345678901234567890"}, "more digits than float64 holds"),
        ({"TERMINATED": "yes"}, "TERMINATED has values other than t: yes"),
        ({"DECIMALS": "many"}, "DECIMALS has a value that is not a small number"),
        ({"COORDINATE": "1.a"}, "COORDINATE has a value that is not member numbers"),
    ],
)
def test_what_can_not_be_read_is_refused(row: dict[str, str | None], message: str) -> None:
    with pytest.raises(DataError, match=message):
        made(row, known=GRAIN)


def test_columns_and_metadata_have_to_be_of_one_table() -> None:
    with pytest.raises(DataError, match="Columns of a full table are missing: COORDINATE, STATUS"):
        wds.Table(pa.schema([("REF_DATE", pa.string()), ("VALUE", pa.string())]), None)
    other = cube.Cube("1", ("Other", None), dimensions=(cube.Dimension(1, ("Sex", None), {}),))
    with pytest.raises(DataError, match="have the dimensions Sex, the table the columns GEO, Value"):
        made({}, known=other)


def test_dictionaries_and_batches_change_nothing() -> None:
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    plain = pa.RecordBatch.from_pylist([ROW, ROW | {"VALUE": None, "STATUS": "F"}], schema)
    encoded = pa.RecordBatch.from_arrays([column.dictionary_encode() for column in plain.columns], COLUMNS)
    table = wds.Table(encoded.schema, GRAIN)
    assert table.batch(encoded).equals(wds.Table(schema, GRAIN).batch(plain))
    assert table.batch(plain.slice(1)).to_pylist()[0]["status_fr"] == "trop peu fiable pour être publié"


def test_answers_of_get_cube_metadata_are_read_with_or_without_wrapper(fixtures: Path, tmp_path: Path) -> None:
    answer = fixtures / "08_statcan_wds" / "13100805.json"
    bare = cube.from_json(answer)
    assert (bare.product_id, bare.frequency, [len(each.members) for each in bare.dimensions]) == (
        "13100805", 18, [101, 6, 3, 27, 9],
    )  # fmt: skip
    assert bare.dimensions[3].members[27] == (
        "Influenza immunization in the past 12 months",
        "Vaccination contre la grippe au cours des 12 derniers mois",
    )
    wrapped = tmp_path / "wrapped.json"
    wrapped.write_text(json.dumps([{"status": "SUCCESS", "object": json.loads(answer.read_text("utf-8"))}]), "utf-8")
    assert cube.from_json(wrapped) == bare
    assert cube.is_cube_json(wrapped)


@pytest.mark.parametrize("text", ["", "[]", "{}", '"SUCCESS"', '{"productId": 1, "cubeTitleEn": null}', "[{},{}]"])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=r"other\.json is not a response of getCubeMetadata"):
        cube.from_json(path)
    assert not cube.is_cube_json(path)


def test_meta_data_csv_has_several_tables(fixtures: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(fixtures / "08_statcan_wds" / "18100204-eng.zip") as archive:
        path = Path(archive.extract("18100204_MetaData.csv", tmp_path))
    parts = cube.sections(path)
    assert [(header[0], len(rows)) for header, rows in parts] == [
        ("Cube Title", 1), ("Dimension ID", 2), ("Dimension ID", 16), ("Description", 14), ("Survey Code", 1),
        ("Subject Code", 1), ("Note ID", 2), ("Correction ID", 1),
    ]  # fmt: skip
    assert parts[2][1][0][2] == "[11124]"
    known = cube.from_csv(path)
    assert (known.product_id, known.frequency) == ("18100204", 6)
    assert known.legend["F"] == ("too unreliable to be published", None)
    with pytest.raises(DataError, match="describe table 18100204, the data are table 33100036"):
        cube.read(None, [path], "33100036")
    path.write_text("nothing,of\nthe,kind\n", "utf-8")
    with pytest.raises(DataError, match="is not the metadata file of a full table"):
        cube.from_csv(path)
    path.write_bytes(b"Cube Title\n\xe9\n")
    with pytest.raises(DataError, match="can't be read as UTF-8 CSV"):
        cube.from_csv(path)
