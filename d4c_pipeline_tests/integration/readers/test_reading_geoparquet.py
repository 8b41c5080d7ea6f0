"""Parquet files of publishers: geometry columns, their encodings, and their coordinate reference systems."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing, VectorProcessing
from d4c_pipeline.readers import delivery, parquet
from d4c_pipeline.tables import duckdb_engine

PLACE = shapely.Point(-75, 45)
WKB = pa.array([shapely.to_wkb(PLACE)], pa.binary())
PLAIN = pa.table({"n": [1], "geometry": WKB})


def read(path: Path, **processing: Any) -> tuple[list[str], str, list[str | None], dict[str, Any]]:
    native = parquet.read(path, VectorProcessing(kind="vector", **processing))
    table, geometry = native.collect()
    assert native.crs is not None
    assert geometry is not None
    shapes = shapely.from_wkb(geometry.to_pylist())
    return (
        table.column_names,
        native.crs.to_string(),
        [None if shape is None else shape.wkt for shape in shapes],
        native.report,
    )


def write(path: Path, table: pa.Table, geo: Any = None, **more: str) -> Path:
    metadata = {**({"geo": geo if isinstance(geo, str) else json.dumps(geo)} if geo is not None else {}), **more}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def described(**column: Any) -> dict[str, Any]:
    column = {"encoding": "WKB", "geometry_types": [], **column}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


class _Wkb(pa.ExtensionType):
    """GeoArrow's type, which pyarrow writes as Parquet's geometry type when it is registered."""

    def __init__(self, metadata: str) -> None:
        self.metadata = metadata
        super().__init__(pa.binary(), "geoarrow.wkb")

    def __arrow_ext_serialize__(self) -> bytes:
        return self.metadata.encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> _Wkb:
        return cls(serialized.decode())


@contextmanager
def registered() -> Iterator[None]:
    pa.register_extension_type(_Wkb("{}"))
    try:
        yield
    finally:
        pa.unregister_extension_type("geoarrow.wkb")


def with_own_type(path: Path, crs: Any, *, edges: str = "planar", stored: bool = False, **metadata: str) -> Path:
    extension = json.dumps({"crs": crs, "edges": edges} if crs is not None else {"edges": edges})
    with registered():
        table = pa.table({"n": [1], "geometry": _Wkb(extension).wrap_array(WKB)})
        with pq.ParquetWriter(path, table.schema, store_schema=stored) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(metadata)
    return path


@pytest.mark.parametrize("stored", [False, True], ids=["without Arrow's schema", "with Arrow's schema"])
@pytest.mark.parametrize(
    ("crs", "expected"),
    [
        (None, "OGC:CRS84"),
        ("OGC:CRS84", "OGC:CRS84"),
        ("EPSG:4269", "EPSG:4269"),
        ("srid:3347", "EPSG:3347"),
        ("projjson:my_crs", "EPSG:2950"),
        (pyproj.CRS(3978).to_json_dict(), "EPSG:3978"),
    ],
)
def test_parquets_own_type(tmp_path: Path, crs: Any, expected: str, stored: bool) -> None:
    own = {"my_crs": pyproj.CRS(2950).to_json()}
    path = with_own_type(tmp_path / "a.parquet", crs, stored=stored, **own)
    assert read(path)[:3] == (["n"], expected, ["POINT (-75 45)"])


def test_edges_on_the_sphere_are_reported(tmp_path: Path) -> None:
    path = with_own_type(tmp_path / "a.parquet", "OGC:CRS84", edges="spherical")
    assert read(path)[3] == {"geometry_column": "geometry", "source_edges": "spherical"}


def test_a_parquet_type_without_a_system_requires_a_declared_crs(tmp_path: Path) -> None:
    path = with_own_type(tmp_path / "a.parquet", "srid:0")
    with pytest.raises(DataError, match=r"does not state the coordinate reference system.*Declare processing\.crs"):
        read(path)
    assert read(path, crs="EPSG:3347")[1] == "EPSG:3347"


def test_a_reference_to_a_missing_system_is_refused(tmp_path: Path) -> None:
    path = with_own_type(tmp_path / "a.parquet", "projjson:my_crs")
    with pytest.raises(DataError, match="does not state the coordinate reference system"):
        read(path)
    assert read(path, crs="EPSG:3347")[1] == "EPSG:3347"


def test_what_duckdb_writes(tmp_path: Path) -> None:
    connection = duckdb_engine.connect(extensions=("spatial",))
    for number, point in enumerate(("ST_Point(-75, 45)", "ST_SetCRS(ST_Point(-75, 45), 'EPSG:3347')")):
        connection.execute(
            f"COPY (SELECT 1 AS n, {point} AS geom) TO '{tmp_path}/{number}.parquet'"
            " (FORMAT parquet, GEOPARQUET_VERSION 'V2')"
        )
    assert read(tmp_path / "0.parquet")[:3] == (["n"], "OGC:CRS84", ["POINT (-75 45)"])
    assert read(tmp_path / "1.parquet")[1] == "EPSG:3347"


def test_arrows_type_without_a_system_is_not_read_as_longitude_and_latitude(tmp_path: Path) -> None:
    for number, extension in enumerate(("{}", '{"crs": "EPSG:3347"}')):
        metadata = {"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": extension}
        schema = pa.schema([PLAIN.schema.field(0), pa.field("geometry", pa.binary(), metadata=metadata)])
        pq.write_table(PLAIN.cast(schema), tmp_path / f"{number}.parquet")
    with pytest.raises(DataError, match="does not state the coordinate reference system of geometry"):
        read(tmp_path / "0.parquet")
    assert read(tmp_path / "1.parquet")[1] == "EPSG:3347"


def test_geo_metadata_and_the_columns_type_must_not_contradict_each_other(tmp_path: Path) -> None:
    agreeing = {"geo": json.dumps(described(crs=pyproj.CRS(4326).to_json_dict()))}
    assert read(with_own_type(tmp_path / "a.parquet", None, **agreeing))[1] == "EPSG:4326"
    path = with_own_type(tmp_path / "b.parquet", "EPSG:3347", **agreeing)
    with pytest.raises(DataError, match=r"two coordinate.*EPSG:4326 in its geo metadata, EPSG:3347.*override_crs"):
        read(path)
    assert read(path, crs="EPSG:3347", override_crs=True)[1] == "EPSG:3347"


def test_wkb_without_metadata(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", PLAIN)
    with pytest.raises(DataError, match=r"may be geometry\. Declare processing\.geometry_column: geometry and"):
        read(path)
    assert read(path, geometry_column="geometry", crs="EPSG:3347")[:3] == (["n"], "EPSG:3347", ["POINT (-75 45)"])
    assert read(path, crs="EPSG:3347")[3] == {"geometry_column": "geometry"}


def test_bytes_declared_as_text_and_the_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", PLAIN)
    (tmp_path / "work").mkdir()
    declared = VectorProcessing(kind="vector", geometry_wkt="geometry", crs="EPSG:3347")
    with pytest.raises(DataError, match=r"Column geometry of a\.parquet holds bytes.*geometry_column in place of"):
        delivery.read(declared, [path], tmp_path / "work")
    assert read(path, geometry_column="geometry", crs="EPSG:3347")[2] == ["POINT (-75 45)"]


def test_the_reference_system_within_the_geometries_must_not_contradict_the_files(tmp_path: Path) -> None:
    wkb = shapely.to_wkb(shapely.set_srid(PLACE, 3347), include_srid=True)
    path = write(tmp_path / "a.parquet", pa.table({"geometry": pa.array([None, wkb], pa.binary())}))
    with pytest.raises(DataError, match=r"have SRID=3347, but the data's .* is EPSG:4326\. Declare .* override_crs"):
        read(path, geometry_column="geometry", crs="EPSG:4326")
    assert read(path, geometry_column="geometry", crs="EPSG:3347")[2] == [None, "POINT (-75 45)"]
    assert read(path, geometry_column="geometry", crs="EPSG:3978", override_crs=True)[1] == "EPSG:3978"


def test_bytes_that_are_not_wkb_are_not_read_as_geometry(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"n": [1], "shape": pa.array([b"\x89PNG...."])}))
    with pytest.raises(DataError, match=r"does not state its geometry column; it has n, shape"):
        read(path, crs="EPSG:4326")


def test_several_candidates_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", PLAIN.append_column("geom", WKB))
    with pytest.raises(DataError, match=r"may be geometry or geom"):
        read(path, crs="EPSG:4326")


def test_text_is_not_read_as_wkb_and_the_remedy_names_the_way(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"n": [1], "geometry": ["POINT (1 2)"]}))
    with pytest.raises(DataError, match=r"is text, not WKB\. Declare geometry_wkt: geometry"):
        read(path, geometry_column="geometry", crs="EPSG:4326")
    native = parquet.read(path, VectorProcessing(kind="vector", geometry_wkt="geometry"))
    assert native.attributes.names == ["n", "geometry"]


@pytest.mark.parametrize(
    ("geo", "expected"),
    [
        (described(crs=None), None),
        (described(crs=""), None),
        (described(crs="EPSG:3347"), "EPSG:3347"),
        (described(crs=pyproj.CRS(4269).to_wkt()), "EPSG:4269"),
        (described(encoding="wkb"), "OGC:CRS84"),
        ({**described(), "primary_column": "gone"}, "OGC:CRS84"),
        ({"columns": {"geometry": {}, "gone": {"encoding": "WKB"}, "odd": None}}, "OGC:CRS84"),
        (described(covering={"bbox": None}), "OGC:CRS84"),
        ({"columns": None}, None),
        ("[]", None),
        ("not JSON", None),
    ],
)
def test_odd_metadata(tmp_path: Path, geo: Any, expected: str | None) -> None:
    path = write(tmp_path / "a.parquet", PLAIN, geo)
    if expected is None:
        with pytest.raises(DataError, match=r"coordinate reference system.*Declare"):
            read(path)
    else:
        assert read(path)[1] == expected


SHAPES: dict[str, list[str | None]] = {
    "point": ["POINT (1 2)", None, "POINT (3 4)"],
    "linestring": ["LINESTRING (1 2, 3 4)", None, "LINESTRING EMPTY", "LINESTRING (5 6, 7 8, 9 9)"],
    "polygon": ["POLYGON ((0 0, 9 0, 9 9, 0 0), (1 1, 2 1, 2 2, 1 1))", None, "POLYGON ((5 5, 6 5, 6 6, 5 5))"],
    "multipoint": ["MULTIPOINT ((1 2), (3 4))", None],
    "multilinestring": ["MULTILINESTRING ((1 2, 3 4), (5 6, 7 8))", None],
    "multipolygon": ["MULTIPOLYGON (((0 0, 9 0, 9 9, 0 0)), ((20 0, 29 0, 29 9, 20 0)))", None],
}


@pytest.mark.parametrize("encoding", SHAPES)
def test_native_encodings_as_geopandas_writes_them(tmp_path: Path, encoding: str) -> None:
    texts = SHAPES[encoding] * 3
    frame = geopandas.GeoDataFrame({"n": range(len(texts))}, geometry=shapely.from_wkt(texts), crs=3347)
    frame.to_parquet(tmp_path / "a.parquet", geometry_encoding="geoarrow", row_group_size=4)
    columns, crs, shapes, _ = read(tmp_path / "a.parquet")
    assert (columns, crs, shapes) == (["n"], "EPSG:3347", texts)
    other = VectorProcessing(kind="vector", crs="EPSG:4326", override_crs=True)
    sliced = parquet.read(tmp_path / "a.parquet", other).collect()[1]
    assert sliced is not None
    assert sliced.null_count == texts.count(None)


def test_native_encodings_with_heights_and_interleaved(tmp_path: Path) -> None:
    kind = pa.list_(pa.struct([("x", pa.float64()), ("y", pa.float64()), ("z", pa.float64())]))
    raised = pa.array([[{"x": 1.0, "y": 2.0, "z": 3.0}, {"x": 4.0, "y": 5.0, "z": 6.0}]], kind)
    geo = described(encoding="linestring")
    assert read(write(tmp_path / "a.parquet", pa.table({"geometry": raised}), geo))[2] == [
        "LINESTRING Z (1 2 3, 4 5 6)"
    ]
    pairs = pa.array([[[1.0, 2.0], [4.0, 5.0]]], pa.list_(pa.list_(pa.float64(), 2)))
    assert read(write(tmp_path / "b.parquet", pa.table({"geometry": pairs}), geo))[2] == ["LINESTRING (1 2, 4 5)"]


def test_a_column_that_is_not_in_its_encoding_is_refused(tmp_path: Path) -> None:
    table = pa.table({"geometry": pa.array([{"a": 1.0}])})
    with pytest.raises(DataError, match="as geometry in polygon encoding, but its type is struct"):
        read(write(tmp_path / "a.parquet", table, described(encoding="polygon")))
    with pytest.raises(DataError, match="holds geometry as box, not WKB"):
        read(write(tmp_path / "b.parquet", table, described(encoding="box")))


def test_a_table_omits_geometry_and_reports_it(tmp_path: Path) -> None:
    native = parquet.read(with_own_type(tmp_path / "a.parquet", "EPSG:3347"), TableProcessing(kind="table"))
    assert native.attributes.names == ["n"]
    assert native.report == {"columns_left_out": ["geometry"]}


def test_moments_of_int96_beyond_the_years_of_nanoseconds(tmp_path: Path) -> None:
    texts = ("9999-12-31T00:00:00", "0001-01-01T00:00:00", "2020-01-01T01:02:03.456789")
    last, first, usual = map(dt.datetime.fromisoformat, texts)
    path = tmp_path / "a.parquet"

    def read_back(**columns: pa.Array) -> tuple[pa.Table, dict[str, Any]]:
        pq.write_table(pa.table(columns), path, use_deprecated_int96_timestamps=True)
        native = parquet.read(path, TableProcessing(kind="table"))
        return native.collect()[0], native.report

    table, report = read_back(t=pa.array([last, first, usual, None], pa.timestamp("us")))
    assert table.column("t").to_pylist() == [last, first, usual, None]
    assert report["int96_unit"] == "us"
    table, report = read_back(t=pa.array([[{"at": last}], [], None]))
    assert table.column("t").to_pylist() == ['[{"at": "9999-12-31 00:00:00"}]', "[]", None]
    table, report = read_back(t=pa.array([1_577_836_800_123_456_789, None], pa.timestamp("ns")))
    assert table.column("t").cast(pa.int64()).to_pylist() == [1_577_836_800_123_456_789, None]
    assert "int96_unit" not in report
