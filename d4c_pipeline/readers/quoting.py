"""Checks by the bytes of delimited text that quotes open and close at the beginning and end of fields (RFC 4180).

A parser makes rows of any text: an unclosed quote makes a single long value, and the rows in it are lost. Parsing
belongs to `text`, choosing the marks to `dialect`.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_LF, _CR = 10, 13
# Blocks of this size stay within the processor's cache while counting. Smaller blocks make more calls, and each call
# takes the interpreter lock from the parsing thread: with 128 KiB, reading took a tenth longer.
_CACHED = 1 << 19
ROWS = "is closed only after lines that look like rows"
# A quoted value may span lines, but not more than this number of bytes.
_LONGEST = 256 << 20
# Bytes of a value in which to search for rows. A complete value of 240 MB took 30 s, as 60 million lines.
_SEARCHED = 1 << 20
# Number of columns -> number of lines in a value that must look like rows: with few columns, prose looks like rows too.
_ROWS_WITHIN = {1: 1 << 30, 2: 10, 3: 4, 4: 2}
# Kinds of a run of quotes. A run of odd length opens or closes a value, either, or neither. A run of even length at the
# beginning of a field and before text is an empty value followed by text, unless it is within a value.
_OPENS, _CLOSES, _EITHER, _NEITHER, _EMPTY_THEN_TEXT = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Marks:
    """The marks of a text, single ASCII characters as bytes, and its number of columns.

    `quote` is empty for text without quoting, `escape` for text without escapes. With `suspicious`, a value with lines
    that look like rows is a problem.
    """

    delimiter: bytes
    quote: bytes
    escape: bytes
    width: int
    suspicious: bool = True


@dataclass(frozen=True)
class Problem:
    """A wrong quote: `start` is the offset of the opening quote, `end` the offset at which the problem shows."""

    what: str
    start: int
    end: int


def is_plain(text: bytes, table: pa.Table, marks: Marks, *, rows: int) -> bool:
    """Return True if counting proves that all quotes of `text` enclose single-line fields; False decides nothing.

    `table` is the parsed text, `rows` its expected number of lines. Measured: counting takes a twentieth of the time of
    parsing, checking each quote takes half of it.
    """
    quote, delimiter, returns = marks.quote[0], marks.delimiter[0], b"\r" in text
    data = np.frombuffer(text, np.uint8)
    lines = quotes = closing = 0
    for start in range(0, len(data), _CACHED):
        block = data[start : start + _CACHED + 1]  # with the byte after the last quote
        edge, is_quote = block == _LF, block[:_CACHED] == quote
        lines += int(np.count_nonzero(edge[:_CACHED]))
        quotes += int(np.count_nonzero(is_quote))
        edge |= block == delimiter
        if returns:
            edge |= block == _CR
        is_quote = is_quote[: len(edge) - 1]
        is_quote &= edge[1:]
        closing += int(np.count_nonzero(is_quote))
    # Every second quote is before a delimiter or the end of a line, and no value contains such a sequence.
    return (
        lines == rows
        and quotes == 2 * closing
        and not any(_misleads(chunk, marks) for column in table.columns for chunk in column.chunks)
    )


def _misleads(values: pa.Array, marks: Marks) -> bool:
    # Whether a value contains a quote, or a delimiter at one of its ends, which puts a quote between two marks.
    buffer = values.buffers()[2]
    if buffer is None or not len(values):
        return False
    data = buffer.to_pybytes()  # searching bytes takes a third of the time of comparing an array, copy included
    if marks.quote in data:
        return True
    if marks.delimiter not in data:
        return False
    ends = pc.or_(pc.starts_with(values, marks.delimiter.decode()), pc.ends_with(values, marks.delimiter.decode()))
    return bool(pc.any(ends).as_py())


def problem(blocks: Iterable[bytes], marks: Marks) -> Problem | None:
    """Return the first wrong quote of the text in `blocks`, None if all are right.

    The text begins with a row (or the names), outside of quotes. Problems are a quote that is never closed, or not
    before a field that begins with another quote; text after a closing quote; and, if `suspicious`, a value with rows.
    """
    if not marks.quote:
        return None
    offset, rest, needed = 0, b"", 0
    for more in blocks:
        rest += more
        if len(rest) < needed:
            continue
        end = max(rest.rfind(b"\n"), rest.rfind(b"\r")) + 1
        too_long = len(rest) > _LONGEST
        if not end and not too_long:
            continue
        consumed, found = _scan(rest[:end], marks, final=too_long)
        if found is not None:
            return _moved(found, offset)
        offset += consumed
        rest = rest[consumed:]
        # An open value is scanned again when it is twice as long: 240 MB took 40 s in steps of 8 MB.
        needed = min(2 * len(rest), _LONGEST + 1)
    _, found = _scan(rest, marks, final=True)
    return _moved(found, offset) if found is not None else None


def _moved(found: Problem, by: int) -> Problem:
    return replace(found, start=found.start + by, end=found.end + by)


def _scan(block: bytes, marks: Marks, *, final: bool) -> tuple[int, Problem | None]:
    # Returns the number of scanned bytes, without those of an open value, and the problem.
    text = np.frombuffer(b"\n" + _without_escapes(block, marks) + b"\n", np.uint8)
    at, kinds = _runs(text, marks)
    if not len(at):
        return len(block), None
    opened = _opened(kinds)
    wrong = (
        (opened & ((kinds == _OPENS) | (kinds == _NEITHER)))
        | (~opened & (kinds == _EMPTY_THEN_TEXT))
    ).nonzero()[0]  # fmt: skip
    opens = (~opened & ((kinds == _OPENS) | (kinds == _EITHER))).nonzero()[0]
    if len(wrong):
        first = int(wrong[0])
        before = opens[opens <= first]
        start = int(at[before[-1]] if len(before) else at[first]) - 1
        what = "is still open where another opens" if kinds[first] == _OPENS else "is closed before text"
        # A value with rows is reported at its beginning.
        return 0, Problem(what, start, int(at[first]) - 1)
    closes = (opened & ((kinds == _CLOSES) | (kinds == _EITHER))).nonzero()[0]
    if marks.suspicious and (found := _rows_within(block, at[opens], at[closes], text, marks)) is not None:
        return 0, found
    if len(opens) > len(closes):
        last = int(at[opens[-1]]) - 1
        if final:
            return 0, Problem("is never closed", last, len(block))
        return last, None
    return len(block), None


def _without_escapes(block: bytes, marks: Marks) -> bytes:
    # Replaces escaped characters, which are not marks; offsets stay the same.
    if not marks.escape or marks.escape not in block:
        return block
    pieces = block.split(marks.escape)
    out, skip = [pieces[0]], False
    for piece in pieces[1:]:
        if skip:  # the previous escape escapes this escape
            out.append(b"." + piece)
            skip = False
        elif piece:
            out.append(b".." + piece[1:])
        else:
            out.append(b".")
            skip = True
    return b"".join(out)


def _runs(text: npt.NDArray[np.uint8], marks: Marks) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    # Returns the offsets of the runs of quotes that are marks, and their kinds.
    quotes = np.flatnonzero(text == marks.quote[0])
    if not len(quotes):
        return quotes, np.zeros(0, np.uint8)
    apart = np.diff(quotes) != 1
    starts = quotes[np.concatenate(([True], apart))]
    ends = quotes[np.concatenate((apart, [True]))]
    edge = np.zeros(256, bool)
    edge[[_LF, _CR, marks.delimiter[0]]] = True
    begins, stops = edge[text[starts - 1]], edge[text[ends + 1]]
    odd = (ends - starts) % 2 == 0
    kinds = np.where(
        odd,
        np.where(begins, np.where(stops, _EITHER, _OPENS), np.where(stops, _CLOSES, _NEITHER)),
        np.where(begins & ~stops, _EMPTY_THEN_TEXT, 0),
    ).astype(np.uint8)
    kept = kinds > 0
    return starts[kept], kinds[kept]


def _opened(kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    # Returns for each run whether a value is open before it.
    if np.any(kinds == _EITHER):
        state, states = False, []
        for kind in kinds.tolist():
            states.append(state)
            state = kind == _OPENS or (kind == _EITHER and not state) or (state and kind >= _NEITHER)
        return np.array(states, bool)
    deciding = np.where((kinds == _OPENS) | (kinds == _CLOSES), np.arange(1, len(kinds) + 1), 0)
    last = np.concatenate(([0], np.maximum.accumulate(deciding)[:-1]))
    return (last > 0) & (kinds[last - 1] == _OPENS)


def _rows_within(
    block: bytes,
    opens: npt.NDArray[np.int64],
    closes: npt.NDArray[np.int64],
    text: npt.NDArray[np.uint8],
    marks: Marks,
) -> Problem | None:
    # Returns the first value with lines that look like rows. An open value is checked when it ends.
    lines = np.flatnonzero(text == _LF)
    if len(lines) <= 2:
        lines = np.flatnonzero(text == _CR)
    opens = opens[: len(closes)]
    within = np.searchsorted(lines, closes) - np.searchsorted(lines, opens)
    for number in np.flatnonzero(within >= 1).tolist():
        start, end = int(opens[number]) - 1, int(closes[number]) - 1
        if _is_likely_rows(block[start + 1 : end], marks):
            return Problem(ROWS, start, end)
    return None


def _is_likely_rows(value: bytes, marks: Marks) -> bool:
    value = value[:_SEARCHED]
    lines = [line for line in value.replace(b"\r", b"\n").split(b"\n")[1:] if line.strip()]
    if lines and lines[-1].count(marks.delimiter) != marks.width - 1:
        lines.pop()  # the rest of a row up to the closing quote
    if len(lines) < _ROWS_WITHIN.get(marks.width, 1):
        return False
    for line in lines:
        delimiters = line.count(marks.delimiter)
        # Prose has a space after commas.
        if delimiters != marks.width - 1 or line.count(marks.delimiter + b" ") * 2 > delimiters:
            return False
    return True
