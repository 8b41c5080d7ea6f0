"""Files that the engine writes: GeoParquet 2.0, other CRS, heights, the antimeridian; what its stages do to bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import geopandas
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from d4c_pipeline.geoparquet import encode
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline.tables.duckdb_engine import extension_path

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")


@pytest.fixture(scope="module")
def offline_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder in which the checker's DuckDB finds its extension and downloads nothing."""
    home = tmp_path_factory.mktemp("home")
    platform = duckdb.execute("PRAGMA platform").fetchone()
    assert platform is not None
    folder = home / ".duckdb" / "extensions" / f"v{duckdb.__version__}" / platform[0]
    folder.mkdir(parents=True)
    shutil.copy(extension_path("spatial"), folder)
    return home


def places(folder: Path, rows: int) -> Path:
    random = np.random.default_rng(5)
    native = folder / "places.csv"
    lines = [f"{n},{random.uniform(-141, -52):.6f},{random.uniform(42, 83):.6f},{'ab'[n % 2]}" for n in range(rows)]
    native.write_text("\n".join(["n,x,y,kind", *lines]) + "\n", "utf-8")
    return native


def checked(file: Path, home: Path) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("gpio"), "check", "all", file],
        env={**os.environ, "HOME": str(home), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


@pytest.mark.parametrize("kind", ["points", "areas", "boundaries"])
def test_the_strictest_checker_is_content(
    declare: Declare, fixtures: Path, tmp_path: Path, offline_home: Path, kind: str
) -> None:
    natives = {
        "points": fixtures / "05_ttc_stops" / "TTC_stops.zip",
        "areas": fixtures / "02_statcan_nrn_boundaries" / "boundaries.zip",
        "boundaries": fixtures / "01_statcan_provinces_2016" / "province_territory_simplified_sp.zip",
    }
    done = build(declare(), VINTAGE, [natives[kind]], tmp_path / "out")
    said = checked(done.data, offline_home)
    assert "✗" not in said
    assert "checks passed" in said
    assert "⚠" not in said.replace("⚠️  No bbox", "")


def test_the_checker_is_content_with_many_row_groups(declare: Declare, tmp_path: Path, offline_home: Path) -> None:
    done = build(declare(longitude="x", latitude="y", key=["n"]), VINTAGE, [places(tmp_path, 85_000)], tmp_path / "out")
    assert pq.read_metadata(done.data).num_row_groups == 8
    said = checked(done.data, offline_home)
    assert "✗" not in said
    assert "Data appears to be spatially ordered" in said


def test_all_readers_read_all_groups_and_see_their_statistics(declare: Declare, tmp_path: Path) -> None:
    native = places(tmp_path, 35_000)
    done = build(declare(longitude="x", latitude="y", key=["n"]), VINTAGE, [native], tmp_path / "out")
    meta = pq.read_metadata(done.data)
    column = meta.row_group(2).column(0)
    assert (column.has_offset_index, column.has_column_index) == (True, True)
    assert (column.statistics.min, column.statistics.null_count) == (
        min(pq.ParquetFile(done.data).read_row_group(2)["n"].to_pylist()),
        0,
    )
    expected = sum(range(35_000))
    assert sum(pq.read_table(done.data)["n"].to_pylist()) == expected
    assert polars.read_parquet(done.data)["n"].cast(polars.Int64).sum() == expected
    assert int(geopandas.read_parquet(done.data)["n"].sum()) == expected
    answer = duckdb.execute(
        f"SELECT sum(n), count(*) FILTER (bbox.xmin <= -100) FROM '{done.data}' WHERE kind = 'b'"
    ).fetchone()
    lines = [line.split(",") for line in native.read_text().splitlines()[1:]]
    wanted = [line for line in lines if line[3] == "b"]
    assert answer == (sum(int(line[0]) for line in wanted), sum(float(line[1]) <= -100 for line in wanted))


def test_encodings_are_those_that_make_columns_small_and_never_change_a_value() -> None:
    random = np.random.default_rng(9)
    table = pa.table({
        "id": pa.array([f"A{n:08d}" for n in random.permutation(20_000)]),
        "kind": pa.array([("road", "rail", None)[n] for n in random.integers(0, 3, 20_000)]),
        "x": pa.array(np.sort(random.uniform(-80, -79, 20_000))),
        "price": pa.array(random.integers(0, 300, 20_000) / 4),
        "number": pa.array(np.cumsum(random.integers(1, 9, 20_000)), pa.int64()),
        "nothing": pa.nulls(20_000, pa.string()),
        "names": pa.array([["a", "b"]] * 20_000),
    })  # fmt: skip
    chosen = encode.choose(table)
    assert chosen.encodings == {
        "id": "DELTA_LENGTH_BYTE_ARRAY",
        "kind": encode.DICTIONARY,
        "x": "BYTE_STREAM_SPLIT",
        "price": encode.DICTIONARY,
        "number": "DELTA_BINARY_PACKED",
        "nothing": encode.DICTIONARY,
    }
    buffer = encode.encoded(table, chosen)
    assert pq.read_table(pa.BufferReader(buffer)).equals(table)
    assert buffer.size < 0.9 * encode.encoded(table, encode.Choice.usual(table.schema.names)).size


def test_geometry_is_compressed_harder_where_it_pays() -> None:
    random = np.random.default_rng(5)
    # Long rings that share most digits, and bytes without any pattern.
    steps = np.cumsum(np.round(random.normal(0, 1e-3, (200, 5_000, 2)), 5), axis=1)
    lines = shapely.to_wkb(shapely.linestrings(steps))
    for wkb, level in ((lines, 5), ([random.bytes(4_000) for _ in range(100)], encode.COMPRESSION_LEVEL)):
        table = pa.table({"geometry": pa.array(wkb, pa.binary())})
        chosen = encode.choose(table)
        assert chosen == encode.Choice({}, level)
        assert pq.read_table(pa.BufferReader(encode.encoded(table, chosen))).equals(table)
    smaller, usual = (encode.encoded(pa.table({"geometry": lines}), encode.Choice({}, n)).size for n in (5, 1))
    assert smaller < 0.9 * usual


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int8()), pa.struct({"a": pa.list_(pa.int8())}), pa.map_("string", "int8")]
)
def test_every_leaf_is_compressed_at_the_level(kind: pa.DataType) -> None:
    field = pa.field("x", kind)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.schema([field]).empty_table(), sink)
    expected = [column.path for column in pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema]
    assert encode._paths(kind, "x") == expected


