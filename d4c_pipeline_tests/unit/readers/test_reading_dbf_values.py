"""Values of DBF files that GDAL would change, read from the bytes."""

from __future__ import annotations

import datetime as dt
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing
from d4c_pipeline.readers import delivery

Field = tuple[str, str, int, int]


def write_dbf(
    path: Path, fields: list[Field], records: list[bytes], *, version: int = 3, stated: int | None = None
) -> Path:
    size, record_size = 33 + 32 * len(fields), 1 + sum(width for _, _, width, _ in fields)
    count = len(records) if stated is None else stated
    head = struct.pack("<BBBBIHH20x", version, 121, 1, 1, count, size, record_size)
    for name, kind, width, decimals in fields:
        head += name.encode().ljust(11, b"\0") + kind.encode() + bytes(4) + bytes([width, decimals]) + bytes(14)
    path.write_bytes(head + b"\r" + b"".join(records) + b"\x1a")
    return path


def read(path: Path, work: Path, **processing: Any) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    work.mkdir()
    native = delivery.read(TableProcessing.model_validate({"kind": "table", **processing}), [path], work)
    table, _ = native.collect()
    return table.to_pydict(), native.report


def column(tmp_path: Path, kind: str, width: int, decimals: int, values: list[bytes], **processing: Any) -> list[Any]:
    records = [b" " + value.rjust(width) for value in values]
    path = write_dbf(tmp_path / "t.dbf", [("v", kind, width, decimals)], records)
    return read(path, tmp_path / "work", **processing)[0]["v"]


@pytest.mark.parametrize(
    ("kind", "width", "decimals", "values", "expected"),
    [
        ("N", 9, 0, [b"1", b"n/a", b"007"], ["1", "n/a", "007"]),
        ("N", 9, 0, [b"1", b"3.7"], ["1", "3.7"]),
        ("N", 9, 0, [b"1", b"1 2"], ["1", "1 2"]),
        ("N", 9, 0, [b"1", b"12-"], ["1", "12-"]),
        ("N", 9, 0, [b"1", b"12*"], ["1", "12*"]),
        ("N", 12, 3, [b"0.500", b"12,345"], ["0.500", "12,345"]),
        ("F", 12, 3, [b"0.500", b"-"], ["0.500", "-"]),
        # A number in another form stays a number.
        ("N", 9, 0, [b"+1", b"2        ", b"", b"\0\0"], [1, 2, None, None]),
        ("F", 13, 11, [b"1.5e+002", b".5", b"-2."], [150.0, 0.5, -2.0]),
        # Overflow: the value does not fit the width of its field.
        ("N", 4, 0, [b"12", b"****"], [12, None]),
        # Integers that a float does not hold, and integers that it holds.
        ("N", 19, 0, [b"1234567890123456789", b"1"], [1234567890123456789, 1]),
        ("N", 20, 0, [b"12345678901234567891", b"1"], ["12345678901234567891", "1"]),
        ("N", 20, 0, [b"9007199254740992", b"1"], [9007199254740992.0, 1.0]),
        ("F", 24, 4, [b"9007199254740993", b"1.5"], ["9007199254740993", "1.5"]),
        ("D", 8, 0, [b"20210506", b"20210231"], ["20210506", "20210231"]),
        ("D", 8, 0, [b"20210506", b"06/05/21"], ["20210506", "06/05/21"]),
        ("D", 8, 0, [b"20210506", b"20210500"], ["20210506", "20210500"]),
        ("D", 8, 0, [b"20210506", b"2021    "], ["20210506", "2021"]),
        ("D", 8, 0, [b"20240229", b"00000000", b""], [dt.date(2024, 2, 29), None, None]),
        ("L", 1, 0, [b"T", b"n", b"?", b" "], [True, False, None, None]),
        ("L", 1, 0, [b"Y", b"1"], ["Y", "1"]),
    ],
)  # fmt: skip
def test_values_that_gdal_would_change(
    tmp_path: Path, kind: str, width: int, decimals: int, values: list[bytes], expected: list[Any]
) -> None:
    assert column(tmp_path, kind, width, decimals, values) == expected


