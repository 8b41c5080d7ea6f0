"""Texts in records, feeds and pages: the characters that they may contain, and the cleaning of foreign texts.

A declared text with an unfit character is refused (`unfit`), because its operator can correct it. A source's text is
cleaned (`clean`). Tables for pages of the UI (`markdown_table`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

# Controls except tab and line end, lone surrogates, noncharacters, and bidirectional controls.
_UNFIT = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufeff\ufffe\uffff]"
)
_TAG = re.compile(
    r"<!--.*?(?:-->|$)|<\s*(script|style)\b.*?(?:<\s*/\s*\1\s*>|$)|<\s*/?\s*(?:a|abbr|article|audio|b|base|blockquote|body"
    r"|br|button|code|dd|div|dl|dt|em|embed|figure|font|form|frame|frameset|h[1-6]|head|hr|html|i|iframe|img|input|li|link"
    r"|math|meta|object|ol|option|p|picture|pre|section|select|small|source|span|strong|sub|sup|svg|table|tbody|td|textarea"
    r"|template|th|thead|title|tr|tt|u|ul|video)\b(?:[^<>]*>|[\s/][^<>]*=[^<>]*$)",
    re.IGNORECASE | re.DOTALL,
)
_NAMES = {
    "control": "a control character",
    "surrogate": "half a character (a lone surrogate)",
    "direction": "a character that turns the direction of the text",
    "none": "a code point that is no character",
}


def unfit(text: str, *, markup: bool = True) -> str | None:
    """Return the unfit part of a declared text in words, None if the text is fit; `markup`: whether HTML is unfit."""
    if (found := _UNFIT.search(text)) is not None:
        number = ord(found[0])
        if 0xD800 <= number <= 0xDFFF:
            kind = "surrogate"
        elif 0x202A <= number <= 0x2069:
            kind = "direction"
        else:
            kind = "control" if number < 0xA0 else "none"
        return f"{_NAMES[kind]} (U+{number:04X})"
    if markup and (found := _TAG.search(text)) is not None:
        return f"HTML ({found[0][:20]!r})"
    return None


def clean(text: str) -> str:
    """Return a source's text as plain text: without controls and markup, its character references resolved."""
    if "<" in text or "&" in text:
        text = _TAG.sub(" ", text)
        # Escaped text may be markup too. Publishers escape once, so tags that appear now are removed as well.
        text = _TAG.sub(" ", html.unescape(text))
    if text.isascii() and text.isprintable():
        return text  # nearly all texts: no search for controls
    return _UNFIT.sub(" ", text)


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; cells may contain Markdown, and no `|` or line end breaks the table."""
    return [_row(heads), "|" + " --- |" * len(heads), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
