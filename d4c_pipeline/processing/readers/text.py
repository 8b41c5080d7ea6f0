"""Delimited text (CSV, TSV, the data file of a WDS full table): every column read as text, nothing guessed of types.

It is read in blocks, side by side where it can be cut between rows, so that ten million rows take no more memory than
ten thousand. Columns with coordinates become geometry in `coordinates`; casting to types belongs to `columns`.
"""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.processing.parallel import in_order
from d4c_pipeline.processing.readers import encoding as encodings
from d4c_pipeline.processing.readers.marks import with_plain_numbers
from d4c_pipeline.processing.readers.native import Native, exactly_unique

_DELIMITERS = (",", ";", "\t", "|")
# Measured: blocks of 1 MiB are parsed fastest. A row has to fit into one, so longer ones are tried when it does not.
_BLOCKS = (1 << 20, 1 << 25, 1 << 29, (1 << 31) - 1)
_TOO_LONG = "straddl"
# What is cut off the file at a time, to be parsed beside others, and the last row of each (see `_cut`).
_CUT = 8 << 20
_LAST = b"(the last row of a cut)"
_UTF8 = ("utf-8", "utf-8-sig")
_REMEDY = "Correct processing.encoding, delimiter or header, or fetch the vintage again"
_PAD_ROWS = 20_000
_FIELD_LIMIT = (1 << 31) - 1


@dataclass(frozen=True)
class _Dialect:
    """How a file is written: `skipped` lines before its names (or rows, when `processing.header` names the columns).

    `checked`: whether all of it is known to be in that encoding.
    """

    encoding: str
    checked: bool
    delimiter: str
    quoted: bool
    skipped: int
    names: tuple[str, ...]


def read(path: Path, processing: Processing, *, threads: int | None = None) -> Native:
    """Read delimited text.

    An empty field and each of `nulls` is null; all else is kept verbatim, but for numbers with declared marks.
    Tab-separated text in which a field begins with a quote that its line does not end is taken as unquoted (the
    text/tab-separated-values of IANA has no quotes). Raises DataError for text that can't be decoded and ragged rows,
    naming the line.
    """
    encoding = encodings.python_name(processing.encoding) if processing.encoding else encodings.detect(path)
    with _explained(path, encoding):
        skipped, first = _first_line(path, encoding, processing.header_row)
        delimiter = processing.delimiter or _sniffed(first)
        quoted = delimiter != "\t" or _quotes_close(path, encoding)
        names = list(processing.header) or exactly_unique(_fields(first, delimiter, quoted=quoted))
    # What was found without a mark was found by looking at every byte.
    checked = not processing.encoding and encoding == "utf-8"
    dialect = _Dialect(encoding, checked, delimiter, quoted, skipped, tuple(names))
    report: dict[str, Any] = {"encoding": encoding.removesuffix("-sig"), "delimiter": delimiter}
    rows = _padded(path, processing, dialect, report) if processing.ragged == "pad" else None
    batches = rows if rows is not None else _parse(path, processing, dialect, threads)
    attributes = pa.schema([(name, pa.string()) for name in names])
    return Native(path.name, attributes, with_plain_numbers(batches, processing), report=report)


class _QuotedError(Exception):
    """A cut may have fallen between quotes, or a row does not fit into one."""


def _parse(path: Path, processing: Processing, dialect: _Dialect, threads: int | None) -> Iterator[pa.RecordBatch]:
    options = _options(processing, dialect)
    streams = [partial(_stream, path, options, size=size, threads=threads) for size in _BLOCKS]
    if dialect.encoding in _UTF8:
        streams.insert(0, partial(_side_by_side, path, options, dialect, threads=threads))
    done = 0
    for stream in streams:
        skip = done
        try:
            for batch in stream():
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                yield batch.slice(skip)
                done += batch.num_rows - skip
                skip = 0
            return
        except _QuotedError:
            continue
        except (UnicodeError, pa.ArrowInvalid) as error:
            if _TOO_LONG in str(error) and stream is not streams[-1]:
                continue
            raise _refusal(path, processing, dialect, error) from error


