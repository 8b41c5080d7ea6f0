"""Subsets of real releases equal what geopandas computes from the whole file, in every format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.subset import FORMATS, Engine
from d4c_pipeline_tests.support.declared import declaring
from d4c_pipeline_tests.support.subsets import Subsets

NATIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "stops": ("05_ttc_stops/TTC_stops.zip", {"key": ["feature_nu"]}),
    "addresses": ("06_whiterock_addresses/whiterock.zip", {"key": ["address_id"], "crs_out": "EPSG:32610"}),
    "ridings": ("03_geonb_ridings_2024/geonb_2024_ped_cep_shp.zip", {"key": ["dist_id"], "crs_out": "EPSG:3347"}),
    "provinces": ("01_statcan_provinces_2016/province_territory_simplified_sp.zip", {"key": ["pruid"]}),
}
# West, south, east, north in degrees, chosen so that boundaries of the data cross each side.
BOXES = {
    "stops": [-79.45, 43.62, -79.35, 43.70],
    "addresses": [-122.82, 49.018, -122.80, 49.026],
    "ridings": [-66.2, 45.2, -65.0, 46.4],
    "provinces": [-80.0, 45.0, -60.0, 55.0],
}
SPATIAL = [name for name in FORMATS if name != "csv"]


@pytest.fixture(scope="module")
def released(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The data file of a release of each real fixture, two of them in a projected CRS."""
    found: dict[str, Path] = {}
    for name, (native, processing) in NATIVES.items():
        folder = tmp_path_factory.mktemp(name)
        dataset = declaring(folder / "definition")(**processing)
        found[name] = build(dataset, Vintage.parse("2021"), [fixtures / native], folder / "out").data
    return found


@pytest.fixture(scope="module")
def subsets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subsets]:
    with Engine(threads=2) as engine:
        yield Subsets(engine, tmp_path_factory.mktemp("results"))


def expected(data: Path, box: list[float], crs: str | int | None = None) -> geopandas.GeoDataFrame:
    """What geopandas finds: the box with 1,000 vertices a side, in the CRS of the data."""
    frame = geopandas.read_parquet(data)
    area = geopandas.GeoSeries([shapely.segmentize(shapely.box(*box), 0.001)], crs=4326).to_crs(frame.crs)[0]
    found = frame[frame.intersects(area)]
    return found.to_crs(crs) if crs is not None else found


@pytest.mark.parametrize("name", NATIVES)
@pytest.mark.parametrize("form", FORMATS)
def test_a_box_gives_the_rows_that_geopandas_finds(
    subsets: Subsets, released: dict[str, Path], name: str, form: str
) -> None:
    key = NATIVES[name][1]["key"][0]
    wanted = expected(released[name], BOXES[name], 4326 if form == "geojson" else None)
    assert 0 < len(wanted) < len(geopandas.read_parquet(released[name]))
    got = subsets.frame(released[name], bbox=BOXES[name], format=form)
    if form == "flatgeobuf":  # its index orders rows by place
        got, wanted = got.sort_values([key, "geometry"]), wanted.sort_values([key, "geometry"])
    assert [str(value) for value in got[key]] == [str(value) for value in wanted[key]]
    assert list(got.columns) == list(wanted.columns)
    distance = np.abs(
        shapely.get_coordinates(got.geometry.array) - shapely.get_coordinates(wanted.geometry.array)
    ).max()
    assert distance <= (1e-9 if form == "geojson" and name in ("addresses", "ridings") else 0)
    if form != "csv":
        assert got.crs.to_epsg() == wanted.crs.to_epsg()
    for column in wanted.columns.drop("geometry"):
        assert texts(got[column]) == texts(wanted[column]), column


def texts(column: Any) -> list[str]:
    """Values as text, so that CSV and typed formats compare; missing values are empty."""
    return [text(value) for value in column]