def test_geoparquet_2_has_the_type_of_parquet_itself(
    declare: Declare, fixtures: Path, tmp_path: Path, offline_home: Path
) -> None:
    native = fixtures / "02_statcan_nrn_boundaries" / "boundaries.zip"
    done = build(declare(geoparquet="2.0", crs_out="EPSG:3347"), VINTAGE, [native], tmp_path / "out")
    older = build(declare(crs_out="EPSG:3347"), VINTAGE, [native], tmp_path / "older")
    parquet = pq.ParquetFile(done.data)
    assert "Geometry(crs={" in str(parquet.schema)
    assert "bbox" not in parquet.schema_arrow.names
    box = parquet.metadata.row_group(0).column(parquet.schema_arrow.names.index("geometry")).geo_statistics
    geo = json.loads(parquet.schema_arrow.metadata[b"geo"])
    assert (geo["version"], "covering" in geo["columns"]["geometry"]) == ("2.0.0", False)
    assert geo["columns"]["geometry"]["bbox"][0] == box.xmin
    assert _storage(parquet.read()["geometry"]).equals(pq.read_table(older.data)["geometry"])
    count = duckdb.execute(f"SELECT count(*) FROM '{done.data}' WHERE geometry IS NOT NULL").fetchone()
    assert count == (13,)
    assert "✗" not in checked(done.data, offline_home)
    assert done.parameters["format"] == "GeoParquet 2.0.0"


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.binary()) if isinstance(column.type, pa.BaseExtensionType) else column


def test_another_crs_heights_and_dropped_columns(declare: Declare, tmp_path: Path) -> None:
    shapes = [shapely.Point(-75.7, 45.4, 70), shapely.Point(-73.6, 45.5, 36.5), None]
    native = tmp_path / "heights.gpkg"
    geopandas.GeoDataFrame({"id": [1, 2, 3], "rest": "x"}, geometry=shapes, crs=4326).to_file(native)
    dataset = declare(crs_out="EPSG:3347", z="keep", drop=["rest"], key=["id"])
    done = build(dataset, VINTAGE, [native], tmp_path / "out")
    frame = geopandas.read_parquet(done.data).set_index("id")
    assert (frame.crs.to_epsg(), list(frame.columns)) == (3347, ["geometry"])
    assert frame.geometry[1].z == 70.0
    assert frame.geometry[3] is None
    assert done.summary.geometry_types == ("Point Z",)
    assert done.summary.crs == "EPSG:3347"
    assert done.summary.bounds == pytest.approx((-75.7, 45.2, -73.6, 45.7), abs=0.2)
    assert json.loads(done.profile.read_text())["geometry"]["types"] == {"Point Z": 2}
    assert done.parameters["operation"].endswith("Statistics Canada Lambert")
    with pytest.raises(DataError, match=r"processing\.drop names missing columns: none; there are id, rest"):
        build(declare(drop=["none"]), VINTAGE, [native], tmp_path / "out")


def test_sql_sees_degrees_whatever_is_published(declare: Declare, tmp_path: Path) -> None:
    native = tmp_path / "rows.csv"
    native.write_text("id,x,y\n1,-75.7,45.4\n")
    sql = "SELECT id, ST_X(geometry) AS lon, geometry FROM source"
    dataset = declare(longitude="x", latitude="y", crs_out="EPSG:3347", sql_text=sql)
    done = build(dataset, VINTAGE, [native], tmp_path / "out")
    frame = geopandas.read_parquet(done.data)
    assert frame["lon"][0] == -75.7
    assert frame.geometry[0].x > 7_000_000


def test_a_wide_table_of_many_columns_is_stitched(declare: Declare, tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(2_000)]
    with zipfile.ZipFile(tmp_path / "wide.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "wide.csv", "\n".join([",".join(names), *(",".join(map(str, range(n, n + 2_000))) for n in (7, 9))])
        )
    done = build(declare(kind="table", key=["c0"]), VINTAGE, [tmp_path / "wide.zip"], tmp_path / "out")
    table = pq.read_table(done.data)
    assert table.num_columns == 2_000
    assert (table["c0"].to_pylist(), table["c1999"].to_pylist()) == ([7, 9], [2_006, 2_008])
