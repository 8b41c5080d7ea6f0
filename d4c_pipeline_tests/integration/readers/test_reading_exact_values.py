"""Values, identifiers and rows that GDAL would change or omit, as the readers return them."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import struct
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
from d4c_pipeline.readers.listening import Listener
from d4c_pipeline.tables.gdal import library

UTC = dt.UTC
Read = Callable[..., tuple[dict[str, list[Any]], dict[str, Any]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Attributes by column, and the report."""

    def reading(*natives: Path, kind: str = "vector", **processing: Any) -> tuple[dict[str, list[Any]], dict[str, Any]]:
        work = tmp_path / f"work{len(list(tmp_path.glob('work*')))}"
        work.mkdir()
        model = VectorProcessing if kind == "vector" else TableProcessing
        native = delivery.read(model.model_validate({"kind": kind, **processing}), list(natives), work)
        table, _ = native.collect()
        assert table.schema.names == native.attributes.names
        return table.to_pydict(), native.report

    return reading


def frame(**columns: list[Any]) -> geopandas.GeoDataFrame:
    count = len(next(iter(columns.values())))
    return geopandas.GeoDataFrame(columns, geometry=[shapely.Point(-75 + at, 45) for at in range(count)], crs=4326)


def collection(*properties: dict[str, Any], ids: list[Any] | None = None, **members: Any) -> str:
    features = [
        {
            "type": "Feature",
            **({"id": ids[at]} if ids and ids[at] is not None else {}),
            "properties": each,
            "geometry": {"type": "Point", "coordinates": [-75.25, 45]},
        }
        for at, each in enumerate(properties)
    ]
    return json.dumps({"type": "FeatureCollection", **members, "features": features})


def geojson(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


# GeoPackage


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., Path]:
    """A GeoPackage with rows A and B, and a further column of any values."""

    def make(kind: str, first: Any, second: Any) -> Path:
        path = tmp_path / "a.gpkg"
        pyogrio.write_dataframe(frame(name=["A", "B"]), path, layer="pts")
        with sqlite3.connect(path) as connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f'DROP TRIGGER "{name}"')
            connection.execute(f"ALTER TABLE pts ADD COLUMN v {kind}")
            for value, name in ((first, "A"), (second, "B")):
                connection.execute("UPDATE pts SET v = ? WHERE name = ?", (value, name))
        connection.close()
        return path

    return make


@pytest.mark.parametrize(
    ("kind", "first", "second", "expected"),
    [
        ("INTEGER", "abc", 7, ["abc", "7"]),
        ("INTEGER", 3.7, 7, ["3.7", "7"]),
        ("INTEGER", 2**62, 2**62 + 1, [2**62, 2**62 + 1]),  # their sum overflows
        ("MEDIUMINT", 2**31, 7, ["2147483648", "7"]),
        ("REAL", "n/a", 0.1, ["n/a", "0.1"]),
        ("REAL", "1,5", 2.5, ["1,5", "2.5"]),
        ("REAL", 1e300, 2.5, [1e300, 2.5]),
        ("BOOLEAN", "Y", 1, ["Y", "1"]),
        ("BOOLEAN", 2, 1, ["2", "1"]),
        ("BOOLEAN", 0, 1, [False, True]),
        ("DATE", "06/05/2021", "2021-05-06", ["06/05/2021", "2021-05-06"]),
        ("DATE", "2021-02-31", "2021-05-06", ["2021-02-31", "2021-05-06"]),
        ("DATE", None, "2021-05-06", [None, dt.date(2021, 5, 6)]),
        ("DATETIME", "2021-05-06T10:00:00.000Z", None, [dt.datetime(2021, 5, 6, 10, tzinfo=UTC), None]),
        ("DATETIME", "2021-02-31T10:00:00Z", None, ["2021-02-31T10:00:00Z", None]),
        ("DATETIME", "2021-05-06T10:00:00-05:00", "2021-05-06T10:00:00",
         ["2021-05-06T10:00:00-05:00", "2021-05-06T10:00:00"]),
        ("DATETIME", "2021-05-06", "2021-05-06T10:00:00Z", ["2021-05-06", "2021-05-06T10:00:00Z"]),
        ("DATETIME", "2021-05-06T10:00:00.123456Z", None, ["2021-05-06T10:00:00.123456Z", None]),
    ],
)  # fmt: skip
def test_any_value_in_any_column_of_a_geopackage(
    package: Callable[..., Path], read: Read, kind: str, first: Any, second: Any, expected: list[Any]
) -> None:
    values, report = read(package(kind, first, second))
    assert values == {"name": ["A", "B"], "v": expected}
    assert ("read_from_bytes" in report) == (isinstance(expected[0], str))