def text(value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return ""
    try:
        return repr(float(value))
    except ValueError:
        return str(value)


def test_rows_without_geometry_are_kept_without_an_area(subsets: Subsets, released: dict[str, Path]) -> None:
    whole = geopandas.read_parquet(released["stops"])
    assert whole.geometry.isna().sum() == 91
    for form in FORMATS:
        got = subsets.frame(released["stops"], format=form)
        left_out = 91 if form == "flatgeobuf" else 0
        assert len(got) == len(whole) - left_out, form
        assert got.geometry.isna().sum() == 91 - left_out, form


def test_a_polygon_selects_by_shape_not_by_box(subsets: Subsets, released: dict[str, Path]) -> None:
    triangle = shapely.Polygon([(-79.5, 43.6), (-79.3, 43.6), (-79.5, 43.8)])
    frame = geopandas.read_parquet(released["stops"])
    wanted = frame[frame.intersects(triangle)]
    inside_the_box = frame[frame.intersects(shapely.box(*triangle.bounds))]
    got = subsets.frame(released["stops"], geometry=json.loads(shapely.to_geojson(triangle)))
    assert got["feature_nu"].tolist() == wanted["feature_nu"].tolist()
    assert len(got) < len(inside_the_box)


def test_another_crs_moves_geometries_as_geopandas_does(subsets: Subsets, released: dict[str, Path]) -> None:
    for name, crs in (("stops", "EPSG:3347"), ("ridings", "EPSG:4326"), ("provinces", "EPSG:3978")):
        wanted = expected(released[name], BOXES[name], crs)
        got = subsets.frame(released[name], bbox=BOXES[name], crs=crs, format="geoparquet")
        assert got.crs.to_epsg() == int(crs[5:])
        off = np.abs(shapely.get_coordinates(got.geometry.array) - shapely.get_coordinates(wanted.geometry.array))
        assert off.max() < (1e-9 if crs == "EPSG:4326" else 1e-3), name
        box = json.loads(pq.read_schema(subsets.made(released[name], bbox=BOXES[name], crs=crs)).metadata[b"geo"])
        assert box["columns"]["geometry"]["bbox"] == pytest.approx(list(got.total_bounds))


def test_the_axes_of_an_area_follow_the_form_of_its_crs(subsets: Subsets, released: dict[str, Path]) -> None:
    west, south, east, north = BOXES["stops"]
    plain = subsets.frame(released["stops"], bbox=[west, south, east, north], format="csv")
    forms = {
        "EPSG:4326": [west, south, east, north],
        "http://www.opengis.net/def/crs/OGC/1.3/CRS84": [west, south, east, north],
        "http://www.opengis.net/def/crs/EPSG/0/4326": [south, west, north, east],
        "urn:ogc:def:crs:EPSG::4326": [south, west, north, east],
    }
    for crs, box in forms.items():
        got = subsets.frame(released["stops"], bbox=box, bbox_crs=crs, format="csv")
        assert got["feature_nu"].tolist() == plain["feature_nu"].tolist(), crs
    metres = geopandas.GeoSeries([shapely.box(*BOXES["addresses"])], crs=4326).to_crs(32610)[0].bounds
    frame = geopandas.read_parquet(released["addresses"])
    got = subsets.frame(released["addresses"], bbox=list(metres), bbox_crs="EPSG:32610")
    assert got["address_id"].tolist() == frame[frame.intersects(shapely.box(*metres))]["address_id"].tolist()


def test_an_area_larger_than_the_projection_has_all_rows(subsets: Subsets, released: dict[str, Path]) -> None:
    for name in ("ridings", "addresses"):
        count = len(geopandas.read_parquet(released[name]))
        for box in ([-180, -90, 180, 90], [-150, 30, -40, 89], [100, 30, -40, 89]):
            assert len(subsets.frame(released[name], bbox=box)) == count, (name, box)
        assert len(subsets.frame(released[name], bbox=[0, 40, 40, 60])) == 0


def test_a_box_across_180_degrees(subsets: Subsets, tmp_path: Path) -> None:
    longitudes = [-179.5, -170.0, 0.0, 170.0, 179.5, 180.0]
    frame = geopandas.GeoDataFrame({"id": range(6)}, geometry=[shapely.Point(x, 10) for x in longitudes], crs=4326)
    frame.to_parquet(path := tmp_path / "points.parquet", write_covering_bbox=True)
    assert subsets.frame(path, bbox=[175, 0, -175, 20])["id"].tolist() == [0, 4, 5]
    assert subsets.frame(path, bbox=[-175, 0, 175, 20])["id"].tolist() == [1, 2, 3]
    moved = frame.to_crs(3832)  # its centre is 150 degrees east
    moved.to_parquet(path := tmp_path / "pacific.parquet", write_covering_bbox=True)
    assert subsets.frame(path, bbox=[175, 0, -175, 20])["id"].tolist() == [0, 4, 5]
    assert subsets.frame(path, bbox=[160, 0, 179.6, 20])["id"].tolist() == [3, 4]


def test_a_pole_and_a_cut_of_the_projection(subsets: Subsets, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    places = shapely.points(random.uniform(-180, 180, 4_000), random.uniform(60, 90, 4_000))
    frame = geopandas.GeoDataFrame({"id": range(4_000)}, geometry=places, crs=4326)
    frame.to_crs(3413).to_parquet(polar := tmp_path / "polar.parquet", write_covering_bbox=True)
    canada = frame.cx[-140:-50, 60:85]
    canada.to_crs(3347).to_parquet(conic := tmp_path / "conic.parquet", write_covering_bbox=True)
    for path, source in ((polar, frame), (conic, canada)):
        for box in ([-100, 70, -60, 80], [-180, 75, 180, 90], [-170, 62, 100, 88], [150, 65, -120, 89.5]):
            west, south, east, north = box
            x, y = source.geometry.x, source.geometry.y
            within = (x >= west) & (x <= east) if west <= east else (x >= west) | (x <= east)
            wanted = source[within & (y >= south) & (y <= north)]["id"].tolist()
            assert subsets.frame(path, bbox=box)["id"].tolist() == wanted, (path.name, box)


def test_values_that_a_format_cannot_hold_are_announced(subsets: Subsets, tmp_path: Path) -> None:
    big = 2**64 - 1
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.int64()),
            "big": pa.array([big, None], pa.uint64()),
            "exact": pa.array(["12345678901234567.89", None], pa.string()).cast(pa.decimal128(38, 2)),
            "times": pa.array([1_700_000_000_123_456, None], pa.timestamp("us", "UTC")),
            "list": pa.array([[1.5, float("nan")], None], pa.list_(pa.float64())),
            "ratio": pa.array([float("inf"), 0.1], pa.float64()),
            "single": pa.array([0.1, None], pa.float32()),
            "text": pa.array(["", None]),
        }
    )
    pq.write_table(table, path := tmp_path / "types.parquet")
    for form in ("parquet", "arrow"):
        assert subsets.plan(path, format=form).notices == ()
    got = pq.read_table(subsets.made(path, format="parquet"))
    assert repr(got.to_pydict()) == repr(table.to_pydict())  # NaN does not equal itself
    assert got.schema.remove_metadata().equals(table.schema)
    rows = subsets.made(path, format="csv").read_text().splitlines()
    assert rows[1].startswith('1,18446744073709551615,12345678901234567.89,"2023-11-14T22:13:20.123456Z","[1.5, NaN]"')
    assert rows[2] == "2,,,,,0.1,,"
    announced = {
        "gpkg": ["big: uint64", "exact: decimal128(38, 2)", "times: times are cut", "list: list<",
                 "ratio: SQLite has no NaN", "single: SQLite has no NaN"],
        "csv": ["list: list<"],
    }  # fmt: skip
    for form, sentences in announced.items():
        notices = subsets.plan(path, format=form).notices
        assert [notice[: len(start)] for notice, start in zip(notices, sentences, strict=True)] == sentences
    stored = pyogrio.read_dataframe(subsets.made(path, format="gpkg"), read_geometry=False)
    assert stored.loc[0, "big"] == str(big)
    assert stored.loc[0, "exact"] == "12345678901234567.89"


