"""Detection of the dialect of a delimited text: encoding, delimiter, quote, column names, begin and end of the rows.

An ambiguous text is refused with the evidence. `text` reads the rows in the dialect, `quoting` checks its quotes.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import bounded, edges
from d4c_pipeline.readers import encoding as encodings
from d4c_pipeline.readers.until import Until
from d4c_pipeline.tables.native import exactly_unique

UTF8 = ("utf-8", "utf-8-sig")
_DELIMITERS = (",", ";", "\t", "|")
# Excel writes and reads a first line that names the delimiter.
_SEP = re.compile(r'"?sep=(?P<mark>[^\r\n"A-Za-z0-9])"?[,;\t]*\s*', re.IGNORECASE)
# A quoted name may span lines; no name spans a hundred.
_NAME_LINES = 100
_SAMPLE = 200
_TAIL, _LONG_TAIL = 1 << 16, 1 << 22
_FOOTER_SAMPLE = 60
_FIELD_LIMIT = (1 << 31) - 1
_BOM = re.compile("^(\ufeff|\u00ef\u00bb\u00bf)+")
_SINGLE = re.compile(r"\s*'.*'\s*")
_DOS_END = "\x1a"
_ASCII = bytes(range(128))


@dataclass(frozen=True)
class Dialect:
    """The dialect of a file.

    `checked`: whether all bytes are known to be in `encoding`. `quote`, `escape`: empty if the dialect has none.
    `skipped`: number of lines before the header (before the rows if `processing.header` names the columns). `names`:
    unique names, one for each field of a row, made from the names in the file, `raw`. `unnamed`: positions of generated
    names; the header has fields only up to `width`. `end`: offset of the end of the rows, in bytes. `first_row`: number
    of lines before the rows. `sample`: the first rows.
    """

    encoding: str
    checked: bool
    delimiter: str
    quote: str
    escape: str
    skipped: int
    names: tuple[str, ...]
    raw: tuple[str, ...]
    unnamed: tuple[int, ...]
    width: int
    end: int
    first_row: int
    sample: tuple[tuple[str, ...], ...] = ()

    def opened(self, path: Path) -> io.TextIOBase:
        """Open the file as text, up to the end of its rows, with line ends unchanged."""
        return io.TextIOWrapper(io.BufferedReader(Until(path, self.end)), self.encoding, newline="")

    def rows(self, path: Path, *, names: bool) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of its last line and the fields of each row that is not empty. `names`: skip the header."""
        with self.opened(path) as handle:
            for _ in range(self.skipped):
                handle.readline()
            reader = self.reader(handle)
            for row in reader:
                if names and row:
                    names = False
                elif row:
                    yield self.skipped + reader.line_num, row

    def blocks(self, path: Path, size: int) -> Iterator[bytes]:
        """Yield the bytes from the header (or the first row) on: unchanged if marks are single bytes, else in UTF-8.

        Raises UnicodeError if the text has to be decoded and is not valid in its encoding.
        """
        with self.opened(path) as handle:
            skipped = [handle.readline() for _ in range(self.skipped)]
            if not _is_transparent(self.encoding):
                while block := handle.read(size):
                    yield block.encode("utf-8", "surrogatepass")
                return
        start = sum(len(_encoded(path, line, self.encoding)) for line in skipped)
        with path.open("rb") as raw:
            # The first line contains the mark if it was read as plain UTF-8.
            if raw.read(3) == codecs.BOM_UTF8 and (self.encoding == "utf-8-sig" or not skipped):
                start += 3
            raw.seek(start)
            while block := raw.read(min(size, self.end - start)):
                yield block
                start += len(block)

    def line(self, path: Path, offset: int) -> int:
        """Return the number of the line, from 1, at an offset into what `blocks` yields."""
        ends, before = 0, b""
        for block in self.blocks(path, 1 << 20):
            head = block[:offset]
            ends += head.count(b"\n") + head.count(b"\r") - (before[-1:] + head).count(b"\r\n")
            offset -= len(head)
            before = head
            if not offset:
                break
        return self.skipped + ends + 1

    def is_rectangular(self, path: Path) -> bool:
        """Return whether every line, with quotes as plain text, has a field for each name."""
        with self.opened(path) as handle:
            return all(
                line.count(self.delimiter) == len(self.names) - 1
                for line in islice(handle, self.skipped, None)
                if line.strip("\r\n")
            )

    def reader(self, lines: Any) -> Any:
        """Return Python's `csv` reader in this dialect."""
        return _reader(lines, self.delimiter, self.quote, self.escape)


