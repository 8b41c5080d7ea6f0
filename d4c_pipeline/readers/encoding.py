"""Detection of the encoding of text from its bytes, and of text that was decoded in a wrong encoding.

Readers use the encoding that a side file of their format declares before they detect one here.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import codecs
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError, DefinitionError
from d4c_pipeline.readers import eight_bit

_BLOCK = 1 << 20
# The marks of UTF-32 precede those of UTF-16, with which they begin.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = re.compile(rb"[\x80-\xff]+")
_C1 = re.compile(rb"[\x80-\x9f]")

# The second byte of a character of UTF-8, read as Windows-1252.
_HALF = "\u00a0-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122"
# Sequences that French, English and syllabics become in a wrong encoding, and that text does not contain otherwise. A
# capital letter with an accent before a closing quote is no such sequence (CAFÉ»).
_SIGNS = (
    # Undecodable bytes; control characters in place of the quotes of Windows-1252.
    "[\ufffd\u0080-\u009f]",
    # UTF-8 read as Windows-1252: accented letters, the ligature oe, syllabics,
    f"[\u00c2\u00c3][{_HALF}]|\u00c5[\u2018-\u201d]|\u00e1[\u2013\u2014\u2018-\u201d\u2022][{_HALF}]",
    # dashes and quotes, the trade mark, a byte order mark, U+FFFD, pictures;
    "\u00e2\u20ac|\u00e2\u201e\u00a2|\u00ef\u00bb\u00bf|\u00ef\u00bf\u00bd|\u00f0\u0178",
    # the same read as cp437 or cp850, or as Mac Roman.
    "\u251c[^\\s\u2500-\u257f]|\u221a[\u00a9\u00ae\u2020\u00a2\u00df\u00ab\u2122]",
    # cp437, cp850 or Mac Roman read as Windows-1252.
    "[A-Za-z][\u201a\u0192\u2021\u02c6\u2030\u2039\u201c\u201d\u2022\u02dc\u0160][a-z]",
    "[a-z][\u017d\u0178]|[A-Z]\u017d[a-z]|[a-z][\u0160\u0152](?:[a-z]|$)|\u0192[A-Za-z]|[A-Za-z][\u02c6\u02dc]|\u02c6[A-Za-z]",
    # the same, and Mac Roman's o with its circumflex; the ligature oe of ISO-8859-15.
    "[A-Za-z]\u2122[a-z]|[A-Za-z][\u00bc-\u00be][a-z]",
    # Windows-1252 read as cp437, cp850 or Mac Roman.
    "[A-Za-z][\u0398\u03a6\u2320\u2524-\u256c][A-Za-z]|[a-z][\u00c8\u00d9\u00da\u00de][a-z]",
)
_MOJIBAKE = "|".join(_SIGNS)
_MOJIBAKE_HERE = re.compile(_MOJIBAKE)


def detect(path: Path) -> str:
    """Return the encoding of a text file: `utf-8-sig`, `utf-16`, `utf-32`, `utf-8`, else the result of `eight_bit`.

    Reads the complete file. Windows-1252 is preferred to ISO-8859-1, which has control characters in place of quotes,
    dashes and the euro. Raises DataError if no encoding fits, and for UTF-8 with lines
    in another encoding.
    """
    with path.open("rb") as handle:
        head = handle.read(4)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if (wide := _without_mark(head)) is not None:
        return wide
    if is_utf8(path, start=0, also_ascii=True):
        return "utf-8"
    if is_mostly_utf8(path, start=0):
        raise DataError(
            f"{path.name} is UTF-8 text, except line {_first_broken_line(path)}",
            "Have the publisher repair the file, or declare processing.encoding: cp1252 if all of it is Windows-1252",
        )
    if (mixed := _mixed_lines(path)) is not None:
        raise DataError(
            f"{path.name} is UTF-8 text in line {mixed[0]}, and text of another encoding in line {mixed[1]}",
            "Have the publisher save the file in one encoding, or declare processing.encoding: cp1252 if line"
            f" {mixed[0]} is right in it",
        )
    return eight_bit.detect(path)


def is_utf8(path: Path, *, start: int, also_ascii: bool = False) -> bool:
    """Return whether the bytes of `path` from `start` on are valid UTF-8.

    Pure ASCII gives no evidence of an encoding and counts only with `also_ascii`.
    """
    ascii_only, rest = True, b""
    with path.open("rb") as handle:
        handle.seek(start)
        while block := handle.read(_BLOCK):
            if not rest and block.isascii():
                continue
            ascii_only = False
            # A character that the end of the block splits is checked with the next block.
            block = rest + block
            cut = max(len(block) - 3, 0)
            while cut < len(block) and block[cut] & 0xC0 != 0xC0:
                cut += 1
            rest = block[cut:]
            if not _is_utf8(block[:cut]):
                return False
    return _is_utf8(rest) and (also_ascii or not ascii_only)


def is_mostly_utf8(path: Path, *, start: int) -> bool:
    """Return whether valid characters of UTF-8 outnumber broken ones tenfold in `path` from `start` on.

    Fields of fixed width split characters, so a few broken characters do not indicate another encoding.
    """
    valid = broken = 0
    with path.open("rb") as handle:
        handle.seek(start)
        while block := handle.read(_BLOCK):
            if block.isascii():
                continue
            found = len(_SEQUENCE.findall(block))
            valid += found
            broken += len(_HIGH.findall(_SEQUENCE.sub(b"", block)))
    return valid > 0 and broken * 10 <= valid


def has_windows_bytes(path: Path, *, start: int) -> bool:
    """Return whether any byte is a control character in ISO-8859-1 and a quote, dash or letter in Windows-1252."""
    with path.open("rb") as handle:
        handle.seek(start)
        return any(_C1.search(block) for block in iter(lambda: handle.read(_BLOCK), b""))


@dataclass(frozen=True)
class Texts:
    """Decoder of text columns from a library that may pass on bytes that are not UTF-8, as GDAL does.

    `file`: name in messages. `encoding`: the declared or detected encoding. `report` counts `text_cut`. With
    `fixed_width`, a last character that the width of its field split is dropped.
    """

    file: str
    encoding: str | None
    report: dict[str, Any]
    fixed_width: bool = False

    def checked(self, column: pa.Array, name: str) -> pa.Array:
        """Return a text column in UTF-8, other columns unchanged. Raises DataError for text in another encoding."""
        if not pa.types.is_string(column.type):
            return column
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            return self._decoded(column, name)
        return column

    def _decoded(self, column: pa.Array, name: str) -> pa.Array:
        encoding = self.encoding or "utf-8"
        out: list[str | None] = []
        values: list[bytes | None] = column.cast(pa.binary()).to_pylist()
        for value in values:
            if value is None:
                out.append(None)
                continue
            try:
                out.append(value.decode(encoding))
            except UnicodeDecodeError as error:
                if not (self.fixed_width and error.end == len(value) and error.reason == "unexpected end of data"):
                    raise DataError(
                        f"Column {name} of {self.file} is not {encoding} text: {value[:40]!r}",
                        "Declare processing.encoding",
                    ) from error
                self.report["text_cut"] = self.report.get("text_cut", 0) + 1
                out.append(value[: error.start].decode(encoding).rstrip())
        return pa.array(out, pa.string())


def is_mojibake(text: str) -> bool:
    """Return whether `text` was decoded in a wrong encoding (`QuÃ©bec`, `Qu‚bec`, `QuΘbec`, `Qu\ufffdbec`)."""
    return not text.isascii() and _MOJIBAKE_HERE.search(text) is not None


@dataclass(frozen=True)
class Mojibake:
    """The number of wrongly decoded values of a column, and up to five distinct examples."""

    count: int
    examples: tuple[str, ...] = ()


def mojibake(column: pa.ChunkedArray | pa.Array) -> Mojibake:
    """Count the values of a text column for which `is_mojibake` is true; a column of another type has none."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return Mojibake(0)
    suspects = column.filter(pc.invert(pc.string_is_ascii(column)))
    found = suspects.filter(pc.match_substring_regex(suspects, _MOJIBAKE))
    return Mojibake(len(found), tuple(pc.unique(found).slice(0, 5).to_pylist()))


