"""Formats in which GDAL makes up columns or drops geometry, or which it recognises by more than the suffix."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import pyogrio
import pytest
import shapely

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing, VectorProcessing
from d4c_pipeline.readers import delivery

Read = Callable[..., tuple[dict[str, list[Any]], list[Any], dict[str, Any]]]
FRAME = geopandas.GeoDataFrame(
    {"name": ["A", "B"]}, geometry=[shapely.Point(-75, 45), shapely.Point(-74, 46)], crs=4326
)
GML = (
    '<?xml version="1.0"?><ogr:FeatureCollection xmlns:ogr="http://x" xmlns:gml="http://www.opengis.net/gml/3.2"'
    ' xmlns:xlink="http://www.w3.org/1999/xlink" {attributes}>{features}</ogr:FeatureCollection>'
)
POINT = '<gml:Point srsName="urn:ogc:def:crs:EPSG::4326"{more}><gml:pos>{lat} {lon}</gml:pos></gml:Point>'
KML = (
    '<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>D</name>'
    "<visibility>1</visibility>{placemarks}</Document></kml>"
)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Attributes by column, geometries, the report."""

    def reading(*natives: Path, kind: str = "vector", **processing: Any) -> tuple[dict[str, list[Any]], list[Any], Any]:
        work = tmp_path / f"work{len(list(tmp_path.glob('work*')))}"
        work.mkdir()
        model = VectorProcessing if kind == "vector" else TableProcessing
        native = delivery.read(model.model_validate({"kind": kind, **processing}), list(natives), work)
        table, geometry = native.collect()
        shapes = [] if geometry is None else list(shapely.from_wkb(geometry.to_numpy()))
        assert not list(work.rglob("*.gfs"))
        return table.to_pydict(), shapes, native.report

    return reading


def gml(path: Path, *features: str, attributes: str = "") -> Path:
    members = "".join(
        f'<gml:featureMember><ogr:a gml:id="a.{at}">{each}</ogr:a></gml:featureMember>'
        for at, each in enumerate(features)
    )
    path.write_text(GML.format(attributes=attributes, features=members), "utf-8")
    return path


def place(lat: int = 45, lon: int = -75, more: str = "") -> str:
    return f"<ogr:g>{POINT.format(lat=lat, lon=lon, more=more)}</ogr:g>"


def kml(path: Path, *placemarks: str) -> Path:
    point = "<Point><coordinates>-75,45,0</coordinates></Point>"
    each = "".join(f"<Placemark>{inside}{point}</Placemark>" for inside in placemarks)
    path.write_text(KML.format(placemarks=each), "utf-8")
    return path


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["0012", "0013"], ["0012", "0013"]),
        (["9824657365274853000", "1"], ["9824657365274853000", "1"]),
        (["9007199254740993", "1.5"], ["9007199254740993", "1.5"]),
        (["9007199254740993", "1"], [9007199254740993, 1]),
        (["2021-02-31", "2021-02-01"], ["2021-02-31", "2021-02-01"]),
        (["2021-02-01T00:00:00+07:00", "2021-02-01T00:00:00Z"], ["2021-02-01T00:00:00+07:00", "2021-02-01T00:00:00Z"]),
    ],
)
def test_values_whose_type_gdal_guesses_in_gml(
    tmp_path: Path, read: Read, values: list[str], expected: list[Any]
) -> None:
    path = gml(tmp_path / "a.gml", *(f"{place()}<ogr:c>{value}</ogr:c>" for value in values))
    assert read(path)[0] == {"gml_id": ["a.0", "a.1"], "c": expected}


def test_the_declared_geometry_of_gml_is_read(tmp_path: Path, read: Read) -> None:
    second = f"<ogr:h>{POINT.format(lat=46, lon=-76, more='')}</ogr:h>"
    path = gml(tmp_path / "a.gml", f"{place()}{second}<ogr:c>1</ogr:c>")
    with pytest.raises(DataError, match=r"features with several geometries: g, h\. Declare the geometry to read as"):
        read(path)
    for declared, x, other in (("g", -75, "h"), ("h", -76, "g")):
        columns, shapes, report = read(path, geometry_column=declared)
        assert (columns["c"], [shape.x for shape in shapes]) == ([1], [x])
        assert report["geometry_columns_dropped"] == [other]


