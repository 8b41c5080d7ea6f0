"""Quotes of delimited text: well-formed text has the rows that Python reads, other text is an error with its line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing
from d4c_pipeline.readers import text


def read(path: Path, **declared: object) -> list[dict[str, str | None]]:
    native = text.read(path, TableProcessing(kind="table", **declared))
    return pa.Table.from_batches(native.batches, native.attributes).to_pylist()


def written(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def shops(changed: str, *, count: int = 2000, at: int = 500, encoding: str = "utf-8") -> bytes:
    rows = ["id,v,name", *(f"{n},{n},Shop é {n}" for n in range(1, count + 1))]
    rows[at] = changed
    return ("\n".join(rows) + "\n").encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('500,500,"Shop 500', r"opens in line 501 of a\.csv"),  # never closed: 1,500 rows were in one value
        ('500,500,"Shop "the best" 500"', r"opens in line 501 of a\.csv is closed before text"),
        ('500,500,"Shop" 500', r"opens in line 501 of a\.csv is closed before text"),
        ('500,500,""Shop 500', r"opens in line 501 of a\.csv is closed before text"),
    ],
)
def test_a_quote_that_is_wrong_is_refused_by_its_line(tmp_path: Path, line: str, message: str, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(shops(line, encoding=encoding))
    with pytest.raises(DataError, match=message) as refusal:
        read(path, **({"encoding": encoding} if encoding == "cp1252" else {}))
    # The remedy works: as plain text, all rows are read.
    assert "processing.quote: ''" in refusal.value.remedy
    found = read(path, quote="")
    assert (len(found), found[499]["name"]) == (2000, line.split(",")[2])


def test_a_quote_that_another_row_closes_is_refused(tmp_path: Path) -> None:
    rows = shops('500,500,"Shop 500').replace(b"900,900,Shop \xc3\xa9 900", b'900,900,Shop 5"')
    (tmp_path / "a.csv").write_bytes(rows)
    with pytest.raises(
        DataError, match=r"line 501 of a\.csv is closed only after lines that look like rows \(line 901\)"
    ):
        read(tmp_path / "a.csv")
    # A later quoted value does not close it.
    (tmp_path / "a.csv").write_bytes(rows.replace(b'900,900,Shop 5"', b'900,900,"Shop, 900"'))
    with pytest.raises(DataError, match=r"line 501 of a\.csv is still open where another opens \(line 901\)"):
        read(tmp_path / "a.csv")


def test_names_with_a_mark_and_a_title_above_are_no_reason_for_doubt(tmp_path: Path) -> None:
    content = 'title\n"id","na,me"\n1,"a\nb"\n2,c\n'
    expected = [{"id": "1", "na,me": "a\nb"}, {"id": "2", "na,me": "c"}]
    for encoding in ("utf-8", "utf-8-sig"):
        path = written(tmp_path / "a.csv", content, "utf-8-sig")
        assert read(path, encoding=encoding, header_row=2) == expected
        path = written(tmp_path / "a.csv", content.removeprefix("title\n"), "utf-8-sig")
        assert read(path, encoding=encoding) == expected
    with pytest.raises(DataError, match=r"opens in line 1 of a\.csv is never closed"):
        read(written(tmp_path / "a.csv", 'id,"name\n1,A\n'))


def test_bytes_of_wide_characters_are_no_marks(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'id|name\n1|日本ソ\n2|"漢字|ソ"\n', "shift_jis")
    assert [row["name"] for row in read(path, encoding="shift_jis")] == ["日本ソ", "漢字|ソ"]


def test_values_of_many_lines_are_values(tmp_path: Path) -> None:
    prose = "An address, with commas\nOttawa, ON, K1A 0B1\nCanada\n\nline,5"
    for ending in ("\n", "\r\n"):
        content = ending.join(["a,b,c,d", *(f'{n},"{prose}",x,"say ""hi"", twice"' for n in range(300))]) + ending
        found = read(written(tmp_path / "a.csv", content))
        assert found == [{"a": str(n), "b": prose, "c": "x", "d": 'say "hi", twice'} for n in range(300)]


def test_backslashes_are_escapes_where_it_is_declared(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'a,b\n1,"He said \\"hi\\", twice"\n2,"back\\\\"\n3,plain\n')
    with pytest.raises(DataError, match="opens in line 2") as refusal:
        read(path)
    assert "processing.escape: '\\'" in refusal.value.remedy
    assert [row["b"] for row in read(path, escape="\\")] == ['He said "hi", twice', "back\\", "plain"]
    # By RFC 4180 a backslash is a letter.
    path = written(tmp_path / "b.csv", 'a,b\n1,"C:\\"\n2,"D:\\"\n')
    assert [row["b"] for row in read(path)] == ["C:\\", "D:\\"]


def test_other_quotes_are_declared(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "a,b\n1,'x, y'\n2,'it''s'\n")
    assert [row["b"] for row in read(path, quote="'")] == ["x, y", "it's"]
    path = written(tmp_path / "b.csv", "'a','b'\n'1','x'\n")
    with pytest.raises(DataError, match="between single quotes: 'a', 'b'"):
        read(path)
    assert (read(path, quote="'"), read(path, quote='"')) == ([{"a": "1", "b": "x"}], [{"'a'": "'1'", "'b'": "'x'"}])


@pytest.mark.parametrize("mark", [",", ";", "|"])
def test_inches_in_unquoted_fields_are_text(tmp_path: Path, mark: str) -> None:
    rows = [("pipe", '5" wide', 'x"'), ("rod", '7"', 'a"b'), ('5"', '"quoted"', "")] * 50
    content = "\n".join(["a,b,c", *map(",".join, rows)]).replace(",", mark)
    found = read(written(tmp_path / "a.csv", content))
    assert found == [
        dict(zip("abc", (x, y.strip('"') if y[0] == '"' else y, z or None), strict=True)) for x, y, z in rows
    ]


@pytest.mark.parametrize("content", [b"a,b\n1,x\0y\n", b'a,b\n1,"x\0y"\n', b"a,b\n1,2\n" + b"\0" * 100])
def test_nul_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    line = content[: content.index(0)].count(b"\n") + 1
    with pytest.raises(DataError, match=f"Line {line} of a.csv has a NUL byte"):
        read(tmp_path / "a.csv")


def test_a_text_of_dos_ends_at_its_mark(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.csv", "a\n1\n2\n\x1a")) == [{"a": "1"}, {"a": "2"}]
    assert read(written(tmp_path / "a.csv", 'a,b\r\n1,"é"\x1a\x1a', "cp1252")) == [{"a": "1", "b": "é"}]
    assert read(written(tmp_path / "a.csv", "a,b\n1,é\n\x1a"), ragged="pad") == [{"a": "1", "b": "é"}]


def test_separators_of_unicode_are_no_line_ends(tmp_path: Path) -> None:
    odd = "a\u2028b\u0085c\x0bd\x0ce\x1cf"
    found = read(written(tmp_path / "a.csv", f"x{odd},y\n{odd},1\n"))
    assert found == [{f"x{odd}": odd, "y": "1"}]


CELL = st.text(alphabet='ab,;"\\ \n\té\u2028\x0b', max_size=6)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=10),
    st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=11, max_size=11),
    st.sampled_from([",", ";", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
)
def test_well_formed_text_has_the_rows_that_python_reads(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    endings: list[str],
    mark: str,
    encoding: str,
) -> None:
    sink = io.StringIO(newline="")
    for row, ending in zip([("x", "y", "z"), *rows], endings, strict=False):
        csv.writer(sink, delimiter=mark, lineterminator=ending, quoting=csv.QUOTE_ALL).writerow(row)
    path = tmp_path_factory.mktemp("quotes") / "rows.csv"
    path.write_bytes(sink.getvalue().encode(encoding, "replace"))
    expected = list(csv.reader(io.StringIO(path.read_bytes().decode(encoding), newline=""), delimiter=mark))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "_CUT", 64)
        found = read(path, quote='"', encoding=encoding, footer_rows=0, header_row=1)
    assert [tuple(value or "" for value in row.values()) for row in found] == [tuple(r) for r in expected[1:] if any(r)]


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet='ab,"\n', max_size=40))
def test_no_text_loses_a_row_in_silence(tmp_path_factory: pytest.TempPathFactory, body: str) -> None:
    # Whatever the quotes: it is refused, or no value has more in it than a strict reader sees.
    path = written(tmp_path_factory.mktemp("quotes") / "rows.csv", "x,y\nk,k\n" + body)
    try:
        found = read(path, footer_rows=0, header_row=1)
    except DataError:
        return
    strict = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True)
    assert [tuple(v or "" for v in row.values()) for row in found] == [tuple(r) for r in list(strict)[1:] if any(r)]
