"""Reading workbooks: titles, notes and merged cells around a table, and values of cells that calamine drops.

Sheets are written as XML, so that each test shows the exact content of the file.
"""

from __future__ import annotations

import datetime as dt
import struct
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xlwt
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing
from d4c_pipeline.readers import delivery, sheet_biff, sheet_columns, sheet_xml

NS = "http://schemas.openxmlformats.org"
MAIN = f'xmlns="{NS}/spreadsheetml/2006/main" xmlns:r="{NS}/officeDocument/2006/relationships"'
# Styles by number: 1 date, 2 hours beyond 24, 3 five digits, 4 percent, 5 time.
FORMATS = ("General", "yyyy\\-mm\\-dd", "[h]:mm:ss", "00000", "0.0%", "h:mm:ss", '0.0" days"')


def xlsx(path: Path, *rows: str, merged: str = "", head: str = "", calc: str = "", **other: str) -> Path:
    """Write a workbook with a sheet `Data` of these rows, and `other` ones by name (the one called Hidden is hidden).

    A row is the XML of its cells; attributes and a colon may stand before.
    """
    body = "".join(
        f"<row {row.replace(':', '>', 1)}</row>" if row.startswith("r=") else f'<row r="{number}">{row}</row>'
        for number, row in enumerate(rows, 1)
    )
    ranges = "".join(f'<mergeCell ref="{each}"/>' for each in merged.split())
    merge = f"<mergeCells>{ranges}</mergeCells>" if merged else ""
    sheets = {"Data": f"<worksheet {MAIN}>{head}<sheetData>{body}</sheetData>{merge}</worksheet>"}
    sheets |= {name: f"<worksheet {MAIN}><sheetData>{row}</sheetData></worksheet>" for name, row in other.items()}
    states = {"Hidden": 'state="hidden" '}
    named = "".join(
        f'<sheet name="{name}" sheetId="{n}" {states.get(name, "")}r:id="rId{n}"/>' for n, name in enumerate(sheets, 1)
    )
    relation = f'Type="{NS}/officeDocument/2006/relationships'
    targets = "".join(
        f'<Relationship Id="rId{n}" {relation}/worksheet" Target="worksheets/s{n}.xml"/>'
        for n, _ in enumerate(sheets, 1)
    )
    codes = enumerate(code.replace('"', "&quot;") for code in FORMATS)
    formats = "".join(f'<numFmt numFmtId="{164 + n}" formatCode="{code}"/>' for n, code in codes)
    styles = "".join(f'<xf numFmtId="{164 + n}"/>' for n in range(len(FORMATS)))
    relations = f'<Relationships xmlns="{NS}/package/2006/relationships">'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{NS}/package/2006/content-types"/>',
        "_rels/.rels": f'{relations}<Relationship Id="a" {relation}/officeDocument" Target="xl/workbook.xml"/>'
        "</Relationships>",
        "xl/workbook.xml": f"<workbook {MAIN}><sheets>{named}</sheets>{calc}</workbook>",
        "xl/_rels/workbook.xml.rels": f"{relations}{targets}"
        f'<Relationship Id="b" {relation}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f"<styleSheet {MAIN}><numFmts>{formats}</numFmts><cellXfs>{styles}</cellXfs></styleSheet>",
    }
    parts |= {f"xl/worksheets/s{n}.xml": text for n, text in enumerate(sheets.values(), 1)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, f'<?xml version="1.0"?>{text}')
    return path


def cells(row: int, *values: Any) -> str:
    """The XML of a row: texts, numbers, booleans, None for an empty cell, and XML as it is (its `@` the reference)."""
    out = ""
    for column, value in enumerate(values):
        at = sheet_xml.reference((row - 1, column))
        match value:
            case None:
                pass
            case bool():
                out += f'<c r="{at}" t="b"><v>{int(value)}</v></c>'
            case int() | float():
                out += f'<c r="{at}"><v>{value!r}</v></c>'
            case str() if value.startswith("<"):
                out += value.replace("@", at)
            case _:
                out += f'<c r="{at}" t="inlineStr"><is><t>{value}</t></is></c>'
    return out


def sheet(path: Path, *rows: list[Any], **options: str) -> Path:
    return xlsx(path, *(cells(number, *row) for number, row in enumerate(rows, 1)), **options)


def read(native: Path, **processing: Any) -> tuple[pa.Table, dict[str, Any]]:
    work = native.parent / f"work-{len(list(native.parent.iterdir()))}"
    work.mkdir()
    opened = delivery.read(TableProcessing.model_validate({"kind": "table", **processing}), [native], work)
    return pa.Table.from_batches(opened.batches, opened.schema), opened.report