def test_references_of_gml_become_columns_and_never_a_missing_geometry(tmp_path: Path, read: Read) -> None:
    path = gml(tmp_path / "a.gml", f'{place()}<ogr:o xlink:href="#b.1"/>', f'{place()}<ogr:o xlink:href="http://x/y"/>')
    assert read(path)[0]["o_href"] == ["#b.1", "http://x/y"]
    path = gml(tmp_path / "b.gml", place(more=' gml:id="p1"'), '<ogr:g xlink:href="#p1"/>')
    with pytest.raises(DataError, match=r'b\.gml refers to a geometry: g is xlink:href="#p1"'):
        read(path)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ('numberMatched="10" numberReturned="1"', "numberReturned is 1, numberMatched 10"),
        ('numberMatched="unknown" numberReturned="1" next="http://x?startIndex=1"', "next names another page"),
        ('numberMatched="unknown" numberReturned="2"', "1 rows were read, but there are 2 according to its own count"),
        ('numberOfFeatures="5"', "1 rows were read, but there are 5 according to its own count"),
    ],
)
def test_a_part_of_a_wfs_response_is_refused(tmp_path: Path, read: Read, attributes: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"a\.gml is (an )?incomplete.*{message}"):
        read(gml(tmp_path / "a.gml", place(), attributes=attributes))
    attributes = 'numberMatched="1" numberReturned="1" timeStamp="2021-01-01"'
    assert read(gml(tmp_path / "b.gml", place(), attributes=attributes))[0]["gml_id"] == ["a.0"]


def test_columns_of_kml_are_those_of_its_placemarks(tmp_path: Path, read: Read) -> None:
    data = '<ExtendedData><Data name="code"><value>0012</value></Data></ExtendedData>'
    path = kml(tmp_path / "a.kml", f"<name>A</name>{data}", f"<name>B</name>{data}")
    columns, _, report = read(path)
    assert columns == {"Name": ["A", "B"], "code": ["0012", "0012"]}
    assert "visibility" in report["columns_left_out"]
    path = kml(tmp_path / "b.kml", "<name>A</name><visibility>0</visibility>", "<description>x</description>")
    assert read(path)[0] == {"Name": ["A", None], "description": [None, "x"], "visibility": [0, None]}


def test_data_of_kml_that_gdal_writes_over_the_name_stop_the_reading(tmp_path: Path, read: Read) -> None:
    def data(value: str) -> str:
        return f'<ExtendedData><Data name="Name"><value>{value}</value></Data></ExtendedData>'

    equal = kml(tmp_path / "a.kml", f"<name><![CDATA[A & B]]></name>{data('A &amp; B')}", data("B"))
    assert read(equal)[0]["Name"] == ["A & B", "B"]
    other = kml(tmp_path / "b.kml", f"<name>A</name>{data('inner')}")
    with pytest.raises(DataError, match="whose name is 'A', and data of that name with 'inner'"):
        read(other)
    read(other, drop=["name"])


def test_values_of_kml_that_gdal_would_change_stop_the_reading(tmp_path: Path, read: Read) -> None:
    when = "<name>A</name><TimeStamp><when>2015-02-31</when></TimeStamp>"
    path = kml(tmp_path / "a.kml", when)
    with pytest.raises(
        DataError, match=r"Column timestamp of a\.kml can't be read as moments: '2015-02-31' is no date"
    ):
        read(path)
    assert read(path, drop=["timestamp"])[0]["Name"] == ["A"]
    schema = '<Schema id="s"><SimpleField type="int" name="n"/></Schema>'
    data = '<ExtendedData><SchemaData schemaUrl="#s"><SimpleData name="n">n/a</SimpleData></SchemaData></ExtendedData>'
    path = kml(tmp_path / "b.kml", f"<name>A</name>{data}")
    path.write_text(path.read_text("utf-8").replace("<Document>", f"<Document>{schema}"), "utf-8")
    with pytest.raises(DataError, match=r"GDAL reports: Value 'n/a' of field D\.n.*processing\.drop: \[n\]"):
        read(path)
    assert read(path, drop=["n"])[0]["Name"] == ["A"]


