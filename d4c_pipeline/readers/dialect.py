"""How a delimited text is written, found before its rows are read: encoding, marks, names, where rows begin and end.

What is not clear is refused, with what was seen. Reading by it belongs to `text`, judging its quotes to `quoting`.
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
# Excel writes, and obeys, a first line that names the delimiter.
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
    """How a file is written: `skipped` lines before its names (or rows, when `processing.header` names the columns).

    `checked`: whether all of it is known to be in that encoding. `quote` and `escape` are empty where there are none.
    `names` are unique, one for each field of a row, made of the file's own, `raw`. Those at the positions `unnamed`
    were made up, and of these, the ones from `width` on are not even there. `end`: where rows end in the file, in
    bytes. `first_row`: how many lines come before the rows. `sample`: the first rows.
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
        """Open the file as text, up to where its rows end; line ends as they are."""
        return io.TextIOWrapper(io.BufferedReader(Until(path, self.end)), self.encoding, newline="")

    def rows(self, path: Path, *, names: bool) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of its last line and the fields of each row that is not empty, after the names if there."""
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
        """Yield the bytes from the line with the names (or the first row) on, as they are or else in UTF-8.

        Marks are single bytes in them. Raises UnicodeError for text that has to be decoded for that, and can't be.
        """
        with self.opened(path) as handle:
            skipped = [handle.readline() for _ in range(self.skipped)]
            if not _is_transparent(self.encoding):
                while block := handle.read(size):
                    yield block.encode("utf-8", "surrogatepass")
                return
        start = sum(len(_encoded(path, line, self.encoding)) for line in skipped)
        with path.open("rb") as raw:
            # The first line has the mark in it where it was read as plain UTF-8.
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
            some = block[:offset]
            ends += some.count(b"\n") + some.count(b"\r") - (before[-1:] + some).count(b"\r\n")
            offset -= len(some)
            before = some
            if not offset:
                break
        return self.skipped + ends + 1

    def is_rectangular(self, path: Path) -> bool:
        """Whether every line has as many fields as there are names when quotes are plain text."""
        with self.opened(path) as handle:
            return all(
                line.count(self.delimiter) == len(self.names) - 1
                for line in islice(handle, self.skipped, None)
                if line.strip("\r\n")
            )

    def reader(self, lines: Any) -> Any:
        """Return Python's own reader of rows in this dialect."""
        return _reader(lines, self.delimiter, self.quote, self.escape)


def find(path: Path, processing: Processing, report: dict[str, Any]) -> Dialect:
    """Return the dialect of the text at `path`: what `processing` declares, else what is found; noted in `report`.

    Raises DataError for a file without a line, and for names, notes and totals that are not where rows would be read
    (and UnicodeError where it is not text in that encoding).
    """
    encoding = encodings.python_name(processing.encoding) if processing.encoding else encodings.detect(path)
    report["encoding"] = encoding.removesuffix("-sig")
    end = _without_dos_end(path, encoding, report)
    with io.TextIOWrapper(io.BufferedReader(Until(path, end)), encoding, newline="") as handle:
        lines = list(islice(handle, _SAMPLE + (processing.header_row or 0)))
    if lines:
        # It may come twice, or before text that is declared to be something else.
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
            f"The names of {path.name} stand between single quotes: {edges.shown(raw)}",
            "Declare processing.quote: \"'\", or quote: '\"' if they belong to the names",
        )
    names, found, unnamed, width = _named(raw, sample)
    report["delimiter"] = delimiter
    dialect = Dialect(
        # What was found without a mark was found by looking at every byte.
        encoding, not processing.encoding and encoding == "utf-8", delimiter, quote, escape, at, names, found, unnamed,
        width, end, first_row, tuple(map(tuple, sample)),
    )  # fmt: skip
    return _footed(path, processing, dialect, report)


def _without_dos_end(path: Path, encoding: str, report: dict[str, Any]) -> int:
    # Programs of DOS end a text by Ctrl-Z.
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
    # The encoding that writes no mark.
    if encoding not in ("utf-16", "utf-32"):
        return "utf-8" if encoding == "utf-8-sig" else encoding
    with path.open("rb") as handle:
        big = handle.read(4).startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
    return f"{encoding}-be" if big else f"{encoding}-le"


