"""Archives that unpack to more, or list more, than anybody delivers."""

# ruff: noqa: SIM115 - bytes are made in one expression where that is the clearest

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from d4c_pipeline_tests.hostile.attack import Attack

_CSV = b"a,b\n1,2\n"


def attacks() -> Iterator[Attack]:
    """Yield the attacks."""
    yield Attack("zip in zip, 1.5 GB", "a.zip", lambda p: nested(p, 2, 24, 60 << 20), ("D4C_UNPACK",))
    yield Attack("zip in zip in zip", "a.zip", lambda p: nested(p, 3, 8, 8 << 20))
    yield Attack("zip six deep", "a.zip", lambda p: nested(p, 6, 2, 1 << 20))
    yield Attack("one file of 400 MB", "a.zip", lambda p: nested(p, 1, 1, 400 << 20), ("times its size",))
    yield Attack("a file shared by 2,000 members", "a.zip", overlapping, ("overlap",))
    yield Attack("a million members", "a.zip", lambda p: many_in_zip(p, 1_000_000), ("D4C_UNPACK_MEMBERS",))
    yield Attack("a million folders", "a.zip", lambda p: many_in_zip(p, 1_000_000, "/"), ("D4C_UNPACK_MEMBERS",))
    yield Attack(
        "2,000 folders in one another", "a.zip", lambda p: zipped(p, {"a/" * 2000 + "x.csv": _CSV}), ("folders",)
    )
    yield Attack("a folder too many", "a.zip", lambda p: zipped(p, {"a/" * 300 + "x.csv": _CSV}), ("folders",))
    yield Attack("a name of 300 letters", "a.zip", lambda p: zipped(p, {"a" * 300 + ".csv": _CSV}), ("too long",))
    yield Attack("a name of 60,000 letters", "a.zip", lambda p: zipped(p, {"a" * 60_000 + ".csv": _CSV}), ("too long",))
    yield Attack("names that are the same", "a.zip", lambda p: many_in_zip(p, 9_999, same=True))
    yield Attack("lies about its size", "a.zip", lying, ("broken zip",))
    yield Attack("says 2^63 bytes", "a.zip", giant, ("would unpack", "broken"))
    for method, name in ((zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")):
        yield Attack(
            f"{name} bomb", "a.zip", lambda p, m=method: zipped(p, {"x.csv": bytes(1 << 28)}, m), ("times its size",)
        )
    yield Attack("tar of a million members", "a.tar", lambda p: many_in_tar(p, 1_000_000), ("D4C_UNPACK_MEMBERS",))
    yield Attack(
        "tar.gz of a million members",
        "a.tar.gz",
        lambda p: many_in_tar(p, 1_000_000),
        ("D4C_UNPACK_MEMBERS", "times its size"),
    )
    yield Attack("tar, a name of 300 MB", "a.tar.gz", lambda p: long_name(p, 300 << 20), ("times its size",))
    yield Attack("tar, a name of 50 MB", "a.tar.gz", lambda p: long_name(p, 50 << 20), ("broken tar", "too long"))
    yield Attack(
        "tar, a pax header of 50 MB", "a.tar.gz", lambda p: long_name(p, 50 << 20, b"x"), ("broken tar", "too long")
    )
    yield Attack("tar, names upon names", "a.tar.gz", chained_names, ("broken tar", "too long", "no file"))
    yield Attack("tar, sparse file of 1 TB", "a.tar", sparse, ("would unpack",))
    yield Attack("tar, sparse file of 10 GB", "a.tar", lambda p: sparse(p, 10 << 30), ("times its size",))
    yield Attack("tar, a chain of links", "a.tar", links, ("link",))
    yield Attack("tar, 2,000 folders in one another", "a.tar", deep_tar, ("folders",))
    yield Attack("gzip of 10 GB", "a.csv.gz", lambda p: gzipped(p, 10 << 30), ("times its size",))
    yield Attack("gzip of a gzip", "a.csv.gz", lambda p: p.write_bytes(gzip.compress(gzip.compress(bytes(1 << 26)))))
    yield Attack("100,000 gzips in one file", "a.csv.gz", lambda p: p.write_bytes(gzip.compress(b"a\n") * 100_000))
    yield Attack("7z bomb", "a.7z", lambda p: seven(p, {"x.csv": bytes(300 << 20)}), ("times its size",))
    yield Attack(
        "7z of 12,000 members",
        "a.7z",
        lambda p: seven(p, {f"{n}.csv": b"" for n in range(12_000)}),
        ("D4C_UNPACK_MEMBERS",),
    )
    yield Attack(
        "7z, 2,000 folders in one another", "a.7z", lambda p: seven(p, {"a/" * 2000 + "x.csv": _CSV}), ("folders",)
    )
    yield Attack("7z, a header of 600 MB", "a.7z", lambda p: seven_header(p, 600 << 20), ("broken 7z", "7z"))
    yield Attack("a tar in a zip, a million members", "a.zip", tar_in_zip, ("No file",))


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def nested(path: Path, depth: int, copies: int, size: int) -> None:
    """A zip of `copies` zips of ... of a file with `size` zeros, `depth` zips in one another."""
    inner = io.BytesIO()
    with (
        zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.csv", "w", force_zip64=True) as sink,
    ):
        sink.write(b"a,b\n")
        for _ in range(max(1, size >> 24)):
            sink.write(bytes(min(size, 1 << 24)))
    data = inner.getvalue()
    for _ in range(depth - 1):
        outer = io.BytesIO()
        with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(copies):
                archive.writestr(f"{number}.zip", data)
        data = outer.getvalue()
    path.write_bytes(data)


def _local(name: bytes, crc: int, packed: int, size: int, method: int) -> bytes:
    return struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, method, 0, 33, crc, packed, size, len(name), 0) + name


def _central(name: bytes, crc: int, packed: int, size: int, method: int, at: int) -> bytes:
    return (
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, method, 0, 33, crc, packed, size, len(name), 0, 0, 0, 0, 0, at)
        + name
    )


