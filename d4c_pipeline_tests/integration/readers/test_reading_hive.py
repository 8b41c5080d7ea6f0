"""Partition columns in the path of a file, and refusals of files that contradict their path."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing, VectorProcessing
from d4c_pipeline.readers import delivery, hive


def packed(tmp_path: Path, files: dict[str, pa.Table | str]) -> Path:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in files.items():
            if isinstance(content, str):
                archive.writestr(name, content)
                continue
            pq.write_table(content, tmp_path / "one.parquet")
            archive.write(tmp_path / "one.parquet", name)
    return tmp_path / "a.zip"


def read(tmp_path: Path, files: dict[str, pa.Table | str], **processing: Any) -> tuple[pa.Table, dict[str, Any]]:
    work = tmp_path / "work"
    work.mkdir()
    declared = TableProcessing(kind="table", **{"append": True, **processing})
    native = delivery.read(declared, [packed(tmp_path, files)], work)
    return native.collect()[0], native.report


def frame(**columns: list[Any]) -> pa.Table:
    return pa.table(columns)


def test_the_column_in_the_path_becomes_a_column_of_text(tmp_path: Path) -> None:
    files = {f"data/pruid={code}/year=2021/part-0.parquet": frame(n=[int(code)]) for code in ("24", "35", "08")}
    table, report = read(tmp_path, files)
    assert table.to_pydict() == {"n": [8, 24, 35], "pruid": ["08", "24", "35"], "year": ["2021"] * 3}
    assert report["path_columns"] == "pruid, year"


def test_partition_columns_of_a_single_file_and_of_text(tmp_path: Path) -> None:
    table, _ = read(tmp_path, {"pruid=24/part-0.csv": "n\n1\n2\n"}, append=False)
    assert table.to_pydict() == {"n": ["1", "2"], "pruid": ["24", "24"]}


def test_nulls_and_encoded_values(tmp_path: Path) -> None:
    files = {
        "name=Montr%C3%A9al%2FLaval/0.parquet": frame(n=[1]),
        "name=__HIVE_DEFAULT_PARTITION__/0.parquet": frame(n=[2]),
    }
    table, _ = read(tmp_path, files)
    assert dict(zip(table["n"].to_pylist(), table["name"].to_pylist(), strict=True)) == {1: "Montréal/Laval", 2: None}


@pytest.mark.parametrize(
    ("own", "path"), [([24, 24], "24"), (["24"], "24"), ([8], "08"), ([True], "true"), ([None], "")]
)
def test_a_column_of_the_file_that_agrees_stays(tmp_path: Path, own: list[Any], path: str) -> None:
    table, _ = read(tmp_path, {f"PRUID={path}/0.parquet": frame(n=list(range(len(own))), pruid=own)})
    assert table.column_names == ["n", "pruid"]
    assert table["pruid"].to_pylist() == own


@pytest.mark.parametrize("own", [[24, 35], [None, 24], ["x", "24"]])
def test_a_column_of_the_file_that_disagrees_is_refused(tmp_path: Path, own: list[Any]) -> None:
    with pytest.raises(DataError, match=r"Column pruid of pruid=24/0\.parquet has the value .* folder states '24'"):
        read(tmp_path, {"pruid=24/0.parquet": frame(n=[1, 2], pruid=own)})


def test_a_path_that_contradicts_itself(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has two values of a: 1 and 2"):
        read(tmp_path, {"a=1/a=2/0.parquet": frame(n=[1])})


def test_features_keep_their_geometry_last(tmp_path: Path) -> None:
    table = pa.table({"n": [1], "geometry": pa.array([shapely.to_wkb(shapely.Point(1, 2))])})
    native = packed(tmp_path, {"pruid=24/0.parquet": table})
    (tmp_path / "work").mkdir()
    declared = VectorProcessing(kind="vector", geometry_column="geometry", crs="EPSG:4326", origin_column="file")
    read_, geometry = delivery.read(declared, [native], tmp_path / "work").collect()
    assert read_.to_pydict() == {"n": [1], "pruid": ["24"], "file": ["pruid=24/0.parquet"]}
    assert geometry is not None
    assert shapely.from_wkb(geometry[0].as_py()) == shapely.Point(1, 2)


@pytest.mark.parametrize("member", ["a/b.parquet", "=1/b.parquet", "a=1.parquet", "b.parquet"])
def test_other_paths_have_no_columns(member: str) -> None:
    assert hive.columns_of(member) == {}
