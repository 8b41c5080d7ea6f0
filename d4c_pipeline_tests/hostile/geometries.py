"""Geometry that is nested without end, or says that it has more parts and points than its bytes can hold."""

# ruff: noqa: UP031, ISC004 - bytes are made in one expression where that is the clearest

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from d4c_pipeline_tests.hostile.attack import Attack

_POINT = struct.pack("<BIdd", 1, 1, -75.0, 45.0)
_DEPTHS = (100, 5_000, 200_000)
_NESTED = ("nested", "can't be read", "no geometry", "not Well-Known Text")


def attacks() -> Iterator[Attack]:
    """Yield the attacks."""
    for depth in _DEPTHS:
        for name, text in texts(depth).items():
            yield _csv(f"{name} {depth:,} deep in CSV", text, _NESTED)
        for name, wkb in blobs(depth).items():
            yield _parquet(f"{name} {depth:,} deep in Parquet", wkb, _NESTED)
            yield _geopackage(f"{name} {depth:,} deep in GeoPackage", wkb, _NESTED)
            yield _csv(f"hex {name} {depth:,} deep in CSV", wkb.hex(), _NESTED)
        for name, file, text in documents(depth):
            yield Attack(f"{name} {depth:,} deep", file, lambda p, t=text: p.write_text(t, "utf-8"), (), "vector")
    for name, wkb in counts().items():
        yield _parquet(f"{name} in Parquet", wkb)
        yield _geopackage(f"{name} in GeoPackage", wkb)
        yield _csv(f"hex {name} in CSV", wkb.hex(), ())
    yield _csv("a text of 8 MB that is no geometry", "POLYGON ((" + "1 1," * 2_000_000)
    yield _csv("100,000 brackets", "MULTIPOLYGON " + "(" * 100_000)
    yield _csv("a curve of brackets", "CURVEPOLYGON " + "(" * 100_000)
    yield Attack("shapefile, parts without end", "a.zip", lambda p: shapefile(p, 44, 0x7FFFFFFF), (), "vector")
    yield Attack("shapefile, points without end", "a.zip", lambda p: shapefile(p, 48, 0x7FFFFFFF), (), "vector")
    yield Attack("shapefile, a record without end", "a.zip", lambda p: shapefile(p, 4, 0x7FFFFFFF, ">"), (), "vector")
    yield Attack("FlatGeobuf, features without end", "a.fgb", lambda p: flatgeobuf(p, count=True), (), "vector")
    yield Attack("FlatGeobuf, a feature of 4 GB", "a.fgb", lambda p: flatgeobuf(p, count=False), (), "vector")


def texts(depth: int) -> dict[str, str]:
    """Geometry as text, nested."""
    inner = '{"type":"Point","coordinates":[-75,45]}'
    return {
        "WKT": "GEOMETRYCOLLECTION (" * depth + "POINT (-75 45)" + ")" * depth,
        "WKT with Z": "GEOMETRYCOLLECTION Z (" * depth + "POINT Z (-75 45 1)" + ")" * depth,
        "EWKT": "SRID=4326;" + "GEOMETRYCOLLECTION(" * depth + "POINT(-75 45)" + ")" * depth,
        "WKT of curves": "GEOMETRYCOLLECTION (" * depth + "CIRCULARSTRING (0 0, 1 1, 2 0)" + ")" * depth,
        "GeoJSON": '{"type":"GeometryCollection","geometries":[' * depth + inner + "]}" * depth,
        "GeoJSON arrays": '{"type":"MultiPolygon","coordinates":' + "[" * depth + "1" + "]" * depth + "}",
    }


def blobs(depth: int) -> dict[str, bytes]:
    """Geometry as WKB, nested."""
    return {
        "WKB": struct.pack("<BII", 1, 7, 1) * depth + _POINT,
        "WKB, big end first": struct.pack(">BII", 0, 7, 1) * depth + _POINT,
        "WKB with Z": struct.pack("<BII", 1, 1007, 1) * depth + _POINT,
        "EWKB": struct.pack("<BIII", 1, 0x20000007, 4326, 1) * depth + _POINT,
        "WKB of multipolygons": struct.pack("<BII", 1, 6, 1) * depth + _POINT,
        "WKB of curves": struct.pack("<BII", 1, 9, 1) * depth + _POINT,
    }


def counts() -> dict[str, bytes]:
    """WKB whose counts are beyond its bytes."""
    many = 0xFFFFFFFF
    return {
        "a line of 4 G points": struct.pack("<BII", 1, 2, many) + bytes(16),
        "a line of 256 M points": struct.pack("<BII", 1, 2, 1 << 28) + bytes(16),
        "an area of 4 G rings": struct.pack("<BII", 1, 3, many) + bytes(16),
        "a ring of 4 G points": struct.pack("<BIII", 1, 3, 1, many) + bytes(16),
        "4 G points": struct.pack("<BII", 1, 4, many) + _POINT,
        "4 G parts": struct.pack("<BII", 1, 7, many) + _POINT,
        "4 G areas": struct.pack("<BII", 1, 6, many) + _POINT,
        "an arc of 4 G points": struct.pack("<BII", 1, 8, many) + bytes(16),
        "a TIN of 4 G triangles": struct.pack("<BII", 1, 16, many) + bytes(16),
        "a type that is none": struct.pack("<BI", 1, 99) + bytes(16),
        "four bytes": b"\1\1\0\0",
        "no bytes": b"",
        "a byte order that is none": b"\7" + _POINT[1:],
    }


