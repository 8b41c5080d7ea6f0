"""Reading tables: delimited text, workbooks, JSON, DBF, and the archives of Statistics Canada."""

from __future__ import annotations

import datetime as dt
import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import shapely

import d4c_pipeline
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing, VectorProcessing
from d4c_pipeline.readers import delivery

SCHEMA = pa.schema([("a", pa.string())])
BIG = "12345678901234567890123"


def read(native: Path, *, kind: str = "table", **processing: Any) -> tuple[pa.Table, dict[str, Any]]:
    work = native.parent / f"work-{native.name}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    model = VectorProcessing if kind == "vector" else TableProcessing
    opened = delivery.read(model.model_validate({"kind": kind, **processing}), [native], work)
    table = pa.Table.from_batches(opened.batches, opened.schema)
    return table, opened.report


def rows(native: Path, **processing: Any) -> list[dict[str, Any]]:
    return read(native, **processing)[0].to_pylist()


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


# -- delimited text


@pytest.mark.parametrize(
    ("text", "processing", "expected"),
    [
        ("a;b\n1 234,50;-7,5\n", {"decimal": ",", "thousands": " "}, {"a": "1234.50", "b": "-7.5"}),
        ("a;b\n1\u00a0234\u202f567;12,3 km\n", {"decimal": ",", "thousands": " "}, {"a": "1234567", "b": "12,3 km"}),
        ('a,b\n"1,234.5","12,34"\n', {"thousands": ","}, {"a": "1234.5", "b": "12,34"}),
        ("a;b\n1,5;2,5\n", {"decimal": ",", "columns": {"b": {"type": "string"}}}, {"a": "1.5", "b": "2,5"}),
        ("a;b\n1.234.567,8;1.23\n", {"decimal": ",", "thousands": "."}, {"a": "1234567.8", "b": "1.23"}),
    ],
)
def test_numbers_with_declared_marks_are_written_plainly(
    tmp_path: Path, text: str, processing: dict[str, Any], expected: dict[str, str]
) -> None:
    assert rows(written(tmp_path / "n.csv", text), **processing) == [expected]


def test_ragged_lines_are_refused_by_number_or_padded(tmp_path: Path) -> None:
    text = 'a,b,c\n1,2,3\n"two\nlines",2\n\n4,5,\n'
    native = written(tmp_path / "r.csv", text)
    with pytest.raises(DataError, match=r"Line 4 of r\.csv is ragged: Expected 3 columns, got 2\. Declare ragged: pad"):
        rows(native)
    table, report = read(native, ragged="pad")
    assert table.to_pylist() == [
        {"a": "1", "b": "2", "c": "3"},
        {"a": "two\nlines", "b": "2", "c": None},
        {"a": "4", "b": "5", "c": None},
    ]
    assert report["padded_rows"] == 1
    longer = written(tmp_path / "l.csv", "a,b\n1,2,,\n1,2,3\n")
    with pytest.raises(DataError, match=r"Line 3 of l\.csv is ragged: Expected 2 columns, got 3"):
        rows(longer, ragged="pad")


def test_names_are_in_a_declared_line(tmp_path: Path) -> None:
    native = written(tmp_path / "h.csv", "Table 1, by region\nSource: us\n\nGeo,Value\nQuébec,1\n", "cp1252")
    assert rows(native, header_row=4) == [{"Geo": "Québec", "Value": "1"}]
    with pytest.raises(DataError, match=r"h\.csv has no line 9"):
        rows(native, header_row=9)


def test_a_row_longer_than_a_block_is_read(tmp_path: Path) -> None:
    long = "x" * (3 << 20)
    text = "a,b\n" + "1,short\n" * 200_000 + f"2,{long}\n" + "3,end\n"
    table, _ = read(written(tmp_path / "long.csv", text))
    assert table.num_rows == 200_002
    assert table["a"][-1].as_py() == "3"
    assert table["b"][200_000].as_py() == long


