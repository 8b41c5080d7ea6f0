"""Rewrites JSON for DuckDB's reader: UTF-8 without marks, and as text those numbers of which a float would lose digits.

This module processes bytes only; finding rows belongs to `json_records`, types of values to `json_rows`.
"""

from __future__ import annotations

import mmap
import re
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

from d4c_pipeline.model.errors import DataError

_UTF8_MARK = b"\xef\xbb\xbf"
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# Separates JSON text sequences (RFC 7464); a string would have it escaped.
_RECORD_SEPARATOR = b"\x1e"
_BLOCK = 1 << 20
# A float preserves up to 17 digits, so shorter numbers need no test. A match may be within a string.
_SUSPICIOUS = re.compile(
    rb"(?<=[\s:,\[])-?\d[\d.]{18,}(?:[eE][+-]?\d+)?(?=[\s,\]}])|(?<=[\s:,\[])-?\d{16,}\.\d+(?=[\s,\]}])"
)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.]*(?:[eE][+-]?\d+)?')


def plain(path: Path, report: dict[str, Any]) -> Path:
    """Return the file at `path`, or a file beside it with the same JSON in the form that DuckDB reads.

    A byte order mark and record separators are removed, UTF-16 and UTF-32 become UTF-8, fractional numbers of which a
    float would lose digits become text. `report` gets the changes (`encoding`, `exact_numbers`). Raises DataError for
    text that is not in the encoding of its byte order mark.
    """
    made = path.with_name(f"{path.name}.plain")
    with path.open("rb") as handle:
        head = handle.read(4)
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), None) or _without_mark(head)
    if encoding is not None:
        report["encoding"] = encoding
        try:
            with (
                path.open(encoding=encoding, newline="") as source,
                made.open("w", encoding="utf-8", newline="") as out,
            ):
                shutil.copyfileobj(source, out, _BLOCK)
        except UnicodeError as error:
            raise DataError(
                f"{path.name} can't be read as {encoding} text: {error}", "Fetch the vintage again"
            ) from error
        path = made
    elif head.startswith((_UTF8_MARK, _RECORD_SEPARATOR)):
        with path.open("rb") as source, made.open("wb") as out:
            source.seek(len(_UTF8_MARK) if head.startswith(_UTF8_MARK) else 0)
            while block := source.read(_BLOCK):
                out.write(block.replace(_RECORD_SEPARATOR, b"\n"))
        path = made
    return _exact(path, made, report)


def _without_mark(head: bytes) -> str | None:
    # JSON begins with an ASCII character, so zero bytes identify the encoding (RFC 4627, section 3).
    encodings: dict[tuple[bool, ...], str] = {
        (True, False, True, False): "utf-16-be",
        (False, True, False, True): "utf-16-le",
        (True, True, True, False): "utf-32-be",
        (False, True, True, True): "utf-32-le",
    }
    return encodings.get(tuple(byte == 0 for byte in head[:4]))


def _exact(path: Path, made: Path, report: dict[str, Any]) -> Path:
    if not path.stat().st_size:
        return path
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
        if not any(_loses(match[0]) for match in _SUSPICIOUS.finditer(view)):
            return path
        count = 0

        def kept(match: re.Match[bytes]) -> bytes:
            nonlocal count
            token = match[0]
            if token.startswith(b'"') or not _loses(token):
                return token
            count += 1
            return b'"' + token + b'"'

        text = _TOKEN.sub(kept, view)
    if not count:
        return path
    made.write_bytes(text)
    report["exact_numbers"] = count
    return made


def _loses(number: bytes) -> bool:
    # Whether a float changes the number. DuckDB keeps integers exactly.
    if len(number) < 18 or not (b"." in number or b"e" in number.lower()):
        return False
    text = number.decode()
    try:
        value = float(text)
    except ValueError:  # such as 1.2.3 within a string
        return False
    return Decimal(text) != Decimal(repr(value)) if abs(value) != float("inf") else False