@pytest.mark.parametrize(
    ("kind", "first", "second", "expected"),
    [
        ("BIGINT", 2**53 + 1, 7, [2**53 + 1, 7]),
        ("VARCHAR(50)", "Gatineau", None, ["Gatineau", None]),
        ("DECIMAL(10,2)", 12.75, 3, [12.75, 3.0]),
        ("DECIMAL(10,2)", "n/a", 3, ["n/a", "3"]),
        ("TIMESTAMP", "2021-05-06 10:00:00", None, ["2021-05-06 10:00:00", None]),
        ("JSON", b"{}", None, [b"{}", None]),
        ("BOOL", None, None, [None, None]),
        # GDAL reads these as a type that it knows, and text in them as 0.
        ("INT4", "n/a", 7, ["n/a", "7"]),
        ("NUMERIC", "n/a", 0.5, ["n/a", "0.5"]),
    ],
)
def test_columns_of_types_that_the_specification_of_geopackage_does_not_have(
    package: Callable[..., Path], read: Read, kind: str, first: Any, second: Any, expected: list[Any]
) -> None:
    values, report = read(package(kind, first, second))
    assert (values["v"], values["name"]) == (expected, ["A", "B"])
    assert "v" in report["read_from_bytes"]


def test_declared_nulls_of_a_column_that_gdal_leaves_out(package: Callable[..., Path], read: Read) -> None:
    assert read(package("BIGINT", "n/a", 7), nulls=["n/a"])[0]["v"] == [None, 7]


@pytest.mark.parametrize("largest", [2**53 + 1, 2**40])
def test_unsigned_integers_of_flatgeobuf_are_not_rounded(tmp_path: Path, read: Read, largest: int) -> None:
    path = tmp_path / "a.fgb"
    pyogrio.write_dataframe(frame(name=["A", "B"], total=[7, largest]), path)
    content = path.read_bytes()
    name = content.index(b"total")
    for at in (place for place in range(name - 64, name) if content[place] == 7):
        # From Long to ULong, which GDAL does not write; it reads the column as float64 then.
        path.write_bytes(content[:at] + bytes([8]) + content[at + 1 :])
        if list(pyogrio.read_info(path)["dtypes"]) == ["object", "float64"]:
            break
    else:
        pytest.fail("no byte changes the type")
    if largest > 2**53:
        with pytest.raises(DataError, match=r"Column total of a\.fgb has unsigned integers beyond 2\^53"):
            read(path)
    else:
        assert sorted(read(path)[0]["total"]) == [7, largest]


def test_numbers_of_64_bits_in_a_column_of_32(package: Callable[..., Path], read: Read) -> None:
    values, report = read(package("FLOAT", 45.123456789, 0.5))
    assert values["v"] == [45.123456789, 0.5]
    assert report["read_from_bytes"] == {"v": "numbers of 64 bits in a column of 32"}
    values, report = read(package("FLOAT", 0.25, None))
    assert values["v"] == [0.25, None]
    assert "read_from_bytes" not in report


def test_geometries_of_another_reference_system_than_their_layer(package: Callable[..., Path], read: Read) -> None:
    path = package("TEXT", "x", "y")
    with sqlite3.connect(path) as connection:
        (blob,) = connection.execute("SELECT geom FROM pts WHERE name = 'B'").fetchone()
        other = blob[:4] + (3347).to_bytes(4, "little") + blob[8:]
        connection.execute("UPDATE pts SET geom = ? WHERE name = 'B'", [other])
    connection.close()
    with pytest.raises(
        DataError, match=r"1 geometries of layer pts .* state the reference system 3347, the layer states 4326"
    ):
        read(path)
    assert read(path, crs="EPSG:4326", override_crs=True)[0]["name"] == ["A", "B"]


