"""Finds the narrowest lossless type of a text column from all its values, then casts batch by batch.

A type is lossless if the value and facts of the complete column (number of decimals, form of a timestamp) restore every
text. In doubt a column stays text. Declared types take precedence, see `columns`.

The rules. Integers: no leading zeros, no plus sign, within 64 bits; the narrowest of 8, 16, 32, 64 bits. Decimals, as
float64, never float32, with no more digits than float64 preserves; the number of decimals may vary (45, 0.0, 1.50),
unless the column looks like numbering. Dates: YYYY-MM-DD. Timestamps: ISO 8601 to the minute, second or a fraction of
up to six digits, in one form throughout, all or none with Z. Booleans: true and false in one spelling. Columns with the
name of a code (`id`, `code_postal`, `CSDUID`, `coordinate`, `version`) stay text: the next vintage may have leading
zeros.

Numbering continues counting after the point (1.9, 1.10, 1.11), so 1.1 differs from 1.10. A column whose number of
decimals varies looks like numbering if every value has one or two digits from 1 on, optionally with a point and up to
three digits without leading zeros, and either every value that ends in 0 has its predecessor (1.9 of 1.10) or two
values are the same number (1.1 and 1.10).
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.processing import Processing, TableProcessing
from d4c_pipeline.tables.names import snake_case

_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_SPELLINGS = (("true", "false"), ("TRUE", "FALSE"), ("True", "False"))
DECIMAL = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"
"""The texts of plain numbers, without leading zeros, plus signs and exponents."""
_NUMBERING = r"^[1-9][0-9]?(\.(0|[1-9][0-9]{0,2}))?$"
_NUMBERING_LENGTH, _NUMBERINGS = 6, 5_000
_MINUS_ZERO = r"^-0(\.0+)?$"
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d(?P<separator>[T ])\d\d:\d\d(?P<second>:\d\d(\.\d{1,6})?)?(?P<zone>Z?)")
# float64 preserves any decimal with this many digits.
_SURE_DIGITS = 15
# So many values of a batch distinguish most columns of words from columns of numbers.
_SAMPLE = 64
_CODE_WORDS = frozenset(
    ("id", "uid", "guid", "uuid", "dguid", "idugd", "code", "cd", "postal", "zip", "phone", "telephone", "tel", "fax",
     "version", "isbn", "issn", "sku", "upc", "gtin", "siren", "siret", "barcode")
)  # fmt: skip
# Complete names. `coordinate` is the position of a series in a table of Statistics Canada, where 1.1 and 1.10 differ;
# X_COORDINATE is a number.
_CODE_NAMES = frozenset(
    ("coordinate", "coordonnee", "coordonnees", "vector", "vecteur", "naics", "scian", "noc", "cnp")
)
_PHONES = frozenset(("phone", "telephone", "tel", "fax", "cell", "mobile"))
_NUMBERS = frozenset(("number", "numero", "num", "no", "nbr"))
_CODE_ENDS = ("uid", "objectid", "nameid", "dguid")


def applies(processing: Processing, report: Mapping[str, Any]) -> bool:
    """Return whether columns are narrowed: by `processing.types` if declared, else for delimited text.

    `report` is the reader's. The layouts of Statistics Canada (`wds`, `census`) have fixed types, so that all tables of
    a family have the same schema.
    """
    if processing.types:
        return processing.types == "narrow"
    typed = isinstance(processing, TableProcessing) and (processing.wds or processing.census)
    return "delimiter" in report and not typed


def is_code(name: str) -> bool:
    """Return whether a column of that source or output name holds codes rather than quantities."""
    plain = snake_case(name)
    words = plain.split("_")
    return (
        plain in _CODE_NAMES
        or words[0] in _CODE_WORDS
        or words[-1] in _CODE_WORDS
        or words[-1].endswith(_CODE_ENDS)
        or (words[-1] in _NUMBERS and not _PHONES.isdisjoint(words))
    )


class Evidence:
    """The types that the observed values allow. Call `observe` with all batches, then `types`."""

    def __init__(self, schema: pa.Schema, *, settled: Collection[str] = ()) -> None:
        """`settled`: columns to ignore, because their type is declared."""
        self._seen = {
            each.name: _Seen(is_code(each.name))
            for each in schema
            if each.name not in settled and (_is_text(each.type) or pa.types.is_integer(each.type))
        }

    def observe(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Take the values of a batch or a table into account."""
        for name, seen in self._seen.items():
            if seen.open:
                seen.observe(batch.column(name))

    def types(self) -> dict[str, pa.DataType]:
        """Return the columns that can be narrowed, with their new types."""
        verdicts = {name: seen.verdict() for name, seen in self._seen.items()}
        return {name: kind for name, kind in verdicts.items() if kind is not None}

    def report(self) -> dict[str, str]:
        """Return columns of numbers that stay text, with the reason. A declared type overrides it."""
        return {name: seen.reason for name, seen in self._seen.items() if seen.reason and seen.verdict() is None}


