"""Whether the quotes of delimited text open and close where fields begin and end (RFC 4180), judged from its bytes.

A parser makes rows of any text: of a quote that nobody closes it makes one long value, and the rows in it are lost.
Parsing, and choosing the marks, belong to `text` and `dialect`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_LF, _CR = 10, 13
# Cut so, the steps of counting stay within the processor's cache. Smaller cuts make more calls, and each call takes the
# interpreter's lock from the thread that parses: with 128 KiB reading took a tenth longer.
_CACHED = 1 << 19
ROWS = "is closed only after lines that look like rows"
# A quoted value may span lines. So many bytes without its end are no value.
_LONGEST = 256 << 20
# So many bytes of a value tell whether its lines look like rows. All of 240 MB took 30 s, as 60 million lines.
_LOOKED_AT = 1 << 20
# How many lines within a value have to look like rows, by the number of columns: with few columns prose looks so too.
_ROWS_WITHIN = {1: 1 << 30, 2: 10, 3: 4, 4: 2}
# What a run of quotes can be: of an odd number it opens or closes a value, either, or neither; of an even number, at
# the beginning of a field and before text, it is an empty value with text behind it, unless it is within a value.
_OPENS, _CLOSES, _EITHER, _NEITHER, _EMPTY_THEN_TEXT = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Marks:
    """The marks of a text, single ASCII characters as bytes, and how many columns it has.

    `quote` is empty for text without quoting, `escape` for text without escapes. Unless `suspicious`, values may hold
    lines that look like rows.
    """

    delimiter: bytes
    quote: bytes
    escape: bytes
    width: int
    suspicious: bool = True


@dataclass(frozen=True)
class Problem:
    """A quote that is not what it should be: `start` is the offset of the quote that opened, `end` where it shows."""

    what: str
    start: int
    end: int


def is_plain(text: bytes, table: pa.Table, marks: Marks, *, rows: int) -> bool:
    """Whether all quotes of `text` surely stand around single-line fields, by counting; False is no verdict.

    `table` is what was parsed of it, `rows` how many lines it should have come from. Measured: it takes a twentieth of
    the time of parsing; looking at each quote takes half of it.
    """
    quote, delimiter, returns = marks.quote[0], marks.delimiter[0], b"\r" in text
    whole = np.frombuffer(text, np.uint8)
    lines = quotes = closing = 0
    for start in range(0, len(whole), _CACHED):
        some = whole[start : start + _CACHED + 1]  # one byte more, to see what is behind the last
        edge, is_quote = some == _LF, some[:_CACHED] == quote
        lines += int(np.count_nonzero(edge[:_CACHED]))
        quotes += int(np.count_nonzero(is_quote))
        edge |= some == delimiter
        if returns:
            edge |= some == _CR
        is_quote = is_quote[: len(edge) - 1]
        is_quote &= edge[1:]
        closing += int(np.count_nonzero(is_quote))
    # Every other quote is before a delimiter or a line's end, and no value can make this so by what is in it.
    return (
        lines == rows
        and quotes == 2 * closing
        and not any(_misleads(chunk, marks) for column in table.columns for chunk in column.chunks)
    )


def _misleads(values: pa.Array, marks: Marks) -> bool:
    # Whether a value has a quote in it, or a delimiter at one of its ends, where a quote stands between two marks.
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
    """Return the first quote that is wrong in the text that `blocks` make up, None when there is none.

    The text begins with a row (or the names), outside of quotes. Wrong are a quote that is never closed, or not before
    a field that begins with another; text behind a closing quote; and, where `suspicious`, a value that holds rows.
    """
    if not marks.quote:
        return None
    offset, rest, wanted = 0, b"", 0
    for more in blocks:
        rest += more
        if len(rest) < wanted:
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
        # A value that is still open is gone through again when it is twice as long: 240 MB took 40 s in steps of 8 MB.
        wanted = min(2 * len(rest), _LONGEST + 1)
    _, found = _scan(rest, marks, final=True)
    return _moved(found, offset) if found is not None else None


def _moved(found: Problem, by: int) -> Problem:
    return replace(found, start=found.start + by, end=found.end + by)


def _scan(block: bytes, marks: Marks, *, final: bool) -> tuple[int, Problem | None]:
    # How many bytes of a block are done with (those of a value without its end are not), and what is wrong.
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
        # A value with rows in it is named by where it begins.
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
    # Escaped characters are no marks; offsets stay.
    if not marks.escape or marks.escape not in block:
        return block
    pieces = block.split(marks.escape)
    out, skip = [pieces[0]], False
    for piece in pieces[1:]:
        if skip:  # this escape is what the one before it escapes
            out.append(b"." + piece)
            skip = False
        elif piece:
            out.append(b".." + piece[1:])
        else:
            out.append(b".")
            skip = True
    return b"".join(out)


def _runs(text: npt.NDArray[np.uint8], marks: Marks) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    # Where runs of quotes begin that can mean something, and what each is.
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
    # Whether a value is open before each run.
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
    # The first value of several lines that look like rows. (An open value without its end is looked at when it ends.)
    lines = np.flatnonzero(text == _LF)
    if len(lines) <= 2:
        lines = np.flatnonzero(text == _CR)
    opens = opens[: len(closes)]
    within = np.searchsorted(lines, closes) - np.searchsorted(lines, opens)
    for number in np.flatnonzero(within >= 1).tolist():
        start, end = int(opens[number]) - 1, int(closes[number]) - 1
        if _looks_like_rows(block[start + 1 : end], marks):
            return Problem(ROWS, start, end)
    return None


def _looks_like_rows(value: bytes, marks: Marks) -> bool:
    value = value[:_LOOKED_AT]
    lines = [line for line in value.replace(b"\r", b"\n").split(b"\n")[1:] if line.strip()]
    if lines and lines[-1].count(marks.delimiter) != marks.width - 1:
        lines.pop()  # the rest of a row, to the quote that closed
    if len(lines) < _ROWS_WITHIN.get(marks.width, 1):
        return False
    for line in lines:
        delimiters = line.count(marks.delimiter)
        # Prose has a space behind its commas.
        if delimiters != marks.width - 1 or line.count(marks.delimiter + b" ") * 2 > delimiters:
            return False
    return True
