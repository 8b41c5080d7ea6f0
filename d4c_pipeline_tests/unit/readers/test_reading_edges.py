"""Titles, notes and totals above the header and below the rows of delimited text: refused until they are declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing
from d4c_pipeline.readers import text


def read(path: Path, **declared: object) -> tuple[list[dict[str, str | None]], dict[str, Any]]:
    native = text.read(path, TableProcessing(kind="table", **declared))
    return pa.Table.from_batches(native.batches, native.attributes).to_pylist(), native.report


def written(folder: Path, content: str, encoding: str = "utf-8") -> Path:
    path = folder / "a.csv"
    path.write_bytes(content.encode(encoding))
    return path


ROWS = [
    {"Province": "Quebec", "Dwellings": "100", "Rate": "1.5"},
    {"Province": "Ontario", "Dwellings": "200", "Rate": None},
]
BODY = "Province,Dwellings,Rate\nQuebec,100,1.5\nOntario,200,\n"


@pytest.mark.parametrize(
    ("above", "line"),
    [
        ("Table 1: Dwellings\n", 2),
        ("Table 1: Dwellings,,\n", 2),  # merged cells, exported
        ("Table 1\nAs of 2024, in thousands\n\n", 4),
        ("# made by X\n# on a, b, c\n", 3),
        (",2024,\n", 2),  # a group of columns
        ("Logements, par province, 2024\n", 2),
        ("Name,Count,Share\n", 2),  # in another language: words above numbers
    ],
)
def test_a_header_further_down_must_be_declared(tmp_path: Path, above: str, line: int) -> None:
    path = written(tmp_path, above + BODY)
    with pytest.raises(DataError, match=f"line {line} has 'Province, Dwellings, Rate'") as refusal:
        read(path)
    assert f"header_row: {line}" in refusal.value.remedy
    assert read(path, header_row=line)[0] == ROWS


def test_a_row_of_units_must_be_declared(tmp_path: Path) -> None:
    path = written(tmp_path, "site,depth,temp\nname,metres,deg C\nA,1.5,4\nB,2,5\n")
    with pytest.raises(DataError, match="line 2 has 'name, metres, deg C'"):
        read(path)


@pytest.mark.parametrize(
    "content",
    [
        "code,status\nA,n/a\nB,5\nC,6\n",
        "a,b\nx,y\nz,w\n",
        "Province,2016,2021\nQuebec,8,9\nOntario,13,14\n",
        "id,name,\n1,A,x\n2,B,y\n",
        ",name\n0,A\n1,B\n",
        "name\nA\nB\n",
        "a;b\n1,5;2\n",
        "code,value\nA,..\nB,F\nC,3\n",
    ],
)
def test_a_header_in_the_first_line_is_detected(tmp_path: Path, content: str) -> None:
    assert len(read(written(tmp_path, content))[0]) == content.count("\n") - 1


def test_names_of_a_file_without_a_header_must_be_declared(tmp_path: Path) -> None:
    path = written(tmp_path, "1,Ottawa,45.42\n2,Québec,46.81\n")
    with pytest.raises(DataError, match=r"Line 1 of a\.csv .'1, Ottawa, 45.42'. looks like a row") as refusal:
        read(path)
    assert "processing.header with the names" in refusal.value.remedy
    assert [row["name"] for row in read(path, header=["id", "name", "lat"])[0]] == ["Ottawa", "Québec"]


@pytest.mark.parametrize("ending", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_line_that_names_the_separator_is_obeyed(tmp_path: Path, ending: str, encoding: str) -> None:
    content = ending.join(["sep=;", "id;name", "1;Été, 1", "2;B", ""])
    rows, report = read(written(tmp_path, content, encoding))
    assert rows == [{"id": "1", "name": "Été, 1"}, {"id": "2", "name": "B"}]
    assert (report["sep_line"], report["delimiter"]) == (True, ";")
    assert read(written(tmp_path, ending.join(['"sep=^"', "a^b", "1^2"])))[0] == [{"a": "1", "b": "2"}]
    assert read(written(tmp_path, ending.join(["SEP=|", "1|2"])), header=["a", "b"])[0] == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize(
    ("below", "lines"),
    [
        ("Source: Statistique Canada, 2024\n", 1),
        ("Source: Statistics Canada\n", 1),
        ("Source: Statistics Canada,,\n", 1),
        ('\n"Note: a, b",,\nSource : Québec,,\n', 2),
        ("Total,300,\n", 1),
        ("TOTAL,300,1.5", 1),
        ("(3 rows affected)\n", 1),
    ],
)
def test_notes_and_totals_below_the_rows_are_refused(tmp_path: Path, below: str, lines: int, encoding: str) -> None:
    path = written(tmp_path, ("\ufeff" if encoding == "utf-16-be" else "") + BODY + below, encoding)
    with pytest.raises(DataError, match=r"The last .*looks? like") as refusal:
        read(path, ragged="pad")
    assert f"processing.footer_rows: {lines}" in refusal.value.remedy
    rows, report = read(path, footer_rows=lines)
    assert (rows, report["footer_rows"]) == (ROWS, lines)


def test_a_last_row_that_is_a_row_stays(tmp_path: Path) -> None:
    # "Total" is a regular member of a dimension here, or declared as a row.
    members = "geo,sex,n\nQC,Total,3\nQC,Men,1\nON,Men,2\nON,Total,5\n"
    assert len(read(written(tmp_path, members))[0]) == 4
    assert len(read(written(tmp_path, BODY + "Total,300,\n"), footer_rows=0)[0]) == 3
    assert len(read(written(tmp_path, "name,phone\nA,1\nSource River Hall,\n"))[0]) == 2


def test_delimiters_at_the_end_are_no_columns(tmp_path: Path) -> None:
    expected = [{"id": "1", "name": "A"}, {"id": "2", "name": "B"}]
    for content in (
        "id,name,\n1,A,\n2,B,\n",  # on every line
        "id,name,,\n1,A\n2,B\n",  # in the header only
        "id,name\n1,A,\n2,B,\n",  # in the rows only
        "id,name,\n1,A,\n2,B,\n,,\n,,\n",  # and empty rows
    ):
        for ragged in ("refuse", "pad"):
            rows, report = read(written(tmp_path, content), ragged=ragged)
            assert rows == expected, content
            assert report.get("empty_rows", 0) == content.count("\n,,")
    # A field with a value is kept, or refused without a name.
    assert read(written(tmp_path, "id,name,\n" + "1,A,\n" * 300 + "2,B,x\n"))[0][300] == {
        "id": "2", "name": "B", "column_3": "x",
    }  # fmt: skip
    with pytest.raises(DataError, match=r"Line 302 of a\.csv is ragged: Expected 2 columns, got 3"):
        read(written(tmp_path, "id,name\n" + "1,A,\n" * 300 + "2,B,x\n"))


def test_marks_of_utf8_are_no_part_of_a_name(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeff\ufeffid,name\n1,A\n")
    assert read(path)[0] == read(path, encoding="cp1252")[0] == [{"id": "1", "name": "A"}]


def test_numbers_by_declared_marks_are_rewritten_but_not_codes(tmp_path: Path) -> None:
    content = "id;amount;note\n75 001;1\u202f234,5;x\n75 002;\u22125;1 000\n"
    assert read(written(tmp_path, content), decimal=",", thousands=" ")[0] == [
        {"id": "75 001", "amount": "1234.5", "note": "x"},
        {"id": "75 002", "amount": "-5", "note": "1000"},
    ]
    columns = {"id": {"type": "integer"}, "note": {"type": "string"}}
    found = read(written(tmp_path, content), decimal=",", thousands=" ", columns=columns)[0]
    assert [(row["id"], row["note"]) for row in found] == [("75001", "x"), ("75002", "1 000")]


def test_numbers_with_both_decimal_marks_in_a_column_are_refused(tmp_path: Path) -> None:
    # 1.234 is ambiguous: the decimal comma makes its point a thousands separator.
    path = written(tmp_path, "v;lat\n1.234;45.5\n5,5;46.5\n")
    with pytest.raises(
        DataError, match=r"Column v has numbers with a decimal comma .'5,5'. and with a point .'1.234'."
    ):
        read(path, decimal=",")
    assert [row["v"] for row in read(path, decimal=",", thousands=".", columns={"lat": {"type": "string"}})[0]] == [
        "1234", "5.5",
    ]  # fmt: skip


@pytest.mark.parametrize("again", ["n,v\n", "\ufeffn,v\n", "\u00a0n,v\n", '"n"," v"\n', "n,v\nn,v\n"])
def test_a_row_that_repeats_the_names_is_refused_dropped_or_kept_as_declared(tmp_path: Path, again: str) -> None:
    # Two exports put together: published as rows, they made texts of both columns.
    path = written(tmp_path, f"n,v\n1,2\n{again}3,4\n")
    with pytest.raises(DataError, match=r"Row 2 of .* repeats the names of the columns \('n, v'\)") as refusal:
        read(path)
    assert "processing.repeated_header: drop" in refusal.value.remedy
    rows, report = read(path, repeated_header="drop")
    assert [tuple(row.values()) for row in rows] == [("1", "2"), ("3", "4")]
    assert report["repeated_headers"] == again.count("\n")
    assert len(read(path, repeated_header="keep")[0]) == 2 + again.count("\n")


def test_a_value_that_is_the_name_of_its_column_is_no_repeated_header(tmp_path: Path) -> None:
    assert len(read(written(tmp_path, "kind,n\nkind,1\nkind,2\n"))[0]) == 2
    assert len(read(written(tmp_path, "kind\na\nkind\n"))[0]) == 2
    assert len(read(written(tmp_path, "n,v\n1,2\n"), header=("n", "v"), types="keep")[0]) == 2


def test_repeated_names_far_behind_are_refused_by_their_row(tmp_path: Path) -> None:
    body = "".join(f"{at},{'x' * 60}\n" for at in range(200_000))
    with pytest.raises(DataError, match="Row 200001 of "):
        read(written(tmp_path, "n,v\n" + body + "n,v\n1,y\n"))