def test_generated_columns_and_keys_of_a_geopackage(package: Callable[..., Path], read: Read) -> None:
    path = package("TEXT", "x", "y")
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE pts ADD COLUMN made INTEGER GENERATED ALWAYS AS (fid * 1.5)")
        connection.execute("CREATE TABLE keyed (code DOUBLE, part INTEGER, geom POINT, PRIMARY KEY (code, part))")
        connection.execute("INSERT INTO keyed SELECT 'K' || fid, fid, geom FROM pts")
        for table in ("gpkg_contents", "gpkg_geometry_columns"):
            names = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
            values = ", ".join("'keyed'" if name in ("table_name", "identifier") else name for name in names)
            connection.execute(f"INSERT INTO {table} SELECT {values} FROM {table}")
    connection.close()
    assert read(path, layer="pts")[0]["made"] == ["1.5", "3"]
    assert read(path, layer="keyed")[0]["code"] == ["K1", "K2"]


def test_a_further_geometry_of_a_geopackage_is_no_attribute(package: Callable[..., Path], read: Read) -> None:
    path = package("POINT", None, None)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE pts SET v = geom")
    connection.close()
    values, report = read(path)
    assert (list(values), report["geometry_columns_dropped"]) == (["name"], ["v"])


def test_declared_nulls_of_a_geopackage_leave_the_type(package: Callable[..., Path], read: Read) -> None:
    assert read(package("INTEGER", "n/a", 7), nulls=["n/a"])[0]["v"] == [None, 7]


def test_the_column_that_numbers_features(tmp_path: Path, read: Read) -> None:
    for name in ("parcel_id", "fid"):
        pyogrio.write_dataframe(frame(name=["A", "B"]), tmp_path / f"{name}.gpkg", layer_options={"FID": name})
        with sqlite3.connect(tmp_path / f"{name}.gpkg") as connection:
            for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f'DROP TRIGGER "{trigger}"')
            connection.execute(f"UPDATE {name} SET {name} = {name} + 7000")
        connection.close()
    values, report = read(tmp_path / "parcel_id.gpkg")
    assert values == {"parcel_id": [7001, 7002], "name": ["A", "B"]}
    assert "feature_id_left_out" not in report
    assert list(read(tmp_path / "parcel_id.gpkg", feature_id="drop")[0]) == ["name"]
    values, report = read(tmp_path / "fid.gpkg")
    assert (list(values), report["feature_id_left_out"]) == (["name"], "fid")
    assert read(tmp_path / "fid.gpkg", feature_id="keep")[0]["fid"] == [7001, 7002]


def test_rows_that_a_geopackage_counts_and_lacks(package: Callable[..., Path], read: Read) -> None:
    path = package("TEXT", "x", "y")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE gpkg_ogr_contents SET feature_count = 5")
    connection.close()
    with pytest.raises(DataError, match=r"a\.gpkg is incomplete: 2 rows were read, but there are .* gpkg_ogr_contents"):
        read(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE gpkg_ogr_contents SET feature_count = 1")
    connection.close()
    assert read(path)[1]["rows_stated"] == 1


# GeoJSON


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([4711, 4712], [4711, 4712]),
        ([4711, 4711], [4711, 4711]),
        ([7, None], [7, None]),
        ([None, 0], [None, 0]),
        ([4711, "x"], ["4711", "x"]),
        (["007", "008"], ["007", "008"]),
        ([-5, 3], [-5, 3]),
        ([1.5, 3], ["1.5", "3"]),
        ([9824657365274853000, 1], ["9824657365274853000", "1"]),
    ],
)
@pytest.mark.parametrize("suffix", ["geojson", "geojsonl"])
def test_identifiers_of_features(tmp_path: Path, read: Read, ids: list[Any], expected: list[Any], suffix: str) -> None:
    text = collection({"a": 1}, {"a": 2}, ids=ids)
    if suffix == "geojsonl":
        text = "\n".join(json.dumps(feature) for feature in json.loads(text)["features"])
    assert read(geojson(tmp_path / f"a.{suffix}", text))[0] == {"id": expected, "a": [1, 2]}