def cast(batch: pa.RecordBatch, types: Mapping[str, pa.DataType]) -> pa.RecordBatch:
    """Return `batch` with the columns in `types` cast to those types, which Evidence found for the same values."""
    # One batch at the end: replacing a column copies the schema, which took 5 s for 9,000 columns.
    columns, fields = batch.columns, list(batch.schema)
    for position, (column, field_) in enumerate(zip(columns, fields, strict=True)):
        kind = types.get(field_.name)
        if kind is None or column.type == kind:
            continue
        texts = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        columns[position] = pc.equal(pc.utf8_lower(texts), "true") if pa.types.is_boolean(kind) else texts.cast(kind)
        fields[position] = field_.with_type(kind)
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, batch.schema.metadata))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


@dataclass
class _Seen:
    """One column: the kinds that are still possible, and the facts that decide between them."""

    code: bool
    kinds: set[str] = field(
        default_factory=lambda: {"integer", "decimal", "date", "timestamp", *(low for low, _ in _SPELLINGS)}
    )
    values: bool = False
    least: int = 0
    greatest: int = 0
    fewest: int = 1 << 30  # decimals
    most: int = 0
    trailing_zero: bool = False
    numbering: set[str] | None = field(default_factory=set[str])  # all distinct values, while they can be numbering
    form: tuple[int, str, str] | None = None  # of timestamps: length, separator, zone
    integers: bool = False  # the column comes as integers
    reason: str = ""

    @property
    def open(self) -> bool:
        return bool(self.kinds) and not (self.code and not self.integers and self.values)

    def observe(self, column: pa.Array | pa.ChunkedArray) -> None:
        if pa.types.is_dictionary(column.type):
            column = pc.unique(column)
            column = column.dictionary.take(column.indices) if isinstance(column, pa.DictionaryArray) else column
        column = column.drop_null()
        if not len(column):
            return
        self.values = True
        if pa.types.is_integer(column.type):
            self.integers = True
            self.kinds = {"integer"}
            self._bounded(column)
            return
        if not pa.types.is_string(column.type):
            column = column.cast(pa.string())
        # A sample first: kinds that a few values rule out need no test on all values.
        for values in (column.slice(0, _SAMPLE), column):
            numbers = _integers(values) if "integer" in self.kinds else None
            for kind in sorted(self.kinds):
                if not self._possible(kind, values, numbers, complete=values is column):
                    self.kinds.discard(kind)
            if not self.kinds:
                return

    def _possible(self, kind: str, values: Any, numbers: Any, *, complete: bool) -> bool:
        # `numbers`: the values if all are integers, else None. `complete`: `values` are all values, not the sample.
        match kind:
            case "integer":
                if complete and numbers is not None:
                    self._bounded(numbers)
                return numbers is not None
            case "decimal":
                if numbers is not None and _is_short(numbers):
                    if complete:
                        self.fewest = 0
                        self._note_integer_numbering(numbers)
                    return True
                return self._all_decimals(values, complete=complete)
            case "date":
                return _casts(values, pa.date32()) is not None
            case "timestamp":
                return self._all_timestamps(values, complete=complete)
            case _:
                spelling = next(pair for pair in _SPELLINGS if pair[0] == kind)
                return bool(pc.all(pc.is_in(values, pa.array(spelling))).as_py())

    def _bounded(self, numbers: Any) -> None:
        extremes = pc.min_max(numbers).as_py()
        self.least, self.greatest = min(self.least, extremes["min"]), max(self.greatest, extremes["max"])

    def _all_decimals(self, values: Any, *, complete: bool) -> bool:
        if not pc.all(pc.match_substring_regex(values, DECIMAL)).as_py():
            return False
        if not complete:
            return True
        point, length = pc.find_substring(values, "."), pc.binary_length(values)
        decimals = pc.if_else(pc.less(point, 0), 0, pc.subtract(pc.subtract(length, point), 1))
        extremes = pc.min_max(decimals).as_py()
        self.fewest, self.most = min(self.fewest, extremes["min"]), max(self.most, extremes["max"])
        zeros = pc.and_(pc.ends_with(values, "0"), pc.greater(decimals, 0))
        self.trailing_zero = self.trailing_zero or bool(pc.any(zeros).as_py())
        if pc.any(pc.match_substring_regex(values.filter(pc.starts_with(values, "-0")), _MINUS_ZERO)).as_py():
            return False
        self._note_numbering(values, length)
        if not comes_back(values.filter(pc.greater(length, _SURE_DIGITS))):
            self.reason = "some have more digits than a 64-bit number preserves"
            return False
        return True

    def _note_integer_numbering(self, numbers: Any) -> None:
        if self.numbering is None:
            return
        extremes = pc.min_max(numbers).as_py()
        if extremes["min"] < 1 or extremes["max"] > 99:
            self.numbering = None
        else:
            self.numbering.update(map(str, pc.unique(numbers).to_pylist()))

    def _note_numbering(self, values: Any, length: Any) -> None:
        # Most columns of decimals have longer values, and need no test.
        if self.numbering is None:
            return
        if pc.max(length).as_py() > _NUMBERING_LENGTH:
            self.numbering = None
            return
        different = pc.unique(values)
        if len(different) > _NUMBERINGS or not pc.all(pc.match_substring_regex(different, _NUMBERING)).as_py():
            self.numbering = None
            return
        self.numbering.update(different.to_pylist())

    def _is_numbering(self) -> bool:
        texts = self.numbering
        if not texts or len(texts) > _NUMBERINGS:
            return False
        if len({float(text) for text in texts}) < len(texts):
            return True
        # 2.0 has no predecessor, so it decides nothing.
        tens = [text.split(".") for text in texts if "." in text and text.endswith("0") and not text.endswith(".0")]
        return bool(tens) and all(f"{whole}.{int(part) - 1}" in texts for whole, part in tens)

    def _all_timestamps(self, values: Any, *, complete: bool) -> bool:
        match = _TIMESTAMP.fullmatch(values[0].as_py())
        if match is None:
            return False
        form = self.form or (match.end(), match["separator"], match["zone"])
        same = pc.and_(
            pc.equal(pc.binary_length(values), form[0]),
            pc.equal(pc.utf8_slice_codeunits(values, 10, 11), form[1]),
        )
        if not pc.all(same).as_py() or _casts(values, _timestamp(form[2])) is None:
            return False
        if complete:
            self.form = form
        return True

    def verdict(self) -> pa.DataType | None:
        if not self.values or (self.code and not self.integers):
            return None
        if "integer" in self.kinds:
            return next(kind for kind in _INTEGERS if _fits(self.least, self.greatest, kind))
        if "date" in self.kinds:
            return pa.date32()
        if "timestamp" in self.kinds:
            return _timestamp(self.form[2] if self.form else "")
        if "decimal" in self.kinds:
            if self.trailing_zero and self.fewest != self.most and self._is_numbering():
                self.reason = "it looks like numbering, in which 1.1 is not 1.10"
                return None
            return pa.float64()
        return pa.bool_() if self.kinds else None


