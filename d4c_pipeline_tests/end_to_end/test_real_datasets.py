"""Real data of Statistics Canada and the TTC, from source to catalogue, judged by readers that are none of ours.

Every file comes over HTTP from the path of its real address. What is expected was read out of the native files with
other programs (GDAL's CSV and shapefile drivers, Python's csv) and stands here as values.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import pandas
import pyarrow.parquet as pq
import rustac
import shapely

from d4c_pipeline_tests.full_tables import french_twin
from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.inspection import check_release, sha256
from d4c_pipeline_tests.support.samples import Origin, define

PROVINCES = "statcan_provinces_territories_digital"
PROVINCES_2016 = (
    "https://www12.statcan.gc.ca/census-recensement/2011/geo/bound-limit/files-fichiers/2016/lpr_000a16a_e.zip"
)
RATES = "statcan_foreign_exchange_rates_daily"
RATES_URL = "https://www150.statcan.gc.ca/n1/tbl/csv/33100036-eng.zip"
RATES_URL_FR = "https://www150.statcan.gc.ca/n1/tbl/csv/33100036-fra.zip"
UNITS = {"Index, 1992=100": "Indice, 1992=100", "Dollars": "Dollars"}
ODCAF = "statcan_open_database_of_cultural_and_art_facilities"
ODCAF_URL = "https://www150.statcan.gc.ca/n1/en/pub/21-26-0001/2020001/ODCAF_V1.0.zip"
FACILITIES = Path("07_statcan_odcaf", "ODCAF_v1.0.csv")


def serve_provinces(origin: Origin, fixtures: Path) -> None:
    origin.put(PROVINCES_2016, fixtures / "01_statcan_provinces_2016" / "province_territory_simplified_sp.zip")


def serve_rates(origin: Origin, fixtures: Path) -> None:
    wds, moment = fixtures / "08_statcan_wds", datetime(2025, 6, 4, 12, 30, tzinfo=UTC)
    english = wds / "33100036-eng.zip"
    origin.put(RATES_URL, english, moment)
    with tempfile.TemporaryDirectory() as folder:
        twin = french_twin(english, wds / "33100036.json", Path(folder), units=UNITS)
        origin.put(RATES_URL_FR, twin, moment)


def pack_facilities(folder: Path, fixtures: Path) -> Path:
    """The zip as Statistics Canada delivers it: the data in a folder, with a table of its sources."""
    packed = folder / "ODCAF_V1.0.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(fixtures / FACILITIES, "ODCAF_V1.0/ODCAF_v1.0.csv")
        archive.writestr("ODCAF_V1.0/Data_Sources.csv", "Provider,URL\nx,y\n")
    return packed


async def read_with_rustac(path: Path) -> dict[str, Any]:
    return await rustac.read(str(path))


def test_provinces_of_2016(d4c: D4C, origin: Origin, fixtures: Path) -> None:
    serve_provinces(origin, fixtures)
    row = d4c.ok("publish", PROVINCES, "--vintage", "2016")
    native = "e94e5faef1780de78c0374ed70bfe9e16beb5c8986ea3e4361910df680a3c287"
    item = check_release(d4c.home, row, {"lpr_000a16a_e.zip": native})
    assert row["name"] == (
        "ca_statcan_2021A000011124_d4c-datapkg-statistical_provinces_territories_digital_2016_v0.1.0-beta"
    )
    assert (row["version"], row["rows"], row["outcome"]) == ("0.1.0-beta", 13, "published")
    raw = d4c.home / "store" / "raw" / PROVINCES / "2016" / native[:12] / "lpr_000a16a_e.zip"
    assert sha256(raw) == native

    frame = geopandas.read_parquet(row["path"])
    assert frame.crs.to_epsg() == 4326
    assert dict(zip(frame["dguid"], frame["prfname"], strict=True)) == {
        "2016A000210": "Terre-Neuve-et-Labrador",
        "2016A000211": "Île-du-Prince-Édouard",
        "2016A000212": "Nouvelle-Écosse",
        "2016A000213": "Nouveau-Brunswick",
        "2016A000224": "Québec",
        "2016A000235": "Ontario",
        "2016A000246": "Manitoba",
        "2016A000247": "Saskatchewan",
        "2016A000248": "Alberta",
        "2016A000259": "Colombie-Britannique",
        "2016A000260": "Yukon",
        "2016A000261": "Territoires du Nord-Ouest",
        "2016A000262": "Nunavut",
    }
    by_code = frame.set_index("pruid")
    assert by_code.loc["24", "prname"] == "Quebec / Québec"
    assert by_code.loc["11", "prfabbr"] == "Î.-P.-É."
    assert frame["landarea"].isna().all()
    # Two of the polygons cross themselves at the source (Yukon, Nunavut).
    assert frame.geometry.is_valid.all()
    assert (
        json.loads((Path(row["path"]).parent / "manifest.json").read_text())["summary"]["report"]["invalid_repaired"]
        == 2
    )
    # Places that lie where they should once the Lambert projection is undone.
    inside = {"24": (-71.208, 46.813), "62": (-68.519, 63.747), "60": (-135.057, 60.721), "59": (-120.33, 50.675)}
    for code, place in inside.items():
        assert frame.loc[frame.contains(shapely.Point(place)), "pruid"].tolist() == [code]
    west, south, east, north = frame.total_bounds
    assert (-141.1 < west < -141.0, 41.6 < south < 42, -52.7 < east < -52.6, 83.0 < north < 83.2) == (True,) * 4
    assert item["bbox"] == [west, south, east, north]
    assert item["properties"]["proj:code"] == "EPSG:4326"
    assert item["properties"]["start_datetime"] == "2016-01-01T00:00:00Z"
    assert (
        item["properties"]["d4c:title_fr"]
        == "Provinces et territoires du Canada, limites numériques, 2016, v0.1.0-beta"
    )
    metadata = json.loads(pq.read_schema(row["path"]).metadata[b"geo"])
    assert metadata["version"] == "1.1.0"
    assert set(metadata["columns"]["geometry"]["covering"]["bbox"]) == {"xmin", "ymin", "xmax", "ymax"}


def test_stops_of_toronto(d4c: D4C, origin: Origin, definitions: Path, fixtures: Path) -> None:
    url = "https://opendata.toronto.ca/toronto.transit.commission/ttc-stops/TTC_stops.zip"
    define(
        definitions,
        "ttc_stops",
        name={
            "region": "ca-on",
            "source": "ttc",
            "dguid": "2021A00053520005",
            "package": "d4c-datapkg-foundation",
            "theme": "transit_stops",
        },
        source={"kind": "http", "urls": [url]},
        vintages=["2018-05"],
        processing={"kind": "vector", "key": ["feature_nu"]},
    )
    origin.put(url, fixtures / "05_ttc_stops" / "TTC_stops.zip")
    row = d4c.ok("publish", "ttc_stops")
    native = "10e6bd6850f2d75dbfacb8d1cbc9ef9aa537ec25cf1d7abde1336b52ed9f8b7c"
    check_release(d4c.home, row, {"TTC_stops.zip": native})
    assert row["name"] == "ca-on_ttc_2021A00053520005_d4c-datapkg-foundation_transit_stops_2018-05_v0.1.0-beta"
    assert row["rows"] == 10_025

    asked = duckdb.sql(f"SELECT * FROM read_parquet('{row['path']}')")
    assert {"feature_nu", "on_street", "at_street", "direction", "gf_coord_l"} <= set(asked.columns)
    count = "count(*), count(*) FILTER (geometry IS NULL), count(DISTINCT feature_nu)"
    assert asked.aggregate(count).fetchone() == (10_025, 91, 10_025)
    found = asked.filter("feature_nu = 14292").project("on_street, at_street, direction, bay").fetchone()
    assert found == ("MALVERN TOWN CENTRE", "FIRST MALL ENTRANCE", "West", None)
    frame = geopandas.read_parquet(row["path"])
    stop = frame.set_index("feature_nu").geometry[14292]
    assert (round(stop.x, 5), round(stop.y, 5)) == (-79.22185, 43.80635)
    assert frame.geometry.isna().sum() == 91


def test_facilities_of_odcaf(d4c: D4C, origin: Origin, tmp_path: Path, fixtures: Path) -> None:
    packed = pack_facilities(tmp_path, fixtures)
    origin.put(ODCAF_URL, packed)
    row = d4c.ok("publish", ODCAF)
    check_release(d4c.home, row, {"ODCAF_V1.0.zip": sha256(packed)})
    assert (row["vintage"], row["version"], row["rows"]) == ("2020-10-02", "0.1.0-beta", 7_972)
    assert row["latest_url"].endswith("_open_database_of_cultural_and_art_facilities.parquet")  # rolling: no vintage

    # Every value of every column as Python's own csv reads the file.
    expected = {
        int(line["Index"]): {
            name.lower(): None if value in ("..", "") else value
            for name, value in line.items()
            if name not in ("Index", "Latitude", "Longitude")
        }
        for line in csv.DictReader(io.StringIO((fixtures / FACILITIES).read_text("cp1252")))
    }
    frame = geopandas.read_parquet(row["path"])
    names = [name for name in frame.columns if name not in ("index", "latitude", "longitude", "geometry", "bbox")]
    texts = frame.set_index("index")[names].astype(object)
    found = {
        int(index): {name: None if pandas.isna(value) else value for name, value in line.items()}
        for index, line in texts.to_dict("index").items()
    }
    assert found == expected
    assert frame.geometry.isna().sum() == 1_224
    assert frame["csduid"].isna().sum() == 301
    joined = " ".join(frame["facility_name"].dropna())
    assert "Musée" in joined
    assert "\ufffd" not in joined
    assert "Ã" not in joined


def test_exchange_rates_of_the_web_data_service(d4c: D4C, origin: Origin, fixtures: Path) -> None:
    serve_rates(origin, fixtures)
    row = d4c.ok("publish", RATES)
    native = "1398c22b3e7e2beea1df62d25d30549ebb8e453148fd77378d978690736729df"
    french = sha256(origin.folder / "www150.statcan.gc.ca" / "n1" / "tbl" / "csv" / "33100036-fra.zip")
    item = check_release(d4c.home, row, {"33100036-eng.zip": native, "33100036-fra.zip": french})
    assert (row["vintage"], row["version"], row["rows"]) == ("2025-06-04", "0.1.0-beta", 90_086)

    asked = duckdb.sql(f"SELECT * FROM read_parquet('{row['path']}')")
    assert dict(zip(asked.columns, map(str, asked.dtypes), strict=True)) == {
        "ref_date": "VARCHAR", "ref_start_date": "DATE", "ref_end_date": "DATE", "geo_en": "VARCHAR",
        "geo_fr": "VARCHAR", "dguid": "VARCHAR", "type_of_currency_en": "VARCHAR", "type_of_currency_fr": "VARCHAR",
        "uom_en": "VARCHAR", "uom_fr": "VARCHAR", "uom_id": "SMALLINT", "scalar_factor_en": "VARCHAR",
        "scalar_factor_fr": "VARCHAR",
        "scalar_id": "TINYINT", "vector": "VARCHAR", "coordinate": "VARCHAR", "value": "DOUBLE", "status": "VARCHAR",
        "status_en": "VARCHAR", "status_fr": "VARCHAR", "symbol": "VARCHAR", "symbol_en": "VARCHAR",
        "symbol_fr": "VARCHAR", "terminated": "BOOLEAN", "decimals": "TINYINT",
    }  # fmt: skip
    assert asked.aggregate(
        "count(*), count(*) FILTER (status = '..'), count(*) FILTER (terminated), count(DISTINCT vector)"
    ).fetchone()[:3] == (90_086, 12_495, 19_269)
    assert asked.filter("value IS NULL AND status IS DISTINCT FROM '..'").aggregate("count(*)").fetchone() == (0,)
    assert asked.filter("value IS NULL").unique("status_en, status_fr").fetchall() == [
        ("not available for a specific reference period", "indisponible pour une période de référence précise")
    ]
    assert asked.unique("decimals").order("decimals").fetchall() == [(4,), (5,), (6,), (8,)]
    assert asked.filter("ref_start_date != ref_date OR ref_end_date != ref_date").fetchall() == []
    first = asked.filter("vector = 'v111666250' AND ref_date = DATE '1981-05-04'")
    assert first.project("value, type_of_currency_en, type_of_currency_fr, uom_fr").fetchone() == (
        98.84069746,
        "Canadian-Dollar Effective Exchange Rate Index (CERI)",
        "Dollar canadien indice de taux de change effectif (TCEC)",
        "Indice, 1992=100",
    )
    unnamed = "type_of_currency_fr IS NULL OR uom_fr IS NULL OR geo_fr IS NULL OR scalar_factor_fr IS NULL"
    assert asked.filter(unnamed).fetchall() == []
    assert "geometry" not in asked.columns
    # A table lies where its YAML says.
    assert item["bbox"] == [-141.02, 41.67, -52.61, 83.14]
    assert d4c.ok("status")[0].keys() >= {"dataset", "state"}
    # The same file again, whatever the day: nothing new.
    again = d4c.ok("publish", RATES)
    assert (again["outcome"], again["doi"]) == ("unchanged", row["doi"])


def test_one_catalogue_for_all(d4c: D4C, origin: Origin, fixtures: Path) -> None:
    serve_provinces(origin, fixtures)
    serve_rates(origin, fixtures)
    provinces = d4c.ok("publish", PROVINCES, "--vintage", "2016")
    rates = d4c.ok("publish", RATES)
    path = Path(d4c.ok("catalogue")["path"])
    expected = [(RATES, "2025-06-04", rates["doi"], 90_086), (PROVINCES, "2016", provinces["doi"], 13)]
    assert (
        duckdb.sql(f"""
            SELECT collection, "d4c:vintage", doi, "table:row_count" FROM read_parquet('{path}') ORDER BY 1
        """).fetchall()
        == expected
    )
    frame = geopandas.read_parquet(path)
    assert list(frame["collection"]) == [RATES, PROVINCES]
    assert round(frame.geometry.iloc[1].bounds[3], 1) == 83.1
    features = asyncio.run(read_with_rustac(path))["features"]
    assert [feature["properties"]["doi"] for feature in features] == [rates["doi"], provinces["doi"]]
    assert features[1]["assets"]["data"]["href"] == provinces["url"]