# -- numbers


def number(raw: str, style: int = 0) -> str:
    return f'<c r="@" s="{style}"><v>{raw}</v></c>'


@pytest.mark.parametrize(
    ("raw", "kind", "expected"),
    [
        (["1234567890123456", "1234567890123457"], "int64", [1234567890123456, 1234567890123457]),
        (["9007199254740993", "1"], "int64", [9007199254740993, 1]),
        (["123456789012345678", "1"], "int64", [123456789012345678, 1]),
        (["12345678901234567891", "7"], "string", ["12345678901234567891", "7"]),
        (["9007199254740993", "0.5"], "string", ["9007199254740993", "0.5"]),
        (["0.30000000000000004", "1"], "double", [0.3, 1.0]),
        (["45.50884012345678", "-73.58781012345679"], "double", [45.50884012345678, -73.58781012345679]),
        (["1E-3", "-5.0"], "double", [0.001, -5.0]),
        (["6.02E+23", "1.5"], "double", [6.02e23, 1.5]),
        (["1000000000000", "1E3"], "int64", [10**12, 1000]),
    ],
)
def test_numbers_equal_the_text_of_the_file(tmp_path: Path, raw: list[str], kind: str, expected: list[Any]) -> None:
    native = sheet(tmp_path / "n.xlsx", ["v"], *([number(each)] for each in raw))
    table, _ = read(native)
    assert (str(table.schema.field("v").type), table["v"].to_pylist()) == (kind, expected)


@pytest.mark.parametrize("raw", [["1.23456789012345E+17", "5"], ["1234567890123450", "1234567890123460"], ["1E+20"]])
def test_identifiers_that_a_spreadsheet_rounded_are_refused(tmp_path: Path, raw: list[str]) -> None:
    native = sheet(tmp_path / "n.xlsx", ["id", "x"], *([number(each), "a"] for each in raw))
    with pytest.raises(
        DataError, match=r"Column id has whole numbers of more than 15 digits.*in cell A2.*declare a type"
    ):
        read(native)
    table, _ = read(native, columns={"id": {"type": "float"}})
    assert [float(value) for value in table["id"].to_pylist()] == [float(each) for each in raw]


def test_leading_zeros_of_a_number_format_are_kept(tmp_path: Path) -> None:
    native = sheet(tmp_path / "z.xlsx", ["code", "n"], [number("123", 3), 1], [number("70123", 3), 2])
    assert read(native)[0].to_pylist() == [{"code": "00123", "n": 1}, {"code": "70123", "n": 2}]


def test_numbers_that_mean_no_value_are_null_in_columns_of_numbers(tmp_path: Path) -> None:
    native = sheet(tmp_path / "n.xlsx", ["a", "b", "c"], [-9999, -9999.0, ".."], [1, 0.5, 7], [-99.5, 1, 8])
    table, _ = read(native, nulls=["-9999", "-99.5", ".."])
    assert table.to_pylist() == [
        {"a": None, "b": None, "c": None}, {"a": 1, "b": 0.5, "c": 7}, {"a": None, "b": 1.0, "c": 8},
    ]  # fmt: skip
    assert [str(kind) for kind in table.schema.types] == ["int64", "double", "int64"]


# -- formulas and errors


@pytest.mark.parametrize(
    "cell",
    [
        '<c r="@"><f>A2+1</f><v></v></c>', '<c r="@"><f>A2+1</f><v/></c>', '<c r="@"><f>A2+1</f></c>',
        '<c r="@"><f t="shared" si="0"/></c>', '<c r="@" s="1"><f ca="1">TODAY()</f> <v> </v></c>',
    ],
)  # fmt: skip
def test_a_formula_that_was_never_calculated_is_refused(tmp_path: Path, cell: str) -> None:
    native = sheet(tmp_path / "f.xlsx", ["a", "b"], [1, 2], [3, cell])
    with pytest.raises(DataError, match=r"1 cells with a formula without a calculated value, such as B3 \(="):
        read(native)


def test_a_row_of_formulas_only_is_kept(tmp_path: Path) -> None:
    native = sheet(tmp_path / "f.xlsx", ["a", "b"], [1, 2], ['<c r="@"><f>A2+1</f></c>', '<c r="@"><f>B2+1</f></c>'])
    with pytest.raises(DataError, match="2 cells with a formula without a calculated value, such as A3"):
        read(native)
    native = sheet(tmp_path / "e.xlsx", ["a", "b"], [1, 2], ['<c r="@" t="e"><v>#REF!</v></c>'])
    with pytest.raises(DataError, match=r"1 cells with an error, such as #REF! in A3"):
        read(native)