def test_columns_of_one_name_keep_their_own_values(tmp_path: Path) -> None:
    fields = [("v", "N", 4, 0), ("v", "N", 4, 0), ("v_1", "D", 8, 0)]
    records = [b"  n/a   220210231", b"    4   520210506"]
    values, report = read(write_dbf(tmp_path / "t.dbf", fields, records), tmp_path / "work")
    assert values == {"v": ["n/a", "4"], "v_2": [2, 5], "v_1": ["20210231", "20210506"]}
    assert list(report["read_from_bytes"]) == ["v", "v_1"]


def test_nulls_that_are_declared_leave_the_type(tmp_path: Path) -> None:
    assert column(tmp_path, "N", 9, 0, [b"1", b"n/a"], nulls=["n/a"]) == [1, None]
    (tmp_path / "d").mkdir()
    assert column(tmp_path / "d", "D", 8, 0, [b"20210506", b"99999999"], columns={"v": {"nulls": ["99999999"]}}) == [
        dt.date(2021, 5, 6),
        None,
    ]


def test_a_column_that_is_declared_as_text_keeps_its_zeros(tmp_path: Path) -> None:
    assert column(tmp_path, "N", 9, 0, [b"007", b"10"], columns={"v": {"type": "string"}}) == ["007", "10"]


def test_the_report_names_column_value_and_row_and_counts_what_is_deleted(tmp_path: Path) -> None:
    records = [b" ****", b"*   1", b" n/a "]
    path = write_dbf(tmp_path / "t.dbf", [("code", "N", 4, 0)], records)
    values, report = read(path, tmp_path / "work")
    assert values == {"code": [None, "n/a"]}
    assert report["read_from_bytes"] == {"code": "as text: 'n/a' in row 3 is no number"}
    assert (report["dbf_overflow"], report["dbf_deleted"]) == ({"code": 1}, 1)
    assert "gdal" not in report


def test_binary_columns_of_foxpro_are_decoded_and_memos_refused(tmp_path: Path) -> None:
    record = b" " + struct.pack("<idq", -7, 2.5, 15000) + struct.pack("<ii", 2459341, 3_600_000)
    fields = [("i", "I", 4, 0), ("b", "B", 8, 0), ("y", "Y", 8, 4), ("t", "T", 8, 0)]
    path = write_dbf(tmp_path / "v.dbf", fields, [record], version=0x30)
    values, _ = read(path, tmp_path / "work")
    assert values == {"i": [-7], "b": [2.5], "y": ["1.5000"], "t": [dt.datetime.fromisoformat("2021-05-06T01:00")]}
    memo = write_dbf(tmp_path / "m.dbf", [("a", "N", 2, 0), ("note", "M", 10, 0)], [b"  7         1"])
    with pytest.raises(DataError, match=r"Column note of m\.dbf is of dBASE's type M.*processing\.drop: \[note\]"):
        read(memo, tmp_path / "refused")
    assert read(memo, tmp_path / "dropped", drop=["note"])[0]["a"] == [7]


def test_rows_that_the_header_does_not_count(tmp_path: Path) -> None:
    path = write_dbf(tmp_path / "t.dbf", [("v", "N", 2, 0)], [b"  1", b"  2", b"  3"], stated=1)
    with pytest.raises(DataError, match=re.escape("t.dbf has 1 rows according to its header, and 2 more follow")):
        read(path, tmp_path / "work")


@given(st.lists(st.integers(-(10**18), 10**20 - 1), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whole_numbers_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, numbers: list[int]) -> None:
    found = column(tmp_path_factory.mktemp("n"), "N", 20, 0, [str(number).encode() for number in numbers])
    assert [int(value) for value in found] == numbers


@given(st.lists(st.dates(dt.date(1, 1, 1)), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_days_that_exist_stay_dates(tmp_path_factory: pytest.TempPathFactory, days: list[dt.date]) -> None:
    texts = [f"{day.year:04}{day.month:02}{day.day:02}".encode() for day in days]
    assert column(tmp_path_factory.mktemp("d"), "D", 8, 0, texts) == days
