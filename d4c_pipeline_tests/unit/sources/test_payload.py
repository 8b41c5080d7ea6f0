"""Files of different bytes that hold the same."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from d4c_pipeline.sources.payload import same_payload

ROWS = b"id,name\n1,a\n" * 500


def zipped(day: int, data: bytes = ROWS, name: str = "a.csv") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name, (2024, 1, day, 0, 0, 0)), data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (gzip.compress(ROWS, mtime=1), gzip.compress(ROWS, mtime=2), True),
        (gzip.compress(ROWS, 1, mtime=1), gzip.compress(ROWS, 9, mtime=1), True),
        (gzip.compress(ROWS, mtime=1), gzip.compress(ROWS + b"2,b\n", mtime=1), False),
        (gzip.compress(ROWS, mtime=1), gzip.compress(ROWS, mtime=1)[:-9], False),
        (zipped(1), zipped(2), True),
        (zipped(1), zipped(1, ROWS.replace(b"a", b"b")), False),
        (zipped(1), zipped(1, name="b.csv"), False),
        (zipped(1), gzip.compress(ROWS), False),
        (ROWS, ROWS + b" ", False),
        (b"", ROWS, False),
    ],
)
def test_packers_write_times_beside_the_content(tmp_path: Path, one: bytes, other: bytes, same: bool) -> None:
    (tmp_path / "one").write_bytes(one)
    (tmp_path / "other").write_bytes(other)
    assert same_payload(tmp_path / "one", tmp_path / "other") is same
