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
from d4c_pipeline_tests.support.arrivals import retained

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
    with pytest.raises(SourceError, match="serves vintage 2024-05-04 now, not 2024-05-03"):
        source.fetch(Vintage.parse("2024-05-03"), tmp_path.parent / "other")


def test_files_are_copied_once_and_then_known(tmp_path: Path) -> None:
    put(tmp_path / "drop" / "on" / "stops (1).csv")
    put(tmp_path / "drop" / "notes.txt")
    put(tmp_path / "drop" / ".hidden.csv")
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
    with pytest.raises(TransientError, match="disappeared"):
        folder(f"{tmp_path}/drop/{{vintage}}").discover()
    (tmp_path / "drop").mkdir()
    with pytest.raises(SourceError, match="No vintage found at"):
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


def test_bytes_that_changed_under_a_kept_time_are_seen(tmp_path: Path) -> None:
    """`rsync -t` and `cp -p` set the time of the content; the length may be the same as well."""
    path = put(tmp_path / "drop" / "a.csv")
    source = folder(f"{tmp_path}/drop", vintages=(V2021,))
    before, (first,) = source.observe(V2021), source.fetch(V2021, tmp_path / "into")
    put(path, b"a,b\n1,3\n")
    assert source.observe(V2021).digest != before.digest
    assert isinstance(source.fetch(V2021, tmp_path / "again", [retained(first)])[0], Arrived)


def test_links_are_followed_within_the_folder_and_read_once(tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    put(drop / "2024-03.csv")
    put(drop / "parts" / "b.csv")
    put(tmp_path / "shelf" / "c.csv")
    (drop / "latest.csv").symlink_to("2024-03.csv")
    (drop / "again").symlink_to("parts")
    (drop / "parts" / "up").symlink_to("..")  # a circle
    (drop / "notes.txt").symlink_to(tmp_path / "shelf" / "c.csv")  # not asked for by the pattern
    source = folder(str(drop), vintages=(V2021,), pattern="*.csv")
    assert [one.name for one in source.fetch(V2021, tmp_path / "into")] == ["2024-03.csv", "b.csv"]
    (drop / "c.csv").symlink_to(tmp_path / "shelf" / "c.csv")
    with pytest.raises(SourceError, match=r"The link .*/drop/c\.csv leads out of the folder, to .*/shelf/c\.csv"):
        source.observe(V2021)


def test_links_between_vintages_stay_in_the_folder(tmp_path: Path) -> None:
    put(tmp_path / "drop" / "common" / "a.csv")
    (tmp_path / "drop" / "2021").mkdir()
    (tmp_path / "drop" / "2021" / "a.csv").symlink_to("../common/a.csv")
    assert len(folder(f"{tmp_path}/drop/{{vintage}}").fetch(V2021, tmp_path / "into")) == 1


@pytest.mark.parametrize(("target", "words"), [("gone.csv", "is broken"), ("x.csv", "circle|nowhere")])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, target: str, words: str) -> None:
    put(tmp_path / "drop" / "a.csv")
    (tmp_path / "drop" / "x.csv").symlink_to(target)
    with pytest.raises(SourceError, match=words):
        folder(f"{tmp_path}/drop", vintages=(V2021,)).observe(V2021)


def test_a_time_ahead_is_taken_where_it_dates_nothing_and_named_where_it_does(tmp_path: Path) -> None:
    path = put(tmp_path / "drop" / "a.csv")
    ahead = time.time() + 7 * 3600
    os.utime(path, (ahead, ahead))
    listed = folder(f"{tmp_path}/drop", later=61, vintages=(V2021,))
    assert listed.fetch(V2021, tmp_path / "into")[0].size == 8
    with pytest.raises(TransientError, match=r"/drop/a\.csv is dated .* 7 hours in the future|6 hours in the future"):
        folder(f"{tmp_path}/drop", later=61).discover()
    os.utime(path, (4_070_908_800, 4_070_908_800))
    with pytest.raises(SourceError, match="is dated 2099-01-01"):
        folder(f"{tmp_path}/drop", later=61).discover()


def test_a_disk_whose_clock_is_ahead_is_named(tmp_path: Path) -> None:
    put(tmp_path / "drop" / "a.csv")
    with pytest.raises(TransientError, match=r"which is in the future\. Set the clocks"):
        folder(f"{tmp_path}/drop", later=-7200, vintages=(V2021,)).observe(V2021)


def test_a_name_that_is_no_text_is_taken_by_its_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"donn\xe9es.csv")
    put(tmp_path / "drop" / name)
    source = folder(f"{tmp_path}/drop", vintages=(V2021,))
    (first,) = source.fetch(V2021, tmp_path / "into")
    assert first.url == f"file://{tmp_path}/drop/donn%E9es.csv"
    assert first.name == "donn\ufffdes.csv"
    assert source.observe(V2021).files[0].url == first.url


def test_a_file_that_vanishes_while_it_is_listed_is_transient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "drop" / "a.csv")
    source = folder(f"{tmp_path}/drop")
    listed = source._stable(None)
    path.unlink()
    monkeypatch.setattr(source, "_stable", lambda _: listed)
    for ask in (source.discover, lambda: source.observe(V2021), lambda: source.fetch(V2021, tmp_path / "into")):
        with pytest.raises(TransientError, match="disappeared"):
            ask()
