"""Unpacking: attacks are refused before anything is written, names are decoded, real archives come out whole."""

from __future__ import annotations

import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import pytest

from d4c_pipeline.files import unpack_zip
from d4c_pipeline.files.unpack import Budget, Limits, is_archive, unpack
from d4c_pipeline.model.errors import DataError, StorageError


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def with_raw_name(path: Path, raw: bytes) -> Path:
    """A zip of one member whose name is `raw` bytes without the UTF-8 flag, as old programs write it."""
    data = b"x,y\n1,2\n"
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, zlib.crc32(data), len(data), len(data), len(raw), 0)
    central = struct.pack(
        "<4s6H3L5H2L",
        b"PK\1\2",
        20,
        20,
        0,
        0,
        0,
        33,
        zlib.crc32(data),
        len(data),
        len(data),
        len(raw),
        0,
        0,
        0,
        0,
        0,
        0,
    )
    start = len(local) + len(raw) + len(data)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(central) + len(raw), start, 0)
    path.write_bytes(local + raw + data + central + raw + end)
    return path


def refused(archive: Path, into: Path, words: str, limits: Limits | None = None) -> None:
    with pytest.raises(DataError, match=words) as caught:
        unpack(archive, into, within=None if limits is None else Budget(limits, archive.stat().st_size))
    assert caught.value.remedy
    assert not into.exists(), "something was written"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../outside.csv", "leaves the folder"),
        ("a/../../outside.csv", "leaves the folder"),
        ("..\\outside.csv", "leaves the folder"),
        ("/etc/outside.csv", "an absolute path"),
        ("\\outside.csv", "an absolute path"),
        ("C:\\outside.csv", "an absolute path"),
        ("c:outside.csv", "an absolute path"),
        ("a\nb.csv", "not a file name"),
    ],
)
def test_members_that_leave_the_folder_are_refused(tmp_path: Path, name: str, words: str) -> None:
    archive = zipped(tmp_path / "a.zip", ("good.csv", b"1"), (name, b"2"))
    refused(archive, tmp_path / "into", words)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (kind | 0o777) << 16
    refused(zipped(tmp_path / "a.zip", (link, b"/etc/passwd")), tmp_path / "into", "a link or a device")


def test_a_bomb_is_refused_by_ratio_by_size_and_by_count(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", *((f"{n}.csv", bytes(1 << 20)) for n in range(4)))
    refused(archive, tmp_path / "into", "times its size, more than 200", Limits(ratio_from=1 << 20))
    refused(
        archive,
        tmp_path / "into",
        "would unpack to 4,194,304 bytes, more than 4,000,000",
        Limits(total_bytes=4_000_000),
    )
    refused(archive, tmp_path / "into", "holds more than 3 members.* raise D4C_UNPACK_MEMBERS", Limits(members=3))
    assert len(unpack(archive, tmp_path / "into")) == 4, "small archives may be as repetitive as they like"


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("a.csv", bytes(1 << 20)))
    data = archive.read_bytes().replace(struct.pack("<L", 1 << 20), struct.pack("<L", 10))
    archive.write_bytes(data)
    with pytest.raises(DataError, match="broken zip"):
        unpack(archive, tmp_path / "into")
    assert sum(path.stat().st_size for path in (tmp_path / "into").iterdir()) <= 10


def test_encrypted_and_unknown_methods_are_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("secret.csv", b"1234"))
    plain = archive.read_bytes()
    central = plain.index(b"PK\1\2")
    encrypted = bytearray(plain)
    encrypted[6] |= 1
    encrypted[central + 8] |= 1
    archive.write_bytes(encrypted)
    refused(archive, tmp_path / "into", "'secret.csv', which is encrypted")
    unknown = bytearray(plain)
    unknown[8] = unknown[central + 10] = 97
    archive.write_bytes(unknown)
    refused(archive, tmp_path / "into", "method 97")


def test_names_that_are_one_on_some_disks_are_refused(tmp_path: Path) -> None:
    refused(zipped(tmp_path / "a.zip", ("Été.csv", b"1"), ("été.csv", b"2")), tmp_path / "into", "twice")
    refused(zipped(tmp_path / "b.zip", ("a", b"1"), ("A/b.csv", b"2")), tmp_path / "into", "file and as a folder")


