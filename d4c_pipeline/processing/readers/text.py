"""Delimited text (CSV, TSV, the data file of a WDS full table): every column read as text, nothing guessed of types.

Coordinates in columns become points here; casting columns to declared types belongs to `columns`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import shapely

from d4c_pipeline.model.dataset import Processing, VectorProcessing
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing import casting
from d4c_pipeline.processing.readers import encoding as encodings
from d4c_pipeline.processing.readers.native import Native, exactly_unique, parse_crs

_DELIMITERS = (",", ";", "\t", "|")
_BLOCK = 16 << 20


def read(path: Path, processing: Processing, *, threads: int | None = None) -> Native:
    """Read delimited text.

    An empty field and each of `nulls` is null; all else is kept verbatim. Tab-separated text in which a field begins
    with a quote that its line does not end is taken as unquoted (the text/tab-separated-values of IANA has no quotes).
    Raises DataError for text that can't be decoded, ragged rows, no rows, and coordinates that are not numbers.
    """
    encoding = encodings.python_name(processing.encoding) if processing.encoding else encodings.detect(path)
    try:
        empty, first = _first_line(path, encoding)
        delimiter = processing.delimiter or _sniffed(first)
        quoted = delimiter != "\t" or _quotes_close(path, encoding)
        names = list(processing.header) or exactly_unique(_fields(first, delimiter, quoted=quoted))
        table = _parse(path, processing, names, encoding, delimiter, empty=empty, quoted=quoted, threads=threads)
    except (UnicodeError, csv.Error, pa.ArrowInvalid) as error:
        raise DataError(
            f"{path.name} can't be read as {encoding} text: {' '.join(str(error).split())[:300]}",
            "Correct processing.encoding, delimiter or header, or fetch the vintage again",
        ) from error
    if table.num_rows == 0:
        raise DataError(f"{path.name} has no rows", "Look at what the source delivers")
    report = {"encoding": encoding.removesuffix("-sig"), "delimiter": delimiter}
    if isinstance(processing, VectorProcessing) and processing.longitude and processing.latitude:
        table, trimmed = _trimmed(table, (processing.longitude, processing.latitude))
        geometry, incomplete = _points(table, processing.longitude, processing.latitude)
        counts = {"coordinates_trimmed": trimmed, "incomplete_coordinates": incomplete}
        return Native(table, geometry, parse_crs(processing.crs or "EPSG:4326", path), report | counts)
    if isinstance(processing, VectorProcessing) and not processing.sql:
        raise DataError(
            f"{path.name} is text, and no columns with coordinates are declared",
            f"Declare processing.longitude and latitude, out of {', '.join(names[:30])}",
        )
    return Native(table, report=report)


def _parse(
    path: Path,
    processing: Processing,
    names: list[str],
    encoding: str,
    delimiter: str,
    *,
    empty: int,
    quoted: bool,
    threads: int | None,
) -> pa.Table:
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(
            use_threads=threads != 1,
            block_size=_BLOCK,
            column_names=names,
            skip_rows=empty,
            skip_rows_after_names=0 if processing.header else 1,
            # Arrow skips a byte order mark of UTF-8 itself, and reads it faster when it need not transcode.
            encoding="utf8" if encoding in ("utf-8", "utf-8-sig") else encoding,
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            null_values=["", *processing.nulls],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _first_line(path: Path, encoding: str) -> tuple[int, str]:
    # How many empty lines come first, and the line after them.
    with path.open(encoding=encoding, newline="") as handle:
        for empty, line in enumerate(handle):
            if line.strip():
                # A quoted name may span lines; no name spans a hundred.
                more = [line]
                while sum(text.count('"') for text in more) % 2 and len(more) < 100:
                    more.append(handle.readline())
                return empty, "".join(more)
    raise DataError(f"{path.name} is empty", "Fetch the vintage again")


def _sniffed(line: str) -> str:
    # The most fields win, the earlier one of equals: a comma within a title never beats real separators.
    return max(_DELIMITERS, key=lambda delimiter: len(_fields(line, delimiter, quoted=True)))


def _fields(line: str, delimiter: str, *, quoted: bool) -> list[str]:
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    return next(csv.reader(line.rstrip("\r\n").splitlines(keepends=True), delimiter=delimiter, quoting=quoting))


def _quotes_close(path: Path, encoding: str) -> bool:
    with path.open(encoding=encoding, newline="") as handle:
        for line in handle:
            if '"' not in line:
                continue
            for field in line.rstrip("\r\n").split("\t"):
                if field.startswith('"') and (len(field) == 1 or not field.endswith('"')):
                    return False
    return True


def _trimmed(table: pa.Table, names: tuple[str, str]) -> tuple[pa.Table, int]:
    # Coordinates once cut out of "45.1, -75.2" keep the separator (seen in ODCAF 1.0). It is taken off, and counted.
    trimmed = 0
    for name in names:
        if name not in table.column_names:
            raise DataError(
                f"There is no column {name} to take coordinates from",
                f"Declare one of {', '.join(table.column_names[:30])}",
            )
        column = table[name]
        bare = pc.replace_substring_regex(column, r"^[\s,;]+|[\s,;]+$", "")
        trimmed += pc.sum(pc.not_equal(column, bare)).as_py() or 0
        table = table.set_column(table.column_names.index(name), name, bare)
    return table, trimmed


def _points(table: pa.Table, longitude: str, latitude: str) -> tuple[pa.ChunkedArray, int]:
    x = casting.cast(table[longitude], "float", longitude)
    y = casting.cast(table[latitude], "float", latitude)
    xs, ys = x.to_numpy(), y.to_numpy()
    half, known = np.isnan(xs) ^ np.isnan(ys), ~(np.isnan(xs) | np.isnan(ys))
    wkb = shapely.to_wkb(shapely.points(xs, ys), byte_order=1)
    wkb[~known] = None
    return pa.chunked_array([pa.array(wkb, pa.binary())]), int(half.sum())
