"""The files of a delivery to read, for each kind of archive."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing, TableProcessing, VectorProcessing
from d4c_pipeline.readers.inputs import choose

SHP = b"\x00\x00\x27\x0a"
CONTENT = {".shp": SHP, ".gpkg": b"SQLite format 3\x00", ".parquet": b"PAR1", ".xlsx": b"PK\x03\x04", ".json": b"{}"}


def declared(kind: str, **fields: Any) -> Processing:
    model = VectorProcessing if kind == "vector" else TableProcessing
    return model.model_validate({"kind": kind, **fields})


def delivered(folder: Path, *names: str) -> Path:
    archive = folder / "delivery.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in names:
            opened.writestr(name, CONTENT.get(Path(name).suffix, b"x"))
    return archive


@pytest.mark.parametrize(
    ("kind", "names", "chosen"),
    [
        ("vector", ["a.shp", "a.dbf", "a.csv", "licence.json"], "a.shp"),
        ("vector", ["deep/er/x.gpkg", "readme.txt"], "deep/er/x.gpkg"),
        ("vector", ["x.gdb/a00000001.gdbtable", "x.gdb/gdb", "x.txt"], "x.gdb"),
        ("vector", ["in/X.GDB/a.gdbtable", "in/X.GDB/gdb"], "in/X.GDB"),
        ("vector", ["tile.parquet", "tile.csv"], "tile.parquet"),
        ("vector", ["points.json", "readme.txt"], "points.json"),
        ("vector", ["stops.txt"], "stops.txt"),
        ("vector", ["stops.xlsx"], "stops.xlsx"),
        ("table", ["1.csv", "1_MetaData.csv", "1.json"], "1.csv"),
        ("table", ["98_data.csv", "98_Geo_starting_row.CSV", "98_meta.txt"], "98_data.csv"),
        (
            "table",
            ["98_English_CSV_data.csv", "Geo_starting_row_CSV.csv", "README_meta.txt"],
            "98_English_CSV_data.csv",
        ),
        ("table", ["book.xlsx", "a.dbf"], "book.xlsx"),
        ("table", ["rows.ndjson"], "rows.ndjson"),
        ("table", ["a.dbf", "a.cpg"], "a.dbf"),
        ("table", ["__MACOSX/._a.csv", "a.csv", ".hidden.csv"], "a.csv"),
    ],
)
def test_the_data_of_a_delivery_is_found(tmp_path: Path, kind: str, names: list[str], chosen: str) -> None:
    (tmp_path / "work").mkdir()
    if names == ["rows.ndjson"]:
        CONTENT[".ndjson"] = b"{}"
    found = choose(declared(kind), [delivered(tmp_path, *names)], tmp_path / "work")
    assert [member.name for member in found] == [chosen]
    assert found[0].path.exists()
    assert found[0].path.is_dir() == chosen.lower().endswith(".gdb")


def test_all_that_match_are_chosen_when_they_are_to_be_appended(tmp_path: Path) -> None:
    archive = delivered(tmp_path, "qc/r.shp", "qc/r.dbf", "ab/r.shp", "ab/r.dbf", "old/r.shp")
    for number, fields in enumerate([{}, {"member": "[aq]*/r.*"}]):
        work = tmp_path / str(number)
        work.mkdir()
        names = [member.name for member in choose(declared("vector", append=True, **fields), [archive], work)]
        assert names == (["ab/r.shp", "qc/r.shp"] if fields else ["ab/r.shp", "old/r.shp", "qc/r.shp"])
    (tmp_path / "w").mkdir()
    with pytest.raises(DataError, match=r"Several files could be the data: ab/r\.shp, .* or append: true"):
        choose(declared("vector"), [archive], tmp_path / "w")


def test_a_packed_file_beside_another_is_not_passed_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.writestr("a.csv", "n\n1\n")
        archive.writestr("b.csv.gz", gzip.compress(b"n\n2\n"))
    for work in ("one", "two"):
        (tmp_path / work).mkdir()
    with pytest.raises(DataError, match=r"Several files could be the data: a\.csv, b\.csv\.gz/b\.csv"):
        choose(declared("table"), [tmp_path / "both.zip"], tmp_path / "one")
    found = choose(declared("table", append=True), [tmp_path / "both.zip"], tmp_path / "two")
    assert [member.path.read_text() for member in found] == ["n\n1\n", "n\n2\n"]


def test_a_file_of_another_format_is_not_left_out_of_an_append(tmp_path: Path) -> None:
    natives = [tmp_path / name for name in ("a.csv", "b.json", "readme.txt")]
    for native, content in zip(natives, ("n\n1\n", '[{"n": 2}]', "Read me"), strict=True):
        native.write_text(content)
    for work in ("one", "two"):
        (tmp_path / work).mkdir()
    with pytest.raises(DataError, match=r"Of the files to append, b\.json has another format than a\.csv"):
        choose(declared("table", append=True), natives, tmp_path / "one")
    found = choose(declared("table", append=True, member="*.csv"), natives, tmp_path / "two")
    assert [member.name for member in found] == ["a.csv"]


def test_thirteen_archives_with_files_of_one_name(tmp_path: Path) -> None:
    natives = []
    for province in ("ab", "qc"):
        (tmp_path / province).mkdir()
        archive = delivered(tmp_path / province, "roads.shp")
        natives.append(archive.rename(archive.with_name(f"{province}.zip")))
    (tmp_path / "work").mkdir()
    found = choose(declared("vector", append=True), natives, tmp_path / "work")
    assert [member.name for member in found] == ["ab.zip/roads.shp", "qc.zip/roads.shp"]


def test_a_kmz_is_unpacked_and_a_workbook_is_not(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.kmz", "w") as archive:
        archive.writestr("doc.kml", "<kml/>")
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    for name, kind, expected in (("a.kmz", "vector", "doc.kml"), ("b.xlsx", "table", "b.xlsx")):
        work = tmp_path / f"work-{name}"
        work.mkdir()
        assert [member.name for member in choose(declared(kind), [tmp_path / name], work)] == [expected]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decimal": ",", "thousands": ","}, "can't be both"),
        ({"header": ["a"], "header_row": 2}, "not both"),
        ({"geometry_wkt": "w", "longitude": "x", "latitude": "y"}, "declare one way to the geometry"),
    ],
)
def test_declarations_that_contradict_themselves(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        declared("vector", **fields)