def test_a_broken_zip_is_a_data_error_and_not_a_crash(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("a.csv", bytes(range(256)) * 100))
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    assert is_archive(archive)
    refused(archive, tmp_path / "into", r"a\.zip is a broken zip")
    flipped = bytearray(whole)
    flipped[60] ^= 0xFF
    archive.write_bytes(flipped)
    with pytest.raises(DataError, match="broken zip"):
        unpack(archive, tmp_path / "into")
    assert not (tmp_path / "into" / "a.csv").exists(), "half a file under the right name"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Montréal.csv".encode("cp437"), "Montréal.csv"),
        ("Montréal.csv".encode("cp1252"), "Montréal.csv"),
        ("Montréal.csv".encode(), "Montréal.csv"),
        ("Île-à-la-Crosse/Œuvres.csv".encode("cp1252"), "Île-à-la-Crosse/Œuvres.csv"),
        ("Forêt/çà.csv".encode("cp437"), "Forêt/çà.csv"),
        (b"folder\\plain.csv", "folder/plain.csv"),
    ],
)
def test_names_are_decoded_from_the_code_page_they_are_in(tmp_path: Path, raw: bytes, name: str) -> None:
    (path,) = unpack(with_raw_name(tmp_path / "a.zip", raw), tmp_path / "into")
    assert path == tmp_path / "into" / name
    assert path.read_bytes() == b"x,y\n1,2\n"


def test_unpacking_again_gives_the_same_files(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("b/", b""), ("b/c d.csv", b"1"), ("a.csv", b"2"))
    first = unpack(archive, tmp_path / "into")
    (tmp_path / "into" / "a.csv.part").write_bytes(b"left by a killed process")
    assert unpack(archive, tmp_path / "into") == first
    assert [str(path.relative_to(tmp_path / "into")) for path in first] == ["a.csv", "b/c d.csv"]
    assert first[0].read_bytes() == b"2"


