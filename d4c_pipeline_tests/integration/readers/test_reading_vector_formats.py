"""Reading vector formats: the output of each reader before processing."""

from __future__ import annotations

import json
import math
import os
import shutil
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing, VectorProcessing
from d4c_pipeline.readers import delivery
from d4c_pipeline.tables.native import plain

FEATURE = '{"type": "Feature", "properties": {"n": 1}, "geometry": {"type": "Point", "coordinates": [1, 2]}}'
Read = tuple[dict[str, list[Any]], list[Any], dict[str, Any]]
PLACES = {"Québec": (-71.2, 46.8), "Montréal": (-73.6, 45.5), "Ottawa": (-75.7, 45.4)}


def read(natives: list[Path] | Path, work: Path, *, kind: str = "vector", **processing: Any) -> Read:
    """Attributes by column, geometries, report."""
    model = VectorProcessing if kind == "vector" else TableProcessing
    work.mkdir()
    native = delivery.read(
        model.model_validate({"kind": kind, **processing}), natives if isinstance(natives, list) else [natives], work
    )
    table, geometry = native.collect()
    assert table.schema.names == native.attributes.names
    shapes = [] if geometry is None else list(shapely.from_wkb(geometry.to_numpy()))
    return table.to_pydict(), shapes, native.report


def refused(natives: list[Path] | Path, work: Path, message: str, **processing: Any) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        read(natives, work, **processing)
    assert str(work) not in str(refusal.value)


@pytest.fixture
def frame() -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(
        {"name": list(PLACES), "n": [1, 2, 3]}, geometry=[shapely.Point(*place) for place in PLACES.values()], crs=4326
    )


@pytest.fixture
def geodatabase(tmp_path: Path, frame: geopandas.GeoDataFrame) -> Path:
    """A File Geodatabase with two feature classes and a table, in a zip."""
    folder = tmp_path / "make" / "My data.gdb"
    folder.parent.mkdir()
    frame = frame.astype({"n": "int32"})
    for layer in ("places", "more_places"):
        frame.to_file(folder, layer=layer, driver="OpenFileGDB")
    pyogrio.write_dataframe(frame.drop(columns="geometry"), folder, layer="codes", driver="OpenFileGDB")
    archive = tmp_path / "places.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(folder.iterdir()):
            opened.write(path, f"delivery/{folder.name}/{path.name}")
    return archive


@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("with space/the places.gpkg", "GPKG"),
        ("places.geojson", "GeoJSON"),
        ("places.json", "GeoJSON"),
        ("places.geojsonl", "GeoJSONSeq"),
        ("places.fgb", "FlatGeobuf"),
        ("places.gml", "GML"),
        ("places.kml", "LIBKML"),
        ("places.parquet", "Parquet"),
    ],
)
def test_each_format_gives_the_same_features(
    tmp_path: Path, frame: geopandas.GeoDataFrame, name: str, driver: str
) -> None:
    native = tmp_path / "in" / name
    native.parent.mkdir(parents=True)
    if driver == "Parquet":
        frame.to_parquet(native)
    else:
        frame.to_file(native, driver=driver)
    columns, shapes, _ = read(native, tmp_path / "work")
    names = columns["Name" if driver == "LIBKML" and "Name" in columns else "name"]
    assert {n: (s.x, s.y) for n, s in zip(names, shapes, strict=True)} == {
        n: pytest.approx(place) for n, place in PLACES.items()
    }
    assert sorted(path.name for path in native.parent.iterdir() if path.suffix == ".gfs") == []


def test_layers_of_a_geodatabase_in_a_zip(geodatabase: Path, tmp_path: Path) -> None:
    refused(geodatabase, tmp_path / "a", r"My data\.gdb has 2 layers: places, more_places\. Declare the layer to read")
    refused(geodatabase, tmp_path / "b", "has no layer lakes; it has places, more_places", layer="lakes")
    refused(geodatabase, tmp_path / "c", "has 2 layers that match \\*places", layer="*places")
    columns, shapes, report = read(geodatabase, tmp_path / "d", layer="more*")
    assert columns == {"name": list(PLACES), "n": [1, 2, 3]}
    assert [shape.x for shape in shapes] == pytest.approx([-71.2, -73.6, -75.7])
    assert report == {"layer": "more_places", "feature_id_left_out": "OBJECTID"}
    codes, none, _ = read(geodatabase, tmp_path / "e", kind="table", layer="codes")
    assert (codes["n"], none) == ([1, 2, 3], [])
    both, _, report = read(geodatabase, tmp_path / "f", layer="*places", append=True, origin_column="layer_name")
    assert both["layer_name"] == ["places"] * 3 + ["more_places"] * 3
    assert report == {
        "parts": 2,
        "empty_parts": [],
        "layer": ["places", "more_places"],
        "feature_id_left_out": "OBJECTID",
    }