def test_an_identifier_beside_a_property_of_its_name(tmp_path: Path, read: Read) -> None:
    text = collection({"id": 1}, {"id": 2}, ids=["x-1", "x-2"])
    assert read(geojson(tmp_path / "a.geojson", text))[0] == {"feature_id": ["x-1", "x-2"], "id": [1, 2]}
    text = collection({"id": 1}, {"id": 2}, ids=[1, 2])
    assert read(geojson(tmp_path / "b.geojson", text))[0] == {"id": [1, 2]}
    text = collection({"id": 1, "more": {"id": 5}}, {"id": 2, "more": {"id": 6}})
    assert read(geojson(tmp_path / "c.geojson", text))[0]["id"] == [1, 2]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([9824657365274853000, 7], ["9824657365274853000", "7"]),
        ([9007199254740993, 1.5], ["9007199254740993", "1.5"]),
        ([9007199254740993, 7], [9007199254740993, 7]),
        ([1234.5678901234567, 7], [1234.5678901234567, 7.0]),
        (["see 9824657365274853000, ok", "é"], ["see 9824657365274853000, ok", "é"]),
        (["2021-02-31", "2021-02-01"], ["2021-02-31", "2021-02-01"]),
        (["2021-02-03", "2021-02-01"], [dt.date(2021, 2, 3), dt.date(2021, 2, 1)]),
        (["2015-04-22T00:00:00+07:00", "2015-04-22T00:00:00"], ["2015-04-22T00:00:00+07:00", "2015-04-22T00:00:00"]),
        (["2015-04-22T00:00:00-04:00", "2015-11-22T00:00:00-05:00"],
         ["2015-04-22T00:00:00-04:00", "2015-11-22T00:00:00-05:00"]),
        (["2015-04-22T01:00:00Z", "2015-04-22T02:00:00+00:00"],
         [dt.datetime(2015, 4, 22, 1, tzinfo=UTC), dt.datetime(2015, 4, 22, 2, tzinfo=UTC)]),
        (["2015-04-22", "2015-04-22T02:00:00"], ["2015-04-22", "2015-04-22T02:00:00"]),
        (["2015-04-22T01:00:00.123456Z", None], ["2015-04-22T01:00:00.123456Z", None]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["geojson", "geojsonl"])
def test_numbers_and_dates_of_geojson(
    tmp_path: Path, read: Read, values: list[Any], expected: list[Any], suffix: str
) -> None:
    text = collection(*({"valué": value} for value in values))
    if suffix == "geojsonl":
        text = "\n".join(json.dumps(feature, ensure_ascii=False) for feature in json.loads(text)["features"])
    assert read(geojson(tmp_path / f"a.{suffix}", text))[0] == {"valué": expected}


def test_a_truth_beside_numbers_is_no_number(tmp_path: Path, read: Read) -> None:
    path = geojson(tmp_path / "a.geojson", collection({"v": True, "n": 1}, {"v": 1, "n": 2}))
    values, report = read(path)
    assert values == {"v": ["true", "1"], "n": [1, 2]}
    assert report["read_from_bytes"] == {"v": "as text: true or false beside numbers"}
    path = geojson(tmp_path / "b.geojson", collection({"v": True, "n": 1}, {"v": None, "n": 2}))
    assert read(path)[0] == {"v": [True, None], "n": [1, 2]}


def test_a_property_twice_in_a_feature_is_refused(tmp_path: Path, read: Read) -> None:
    text = collection({"name": "A", "n": 1}, {"name": "B", "n": 2})
    path = geojson(tmp_path / "a.geojson", text.replace('"name": "B"', '"name": "B", "name": "C"'))
    with pytest.raises(DataError, match=r"A feature of a\.geojson has the member 'name' twice"):
        read(path)
    path = geojson(tmp_path / "b.geojson", text.replace('"name": "B"', '"name": "B", "name": "B"'))
    assert read(path)[0]["name"] == ["A", "B"]