def test_text_over_two_gigabytes_is_read_in_batches(tmp_path: Path) -> None:
    # 22,000 times 100 kB in one row group: more than the 32-bit offsets of an Arrow array can address.
    value = pa.array(["y" * 100_000] * 100)
    with pq.ParquetWriter(tmp_path / "big.parquet", SCHEMA, use_dictionary=False, compression="lz4") as writer:
        writer.write_table(pa.table({"a": pa.chunked_array([value] * 220)}), row_group_size=22_000)
    work = tmp_path / "work"
    work.mkdir()
    opened = delivery.read(TableProcessing(kind="table"), [tmp_path / "big.parquet"], work)
    assert opened.rows == 22_000
    sizes = [(batch.num_rows, batch.nbytes) for batch in opened.batches]
    assert sum(count for count, _ in sizes) == 22_000
    assert sum(size for _, size in sizes) > 2**31
    assert max(size for _, size in sizes) < 64 << 20


def test_wkt_makes_geometry_and_leaves_the_attributes(tmp_path: Path) -> None:
    native = written(tmp_path / "w.csv", "id|shape\n1|POINT Z (-75 45 10)\n2|\n3|SRID=4326;LINESTRING (0 0, 1 1)\n")
    table, _ = read(native, kind="vector", geometry_wkt="shape")
    assert table.column_names == ["id", "__geometry__"]
    shapes = shapely.from_wkb(table["__geometry__"].to_numpy())
    assert [None if shape is None else shapely.to_wkt(shape, output_dimension=4) for shape in shapes] == [
        "POINT Z (-75 45 10)", None, "LINESTRING (0 0, 1 1)",
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"states SRID=4326, but the SRID of the data is 3347"):
        read(native, kind="vector", geometry_wkt="shape", crs="EPSG:3347")
    with pytest.raises(DataError, match=r"Column shape has values that are not Well-Known Text, .*: 'POINT 1 2'"):
        read(written(tmp_path / "x.csv", "shape,b\nPOINT 1 2,x\n"), kind="vector", geometry_wkt="shape")


def test_wds_and_census_zips_hold_one_table(fixtures: Path, tmp_path: Path) -> None:
    for name, count, width in (("33100036-eng", 90_086, 15), ("23100216-eng", 104_958, 16)):
        shutil.copy(fixtures / "08_statcan_wds" / f"{name}.zip", tmp_path)
        table, report = read(tmp_path / f"{name}.zip")
        assert (table.num_rows, table.num_columns, report["encoding"]) == (count, width, "utf-8")
    with zipfile.ZipFile(tmp_path / "98-401-X2021006_eng_CSV.zip", "w") as archive:
        data = "CENSUS_YEAR,GEO_NAME,C1_COUNT_TOTAL\n2021,Rivière-du-Loup,5\n".encode("cp1252")
        archive.writestr("98-401-X2021006_English_CSV_data_Quebec.csv", data)
        archive.writestr("98-401-X2021006_Geo_starting_row_Quebec.CSV", "Geo Code,Geo Name,Line Number\n")
        archive.writestr("98-401-X2021006_English_meta.txt", "about")
        archive.writestr("README_meta.txt", "about")
    assert rows(tmp_path / "98-401-X2021006_eng_CSV.zip") == [
        {"CENSUS_YEAR": "2021", "GEO_NAME": "Rivière-du-Loup", "C1_COUNT_TOTAL": "5"}
    ]


_PEAK = """
import resource, sys
from pathlib import Path
from d4c_pipeline.model.processing import TableProcessing
from d4c_pipeline.readers import delivery
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
native = delivery.read(TableProcessing(kind="table"), [Path(sys.argv[1])], Path(sys.argv[2]))
rows = sum(batch.num_rows for batch in native.batches)
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) // 1024)
assert not {"pyogrio", "pyproj", "shapely", "duckdb", "pandas"} & set(sys.modules), "a table wants none of these"
"""


