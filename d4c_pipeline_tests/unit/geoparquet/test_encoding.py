"""Encodings of text and DBF files, from their bytes and side files."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.readers import dbf
from d4c_pipeline.readers.encoding import detect


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbfa", "utf-8-sig"),
        ("Québec".encode("utf-16"), "utf-16"),
        ("Québec".encode(), "utf-8"),
        (b"plain", "utf-8"),
        ("Québec – l’art".encode("cp1252"), "cp1252"),
        # Cut in the middle of a character at the end: no UTF-8.
        ("Montré".encode()[:-1], "cp1252"),
    ],
)
def test_text_says_its_encoding(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert detect(tmp_path / "t.csv") == expected


def test_text_in_no_known_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a\x81b\xe9")
    with pytest.raises(DataError, match=r"Declare processing\.encoding"):
        detect(tmp_path / "t.csv")


def dbf_file(folder: Path, text: bytes, driver: int) -> Path:
    header = bytearray(65)
    header[0] = 3
    header[4:12] = (1).to_bytes(4, "little") + (65).to_bytes(2, "little") + (21).to_bytes(2, "little")
    header[29] = driver
    header[32:44] = b"NAME\0\0\0\0\0\0\0C"
    header[48] = 20
    header[64] = 0x0D
    path = folder / "x.dbf"
    path.write_bytes(bytes(header) + b" " + text.ljust(20))
    return path


@pytest.mark.parametrize(
    ("driver", "cpg", "text", "expected"),
    [
        (0x57, None, b"Qu\xe9bec", "cp1252"),
        (0x03, None, b"Qu\xe9bec", "cp1252"),
        (0x01, None, b"Qu\x82bec", "cp437"),
        (0, None, b"Qu\xe9bec", "cp1252"),
        (0, None, "Québec".encode(), "utf-8"),
        (0x57, ("x.cpg", "UTF-8"), "Québec".encode(), "utf-8"),
        (0, ("X.CPG", "UTF-8\r\n"), "Québec".encode(), "utf-8"),
        (0, ("x.CPG", "88591"), b"Qu\xe9bec", "iso8859-1"),
        (0x57, ("x.cpg", "ANSI 1252"), b"Qu\xe9bec", "cp1252"),
        (0x57, ("x.cpg", "nonsense"), b"Qu\xe9bec", "cp1252"),
    ],
)
def test_a_dbf_says_its_encoding(
    tmp_path: Path, driver: int, cpg: tuple[str, str] | None, text: bytes, expected: str
) -> None:
    path = dbf_file(tmp_path, text, driver)
    if cpg:
        (tmp_path / cpg[0]).write_text(cpg[1])
    assert dbf.dbf_encoding(path) == expected


def test_a_truncated_dbf_is_refused(tmp_path: Path) -> None:
    path = dbf_file(tmp_path, b"x", 0)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"x\.dbf is truncated: 81 bytes of 86"):
        dbf.check_dbf_whole(path)


def test_the_dbf_fixtures_are_decoded_right(fixtures: Path) -> None:
    expected = {"lcsd000b16a_e.dbf": "cp1252", "FED_CA_2023_EN.dbf": "utf-8", "lfsa000b21a_e.dbf": "cp1252"}
    folder = fixtures / "09_statcan_dbf_encodings"
    assert {name: dbf.dbf_encoding(folder / name) for name in expected} == expected
