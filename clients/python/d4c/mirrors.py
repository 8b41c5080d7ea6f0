"""Mirrors: HTTP addresses or folders with the files of a store. One request to one mirror belongs here.

Which mirror is next, and whether bytes are the published ones, belongs to `cache` and `catalogue`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import urllib3

from d4c.errors import UnreachableError

SETTING = "D4C_MIRRORS"
CATALOGUE = "catalogue/stac.parquet"
TIMEOUT = 20.0
"""Seconds without an answer, or with fewer than `SLOWEST` bytes a second, after which a mirror has stalled."""
SLOWEST = 1024
_CHUNK = 1 << 20


class MirrorFailure(Exception):  # noqa: N818 - no error of the caller: the next mirror follows
    """One mirror did not deliver. `cut`: the connection ended early, and the rest may be asked for."""

    def __init__(self, reason: str, *, cut: bool = False) -> None:
        self.cut = cut
        super().__init__(reason)


@dataclass(frozen=True)
class Mirror:
    """A place with the files of a store: `base` is an HTTP address or the path of a folder, without a last slash."""

    base: str

    @classmethod
    def of(cls, text: str | os.PathLike[str]) -> Mirror:
        """Return the mirror at an address or a folder. The address of the catalogue's Parquet file names its store."""
        base = os.fspath(text).strip().removesuffix(CATALOGUE).rstrip("/")
        return cls(base if _is_http(base) else str(Path(base or "/").expanduser().absolute()))

    def address(self, path: str) -> str:
        """Return the address or path of a file of the store."""
        return f"{self.base}/{path}"


@dataclass
class Answer:
    """A body that begins at byte `start` of the file. `total`: bytes of the file, where the mirror states them.

    `unchanged`: the mirror holds what the validators describe, and there is no body.
    """

    start: int
    total: int | None
    chunks: Iterator[bytes]
    validators: Mapping[str, str] = field(default_factory=dict[str, str])
    unchanged: bool = False


def named(mirrors: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None) -> tuple[Mirror, ...]:
    """Return the given mirrors, else those of the variable `D4C_MIRRORS`. Raises UnreachableError without any."""
    if mirrors is None:
        given: Sequence[str | os.PathLike[str]] = re.split(r"[\s,]+", os.environ.get(SETTING, "").strip())
    else:
        given = [mirrors] if isinstance(mirrors, str | os.PathLike) else mirrors
    found = tuple(dict.fromkeys(Mirror.of(each) for each in given if os.fspath(each).strip()))
    if not found:
        raise UnreachableError(
            "No mirror is given",
            f"Pass mirrors=['https://...'] or set {SETTING} to addresses or folders of stores, with spaces between",
        )
    return found


@contextmanager
def opened(address: str, first: int, timeout: float, validators: Mapping[str, str] | None = None) -> Iterator[Answer]:
    """Ask for the file at `address` from byte `first` on. Raises MirrorFailure, also while the body is read.

    `validators`: headers of a conditional request, which the file at an HTTP address answers.
    """
    if not _is_http(address):
        with _folder_file(address, first) as answer:
            yield answer
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": "d4c-client", **(validators or {})}
    if first:
        headers["Range"] = f"bytes={first}-"
    try:
        response = _pool().request(
            "GET",
            address,
            headers=headers,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=min(timeout, 10.0), read=timeout),
            retries=urllib3.Retry(0, redirect=5, raise_on_redirect=True),
        )
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise MirrorFailure(_reason(error)) from error
    try:
        yield _answer(response, first, timeout)
    finally:
        response.close()


def read(address: str, timeout: float, most: int = 1 << 24) -> bytes:
    """Return a small document. Raises MirrorFailure when it is not delivered or has more than `most` bytes."""
    content = b""
    with opened(address, 0, timeout) as answer:
        for chunk in answer.chunks:
            content += chunk
            if len(content) > most:
                raise MirrorFailure(f"more than {most} bytes")
    return content


def _is_http(address: str) -> bool:
    return address.lower().startswith(("http://", "https://"))


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(maxsize=8)


@contextmanager
def _folder_file(path: str, first: int) -> Iterator[Answer]:
    try:
        with Path(path).open("rb") as file:
            file.seek(first)
            yield Answer(first, os.fstat(file.fileno()).st_size, iter(lambda: file.read(_CHUNK), b""))
    except OSError as error:
        raise MirrorFailure(error.strerror or str(error)) from error


def _answer(response: urllib3.BaseHTTPResponse, first: int, timeout: float) -> Answer:
    if response.status == 304:
        return Answer(0, None, iter(()), unchanged=True)
    if response.status not in (200, 206):
        raise MirrorFailure(f"HTTP {response.status}")
    start, total = 0, _whole(response.headers.get("Content-Length"))
    if response.status == 206:
        stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if stated is None or int(stated[1]) != first:
            raise MirrorFailure("a range was answered with another range")
        start, total = first, _whole(stated[2])
    kept = {"If-None-Match": "ETag", "If-Modified-Since": "Last-Modified"}
    validators = {ask: response.headers[told] for ask, told in kept.items() if told in response.headers}
    return Answer(start, total, _body(response, timeout), validators)


def _body(response: Any, timeout: float) -> Iterator[bytes]:
    """Yield the body as it arrives; a mirror that sends next to nothing has stalled, as one that sends nothing."""
    begun, got = time.monotonic(), 0
    while True:
        try:
            chunk: bytes = response.read1(_CHUNK)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise MirrorFailure(_reason(error)) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise MirrorFailure(_reason(error), cut=True) from error
        if not chunk:
            return
        yield chunk
        got += len(chunk)
        if (passed := time.monotonic() - begun) > timeout:
            if got < SLOWEST * passed:
                raise MirrorFailure(f"stalled: {got} bytes in {passed:.0f} s")
            begun, got = time.monotonic(), 0


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _reason(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "stalled: no answer in time"
    return f"{type(error).__name__}: {error}"[:300]
