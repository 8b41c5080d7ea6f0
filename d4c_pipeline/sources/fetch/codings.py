"""Content codings (RFC 9110, 8.4): detect the coding of a response's body, and decode the body.

Servers state codings that the bytes do not have (`UTF-8`, `aws-chunked`, an empty text, `gzip` of a plain file), and
send a `.gz` file with the header for a body gzipped on the way: the bytes decide. Archives belong to `files.unpack`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol

from d4c_pipeline.files import magic
from d4c_pipeline.model.errors import SourceError, TransientError

PEEK = 1 << 12
"""The number of bytes that identify the coding of a body."""

_ALIASES = {"x-gzip": "gzip", "x-deflate": "deflate", "x-compress": "compress"}
_KNOWN = frozenset({"gzip", "deflate", "br", "zstd", "compress"})
_PIECE = 1 << 20


class _Decoder(Protocol):
    def __call__(self, data: bytes, /) -> Iterator[bytes]: ...


def stated(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the codings that headers state, in the order in which they were applied, without unknown names."""
    names = (name.strip().lower() for name in headers.get("Content-Encoding", "").split(","))
    return tuple(name for name in (_ALIASES.get(each, each) for each in names) if name in _KNOWN)


def of(headers: Mapping[str, str], name: str, start: bytes, url: str) -> tuple[str, ...]:
    """Return the codings of a body that begins with `start` and becomes the file `name`; empty if it is the file.

    Raises SourceError for an unsupported coding.
    """
    names_stated = stated(headers)
    if not names_stated:
        return ()
    outer = names_stated[-1]
    if outer == "compress":
        raise SourceError(f"{url} sends the encoding 'compress'", "Ask the publisher for the plain file")
    if outer == "gzip":
        # A file named as a gzip is that gzip, unless it contains another gzip.
        packed = start.startswith(magic.GZIP)
        is_file = name.lower().endswith((".gz", ".tgz")) and not _inside(start).startswith(magic.GZIP)
        return names_stated if packed and not is_file else ()
    if outer == "zstd":
        return names_stated if start.startswith(magic.ZSTANDARD) else ()
    try:
        for _ in _decoder(outer)(start):
            break
    except _Broken:
        return ()
    return names_stated


def decoded(chunks: Iterator[bytes], codings: tuple[str, ...], url: str) -> Iterator[bytes]:
    """Yield a body without `codings`. Raises TransientError if it is broken or truncated."""
    for name in reversed(codings):
        chunks = _undone(chunks, name, url)
    return chunks


def _undone(chunks: Iterator[bytes], name: str, url: str) -> Iterator[bytes]:
    decoder = _decoder(name)
    try:
        for chunk in chunks:
            yield from decoder(chunk)
        yield from decoder(b"")
    except _Broken as error:
        raise TransientError(
            f"{url} sent a broken or truncated body in encoding {name} ({error})", "Try again later"
        ) from error


class _Broken(Exception):  # noqa: N818 - not one of ours: it never leaves this module
    """A decoder can't continue. An empty piece marks the end of the body."""


def _decoder(name: str) -> _Decoder:
    if name == "gzip":
        return _Zlib(16 + zlib.MAX_WBITS)
    if name == "deflate":
        return _Zlib(zlib.MAX_WBITS)
    if name == "br":
        return _Brotli()
    return _Zstd()


class _Zlib:
    """gzip of one or several members; deflate with its header, or without, as some servers send it."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._running = zlib.decompressobj(bits)
        self._begun = False

    def __call__(self, data: bytes, /) -> Iterator[bytes]:
        if not data:
            if self._begun and not self._running.eof:
                raise _Broken("incomplete stream")
            return
        try:
            yield from self._inflated(data)
        except zlib.error as error:
            raise _Broken(str(error)) from error

    def _inflated(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._running.eof:
                if self._bits <= zlib.MAX_WBITS or not data.startswith(magic.GZIP):
                    return  # what follows the end is padding
                self._running = zlib.decompressobj(self._bits)
            try:
                out = self._running.decompress(data, _PIECE)
            except zlib.error:
                if self._begun or self._bits != zlib.MAX_WBITS:
                    raise
                self._bits = -zlib.MAX_WBITS
                self._running = zlib.decompressobj(self._bits)
                continue
            self._begun = True
            if out:
                yield out
            data = self._running.unused_data if self._running.eof else self._running.unconsumed_tail


class _Brotli:  # this module and the next are dependencies of py7zr
    def __init__(self) -> None:
        module: Any = import_module("brotli")
        self._error: type[Exception] = module.error
        self._running: Any = module.Decompressor()

    def __call__(self, data: bytes, /) -> Iterator[bytes]:
        try:
            if not data:
                if not self._running.is_finished():
                    raise _Broken("incomplete stream")
                return
            yield bytes(self._running.process(data, output_buffer_limit=_PIECE))
            while not self._running.can_accept_more_data():
                yield bytes(self._running.process(b"", output_buffer_limit=_PIECE))
        except self._error as error:
            raise _Broken(str(error)) from error


class _Zstd:
    def __init__(self) -> None:
        module: Any = import_module("backports.zstd")
        self._error: type[Exception] = module.ZstdError
        self._new: Callable[[], Any] = module.ZstdDecompressor
        self._running: Any = self._new()
        self._begun = False

    def __call__(self, data: bytes, /) -> Iterator[bytes]:
        if not data:
            if self._begun and not self._running.eof:
                raise _Broken("incomplete stream")
            return
        try:
            while data or (self._begun and not self._running.eof and not self._running.needs_input):
                if self._running.eof:
                    self._running = self._new()
                self._begun = True
                yield bytes(self._running.decompress(data, _PIECE))
                data = bytes(self._running.unused_data) if self._running.eof else b""
        except self._error as error:
            raise _Broken(str(error)) from error


def _inside(start: bytes) -> bytes:
    try:
        return b"".join(_Zlib(16 + zlib.MAX_WBITS)(start))
    except _Broken:
        return b""
