"""Parses dates and moments in a declared form (`%d/%m/%Y`): text must have exactly that form, and the day must exist.

Arrow's strptime rolls 31/02 over to March and depends on the locale. Here a pattern extracts the parts, and Arrow casts
them strictly as ISO 8601. `model.date_format` defines the forms.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import re
import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError

_PATTERNS = {
    "Y": r"(?P<Y>[0-9]{4})",
    "y": r"(?P<y>[0-9]{2})",
    "m": r"(?P<m>[0-9]{1,2})",
    "d": r"(?P<d>[0-9]{1,2})",
    "e": r"(?P<d>[0-9]{1,2})",
    "b": r"(?P<b>\pL{3,9}\.?)",
    "B": r"(?P<b>\pL{3,9}\.?)",
    "H": r"(?P<H>[0-9]{1,2})",
    "I": r"(?P<I>0?[1-9]|1[0-2])",
    "p": r"(?P<p>(?i:[ap]\.?m\.?))",
    "M": r"(?P<M>[0-9]{1,2})",
    "S": r"(?P<S>[0-9]{1,2})",
    "f": r"(?P<f>[0-9]{1,6})",
    "z": r"(?P<z>Z|[+-][0-9]{2}:?[0-9]{2})",
    "%": "%",
}
_MONTHS = (
    ("january", "janvier"), ("february", "fevrier"), ("march", "mars"), ("april", "avril"), ("may", "mai"),
    ("june", "juin"), ("july", "juillet"), ("august", "aout"), ("september", "septembre"), ("october", "octobre"),
    ("november", "novembre"), ("december", "decembre"),
)  # fmt: skip
_MORE = {"sept": 9, "janv": 1, "fevr": 2, "avr": 4, "juil": 7}
# POSIX: years of two digits up to 68 belong to this century.
_PIVOT = 69


def parsed(column: Any, date_format: str, target: pa.DataType, name: str, first_row: int = 0) -> Any:
    """Return the text `column` as `target` (date32 or timestamp without zone), blank text as null.

    Month names are English or French, full or abbreviated, in any case. Moments with a zone are converted to UTC.
    Raises DataError with row and value for the first text in another form and for the first day that does not exist;
    the message uses `name`, the column's name, and `first_row`, the number of rows before the column.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    column = pc.utf8_trim_whitespace(column)
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    iso = _iso(column, date_format)
    wrong = pc.and_(pc.is_valid(column), pc.is_null(iso))
    if pc.any(wrong).as_py():
        raise _refusal(column, wrong, date_format, name, first_row)
    kind = pa.timestamp("us", "UTC") if "%z" in date_format else target
    try:
        return iso.cast(kind).cast(target)
    except pa.ArrowInvalid as error:
        wrong = pa.array([not _casts(text, kind) for text in iso])
        raise _refusal(column, wrong, date_format, name, first_row) from error


def _iso(column: pa.Array, date_format: str) -> pa.Array:
    # Texts that have the form, in ISO 8601; null for others.
    found = pc.extract_regex(column, f"^{_pattern(date_format)}$")
    parts = dict(zip((field.name for field in found.type), found.flatten(), strict=True))
    valid = pc.is_valid(found)
    year = parts["Y"] if "Y" in parts else _century(parts["y"])
    month = _two(parts["m"]) if "m" in parts else _month(parts["b"])
    text = pc.binary_join_element_wise(year, month, _two(parts["d"]), "-")
    if "H" in parts or "I" in parts:
        hour = _two(parts["H"]) if "H" in parts else _half_day(parts["I"], parts["p"])
        clock = [hour, _two(parts["M"]) if "M" in parts else pa.scalar("00")]
        clock.append(_two(parts["S"]) if "S" in parts else pa.scalar("00"))
        text = pc.binary_join_element_wise(text, pc.binary_join_element_wise(*clock, ":"), "T")
        if "f" in parts:
            text = pc.binary_join_element_wise(text, parts["f"], ".")
        if "z" in parts:
            text = pc.binary_join_element_wise(text, parts["z"], "")
    return pc.if_else(valid, text, pa.scalar(None, pa.string()))


def _pattern(date_format: str) -> str:
    out = ""
    for piece in re.findall(r"%-?.|[^%]+", date_format, re.DOTALL):
        out += _PATTERNS[piece[-1]] if piece[0] == "%" else re.escape(piece)
    return out


def _two(digits: pa.Array) -> pa.Array:
    return pc.utf8_lpad(digits, 2, "0")


def _century(digits: pa.Array) -> pa.Array:
    low = pc.less(digits.cast(pa.int16()), _PIVOT)
    return pc.binary_join_element_wise(pc.if_else(low, "20", "19"), digits, "")


def _half_day(hours: pa.Array, half: pa.Array) -> pa.Array:
    afternoon = pc.equal(pc.utf8_slice_codeunits(pc.utf8_lower(half), 0, 1), "p")
    number = hours.cast(pa.int16()).to_numpy(zero_copy_only=False)
    number = np.nan_to_num(number).astype(np.int16) % 12
    later = pc.fill_null(afternoon, fill_value=False).to_numpy(zero_copy_only=False) * 12
    return _two(pa.array(number + later, pa.int16()).cast(pa.string()))


def _month(words: pa.Array) -> pa.Array:
    # A column has few distinct month names.
    encoded = words.dictionary_encode()
    numbers = pa.array([_month_number(word) for word in encoded.dictionary.to_pylist()], pa.string())
    return numbers.take(encoded.indices)


def _month_number(word: str) -> str | None:
    plain = unicodedata.normalize("NFKD", word.rstrip(".").lower()).encode("ascii", "ignore").decode()
    if plain in _MORE:
        return f"{_MORE[plain]:02}"
    # Three letters identify an English month, but not a French one (juin, juillet).
    found = [n for n, names in enumerate(_MONTHS, 1) if plain in names or plain == names[0][:3]]
    return f"{found[0]:02}" if len(found) == 1 else None


def _casts(text: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        text.cast(kind)
    except pa.ArrowInvalid:  # the day does not exist
        return False
    return True


def _refusal(column: pa.Array, wrong: pa.Array, date_format: str, name: str, first_row: int) -> DataError:
    at = pc.index(wrong, pa.scalar(value=True)).as_py()
    return DataError(
        f"Column {name} has {column[at].as_py()!r} in row {first_row + at + 1}, which is not a day in the declared"
        f" date_format {date_format}",
        "Correct date_format, add the value to nulls, or declare the column as type: string",
    )
