"""Which content coding a body really has, whatever its header says, and the body without it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.sources.fetch import codings

TEXT = b"id,name\n1,a\n" * 500
PACKED = gzip.compress(TEXT, mtime=0)


def brotli(data: bytes) -> bytes:
    import brotli as library

    return bytes(library.compress(data))


def zstd(data: bytes) -> bytes:
    from backports import zstd as library  # pyright: ignore[reportMissingImports]

    return bytes(library.compress(data))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def read(said: str, name: str, body: bytes) -> bytes:
    found = codings.of({"Content-Encoding": said}, name, body[: codings.PEEK], "u")
    return b"".join(codings.decoded(pieces(body), found, "u"))


def pieces(body: bytes) -> Iterator[bytes]:
    return (body[at : at + 100] for at in range(0, len(body), 100))


@pytest.mark.parametrize(
    "said", ["", "identity", "UTF-8", "aws-chunked", "binary", "none", "gzip", "zstd", "deflate", "br"]
)
def test_a_coding_that_the_bytes_do_not_have_is_none(said: str) -> None:
    assert read(said, "a.csv", TEXT) == TEXT


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ("gzip", PACKED),
        ("X-GZIP", PACKED),
        ("aws-chunked, gzip", PACKED),
        ("gzip", gzip.compress(TEXT[:600]) + gzip.compress(TEXT[600:])),
        ("gzip", PACKED + b"\0" * 300),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("br", brotli(TEXT)),
        ("zstd", zstd(TEXT)),
        ("zstd", zstd(TEXT[:600]) + zstd(TEXT[600:])),
        ("br, gzip", gzip.compress(brotli(TEXT))),
    ],
)
def test_a_coding_that_they_have_is_undone(said: str, body: bytes) -> None:
    assert read(said, "a.csv", body) == TEXT


def test_a_gzip_by_its_name_keeps_its_gzip_unless_it_was_packed_once_more() -> None:
    assert read("gzip", "a.csv.gz", PACKED) == PACKED
    assert read("gzip", "a.tgz", PACKED) == PACKED
    assert read("gzip", "a.csv.gz", gzip.compress(PACKED)) == PACKED


@pytest.mark.parametrize(("said", "body"), [("gzip", PACKED), ("br", brotli(TEXT)), ("zstd", zstd(TEXT))])
def test_a_body_that_is_cut_off_is_no_shorter_file(said: str, body: bytes) -> None:
    with pytest.raises(TransientError, match="truncated body"):
        read(said, "a.csv", body[: len(body) - 5])


def test_a_coding_that_can_not_be_undone_is_refused_by_name() -> None:
    with pytest.raises(SourceError, match="'compress'"):
        read("compress", "a.csv", b"\x1f\x9d")


@given(st.binary(max_size=3000), st.sampled_from(["gzip", "deflate", "br", "zstd"]))
def test_any_body_comes_back(body: bytes, said: str) -> None:
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli, "zstd": zstd}[said]
    assert read(said, "a.bin", pack(body)) == body
