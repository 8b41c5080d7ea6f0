"""Reader of the columns of a DBF file whose values GDAL would change, from the bytes of the file.

GDAL reads "n/a" as 0 and "12,345" as 12 with a warning. Silently, it reads 20210231 as March 3, other dates as
1970-01-01, integers of 19 or more digits as floats, and a logical without a value as False. Records have a fixed width,
so comparing a column of a million rows takes milliseconds. Encoding and headers belong to `dbf`.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import dbf
from d4c_pipeline.readers.exact import Exact, declared_text, null_texts
from d4c_pipeline.tables.parallel import in_order

Bytes = npt.NDArray[np.uint8]

_CHUNK_BYTES = 8 << 20
_SPACE, _ZERO, _DOT, _MINUS, _DELETED = 0x20, 0x30, 0x2E, 0x2D, 0x2A
_WHOLE = r"^[+-]?[0-9]+$"
_DECIMAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
# The output of C's printf for values that are not numbers.
_NO_NUMBER = r"(?i)^[+-]?(nan(\(.*\))?|inf(inity)?|1\.#(qnan|snan|ind|inf)[0-9]*)$"
_LOGICAL = r"^[TtYyFfNn]$"
# Marks of a missing value, beside blanks: a number that overflowed its width, a date of zeros, a logical not set.
_NOTHING = {"N": r"^\*+$", "F": r"^\*+$", "D": r"^0+$", "L": r"^\?$"}
# float64 holds each integer up to 2^53, and each decimal of 15 digits.
_SAFE, _SAFE_DIGITS = 1 << 53, 15
_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_FOXPRO = {"I": pa.int32(), "B": pa.float64(), "Y": pa.string(), "T": pa.timestamp("ms")}
_FOXPRO_EPOCH = 2_440_588  # the Julian day of 1970-01-01


def examine(table: Path, names: Sequence[str], encoding: str, processing: Processing) -> Exact:
    """Return the columns of `table` that GDAL would change. `names`: GDAL's names, in the order of the columns.

    Columns with a value that GDAL would change, and columns declared as strings, become text: the bytes without
    surrounding blanks. Integers of more than 18 digits become int64 if all of them fit. A number that overflowed its
    width (`****`) is null and counted. Raises DataError for columns of other types, such as memo with its values in
    another file, unless they are dropped.
    """
    header = dbf.header(table)
    records = _records(table, header)
    exact = Exact()
    wanted = declared_text(processing, names)
    makers: dict[str, Callable[[Bytes], pa.Array]] = {}
    types: dict[str, pa.DataType] = {}
    reasons: dict[str, str] = {}
    columns: list[_Column] = []
    if len(names) != len(header.fields):
        raise DataError(
            f"{table.name} has a header of {len(header.fields)} columns, but GDAL reads {len(names)}",
            "Have the publisher correct the file",
        )
    for name, each in zip(names, header.fields, strict=True):
        if each.kind in "NFDL" and each.width:
            columns.append(_Column(name, each, encoding, null_texts(processing, name), as_text=name in wanted))
        elif each.kind == "0":  # FoxPro's marks of nulls
            exact.left_out = [*exact.left_out, name]
        elif header.is_foxpro and each.kind in _FOXPRO:
            types[name], makers[name] = _FOXPRO[each.kind], _foxpro_maker(each)
        elif each.kind != "C" and name not in processing.drop:
            raise DataError(
                f"Column {name} of {table.name} is of dBASE's type {each.kind}, which is not supported",
                f"Declare processing.drop: [{name}]",
            )
        elif each.kind != "C":
            types[name], makers[name] = pa.string(), lambda values: pa.nulls(len(values), pa.string())
    deleted = 0

    # Threads check all chunks for the common forms of values. Other chunks are then examined in order.
    def screened(item: tuple[int, Bytes]) -> tuple[int, Bytes, list[_Column]]:
        first, chunk = item
        alive = _alive(chunk)
        return first, chunk, [column for column in columns if not column.is_plain(alive)]

    for first, chunk, doubtful in in_order(screened, _chunks(records), None):
        gone = chunk[:, 0] == _DELETED
        deleted += int(gone.sum())
        for column in doubtful:
            column.observe(_alive(chunk), first + np.flatnonzero(~gone))
    for column in columns:
        verdict = column.verdict()
        if verdict is not None:
            types[column.name], makers[column.name] = verdict, column.maker(verdict)
            reasons[column.name] = column.reason
        if column.overflowed:
            exact.report.setdefault("dbf_overflow", {})[column.name] = column.overflowed
    if reasons:
        exact.report["read_from_bytes"] = reasons
    if deleted:
        exact.report["dbf_deleted"] = deleted
    if exact.left_out:
        exact.report["columns_left_out"] = dict.fromkeys(exact.left_out, "FoxPro's marks of nulls")
    exact.rows, exact.counted_by = len(records) - deleted, table.name
    if makers:
        starts = {name: each for name, each in zip(names, header.fields, strict=True) if name in makers}
        exact.types = types
        exact.take = _taker(records, starts, makers)
    return exact


def _records(table: Path, header: dbf.Header) -> Bytes:
    if not header.records:
        return np.zeros((0, max(1, header.record_size)), np.uint8)
    shape = (header.records, header.record_size)
    return np.memmap(table, np.uint8, "r", header.size, shape)


def _chunks(records: Bytes) -> Iterator[tuple[int, Bytes]]:
    step = max(1, _CHUNK_BYTES // records.shape[1])
    for first in range(0, len(records), step):
        yield first, records[first : first + step]


def _alive(chunk: Bytes) -> Bytes:
    gone = chunk[:, 0] == _DELETED
    return chunk[~gone] if gone.any() else chunk


def _taker(
    records: Bytes, fields: Mapping[str, dbf.Field], makers: Mapping[str, Callable[[Bytes], pa.Array]]
) -> Callable[[int], Mapping[str, pa.Array]]:
    def rows() -> Iterator[Bytes]:
        for _, chunk in _chunks(records):
            yield _alive(chunk)

    coming = rows()
    held = records[:0]

    def take(count: int) -> Mapping[str, pa.Array]:
        nonlocal held
        while len(held) < count and (more := next(coming, None)) is not None:
            held = np.concatenate([held, more]) if len(held) else more
        now, held = held[:count], held[count:]
        return {
            name: make(np.ascontiguousarray(now[:, fields[name].start : fields[name].start + fields[name].width]))
            for name, make in makers.items()
        }

    return take


def _foxpro_maker(column: dbf.Field) -> Callable[[Bytes], pa.Array]:
    def make(values: Bytes) -> pa.Array:
        match column.kind:
            case "I":
                return pa.array(values.view("<i4").reshape(-1))
            case "B":
                return pa.array(values.view("<f8").reshape(-1))
            case "Y":
                amounts: list[int] = values.view("<i8").reshape(-1).tolist()
                return pa.array([str(Decimal(amount).scaleb(-4)) for amount in amounts], pa.string())
            case _:
                parts = values.view("<i4").reshape(-1, 2).astype(np.int64)
                moments = (parts[:, 0] - _FOXPRO_EPOCH) * 86_400_000 + parts[:, 1]
                return pa.array(moments, pa.timestamp("ms"), mask=parts[:, 0] == 0)

    return make


@dataclass
class _Column:
    """The findings about the bytes of a column, collected over its chunks."""

    name: str
    field: dbf.Field
    encoding: str
    nulls: tuple[str, ...]
    as_text: bool
    overflowed: int = 0
    bad: str = ""  # the first value that GDAL would change, with its row
    nulled: bool = False  # values that GDAL would change, all of them declared as nulls
    wide: bool = False  # integers that float64 does not hold
    too_wide: bool = False  # integers that neither float64 nor int64 holds
    fraction: bool = False  # values that are not integers
    blank: bool = False  # a logical without a value
    reason: str = ""

    def observe(self, records: Bytes, numbers: npt.NDArray[np.intp]) -> None:
        """Record the findings about `records`; `numbers`: their row numbers, from 0."""
        texts = self.texts(self._of(records))
        match self.field.kind:
            case "D":
                fits = pc.fill_null(_is_date(texts), fill_value=True)
            case "L":
                texts = _blanked(texts, pc.match_substring_regex(texts, _NOTHING["L"]))
                self.blank = self.blank or bool(texts.null_count)
                fits = pc.match_substring_regex(texts, _LOGICAL)
            case _:
                stars = pc.match_substring_regex(texts, _NOTHING["N"])
                self.overflowed += pc.sum(stars).as_py() or 0
                texts = _blanked(texts, stars)
                fits = self._numbers(texts)
        misfits = texts.filter(pc.invert(pc.fill_null(fits, fill_value=True)))
        if len(misfits) and self.nulls:
            declared = pc.is_in(misfits, pa.array(self.nulls, pa.string()))
            self.nulled = self.nulled or bool(pc.any(declared).as_py())
            misfits = misfits.filter(pc.invert(declared))
        if len(misfits) and not self.bad:
            row = numbers[pc.index(texts, misfits[0]).as_py()] + 1
            self.bad = f"{misfits[0].as_py()!r} in row {row}"

    def is_plain(self, records: Bytes) -> bool:
        """Return whether all values have common forms that GDAL reads correctly, or the column is text in any case."""
        return self.as_text or not len(records) or self._is_plain(self._of(records))

    def _of(self, records: Bytes) -> Bytes:
        return np.ascontiguousarray(records[:, self.field.start : self.field.start + self.field.width])

    def verdict(self) -> pa.DataType | None:
        """Return the type to read the bytes as, None if GDAL reads the column correctly."""
        if self.as_text:
            self.reason = "declared as a string"
            return pa.string()
        if self.bad:
            words = {"D": "date", "L": "logical value"}
            self.reason = f"as text: {self.bad} is no {words.get(self.field.kind, 'number')}"
            return pa.string()
        if self.too_wide or (self.wide and (self.fraction or self.field.decimals)):
            self.reason = "as text: whole numbers that neither float64 nor int64 holds"
            return pa.string()
        if self.wide:
            self.reason = "as integers: whole numbers that float64 does not hold"
            return pa.int64()
        if self.nulled or self.blank:
            self.reason = "declared nulls" if self.nulled else "a logical without a value is null"
            return self._type()
        return None

    def maker(self, kind: pa.DataType) -> Callable[[Bytes], pa.Array]:
        def make(values: Bytes) -> pa.Array:
            texts = self.texts(values)
            texts = _blanked(texts, pc.match_substring_regex(texts, _NOTHING[self.field.kind]))
            if pa.types.is_string(kind):
                return texts
            texts = _blanked(texts, pc.is_in(texts, pa.array(self.nulls, pa.string())))
            if pa.types.is_boolean(kind):
                return pc.if_else(pc.is_valid(texts), pc.is_in(texts, pa.array(list("TtYy"))), pa.scalar(None, kind))
            if pa.types.is_date(kind):
                return pc.replace_substring_regex(texts, r"^(....)(..)(..)$", r"\1-\2-\3").cast(kind)
            return pc.replace_substring_regex(texts, r"^\+", "").cast(kind)

        return make

    def texts(self, values: Bytes) -> pa.Array:
        """Return the text of each value, up to a zero byte and without surrounding blanks; null if it is empty."""
        count, width = values.shape
        if not (values > 0x7F).any():
            offsets = np.arange(0, count * width + 1, width, dtype=np.int32)
            raw = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(values))
        else:
            lines = [bytes(value) for value in values]
            raw = pa.array([line.decode(self.encoding, "replace") for line in lines], pa.string())
        if not values.all():
            raw = pc.replace_substring_regex(raw, r"(?s)\x00.*$", "")
        plain = pc.utf8_trim_whitespace(raw)
        return _blanked(plain, pc.equal(plain, ""))

    def _type(self) -> pa.DataType:
        # The type that GDAL chooses.
        match self.field.kind:
            case "D":
                return pa.date32()
            case "L":
                return pa.bool_()
            case _ if self.field.decimals or self.field.width >= 19:
                return pa.float64()
            case _:
                return pa.int32() if self.field.width < 10 else pa.int64()

    def _is_whole(self) -> bool:
        return not self.field.decimals and self.field.width < 19

    def _is_plain(self, values: Bytes) -> bool:
        # The common forms, found in the bytes without decoding a value.
        match self.field.kind:
            case "L":
                return bool(np.isin(values[:, 0], np.frombuffer(b"TtYyFfNn", np.uint8)).all())
            case "D":
                return self.field.width == 8 and _are_dates(values)
            case _:
                return self._are_numbers(values)

    def _are_numbers(self, values: Bytes) -> bool:
        digits, spaces = (values - np.uint8(_ZERO)) < 10, values == _SPACE
        known = digits | spaces
        short = self._is_whole() or values.shape[1] <= _SAFE_DIGITS
        if not known.all():
            signs, dots = values == _MINUS, values == _DOT
            known |= signs
            if self.field.decimals:
                # If all points are at the position that the width implies, few digits precede them.
                place = values.shape[1] - 1 - self.field.decimals
                there = ~spaces[:, -1]
                if place < 1 or (dots[:, place] != there).any() or dots.sum() != there.sum():
                    return False
                short = short or place <= _SAFE_DIGITS
                known |= dots
                if (dots[:, 1:] & ~digits[:, :-1] & ~signs[:, :-1] & ~spaces[:, :-1]).any():
                    return False
            if not known.all() or (signs[:, 1:] & ~spaces[:, :-1]).any() or (signs[:, :-1] & spaces[:, 1:]).any():
                return False
            if not digits[~spaces[:, -1], -1].all():
                return False
        # Blanks may only precede the number.
        if (spaces[:, 1:] & ~spaces[:, :-1]).any():
            return False
        # GDAL reads numbers of 19 or more characters, and all numbers with decimals, as floats.
        return short or not (digits.sum(axis=1) > _SAFE_DIGITS).any()

    def _numbers(self, texts: pa.Array) -> pa.Array:
        if self._is_whole():
            return pc.match_substring_regex(texts, _WHOLE)
        fits = pc.or_(pc.match_substring_regex(texts, _DECIMAL), pc.match_substring_regex(texts, _NO_NUMBER))
        self.fraction = self.fraction or bool(pc.any(pc.match_substring_regex(texts, r"[.eE#nN]")).as_py())
        long = pc.unique(texts.filter(pc.match_substring_regex(texts, r"^[+-]?[0-9]{16,}(\.0*)?$")))
        try:
            numbers = pc.replace_substring_regex(long, r"^\+|\.0*$", "").cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid:
            # float64 holds some larger integers too, such as powers of ten.
            inexact = any(int(float(number)) != number for number in map(int, map(Decimal, long.to_pylist())))
            self.wide, self.too_wide = self.wide or inexact, self.too_wide or inexact
            return fits
        lowest = numbers & -numbers
        self.wide = self.wide or bool((np.abs(numbers // np.where(lowest, lowest, 1)) > _SAFE).any())
        return fits


def _blanked(texts: pa.Array, where: pa.Array) -> pa.Array:
    return pc.if_else(pc.fill_null(where, fill_value=False), pa.scalar(None, pa.string()), texts)


def _are_dates(values: Bytes) -> bool:
    blank = (values == _SPACE).all(axis=1) | (values == _ZERO).all(axis=1)
    digits = values - np.uint8(_ZERO)
    if not ((digits < 10).all(axis=1) | blank).all():
        return False
    parts = digits[~blank].astype(np.int64)
    return bool(
        _exist(parts @ [1000, 100, 10, 1, 0, 0, 0, 0], parts[:, 4] * 10 + parts[:, 5], parts[:, 6:] @ [10, 1]).all()
    )


def _exist(years: npt.NDArray[np.int64], months: npt.NDArray[np.int64], days: npt.NDArray[np.int64]) -> Any:
    leap = (years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0))
    known = (months >= 1) & (months <= 12)
    longest = _DAYS[np.where(known, months, 0)] + ((months == 2) & leap)
    return known & (years >= 1) & (days >= 1) & (days <= longest)


def _is_date(texts: pa.Array) -> pa.Array:
    # Null for a missing date: blank, or zeros only.
    texts = _blanked(texts, pc.match_substring_regex(texts, _NOTHING["D"]))
    eight = pc.match_substring_regex(texts, "^[0-9]{8}$")
    numbers = (
        pc.if_else(eight, texts, pa.scalar("00000000")).cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    )
    exists = pa.array(_exist(numbers // 10_000, numbers // 100 % 100, numbers % 100))
    return pc.if_else(pc.is_valid(texts), exists, pa.scalar(None, pa.bool_()))