def _is_transparent(encoding: str) -> bool:
    # Whether each byte is a character, or in no part of one looks like a mark.
    if encoding in UTF8:
        return True
    try:
        return len(bytes(range(256)).decode(encoding, "replace")) == 256 and _ASCII.decode(encoding) == _ASCII.decode()
    except (UnicodeError, LookupError):
        return False


def _first(path: Path, lines: Sequence[str], header_row: int | None, start: int) -> int:
    # Which line has the names: the declared one, or the first that is not empty.
    if header_row is not None:
        if header_row > len(lines):
            raise DataError(f"{path.name} has no line {header_row}", "Correct processing.header_row")
        return header_row - 1
    for number in range(start, len(lines)):
        if lines[number].strip():
            return number
    raise DataError(f"{path.name} is empty", "Fetch the vintage again")


def _record(lines: Sequence[str], at: int) -> tuple[str, int]:
    # The text of the line with the names, and of how many lines it is.
    more = [lines[at]]
    while sum(text.count('"') for text in more) % 2 and len(more) < min(_NAME_LINES, len(lines) - at):
        more.append(lines[at + len(more)])
    return "".join(more), len(more)


def _sniffed(record: str, below: Sequence[str]) -> str:
    # The most fields win, the earlier one of equals: a comma within a title never beats real separators.
    found = max(_DELIMITERS, key=lambda mark: len(_fields(record, mark, '"', "")))
    if len(_fields(record, found, '"', "")) > 1:
        return found
    # A line of one field says nothing; it may be a title.
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
            f"{seen} is not the names of the columns as it seems: line {line + 1} has {names!r}",
            f"Declare processing.header_row: {line + 1} if the names stand there, else header_row: {at + 1}",
        )
    if edges.looks_like_row(raw, sample):
        raise DataError(
            f"{seen} looks like a row, and would be taken for the names of the columns",
            f"Declare processing.header with the names, or header_row: {at + 1} if they stand there",
        )


def _line_of(lines: Sequence[str], start: int, number: int) -> int:
    # The line of a row, counting those that are not empty. (Titles don't span lines.)
    found = [at for at in range(start, len(lines)) if lines[at].strip("\r\n")]
    return found[min(number, len(found) - 1)]


def _named(
    raw: Sequence[str], sample: Sequence[list[str]]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...], int]:
    # Delimiters at the end of the names alone, or of the rows alone, are no columns.
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
    # Rows end before the declared `footer_rows`; what looks like one and is not declared is refused.
    lines = _tail(path, dialect, _LONG_TAIL if processing.footer_rows else _TAIL)
    if processing.footer_rows is None:
        if processing.kind != "table" or (processing.wds is None and processing.census is None):
            _check_footer(path, dialect, lines)
        return dialect
    wanted, cut = processing.footer_rows, 0
    while wanted:
        if not lines:
            raise DataError(
                f"{path.name} has fewer rows than the {processing.footer_rows} lines declared to be no rows",
                "Correct processing.footer_rows",
            )
        line = lines.pop()
        cut += len(_encoded(path, line, dialect.encoding))
        wanted -= bool(line.strip())
    if processing.footer_rows:
        report["footer_rows"] = processing.footer_rows
    return replace(dialect, end=dialect.end - cut)


def _tail(path: Path, dialect: Dialect, size: int) -> list[str]:
    # The last lines below the names, line ends as they are.
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
        return  # they begin within a value
    rows = [row for row in _reader(last, dialect.delimiter, dialect.quote, dialect.escape) if row]
    remedy = "Declare processing.footer_rows: {0} to leave {1} out, or footer_rows: 0 if {2}"
    if count := edges.footer(rows, len(dialect.names)):
        what = f"The last {count} lines" if count > 1 else "The last line"
        raise DataError(
            f"{what} of {path.name} looks like a note below the rows: {edges.shown(rows[-count])!r}",
            remedy.format(count, "it" if count == 1 else "them", "it is data"),
        )
    if rows and (word := edges.is_total(rows[-1], len(dialect.names))) and _occurs_once(path, dialect, word):
        raise DataError(
            f"The last line of {path.name} looks like the total of the rows above it: {edges.shown(rows[-1])!r}",
            remedy.format(1, "it", "it is a row like the others"),
        )


def _occurs_once(path: Path, dialect: Dialect, word: str) -> bool:
    # Where it is a member like others ("Total" of a dimension), it stands in more rows than the last one.
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