def test_several_shapefiles_in_folders_of_one_zip_are_chosen_by_glob(
    tmp_path: Path, frame: geopandas.GeoDataFrame
) -> None:
    for folder, rows in (("A b", slice(0, 1)), ("C", slice(1, 3))):
        (tmp_path / "make" / folder).mkdir(parents=True)
        frame.iloc[rows].to_file(tmp_path / "make" / folder / "some places.shp", encoding="utf-8")
    archive = Path(shutil.make_archive(str(tmp_path / "places"), "zip", tmp_path / "make"))
    refused(archive, tmp_path / "a", r"Several files could be the data: A b/some places\.shp, C/some places\.shp")
    assert read(archive, tmp_path / "b", member="A b/*")[0]["name"] == ["Québec"]
    columns, shapes, _ = read(archive, tmp_path / "c", append=True, origin_column="file")
    assert columns["name"] == ["Québec", "Montréal", "Ottawa"]
    assert columns["file"] == ["A b/some places.shp", "C/some places.shp", "C/some places.shp"]
    assert len(shapes) == 3


def test_a_zip_in_a_zip(tmp_path: Path, frame: geopandas.GeoDataFrame) -> None:
    frame.to_file(tmp_path / "places.gpkg")
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as inner:
        inner.write(tmp_path / "places.gpkg", "places.gpkg")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
        outer.write(tmp_path / "inner.zip", "data/inner.zip")
    assert read(tmp_path / "outer.zip", tmp_path / "w", member="data/inner.zip/*")[0]["n"] == [1, 2, 3]


@pytest.mark.parametrize("driver", ["GPKG", "FlatGeobuf", "ESRI Shapefile", "GeoJSON"])
def test_heights_and_measures_come_through(tmp_path: Path, driver: str) -> None:
    raised = geopandas.GeoDataFrame({"n": [1]}, geometry=[shapely.Point(-75, 45, 120.5)], crs=4326)
    native = tmp_path / ("p" + {"GPKG": ".gpkg", "FlatGeobuf": ".fgb", "GeoJSON": ".geojson"}.get(driver, ".shp"))
    raised.to_file(native, driver=driver)
    _, shapes, _ = read([path for path in tmp_path.iterdir() if path.stem == "p"], tmp_path / "work")
    assert shapes[0].z == 120.5


def test_geoparquet_with_two_geometry_columns_and_no_crs(fixtures: Path, tmp_path: Path) -> None:
    native = next((fixtures / "15_vancouver_parquet_index").glob("*.parquet"))
    columns, shapes, report = read(native, tmp_path / "a")
    assert (len(shapes), {shape.geom_type for shape in shapes}, sorted(columns)) == (
        470, {"Point"}, ["ecw_url", "mrsid_url", "name"],
    )  # fmt: skip
    assert report == {"geometry_column": "geo_point_2d", "columns_left_out": ["geom"]}
    _, tiles, _ = read(native, tmp_path / "b", geometry_column="geom")
    assert {tile.geom_type for tile in tiles} == {"Polygon"}
    assert all(-123.3 < tile.centroid.x < -123.0 and 49.1 < tile.centroid.y < 49.4 for tile in tiles)
    refused(native, tmp_path / "c", "has no column shape; it has geom, geo_point_2d", geometry_column="shape")
    work = tmp_path / "d"
    work.mkdir()
    crs = delivery.read(VectorProcessing(kind="vector"), [native], work).crs
    assert crs is not None
    assert crs.to_authority() == ("OGC", "CRS84")


def test_geoparquet_without_a_known_crs_needs_a_declaration(tmp_path: Path, frame: geopandas.GeoDataFrame) -> None:
    frame.to_crs(3347).set_crs(None, allow_override=True).to_parquet(tmp_path / "p.parquet")
    refused(tmp_path / "p.parquet", tmp_path / "a", "does not state the coordinate reference system of geometry")
    assert len(read(tmp_path / "p.parquet", tmp_path / "b", crs="EPSG:3347")[1]) == 3


