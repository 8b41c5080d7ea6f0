"""Text files as they come, declared columns, and the dataset's SQL."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import pyarrow.parquet as pq
import pytest
import shapely

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")


def rows_of(dataset: Dataset, native: Path, into: Path) -> list[dict[str, Any]]:
    return pq.read_table(build(dataset, VINTAGE, [native], into).data).to_pylist()


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ('id;name\r\n1;"Québec; ville"\r\n', "utf-8"),
        ("id\tname\n1\tQuébec; ville\n", "cp1252"),
        ('\n\nid,name\n1,"Québec; ville"', "utf-8-sig"),
        ('"id"|"name"\n"1"|"Québec; ville"\n', "utf-16"),
    ],
)
def test_delimiters_and_encodings_are_found(declare: Declare, tmp_path: Path, text: str, encoding: str) -> None:
    native = written(tmp_path / "rows.csv", text, encoding)
    assert rows_of(declare(kind="table"), native, tmp_path / "out") == [{"id": "1", "name": "Québec; ville"}]


def test_a_file_without_a_header_line_gets_declared_names(declare: Declare, tmp_path: Path) -> None:
    native = written(
        tmp_path / "CA.txt", '6094817\tOttawa\t45.41117\t-75.69812\n6077243\t"Montréal\t45.50884\t-73.58781\n'
    )
    with zipfile.ZipFile(tmp_path / "CA.zip", "w") as archive:
        archive.write(native, "CA.txt")
        archive.writestr("readme.txt", "about")
    dataset = declare(
        member="CA.txt",
        header=["geonameid", "name", "latitude", "longitude"],
        longitude="longitude",
        latitude="latitude",
        delimiter="\t",
        key=["geonameid"],
    )
    done = build(dataset, VINTAGE, [tmp_path / "CA.zip"], tmp_path / "out")
    frame = geopandas.read_parquet(done.data).set_index("geonameid")
    # A quote that does not close is part of the name in unquoted tab-separated text.
    assert frame.loc["6077243", "name"] == '"Montréal'
    assert frame.geometry["6094817"] == shapely.Point(-75.69812, 45.41117)


def test_null_markers_and_empty_fields_are_null_and_zeros_lead(declare: Declare, tmp_path: Path) -> None:
    native = written(tmp_path / "rows.csv", 'Code,Value\n007,..\n"",x\n008,F\n')
    rows = rows_of(declare(kind="table", nulls=["..", "x"]), native, tmp_path / "out")
    assert rows == [{"code": "007", "value": None}, {"code": "008", "value": "F"}, {"code": None, "value": None}]


def test_declared_columns_are_renamed_cast_and_described(declare: Declare, tmp_path: Path) -> None:
    native = written(tmp_path / "rows.csv", "CSDName,Année,pop\nOttawa,2021,12\nGatineau,2016,\n")
    columns = {
        "name": {"source": "CSDName", "description": {"en": "Name", "fr": "Nom"}},
        "annee": {"type": "integer"},
        "population": {"source": "pop", "type": "integer"},
    }
    done = build(declare(kind="table", columns=columns, key=["name", "annee"]), VINTAGE, [native], tmp_path / "out")
    assert [(c.name, c.type, c.source, c.description_fr) for c in done.summary.columns] == [
        ("name", "string", "CSDName", "Nom"),
        ("annee", "int64", "Année", None),
        ("population", "int64", "pop", None),
    ]
    assert pq.read_table(done.data).to_pylist() == [
        {"name": "Gatineau", "annee": 2016, "population": None},
        {"name": "Ottawa", "annee": 2021, "population": 12},
    ]


def test_columns_that_differ_by_case_alone_are_told_apart(declare: Declare, tmp_path: Path) -> None:
    native = written(tmp_path / "rows.csv", "Value,VALUE,geometry\n1,2,3\n")
    assert rows_of(declare(kind="table"), native, tmp_path / "a") == [{"value": 1, "value_2": 2, "geometry": 3}]
    dataset = declare(kind="table", sql_text="SELECT Value AS first, VALUE_2 AS second FROM source -- both")
    assert rows_of(dataset, native, tmp_path / "b") == [{"first": 1, "second": 2}]


def test_an_attribute_does_not_replace_the_geometry(declare: Declare, tmp_path: Path) -> None:
    native = written(tmp_path / "rows.csv", "x,y,geometry,bbox\n-75,45,g,b\n")
    row = rows_of(declare(longitude="x", latitude="y"), native, tmp_path / "out")[0]
    assert (row["geometry_2"], row["bbox_2"]) == ("g", "b")
    assert shapely.from_wkb(row["geometry"]) == shapely.Point(-75, 45)


def test_sql_sees_source_names_geometry_in_degrees_and_the_vintage(declare: Declare, tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"PRUID": ["35", "24"]}, geometry=shapely.points([445_100, 445_200], 5_030_300), crs=26918
    )
    frame.to_file(tmp_path / "points.gpkg")
    sql = """
        -- the DGUID is derived
        SELECT PRUID, getvariable('vintage') || 'A0002' || PRUID AS dguid, getvariable('dataset') AS "from",
               round(ST_X(geometry), 1) AS lon, sum(1) OVER () AS n, geometry
        FROM source WHERE PRUID = '24';
    """
    columns = {"pruid": {"description": {"en": "Province", "fr": "Province"}}, "dguid": {"source": "PRUID"}}
    dataset = declare(sql_text=sql, columns=columns, key=["dguid"])
    done = build(dataset, VINTAGE, [tmp_path / "points.gpkg"], tmp_path / "out")
    row = pq.read_table(done.data).to_pylist()[0]
    assert (row["pruid"], row["dguid"], row["from"], row["lon"], row["n"]) == (
        "24",
        "2021A000224",
        "dataset_of_test",
        -75.7,
        1,
    )
    described = {column.name: column for column in done.summary.columns}
    assert described["pruid"].source == "PRUID"
    assert (described["dguid"].source, described["n"].type, described["lon"].source) == ("PRUID", "int64", None)
    assert done.summary.report["source_rows"] == 2
    assert len(done.parameters["sql_sha256"]) == 64


def test_sql_that_makes_geometry_is_cleaned_too(declare: Declare, tmp_path: Path) -> None:
    native = written(tmp_path / "rows.csv", "lon,lat\n-75,45\n")
    bow_tie = "ST_GeomFromText('POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))')"
    done = build(declare(sql_text=f"SELECT *, {bow_tie} AS geometry FROM source"), VINTAGE, [native], tmp_path / "out")
    assert done.summary.report["invalid_repaired"] == 1
    assert geopandas.read_parquet(done.data).geometry[0].is_valid


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT nothing_such, geometry FROM source", r'failed: Binder Error: .*"nothing_such" not found'),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM source WHERE id = 'none'", "returns no rows"),
        ("SELECT id FROM source", "drops the geometry column"),
        ("SELECT 1; SELECT 2", "has 2 statements"),
        ("COPY source TO 'x.csv'", "is not a SELECT"),
        ("SELECT *, now() AS at FROM source", "uses now, whose result changes between runs"),
        ("SELECT *, current_date AS at FROM source", "uses current_date"),
        ("SELECT *, 'now'::TIMESTAMP AS at FROM source", "uses 'now'"),
        ("SELECT *, random() AS r FROM source", "uses random"),
        ("SELECT * FROM source USING SAMPLE 1", "uses SAMPLE"),
        ("SELECT * FROM source, query('SELECT random() AS r')", "uses query, whose result changes between runs"),
        ("SELECT * FROM source, query('SELECT ' || 'now() AS r')", "uses query"),
        ("FROM query_table('source')", "uses query_table"),
        ("FROM query_table(['source'])", "uses query_table"),
        ("SELECT *, age(TIMESTAMP '2021-01-01') AS a FROM source", "uses age of one argument"),
        ("SELECT *, ago(INTERVAL 1 DAY) AS a FROM source", "uses ago"),
        ("SELECT *, list_transform([1], x -> main.random()) AS a FROM source", "uses random"),
        ("SELECT *, current_setting('memory_limit') AS a FROM source", "uses current_setting"),
        ("SELECT *, current_localtimestamp() AS a FROM source", "uses current_localtimestamp"),
        ("SELECT geometry, s.* FROM source, duckdb_settings() s", "uses duckdb_settings"),
        ("SELECT geometry, t.* FROM source, information_schema.tables t", "uses tables"),
        ("WITH q AS (SELECT uuidv7() AS u) SELECT * FROM source, q", "uses uuidv7"),
        ("SELECT * FROM source WHERE EXISTS (FROM json_execute_serialized_sql('{}'))", "uses json_execute_serialized"),
        ("SELECT *, reservoir_quantile(id, 0.5) OVER () AS q FROM source", "uses reservoir_quantile"),
        ("SELECT geometry, content FROM source, read_text('/etc/hostname')", "Permission Error"),
        ("SELECT *, ST_Centroid(geometry) AS centre FROM source", "geometry column centre"),
        ("SELECT ST_Transform(ST_SetCRS(geometry, 'EPSG:4326'), 'EPSG:3857') AS geometry FROM source", "no longitude"),
    ],
)
def test_sql_that_is_not_right_is_refused_in_a_sentence(
    declare: Declare, tmp_path: Path, sql: str, message: str
) -> None:
    native = written(tmp_path / "rows.csv", "id,x,y\n1,-75,45\n2,-76,46\n")
    with pytest.raises(DataError, match=message) as refusal:
        build(declare(longitude="x", latitude="y", sql_text=sql), VINTAGE, [native], tmp_path / "out")
    assert "\n" not in str(refusal.value)
    assert list((tmp_path / "out").iterdir()) == []
