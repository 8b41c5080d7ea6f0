"""The French edition of a full table, alone and beside the English one, through whole builds."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline_tests.full_tables import french_twin

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")
UNITS = {
    "Index, 2014=100": "Indice, 2014=100",
    "Tonnes": "Tonnes métriques",
    "Number": "Nombre",
    "Units": "Unités",
    "Twenty feet equivalent units": "Unités équivalent à vingt pieds",
}


@pytest.mark.parametrize("product", ["18100204", "23100216"])
def test_both_editions_are_the_same_rows(fixtures: Path, declare: Declare, tmp_path: Path, product: str) -> None:
    wds = fixtures / "08_statcan_wds"
    answer = wds / f"{product}.json"
    twin = french_twin(wds / f"{product}-eng.zip", answer, tmp_path, units=UNITS)
    dataset = declare(kind="table", key=["vector", "ref_date"], wds={})
    english = build(dataset, VINTAGE, [wds / f"{product}-eng.zip", answer], tmp_path / "en")
    french = build(dataset, VINTAGE, [twin, answer], tmp_path / "fr")
    assert french.summary.report["wds"] == english.summary.report["wds"]
    ours, theirs = polars.read_parquet(english.data), polars.read_parquet(french.data)
    assert set(ours.columns) - set(theirs.columns) == {"uom_en"}
    assert set(theirs.columns) - set(ours.columns) == {"uom_fr"}
    common = [name for name in ours.columns if name != "uom_en"]
    assert theirs.select(common).equals(ours.select(common))
    assert set(theirs["uom_fr"]) <= set(UNITS.values())
    sources = {column.name: column.source for column in french.summary.columns}
    assert (sources["value"], sources["ref_start_date"], sources["dguid"]) == (
        "VALEUR", "PÉRIODE DE RÉFÉRENCE", "DGUID",
    )  # fmt: skip


def test_both_editions_together_are_bilingual_without_cube_metadata(
    fixtures: Path, declare: Declare, tmp_path: Path
) -> None:
    wds = fixtures / "08_statcan_wds"
    english = wds / "18100204-eng.zip"
    twin = french_twin(english, wds / "18100204.json", tmp_path, units=UNITS)
    dataset = declare(kind="table", key=["vector", "ref_date"], wds={})
    done = build(dataset, VINTAGE, [english, twin], tmp_path / "out")
    table = pq.read_table(done.data)
    assert table.num_rows == 11_804
    assert table.column_names[:8] == [
        "ref_date", "ref_start_date", "ref_end_date", "geo_en", "geo_fr", "dguid", "index_en", "index_fr",
    ]  # fmt: skip
    rows = {row["vector"]: row for row in table.to_pylist()}
    assert {name: rows["v107792870"][name] for name in ("index_en", "index_fr", "uom_en", "uom_fr")} == {
        "index_en": "Electric power selling price over 5000kw",
        "index_fr": "Prix de vente de l'énergie électrique de plus de 5000kw",
        "uom_en": "Index, 2014=100",
        "uom_fr": "Indice, 2014=100",
    }
    assert set(table["scalar_factor_fr"].to_pylist()) == {"unités"}
    with_json = build(dataset, VINTAGE, [english, twin, wds / "18100204.json"], tmp_path / "json")
    assert pq.read_table(with_json.data).equals(table)


def test_a_french_edition_alone_is_french(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    wds = fixtures / "08_statcan_wds"
    twin = french_twin(wds / "18100204-eng.zip", wds / "18100204.json", tmp_path, units=UNITS)
    done = build(declare(kind="table", wds={}), VINTAGE, [twin], tmp_path / "out")
    table = pq.read_table(done.data)
    assert [name for name in table.column_names if name.endswith(("_en", "_fr"))] == [
        "geo_fr", "indice_fr", "uom_fr", "scalar_factor_en", "scalar_factor_fr", "status_en", "status_fr", "symbol_en",
        "symbol_fr",
    ]  # fmt: skip
    assert "Terre-Neuve-et-Labrador" in table["geo_fr"].to_pylist()
    assert (table["value"].null_count, str(table.schema.field("value").type)) == (32, "double")
    assert done.summary.report["delimiter"] == ";"


def test_symbols_and_commas_of_french_rows(declare: Declare, tmp_path: Path) -> None:
    rows = [
        ["PÉRIODE DE RÉFÉRENCE", "GÉO", "DGUID", "COORDONNÉES", "VALEUR", "STATUS", "SYMBOLE", "TERMINÉ", "DÉCIMALES"],
        ["2021/2022", "Québec", "2016A000224", "1", "-1234,50", "", "r", "", "2"],
        ["2021/2022", "Ontario", "2016A000235", "2", "", "<LDD", "", "t", "2"],
    ]
    sink = io.StringIO()
    csv.writer(sink, delimiter=";").writerows(rows)
    with zipfile.ZipFile(tmp_path / "12345678-fra.zip", "w") as archive:
        archive.writestr("12345678.csv", sink.getvalue().encode("utf-8-sig"))
    dataset = declare(kind="table", key=["geo_fr"], wds={"fiscal_year_start": 4})
    done = build(dataset, VINTAGE, [tmp_path / "12345678-fra.zip"], tmp_path / "out")
    ontario, quebec = pq.read_table(done.data).to_pylist()
    assert (quebec["value"], quebec["symbol_fr"], quebec["terminated"]) == (-1234.5, "révisé", False)
    assert (ontario["value"], ontario["status"], ontario["status_fr"], ontario["terminated"]) == (
        None, "<LOD", "inférieur à la limite de détection", True,
    )  # fmt: skip
    assert quebec["ref_end_date"].isoformat() == "2022-03-31"


def test_editions_of_two_tables_are_refused(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    wds = fixtures / "08_statcan_wds"
    dataset = declare(kind="table", wds={}, member="18100204.csv")
    with pytest.raises(DataError, match=r"The delivery has several tables: .*10100001_MetaData\.csv"):
        build(dataset, VINTAGE, [wds / "18100204-eng.zip", wds / "10100001-eng.zip"], tmp_path / "out")