def python_name(name: str) -> str:
    """Return Python's normalised name of an encoding. Raises DefinitionError if the encoding does not exist."""
    try:
        return codecs.lookup(name).name
    except LookupError as error:
        raise DefinitionError(
            f"'{name}' is not an encoding", "Declare processing.encoding as utf-8, cp1252, iso-8859-1, ..."
        ) from error


def _without_mark(head: bytes) -> str | None:
    # UTF-16 of Latin letters without a mark: every second byte is zero, as in no other text.
    if len(head) == 4 and head.count(0) == 2:
        return "utf-16-le" if head[1] == head[3] == 0 else "utf-16-be" if head[0] == head[2] == 0 else None
    return None


def _is_utf8(block: bytes) -> bool:
    # Arrow validates bytes several times faster than Python decodes them. (pa.array would import pandas first.)
    offsets = pa.py_buffer(struct.pack("=ii", 0, len(block)))
    try:
        pa.Array.from_buffers(pa.binary(), 1, [None, offsets, pa.py_buffer(block)]).cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _mixed_lines(path: Path) -> tuple[int, int] | None:
    """Return the first line that only UTF-8 explains and the first that is no UTF-8, if both exist."""
    right = broken = None
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if line.isascii():
                continue
            if not _is_utf8(line):
                broken = broken or number
            # Windows-1252 has no character for five bytes, which then are control characters.
            elif right is None and is_mojibake(line.decode("cp1252", "replace")):
                right = number
            if right is not None and broken is not None:
                return right, broken
    return None


def _first_broken_line(path: Path) -> int:
    with path.open("rb") as handle:
        return next((number for number, line in enumerate(handle, 1) if not _is_utf8(line)), 1)
