"""JSON of services: location and completeness of the rows, and numbers that keep their digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing
from d4c_pipeline.readers import delivery

ROWS = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def read(folder: Path, content: Any, name: str = "rows.json", **processing: Any) -> tuple[pa.Table, dict[str, Any]]:
    native = folder / name
    native.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    work = folder / "work"
    work.mkdir()
    opened = delivery.read(TableProcessing.model_validate({"kind": "table", **processing}), [native], work)
    return pa.Table.from_batches(opened.batches, opened.schema), opened.report


@pytest.mark.parametrize(
    ("answer", "records"),
    [
        # CKAN's datastore names a next page even after the last page; the total takes precedence.
        ({"success": True, "result": {"fields": [{"id": "a"}], "records": ROWS, "total": 2, "limit": 9,
          "_links": {"start": "/", "next": "/?offset=9"}}}, "result.records"),
        ({"data": ROWS, "links": {"next": None}, "meta": {"total": 2, "last_page": 1}}, "data"),
        ({"@odata.context": "u", "@odata.count": 2, "value": ROWS}, "value"),
        ({"total_count": 2, "results": ROWS}, "results"),
        ({"count": 2, "next": None, "previous": None, "results": ROWS}, "results"),
        ({"columns": ["a", "b"], "index": [0, 1], "data": [[1, "x"], [2, "y"]]}, "data"),
        ({"fields": [{"id": "a", "type": "int"}, {"id": "b"}], "rows": [[1, "x"], [2, "y"]]}, "rows"),
        ({"meta": {"view": {"columns": [{"name": "A", "fieldName": "a"}, {"name": "B", "fieldName": "b"}],
          "approvals": [{"state": "ok"}]}}, "data": [[1, "x"], [2, "y"]]}, "data"),
        ({"last_updated": 7, "data": {"stations": ROWS}}, "data.stations"),
        ({"stations": ROWS}, "stations"),
        ({"d": {"results": ROWS}}, "d.results"),
    ],
)  # fmt: skip
def test_the_rows_of_a_response_are_its_list(tmp_path: Path, answer: Any, records: str) -> None:
    table, report = read(tmp_path, answer)
    assert table.to_pylist() == ROWS
    assert report["records"] == records


@pytest.mark.parametrize(
    ("answer", "sign"),
    [
        ({"success": True, "result": {"records": ROWS, "total": 5}}, "total is 5"),
        ({"@odata.nextLink": "https://x/?skip=2", "value": ROWS}, "@odata.nextLink is https://x/"),
        ({"@odata.count": 3, "value": ROWS}, "@odata.count is 3"),
        ({"nhits": "10", "records": ROWS}, "nhits is 10"),
        ({"count": 2, "next": "https://x/?page=2", "results": ROWS}, "next is https"),
        ({"hasMore": True, "items": ROWS, "total": 2}, "hasMore is true"),
        ({"page": 1, "pages": 3, "items": ROWS}, "pages is 3"),
        ({"data": ROWS, "links": {"next": "https://x"}}, "next is https"),
        ({"data": ROWS, "_links": {"next": {"href": "https://x"}}}, "next is present"),
        ({"items": ROWS, "links": [{"rel": "self"}, {"rel": "next", "href": "https://x"}]}, "links name a next page"),
        ({"meta": {"pagination": {"totalRecords": 9}}, "data": ROWS}, "totalRecords is 9"),
        ({"exceededTransferLimit": True, "features": ROWS}, "exceededTransferLimit is true"),
    ],
)
def test_an_incomplete_response_is_refused(tmp_path: Path, answer: Any, sign: str) -> None:
    with pytest.raises(DataError, match=r"is incomplete: it has 2 records.*Fetch all rows") as refusal:
        read(tmp_path, answer)
    assert sign in str(refusal.value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"id": 1, "tags": ROWS}, r"one object with a list of records in it: tags \(2\)\. Declare .*records: tags"),
        ({"a": ROWS, "b": ROWS}, r"lists of records in it: a \(2\), b \(2\)"),
        ({"status": "ok", "a": 1}, r"one object, not a list of records: it has status, a"),
        ({"success": False, "error": {"message": "no such id"}}, "response to a failed request.*no such id"),
        ({"rows": [[1, 2]]}, "no other list has the names of their columns.*processing.header"),
        ({"columns": ["a"], "rows": [[1, 2]]}, "a row of 2 values, but names for 1 columns"),
        ({"value": [1, 2]}, "one object, not a list"),
    ],
)
def test_a_single_object_is_never_a_row_without_declaration(tmp_path: Path, answer: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, answer)


def test_the_remedies_work(tmp_path: Path) -> None:
    for number, (content, processing, expected) in enumerate(
        [
            ({"id": 1, "tags": ROWS}, {"records": "tags"}, ROWS),
            ({"a.b": {"c": ROWS}, "d": ROWS}, {"records": "/a.b/c"}, ROWS),
            ({"id": 1, "n": None}, {"records": "."}, [{"id": 1, "n": None}]),
            ({"rows": [[1, "x"], [2]]}, {"header": ["a", "b"]}, [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
            ([[1, "x"]], {"header": ["a", "b"]}, [{"a": 1, "b": "x"}]),
            (b'{"p": [{"a": 1}]}\n{"p": [{"a": 2}]}', {"records": "p"}, [{"a": 1}, {"a": 2}]),
            (b'[{"a": NaN}, {"a": 1}]', {"nulls": ["NaN"]}, [{"a": None}, {"a": 1}]),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert read(folder, content, **processing)[0].to_pylist() == expected


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (b"\xef\xbb\xbf" + b'[{"a": 1}]', "rows.json", [{"a": 1}]),
        ('[{"é": "ü"}]'.encode("utf-16"), "rows.json", [{"é": "ü"}]),
        ('[{"é": "ü"}]'.encode("utf-16-le"), "rows.json", [{"é": "ü"}]),
        ('[{"é": "ü"}]'.encode("utf-32"), "rows.json", [{"é": "ü"}]),
        (b'\x1e{"a": 1}\n\x1e{"a": 2}\n', "rows.jsonl", [{"a": 1}, {"a": 2}]),
        (b'{"a": 1}\n\n{"a": 2}\n  \n', "rows.ndjson", [{"a": 1}, {"a": 2}]),
        (b'{"a": 1, "of": [{"b": 2}]}\n', "rows.ndjson", [{"a": 1, "of": '[{"b":2}]'}]),
        (b'[{"a": 1}]', "rows[1]*.json", [{"a": 1}]),
    ],
)
def test_json_is_read_in_every_encoding_and_form(tmp_path: Path, content: bytes, name: str, expected: Any) -> None:
    assert read(tmp_path, content, name)[0].to_pylist() == expected


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b'{"a": 1}\n{"a": 2}\n{"a":', "rows.ndjson", r"can't be read as JSON"),
        (b'[{"a": 1, "a": 2}]', "rows.json", "has a row with the name a twice"),
        (b'[{"a": NaN}, {"a": 1}]', "rows.json", r"Column a of rows\.json has NaN.*nulls: \['NaN'\]"),
        (b'[{"a": 1}, {"a": -Infinity}]', "rows.json", "has -Infinity, which is not a JSON number"),
        (b'[{"a": 1e400}]', "rows.json", "has 1e400, which is not a JSON number"),
        (b"\xff\xfe[\x00{", "rows.json", "can't be read as utf-16 text"),
    ],
)
def test_json_that_would_lose_values_is_refused(tmp_path: Path, content: bytes, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, content, name)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ("9007199254740993.0;0.5", "string", ["9007199254740993.0", "0.5"]),
        ("9007199254740993;0.5", "string", ["9007199254740993", "0.5"]),
        ("9007199254740993;5", "int64", [9007199254740993, 5]),
        ("12345678901234567890123;5", "string", ["12345678901234567890123", "5"]),
        ("45.508840000000000000;0.3951484750401404", "double", [45.50884, 0.3951484750401404]),
        ("0.1234567890123456789;1", "string", ["0.1234567890123456789", "1"]),
        ("-9999;1", "int64", [None, 1]),
        ('"..";1.5', "double", [None, 1.5]),
        ('"007";"8"', "string", ["007", "8"]),
        ('"a, 12345678901234567890.5 b";"-9999"', "string", ["a, 12345678901234567890.5 b", None]),
    ],
)
def test_numbers_keep_their_digits(tmp_path: Path, values: str, kind: str, expected: list[Any]) -> None:
    rows = ", ".join(f'{{"v": {value}}}' for value in values.split(";"))
    table, _ = read(tmp_path, f"[{rows}]".encode(), nulls=["-9999", ".."])
    assert (str(table.schema.field("v").type), table["v"].to_pylist()) == (kind, expected)


def test_values_of_several_types_are_text_and_reported(tmp_path: Path) -> None:
    table, report = read(tmp_path, [{"a": 1, "b": 1}, {"a": True, "b": 0.5}, {"a": [1], "B": 2}])
    assert table["a"].to_pylist() == ["1", "true", "[1]"]
    assert table.column_names == ["a", "b", "B"]
    assert report["mixed_types"] == {"a": ["array", "boolean", "integer"]}