def test_a_value_that_the_writing_program_left_at_zero_is_refused(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["a", "b"], [1, '<c r="@"><f>A2*2</f><v>0</v></c>']]
    calculated = sheet(tmp_path / "c.xlsx", *rows)
    assert read(calculated)[0].to_pylist() == [{"a": 1, "b": 0}]
    dirty = sheet(tmp_path / "d.xlsx", *rows, calc='<calcPr calcId="124519" fullCalcOnLoad="1"/>')
    with pytest.raises(DataError, match=r"without a calculated value, such as B2 \(=A2\*2\)"):
        read(dirty)


def test_formulas_with_values_are_read(tmp_path: Path) -> None:
    row = [
        '<c r="@"><f>1+1</f><v>2</v></c>',
        '<c r="@" t="str"><f>""</f><v></v></c>',
        '<c r="@" t="str"><f>A1</f><v>x</v></c>',
    ]
    native = sheet(tmp_path / "f.xlsx", ["a", "b", "c"], row, [3, "y", "z"])
    assert read(native)[0].to_pylist() == [{"a": 2, "b": None, "c": "x"}, {"a": 3, "b": "y", "c": "z"}]


def test_error_values_are_refused_or_declared(tmp_path: Path) -> None:
    rows = [
        ["a", "b"],
        ["x", '<c r="@" t="e"><v>#N/A</v></c>'],
        ["y", 2],
        ["z", '<c r="@" t="e"><f>1/0</f><v>#DIV/0!</v></c>'],
    ]
    native = sheet(tmp_path / "e.xlsx", *rows)
    with pytest.raises(DataError, match=r"2 cells with an error, such as #N/A in B2.*nulls: \['#DIV/0!', '#N/A'\]"):
        read(native)
    with pytest.raises(DataError, match=r"1 cells with an error, such as #DIV/0! in B4"):
        read(native, nulls=["#N/A"])
    table, _ = read(native, nulls=["#N/A", "#DIV/0!"])
    assert table["b"].to_pylist() == [None, 2, None]
    assert table.schema.field("b").type == pa.int64()


# -- dates, times, booleans


