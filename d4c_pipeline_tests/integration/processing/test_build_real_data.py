"""Real Canadian files through a whole build, read back by readers that are not ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline.tables import duckdb_engine

VINTAGE = Vintage.parse("2021")
Declare = Callable[..., Dataset]


def test_provinces_of_2016(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    native = fixtures / "01_statcan_provinces_2016" / "province_territory_simplified_sp.zip"
    done = build(declare(key=["pruid"]), VINTAGE, [native], tmp_path / "out")

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data.parquet", "profile.json"]
    assert done.summary.rows == 13
    assert done.summary.crs == "EPSG:4326"
    assert done.summary.geometry_types == ("MultiPolygon",)
    assert done.summary.bounds == pytest.approx((-141.018, 41.730, -52.619, 83.136), abs=0.001)
    report = done.summary.report
    assert (report["invalid_repaired"], report["null_geometries"], report["duplicate_rows"]) == (2, 0, 0)
    assert (report["key_nulls"], report["key_duplicates"]) == (0, 0)
    assert (report["encoding"], report["source_crs"]) == ("cp1252", "EPSG:3347")
    assert [(c.name, c.source) for c in done.summary.columns][:2] == [("pruid", "PRUID"), ("prname", "PRNAME")]

    frame = geopandas.read_parquet(done.data)
    assert frame.crs == "EPSG:4326"
    assert frame.geometry.is_valid.all()
    assert all(p.exterior.is_ccw for p in frame.geometry.explode().array)
    names = dict(zip(frame["pruid"], frame["prname"], strict=True))
    assert names["24"] == "Quebec / Québec"
    assert names["11"] == "Prince Edward Island / Île-du-Prince-Édouard"

    source = geopandas.read_file(f"zip://{native}").set_index("PRUID")
    result = frame.set_index("pruid").to_crs("EPSG:3347")
    ratio = result.area / source.area.reindex(result.index)
    assert ratio.to_numpy() == pytest.approx(np.ones(13), abs=1e-6)

    profile = json.loads(done.profile.read_text("utf-8"))
    assert profile["rows"] == 13
    assert profile["columns"]["pruid"] == {"type": "string", "nulls": 0, "distinct": 13, "min": "10", "max": "62"}
    assert profile["geometry"]["types"] == {"MultiPolygon": 13}
    assert 179_000 < profile["geometry"]["vertices"] < 179_300
    assert profile["geometry"]["most_vertices"] == 92_319


def test_stops_of_toronto_in_a_folder_with_spaces(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    done = build(declare(key=["feature_nu"]), VINTAGE, [fixtures / "05_ttc_stops" / "TTC_stops.zip"], tmp_path)
    assert done.summary.rows == 10_025
    assert done.summary.report["null_geometries"] == 91
    assert [column.name for column in done.summary.columns][:3] == ["feature_nu", "on_street", "at_street"]
    assert done.summary.columns[0].source == "Feature Nu"
    frame = geopandas.read_parquet(done.data)
    assert int(frame.geometry.isna().sum()) == 91
    # Without geometry last, and without a box.
    assert frame.geometry.isna().to_numpy()[-91:].all()
    boxes = pq.read_table(done.data, columns=["bbox"])["bbox"]
    assert boxes.null_count == 91
    # A reader that asks for a part of Toronto by the covering gets exactly what lies in it.
    part = geopandas.read_parquet(done.data, bbox=(-79.40, 43.64, -79.38, 43.66))
    points = frame.geometry.dropna()
    assert len(part) == len(points.cx[-79.40:-79.38, 43.64:43.66]) > 0


def test_cultural_facilities_as_text_in_cp1252(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    dataset = declare(
        key=["index"], longitude="Longitude", latitude="Latitude", nulls=[".."], columns={"index": {"type": "integer"}}
    )
    done = build(dataset, VINTAGE, [fixtures / "07_statcan_odcaf" / "ODCAF_v1.0.csv"], tmp_path)
    assert done.summary.rows == 7_972
    report = done.summary.report
    assert (report["encoding"], report["null_geometries"], report["key_duplicates"]) == ("cp1252", 1_224, 0)
    # Row 4698 has the latitude "49.892832344080446," in the source.
    assert report["coordinates_trimmed"] == 1
    rows = duckdb.sql(f"SELECT * EXCLUDE (geometry) FROM '{done.data}'")
    assert rows.filter("csduid IS NULL").count("*").fetchone() == (301,)
    assert duckdb.sql("SELECT latitude FROM rows WHERE index = 4698").fetchone() == (49.892832344080446,)
    texts = "\n".join(
        name for (name,) in duckdb.sql("SELECT facility_name FROM rows WHERE facility_name IS NOT NULL").fetchall()
    )
    assert "Musée" in texts
    assert "Ã" not in texts
    # Byte 0x9C, of which ISO-8859-1 would have made a control character.
    assert "Bibliothèque De L'Île-Des-Sœurs" in texts
    assert str(rows.select("index").types[0]) == "BIGINT"


def test_full_table_of_wds(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    dataset = declare(
        kind="table",
        key=["vector", "ref_date"],
        columns={
            "ref_date": {"source": "REF_DATE", "type": "date"},
            "value": {"type": "float"},
            "decimals": {"type": "integer"},
        },
    )
    done = build(dataset, VINTAGE, [fixtures / "08_statcan_wds" / "33100036-eng.zip"], tmp_path)
    assert done.summary.rows == 90_086
    assert (done.summary.crs, done.summary.bounds, done.summary.geometry_types) == (None, None, ())
    assert (done.summary.report["key_nulls"], done.summary.report["key_duplicates"]) == (0, 0)
    assert done.summary.columns[0].name == "ref_date"  # the byte order mark belongs to no name
    assert duckdb.sql(f"SELECT count(*) FROM '{done.data}' WHERE status = '..' AND value IS NULL").fetchone() == (
        12_495,
    )
    assert duckdb.sql(f"SELECT count(*) FROM '{done.data}' WHERE terminated = 't'").fetchone() == (19_269,)
    assert duckdb.sql(
        f"SELECT value FROM '{done.data}' WHERE vector = 'v111666250' AND ref_date = DATE '1981-05-04'"
    ).fetchone() == (98.84069746,)
    table = pq.read_table(done.data, columns=["vector", "ref_date"]).to_pylist()
    assert table == sorted(table, key=lambda row: (row["vector"], row["ref_date"]))
    assert b"geo" not in pq.read_schema(done.data).metadata


def test_boundaries_in_a_geopackage_in_a_zip(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    native = fixtures / "02_statcan_nrn_boundaries" / "boundaries.zip"
    done = build(declare(key=["source"]), VINTAGE, [native], tmp_path)
    frame = geopandas.read_parquet(done.data).set_index("source")
    assert len(frame) == 13
    assert frame.loc["ns", "name"] == "Nova Scotia / Nouvelle-Écosse"
    source = geopandas.read_file(f"zip://{native}").set_index("source")
    assert frame.to_crs("EPSG:3347").area["ns"] == pytest.approx(source.area["ns"], rel=1e-6)


def test_wide_geojson(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    native = fixtures / "12_nrcan_hazard_wide" / "nhsl_hazard_threat_all_indicators_s_bc.geojson"
    done = build(declare(key=["sauid"]), VINTAGE, [native], tmp_path)
    assert done.summary.rows == 68
    assert len(done.summary.columns) == 222  # geometry is one of them
    before = pyogrio.read_dataframe(native).set_index("Sauid").sort_index()
    after = geopandas.read_parquet(done.data).set_index("sauid").sort_index()
    assert (after["mhn_intensity"].to_numpy() == before["MHn_Intensity"].to_numpy()).all()
    # Already in EPSG:4326: not one coordinate may move.
    assert shapely.equals(before.geometry.array, after.geometry.array).all()
    assert set(shapely.get_coordinates(before.geometry.array).ravel()) == set(
        shapely.get_coordinates(after.geometry.array).ravel()
    )


def test_a_dbf_alone_is_a_table(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    native = fixtures / "09_statcan_dbf_encodings" / "lcsd000b16a_e.dbf"
    done = build(declare(kind="table", key=["csduid"]), VINTAGE, [native], tmp_path)
    assert done.summary.rows == 5_162
    names = [name for (name,) in duckdb.sql(f"SELECT csdname FROM '{done.data}'").fetchall()]
    assert sum(not name.isascii() for name in names) == 326


def test_the_file_is_what_geoparquet_1_1_asks_for(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    description = {"en": "Code of the province", "fr": "Code de la province"}
    dataset = declare(key=["pruid"], columns={"pruid": {"source": "PRUID", "description": description}})
    native = fixtures / "01_statcan_provinces_2016" / "province_territory_simplified_sp.zip"
    done = build(dataset, VINTAGE, [native], tmp_path)
    schema = pq.read_schema(done.data)
    assert schema.names[-2:] == ["geometry", "bbox"]
    geo = json.loads(schema.metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"], column["encoding"]) == ("1.1.0", "geometry", "WKB")
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 4326}
    assert (column["orientation"], column["geometry_types"]) == ("counterclockwise", ["MultiPolygon"])
    assert column["covering"]["bbox"]["ymax"] == ["bbox", "ymax"]
    assert column["bbox"] == list(done.summary.bounds or ())
    field = schema.field("pruid").metadata
    assert field[b"description_fr"] == b"Code de la province"
    assert field[b"source"] == b"PRUID"
    ours = json.loads(schema.metadata[b"d4c"])
    assert (ours["dataset"], ours["vintage"], ours["key"]) == ("dataset_of_test", "2021", ["pruid"])
    assert str(tmp_path) not in repr(schema.metadata)

    table = pq.read_table(done.data)
    bounds = shapely.bounds(shapely.from_wkb(table["geometry"].to_numpy()))
    boxes = np.array([[row[c] for c in ("xmin", "ymin", "xmax", "ymax")] for row in table["bbox"].to_pylist()])
    assert (boxes[:, :2] <= bounds[:, :2]).all()
    assert (boxes[:, 2:] >= bounds[:, 2:]).all()
    assert np.abs(boxes - bounds).max() < 2e-5  # float32 rounded outward, no more

    meta = pq.ParquetFile(done.data).metadata
    names = {meta.row_group(0).column(n).path_in_schema: meta.row_group(0).column(n) for n in range(meta.num_columns)}
    assert {c.compression for c in names.values()} == {"ZSTD"}
    assert "BYTE_STREAM_SPLIT" in names["bbox.xmin"].encodings
    assert names["bbox.xmin"].statistics.max <= column["bbox"][2]
    assert names["pruid"].has_column_index
    assert names["geometry"].statistics is None

    with duckdb_engine.connect(extensions=("spatial",)) as connection:
        connection.execute("SET enable_geoparquet_conversion = true")
        kind, area = connection.execute(
            f"SELECT any_value(typeof(geometry)), sum(ST_Area(geometry)) FROM '{done.data}'"
        ).fetchone() or ("", 0)
    assert kind.startswith("GEOMETRY")
    assert area == pytest.approx(shapely.area(shapely.from_wkb(table["geometry"].to_numpy())).sum())


def test_row_groups_are_cut_by_rows_and_by_bytes(declare: Declare, tmp_path: Path) -> None:
    rows = 25_000
    points = geopandas.GeoDataFrame(
        {"n": range(rows)}, geometry=shapely.points(np.linspace(-80, -60, rows), 45.0), crs=4326
    )
    points.to_file(tmp_path / "points.gpkg")
    done = build(declare(), VINTAGE, [tmp_path / "points.gpkg"], tmp_path / "a")
    meta = pq.read_metadata(done.data)
    # The biggest quadrants' border between them is at 67.5 degrees west.
    assert [meta.row_group(n).num_rows for n in range(meta.num_row_groups)] == [15_625, 9_375]
    assert meta.row_group(0).column(1 + list(meta.schema.names).index("geometry")).statistics.max == pytest.approx(
        -67.5, abs=1e-3
    )
    # 100,000 vertices are 1.6 MB: five of them are under 8 MiB, six are not.
    turn = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    big = [shapely.Polygon(np.column_stack([n + np.cos(turn) / 2, 45 + np.sin(turn) / 2])) for n in range(-80, -68)]
    geopandas.GeoDataFrame({"n": range(12)}, geometry=big, crs=4326).to_file(tmp_path / "big.gpkg")
    meta = pq.read_metadata(build(declare(), VINTAGE, [tmp_path / "big.gpkg"], tmp_path / "b").data)
    assert [meta.row_group(n).num_rows for n in range(meta.num_row_groups)] == [5, 5, 2]
