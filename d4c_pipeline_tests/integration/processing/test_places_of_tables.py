"""Tables with coordinates in columns, from the file to the published place; the remedies are tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import Build, build

Declare = Callable[..., Dataset]
Building = Callable[..., Build]
COLUMNS = {"longitude": "lon", "latitude": "lat"}


@pytest.fixture
def built(declare: Declare, tmp_path: Path) -> Building:
    def make(text: str, **processing: Any) -> Build:
        native = tmp_path / "places.csv"
        native.write_text(text, "utf-8")
        return build(declare(**processing), Vintage.parse("2021"), [native], tmp_path / "out")

    return make


def places(done: Build) -> dict[int, str | None]:
    frame = geopandas.read_parquet(done.data)
    shapes = {n: None if shape is None else shape.wkt for n, shape in zip(frame["n"], frame.geometry, strict=True)}
    return dict(sorted(shapes.items()))


def test_degrees_minutes_and_seconds_among_numbers(built: Building) -> None:
    rows = ["n;lat;lon", "1;45°30'00\"N;73°36'00\"W", "2;46.25;-74.5", "3;;", "4; 47 15 00 N ;-75 30 00"]
    done = built("\n".join(rows) + "\n", delimiter=";", **COLUMNS)
    assert places(done) == {1: "POINT (-73.6 45.5)", 2: "POINT (-74.5 46.25)", 3: None, 4: "POINT (-75.5 47.25)"}
    assert done.summary.report["coordinates_as_dms"] == 4
    assert geopandas.read_parquet(done.data).set_index("n")["lat"].to_dict()[1] == "45°30'00\"N"


def test_a_value_that_is_no_place_and_its_remedies(built: Building) -> None:
    text = "n,lat,lon\n1,45,-75\n2,unknown,unknown\n"
    with pytest.raises(DataError, match=r"Column lon has the value 'unknown'.*Declare it in nulls.*processing\.sql"):
        built(text, **COLUMNS)
    assert places(built(text, nulls=["unknown"], **COLUMNS)) == {1: "POINT (-75 45)", 2: None}
    sql = "SELECT n::INT AS n, ST_Point(lon::DOUBLE, lat::DOUBLE) AS geometry FROM source WHERE lat <> 'unknown'"
    assert places(built(text, sql_text=sql)) == {1: "POINT (-75 45)"}


@pytest.mark.parametrize(
    "declared", [{"nulls": ["-999"]}, {"columns": {name: {"nulls": ["-999"]} for name in ("lat", "lon")}}]
)
def test_numbers_that_stand_for_an_unknown_place(built: Building, declared: dict[str, Any]) -> None:
    text = "n,lat,lon\n1,45,-75\n2,-999.0,-999.0\n"
    with pytest.raises(DataError, match=r"no longitude and latitude.*row 2"):
        built(text, **COLUMNS)
    assert places(built(text, **COLUMNS, **declared)) == {1: "POINT (-75 45)", 2: None}


def test_angles_are_no_lengths(built: Building) -> None:
    text = "n,lat,lon\n1,45°30'N,73°36'W\n"
    with pytest.raises(DataError, match=r"Column lon has the value .*an angle, but .* is projected\. Declare a geogr"):
        built(text, crs="EPSG:3347", **COLUMNS)
    assert places(built(text, crs="EPSG:4617", **COLUMNS))[1] is not None


def test_a_decimal_comma_and_its_remedy(built: Building) -> None:
    text = "n;lat;lon\n1;45,5;-75,25\n"
    with pytest.raises(DataError, match=r"Column lon has the value '-75,25'.*Declare processing\.decimal: ','"):
        built(text, **COLUMNS)
    assert places(built(text, decimal=",", **COLUMNS)) == {1: "POINT (-75.25 45.5)"}


def test_columns_that_are_declared_the_wrong_way_round(built: Building) -> None:
    text = "n,lat,lon\n1,45,-75\n"
    with pytest.raises(DataError, match="Column lat is declared as longitude and lon as latitude"):
        built(text, longitude="lat", latitude="lon")


def test_a_hemisphere_of_the_other_axis(built: Building) -> None:
    with pytest.raises(DataError, match=r"Column a has the value '45°N': N is a hemisphere of latitude"):
        built("n,a,b\n1,45°N,75°W\n", longitude="a", latitude="b")


def test_values_that_only_fit_the_other_way_round(built: Building) -> None:
    with pytest.raises(DataError, match=r"look exchanged.*row 1 \(n 1.*Exchange processing\.longitude and latitude"):
        built("n,x,y\n1,45,-101\n", longitude="x", latitude="y")


def test_projected_coordinates_and_their_remedy(built: Building) -> None:
    text = "n,x,y\n1,7631000,1245000\n"
    with pytest.raises(DataError, match=r"no longitude and latitude.*Declare the right processing\.crs"):
        built(text, longitude="x", latitude="y")
    frame = geopandas.read_parquet(built(text, longitude="x", latitude="y", crs="EPSG:3347").data)
    assert (round(frame.geometry[0].x, 1), round(frame.geometry[0].y, 1)) == (-73.6, 45.5)


def test_places_at_zero_are_counted(built: Building) -> None:
    done = built("n,lat,lon\n1,0,0\n2,45,-75\n3,0.0,0.0\n", **COLUMNS)
    assert done.summary.report["points_at_zero"] == 2


def test_hexadecimal_wkb_and_its_reference_system(built: Building) -> None:
    text = "n,shape\n1,0101000020E61000000000000000C052C00000000000804640\n"
    with pytest.raises(DataError, match="states SRID=4326, but the SRID of the data is 3347"):
        built(text, geometry_wkt="shape", crs="EPSG:3347")
    done = built(text, geometry_wkt="shape")
    assert places(done) == {1: "POINT (-75 45)"}


def test_curves_in_text_become_lines(built: Building) -> None:
    done = built('n,shape\n1,"CIRCULARSTRING (-75 45, -74 46, -73 45)"\n', geometry_wkt="shape")
    assert shapely.length(geopandas.read_parquet(done.data).geometry[0]) == pytest.approx(3.14159, abs=1e-3)
    assert done.summary.report["curves_straightened"] == 1


def test_no_geometry_and_its_remedies(built: Building) -> None:
    text = "n,shape\n1,POINT (-75 45)\n2,somewhere\n"
    with pytest.raises(DataError, match=r"not Well-Known Text.*'somewhere'.*nulls.*processing\.sql"):
        built(text, geometry_wkt="shape")
    assert places(built(text, geometry_wkt="shape", nulls=["somewhere"])) == {1: "POINT (-75 45)", 2: None}
    sql = "SELECT n::INT AS n, ST_GeomFromText(shape) AS geometry FROM source WHERE n = '1'"
    assert places(built(text, sql_text=sql)) == {1: "POINT (-75 45)"}