def test_dates_and_durations_are_not_rolled(tmp_path: Path) -> None:
    row = [
        number("44323", 1),
        number("1.1041666666666667", 2),
        number("0.25", 5),
        number("0.155", 4),
        number("3", 6),
        True,
    ]
    native = sheet(tmp_path / "d.xlsx", ["day", "length", "time", "share", "days", "yes"], row)
    assert read(native)[0].to_pylist() == [
        {"day": dt.date(2021, 5, 7), "length": "26:30:00", "time": "06:00:00", "share": 0.155, "days": 3, "yes": True}
    ]
    epoch = sheet(tmp_path / "m.xlsx", ["day", "n"], [number("42861", 1), 1])
    with zipfile.ZipFile(epoch) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["xl/workbook.xml"] = parts["xl/workbook.xml"].replace(b"<sheets>", b'<workbookPr date1904="1"/><sheets>')
    with zipfile.ZipFile(epoch, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    assert read(epoch)[0]["day"].to_pylist() == [dt.date(2021, 5, 7)]


def test_the_day_that_only_excel_has_is_refused(tmp_path: Path) -> None:
    days = [number(each, 1) for each in ("1", "59", "61")]
    native = sheet(tmp_path / "a.xlsx", ["day", "n"], *([day, 60] for day in days))
    assert read(native)[0]["day"].to_pylist() == [dt.date(1900, 1, 1), dt.date(1900, 2, 28), dt.date(1900, 3, 1)]
    native = sheet(tmp_path / "b.xlsx", ["day", "n"], [days[0], 60], [number("60", 1), 1])
    with pytest.raises(DataError, match="29 February 1900 in cell A3"):
        read(native)


def test_dates_beside_text_and_booleans_in_words_are_text(tmp_path: Path) -> None:
    native = sheet(tmp_path / "t.xlsx", ["day", "open"], [number("44323", 1), "Oui"], ["unknown", "Non"], ["x", "Non"])
    assert read(native)[0].to_pylist()[:2] == [{"day": "2021-05-07", "open": "Oui"}, {"day": "unknown", "open": "Non"}]


# -- titles, names, notes, merged cells

PROVINCES: list[list[Any]] = [["Province", "Dwellings", "Rate"], ["Quebec", 100, 1.5], ["Ontario", 200, 2.5]]
EXPECTED = [
    {"Province": "Quebec", "Dwellings": 100, "Rate": 1.5},
    {"Province": "Ontario", "Dwellings": 200, "Rate": 2.5},
]


@pytest.mark.parametrize("merged", ["", "A1:C1"])
def test_a_title_is_not_a_row_of_names(tmp_path: Path, merged: str) -> None:
    native = sheet(tmp_path / "t.xlsx", ["Table 1: Dwellings"], *PROVINCES, merged=merged)
    with pytest.raises(DataError, match=r"'Table 1: Dwellings'.*header_row: 2 \(Province, Dwellings, Rate\)"):
        read(native)
    assert read(native, header_row=2)[0].to_pylist() == EXPECTED


def test_notes_below_are_dropped_if_declared(tmp_path: Path) -> None:
    native = sheet(tmp_path / "n.xlsx", *PROVINCES, [None], ["Source: Example"], ["x = suppressed"])
    with pytest.raises(
        DataError, match=r"Row 5 of .* looks like a note under the table: 'Source: Example'.*footer_rows: 2"
    ):
        read(native)
    table, report = read(native, footer_rows=2)
    assert table.to_pylist() == EXPECTED
    assert (report["footer_rows"], report["footer"]) == (2, ["Source: Example", "x = suppressed"])
    assert read(native, footer_rows=0)[0].num_rows == 4


def test_names_that_a_printed_sheet_repeats_on_each_page_are_no_row(tmp_path: Path) -> None:
    native = sheet(tmp_path / "p.xlsx", *PROVINCES[:2], ["Province ", "Dwellings", "Rate"], *PROVINCES[2:])
    with pytest.raises(
        DataError, match=r"Row 3 of .* repeats the names .*'Province, Dwellings, Rate'.*repeated_header: drop"
    ):
        read(native)
    table, report = read(native, repeated_header="drop")
    assert table.to_pylist() == EXPECTED
    assert report["repeated_headers"] == 1
    assert read(native, repeated_header="keep")[0]["Dwellings"].to_pylist() == ["100", "Dwellings", "200"]


@pytest.mark.parametrize(
    ("rows", "is_data"),
    [
        ([["a", "b"], ["x", 1], ["Nunavut", None]], True),
        ([["a", "b"], ["x", 1], ["Note: rounded", None]], False),
        ([["a", "b"], ["x", 1], ["* estimated", None]], False),
        ([["a", "b"], ["x", 1], [None], ["Nunavut", None]], False),
        ([["a", "b"], ["x", 1], ["Grand total", 1]], False),
        ([["a", "b"], ["x", 1], ["Total - Sex", 1]], True),
        ([["a"], ["x"], ["Note: a name"]], True),
        ([["a", "b", "c"], ["x", None, None], ["y", None, None]], True),
        ([["a", "b", "c"], ["x", 1, 2], [None, 5, None]], True),
    ],
)
def test_a_row_of_few_values_is_data_unless_it_looks_like_a_note(tmp_path: Path, rows: Any, is_data: bool) -> None:
    native = sheet(tmp_path / "n.xlsx", *rows)
    if is_data:
        assert read(native)[0].num_rows == len(rows) - 1
    else:
        with pytest.raises(DataError, match="looks like"):
            read(native)


def test_two_rows_of_names_need_a_declaration(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["Region", 2020, None, 2021, None], [None, "M", "F", "M", "F"], ["x", 1, 2, 3, 4]]
    rows += [["y", 5, 6, 7, 8]]
    with pytest.raises(DataError, match=r"B1:C1 is merged \('2020'\)\. Declare.*header_row: 2 \(M, F, M, F\)"):
        read(sheet(tmp_path / "a.xlsx", *rows, merged="B1:C1 D1:E1"))
    with pytest.raises(DataError, match=r"Row 1 of .* names 3 of 5 columns \('Region', '2020', '2021'\)"):
        read(sheet(tmp_path / "b.xlsx", *rows))
    native = sheet(tmp_path / "c.xlsx", *rows, merged="A1:A2 B1:C1 D1:E1")
    table, report = read(native, header_row=2)
    assert table.column_names == ["Region", "M", "F", "M_2", "F_2"]
    assert "unnamed_columns" not in report
    units = sheet(tmp_path / "d.xlsx", ["name", "length"], [None, "km"], ["a", 1], ["b", 2])
    with pytest.raises(
        DataError, match=r"Row 2 of .* has 'km' where all rows below have numbers.*header_row: 1 if it is"
    ):
        read(units)
    assert read(units, header_row=1)[0].num_rows == 3


def test_data_in_the_first_row_is_not_taken_for_names(tmp_path: Path) -> None:
    native = sheet(tmp_path / "h.xlsx", ["x", 1.5, True], ["y", 2.5, False])
    with pytest.raises(DataError, match=r"Row 1 of .* has '1\.5' in place of a column name"):
        read(native)
    assert read(native, header=["a", "b", "c"])[0].num_rows == 2
    years = sheet(tmp_path / "y.xlsx", ["Region", 2020, 2021], ["x", 1, 2])
    assert read(years)[0].to_pylist() == [{"Region": "x", "2020": 1, "2021": 2}]


def test_a_column_without_a_name_is_numbered_and_reported(tmp_path: Path) -> None:
    native = sheet(tmp_path / "i.xlsx", [None, "b", "c"], [0, 1, 2], [1, 3, 4])
    table, report = read(native)
    assert table.column_names == ["column_1", "b", "c"]
    assert report["unnamed_columns"] == ["column_1"]


def test_merged_cells_in_the_data_are_filled_or_refused(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["p", "q", "v"], ["ON", "a", 1], [None, "b", 2], ["QC", "c", 3]]
    native = sheet(tmp_path / "m.xlsx", *rows, merged="A2:A3")
    with pytest.raises(DataError, match=r"merged cells in its data: A2:A3 \('ON'\)\. Declare processing\.merged: fill"):
        read(native)
    table, report = read(native, merged="fill")
    assert table["p"].to_pylist() == ["ON", "ON", "QC"]
    assert report["merged_cells_filled"] == 1


# -- sheets


def test_hidden_rows_columns_and_sheets_are_reported(tmp_path: Path) -> None:
    rows = [cells(1, "a", "b"), f'r="2" hidden="1":{cells(2, 1, 2)}', cells(3, 3, 4)]
    head = '<cols><col min="2" max="2" hidden="1"/></cols>'
    native = xlsx(tmp_path / "h.xlsx", *rows, head=head, Hidden=f'<row r="1">{cells(1, "q")}</row>')
    table, report = read(native)
    assert table.to_pylist() == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert report == {"sheet": "Data", "hidden_rows": 1, "hidden_columns": ["b"]}
    with pytest.raises(DataError, match=r"Sheet Hidden of .* has no rows"):
        read(native, layer="Hidden")


def test_a_far_cell_takes_no_memory(tmp_path: Path) -> None:
    far = 'r="1048576":<c r="XFD1048576"><v>1</v></c>'
    native = xlsx(tmp_path / "f.xlsx", cells(1, "a", "b"), far)
    with pytest.raises(
        DataError, match=r"spans 1,048,576 rows and 16,384 columns.* in 3 cells: .* \(the last cell is XFD1048576\)"
    ):
        read(native)
    # A format without a value does not count, and a table may be long.
    styled = 'r="1048576":<c r="XFD1048576" s="1"/>'
    empty = xlsx(tmp_path / "e.xlsx", cells(1, "a", "b"), cells(2, 1, 2), styled)
    assert read(empty)[0].to_pylist() == [{"a": 1, "b": 2}]
    long = xlsx(
        tmp_path / "l.xlsx", cells(1, "a", "b"), 'r="500000":<c r="A500000"><v>1</v></c><c r="B500000"><v>2</v></c>'
    )
    assert read(long)[0].to_pylist() == [{"a": 1, "b": 2}]


def test_the_bytes_of_a_file_decide_its_kind(tmp_path: Path) -> None:
    native = sheet(tmp_path / "a.xls", ["a"], [1])
    assert read(native)[0].to_pylist() == [{"a": 1}]
    text = tmp_path / "b.xls"
    text.write_text("a\tb\n1\t2\n")
    assert read(text)[0].to_pylist() == [{"a": "1", "b": "2"}]
    page = tmp_path / "c.xls"
    page.write_text('<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>')
    with pytest.raises(DataError, match=r"XML or HTML with the suffix of a workbook.*save it as XLSX"):
        read(page)
    other = tmp_path / "d.xlsx"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.csv", "a,b\n")
    with pytest.raises(DataError, match=r"d\.xlsx is a zip file, but not a workbook"):
        read(other)


def test_prefixes_of_elements_change_nothing(tmp_path: Path) -> None:
    native = sheet(tmp_path / "p.xlsx", ["a", "b"], [number("9007199254740993"), '<c r="@"><f>1</f><v/></c>'])
    with zipfile.ZipFile(native) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    text = parts["xl/worksheets/s1.xml"].replace("<", "<x:").replace("<x:/", "</x:").replace("<x:?xml", "<?xml")
    parts["xl/worksheets/s1.xml"] = text.replace("xmlns=", "xmlns:x=")
    with zipfile.ZipFile(native, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    found = sheet_xml.inspect(native, "Data")
    assert (found.digits, found.formulas) == ({(1, 0): "9007199254740993"}, {(1, 1): "=1"})


def test_per_cent_beside_plain_numbers_is_refused(tmp_path: Path) -> None:
    names, share = ["place", "share"], number("0.5", 4)
    native = sheet(tmp_path / "a.xlsx", names, ["a", share], ["b", 50])
    with pytest.raises(DataError, match=r"Column share has 1 numbers .* and 1 above 1 .*such as 50 in cell B3"):
        read(native)
    declared = {"share": {"type": "float"}}
    assert read(native, columns=declared)[0]["share"].to_pylist() == [0.5, 50]
    # A year as a name above, a plain zero, and rates above 100 % are no contradiction.
    native = sheet(tmp_path / "b.xlsx", ["place", 2019], ["a", number("1.2", 4)], ["b", 2], ["c", 0])
    assert read(native)[0]["2019"].to_pylist() == [1.2, 2, 0]


# -- other formats


def old(path: Path, rows: list[list[Any]], formats: list[str], hidden: int | None = None) -> Path:
    """Write an XLS by xlwt; `formats`: of the columns below the first row; `hidden`: index of a row and column."""
    book = xlwt.Workbook()
    made = book.add_sheet("Data")
    styles = [xlwt.easyxf(num_format_str=each) for each in formats]
    for row, cells_ in enumerate(rows):
        for column, cell in enumerate(cells_):
            made.write(row, column, cell, styles[column] if row else xlwt.easyxf())
    if hidden is not None:
        made.row(hidden).hidden = made.col(hidden).hidden = True
    book.save(str(path))
    return path


def test_the_old_format_says_what_the_new_one_says(tmp_path: Path) -> None:
    formats = ["00000", "yyyy-mm-dd", "[h]:mm:ss", r"000\-000", "0%"]
    names = ["code", "day", "length", "phone", "share"]
    native = old(tmp_path / "a.xls", [names, [7, 61, 1.5, 12345, 0.25], [12345.0, 59, 0.5, 1, 1]], formats, 1)
    table, report = read(native)
    assert table.to_pylist() == [
        {"code": "00007", "day": dt.date(1900, 3, 1), "length": "36:00:00", "phone": "012345", "share": 0.25},
        {"code": "12345", "day": dt.date(1900, 2, 28), "length": "12:00:00", "phone": "000001", "share": 1},
    ]
    assert (report["hidden_rows"], report["hidden_columns"]) == (1, ["day"])
    native = old(tmp_path / "b.xls", [["n", "day"], [1, 59], [2, 60]], ["0", "yyyy-mm-dd"])
    with pytest.raises(DataError, match="29 February 1900 in cell B3"):
        read(native)
    native = old(tmp_path / "c.xls", [["n", "day"], [1, 59], [-2, -0.5]], ["0", "yyyy-mm-dd"])
    with pytest.raises(DataError, match="negative number with the format of a date in cell B3"):
        read(native)
    native = old(tmp_path / "d.xls", [["n", "share"], [1, 0.5]], ["0", "0.0%"])
    assert read(native)[0]["share"].to_pylist() == [0.5]


def test_a_negative_date_is_no_time_of_day(tmp_path: Path) -> None:
    native = sheet(tmp_path / "n.xlsx", ["day", "n"], [number("44323", 1), 1], [number("-5.25", 1), -1])
    with pytest.raises(DataError, match="negative number with the format of a date in cell A3"):
        read(native)
    hours = sheet(tmp_path / "t.xlsx", ["time", "n"], [number("0", 5), -1])
    assert read(hours)[0].to_pylist() == [{"time": "00:00:00", "n": -1}]


@pytest.mark.parametrize(
    ("code", "digits"),
    [
        ("00000", 5),
        ('"ID-"00000', 5),
        (r"000\ 000\ 000", 9),
        ("[$-1009]00000", 5),
        ("00000;-00000", 5),
        ('"00000"', 5),
        ("0", 0),
        ("00.00", 0),
        ("#,##00", 0),
        ("00%", 0),
        ("mm/dd", 0),
        ("00E+00", 0),
    ],
)
def test_formats_with_leading_zeros(code: str, digits: int) -> None:
    assert sheet_xml.leading_zeros(code) == digits


def ods(path: Path, *rows: str) -> Path:
    """Write an OpenDocument sheet of these rows (XML of cells, where `c` is a cell and `p` its text)."""
    spaces = " ".join(
        f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{prefix}:1.0"' for prefix in ("office", "table", "text")
    )
    body = "".join(
        row if row.startswith("<table:table-row") else f"<table:table-row>{row}</table:table-row>" for row in rows
    )
    text = (
        f'<office:document-content {spaces} xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:'
        f'calcext:1.0"><office:body><office:spreadsheet><table:table table:name="Data">{body}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", text)
        manifest = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
        archive.writestr("META-INF/manifest.xml", f'<m:manifest xmlns:m="{manifest}"/>')
    return path


def of_text(text: str, more: str = "") -> str:
    return f'<table:table-cell office:value-type="string" {more}><text:p>{text}</text:p></table:table-cell>'


def of_number(raw: str, more: str = "") -> str:
    return f'<table:table-cell office:value-type="float" office:value="{raw}" {more}/>'


NAMES = of_text("a") + of_text("b")
REPEATED = 'table:number-columns-repeated="2"'


def test_open_documents_are_inspected_too(tmp_path: Path) -> None:
    time = '<table:table-cell office:value-type="time" office:time-value="PT26H30M05S"/>'
    native = ods(tmp_path / "a.ods", NAMES, of_number("9007199254740993") + time, of_number("1") + time)
    assert read(native)[0].to_pylist() == [{"a": 9007199254740993, "b": "26:30:05"}, {"a": 1, "b": "26:30:05"}]
    with pytest.raises(DataError, match=r"more than 15 digits.*in cell A2"):
        read(ods(tmp_path / "b.ods", NAMES, of_number("1.23456789012345E+17") + of_text("x")))
    formula = '<table:table-cell table:formula="of:=[.A2]*2"/>'
    with pytest.raises(DataError, match=r"without a calculated value, such as B2 \(=\[\.A2\]\*2\)"):
        read(ods(tmp_path / "c.ods", NAMES, of_number("1") + formula))
    error = of_text("#N/A", 'table:formula="of:=NA()" calcext:value-type="error"')
    native = ods(tmp_path / "d.ods", NAMES, of_number("1") + error, of_number("2") + of_number("3"))
    with pytest.raises(DataError, match="error, such as #N/A in B2"):
        read(native)
    assert read(native, nulls=["#N/A"])[0]["b"].to_pylist() == [None, 3]
    assert read(native, columns={"b": {"nulls": ["#N/A"]}})[0].num_rows == 2
    tall = of_text("x", 'table:number-rows-spanned="2" table:number-columns-spanned="1"')
    native = ods(tmp_path / "e.ods", NAMES, tall + of_number("1"), "<table:covered-table-cell/>" + of_number("2"))
    with pytest.raises(DataError, match=r"merged cells in its data: A2:A3"):
        read(native)
    assert read(native, merged="fill")[0]["a"].to_pylist() == ["x", "x"]


def test_texts_of_open_documents_are_whole(tmp_path: Path) -> None:
    comment = "<office:annotation><text:p>a comment</text:p></office:annotation>"
    rows = [
        of_text("x<text:tab/>y") + of_text("x<text:line-break/>y"),
        of_text("x\n    y") + of_text('x<text:s text:c="2"/>y'),
        f'<table:table-cell office:value-type="string">{comment}<text:p>x<text:tab/></text:p><text:p>y</text:p>'
        "</table:table-cell>" + of_text("<text:span>x</text:span><text:tab/>z", 'table:number-columns-repeated="1"'),
    ]
    assert read(ods(tmp_path / "a.ods", NAMES, *rows))[0].to_pylist() == [
        {"a": "x\ty", "b": "x\ny"},
        {"a": "x y", "b": "x  y"},
        {"a": "x\t\ny", "b": "x\tz"},
    ]
    again = f'<table:table-row table:number-rows-repeated="2">{of_text("x<text:tab/>y", REPEATED)}</table:table-row>'
    assert read(ods(tmp_path / "b.ods", NAMES, again))[0].to_pylist() == [{"a": "x\ty", "b": "x\ty"}] * 2


def test_cells_of_open_documents_that_calamine_drops(tmp_path: Path) -> None:
    shown = '<table:table-cell office:value-type="float" office:value="7"><text:p>00007</text:p></table:table-cell>'
    hidden = '<table:table-column/><table:table-column table:visibility="collapse"/>'
    native = ods(
        tmp_path / "a.ods", NAMES, f'<table:table-row table:visibility="filter">{shown}{shown}</table:table-row>'
    )
    with zipfile.ZipFile(native) as archive:
        content = archive.read("content.xml").replace(b'table:name="Data">', f'table:name="Data">{hidden}'.encode())
    with zipfile.ZipFile(native, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(
            "META-INF/manifest.xml", '<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
        )
        archive.writestr("content.xml", content)
    table, report = read(native)
    assert table.to_pylist() == [{"a": "00007", "b": "00007"}]
    assert (report["hidden_rows"], report["hidden_columns"]) == (1, ["b"])
    bare = '<table:table-cell office:value-type="float"><text:p>5</text:p></table:table-cell>'
    with pytest.raises(
        DataError, match=r"1 cells that can't be read, such as B2 \(a float without a value, shown as '5'"
    ):
        read(ods(tmp_path / "b.ods", NAMES, of_number("1") + bare))
    row = f"<table:table-row>{of_text('x')}</table:table-row>"
    inner = f'<table:table-cell><table:table table:is-sub-table="true">{row}</table:table></table:table-cell>'
    with pytest.raises(DataError, match=r"such as A2 \(a table in the cell\)"):
        read(ods(tmp_path / "c.ods", NAMES, inner + of_number("1"), of_number("2") + of_number("3")))
    share = '<table:table-cell office:value-type="percentage" office:value="0.5"/>'
    with pytest.raises(DataError, match="such as 50 in cell B3"):
        read(ods(tmp_path / "d.ods", NAMES, of_number("1") + share, of_number("2") + of_number("50")))


def test_a_far_cell_of_an_open_document_takes_no_memory(tmp_path: Path) -> None:
    empty = '<table:table-row table:number-rows-repeated="1048000"><table:table-cell/></table:table-row>'
    ends = '<table:table-cell table:number-columns-repeated="16000"/>'
    far = ods(tmp_path / "f.ods", NAMES, empty, ends + of_number("1"))
    with pytest.raises(DataError, match=r"spans 1,048,002 rows and 16,001 columns.*in 3 cells"):
        read(far)
    usual = ods(tmp_path / "g.ods", NAMES, of_number("1") + of_number("2") + ends, empty)
    assert read(usual)[0].to_pylist() == [{"a": 1, "b": 2}]


def test_a_workbook_with_a_password_is_named(tmp_path: Path) -> None:
    native = tmp_path / "p.xlsx"
    native.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + "EncryptedPackage".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"p\.xlsx is encrypted with a password"):
        read(native)


def biff(kind: int, body: bytes) -> bytes:
    return struct.pack("<HH", kind, len(body)) + body


def test_errors_and_formulas_of_the_old_format(tmp_path: Path) -> None:
    # A compound file of one stream with the records of errors and formulas only.
    def sheet_of(*cells: bytes) -> bytes:
        return biff(0x0809, bytes(16)) + b"".join(cells) + biff(0x000A, b"")

    error = biff(0x0205, struct.pack("<HHHBB", 3, 1, 0, 0x2A, 1))
    empty = biff(0x0006, struct.pack("<HHH8sHIH", 4, 2, 0, b"\x03" + bytes(5) + b"\xff\xff", 0, 0, 0))
    valued = biff(0x0006, struct.pack("<HHHdHIH", 5, 2, 0, 1.5, 0, 0, 0))
    for cells, formulas in (([error, empty], {(4, 2): "="}), ([error, empty, valued], {})):
        bound = biff(0x0085, struct.pack("<IBBBB", 16 + 4 + 12 + 4 + 4, 0, 0, 4, 0) + b"Data")
        stream = biff(0x0809, bytes(16)) + bound + biff(0x000A, b"")
        assert len(stream) == 40
        stream = (stream + sheet_of(*cells)).ljust(4096, b"\0")
        entry = "Workbook".encode("utf-16-le").ljust(64, b"\0") + struct.pack("<H", 18)
        entry = entry.ljust(116, b"\0") + struct.pack("<II", 2, len(stream)) + bytes(4)
        fat = [0xFFFFFFFD, 0xFFFFFFFE, *range(3, 10), 0xFFFFFFFE]
        header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(30, b"\0") + struct.pack("<H", 9)
        header = header.ljust(44, b"\0") + struct.pack("<8I", 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
        header += struct.pack("<109I", 0, *[0xFFFFFFFF] * 108)
        native = tmp_path / "o.xls"
        tables = struct.pack("<128I", *fat, *[0xFFFFFFFF] * (128 - len(fat)))
        native.write_bytes(header + tables + entry.ljust(512, b"\0") + stream)
        found = sheet_biff.inspect(native, "Data")
        assert (found.errors, found.formulas) == ({(3, 1): "#N/A"}, formulas)


# -- properties


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_decimals_stay_what_they_are_up_to_noise(values: list[float]) -> None:
    column = sheet_columns.column(values, ())
    if pa.types.is_integer(column.type):
        assert column.to_pylist() == values
        return
    for value, kept in zip(values, column.to_pylist(), strict=True):
        assert kept == value or (abs(kept - value) <= 1e-14 * abs(value) and len(repr(kept)) < len(repr(value)))


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=20))
def test_whole_numbers_are_never_rounded(values: list[int]) -> None:
    assert [int(value) for value in sheet_columns.column(values, ()).to_pylist()] == values
