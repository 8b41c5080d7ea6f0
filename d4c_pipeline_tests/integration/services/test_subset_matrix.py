"""Subsets of all fixtures in all formats, a sample of `benchmarks/subsets.py`; values that formats tend to change."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from d4c_pipeline.services.subset import FORMATS, Engine
from d4c_pipeline_tests.support.subset_matrix import Whole, differences, released, sampled
from d4c_pipeline_tests.support.subsets import Subsets


@pytest.fixture(scope="module")
def subsets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subsets]:
    with Engine(threads=2) as engine:
        yield Subsets(engine, tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def whole(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Whole]:
    """The release of a fixture, built when a test first asks for it."""
    return cache(lambda name: Whole.of(released(fixtures, name, tmp_path_factory.mktemp(name))))


@pytest.mark.parametrize(("name", "form", "request_for"), sampled())
def test_a_subset_is_what_geopandas_computes(
    subsets: Subsets, whole: Callable[[str], Whole], name: str, form: str, request_for: str
) -> None:
    assert differences(subsets, whole(name), form, request_for) == []


def test_the_comparison_sees_one_wrong_value(subsets: Subsets, whole: Callable[[str], Whole]) -> None:
    right = whole("ferries")
    frame = right.frame.copy()
    frame.loc[3, "nid"] = "other"
    moved = right.frame.copy()
    moved.loc[3, "geometry"] = shapely.transform(moved.loc[3, "geometry"], lambda places: places + 1e-7)
    assert differences(subsets, replace(right, frame=frame), "flatgeobuf", "all") != []
    for form in FORMATS.keys() - {"flatgeobuf"}:  # which orders rows, by values that differ
        assert [each[:11] for each in differences(subsets, replace(right, frame=frame), form, "all")] == ["nid: 1 rows"]
        found = differences(subsets, replace(right, frame=moved), form, "all")
        assert [each[:9] for each in found] == ([] if form == "geojson" else ["geometry:"]), form


def _sqlite(path: Path) -> tuple[list[str], list[tuple[Any, ...]]]:
    with sqlite3.connect(path) as connection:
        (layer,) = connection.execute("SELECT table_name FROM gpkg_contents").fetchone()
        rows = connection.execute(f'SELECT * FROM "{layer}"')
        return [column[0] for column in rows.description], rows.fetchall()


def test_times_are_cut_to_the_millisecond_before_and_after_1970(subsets: Subsets, tmp_path: Path) -> None:
    """A cut toward 1970 moves the last microsecond of a second into the next one."""
    zoned = [
        datetime(1899, 12, 31, 23, 59, 58, 999_999, tzinfo=UTC),
        None,
        datetime(2021, 3, 14, 7, 0, 0, 123_999, tzinfo=UTC),
    ]
    moments = [moment and moment.replace(tzinfo=None) for moment in zoned]
    table = pa.table(
        {"t": pa.array(moments, pa.timestamp("us")), "z": pa.array(zoned, pa.timestamp("us", "America/Toronto"))}
    )
    pq.write_table(table, path := tmp_path / "times.parquet")
    _, rows = _sqlite(subsets.made(path, format="gpkg"))
    assert [row[1:] for row in rows] == [
        ("1899-12-31T23:59:58.999", "1899-12-31T23:59:58.999Z"), (None, None),
        ("2021-03-14T07:00:00.123", "2021-03-14T07:00:00.123Z"),
    ]  # fmt: skip
    text = list(csv.reader(subsets.made(path, format="csv").read_text().splitlines()))
    assert text[1] == ["1899-12-31T23:59:58.999999", "1899-12-31T23:59:58.999999Z"]
    assert pq.read_table(subsets.made(path)).to_pydict() == table.to_pydict()


def test_empty_geometries_are_written_by_all_but_flatgeobuf(subsets: Subsets, tmp_path: Path) -> None:
    """GDAL ends at the first empty geometry with 'NULL geometry not supported with spatial index'."""
    shapes = [shapely.Point(0, 1), shapely.from_wkt("POINT EMPTY"), None, shapely.from_wkt("POLYGON EMPTY"),
              shapely.from_wkt("LINESTRING Z (0 0 1, 1 1 2)"), shapely.from_wkt("MULTIPOLYGON EMPTY")]  # fmt: skip
    frame = geopandas.GeoDataFrame({"n": range(6)}, geometry=shapes, crs=4326)
    frame.to_parquet(path := tmp_path / "mixed.parquet")
    for form in FORMATS:
        got = subsets.frame(path, format=form)
        assert sorted(map(int, got["n"])) == ([0, 4] if form == "flatgeobuf" else [0, 1, 2, 3, 4, 5]), form
        line = got.geometry[list(map(int, got["n"])).index(4)]
        flat = form == "flatgeobuf"
        assert shapely.get_coordinates(line, include_z=not flat).tolist() == (
            [[0, 0], [1, 1]] if flat else [[0, 0, 1], [1, 1, 2]]
        ), form
        announced = ("geometry: FlatGeobuf has no third coordinate when geometries are of several types",)
        assert subsets.plan(path, format=form, columns=["geometry"]).notices == (announced if flat else ()), form
        assert len(subsets.frame(path, format=form, bbox=[-1, -1, 2, 2])) == 2, form


def test_names_that_a_format_uses_itself(subsets: Subsets, tmp_path: Path) -> None:
    names = [
        "fid",
        "FID_1",
        "ogc_fid",
        "geom",
        "rowid",
        "select",
        'a"b',
        "x,y",
        "type",
        "properties",
        "bbox",
        "c0",
        "g",
    ]
    columns = {name: [f"{name} {row}" for row in (1, 2)] for name in names} | {"fid": [7, 7]}
    frame = geopandas.GeoDataFrame(columns, geometry=[shapely.Point(0, 0), shapely.Point(1, 1)], crs=4326)
    frame.to_parquet(path := tmp_path / "names.parquet")
    for form in FORMATS:
        got = subsets.frame(path, format=form, filter="\"geom\" = 'geom 2'", bbox=[0.5, 0.5, 2, 2])
        assert [name for name in got.columns if name not in ("geometry", "bbox_1")] == names, form
        assert [str(got[name][0]) for name in names] == ["7", *(f"{name} 2" for name in names[1:])], form
    assert pyogrio.read_info(subsets.made(path, format="gpkg"))["fid_column"] == "fid_2"


def test_lists_bytes_and_columns_without_values(subsets: Subsets, tmp_path: Path) -> None:
    table = pa.table(
        {
            "days": pa.array([[date(2020, 1, 2), None], []], pa.list_(pa.date32())),
            "moments": pa.array([[datetime(2020, 1, 2, 3, tzinfo=UTC)], None], pa.list_(pa.timestamp("us", "UTC"))),
            "bytes": pa.array([[b"\x01\xff"], [None]], pa.list_(pa.binary())),
            "facts": pa.array([{"a": "é", "b": None}, None], pa.struct([("a", pa.string()), ("b", pa.int32())])),
            "code": pa.array(["x", None]).dictionary_encode(),
            "nothing": pa.nulls(2),
            "ratio": pa.array(np.array([np.nan, -0.0])),
        }
    )
    pq.write_table(table, path := tmp_path / "nested.parquet")
    texts = ['["2020-01-02", null]', '["2020-01-02T03:00:00Z"]', '["01ff"]', '{"a": "é", "b": null}', "x"]
    assert list(csv.reader(subsets.made(path, format="csv").read_text().splitlines())) == [
        table.schema.names, [*texts, "", "nan"], ["[]", "", "[null]", "", "", "", "-0"],
    ]  # fmt: skip
    _, rows = _sqlite(subsets.made(path, format="gpkg"))
    assert [row[1:] for row in rows] == [(*texts, None, None), ("[]", None, "[null]", None, None, None, 0.0)]
    got = pa.ipc.open_stream(subsets.made(path, format="arrow").read_bytes()).read_all()
    assert repr(got.to_pydict()) == repr(table.to_pydict())
    spatial = table.append_column("geometry", pa.array([shapely.to_wkb(shapely.Point(1, 2))] * 2))
    geo = {"version": "1.1.0", "primary_column": "geometry",
           "columns": {"geometry": {"encoding": "WKB", "geometry_types": []}}}  # fmt: skip
    pq.write_table(spatial.replace_schema_metadata({"geo": json.dumps(geo)}), path := tmp_path / "spatial.parquet")
    first = json.loads(subsets.made(path, format="geojson").read_bytes())["features"][0]["properties"]
    assert first == {
        "days": ["2020-01-02", None], "moments": ["2020-01-02T03:00:00Z"], "bytes": ["01ff"],
        "facts": {"a": "é", "b": None}, "code": "x", "nothing": None, "ratio": None,
    }  # fmt: skip