def test_the_provenance_is_inside_the_result(subsets: Subsets, released: dict[str, Path]) -> None:
    data, box = released["stops"], BOXES["stops"]
    key = b"d4c:subset"
    found = {
        "parquet": json.loads(pq.read_schema(subsets.made(data, bbox=box)).metadata[key]),
        "arrow": json.loads(pa.ipc.open_stream(subsets.made(data, bbox=box, format="arrow")).schema.metadata[key]),
        "geojson": json.loads(subsets.made(data, bbox=box, format="geojson").read_bytes())["d4c"],
        "gpkg": json.loads(
            pyogrio.read_info(subsets.made(data, bbox=box, format="gpkg"))["layer_metadata"]["d4c_subset"]
        ),
        "flatgeobuf": json.loads(
            pyogrio.read_info(subsets.made(data, bbox=box, format="flatgeobuf"))["layer_metadata"]["DESCRIPTION"]
        ),
    }
    for form, facts in found.items():
        assert (facts["release"], facts["doi"], facts["licence"]) == (
            "ca_x_v1.0.0", "10.5281/zenodo.1", "OGL-Canada-2.0",
        ), form  # fmt: skip
        assert facts["request"]["area"] == {"boxes": [box], "crs": "EPSG:4326"}


def test_equal_requests_give_equal_bytes_and_one_identity(subsets: Subsets, released: dict[str, Path]) -> None:
    data, box = released["ridings"], BOXES["ridings"]
    for form in FORMATS:
        first = subsets.made(data, bbox=box, format=form).read_bytes()
        assert subsets.made(data, bbox=list(box), format=form).read_bytes() == first, form
    same = {
        subsets.plan(data, bbox=box).identity,
        subsets.plan(data, bbox={"bbox": box, "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}).identity,
        subsets.plan(data, bbox=box, version="1.*", vintage="2021").identity,
    }
    assert len(same) == 1
    assert subsets.plan(data, bbox=box, format="csv").identity not in same


def test_a_filter_columns_and_parts(subsets: Subsets, released: dict[str, Path], tmp_path: Path) -> None:
    frame = geopandas.read_parquet(released["ridings"])
    halves = [tmp_path / f"part-{number}.parquet" for number in (1, 2)]
    table = pq.read_table(released["ridings"])
    for path, rows in zip(halves, (table.slice(0, 20), table.slice(20)), strict=True):
        pq.write_table(rows, path)
    wanted = frame[frame["dist_id"] > 30]["ped_names"].tolist()
    for files in (released["ridings"], halves):
        got = subsets.frame(files, filter="dist_id > 30", columns=["ped_names"], format="csv")
        assert got["ped_names"].tolist() == wanted
        assert list(got.columns) == ["ped_names"]
    only = subsets.frame(released["ridings"], columns=["geometry"], format="geojson")
    assert list(only.columns) == ["geometry"]
    assert len(only) == 49
    with pytest.raises(ProblemError, match="geometry"):  # its coordinates would be taken for metres
        subsets.plan(released["ridings"], filter="S_INTERSECTS(geometry, POINT(-66 46))")
    place = "S_INTERSECTS(geometry, POLYGON((-79.45 43.62, -79.35 43.62, -79.35 43.70, -79.45 43.70, -79.45 43.62)))"
    box = subsets.frame(released["stops"], bbox=BOXES["stops"], format="csv")
    assert subsets.frame(released["stops"], filter=place, format="csv")["feature_nu"].tolist() == (
        box["feature_nu"].tolist()
    )


def test_row_groups_outside_the_area_are_not_read(subsets: Subsets, released: dict[str, Path], tmp_path: Path) -> None:
    table = pq.read_table(released["stops"])
    pq.write_table(table, path := tmp_path / "groups.parquet", row_group_size=500)
    planned = subsets.plan(path, bbox=[-79.40, 43.65, -79.39, 43.66])
    assert planned.rows < planned.source.rows / 3
    assert planned.source.rows == 10_025