def test_a_large_table_is_read_in_little_memory(tmp_path: Path) -> None:
    line = (
        '"2021-01","Québec","2016A000224","Total, all","12","Dollars","81","units","0","v1","1","123.4","","","",""\n'
    )
    with zipfile.ZipFile(tmp_path / "12345678-eng.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("12345678.csv", "w") as handle:
            handle.write(",".join(f'"c{n}"' for n in range(16)).encode() + b"\n")
            numbers = random.Random(1).choices(range(10**9), k=500_000)
            for start in range(0, 500_000, 25_000):
                handle.write("".join(line.replace("123.4", str(n)) for n in numbers[start : start + 25_000]).encode())
        archive.writestr("12345678_MetaData.csv", "about")
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, tmp_path / "12345678-eng.zip", tmp_path / "work"],
        env={**os.environ, "PYTHONPATH": str(Path(d4c_pipeline.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, grown = map(int, done.stdout.split())
    assert count == 500_000
    assert grown < 60, "MB, for 53 MB of text, of which whole columns would take more than 100"


# -- workbooks


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    """An XLSX with numbers, text, booleans, dates (style 1) and date-times (style 2)."""
    kinds = "http://schemas.openxmlformats.org"
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    main = f'xmlns="{kinds}/spreadsheetml/2006/main" xmlns:r="{kinds}/officeDocument/2006/relationships"'

    def cell(value: Any) -> str:
        match value:
            case None:
                return "<c/>"
            case bool():
                return f'<c t="b"><v>{int(value)}</v></c>'
            case int() | float():
                return f"<c><v>{value!r}</v></c>"
            case dt.datetime():
                return (
                    f'<c s="2"><v>{(value - dt.datetime.fromisoformat("1899-12-30")) / dt.timedelta(days=1)!r}</v></c>'
                )
            case dt.date():
                return f'<c s="1"><v>{(value - dt.date(1899, 12, 30)).days}</v></c>'
            case _:
                return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'

    numbers = range(1, len(sheets) + 1)
    types = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
        for n in numbers
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{kinds}/package/2006/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/xl/workbook.xml" ContentType='
        f'"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>{types}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{kinds}/package/2006/relationships"><Relationship Id="rId1" '
        f'Type="{kinds}/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f"<workbook {main}><sheets>"
        + "".join(
            f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in zip(numbers, sheets, strict=True)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{kinds}/package/2006/relationships">'
        + "".join(
            f'<Relationship Id="rId{n}" Type="{kinds}/officeDocument/2006/relationships/worksheet" '
            f'Target="worksheets/sheet{n}.xml"/>'
            for n in numbers
        )
        + f'<Relationship Id="rId99" Type="{kinds}/officeDocument/2006/relationships/styles" Target="styles.xml"/>'
        + "</Relationships>",
        "xl/styles.xml": f'<styleSheet {main}><cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="14"/>'
        '<xf numFmtId="22"/></cellXfs></styleSheet>',
    }
    for n, rows_of_sheet in zip(numbers, sheets.values(), strict=True):
        body = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows_of_sheet)
        parts[f"xl/worksheets/sheet{n}.xml"] = f"<worksheet {main}><sheetData>{body}</sheetData></worksheet>"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, head + text)
    return path


def test_cells_of_a_workbook_keep_their_types(tmp_path: Path) -> None:
    moment, later = dt.datetime.fromisoformat("2021-05-11T06:30"), dt.datetime.fromisoformat("2022-01-01")
    native = workbook(
        tmp_path / "b.xlsx",
        {
            "Données": [
                [None, None],
                ["id", "share", "day", "moment", "yes", "code", None, "mixed"],
                [1, 0.1 + 0.2, dt.date(2021, 5, 11), moment, True, "007", None, 2021],
                [2, 0.5, None, later, False, "..", None, "x"],
                [None] * 8,
            ],
            "empty": [],
        },
    )
    table, report = read(native, nulls=[".."])
    assert [str(kind) for kind in table.schema.types] == [
        "int64", "double", "date32[day]", "timestamp[us]", "bool", "string", "string",
    ]  # fmt: skip
    assert table.to_pylist() == [
        {"id": 1, "share": 0.3, "day": dt.date(2021, 5, 11), "moment": moment, "yes": True,
         "code": "007", "mixed": "2021"},
        {"id": 2, "share": 0.5, "day": None, "moment": later, "yes": False, "code": None,
         "mixed": "x"},
    ]  # fmt: skip
    assert report == {"sheet": "Données"}


def test_sheets_are_chosen_named_and_appended(tmp_path: Path) -> None:
    native = workbook(
        tmp_path / "b.xlsx", {"2020": [["n"], [1]], "2021": [["n", "m"], [2.5, "x"]], "notes": [["text"]]}
    )
    with pytest.raises(DataError, match=r"b\.xlsx has 3 sheets: 2020, 2021, notes\. Declare the sheet"):
        rows(native)
    with pytest.raises(DataError, match=r"b\.xlsx has no sheet 2019; it has 2020, 2021, notes"):
        rows(native, layer="2019")
    assert rows(native, layer="2020") == [{"n": 1}]
    assert rows(native, layer="202?", append=True, origin_column="sheet") == [
        {"n": 1.0, "sheet": "2020", "m": None},
        {"n": 2.5, "sheet": "2021", "m": "x"},
    ]
    with pytest.raises(DataError, match=r"Sheet notes of b\.xlsx has no rows"):
        rows(native, layer="notes")


def test_a_broken_workbook_is_refused(tmp_path: Path) -> None:
    native = workbook(tmp_path / "b.xlsx", {"a": [["n"], [1]]})
    os.truncate(native, native.stat().st_size // 2)
    with pytest.raises(DataError, match=r"b\.xlsx can't be read"):
        rows(native)


# -- JSON


@pytest.mark.parametrize("name", ["rows.json", "rows.ndjson"])
def test_json_rows_keep_types_and_nesting(tmp_path: Path, name: str) -> None:
    objects = [
        '{"id": 1, "share": 1, "name": "Québec", "on": true, "mixed": 1, "tags": {"fr": ["é", 2]}, "big": BIG}',
        '{"share": 0.25, "id": 2, "name": null, "on": false, "mixed": "b", "late/r~": "x", "big": 7}',
    ]
    objects[0] = objects[0].replace("BIG", BIG)
    text = "[" + ",\n".join(objects) + "]" if name.endswith(".json") else "\n".join(objects)
    table, _ = read(written(tmp_path / name, text))
    assert table.column_names == ["id", "share", "name", "on", "mixed", "tags", "big", "late/r~"]
    assert table.to_pylist() == [
        {"id": 1, "share": 1.0, "name": "Québec", "on": True, "mixed": "1", "tags": '{"fr":["é",2]}',
         "big": BIG, "late/r~": None},
        {"id": 2, "share": 0.25, "name": None, "on": False, "mixed": "b", "tags": None, "big": "7", "late/r~": "x"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, 2]', "has a value that is not an object: 2"),
        ('[{"a": 1}, {"a":', "rows.json can't be read as JSON"),
        ('[{"a": 1}, {"a": "\udce9"}]', "rows.json can't be read as JSON"),
        ("[]", "rows.json has no rows"),
        ("{", "rows.json can't be read as JSON"),
    ],
)
def test_json_without_a_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rows.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=message) as refusal:
        rows(tmp_path / "rows.json")
    assert str(tmp_path) not in str(refusal.value)