def test_parquet_without_geometry_and_with_nested_values(tmp_path: Path) -> None:
    table = pa.table(
        {
            "x": [-75.5],
            "y": [45.25],
            "tags": [{"fr": "é", "n": [1]}],
            "kind": pa.array(["a"]).dictionary_encode(),
            "wkb": [shapely.to_wkb(shapely.Point(1, 2))],
        }
    )
    pq.write_table(table, tmp_path / "p.parquet")
    columns, shapes, _ = read(tmp_path / "p.parquet", tmp_path / "a", longitude="x", latitude="y")
    assert columns["tags"] == ['{"fr": "é", "n": [1]}']
    assert (columns["kind"], shapes) == (["a"], [shapely.Point(-75.5, 45.25)])
    assert read(tmp_path / "p.parquet", tmp_path / "b", geometry_column="wkb", crs="EPSG:4326")[1] == [
        shapely.Point(1, 2)
    ]


NESTED: list[tuple[pa.Array, Any]] = [
    (pa.array([[1.5, math.nan, -math.inf]]), [1.5, "NaN", "-Infinity"]),
    (pa.array([{"deep": [{"of": math.inf}]}]), {"deep": [{"of": "Infinity"}]}),
    (pa.array([[b"\xff\x00"]]), ["/wA="]),
    (pa.array([[1]], pa.list_(pa.timestamp("ns"))), ["1970-01-01 00:00:00.000000001"]),
    (pa.array([[1001]], pa.list_(pa.duration("ns"))), ["0 days 00:00:00.000001001"]),
    (pa.array([[2**63 - 1]]), [9223372036854775807]),
    (pa.array([[2**64 - 1]], pa.list_(pa.uint64())), [18446744073709551615]),
    (pa.array([[Decimal("1.50")]]), ["1.50"]),
    (pa.array([[1000]], pa.list_(pa.time64("ns"))), ["00:00:00.000001"]),
    (pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64())), [["k", 1], ["k", 2]]),
]


@pytest.mark.parametrize(("column", "expected"), NESTED, ids=[str(column.type) for column, _ in NESTED])
def test_nested_values_are_json(tmp_path: Path, column: pa.Array, expected: Any) -> None:
    pq.write_table(pa.table({"x": [-75.5], "y": [45.25], "nested": column}), tmp_path / "p.parquet")
    columns, _, _ = read(tmp_path / "p.parquet", tmp_path / "a", longitude="x", latitude="y")

    def no_constant(name: str) -> Any:
        raise AssertionError(f"{name} is not JSON")

    assert json.loads(columns["nested"][0], parse_constant=no_constant) == expected


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1]], pa.list_(pa.time64("ns"))),  # Arrow would give 00:00:00
        pa.array([[10**12]], pa.list_(pa.timestamp("s"))),  # the year 33658
        pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
    ],
    ids=["a nanosecond of a day", "a moment beyond 9999", "a key twice"],
)
def test_nested_values_that_json_cannot_hold_are_refused(column: pa.Array) -> None:
    with pytest.raises(DataError, match="can't be kept as JSON"):
        plain(column)