def find(path: Path, processing: Processing, report: dict[str, Any]) -> Dialect:
    """Return the dialect of the text at `path`, as declared in `processing` or else detected; add it to `report`.

    Raises DataError for an empty file, an ambiguous header, and notes or totals below the rows. Raises UnicodeError if
    the bytes are not text in the encoding.
    """
    encoding = encodings.python_name(processing.encoding) if processing.encoding else encodings.detect(path)
    report["encoding"] = encoding.removesuffix("-sig")
    end = _without_dos_end(path, encoding, report)
    with io.TextIOWrapper(io.BufferedReader(Until(path, end)), encoding, newline="") as handle:
        lines = list(islice(handle, _SAMPLE + (processing.header_row or 0)))
    if lines:
        # The mark may occur twice, or before text that is declared in another encoding.
        lines[0] = _BOM.sub("", lines[0])
    separator = _SEP.fullmatch(lines[0]) if lines else None
    at = _first(path, lines, processing.header_row, 1 if separator else 0)
    record, height = _record(lines, at)
    delimiter = processing.delimiter or (separator["mark"] if separator else _sniffed(record, lines[at:]))
    if separator:
        report["sep_line"] = True
    escape = processing.escape or ""
    quote = processing.quote
    if quote is None:
        quote = '"' if delimiter != "\t" or _quotes_close(path, encoding, end) else ""
    raw = list(processing.header) or _fields(record, delimiter, quote, escape)
    bounded.check_columns(path.name, len(raw), Limits.from_environment())
    first_row = at if processing.header else at + height
    sample = _sampled(lines[first_row:], delimiter, quote, escape)
    if not processing.header and processing.header_row is None:
        _check_names(path, raw, sample, lines, at)
    if processing.quote is None and len(raw) > 1 and all(_SINGLE.fullmatch(name) for name in raw):
        raise DataError(
            f"The column names of {path.name} are between single quotes: {edges.shown(raw)}",
            "Declare processing.quote: \"'\", or quote: '\"' if the single quotes belong to the names",
        )
    names, found, unnamed, width = _named(raw, sample)
    report["delimiter"] = delimiter
    dialect = Dialect(
        # UTF-8 without a mark is detected from all bytes of the file.
        encoding, not processing.encoding and encoding == "utf-8", delimiter, quote, escape, at, names, found, unnamed,
        width, end, first_row, tuple(map(tuple, sample)),
    )  # fmt: skip
    return _footed(path, processing, dialect, report)


def _without_dos_end(path: Path, encoding: str, report: dict[str, Any]) -> int:
    # DOS programs end a text with Ctrl-Z.
    size = path.stat().st_size
    mark = _DOS_END.encode(_bare(path, encoding))
    with path.open("rb") as handle:
        handle.seek(max(0, size - 64))
        tail = handle.read()
    kept = tail
    while kept.endswith(mark):
        kept = kept[: -len(mark)]
        report["ended_by_ctrl_z"] = True
    return size - len(tail) + len(kept)


def _bare(path: Path, encoding: str) -> str:
    # The variant of the encoding that writes no byte order mark.
    if encoding not in ("utf-16", "utf-32"):
        return "utf-8" if encoding == "utf-8-sig" else encoding
    with path.open("rb") as handle:
        big = handle.read(4).startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
    return f"{encoding}-be" if big else f"{encoding}-le"


