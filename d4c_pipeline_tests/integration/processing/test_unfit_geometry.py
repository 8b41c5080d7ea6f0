"""Rows whose geometry can't be published: refused by their number, and SQL can drop them, but not use them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas
import pytest

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import Build, build

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")
OUTSIDE = "n,lat,lon\n1,45,-75\n2,4983000,500000\n3,46,-74\n"
SHAPES = {
    "no extent": '"POLYGON ((0 0, 1 1, 0 0, 0 0))"',
    "out of range": '"POINT (500000 4983000)"',
}


@pytest.fixture
def built(declare: Declare, tmp_path: Path) -> Callable[..., Build]:
    def make(text: str, **processing: str) -> Build:
        native = tmp_path / "places.csv"
        native.write_text(text, "utf-8")
        return build(declare(**processing), VINTAGE, [native], tmp_path / "out")

    return make


def test_coordinates_out_of_range_are_refused_with_the_row(built: Callable[..., Build]) -> None:
    with pytest.raises(DataError, match=r"1 coordinates are no longitude.*row 2 \(n 2, lat 4983000, lon 500000\)"):
        built(OUTSIDE, longitude="lon", latitude="lat")


@pytest.mark.parametrize("condition", ["n <> '2'", "ST_XMax(geometry) <= 180", "lat::DOUBLE < 90"])
def test_sql_can_drop_them(built: Callable[..., Build], condition: str) -> None:
    sql = f"SELECT n, geometry FROM source WHERE {condition}"
    done = built(OUTSIDE, longitude="lon", latitude="lat", sql_text=sql)
    assert sorted(geopandas.read_parquet(done.data)["n"]) == [1, 3]
    (told,) = done.summary.report["unfit_rows_dropped_by_sql"]
    assert "row 2 (n 2" in told


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT n, geometry FROM source",
        "SELECT count(*) AS n, ST_Point(1, 2) AS geometry FROM source",
        "SELECT sum(ST_Area(geometry)) AS area, ST_Point(1, 2) AS geometry FROM source",
        "SELECT any_value(n) AS n, ST_Union_Agg(geometry) AS geometry FROM source",
        "SELECT n, ST_Point(1, 2) AS geometry FROM source",
    ],
)
def test_an_answer_that_depends_on_them_is_refused(built: Callable[..., Build], sql: str) -> None:
    with pytest.raises(DataError, match=r"row 2 \(n 2.*; the result of the SQL depends on them"):
        built(OUTSIDE, longitude="lon", latitude="lat", sql_text=sql)


def test_sql_that_fails_on_them_is_refused_for_their_sake(built: Callable[..., Build]) -> None:
    sql = "SELECT n, CASE WHEN lat::DOUBLE > 90 THEN error('far') ELSE geometry END AS geometry FROM source"
    with pytest.raises(DataError, match=r"row 2 \(n 2.*fails on them: .*far"):
        built(OUTSIDE, longitude="lon", latitude="lat", sql_text=sql)


@pytest.mark.parametrize("fault", sorted(SHAPES))
def test_sql_drops_whatever_is_unfit(built: Callable[..., Build], fault: str) -> None:
    text = f"n,shape\n1,POINT (-75 45)\n2,{SHAPES[fault]}\n"
    with pytest.raises(DataError, match=r"row 2 \(n 2\).* drop the rows in processing\.sql"):
        built(text, geometry_wkt="shape")
    done = built(text, geometry_wkt="shape", sql_text="SELECT * FROM source WHERE n = '1'")
    assert geopandas.read_parquet(done.data).geometry.to_wkt().tolist() == ["POINT (-75 45)"]


def test_geometry_without_extent_becomes_null_where_that_is_accepted(built: Callable[..., Build]) -> None:
    done = built(f"n,shape\n1,POINT (-75 45)\n2,{SHAPES['no extent']}\n", geometry_wkt="shape", lost_geometry="accept")
    frame = geopandas.read_parquet(done.data).set_index("n")
    assert frame.geometry.isna().to_dict() == {1: False, 2: True}
    assert done.summary.report["repaired_to_nothing"] == 1
