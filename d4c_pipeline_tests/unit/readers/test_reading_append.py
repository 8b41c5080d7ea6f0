"""Appending of files and layers: unified schemas, and refusals that name the clashes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyproj
import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.readers.append import append
from d4c_pipeline.tables.native import GEOMETRY_COLUMN, Native, Part


def part(name: str, table: pa.Table, crs: pyproj.CRS | None = None, **report: Any) -> Part:
    attributes = pa.schema([field for field in table.schema if field.name != GEOMETRY_COLUMN])
    return Part(name, None, lambda: Native(name, attributes, iter(table.to_batches()), crs, None, dict(report)), name)


def test_columns_come_together_by_name_and_types_widen() -> None:
    first = pa.table({"id": pa.array([1], pa.int32()), "n": pa.array([7], pa.int16()), "v": pa.array([1], pa.int64())})
    second = pa.table({"v": pa.array([0.5]), "id": pa.array([2**40]), "name": ["Québec"], "n": pa.nulls(1)})
    native = append([part("one", first, padded=1, encoding="utf-8"), part("two", second, padded=2, encoding="cp1252")])
    table, _ = native.collect()
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("id", "int64"),
        ("n", "int16"),
        ("v", "double"),
        ("name", "string"),
    ]
    assert table.to_pylist() == [
        {"id": 1, "n": 7, "v": 1.0, "name": None},
        {"id": 2**40, "n": None, "v": 0.5, "name": "Québec"},
    ]
    assert native.report == {"parts": 2, "empty_parts": [], "padded": 3, "encoding": ["utf-8", "cp1252"]}


def test_names_that_differ_in_case_or_blanks_are_one_column() -> None:
    first, second = pa.table({"Name": ["a"], "n": [1]}), pa.table({"N ": [2], "NAME": ["b"], "価格": [3]})
    native = append([part("one", first), part("two", second), part("three", pa.table({"name": ["c"], "数量": [4]}))])
    assert native.collect()[0].to_pylist() == [
        {"Name": "a", "n": 1, "価格": None, "数量": None},
        {"Name": "b", "n": 2, "価格": 3, "数量": None},
        {"Name": "c", "n": None, "価格": None, "数量": 4},
    ]
    assert native.report["aligned_columns"] == {"N ": "n", "NAME": "Name", "name": "Name"}
    # A file with both spellings means two columns.
    native = append([part("one", pa.table({"n": [1], "N": [2]})), part("two", pa.table({"N": [3]}))])
    assert native.collect()[0].to_pylist() == [{"n": 1, "N": 2}, {"n": None, "N": 3}]


def test_types_that_clash_are_named() -> None:
    first, second = pa.table({"code": ["007"], "ok": [1]}), pa.table({"code": [7], "ok": [1]})
    with pytest.raises(DataError, match=r"Types clash: code is string in ab\.shp and int64 in qc\.shp\. Declare"):
        append([part("ab.shp", first), part("qc.shp", second)])


def test_a_number_that_float64_can_not_hold_stops() -> None:
    first, second = pa.table({"v": [2**53 + 1]}), pa.table({"v": [0.5]})
    native = append([part("one", first), part("two", second)])
    with pytest.raises(DataError, match="Column v of one has values that double can't hold"):
        native.collect()


def test_different_reference_systems_are_refused() -> None:
    table = pa.table({"n": [1], GEOMETRY_COLUMN: pa.array([b""], pa.binary())})
    lambert, degrees = pyproj.CRS(3347), pyproj.CRS(4326)
    with pytest.raises(DataError, match="of the first is EPSG:3347, of the second EPSG:4326"):
        append([part("a", table, lambert), part("b", table, degrees)])
    with pytest.raises(DataError, match="of the first is EPSG:3347, of the second none"):
        append([part("a", table, lambert), part("b", pa.table({"n": [1]}))])
    assert append([part("a", table, degrees), part("b", table, degrees)]).collect()[0].num_rows == 2


def test_spellings_of_a_reference_system_are_equal_and_the_remedy_for_other_systems_works() -> None:
    table = pa.table({"n": [1], GEOMETRY_COLUMN: pa.array([b""], pa.binary())})
    spellings = ["EPSG:4326", "OGC:CRS84", "+proj=longlat +datum=WGS84"]
    native = append([part(text, table, pyproj.CRS(text)) for text in spellings])
    assert native.crs == pyproj.CRS("EPSG:4326")
    assert native.collect()[0].num_rows == 3
    with pytest.raises(DataError, match=r"EPSG:4326, of the second EPSG:4269\. Declare .* override_crs"):
        append([part("a", table, pyproj.CRS(4326)), part("b", table, pyproj.CRS(4269))])


def test_hundreds_of_files_are_opened_one_after_the_other_and_empty_ones_named() -> None:
    tables = [pa.table({"n": pa.array([n] if n != 77 else [], pa.int64())}) for n in range(200)]
    native = append([part(f"file{n}", table) for n, table in enumerate(tables)])
    assert sum(batch.num_rows for batch in native.batches) == 199
    assert native.report == {"parts": 200, "empty_parts": ["file77"]}


def test_a_table_without_a_column_of_the_others_is_refused() -> None:
    # The first row of a file without names, Gatineau's, would be lost.
    first, second = pa.table({"name": ["Ottawa"], "n": [1]}), pa.table({"Gatineau": ["Hull"], "2": [3]})
    with pytest.raises(DataError, match=r"b\.csv has no column in common with a\.csv: 2, Gatineau there, n, name here"):
        append([part("a.csv", first), part("b.csv", second)])
    chained = [part("a", first), part("b", pa.table({"n": [2], "x": [1]})), part("c", pa.table({"x": [5]}))]
    assert append(chained).collect()[0].column("x").to_pylist() == [None, 1, 5]