def _is_transparent(encoding: str) -> bool:
    # Whether no byte of a longer character has the value of a mark.
    if encoding in UTF8:
        return True
    try:
        return len(bytes(range(256)).decode(encoding, "replace")) == 256 and _ASCII.decode(encoding) == _ASCII.decode()
    except (UnicodeError, LookupError):
        return False


def _first(path: Path, lines: Sequence[str], header_row: int | None, start: int) -> int:
    # The position of the header: the declared line, or the first line that is not empty.
    if header_row is not None:
        if header_row > len(lines):
            raise DataError(f"{path.name} has no line {header_row}", "Correct processing.header_row")
        return header_row - 1
    for number in range(start, len(lines)):
        if lines[number].strip():
            return number
    raise DataError(f"{path.name} is empty", "Fetch the vintage again")


def _record(lines: Sequence[str], at: int) -> tuple[str, int]:
    # The text of the header and its number of lines.
    more = [lines[at]]
    while sum(text.count('"') for text in more) % 2 and len(more) < min(_NAME_LINES, len(lines) - at):
        more.append(lines[at + len(more)])
    return "".join(more), len(more)


def _sniffed(record: str, below: Sequence[str]) -> str:
    # The delimiter that gives the most fields wins, the first of equals: a comma in a title gives fewer fields than the
    # separators of a header.
    found = max(_DELIMITERS, key=lambda mark: len(_fields(record, mark, '"', "")))
    if len(_fields(record, found, '"', "")) > 1:
        return found
    # A line of one field gives no evidence: it may be a title.
    return max(_DELIMITERS, key=lambda mark: sum(mark in line for line in below))


def _fields(text: str, delimiter: str, quote: str, escape: str) -> list[str]:
    return next(_reader(io.StringIO(text.rstrip("\r\n"), newline=""), delimiter, quote, escape), [""])


def _reader(lines: Any, delimiter: str, quote: str, escape: str) -> Any:
    csv.field_size_limit(_FIELD_LIMIT)
    return csv.reader(
        lines,
        delimiter=delimiter,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        escapechar=escape or None,
    )


def _sampled(lines: Sequence[str], delimiter: str, quote: str, escape: str) -> list[list[str]]:
    text = io.StringIO("".join(lines), newline="")
    return [row for row in islice(_reader(text, delimiter, quote, escape), _SAMPLE) if row]


def _check_names(path: Path, raw: Sequence[str], sample: Sequence[list[str]], lines: Sequence[str], at: int) -> None:
    below = edges.names_below(raw, sample)
    seen = f"Line {at + 1} of {path.name} ({edges.shown(raw)!r})"
    if below is not None:
        names = edges.shown(sample[below])
        line = _line_of(lines, at + 1, below)
        raise DataError(
            f"{seen} may not be the header: line {line + 1} has {names!r}",
            f"Declare processing.header_row: {line + 1} if the column names are there, else header_row: {at + 1}",
        )
    if edges.is_likely_row(raw, sample):
        raise DataError(
            f"{seen} looks like a row, but is in the place of the header",
            f"Declare processing.header with the names, or header_row: {at + 1} if that line is the header",
        )


def _line_of(lines: Sequence[str], start: int, number: int) -> int:
    # The line of a row; empty lines are not counted. (Titles don't span lines.)
    found = [at for at in range(start, len(lines)) if lines[at].strip("\r\n")]
    return found[min(number, len(found) - 1)]


def _named(
    raw: Sequence[str], sample: Sequence[list[str]]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...], int]:
    # Trailing delimiters of the header only, or of the rows only, are not columns.
    names = list(raw)
    filled = max((at + 1 for at, name in enumerate(names) if name.strip()), default=len(names))
    if sample:
        fields = len(sample[0])
        if filled <= fields < len(names):
            names = names[:fields]
        elif fields > len(names) and not any(field.strip() for field in sample[0][len(names) :]):
            names += [""] * (fields - len(names))
    unnamed = tuple(at for at, name in enumerate(names) if not name.strip())
    unique = exactly_unique([name if name.strip() else f"column_{at + 1}" for at, name in enumerate(names)])
    return tuple(unique), tuple(name.strip() and name for name in names), unnamed, len(raw)


