"""What a file asks of the process that reads it, held within the limits (`model.limits`), whatever its format.

Rows are counted as they come. What has to be known before a library opens a file belongs to that format's own module.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits, beyond
from d4c_pipeline.readers.member import Member
from d4c_pipeline.tables.native import Native

_ROWS = 1_000_000  # of a view that joins, or of a tree of SQLite's whose pages are each other's children
# Sources of refused rows that this process keeps open. Closing one waits for what GDAL reads ahead, which may have no
# end either (a tree of SQLite's took more than 40 s): the refusal would never be told. The process ends after it.
_LEFT_OPEN: list[Iterator[pa.RecordBatch]] = []


def within_limits(native: Native, member: Member, limits: Limits) -> Native:
    """Return `native` so that going through its batches stops where they are beyond `limits`.

    Raises DataError for more columns than may be; the batches raise it for a value that is too long, for rows of many
    times the size of the file `member`, and for what a reader can't do (`explained`).
    """
    check_columns(native.name, len(native.attributes), limits)
    size = size_of(member)

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
        if member.suffix == ".gpkg" and rows > max(_ROWS, size):
            raise DataError(
                f"{native.name} gives {rows:,} rows, more than the file has bytes ({size:,})",
                "Have the publisher correct the file, which leads back into itself",
            )
        if total > limits.expansion_from and total > limits.expansion * size:
            raise expanded(native.name, total, size, limits)
        if batch.nbytes > limits.value_bytes:
            _check_values(batch, native.name, limits)

    return replace(native, batches=batches())


def check_columns(name: str, count: int, limits: Limits) -> None:
    """Raise DataError when `name` has more columns than it may have."""
    if count > limits.columns:
        raise beyond(name, f"has {count:,} columns, more than {limits.columns:,}", "columns")


def check_layers(name: str, count: int, limits: Limits, what: str = "layers") -> None:
    """Raise DataError when `name` has more layers (or sheets) than it may have."""
    if count > limits.layers:
        raise beyond(name, f"has {count:,} {what}, more than {limits.layers:,}", "layers")


def expanded(name: str, total: int, size: int, limits: Limits) -> DataError:
    """Return the error for rows of `total` bytes in a file of `size`."""
    return beyond(
        name,
        f"holds {total:,} bytes of values or more in a file of {size:,}, more than {limits.expansion:g} times its size",
        "expansion",
    )


def size_of(member: Member) -> int:
    """Return the bytes of a file, with those of its parts (a shapefile's, the files of a File Geodatabase)."""
    path = member.path
    if path.is_dir():
        return sum(each.stat().st_size for each in path.iterdir() if each.is_file())
    beside = path.parent.glob(f"{_plain(path.stem)}.*") if member.suffix == ".shp" else (path,)
    return sum(each.stat().st_size for each in beside if each.is_file())


@contextmanager
def explained(name: str) -> Generator[None]:
    """Tell what a reader can't do with the bytes of `name` as a DataError: levels without end, numbers beyond any."""
    try:
        yield
    except RecursionError as error:
        raise DataError(
            f"{name} has values that are nested deeper than can be read", "Have the publisher correct the file"
        ) from error
    except (OverflowError, ValueError) as error:
        # Python refuses to read whole numbers of more than 4,300 digits, by an error that is no type of its own.
        if not isinstance(error, OverflowError) and "integer string conversion" not in str(error):
            raise
        raise DataError(
            f"{name} has a number that is too large to be read ({str(error)[:100]})",
            "Have the publisher correct the file",
        ) from error


def _plain(stem: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in stem)


def _check_values(batch: pa.RecordBatch, name: str, limits: Limits) -> None:
    import pyarrow.compute as pc  # noqa: PLC0415 - of batches with huge values alone

    for field, column in zip(batch.schema, batch.columns, strict=True):
        kind = column.type
        if column.nbytes > limits.value_bytes and (pa.types.is_string(kind) or pa.types.is_binary(kind)):
            longest = pc.max(pc.binary_length(column)).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
            if longest > limits.value_bytes:
                raise beyond(
                    name, f"has a value of {longest:,} bytes in {field.name}, more than {limits.value_bytes:,}",
                    "value_bytes",
                )  # fmt: skip