def _options(processing: Processing, dialect: _Dialect) -> dict[str, Any]:
    return {
        "read_options": pyarrow.csv.ReadOptions(
            column_names=list(dialect.names),
            skip_rows=dialect.skipped,
            skip_rows_after_names=0 if processing.header else 1,
            # Arrow skips a byte order mark of UTF-8 itself, and reads it faster when it need not transcode.
            encoding="utf8" if dialect.encoding in _UTF8 else dialect.encoding,
        ),
        "parse_options": pyarrow.csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char='"' if dialect.quoted else False,
            newlines_in_values=dialect.quoted,
        ),
        "convert_options": pyarrow.csv.ConvertOptions(
            check_utf8=not dialect.checked,
            column_types=dict.fromkeys(dialect.names, pa.string()),
            null_values=["", *processing.nulls],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    }


def _stream(path: Path, options: dict[str, Any], *, size: int, threads: int | None) -> Iterator[pa.RecordBatch]:
    reading = options["read_options"]
    reading.block_size, reading.use_threads = size, threads != 1
    yield from pyarrow.csv.open_csv(path, **options)


def _side_by_side(
    path: Path, options: dict[str, Any], dialect: _Dialect, *, threads: int | None
) -> Iterator[pa.RecordBatch]:
    # Arrow's own stream parses in one thread. Raises _QuotedError for text that is not cut like this.
    last = b"\n" + _LAST + dialect.delimiter.encode() * (len(dialect.names) - 1) + b"\n"
    yield from in_order(lambda cut: _parsed(cut, last, options), _cut(path), threads)


def _cut(path: Path) -> Iterator[tuple[bool, tuple[bytes, memoryview]]]:
    # Whether it is the first, and two pieces that together end behind a line.
    with path.open("rb") as handle:
        first, rest = True, b""
        while data := handle.read(_CUT):
            end = data.rfind(b"\n") + 1
            if not end:
                raise _QuotedError
            yield first, (rest, memoryview(data)[:end])
            first, rest = False, data[end:]
        if rest or first:
            yield first, (rest, memoryview(b""))


