"""Every dataset that is shipped is one that the model accepts, named as Data for Canada names it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import yaml

import d4c_pipeline
from d4c_pipeline.commands.demo import DATASETS
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.naming import ReleaseName
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.http import HttpFiles
from d4c_pipeline.sources.open import open_source

DEFS = Path(d4c_pipeline.__file__).parent / "defs"
FOLDERS = sorted(
    path.parent
    for path in DEFS.glob("*/defs.yaml")
    if "type: d4c_pipeline.PublishedDataset" in path.read_text(encoding="utf-8")
)


def shipped(folder: Path) -> Dataset:
    declared = yaml.safe_load((folder / "defs.yaml").read_text(encoding="utf-8"))
    assert declared["type"] == "d4c_pipeline.PublishedDataset"
    return Dataset.model_validate(declared["attributes"])


def test_all_seven_are_there() -> None:
    assert {folder.name for folder in FOLDERS} >= {
        *DATASETS,
        "statcan_provinces_territories_digital",
        "statcan_census_divisions_digital",
        "statcan_census_subdivisions_digital",
        "statcan_foreign_exchange_rates_daily",
        "statcan_open_database_of_cultural_and_art_facilities",
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_shipped_definition_is_valid_and_complete(folder: Path) -> None:
    dataset = shipped(folder)
    assert dataset.id == folder.name
    assert dataset.title.en != dataset.title.fr
    assert dataset.description.en != dataset.description.fr
    assert len(dataset.keywords.en) == len(dataset.keywords.fr) > 0
    assert dataset.attribution is not None
    assert dataset.processing.key
    assert all(column.description for column in dataset.processing.columns.values())
    assert dataset.processing.sql is None or (folder / dataset.processing.sql).is_file()
    name = dataset.release_name(Vintage.parse("2021"), Version.read("0.1.0-beta"))
    assert ReleaseName.parse(str(name)) == name
    source = open_source(dataset, {})
    assert isinstance(source, HttpFiles)
    if dataset.fixed_vintages:
        assert source.discover() == dataset.fixed_vintages  # without asking anybody


def test_published_names_are_met(fixtures: Path) -> None:
    published = (fixtures / "16_d4c_release_ids/published.txt").read_text().split()
    for theme in ("provinces_territories", "census_divisions", "census_subdivisions"):
        dataset = shipped(DEFS / f"statcan_{theme}_digital")
        assert str(dataset.release_name(Vintage.parse("2021"), Version.read("0.1.0-beta"))) in published


def test_addresses_of_both_vintages_of_the_provinces() -> None:
    source = shipped(DEFS / "statcan_provinces_territories_digital").source
    base = "https://www12.statcan.gc.ca/census-recensement"
    assert source.addresses(Vintage.parse("2016")) == (
        f"{base}/2011/geo/bound-limit/files-fichiers/2016/lpr_000a16a_e.zip",
    )
    assert source.addresses(Vintage.parse("2021")) == (
        f"{base}/2021/geo/sip-pis/boundary-limites/files-fichiers/lpr_000a21a_e.zip",
    )


@pytest.mark.parametrize(("further", "area"), [("", None), (", 'wrong' AS DGUID, 1356625.27 AS LANDAREA", 1356625.27)])
def test_provinces_have_one_schema_with_and_without_dguid_and_area(further: str, area: float | None) -> None:
    sql = (DEFS / "statcan_provinces_territories_digital/transform.sql").read_text()
    names = "'Quebec / Québec' AS PRNAME, 'Quebec' AS PRENAME, 'Québec' AS PRFNAME, 'Que.' AS PREABBR, 'Qc' AS PRFABBR"
    with duckdb.connect() as connection:
        connection.execute("SET VARIABLE vintage = '2016'")
        connection.execute(f"CREATE TABLE source AS SELECT '24' AS PRUID, {names}, 1 AS geometry{further}")
        rows = connection.execute(sql)
        assert [column[0] for column in rows.description or ()][-2:] == ["LANDAREA", "geometry"]
        assert rows.fetchall() == [
            ("2016A000224", "24", "Quebec / Québec", "Quebec", "Québec", "Que.", "Qc", area, 1),
        ]


@pytest.mark.parametrize("gdp", ["gdp_md_est", "GDP_MD"])
def test_natural_earth_is_read_in_both_of_its_layouts(gdp: str) -> None:
    sql = (DEFS / "natural_earth_countries/transform.sql").read_text()
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE TABLE source AS SELECT 'France' AS NAME, '-99' AS ISO_A3, 'Europe' AS CONTINENT, "
            f"67106161.0 AS POP_EST, 2699000 AS {gdp}, 'x' AS further, NULL AS geometry"
        )
        rows = connection.execute(sql)
        assert [column[0] for column in rows.description or ()][4] == "gdp_md_est"
        assert rows.fetchall() == [("France", None, "Europe", 67106161, 2699000.0, None)]


def test_places_keep_only_populated_ones_and_zero_is_unknown() -> None:
    folder = DEFS / "geonames_populated_places_canada"
    names = shipped(folder).processing.header
    assert len(names) == 19
    rows = {
        "P": {"geonameid": "6077243", "name": "Montréal", "feature_class": "P", "admin1_code": "10", "population": "0"},
        "H": {"geonameid": "1", "name": "Lac", "feature_class": "H"},
        "": {"geonameid": "6169141", "name": "Trois-Rivières", "admin1_code": "10", "population": "144472"},
    }
    values = [[{"latitude": "46", "longitude": "-73", **row}.get(name, "") for name in names] for row in rows.values()]
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE source ({', '.join(f'{name} VARCHAR' for name in names)}, geometry INTEGER)")
        connection.executemany(f"INSERT INTO source VALUES ({', '.join('?' * 19)}, NULL)", values)
        found = connection.execute((folder / "transform.sql").read_text()).df()
    assert found["name"].tolist() == ["Montréal", "Trois-Rivières"]
    assert found["province_territory"].tolist() == ["QC", "QC"]
    assert found["population"].isna().tolist() == [True, False]
    assert found["population"][1] == 144472