def test_a_folder_that_can_not_be_written_is_a_storage_error(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("a.csv", b"1"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="Can't write in"):
        unpack(archive, tmp_path / "file" / "into")


def test_real_archives_come_out_whole(fixtures: Path, tmp_path: Path) -> None:
    stops = unpack(fixtures / "05_ttc_stops/TTC_stops.zip", tmp_path / "stops")
    assert tmp_path / "stops" / "TTC_stops" / "TTC stops.shp" in stops
    tables = unpack(fixtures / "08_statcan_wds/33100036-eng.zip", tmp_path / "tables")
    assert {path.name: path.stat().st_size for path in tables} == {
        "33100036.csv": 13206057,
        "33100036_MetaData.csv": 3896,
    }
    assert not is_archive(fixtures / "07_statcan_odcaf/ODCAF_v1.0.csv")


def test_deflate64_is_unpacked_as_windows_writes_it(tmp_path: Path) -> None:
    import inflate64

    data = b"DGUID,value\n2021A000011124,1\n" * 200_000
    deflater = inflate64.Deflater()
    packed = deflater.deflate(data) + deflater.flush()
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.csv", packed)  # stored, to be called deflate64 afterwards
    raw = bytearray(archive.read_bytes())
    central = raw.index(b"PK\1\2")
    for at in (0, central):
        method, crc, length = (8, 14, 22) if at == 0 else (10, 16, 24)
        struct.pack_into("<H", raw, at + method, 9)
        struct.pack_into("<L", raw, at + crc, zlib.crc32(data))
        struct.pack_into("<L", raw, at + length, len(data))
    archive.write_bytes(raw)
    (path,) = unpack(archive, tmp_path / "into")
    assert path.read_bytes() == data


def tarred(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, BytesIO(data))
    return path


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_tars_come_out_whole_again_and_again(tmp_path: Path, mode: str) -> None:
    members = [(tarfile.TarInfo("data/Montréal stops.csv"), b"1,2\n"), (tarfile.TarInfo("readme.txt"), b"hello")]
    archive = tarred(tmp_path / "a.tar.gz", *members, mode=mode)
    assert is_archive(archive)
    for _ in range(2):
        paths = unpack(archive, tmp_path / "into")
        assert [str(path.relative_to(tmp_path / "into")) for path in paths] == ["data/Montréal stops.csv", "readme.txt"]
        assert paths[0].read_bytes() == b"1,2\n"


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("../outside.csv", tarfile.REGTYPE, "leaves the folder"),
        ("/etc/outside.csv", tarfile.REGTYPE, "an absolute path"),
        ("link", tarfile.SYMTYPE, "a link or a device"),
        ("link", tarfile.LNKTYPE, "a link or a device"),
        ("pipe", tarfile.FIFOTYPE, "a link or a device"),
        ("GOOD.csv", tarfile.REGTYPE, "twice"),
    ],
)
def test_tars_that_would_do_harm_are_refused(tmp_path: Path, name: str, kind: bytes, words: str) -> None:
    bad = tarfile.TarInfo(name)
    bad.type, bad.linkname = kind, "/etc/passwd"
    archive = tarred(tmp_path / "a.tar.gz", (tarfile.TarInfo("good.csv"), b"1"), (bad, b""))
    refused(archive, tmp_path / "into", words)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_a_gzipped_file_gets_its_name_back_and_a_bomb_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "stops.csv.gz"
    archive.write_bytes(gzip.compress(b"1,2\n"))
    (path,) = unpack(archive, tmp_path / "into")
    assert (path.name, path.read_bytes()) == ("stops.csv", b"1,2\n")
    archive.write_bytes(gzip.compress(bytes(8 << 20)))
    limits = Limits(ratio_from=1 << 20)
    refused(archive, tmp_path / "other", "unpacks to at least .* times its size, more than 200", limits)
    refused(
        archive, tmp_path / "other", "unpacks to at least .* bytes, more than 1,000,000", Limits(total_bytes=1_000_000)
    )
    tar = tarred(tmp_path / "b.tar.gz", (tarfile.TarInfo("zeros.bin"), bytes(8 << 20)))
    refused(tar, tmp_path / "other", "unpacks to at least .* times its size, more than 200", limits)
    archive.write_bytes(gzip.compress(bytes(range(256)) * 1000)[:-300])
    refused(archive, tmp_path / "other", "is a broken gzip")


def test_7z_comes_out_whole_and_a_harmful_or_locked_one_is_refused(tmp_path: Path) -> None:
    import py7zr

    archive = tmp_path / "a.7z"
    with py7zr.SevenZipFile(archive, "w") as opened:
        opened.writestr("1,2\n", "data folder/Montréal.csv")
        opened.writestr("hello", "readme.txt")
    for _ in range(2):
        paths = unpack(archive, tmp_path / "into")
        names = [str(path.relative_to(tmp_path / "into")) for path in paths]
        assert names == ["data folder/Montréal.csv", "readme.txt"]
        assert paths[0].read_bytes() == b"1,2\n"
    assert sorted(path.name for path in (tmp_path / "into").iterdir()) == ["data folder", "readme.txt"]
    refused(archive, tmp_path / "other", "holds more than 1 members", Limits(members=1))
    archive.write_bytes(archive.read_bytes()[:-20])
    refused(archive, tmp_path / "other", "broken 7z")
    for header in (False, True):
        with py7zr.SevenZipFile(archive, "w", password="secret", header_encryption=header) as opened:
            opened.writestr("hello", "readme.txt")
        refused(archive, tmp_path / "other", "is encrypted")
    (tmp_path / "target").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with py7zr.SevenZipFile(archive, "w") as opened:
        opened.write(tmp_path / "link", "link")
    refused(archive, tmp_path / "other", "a link or a device")


@pytest.mark.parametrize("name", ["../outside.csv", "/etc/outside.csv"])
def test_a_7z_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    import py7zr

    archive = tmp_path / "a.7z"
    with py7zr.SevenZipFile(archive, "w") as opened:
        opened.writestr("x", "harmless_name.csv"[: len(name)].ljust(len(name), "_"))
    # The writer refuses such names; the header holds them in UTF-16, and its CRC is that of what it holds.
    plain = archive.read_bytes()
    with py7zr.SevenZipFile(archive, "w") as opened:
        opened.writestr("x", "good.csv")
        opened.header.files_info.files[0]["filename"] = name
    assert plain != archive.read_bytes()
    refused(archive, tmp_path / "into", "leaves the folder|an absolute path")


