"""Names of native files out of addresses, and what is wrong with the bytes that arrived."""

from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.files.disk import require_room, storage_errors
from d4c_pipeline.model.errors import SourceError, StorageError, TransientError
from d4c_pipeline.sources.files import file_names, inspect


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.ca/files/lpr_000a21a_e.zip?st=x", "lpr_000a21a_e.zip"),
        ("https://a.ca/donn%C3%A9es%20ouvertes.csv", "données ouvertes.csv"),
        ("https://a.ca/e%CC%81tude.csv", "étude.csv"),  # one letter, however it is composed
        ("https://a.ca/x/..%2F..%2Fetc%2Fpasswd", "_.._etc_passwd"),
        ("https://a.ca/x/%2E%2E", "download"),
        ("https://a.ca/.bashrc", "bashrc"),
        ("https://a.ca/a%00b%0A.zip", "a_b_.zip"),
        ("https://a.ca", "download"),
        ("https://a.ca/data/", "data"),
    ],
)
def test_a_name_is_the_last_part_of_the_path_made_safe(url: str, name: str) -> None:
    assert file_names([url]) == (name,)


def test_two_urls_of_one_name_are_told_apart_whatever_their_order() -> None:
    urls = ["https://a.ca/on/stops.ZIP", "https://a.ca/qc/stops.zip", "https://a.ca/ab/other.zip"]
    names = file_names(urls)
    assert names[2] == "other.zip"
    assert len({name.casefold() for name in names}) == 3
    assert names[0].startswith("stops-")
    assert names[0].endswith(".ZIP")
    assert file_names(urls[::-1]) == names[::-1]


@given(st.lists(st.text(max_size=300), min_size=1, max_size=4))
def test_no_path_makes_an_unsafe_name(paths: list[str]) -> None:
    from urllib.parse import quote

    for name in file_names([f"https://a.ca/{quote(path)}" for path in paths]):
        assert name not in ("", ".", "..")
        assert not set(name) & set('/\\\0\n:*?"<>|')
        assert len(name.encode()) <= 160


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html>moved</html>",
        b"\xef\xbb\xbf\n  <HTML lang='fr'>",
        b"<!-- notice --><!doctype HTML>",
    ],
)
def test_a_page_is_not_data(tmp_path: Path, page: bytes) -> None:
    path = tmp_path / "x.part"
    path.write_bytes(page)
    with pytest.raises(SourceError, match="web page instead of data"):
        inspect(path, "stops.csv", "https://a.ca/stops.csv")
    inspect(path, "notes.html", "https://a.ca/notes.html")


def test_a_csv_that_mentions_html_is_data(tmp_path: Path) -> None:
    path = tmp_path / "x.part"
    path.write_bytes(b"id,text\n1,<html>\n")
    inspect(path, "x.csv", "https://a.ca/x.csv")


def test_empty_foreign_and_cut_zips_are_told_from_each_other(tmp_path: Path) -> None:
    path = tmp_path / "x.part"
    path.write_bytes(b"")
    with pytest.raises(SourceError, match="empty file"):
        inspect(path, "x.zip", "https://a.ca/x.zip")
    path.write_bytes(b"\x1f\x8b not a zip")
    with pytest.raises(SourceError, match="is not a zip"):
        inspect(path, "x.zip", "https://a.ca/x.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "x" * 1000)
    inspect(path, "x.zip", "https://a.ca/x.zip")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(TransientError, match="truncated zip"):
        inspect(path, "x.zip", "https://a.ca/x.zip")


def test_room_is_compared_with_what_is_free(tmp_path: Path) -> None:
    require_room(tmp_path, 1, "a.zip")
    with pytest.raises(StorageError, match=r"a\.zip needs 1,152,921,504,606,846,976 bytes"):
        require_room(tmp_path, 1 << 60, "a.zip")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "Free space on that disk"), (errno.EROFS, "writable"), (errno.EACCES, "Give this user access")],
)
def test_a_refusing_disk_is_a_storage_error_with_a_remedy(tmp_path: Path, code: int, remedy: str) -> None:
    with pytest.raises(StorageError, match=remedy), storage_errors(f"write in {tmp_path}"):
        raise OSError(code, os.strerror(code))
