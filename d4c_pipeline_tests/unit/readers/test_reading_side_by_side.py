"""Delimited text that is cut and parsed in parallel: the same rows as without cuts, whatever the quoted values."""

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

CELL = st.text(alphabet='ab,"\né', max_size=5)


def read(path: Path, **declared: object) -> list[dict[str, str | None]]:
    native = text.read(path, TableProcessing(kind="table", **declared))
    return pa.Table.from_batches(native.batches, native.attributes).to_pylist()


@pytest.fixture
def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_CUT", 16)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_rows_are_those_that_python_reads(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], ending: str, all_quoted: bool
) -> None:
    sink = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(sink, lineterminator=ending, quoting=quoting)
    writer.writerows([("x", "y"), *rows])
    path = tmp_path_factory.mktemp("cut") / "rows.csv"
    path.write_bytes(sink.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "_CUT", 16)
        found = read(path)
    assert found == [{"x": x or None, "y": y or None} for x, y in rows if x or y]


@pytest.mark.usefixtures("cut_small")
def test_a_cut_between_quotes_is_noticed_and_no_row_comes_twice(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = [f'{number},"line one\nline {number}"' for number in range(40)]
    path.write_text("\n".join(["a,b", *(f"{n},plain" for n in range(40)), *rows]), "utf-8")
    found = read(path)
    assert [row["a"] for row in found] == [str(n) for n in range(40)] * 2
    assert found[0]["b"] == "plain"
    assert found[79]["b"] == "line one\nline 39"


@pytest.mark.usefixtures("cut_small")
def test_a_quote_within_a_field_is_text_and_lines_before_the_names_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "pipes.csv"
    path.write_text("a title\n\nname,size\n" + 'pipe,5" wide\nrod,7"\n' * 10, "utf-8")
    found = read(path, header_row=3)
    assert found == [{"name": "pipe", "size": '5" wide'}, {"name": "rod", "size": '7"'}] * 10


@pytest.mark.usefixtures("cut_small")
def test_a_ragged_line_far_behind_is_refused_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "ragged.csv"
    path.write_text("a,b\n" + "1,2\n" * 30 + "1,2,3\n" + "1,2\n" * 30, "utf-8")
    with pytest.raises(DataError, match=r"Line 32 of ragged\.csv is ragged: Expected 2 columns, got 3"):
        read(path)


def test_text_is_cut_only_where_bytes_say_where_lines_end(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("a,b\n1,Ċ\n", "utf-16")  # U+010A contains the byte of a line feed
    assert read(path) == [{"a": "1", "b": "Ċ"}]


def test_plain_text_is_never_read_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_CUT", 64)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("read in one piece")

    monkeypatch.setattr(text, "_stream", refused)
    path = tmp_path / "plain.csv"
    path.write_text('"a","b"\r\n' + "".join(f'"{n}","é, {n}"\r\n' for n in range(500)).rstrip("\r\n"), "utf-8-sig")
    assert read(path) == [{"a": str(n), "b": f"é, {n}"} for n in range(500)]