def test_gml_of_the_road_network(fixtures: Path, tmp_path: Path) -> None:
    folder = fixtures / "04_nrn_qc_ferry"
    columns, shapes, _ = read(sorted(folder.iterdir()), tmp_path / "a", member="*.gml", nulls=["None"])
    assert len(shapes) == 45
    assert len(set(columns["nid"])) == 44
    assert set(columns["datasetName"]) == {"Québec"}
    assert columns["routeNumber1"][0] is None
    assert shapes[0].coords[0] == (-64.3653915, 49.8122621000001)
    twin, lines, _ = read(sorted(folder.iterdir()), tmp_path / "b", member="*.shp", nulls=["None"])
    assert (len(lines), set(twin["DATASETNAM"])) == (44, {"Québec"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.gml",
            '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><x>&e;</x>',
            "entities",
        ),
        ("a.kml", "<OGRVRTDataSource><OGRVRTLayer name='s'/></OGRVRTDataSource>", "XML of another kind"),
        ("a.gml", "<x/>", "can't be read"),
        ("a.kml", "<kml><Document><Placemark>", "is truncated: its element kml does not end"),
        ("a.geojson", '{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read b.csv"}', "can't be"),
        ("a.json", '{"type": "FeatureCollection", "features": [', "can't be read"),
        ("a.geojsonl", '{"type": "Feature", "geometry": null', "can't be read|no layer"),
        ("a.geojsonl", FEATURE + '\n{"type": \n' + FEATURE + "\n", "has 1 records without a complete feature"),
        ("a.geojsons", "\x1e" + FEATURE + "\n\x1e" + FEATURE[:40], "has 1 records without a complete feature"),
        ("a.parquet", "PAR1xxxxPAR1", "can't be read"),
    ],
)
def test_files_that_are_broken_or_of_another_kind(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    refused(tmp_path / name, tmp_path / "work", message)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".geojson", ".geojsonl", ".gml", ".kml", ".parquet"])
def test_a_truncated_file_of_each_format(tmp_path: Path, suffix: str) -> None:
    many = geopandas.GeoDataFrame(
        {"t": [f"feature {n}" for n in range(5000)]},
        geometry=shapely.points([n / 100 for n in range(5000)], 45.0),
        crs=4326,
    )
    native = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        many.to_parquet(native)
    else:
        many.to_file(native, driver="LIBKML" if suffix == ".kml" else None)
    os.truncate(native, native.stat().st_size * 2 // 3)
    refused(native, tmp_path / "work", rf"^a\{suffix} ")


def test_text_that_is_not_utf8_is_refused_or_decoded_as_declared(tmp_path: Path) -> None:
    feature = {
        "type": "Feature",
        "properties": {"n": "Qu\u00e9bec"},
        "geometry": {"type": "Point", "coordinates": [1, 2]},
    }
    text = json.dumps({"type": "FeatureCollection", "features": [feature]}, ensure_ascii=False)
    (tmp_path / "a.geojson").write_bytes(text.encode("cp1252"))
    refused(tmp_path / "a.geojson", tmp_path / "a", r"is not utf-8 text: b'Qu\\xe9bec'\. Declare processing\.encoding")
    assert read(tmp_path / "a.geojson", tmp_path / "b", encoding="cp1252")[0]["n"] == ["Québec"]


def test_ten_thousand_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({f"c{n}": [n] for n in range(10_000)}), tmp_path / "wide.parquet")
    (tmp_path / "wide.csv").write_text(",".join(f"c{n}" for n in range(10_000)) + "\n" + "1," * 9_999 + "1\n")
    for name in ("wide.parquet", "wide.csv"):
        columns, _, _ = read(tmp_path / name, tmp_path / name.replace(".", "_"), kind="table")
        assert len(columns) == 10_000


def test_a_point_of_one_number_is_not_read_as_a_missing_geometry(tmp_path: Path) -> None:
    short = FEATURE.replace("[1, 2]", "[1]")
    (tmp_path / "a.geojson").write_text(f'{{"type": "FeatureCollection", "features": [{FEATURE}, {short}]}}')
    refused(tmp_path / "a.geojson", tmp_path / "a", "Invalid coord dimension")
    (tmp_path / "b.geojson").write_text((tmp_path / "a.geojson").read_text().replace("[1]", "[]"))
    assert read(tmp_path / "b.geojson", tmp_path / "b")[1] == [shapely.Point(1, 2), None]


def test_a_layer_of_surfaces_is_refused_by_name(tmp_path: Path) -> None:
    patch = (
        '<gml:featureMember xmlns:gml="http://www.opengis.net/gml"><a><n>1</n><shape><gml:Tin srsName="EPSG:4326">'
        '<gml:trianglePatches><gml:Triangle><gml:exterior><gml:LinearRing><gml:posList srsDimension="3">'
        "0 0 1 1 0 1 1 1 1 0 0 1</gml:posList></gml:LinearRing></gml:exterior></gml:Triangle></gml:trianglePatches>"
        "</gml:Tin></shape></a></gml:featureMember>"
    )
    (tmp_path / "a.gml").write_text(f"<FeatureCollection>{patch}</FeatureCollection>")
    refused(tmp_path / "a.gml", tmp_path / "a", r"three-dimensional surfaces \(TIN\).*polygons")