def comes_back(decimals: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether float64 preserves all of the plain decimal texts (`-12.340`).

    Numbers that Arrow writes with an exponent count as not preserved.
    """
    if not len(decimals):
        return True
    written = pc.cast(pc.cast(decimals, pa.float64()), pa.string())
    bare = pc.replace_substring_regex(decimals, r"(\.[0-9]*?)0+$", r"\1")
    return bool(pc.all(pc.equal(written, pc.replace_substring_regex(bare, r"\.$", ""))).as_py())


def _integers(values: Any) -> Any:
    # The texts as integers if each is the canonical text of an integer, else None.
    numbers = _casts(values, pa.int64())
    return numbers if numbers is not None and pc.all(pc.equal(numbers.cast(pa.string()), values)).as_py() else None


def _is_short(numbers: Any) -> bool:
    # Whether float64 preserves the integers for certain: sign included, they have at most that many digits.
    extremes = pc.min_max(numbers).as_py()
    return extremes["min"] > -(10 ** (_SURE_DIGITS - 1)) and extremes["max"] < 10**_SURE_DIGITS


def _fits(least: int, greatest: int, kind: pa.DataType) -> bool:
    bound = 1 << (kind.bit_width - 1)
    return -bound <= least and greatest < bound


def _timestamp(zone: str) -> pa.DataType:
    return pa.timestamp("us", "UTC") if zone else pa.timestamp("us")


def _casts(values: Any, kind: pa.DataType) -> Any:
    try:
        return values.cast(kind)
    except pa.ArrowInvalid:  # a value does not fit
        return None