def _quotes_close(path: Path, encoding: str, end: int) -> bool:
    with io.TextIOWrapper(io.BufferedReader(Until(path, end)), encoding, newline="") as handle:
        for line in handle:
            if '"' not in line:
                continue
            for field in line.rstrip("\r\n").split("\t"):
                if field.startswith('"') and (len(field) == 1 or not field.endswith('"')):
                    return False
    return True


def _footed(path: Path, processing: Processing, dialect: Dialect, report: dict[str, Any]) -> Dialect:
    # Rows end before the declared `footer_rows`. A line that looks like a footer and is not declared is refused.
    lines = _tail(path, dialect, _LONG_TAIL if processing.footer_rows else _TAIL)
    if processing.footer_rows is None:
        if processing.kind != "table" or (processing.wds is None and processing.census is None):
            _check_footer(path, dialect, lines)
        return dialect
    remaining, cut = processing.footer_rows, 0
    while remaining:
        if not lines:
            raise DataError(
                f"{path.name} has fewer lines than the {processing.footer_rows} declared as processing.footer_rows",
                "Correct processing.footer_rows",
            )
        line = lines.pop()
        cut += len(_encoded(path, line, dialect.encoding))
        remaining -= bool(line.strip())
    if processing.footer_rows:
        report["footer_rows"] = processing.footer_rows
    return replace(dialect, end=dialect.end - cut)


def _tail(path: Path, dialect: Dialect, size: int) -> list[str]:
    # The last lines below the header, with line ends unchanged.
    bare = _bare(path, dialect.encoding)
    start = max(0, dialect.end - size)
    start -= start % len("\n".encode(bare))
    with path.open("rb") as handle:
        handle.seek(start)
        data = handle.read(dialect.end - start)
    lines = list(io.StringIO(data.decode(bare, _lossless(bare)), newline=""))
    return lines[1:] if start else lines[dialect.first_row :]


def _encoded(path: Path, text: str, encoding: str) -> bytes:
    bare = _bare(path, encoding)
    return text.encode(bare, _lossless(bare))


def _lossless(encoding: str) -> str:
    return "surrogatepass" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"


def _check_footer(path: Path, dialect: Dialect, lines: list[str]) -> None:
    last = [line for line in lines if line.strip()][-_FOOTER_SAMPLE:]
    if dialect.quote and sum(line.count(dialect.quote) for line in last) % 2:
        return  # the sample begins within a value
    rows = [row for row in _reader(last, dialect.delimiter, dialect.quote, dialect.escape) if row]
    remedy = "Declare processing.footer_rows: {0} to exclude {1}, or footer_rows: 0 if {2}"
    if count := edges.footer(rows, len(dialect.names)):
        several = count > 1
        verb = f"{count} lines of {path.name} look" if several else f"line of {path.name} looks"
        raise DataError(
            f"The last {verb} like a note below the rows: {edges.shown(rows[-count])!r}",
            remedy.format(count, *(("them", "they are data") if several else ("it", "it is data"))),
        )
    if rows and (word := edges.is_total(rows[-1], len(dialect.names))) and _occurs_once(path, dialect, word):
        raise DataError(
            f"The last line of {path.name} looks like the total of the rows above it: {edges.shown(rows[-1])!r}",
            remedy.format(1, "it", "it is a row"),
        )


def _occurs_once(path: Path, dialect: Dialect, word: str) -> bool:
    # A regular member of a dimension ("Total") occurs in more rows than the last row.
    count = 0
    with dialect.opened(path) as handle:
        pattern = re.compile(
            rf"(?:^|[\"'{re.escape(dialect.delimiter)}])\s*{re.escape(word)}\s*(?=[\"'\r\n{re.escape(dialect.delimiter)}]|$)"
        )
        for line in handle:
            if word in line:
                count += len(pattern.findall(line))
                if count > 1:
                    return False
    return True