# Zips that other programs read


@pytest.mark.parametrize("before", [b"MZ" + b"\0" * 500, b"<!-- checked by proxy -->\n", b"PK\x07\x08"])
def test_a_zip_with_something_before_it_is_read(tmp_path: Path, before: bytes) -> None:
    path = zipped(tmp_path / "a.zip", ("x.csv", b"id\n1\n" * 1000), ("y/z.csv", b"2"))
    path.write_bytes(before + path.read_bytes())
    assert is_archive(path)
    found = unpack(path, tmp_path / "into")
    assert [one.read_bytes() for one in found] == [b"id\n1\n" * 1000, b"2"]


def test_data_with_a_zip_inside_is_no_archive(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.csv", ("x.csv", b"1"))
    path.write_bytes(b"id,attachment\n1," + path.read_bytes())
    assert not is_archive(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_one_file_unless_it_differs(tmp_path: Path) -> None:
    same = zipped(tmp_path / "same.zip", ("x.csv", b"id\n1\n"), ("x.csv", b"id\n1\n"), ("X.CSV", b"id\n1\n"))
    assert [path.read_bytes() for path in unpack(same, tmp_path / "same")] == [b"id\n1\n"]
    other = zipped(tmp_path / "other.zip", ("x.csv", b"id\n1\n"), ("x.csv", b"id\n2\n"))
    refused(other, tmp_path / "other", r"'x\.csv' twice, with 5 and 5 bytes that differ")


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("Forêt_éèàç.csv", "cp437"),
        ("Forêt_ÀÊÈ.csv", "cp850"),
        ("Québec_ÉÊ.csv", "cp1252"),
        ("données œuvres.csv", "cp1252"),
        ("Montréal.csv", "cp850"),
        ("Año.csv", "cp437"),
    ],
)
def test_a_name_is_read_in_the_code_page_that_it_was_written_in(tmp_path: Path, name: str, page: str) -> None:
    (found,) = unpack(with_raw_name(tmp_path / "a.zip", name.encode(page)), tmp_path / "into")
    assert found.name == name


def test_a_name_that_is_repeated_in_utf8_is_that_one(tmp_path: Path) -> None:
    raw, text = b"Nunavut_????.csv", "Nunavut_\u14c4\u14c7\u1557\u1466.csv"
    info = zipfile.ZipInfo("Nunavut_\u00e9.csv")
    path = with_raw_name(tmp_path / "a.zip", raw.replace(b"????", b"\x82"))
    extra = struct.pack("<BL", 1, zlib.crc32(raw.replace(b"????", b"\x82"))) + text.encode()
    info.orig_filename, info.flag_bits, info.extra = (
        "Nunavut_\u00e9.csv",
        0,
        struct.pack("<HH", 0x7075, len(extra)) + extra,
    )
    assert unpack_zip._decoded_name(info) == text
    assert unpack(path, tmp_path / "into")[0].name == "Nunavut_\u00e9.csv"


def test_backslashes_zip64_and_sizes_after_the_data_are_read(tmp_path: Path) -> None:
    class Stream(BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    stream = Stream()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a\\b.csv", "w", force_zip64=True) as f,
    ):
        f.write(b"id\n1\n")
    (tmp_path / "a.zip").write_bytes(stream.getvalue())
    (found,) = unpack(tmp_path / "a.zip", tmp_path / "into")
    assert found.relative_to(tmp_path / "into") == Path("a/b.csv")
    assert found.read_bytes() == b"id\n1\n"


def test_a_member_of_another_checksum_is_told(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("x.csv", b"id\n1\n"))
    data = path.read_bytes()
    at = data.index(b"PK\1\2") + 16
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(DataError, match=r"a\.zip is a broken zip \(bad checksum of 'x\.csv'\)"):
        unpack(path, tmp_path / "into")