def test_geojson_as_a_table_has_its_properties(tmp_path: Path) -> None:
    text = '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"n": 1}, "geometry": null}]}'
    assert rows(written(tmp_path / "f.json", text)) == [{"n": 1}]


def test_json_lines_of_open_canada(fixtures: Path, tmp_path: Path) -> None:
    shutil.copy(fixtures / "10_ckan_open_canada" / "statcan_daily_2017_packages.jsonl", tmp_path)
    table, _ = read(tmp_path / "statcan_daily_2017_packages.jsonl")
    assert table.num_rows == 4
    assert table["num_resources"].type == pa.int64()
    assert pc.all(pc.starts_with(table["title_translated"], '{"')).as_py()


# -- DBF


@pytest.mark.parametrize(
    ("name", "count", "column", "value", "encoding"),
    [
        ("lcsd000b16a_e.dbf", 5162, "CSDNAME", "Montréal", "cp1252"),
        ("lfed000a16a_e.dbf", 338, "FEDFNAME", "Montmagny--L'Islet--Kamouraska--Rivière-du-Loup", "cp1252"),
        ("lcd_000b16a_e.dbf", 293, "CDNAME", "La Vallée-du-Richelieu", "cp1252"),
        ("FED_CA_2023_EN.dbf", 343, "FED_NAMEE", None, "utf-8"),
        ("lfsa000b21a_e.dbf", 1643, "PRNAME", "Quebec / Québec", "cp1252"),
    ],
)
def test_dbf_tables_of_statistics_canada(
    fixtures: Path, tmp_path: Path, name: str, count: int, column: str, value: str | None, encoding: str
) -> None:
    for path in (fixtures / "09_statcan_dbf_encodings").glob(f"{name[:-4]}.*"):
        shutil.copy(path, tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    opened = delivery.read(TableProcessing(kind="table"), sorted(tmp_path.glob(f"{name[:-4]}.*")), work)
    table, _ = opened.collect()
    assert (table.num_rows, opened.report["encoding"]) == (count, encoding)
    if value is not None:
        assert value in table[column].to_pylist()
    else:
        accented = [v for v in table.column(1).to_pylist() + table.column(2).to_pylist() if v and "é" in str(v)]
        assert accented