def test_links_of_kml_to_other_files_are_reported(tmp_path: Path, read: Read) -> None:
    link = "<NetworkLink><Link><href>http://127.0.0.1/b.kml</href></Link></NetworkLink>"
    path = kml(tmp_path / "a.kml", "<name>A</name>")
    path.write_text(path.read_text("utf-8").replace("</Document>", f"{link}</Document>"), "utf-8")
    columns, _, report = read(path)
    assert (columns, report["network_links"]) == ({"Name": ["A"]}, ["http://127.0.0.1/b.kml"])
    path.write_text(KML.format(placemarks=link), "utf-8")
    with pytest.raises(DataError, match=r"a\.kml has no placemarks, and refers to http://127\.0\.0\.1/b\.kml"):
        read(path)


def test_layers_and_columns_of_gpx_are_those_that_it_has(tmp_path: Path, read: Read) -> None:
    pyogrio.write_dataframe(FRAME, tmp_path / "a.gpx", driver="GPX", layer="waypoints")
    columns, shapes, _ = read(tmp_path / "a.gpx")
    assert (columns, len(shapes)) == ({"name": ["A", "B"]}, 2)


def test_moments_of_flatgeobuf_in_several_zones(tmp_path: Path, read: Read) -> None:
    texts = ["2015-04-22T00:00:00+07:00", "2015-04-22T00:00:00-05:00"]
    frame = FRAME.assign(d=geopandas.pd.Series([geopandas.pd.Timestamp(text) for text in texts], dtype=object))
    pyogrio.write_dataframe(frame, tmp_path / "a.fgb", driver="FlatGeobuf")
    assert sorted(read(tmp_path / "a.fgb")[0]["d"]) == texts


@pytest.mark.parametrize("kind", ["vector", "table"])
def test_a_mapinfo_table_is_not_tab_separated_text(tmp_path: Path, read: Read, kind: str) -> None:
    pyogrio.write_dataframe(FRAME, tmp_path / "w.tab", driver="MapInfo File")
    parts = sorted(tmp_path.glob("w.*"))
    columns, shapes, _ = read(*parts, kind=kind)
    assert columns == {"name": ["A", "B"]}
    assert [shape.x for shape in shapes] == ([-75, -74] if kind == "vector" else [])
    with pytest.raises(DataError, match=r"w\.tab is a MapInfo table that was delivered without its \.dat"):
        read(tmp_path / "w.tab", kind=kind)
    text = tmp_path / "t.tab"
    text.write_text("name\tn\nA\t1\n", "utf-8")
    assert read(text, kind="table")[0]["name"] == ["A"]


def test_a_mapinfo_interchange_file(tmp_path: Path, read: Read) -> None:
    pyogrio.write_dataframe(FRAME, tmp_path / "w.mif", driver="MapInfo File")
    assert read(tmp_path / "w.mif", tmp_path / "w.mid")[0] == {"name": ["A", "B"]}
    with pytest.raises(DataError, match=r"w\.mif is a MapInfo table that was delivered without its \.mid file"):
        read(tmp_path / "w.mif")


def test_a_raster_that_mapinfo_places_is_not_data(tmp_path: Path, read: Read) -> None:
    (tmp_path / "image.tab").write_text(
        '!table\n!version 300\n\nDefinition Table\n  File "image.tif"\n  Type "RASTER"\n'
    )
    (tmp_path / "image.tif").write_bytes(b"II*\0")
    with pytest.raises(DataError, match=r"image\.tif is a raster, which is not read"):
        read(tmp_path / "image.tab", tmp_path / "image.tif")


@pytest.mark.parametrize("prefix", ["", "Parks/", "Parks.gdb/", "data/Parks.gdb/Parks.gdb/", "2024/export/"])
def test_a_geodatabase_is_known_by_its_tables(tmp_path: Path, read: Read, prefix: str) -> None:
    folder = tmp_path / "made" / "Parks.gdb"
    folder.parent.mkdir()
    pyogrio.write_dataframe(FRAME, folder, driver="OpenFileGDB", layer="parks")
    archive = tmp_path / "Parks.gdb.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(folder.iterdir()):
            opened.write(path, f"{prefix}{path.name}")
        opened.writestr(f"{prefix}readme.txt", "About the parks")
    columns, shapes, report = read(archive)
    assert (columns, len(shapes)) == ({"name": ["A", "B"]}, 2)
    assert report == {"layer": "parks", "feature_id_left_out": "OBJECTID"}
    assert read(archive, feature_id="keep")[0] == {"OBJECTID": [1, 2], "name": ["A", "B"]}
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as opened:
        opened.write(archive, "delivery/Parks.zip")
    assert read(outer)[0] == {"name": ["A", "B"]}
