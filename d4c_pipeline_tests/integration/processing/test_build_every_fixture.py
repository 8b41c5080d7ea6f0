"""The real files that no other test takes through a whole build, with values read out of them by other programs."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")


def test_ridings_of_new_brunswick(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    native = fixtures / "03_geonb_ridings_2024" / "geonb_2024_ped_cep_shp.zip"
    done = build(declare(key=["dist_id"]), VINTAGE, [native], tmp_path)
    report = done.summary.report
    assert (done.summary.rows, report["encoding"], report["source_crs"]) == (49, "utf-8", "EPSG:2953")
    assert (report["invalid_repaired"], report["null_geometries"], report["key_duplicates"]) == (0, 0, 0)
    assert [column.name for column in done.summary.columns] == [
        "dist_id", "ped_names", "label_field", "colour", "shape_leng", "shape_area", "geometry",
    ]  # fmt: skip
    frame = geopandas.read_parquet(done.data).set_index("dist_id").sort_index()
    assert frame.loc[1, "ped_names"] == "Restigouche West / Restigouche-Ouest"
    assert sum(not name.isascii() for name in frame["ped_names"]) == 4
    # The publisher measured each in its own CRS; what is published comes back to it.
    back = frame.to_crs(2953)
    assert back.area.to_numpy() == pytest.approx(frame["shape_area"].to_numpy(), rel=1e-6)
    assert back.length.to_numpy() == pytest.approx(frame["shape_leng"].to_numpy(), rel=1e-5)
    assert done.summary.bounds == pytest.approx((-69.05350, 44.47522, -63.74111, 48.09311), abs=1e-5)
    assert int(shapely.get_num_coordinates(frame.geometry.array).sum()) == 163_445


@pytest.mark.parametrize(
    ("member", "rows", "key", "duplicates", "columns"),
    [("*.gml", 45, "nid", 1, ("dataset_name", "route_number1")), ("*.shp", 44, "nid", 0, ("datasetnam", "rtnumber1"))],
)
def test_ferries_of_quebec(
    fixtures: Path,
    declare: Declare,
    tmp_path: Path,
    member: str,
    rows: int,
    key: str,
    duplicates: int,
    columns: tuple[str, str],
) -> None:
    natives = sorted((fixtures / "04_nrn_qc_ferry").iterdir())
    done = build(declare(member=member, key=[key], nulls=["None"]), VINTAGE, natives, tmp_path)
    report = done.summary.report
    assert (done.summary.rows, report["key_duplicates"], report["source_crs"]) == (rows, duplicates, "EPSG:4617")
    assert done.summary.geometry_types == ("LineString",)
    frame = geopandas.read_parquet(done.data)
    assert set(frame[columns[0]]) == {"Québec"}
    assert frame[columns[1]].isna().sum() > 20
    # NAD83(CSRS) and WGS 84 are two metres apart at most.
    assert done.summary.bounds == pytest.approx((-76.228846, 45.1233445, -57.1087121, 51.4156474), abs=2e-5)


def test_addresses_of_white_rock(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    native = fixtures / "06_whiterock_addresses" / "whiterock.zip"
    columns = {"apt_id": {"source": "Apt_Id", "nulls": ["0"]}}
    done = build(declare(key=["address_id"], columns=columns), VINTAGE, [native], tmp_path)
    report = done.summary.report
    assert (done.summary.rows, report["source_crs"], report["key_duplicates"]) == (4_689, "EPSG:26910", 4)
    found = duckdb.sql(f"SELECT * EXCLUDE geometry FROM '{done.data}'")
    assert found.filter("apt_id = '0'").count("*").fetchone() == (0,)
    assert found.filter("apt_id IS NULL").count("*").fetchone() == (4_535,)
    # Numbers are text at the source and stay it: they identify.
    assert found.filter("address_id = '1'").project("street, addr_no, dir_name").fetchall() == [
        ("CHESTNUT ST", "1580", "CHEST_1580")
    ]
    assert done.summary.bounds == pytest.approx((-122.84520, 49.01674, -122.77944, 49.03103), abs=2e-5)


@pytest.mark.parametrize(
    ("name", "rows", "key", "column", "code", "value", "encoding"),
    [
        ("lfed000a16a_e", 338, "feduid", "fedfname", "24051", "Montmagny--L'Islet--Kamouraska--Rivière-du-Loup",
         "cp1252"),
        ("lcd_000b16a_e", 293, "cduid", "cdname", "2457", "La Vallée-du-Richelieu", "cp1252"),
        ("FED_CA_2023_EN", 343, "fed_num", None, None, None, "utf-8"),
        ("lfsa000b21a_e", 1_643, "dguid", "prname", "2021A0011G0A", "Quebec / Québec", "cp1252"),
    ],
)  # fmt: skip
def test_attribute_tables_of_boundaries(
    fixtures: Path,
    declare: Declare,
    tmp_path: Path,
    name: str,
    rows: int,
    key: str,
    column: str | None,
    code: str | None,
    value: str | None,
    encoding: str,
) -> None:
    natives = sorted((fixtures / "09_statcan_dbf_encodings").glob(f"{name}.*"))
    done = build(declare(kind="table", key=[key]), VINTAGE, natives, tmp_path)
    report = done.summary.report
    assert (done.summary.rows, report["encoding"]) == (rows, encoding)
    assert (report["key_nulls"], report["key_duplicates"]) == (0, 0)
    texts = [text for each in pq.read_table(done.data).columns for text in each.to_pylist() if isinstance(text, str)]
    assert any(not text.isascii() for text in texts)
    assert not any("Ã" in text or "\ufffd" in text for text in texts)
    if column is not None:
        answer = duckdb.sql(f"SELECT {column} FROM '{done.data}' WHERE {key} = '{code}'").fetchall()
        assert answer == [(value,)]


@pytest.mark.parametrize(("column", "kind"), [(None, "Point"), ("geom", "Polygon")])
def test_tiles_of_vancouver_that_are_parquet_already(
    fixtures: Path, declare: Declare, tmp_path: Path, column: str | None, kind: str
) -> None:
    native = next((fixtures / "15_vancouver_parquet_index").glob("*.parquet"))
    chosen = {"geometry_column": column} if column else {}
    done = build(declare(key=["name"], **chosen), VINTAGE, [native], tmp_path)
    assert (done.summary.rows, done.summary.geometry_types) == (470, (kind,))
    assert done.summary.report["source_crs"] == "OGC:CRS84"
    frame = geopandas.read_parquet(done.data)
    assert list(frame.columns) == ["name", "mrsid_url", "ecw_url", "geometry"]
    assert frame.crs.to_epsg() == 4326
    west, south, east, north = frame.total_bounds
    assert (-123.3 < west < east < -123.0, 49.15 < south < north < 49.4) == (True, True)
    assert pq.ParquetFile(native).metadata.row_group(0).column(0).compression == "SNAPPY"
    meta = pq.ParquetFile(done.data).metadata
    assert {meta.row_group(0).column(n).compression for n in range(meta.num_columns)} == {"ZSTD"}


def test_suppressed_values_keep_their_reason(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    wds = fixtures / "08_statcan_wds"
    dataset = declare(kind="table", key=["ref_date", "vector"], wds={})
    for product, rows, gaps, when in (
        ("18100204", 11_804, 32, ("1981-01-01", "2018-10-31")),
        ("23100216", 104_958, 936, ("1999-01-01", "2018-10-31")),
    ):
        done = build(dataset, VINTAGE, [wds / f"{product}-eng.zip", wds / f"{product}.json"], tmp_path / product)
        found = duckdb.sql(f"SELECT * FROM '{done.data}'")
        assert found.filter("value IS NULL").aggregate(
            "count(*), any_value(status_en), count(DISTINCT status)"
        ).fetchall() == [(gaps, "suppressed to meet the confidentiality requirements of the Statistics Act", 1)]
        assert found.aggregate(
            "count(*), min(ref_start_date)::VARCHAR, max(ref_end_date)::VARCHAR, count(DISTINCT (ref_date, vector))"
        ).fetchall() == [(rows, *when, rows)]
        assert found.filter("geo_fr IS NULL").count("*").fetchone() == (0,)


# -- thirteen files, thirteen layers


@pytest.fixture(scope="module")
def provinces(fixtures: Path) -> geopandas.GeoDataFrame:
    native = fixtures / "01_statcan_provinces_2016" / "province_territory_simplified_sp.zip"
    return geopandas.read_file(f"zip://{native}")


def test_thirteen_provinces_become_canada(
    provinces: geopandas.GeoDataFrame, fixtures: Path, declare: Declare, tmp_path: Path
) -> None:
    folder = tmp_path / "make"
    with zipfile.ZipFile(tmp_path / "canada.zip", "w") as archive:
        for position, code in enumerate(provinces["PRUID"]):
            part = folder / f"Province {code}"
            part.mkdir(parents=True)
            provinces.iloc[[position]].to_file(part / "bound aries.shp", encoding="cp1252")
            for file in sorted(part.iterdir()):
                archive.write(file, f"{part.name}/{file.name}")
    dataset = declare(key=["pruid"], append=True, origin_column="source_file")
    done = build(dataset, VINTAGE, [tmp_path / "canada.zip"], tmp_path / "appended")
    whole = fixtures / "01_statcan_provinces_2016" / "province_territory_simplified_sp.zip"
    once = build(declare(key=["pruid"]), VINTAGE, [whole], tmp_path / "once")
    assert (done.summary.rows, done.summary.report["parts"], done.summary.report["empty_parts"]) == (13, 13, [])
    assert done.summary.report["invalid_repaired"] == 2
    ours, theirs = geopandas.read_parquet(done.data), geopandas.read_parquet(once.data)
    assert ours["source_file"].tolist() == [f"Province {code}/bound aries.shp" for code in ours["pruid"]]
    assert ours.drop(columns=["source_file", "geometry", "bbox"], errors="ignore").equals(
        theirs.drop(columns=["geometry", "bbox"], errors="ignore")
    )
    assert (shapely.to_wkb(ours.geometry.array) == shapely.to_wkb(theirs.geometry.array)).all()


def test_thirteen_layers_with_other_columns_are_unified_or_refused(
    provinces: geopandas.GeoDataFrame, declare: Declare, tmp_path: Path
) -> None:
    native = tmp_path / "canada.gpkg"
    for position, code in enumerate(provinces["PRUID"]):
        one = provinces.iloc[[position]][["PRUID", "PRNAME", "geometry"]].reset_index(drop=True)
        # Integers of other widths, decimals, and a column that the territories alone have.
        one["seats"] = np.array([position], "int32") if position % 2 else np.array([position + 0.5])
        if code >= "60":
            one["territory"] = "yes"
        one.to_file(native, layer=f"pr_{code}")
    dataset = declare(key=["pruid"], append=True, layer="pr_*", origin_column="layer")
    done = build(dataset, VINTAGE, [native], tmp_path / "out")
    assert (done.summary.rows, done.summary.report["parts"]) == (13, 13)
    rows: dict[str, dict[str, Any]] = {
        row["pruid"]: row for row in pq.read_table(done.data).drop_columns(["geometry", "bbox"]).to_pylist()
    }
    assert {code: row["territory"] for code, row in rows.items() if row["territory"]} == {
        "60": "yes", "61": "yes", "62": "yes",
    }  # fmt: skip
    by_source = dict(zip(provinces["PRUID"], range(13), strict=True))
    assert {code: row["seats"] for code, row in rows.items()} == {
        code: position if position % 2 else position + 0.5 for code, position in by_source.items()
    }
    assert rows["24"]["layer"] == "pr_24"
    another = provinces.iloc[[0]][["PRUID", "geometry"]].to_crs(4326)
    another.to_file(native, layer="pr_99")
    with pytest.raises(Exception, match=r"can't be appended: the .* reference system of the first is EPSG:3347"):
        build(dataset, VINTAGE, [native], tmp_path / "out")
    clash = provinces.iloc[[0]][["PRUID", "geometry"]].assign(seats="many")
    shutil.copy(native, tmp_path / "clash.gpkg")
    clash.to_file(tmp_path / "clash.gpkg", layer="pr_99", mode="w")
    with pytest.raises(Exception, match="seats"):
        build(dataset, VINTAGE, [tmp_path / "clash.gpkg"], tmp_path / "out")
    assert build(declare(key=["pruid"], layer="pr_24"), VINTAGE, [native], tmp_path / "one").summary.rows == 1


def test_provinces_out_of_a_file_geodatabase(
    provinces: geopandas.GeoDataFrame, declare: Declare, tmp_path: Path
) -> None:
    folder = tmp_path / "make" / "Canada 2016.gdb"
    folder.parent.mkdir()
    provinces.to_file(folder, layer="provinces", driver="OpenFileGDB", promote_to_multi=True)
    with zipfile.ZipFile(tmp_path / "canada.zip", "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"delivery/{folder.name}/{file.name}")
    done = build(declare(key=["pruid"], layer="provinces"), VINTAGE, [tmp_path / "canada.zip"], tmp_path / "out")
    assert (done.summary.rows, done.summary.report["source_crs"], done.summary.report["invalid_repaired"]) == (
        13, "EPSG:3347", 2,
    )  # fmt: skip
    frame = geopandas.read_parquet(done.data).set_index("pruid")
    assert frame.loc["11", "prname"] == "Prince Edward Island / Île-du-Prince-Édouard"
    ratio = frame.to_crs(3347).area / provinces.set_index("PRUID").area.reindex(frame.index)
    assert ratio.to_numpy() == pytest.approx(np.ones(13), abs=1e-6)