def documents(depth: int) -> Iterator[tuple[str, str, str]]:
    """Files of the formats of text that GDAL reads, nested: name, file name, text."""
    geometry = texts(depth)["GeoJSON"]
    feature = '{"type":"Feature","properties":{"a":1},"geometry":%s}'
    yield "GeoJSON", "a.geojson", '{"type":"FeatureCollection","features":[' + feature % geometry + "]}"
    yield "GeoJSON sequence", "a.geojsonl", feature % geometry + "\n"
    deep = '{"a":' * depth + "1" + "}" * depth
    properties = f'{{"type":"Feature","properties":{{"a":{deep}}},"geometry":{{"type":"Point","coordinates":[1,1]}}}}'
    yield "GeoJSON properties", "b.geojson", '{"type":"FeatureCollection","features":[' + properties + "]}"
    rings = "[" * depth + "1" + "]" * depth
    yield (
        "Esri JSON rings",
        "a.json",
        '{"geometryType":"esriGeometryPolygon","spatialReference":{"wkid":4326},"fields":[{"name":"a","type":'
        '"esriFieldTypeInteger"}],"features":[{"attributes":{"a":1},"geometry":{"rings":%s}}]}' % rings,
    )
    yield (
        "TopoJSON",
        "a.topojson",
        '{"type":"Topology","objects":{"a":%s},"arcs":[]}' % geometry.replace('"coordinates":[-75,45]', '"arcs":[]'),
    )
    multi = "<gml:MultiGeometry><gml:geometryMember>" * depth
    close = "</gml:geometryMember></gml:MultiGeometry>" * depth
    point = "<gml:Point srsName='EPSG:4326'><gml:pos>45 -75</gml:pos></gml:Point>"
    yield (
        "GML",
        "a.gml",
        '<c:FeatureCollection xmlns:c="http://c" xmlns:gml="http://www.opengis.net/gml"><gml:featureMember><c:f><c:a>1'
        f"</c:a><c:g>{multi}{point}{close}</c:g></c:f></gml:featureMember></c:FeatureCollection>",
    )
    yield (
        "GML elements",
        "b.gml",
        '<c:FeatureCollection xmlns:c="http://c" xmlns:gml="http://www.opengis.net/gml"><gml:featureMember><c:f>'
        f"{'<c:a>' * depth}1{'</c:a>' * depth}<c:g>{point}</c:g></c:f></gml:featureMember></c:FeatureCollection>",
    )
    placemark = "<Placemark><name>a</name>{}</Placemark>"
    place = "<Point><coordinates>-75,45</coordinates></Point>"
    kml = '<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{}</Document></kml>'
    inner = "<MultiGeometry>" * depth + place + "</MultiGeometry>" * depth
    yield "KML", "a.kml", kml.format(placemark.format(inner))
    yield "KML folders", "b.kml", kml.format("<Folder>" * depth + placemark.format(place) + "</Folder>" * depth)


def _csv(name: str, text: str, words: tuple[str, ...] = ()) -> Attack:
    quoted = '"' + text.replace('"', '""') + '"'
    return Attack(
        name,
        "a.csv",
        lambda p: p.write_text(f"a,g\n1,{quoted}\n", "utf-8"),
        words,
        "vector",
        {"geometry_wkt": "g", "crs": "EPSG:4326"},
    )


def _parquet(name: str, wkb: bytes, words: tuple[str, ...] = ()) -> Attack:
    def make(path: Path) -> None:
        geo: dict[str, Any] = {"version": "1.1.0", "primary_column": "geometry"}
        geo["columns"] = {"geometry": {"encoding": "WKB", "geometry_types": []}}
        table = pa.table({"a": [1, 2], "geometry": pa.array([_POINT, wkb], pa.binary())})
        pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)

    return Attack(name, "a.parquet", make, words, "vector")


def _geopackage(name: str, wkb: bytes, words: tuple[str, ...] = ()) -> Attack:
    def make(path: Path) -> None:
        frame = geopandas.GeoDataFrame({"a": [1, 2]}, geometry=[shapely.Point(-75, 45)] * 2, crs=4326)
        frame.to_file(path, layer="t", driver="GPKG", engine="pyogrio", SPATIAL_INDEX="NO")
        with closing(sqlite3.connect(path)) as connection, connection:
            for trigger in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f'DROP TRIGGER "{trigger[0]}"')
            header = b"GP\0\1" + struct.pack("<i", 4326)
            connection.execute("UPDATE t SET geom = ? WHERE fid = 2", [header + wkb])

    return Attack(name, "a.gpkg", make, words, "vector")


def shapefile(path: Path, at: int, value: int, order: str = "<") -> None:
    """A zipped shapefile of one area, with a number of its first record at `at` replaced."""
    import zipfile

    folder = path.with_name("shape")
    folder.mkdir()
    geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326).to_file(folder / "a.shp")
    data = bytearray((folder / "a.shp").read_bytes())
    struct.pack_into(f"{order}I", data, 100 + at, value)
    (folder / "a.shp").write_bytes(data)
    with zipfile.ZipFile(path, "w") as archive:
        for each in sorted(folder.iterdir()):
            archive.write(each, each.name)
            each.unlink()
    folder.rmdir()


def flatgeobuf(path: Path, *, count: bool) -> None:
    """A FlatGeobuf of one point that claims 2^60 features, or whose feature claims 4 GB."""
    frame = geopandas.GeoDataFrame({"a": range(5)}, geometry=shapely.points(range(5), 45.0), crs=4326)
    frame.to_file(path, driver="FlatGeobuf", engine="pyogrio", SPATIAL_INDEX="NO")
    data = bytearray(path.read_bytes())
    (size,) = struct.unpack_from("<I", data, 8)
    if count:
        at = data.find(struct.pack("<Q", 5), 8, 12 + size)
        struct.pack_into("<Q", data, at, 1 << 60)
    else:
        struct.pack_into("<I", data, 12 + size, 0xFFFFFFF0)
    path.write_bytes(data)