def _parsed(cut: tuple[bool, tuple[bytes, memoryview]], last: bytes, options: dict[str, Any]) -> pa.RecordBatch:
    # A row of our own is put behind. If the cut fell between quotes, it is part of a value: the only way in which what
    # comes after it could be misread.
    first, pieces = cut
    text = b"".join((*pieces, last))
    whole = options["read_options"]
    reading = pyarrow.csv.ReadOptions(
        use_threads=False,
        block_size=_BLOCKS[0],
        column_names=whole.column_names,
        encoding=whole.encoding,
        skip_rows=whole.skip_rows if first else 0,
        skip_rows_after_names=whole.skip_rows_after_names if first else 0,
    )
    try:
        table = pyarrow.csv.read_csv(pa.BufferReader(text), **{**options, "read_options": reading})
    except pa.ArrowInvalid as error:
        # What is wrong, or that nothing is, comes out where it is not cut.
        raise _QuotedError from error
    # In the first, a row of the file shows that the names were in it too.
    if table.num_rows <= first or table.column(0)[-1].as_py() != _LAST.decode():
        raise _QuotedError
    columns = [column.combine_chunks() for column in table.slice(0, table.num_rows - 1).columns]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def _padded(path: Path, processing: Processing, dialect: _Dialect, report: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    # Row by row: several times slower, which is why it has to be asked for.
    width, nulls = len(dialect.names), {"", *processing.nulls}
    schema = pa.schema([(name, pa.string()) for name in dialect.names])
    report["padded_rows"] = 0
    with _explained(path, dialect.encoding), path.open(encoding=dialect.encoding, newline="") as handle:
        rows = _rows(handle, dialect, names=not processing.header)
        while block := list(islice(rows, _PAD_ROWS)):
            values: list[list[str | None]] = []
            for line, row in block:
                if any(field for field in row[width:]):
                    raise _ragged(path, line, width, len(row))
                report["padded_rows"] += len(row) < width
                values.append(
                    [None if field in nulls else field for field in row[:width]] + [None] * (width - len(row))
                )
            columns = [pa.array(column, pa.string()) for column in zip(*values, strict=True)]
            yield pa.record_batch(columns, schema=schema)


def _rows(handle: Any, dialect: _Dialect, *, names: bool) -> Iterator[tuple[int, list[str]]]:
    # Line number (of the row's last line) and fields of each row that is not empty.
    csv.field_size_limit(_FIELD_LIMIT)
    for _ in range(dialect.skipped):
        handle.readline()
    quoting = csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE
    reader = csv.reader(handle, delimiter=dialect.delimiter, quoting=quoting)
    for row in reader:
        if names and row:
            names = False
        elif row:
            yield dialect.skipped + reader.line_num, row


def _refusal(path: Path, processing: Processing, dialect: _Dialect, error: Exception) -> DataError:
    # Arrow reads in parallel and does not know the line; on this way there is time to look for it.
    if "columns, got" in str(error):
        with _explained(path, dialect.encoding), path.open(encoding=dialect.encoding, newline="") as handle:
            for line, row in _rows(handle, dialect, names=not processing.header):
                if len(row) != len(dialect.names):
                    return _ragged(path, line, len(dialect.names), len(row))
    return _unreadable(path, dialect.encoding, error)


def _ragged(path: Path, line: int, expected: int, actual: int) -> DataError:
    less = actual < expected
    return DataError(
        f"Line {line} of {path.name} is ragged: Expected {expected} columns, got {actual}",
        "Declare ragged: pad to fill such lines with nulls, or correct the delimiter"
        if less
        else "Correct processing.delimiter, header_row or header, or have the publisher repair the file",
    )


def _unreadable(path: Path, encoding: str, error: Exception) -> DataError:
    said = " ".join(str(error).split())[:300]
    return DataError(f"{path.name} can't be read as {encoding} text: {said}", _REMEDY)


@contextmanager
def _explained(path: Path, encoding: str) -> Generator[None]:
    try:
        yield
    except (UnicodeError, csv.Error, pa.ArrowInvalid) as error:
        raise _unreadable(path, encoding, error) from error


def _first_line(path: Path, encoding: str, header_row: int | None) -> tuple[int, str]:
    # How many lines come before the first that is not empty (or before the declared one), and that line.
    with path.open(encoding=encoding, newline="") as handle:
        for number, line in enumerate(handle):
            if (number + 1 >= header_row) if header_row else line.strip():
                # A quoted name may span lines; no name spans a hundred.
                more = [line]
                while sum(text.count('"') for text in more) % 2 and len(more) < 100:
                    more.append(handle.readline())
                return number, "".join(more)
    if header_row:
        raise DataError(f"{path.name} has no line {header_row}", "Correct processing.header_row")
    raise DataError(f"{path.name} is empty", "Fetch the vintage again")


def _sniffed(line: str) -> str:
    # The most fields win, the earlier one of equals: a comma within a title never beats real separators.
    return max(_DELIMITERS, key=lambda delimiter: len(_fields(line, delimiter, quoted=True)))


def _fields(line: str, delimiter: str, *, quoted: bool) -> list[str]:
    csv.field_size_limit(_FIELD_LIMIT)
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    return next(csv.reader(line.rstrip("\r\n").splitlines(keepends=True), delimiter=delimiter, quoting=quoting), [""])


def _quotes_close(path: Path, encoding: str) -> bool:
    with path.open(encoding=encoding, newline="") as handle:
        for line in handle:
            if '"' not in line:
                continue
            for field in line.rstrip("\r\n").split("\t"):
                if field.startswith('"') and (len(field) == 1 or not field.endswith('"')):
                    return False
    return True
