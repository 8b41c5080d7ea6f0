"""Reads delimited text (CSV, TSV, the data file of a WDS full table) with every column as text.

Text is read in blocks, in parallel where it can be cut between rows, so that ten million rows take no more memory than
ten thousand. Geometry from coordinates belongs to `coordinates`, casting to `columns`.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import dialect as dialects
from d4c_pipeline.readers import edges, quoting
from d4c_pipeline.readers.dialect import UTF8, Dialect
from d4c_pipeline.readers.marks import with_plain_numbers
from d4c_pipeline.readers.until import Until
from d4c_pipeline.tables.native import Native, with_nulls
from d4c_pipeline.tables.parallel import in_order

# Measured: blocks of 1 MiB are parsed fastest. A row must fit into a block, so larger blocks are tried if it does not.
_BLOCKS = (1 << 20, 1 << 25, 1 << 29, (1 << 31) - 1)
_TOO_LONG = "straddl"
# Bytes of a cut of the file, which is parsed in parallel with others, and the row appended to each (see `_parsed`).
_CUT = 8 << 20
_LAST = b"(the last row of a cut)"
_REMEDY = "Correct processing.encoding, delimiter or header, or fetch the vintage again"
_PAD_ROWS = 20_000
_BACKSLASH = b"\\"


def read(path: Path, processing: Processing, *, threads: int | None = None) -> Native:
    """Read delimited text.

    An empty field and each of `nulls` is null; other values are kept verbatim, except numbers with declared marks. Rows
    without a value are dropped and counted (`empty_rows`). Columns with neither a name nor a value are dropped
    (`unnamed_columns`). Tab-separated text is read as unquoted if a field begins with a quote that its line does not
    close (IANA's text/tab-separated-values has no quotes). Raises DataError with the line for undecodable text, ragged
    rows, quotes that are not closed at the end of a field, NUL bytes, and a title, note or total among names or rows;
    with the row, for a row that repeats the names (`repeated_header`).
    """
    report: dict[str, Any] = {}
    with _explained(path, processing.encoding or "delimited"):
        dialect = dialects.find(path, processing, report)
    empty = _empty_columns(path, processing, dialect, threads)
    if empty:
        report["unnamed_columns"] = len(empty)
    names = [name for at, name in enumerate(dialect.names) if at not in empty]
    rows = _padded(path, processing, dialect, report) if processing.ragged == "pad" else None
    batches = rows if rows is not None else _parse(path, processing, dialect, threads, names)
    batches = _with_values(batches if rows is None else (batch.select(names) for batch in batches), report)
    if not processing.header and processing.repeated_header != "keep":
        raw = [name for at, name in enumerate(dialect.raw) if at not in empty]
        batches = _without_repeated(batches, raw, path.name, processing, report)
    if set(processing.nulls) - {""}:
        # After parsing: Arrow's parser would not distinguish a row of markers from an empty row.
        batches = _marked(batches, processing.nulls)
    # A repeated name is the source's name of both columns.
    fields = [
        pa.field(name, pa.string(), metadata={"source": raw} if raw and raw != name else None)
        for at, (name, raw) in enumerate(zip(dialect.names, dialect.raw, strict=True))
        if at not in empty
    ]
    return Native(path.name, pa.schema(fields), with_plain_numbers(batches, processing), report=report)


def _with_values(batches: Iterator[pa.RecordBatch], report: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    # Spreadsheets write rows of delimiters only below the last row. The first column decides most batches.
    for batch in batches:
        empty: Any = None
        for column in batch.columns:
            if not column.null_count:
                break
            null = column.is_null().to_numpy(zero_copy_only=False)
            empty = null if empty is None else empty & null
            if not empty.any():
                break
        else:
            if empty is not None and (count := int(np.count_nonzero(empty))):
                report["empty_rows"] = report.get("empty_rows", 0) + count
                yield batch.filter(pa.array(~empty))
                continue
        yield batch


def _without_repeated(
    batches: Iterator[pa.RecordBatch], names: list[str], file: str, processing: Processing, report: dict[str, Any]
) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in batches:
        repeated = [at for at in _like_names(batch, names) if edges.repeats(_texts(batch, at), names)]
        if repeated and processing.repeated_header == "refuse":
            raise DataError(
                f"Row {done + repeated[0] + 1} of {file} repeats the names of the columns ({edges.shown(names)!r}):"
                " it may be several files put together",
                "Declare processing.repeated_header: drop to leave such rows out, keep if it is data, or have the"
                " publisher repair the file",
            )
        done += batch.num_rows
        if repeated:
            report["repeated_headers"] = report.get("repeated_headers", 0) + len(repeated)
            kept = np.ones(batch.num_rows, bool)
            kept[repeated] = False
            batch = batch.filter(pa.array(kept))  # noqa: PLW2901 - the rest of the batch
        yield batch


def _like_names(batch: pa.RecordBatch, names: list[str]) -> list[int]:
    # The first column decides most batches, without a look at the others; columns without a name decide nothing.
    rows: np.ndarray | None = None
    for column, name in zip(batch.columns, names, strict=True):
        if name.strip():
            of_rows = column if rows is None else column.take(pa.array(rows))
            # As `edges.repeats`, for which all blanks of Unicode are blanks.
            plain = pc.utf8_trim_whitespace(pc.utf8_ltrim(pc.utf8_trim_whitespace(of_rows), "\ufeff"))
            found = np.flatnonzero(pc.fill_null(pc.equal(plain, name.strip()), fill_value=False))
            rows = found if rows is None else rows[found]
            if not len(rows):
                break
    return [] if rows is None else rows.tolist()


def _texts(batch: pa.RecordBatch, at: int) -> list[str]:
    return [column[at].as_py() or "" for column in batch.columns]


def _marked(batches: Iterator[pa.RecordBatch], nulls: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        columns = [with_nulls(column, nulls) for column in batch.columns]
        yield pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _empty_columns(path: Path, processing: Processing, dialect: Dialect, threads: int | None) -> frozenset[int]:
    # The columns with neither a name nor a value. If the first rows don't decide, all rows are read.
    filled = {at for at in dialect.unnamed if any(row[at] for row in dialect.sample if at < len(row))}
    unsure = sorted({*dialect.unnamed} - filled)
    if unsure:
        names = [dialect.names[at] for at in unsure]
        batches = (
            _padded(path, processing, dialect, {})
            if processing.ragged == "pad"
            else _parse(path, processing, dialect, threads, names)
        )
        for batch in batches:
            filled |= {at for at in unsure if batch.column(dialect.names[at]).null_count < batch.num_rows}
    beyond = min((at for at in filled if at >= dialect.width), default=None)
    if beyond is not None:
        for line, row in dialect.rows(path, names=not processing.header):
            if any(row[beyond:]):
                raise _ragged(path, line, dialect.width, len(row))
    return frozenset(dialect.unnamed) - filled


class _QuotedError(Exception):
    """A cut may be within quotes, or a row does not fit into a cut."""


def _parse(
    path: Path, processing: Processing, dialect: Dialect, threads: int | None, names: list[str]
) -> Iterator[pa.RecordBatch]:
    # Yields the columns `names`, without dropped columns.
    options = _options(processing, dialect, names)
    streams = [partial(_stream, path, options, dialect.end, size=size, threads=threads) for size in _BLOCKS]
    uncut = streams[0]
    if dialect.encoding in UTF8 and not dialect.escape:
        marks = _marks(processing, dialect)
        streams.insert(0, partial(_side_by_side, path, options, dialect, marks, threads=threads))
    done = 0
    for stream in streams:
        if stream is uncut:
            _check_bytes(path, processing, dialect)
        skip = done
        try:
            for batch in stream():
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                yield batch.slice(skip).select(names)
                done += batch.num_rows - skip
                skip = 0
            return
        except _QuotedError:
            continue
        except (UnicodeError, pa.ArrowInvalid) as error:
            if _TOO_LONG in str(error) and stream is not streams[-1]:
                continue
            raise _refusal(path, processing, dialect, error) from error


def _options(processing: Processing, dialect: Dialect, names: list[str]) -> dict[str, Any]:
    # The first column shows whether a cut is within quotes (see `_parsed`).
    included = list(dict.fromkeys((dialect.names[0], *names)))
    return {
        "read_options": pyarrow.csv.ReadOptions(
            column_names=list(dialect.names),
            skip_rows=dialect.skipped,
            skip_rows_after_names=0 if processing.header else 1,
            # Arrow skips a byte order mark of UTF-8, and reads UTF-8 faster without transcoding.
            encoding="utf8" if dialect.encoding in UTF8 else dialect.encoding,
        ),
        "parse_options": pyarrow.csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            escape_char=dialect.escape or False,
            newlines_in_values=bool(dialect.quote or dialect.escape),
        ),
        "convert_options": pyarrow.csv.ConvertOptions(
            check_utf8=not dialect.checked,
            column_types=dict.fromkeys(dialect.names, pa.string()),
            include_columns=included,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    }


def _marks(processing: Processing, dialect: Dialect) -> quoting.Marks:
    marks = (mark.encode() for mark in (dialect.delimiter, dialect.quote, dialect.escape))
    return quoting.Marks(*marks, width=len(dialect.names), suspicious=processing.quote is None)


def _stream(
    path: Path, options: dict[str, Any], end: int, *, size: int, threads: int | None
) -> Iterator[pa.RecordBatch]:
    reading = options["read_options"]
    reading.block_size, reading.use_threads = size, threads != 1
    if end == path.stat().st_size:
        yield from pyarrow.csv.open_csv(path, **options)
        return
    with pa.PythonFile(Until(path, end), "r") as part:
        yield from pyarrow.csv.open_csv(part, **options)


def _side_by_side(
    path: Path, options: dict[str, Any], dialect: Dialect, marks: quoting.Marks, *, threads: int | None
) -> Iterator[pa.RecordBatch]:
    # Arrow's stream parses in one thread. Raises _QuotedError for text that can't be cut.
    last = b"\n" + _LAST + dialect.delimiter.encode() * (len(dialect.names) - 1) + b"\n"
    yield from in_order(lambda cut: _parsed(cut, last, options, marks), _cut(path, dialect.end), threads)


def _cut(path: Path, end: int) -> Iterator[tuple[bool, tuple[bytes, memoryview]]]:
    # Yields whether the cut is the first, and two pieces that together end after a line.
    with Until(path, end) as part, io.BufferedReader(part, _CUT) as handle:
        first, rest = True, b""
        while data := handle.read(_CUT):
            line = data.rfind(b"\n") + 1
            if not line:
                raise _QuotedError
            yield first, (rest, memoryview(data)[:line])
            first, rest = False, data[line:]
        if rest or first:
            yield first, (rest, memoryview(b""))


def _parsed(
    cut: tuple[bool, tuple[bytes, memoryview]], last: bytes, options: dict[str, Any], marks: quoting.Marks
) -> pa.RecordBatch:
    # The row `last` is appended. If the cut is within quotes, that row becomes part of a value. No other cut can cause
    # misread rows after it.
    first, pieces = cut
    text = b"".join((*pieces, last))
    declared = options["read_options"]
    reading = pyarrow.csv.ReadOptions(
        use_threads=False,
        block_size=_BLOCKS[0],
        column_names=declared.column_names,
        encoding=declared.encoding,
        skip_rows=declared.skip_rows if first else 0,
        skip_rows_after_names=declared.skip_rows_after_names if first else 0,
    )
    try:
        table = pyarrow.csv.read_csv(pa.BufferReader(text), **{**options, "read_options": reading})
    except pa.ArrowInvalid as error:
        # Reading without cuts finds the error, if there is one.
        raise _QuotedError from error
    # In the first cut, a row of the file shows that the names are complete.
    if table.num_rows <= first or table.column(0)[-1].as_py() != _LAST.decode():
        raise _QuotedError
    # The appended row, and the empty line before it.
    rows = table.num_rows + reading.skip_rows + reading.skip_rows_after_names + text[: -len(last)].endswith(b"\n")
    if not _is_sound(text, table, marks, rows):
        raise _QuotedError
    columns = [column.combine_chunks() for column in table.slice(0, table.num_rows - 1).columns]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def _is_sound(text: bytes, table: pa.Table, marks: quoting.Marks, rows: int) -> bool:
    # Whether the text has neither a NUL nor a wrong quote. Counting decides most texts, at a tenth of the cost.
    if b"\0" in text:
        return False
    if not marks.quote or marks.quote not in text:
        return True
    return quoting.is_plain(text, table, marks, rows=rows) or quoting.problem([text], marks) is None


def _check_bytes(path: Path, processing: Processing, dialect: Dialect) -> None:
    # The checks of `_is_sound` for the complete file, with the line of an error.
    with _explained(path, dialect.encoding):
        offset = 0
        for block in dialect.blocks(path, _CUT):
            if (at := block.find(0)) >= 0:
                raise DataError(
                    f"Line {dialect.line(path, offset + at)} of {path.name} has a NUL byte, which text can't have",
                    "Fetch the vintage again, declare processing.encoding (utf-16-le), or have the publisher repair it",
                )
            offset += len(block)
        if dialect.quote:
            marks = _marks(processing, dialect)
            if (found := quoting.problem(dialect.blocks(path, _CUT), marks)) is not None:
                raise _misquoted(path, dialect, marks, found)


def _misquoted(path: Path, dialect: Dialect, marks: quoting.Marks, found: quoting.Problem) -> DataError:
    # The remedies are tested on this file.
    opened, found_in = dialect.line(path, found.start), dialect.line(path, found.end)
    where = "" if opened == found_in else f" (line {found_in})"

    def agrees(other: quoting.Marks) -> bool:
        return quoting.problem(dialect.blocks(path, _CUT), other) is None

    remedies: list[str] = []
    if agrees(replace(marks, escape=_BACKSLASH)):
        remedies.append("declare processing.escape: '\\', with which all quotes are valid")
    if found.what == quoting.ROWS and agrees(replace(marks, suspicious=False)):
        remedies.append(f"declare processing.quote: '{dialect.quote}' if the value is correct")
    if dialect.is_rectangular(path):
        remedies.append("declare processing.quote: '' to read quotes as plain text")
    remedies.append(f"have the publisher repair line {opened}")
    remedy = ", or ".join(remedies)
    return DataError(
        f"The quote that opens in line {opened} of {path.name} {found.what}{where}", remedy[0].upper() + remedy[1:]
    )


def _padded(path: Path, processing: Processing, dialect: Dialect, report: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    # Row by row: several times slower, so the dataset must declare it.
    width = len(dialect.names)
    schema = pa.schema([(name, pa.string()) for name in dialect.names])
    report["padded_rows"] = 0
    _check_bytes(path, processing, dialect)
    with _explained(path, dialect.encoding):
        rows = dialect.rows(path, names=not processing.header)
        while block := list(islice(rows, _PAD_ROWS)):
            values: list[list[str | None]] = []
            for line, row in block:
                if any(field for field in row[width:]):
                    raise _ragged(path, line, width, len(row))
                report["padded_rows"] += len(row) < width
                values.append([field or None for field in row[:width]] + [None] * (width - len(row)))
            columns = [pa.array(column, pa.string()) for column in zip(*values, strict=True)]
            yield pa.record_batch(columns, schema=schema)


def _refusal(path: Path, processing: Processing, dialect: Dialect, error: Exception) -> DataError:
    # Arrow reads in parallel and does not report the line, so the file is read again for the message.
    if "columns, got" in str(error):
        with _explained(path, dialect.encoding):
            for line, row in dialect.rows(path, names=not processing.header):
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
    message = " ".join(str(error).split())[:300]
    return DataError(f"{path.name} can't be read as {encoding} text: {message}", _REMEDY)


@contextmanager
def _explained(path: Path, encoding: str) -> Generator[None]:
    try:
        yield
    except (UnicodeError, csv.Error, pa.ArrowInvalid) as error:
        raise _unreadable(path, encoding, error) from error
