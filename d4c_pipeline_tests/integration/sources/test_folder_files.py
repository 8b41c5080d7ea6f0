"""A drop folder: what counts, what is dated, what is left alone until it is at rest."""

from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.model.errors import SourceError, StorageError, TransientError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import FolderSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.folder import DropFolder
from d4c_pipeline.sources.port import Arrived
from d4c_pipeline_tests.integration.sources.arrivals import retained

V2021 = Vintage.parse("2021")


def folder(
    path: str, *, later: float = 3600.0, vintages: tuple[Vintage, ...] | None = None, **declared: Any
) -> DropFolder:
    """As it looks `later` seconds from now: tests don't wait for files to be at rest."""
    source = FolderSource(kind="folder", path=path, **declared)
    return DropFolder(source, vintages=vintages, clock=lambda: time.time() + later)


def put(path: Path, content: bytes = b"a,b\n1,2\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (1714865400, 1714865400))  # 4 May 2024, 23:30 UTC
    return path


def test_vintages_are_the_folders_that_hold_files(tmp_path: Path) -> None:
    for name in ("census_2021", "census_2016", "census_2011_old", "census_abcd", "census_2031"):
        put(tmp_path / "drop" / name / "a.csv")
    (tmp_path / "drop" / "census_2031" / "a.csv").unlink()
    source = folder(f"{tmp_path}/drop/census_{{vintage:yyyy}}")
    assert [str(vintage) for vintage in source.discover()] == ["2016", "2021"]


def test_one_folder_has_the_day_of_its_newest_file(tmp_path: Path) -> None:
    put(tmp_path / "a.csv")
    source = folder(str(tmp_path))
    assert [str(vintage) for vintage in source.discover()] == ["2024-05-04"]
    assert len(source.fetch(Vintage.parse("2024-05-04"), tmp_path.parent / "into")) == 1
    with pytest.raises(SourceError, match="holds vintage 2024-05-04 now, not 2024-05-03"):
        source.fetch(Vintage.parse("2024-05-03"), tmp_path.parent / "other")


def test_files_are_copied_once_and_then_known(tmp_path: Path) -> None:
    put(tmp_path / "drop" / "on" / "stops (1).csv")
    put(tmp_path / "drop" / "notes.txt")
    put(tmp_path / "drop" / ".hidden.csv")
    (tmp_path / "drop" / "link.csv").symlink_to("/etc/passwd")
    source = folder(f"{tmp_path}/drop", vintages=(V2021,), pattern="*.csv")
    (first,) = source.fetch(V2021, tmp_path / "into")
    assert (first.name, first.size) == ("stops (1).csv", 8)
    assert first.url == f"file://{tmp_path}/drop/on/stops%20%281%29.csv"
    (again,) = source.fetch(V2021, tmp_path / "again", [retained(first)])
    assert isinstance(again, NativeFile)
    before = source.observe(V2021)
    put(tmp_path / "drop" / "on" / "stops (1).csv", b"a,b\n1,3,4\n")
    assert source.observe(V2021) != before
    assert isinstance(source.fetch(V2021, tmp_path / "third", [retained(first)])[0], Arrived)


def test_a_file_counts_when_it_has_been_left_alone(tmp_path: Path) -> None:
    put(tmp_path / "drop" / "a.csv")  # its date is of 2024: what counts is when the disk was written to
    for later, words in ((10, "less than 60 s ago"), (-100, "less than 60 s ago")):
        with pytest.raises(TransientError, match=words):
            folder(f"{tmp_path}/drop", later=later, vintages=(V2021,)).fetch(V2021, tmp_path / "into")
    assert folder(f"{tmp_path}/drop", later=61, vintages=(V2021,)).fetch(V2021, tmp_path / "into")


def test_a_file_that_grows_while_it_is_read_is_not_taken(tmp_path: Path) -> None:
    path = put(tmp_path / "drop" / "a.bin", bytes(3 << 20))

    def grow(_name: str, done: int, _total: int | None) -> None:
        if done == 1 << 20:
            with path.open("ab") as file:
                file.write(b"more")

    with pytest.raises(TransientError, match="was written to while it was read"):
        folder(f"{tmp_path}/drop", vintages=(V2021,)).fetch(V2021, tmp_path / "into", progress=grow)
    assert not (tmp_path / "into" / "a.bin").exists()


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_or_missing_folder_is_refused(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "drop").mkdir()
    with pytest.raises(SourceError, match="No file at"):
        folder(f"{tmp_path}/drop").discover()


def test_a_listing_of_vintages_that_is_gone_is_never_empty(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="is gone"):
        folder(f"{tmp_path}/drop/{{vintage}}").discover()
    (tmp_path / "drop").mkdir()
    with pytest.raises(SourceError, match="No vintage lies at"):
        folder(f"{tmp_path}/drop/{{vintage}}").discover()


def test_a_page_in_the_folder_is_no_data(tmp_path: Path) -> None:
    put(tmp_path / "drop" / "a.zip", b"<!DOCTYPE html><html>moved</html>")
    with pytest.raises(SourceError, match="web page instead of data"):
        folder(f"{tmp_path}/drop", vintages=(V2021,)).fetch(V2021, tmp_path / "into")


def test_a_disk_without_room_is_told_before_anything_is_copied(tmp_path: Path, monkeypatch: Any) -> None:
    put(tmp_path / "drop" / "a.csv")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3})())
    with pytest.raises(StorageError, match="needs 8 bytes"):
        folder(f"{tmp_path}/drop", vintages=(V2021,)).fetch(V2021, tmp_path / "into")


def test_what_a_zip_holds_is_told_apart_from_how_it_was_packed(tmp_path: Path) -> None:
    def pack(moment: int, data: bytes) -> str | None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(zipfile.ZipInfo("a.csv", (2024, 1, moment, 0, 0, 0)), data)
        return folder(str(tmp_path), vintages=(V2021,)).content(V2021)

    assert pack(1, b"1,2") == pack(2, b"1,2")
    assert pack(1, b"1,2") != pack(1, b"1,3")
