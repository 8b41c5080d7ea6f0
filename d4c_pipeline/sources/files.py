"""Fetched files: safe names, and checks of the bytes that arrived.

No module of a protocol belongs here. Unpacking archives belongs to `files.unpack`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from d4c_pipeline.files import magic
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.sources.fetch import formats, not_data
from d4c_pipeline.sources.port import Arrived

START = 1024
"""The number of bytes that distinguish most web pages from data."""

_LONGEST_NAME = 150  # bytes; leaves room for `.part` and the like under the usual 255
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')


def file_names(urls: Sequence[str], declared: str | None = None) -> tuple[str, ...]:
    """Return a safe file name for each of `urls`, from its path. Equal names get a part of the URL's sha256.

    `declared`: the declared format, None without one. It becomes the suffix of each name.

    A URL gets the same name in any order. A repeated URL also gets a number, from its second occurrence on. Names are
    compared without case, since some file systems ignore case.
    """
    names = {url: formats.with_format(_safe_name(url), declared) for url in urls}
    times = Counter(name.casefold() for name in names.values())
    again: Counter[str] = Counter()
    out: list[str] = []
    for url in urls:
        name = names[url] if times[names[url].casefold()] == 1 else _disambiguated(names[url], url)
        again[url] += 1
        out.append(name if again[url] == 1 else _numbered(name, again[url]))
    return tuple(out)


def _safe_name(url: str) -> str:
    last = unquote(urlsplit(url).path.rstrip("/").rsplit("/", 1)[-1])
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", last)).strip(" .")
    suffix = PurePosixPath(name).suffix
    room = _LONGEST_NAME - len(suffix.encode())
    if room < 1:
        return name.encode()[:_LONGEST_NAME].decode(errors="ignore")
    return (name.removesuffix(suffix).encode()[:room].decode(errors="ignore") + suffix) or "download"


def _numbered(name: str, number: int) -> str:
    suffix = PurePosixPath(name).suffix
    return f"{name.removesuffix(suffix)}-{number}{suffix}"


def _disambiguated(name: str, url: str) -> str:
    suffix = PurePosixPath(name).suffix
    return f"{name.removesuffix(suffix)}-{hashlib.sha256(url.encode()).hexdigest()[:8]}{suffix}"


def has_end(name: str) -> bool:
    """Return whether `inspect` detects a missing end of a file with this name."""
    return magic.ZIP in magic.REQUIRED.get(PurePosixPath(name).suffix.lower(), ())


def inspect(path: Path, name: str, url: str, start: bytes | None = None, *, html_type: bool = False) -> None:
    """Check the complete file at `path`, fetched from `url`, which gets the name `name`.

    `start`: its first `START` bytes, if the caller has them. `html_type`: the Content-Type is that of a web page.

    Raises SourceError if the file is empty, a web page, or doesn't begin as its suffix requires; TransientError if it
    is a zip without its end; and the error of `not_data.judged` for an error document.
    """
    if start is None:
        with path.open("rb") as file:
            start = file.read(START)
    if not start:
        raise SourceError(f"{url} sent an empty file", "Open the address in a browser and correct it")
    suffix = PurePosixPath(name).suffix.lower()
    required = magic.REQUIRED.get(suffix, ())
    if (error := not_data.judged(path, name, url, start, binary=bool(required), html_type=html_type)) is not None:
        raise error
    # A zip may have bytes before its members (a self-extracting one), so its end decides.
    is_zip = suffix == ".zip" and zipfile.is_zipfile(path)
    if required and not is_zip and not start.startswith(required):
        raise SourceError(f"{url} is not a {suffix[1:]}", "Open the address in a browser and correct it")
    if magic.ZIP in required and not is_zip and not zipfile.is_zipfile(path):
        raise TransientError(f"{url} sent a truncated zip", "Try again; if it persists, report it to the publisher")


def write_document(into: Path, name: str, url: str, content: bytes, *, last_modified: str | None = None) -> Arrived:
    """Write a document of one response as the native file `name`. Raises StorageError."""
    with storage_errors(f"write in {into}"):
        into.mkdir(parents=True, exist_ok=True)
        part = into / f".{name}.part"
        part.write_bytes(content)
        part.replace(into / name)
    return Arrived(into / name, url, len(content), None, last_modified, "application/json")