def test_members_after_many_small_features_are_found(tmp_path: Path, read: Read) -> None:
    # GeoServer states its counts after the features. Hundreds of features fit into the searched part of the file.
    counts = {"totalFeatures": 10_000, "numberMatched": 10_000, "numberReturned": 500, "crs": None}
    text = collection(*({"a": [{"b": number}]} for number in range(500)))
    whole = json.loads(text)
    answer = {"type": whole["type"], "features": whole["features"], **counts}
    with pytest.raises(DataError, match="numberReturned is 500, totalFeatures 10000"):
        read(geojson(tmp_path / "a.geojson", json.dumps(answer)))
    complete = json.dumps(answer | {"totalFeatures": 500, "numberMatched": 500})
    assert len(read(geojson(tmp_path / "b.geojson", complete))[0]["a"]) == 500


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"exceededTransferLimit": True}, "exceededTransferLimit is true"),
        ({"properties": {"exceededTransferLimit": True}}, "exceededTransferLimit is true"),
        ({"numberMatched": 10, "numberReturned": 2}, "numberMatched 10"),
        ({"totalFeatures": 10}, "2 rows were read, but there are 10 according to its own count"),
        ({"numberReturned": 3}, "2 rows were read, but there are 3 according to its own count"),
        ({"links": [{"rel": "self", "href": "x"}, {"rel": "next", "href": "y"}]}, "rel: next"),
        ({"next": "https://example.org/?page=2", "count": 10}, "next names another page"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_an_incomplete_answer_is_refused(
    tmp_path: Path, read: Read, members: dict[str, Any], message: str, last: bool
) -> None:
    text = collection({"a": [{"b": 1}], "next": "c"}, {"a": [], "next": "d"}, **members)
    if last:
        parsed = json.loads(text)
        text = json.dumps({"type": "FeatureCollection", "features": parsed.pop("features"), **parsed})
    with pytest.raises(DataError, match=rf"incomplete.*{message}"):
        read(geojson(tmp_path / "a.geojson", text))


def test_properties_named_like_a_count_are_ignored(tmp_path: Path, read: Read) -> None:
    text = collection({"numberMatched": 50, "numberReturned": 1, "next": "x", "exceededTransferLimit": "true"})
    text = text.replace('"features"', '"numberMatched": 1, "numberReturned": 1, "features"', 1)
    assert read(geojson(tmp_path / "a.geojson", text))[0]["numberMatched"] == [50]


def esri_json(path: Path, *attributes: dict[str, Any], **members: Any) -> Path:
    kinds = {"n": "esriFieldTypeInteger", "d": "esriFieldTypeDate", "s": "esriFieldTypeString"}
    features = [{"attributes": each, "geometry": {"x": -75, "y": 45}} for each in attributes]
    fields = [{"name": name, "type": kinds[name]} for name in attributes[0]]
    about = {"geometryType": "esriGeometryPoint", "spatialReference": {"wkid": 4326}, "fields": fields}
    path.write_text(json.dumps({"objectIdFieldName": "n", **about, "features": features, **members}), "utf-8")
    return path


def test_values_of_esri_json_that_are_not_of_their_field(tmp_path: Path, read: Read) -> None:
    path = esri_json(tmp_path / "a.json", {"n": 1, "d": 1620295200000, "s": "7"}, {"n": None, "d": None, "s": "008"})
    whole = {"n": [1, None], "d": [dt.datetime(2021, 5, 6, 10, tzinfo=UTC), None], "s": ["7", "008"]}
    assert read(path)[0] == whole
    for value, texts in (("x", ["1", "x"]), (3.7, ["1", "3.7"])):
        values, report = read(esri_json(tmp_path / "b.json", {"n": 1}, {"n": value}))
        assert values == {"n": texts}
        assert report["read_from_bytes"]["n"] == f"as text: {value!r} is no int32"
    assert read(esri_json(tmp_path / "c.json", {"n": 1}, {"n": "x"}), nulls=["x"])[0]["n"] == [1, None]
    with pytest.raises(DataError, match=r"incomplete answer: exceededTransferLimit is true"):
        read(esri_json(tmp_path / "d.json", {"n": 1}, exceededTransferLimit=True))


def test_numbers_and_dates_of_topojson(tmp_path: Path, read: Read) -> None:
    def topology(*properties: dict[str, Any]) -> Path:
        shapes = [{"type": "Point", "coordinates": [1, 2], "properties": each} for each in properties]
        objects = {"a": {"type": "GeometryCollection", "geometries": shapes}}
        return geojson(tmp_path / "a.topojson", json.dumps({"type": "Topology", "objects": objects, "arcs": []}))

    values, _ = read(topology({"n": 12345678901234567890}, {"n": 1}), crs="EPSG:4326")
    assert values["n"] == ["12345678901234567890", "1"]
    with pytest.raises(DataError, match=r"Column d of a\.topojson can't be read as moments: '2021-02-31'"):
        read(topology({"d": "2021-02-31"}, {"d": "2021-02-01"}), crs="EPSG:4326")


# Messages of GDAL


def test_messages_of_gdal_are_recorded_in_every_thread_and_judged(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "a.gml")
    with listener.hearing():
        for number in range(3):
            library.CPLError(2, 1, f"Curious thing about feature {number} of {tmp_path}/a.gml".encode())
        library.CPLError(2, 1, b"Non closed ring detected.")
    report: dict[str, Any] = {}
    listener.judge(report)
    assert report == {"gdal": ["Curious thing about feature N of a.gml", "Non closed ring detected."]}
    for level, text in ((2, b"Value 'n/a' of field a.n parsed incompletely to integer 0."), (3, b"Something broke")):
        with listener.hearing():
            library.CPLError(level, 1, text)
        with pytest.raises(DataError, match=f"a.gml is not read correctly. GDAL reports: {text.decode()}"):
            listener.judge({})
        listener.messages.clear()


def test_parts_of_a_shapefile_that_were_not_written_together(tmp_path: Path, read: Read) -> None:
    frame(n=[1, 2, 3]).to_file(tmp_path / "a.shp")
    parts = [tmp_path / f"a.{suffix}" for suffix in ("shp", "shx", "dbf", "prj", "cpg")]
    whole = {part: part.read_bytes() for part in parts}
    table = whole[tmp_path / "a.dbf"]
    size, record = struct.unpack("<HH", table[8:12])
    shorter = table[:4] + struct.pack("<I", 1) + table[8 : size + record] + b"\x1a"
    (tmp_path / "a.dbf").write_bytes(shorter)
    with pytest.raises(DataError, match=r"a\.dbf has 1 rows, a\.shx 3 shapes"):
        read(*parts)
    longer = table[:4] + struct.pack("<I", 4) + table[8 : size + 3 * record] + table[size : size + record] + b"\x1a"
    (tmp_path / "a.dbf").write_bytes(longer)
    with pytest.raises(DataError, match=r"a\.dbf has 4 rows, a\.shx 3 shapes"):
        read(*parts)
    # Table and index have two rows, the shapes three.
    index = whole[tmp_path / "a.shx"]
    (tmp_path / "a.dbf").write_bytes(table[:4] + struct.pack("<I", 2) + table[8 : size + 2 * record] + b"\x1a")
    (tmp_path / "a.shx").write_bytes(index[:24] + struct.pack(">i", (100 + 16) // 2) + index[28 : 100 + 16])
    with pytest.raises(DataError, match=r"a\.shp has 3 shapes, a\.shx 2"):
        read(*parts)


def test_shapes_that_the_headers_do_not_count_or_the_index_repeats(tmp_path: Path, read: Read) -> None:
    frame(n=[1, 2, 3]).to_file(tmp_path / "a.shp")
    parts = [tmp_path / f"a.{suffix}" for suffix in ("shp", "shx", "dbf", "prj", "cpg")]
    shapes, index, table = (part.read_bytes() for part in parts[:3])
    # The second row gets the first point: longitude -75 twice, and -74 nowhere.
    parts[1].write_bytes(index[:108] + index[100:108] + index[116:])
    with pytest.raises(DataError, match=r"a\.shx gives 1 rows the shape of another row"):
        read(*parts)
    # All headers say two rows; a program that appended the third was killed before it wrote them.
    parts[1].write_bytes(index[:24] + struct.pack(">i", (100 + 16) // 2) + index[28:])
    parts[0].write_bytes(shapes[:24] + struct.pack(">i", (100 + 2 * 28) // 2) + shapes[28:])
    two = table[:4] + struct.pack("<I", 2) + table[8:]
    parts[2].write_bytes(two)
    with pytest.raises(DataError, match=r"a\.dbf has 2 rows according to its header, and 1 more follow"):
        read(*parts)
    size, record = struct.unpack("<HH", table[8:12])
    parts[2].write_bytes(two[: size + 2 * record] + b"\x1a")
    with pytest.raises(DataError, match=r"a\.shp has 2 shapes according to its header, and more follow"):
        read(*parts)
