"""Limits (`model.limits`) on the columns, layers, rows and values that a file of any format gives to its reader.

Rows are counted while they are read. A limit that must hold before a library opens a file belongs to the module of the
format.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits, beyond
from d4c_pipeline.tables.native import Native

_ROWS = 1_000_000  # a view may join tables, and a cycle of SQLite's pages gives rows without end
# Sources of refused rows that this process keeps open. Closing a source waits for GDAL's read-ahead, which may not end
# (a cycle of SQLite's pages took more than 40 s) and would block the error. The process ends after the error.
_LEFT_OPEN: list[Iterator[pa.RecordBatch]] = []


def within_limits(native: Native, size: int, limits: Limits, *, rows_within_bytes: bool = False) -> Native:
    """Return `native`, read from a file of `size` bytes, with batches that raise DataError beyond `limits`.

    Raises DataError for too many columns. The batches raise it for a value that is too long, for rows of many times
    `size`, for errors of the reader (`explained`) and, with `rows_within_bytes`, for more rows than bytes.
    """
    check_columns(native.name, len(native.attributes), limits)

    def batches() -> Iterator[pa.RecordBatch]:
        total = rows = 0
        source = iter(native.batches)
        while True:
            with explained(native.name):
                batch = next(source, None)
            if batch is None:
                return
            total, rows = total + batch.nbytes, rows + batch.num_rows
            try:
                check(batch, total, rows)
            except DataError:
                _LEFT_OPEN.append(source)
                raise
            yield batch

    def check(batch: pa.RecordBatch, total: int, rows: int) -> None:
        if rows_within_bytes and rows > max(_ROWS, size):
            raise DataError(
                f"{native.name} gives {rows:,} rows, more than the file has bytes ({size:,})",
                "Have the publisher correct the file, whose pages or views repeat rows",
            )
        if total > limits.expansion_from and total > limits.expansion * size:
            raise expanded(native.name, total, size, limits)
        if batch.nbytes > limits.value_bytes:
            _check_values(batch, native.name, limits)

    return replace(native, batches=batches())


def check_columns(name: str, count: int, limits: Limits) -> None:
    """Raise DataError if `name` has more columns than the limit."""
    if count > limits.columns:
        raise beyond(name, f"has {count:,} columns, more than {limits.columns:,}", "columns")


def check_layers(name: str, count: int, limits: Limits, noun: str = "layers") -> None:
    """Raise DataError if `name` has more layers (or sheets, by `noun`) than the limit."""
    if count > limits.layers:
        raise beyond(name, f"has {count:,} {noun}, more than {limits.layers:,}", "layers")


def expanded(name: str, total: int, size: int, limits: Limits) -> DataError:
    """Return the error for rows of `total` bytes in a file of `size`."""
    return beyond(
        name,
        f"holds {total:,} or more bytes of values in a file of {size:,}, more than {limits.expansion:g} times its size",
        "expansion",
    )


def size_of(path: Path, *, companions: bool) -> int:
    """Return the size in bytes of a folder's files, or of a file; with `companions`, of all files of its stem."""
    if path.is_dir():
        return sum(each.stat().st_size for each in path.iterdir() if each.is_file())
    beside = path.parent.glob(f"{_plain(path.stem)}.*") if companions else (path,)
    return sum(each.stat().st_size for each in beside if each.is_file())


@contextmanager
def explained(name: str) -> Generator[None]:
    """Raise DataError for a reader's errors about the bytes of `name`: nesting too deep, numbers too large."""
    try:
        yield
    except RecursionError as error:
        raise DataError(
            f"{name} has values that are nested too deep to be read", "Have the publisher correct the file"
        ) from error
    except (OverflowError, ValueError) as error:
        # Python refuses integers of more than 4,300 digits with a plain ValueError.
        if not isinstance(error, OverflowError) and "integer string conversion" not in str(error):
            raise
        raise DataError(
            f"{name} has a number that is too large to be read ({str(error)[:100]})",
            "Have the publisher correct the file",
        ) from error


def _plain(stem: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in stem)


def _check_values(batch: pa.RecordBatch, name: str, limits: Limits) -> None:
    import pyarrow.compute as pc  # noqa: PLC0415 - for batches with huge values only

    for field, column in zip(batch.schema, batch.columns, strict=True):
        kind = column.type
        if column.nbytes > limits.value_bytes and (pa.types.is_string(kind) or pa.types.is_binary(kind)):
            longest = pc.max(pc.binary_length(column)).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
            if longest > limits.value_bytes:
                raise beyond(
                    name, f"has a value of {longest:,} bytes in {field.name}, more than {limits.value_bytes:,}",
                    "value_bytes",
                )  # fmt: skip