def _end(count: int, size: int, at: int) -> bytes:
    wide = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, at)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at + size, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), size, at, 0)
    return (wide + locator if count > 0xFFFE else b"") + end


def overlapping(path: Path) -> None:
    """Many members whose data is the same bytes, as David Fifield's bombs have them."""
    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = b"a,b\n" + b"1,2\n" * 5000
    data = body.compress(raw) + body.flush()
    local = _local(b"0", zlib.crc32(raw), len(data), len(raw), 8)
    centrals = b"".join(_central(b"%d" % n, zlib.crc32(raw), len(data), len(raw), 8, 0) for n in range(2000))
    path.write_bytes(local + data + centrals + _end(2000, len(centrals), len(local) + len(data)))


def many_in_zip(path: Path, count: int, suffix: str = ".csv", *, same: bool = False) -> None:
    local, central, at = [], [], 0
    for number in range(count):
        name = f"{0 if same else number:x}{suffix}".encode()
        local.append(_local(name, 0, 0, 0, 0))
        central.append(_central(name, 0, 0, 0, 0, at))
        at += len(local[-1])
    every = b"".join(central)
    path.write_bytes(b"".join(local) + every + _end(count, len(every), at))


def lying(path: Path) -> None:
    zipped(path, {"x.csv": bytes(1 << 24)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 1 << 24), struct.pack("<L", 10)))


def giant(path: Path) -> None:
    name, extra = b"x.csv", struct.pack("<HHQ", 1, 8, 1 << 63)
    local = _local(name, 0, 3, 3, 8)
    central = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 45, 45, 0, 8, 0, 33, 0, 3, 0xFFFFFFFF, len(name), len(extra), 0, 0, 0, 0, 0
    )
    central += name + extra
    path.write_bytes(local + b"abc" + central + _end(1, len(central), len(local) + 3))


def many_in_tar(path: Path, count: int) -> None:
    info = tarfile.TarInfo("0")
    block = bytearray(info.tobuf())
    opened = gzip.open(path, "wb", 1) if path.suffix == ".gz" else path.open("wb")
    with opened as sink:
        base = 0
        for number in range(count):
            name = f"{number:x}.csv".encode()
            block[:100] = name.ljust(100, b"\0")
            if number == 0:
                base = sum(block[:148]) + sum(block[156:512]) - sum(name) + 8 * 32
            block[148:156] = b"%06o\0 " % (base + sum(name))
            sink.write(block)
        sink.write(bytes(1024))


def long_name(path: Path, size: int, kind: bytes = b"L") -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, size
    data = tarfile.TarInfo("x.csv")
    data.size = len(_CSV)
    with gzip.open(path, "wb", 6) as sink:
        sink.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size >> 20):
            sink.write(b"a" * (1 << 20))
        sink.write(data.tobuf() + _CSV.ljust(512, b"\0") + bytes(1024))


def chained_names(path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = b"L", 5
    block = header.tobuf(tarfile.GNU_FORMAT) + b"x.csv".ljust(512, b"\0")
    with gzip.open(path, "wb", 6) as sink:
        for _ in range(100):
            sink.write(block * 500)
        sink.write(bytes(1024))


def sparse(path: Path, size: int = 1 << 40) -> None:
    block = bytearray(512)
    block[:5] = b"x.csv"
    block[100:108], block[108:116], block[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    block[124:136], block[136:148] = b"%011o\0" % 0, b"%011o\0" % 0
    block[156:157], block[257:265] = b"S", b"ustar  \0"
    block[483:495] = b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path.write_bytes(bytes(block) + bytes(1024))


def links(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for number in range(9000):
            info = tarfile.TarInfo(f"{number}")
            info.type, info.linkname = tarfile.SYMTYPE, f"{number + 1}"
            archive.addfile(info)


def deep_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a/" * 2000 + "x.csv")
        info.size = len(_CSV)
        archive.addfile(info, io.BytesIO(_CSV))


def gzipped(path: Path, size: int) -> None:
    part = gzip.compress(b"a,b\n" + bytes(1 << 28), 6)
    path.write_bytes(part * (size >> 28))


def seven(path: Path, members: dict[str, bytes]) -> None:
    import py7zr

    with py7zr.SevenZipFile(path, "w", filters=[{"id": py7zr.FILTER_LZMA2, "preset": 1}]) as archive:
        for name, data in members.items():
            archive.writestr(data, name)


def seven_header(path: Path, size: int) -> None:
    """A 7z whose directory is packed, and becomes `size` bytes."""
    import lzma

    packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])
    packed = b"".join(packer.compress(bytes(1 << 24)) for _ in range(size >> 24)) + packer.flush()

    def number(value: int) -> bytes:
        return b"\xff" + struct.pack("<Q", value)

    header = b"\x17\x06" + number(0) + b"\x01\x09" + number(len(packed)) + b"\x00"
    header += b"\x07\x0b\x01\x00\x01\x21\x21\x01\x18\x0c" + number(size) + b"\x00\x00"
    start = struct.pack("<QQI", len(packed), len(header), zlib.crc32(header))
    path.write_bytes(b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(start)) + start + packed + header)


def tar_in_zip(path: Path) -> None:
    inner = path.with_name("inner.tar")
    many_in_tar(inner, 100_000)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(inner, "inner.tar")
    inner.unlink()
