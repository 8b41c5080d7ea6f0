"""The naming rule: converts a source's column names to snake_case ASCII, always to the same result.

Declared names belong to `columns`.

The rule, in order: (1) accents are stripped and ligatures spelt out; any other character than an ASCII letter or digit
separates words. (2) A new word begins at a capital after a small letter (`landArea`), at a capitalised word after a
digit (`Pop2021Total`), and at a capitalised word of three or more letters after two or more capitals (`CSDName`; but
`MHn`, `PGAt` and `CDuid` are one word). (3) Words are lower-cased and joined by single underscores. (4) A name that
would begin with a digit gets the prefix `c_`. (5) If nothing is left, each letter or symbol is spelt by its Unicode
name: syllabics by their sounds in Cree (`ᐊᑎᖅ` is `atiq`), kana and hangul by theirs, Cyrillic and Greek by Latin
letters, pictures and signs by their names (`🚗` is `automobile`). A name without spellable characters (Chinese) becomes
`column_` and its position. Equal names get the suffixes `_2`, `_3`, ...
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from d4c_pipeline.tables.native import exactly_unique

# NFKD does not decompose these letters.
_LETTERS = {"œ": "oe", "æ": "ae", "ø": "o", "ß": "ss", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
_SPELT_OUT = str.maketrans(
    _LETTERS | {letter.upper(): plain.upper() for letter, plain in _LETTERS.items() if len(letter.upper()) == 1}
)
_SMALL_THEN_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DIGIT_THEN_WORD = re.compile(r"(?<=[0-9])(?=[A-Z][a-z])")
_CAPITALS_THEN_WORD = re.compile(r"(?<=[A-Z]{2})(?=[A-Z][a-z]{2})")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")


_CYRILLIC = {
    "BE": "b", "VE": "v", "GHE": "g", "DE": "d", "IE": "e", "IO": "yo", "ZHE": "zh", "ZE": "z", "KA": "k", "EL": "l",
    "EM": "m", "EN": "n", "PE": "p", "ER": "r", "ES": "s", "TE": "t", "EF": "f", "HA": "kh", "TSE": "ts", "CHE": "ch",
    "SHA": "sh", "SHCHA": "shch", "SIGN": "", "YERU": "y", "YI": "yi",
}  # fmt: skip
_GREEK = {"ETA": "i", "THETA": "th", "CHI": "ch", "PSI": "ps", "FINAL": "s"}
# Signs that may be the complete name of a column; other punctuation may not.
_SIGNS = frozenset("%#@&")
_LONGEST = 60


def snake_case(name: str) -> str:
    """Return the output name of the source column `name`, of the form `[a-z][a-z0-9_]*`, by the module's rule.

    The function is idempotent. A name without spellable characters becomes `column`.
    """
    return _named(name) or "column"


def unique_snake_case(
    names: Sequence[str], taken: Iterable[str] = (), positions: Sequence[int] | None = None
) -> list[str]:
    """Return the output names of `names`, all different and none in `taken`.

    The first of equal names keeps the plain name, the others get `_2`, `_3`, ... in the order of the source. A name
    without spellable characters is numbered by its element of `positions`, by default its place in `names` from 1.
    """
    places = positions if positions is not None else range(1, len(names) + 1)
    found = [_named(name) or f"column_{place}" for name, place in zip(names, places, strict=True)]
    return exactly_unique(found, taken=tuple(taken))


def _named(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.translate(_SPELT_OUT))
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    for boundary in (_SMALL_THEN_CAPITAL, _DIGIT_THEN_WORD, _CAPITALS_THEN_WORD):
        plain = boundary.sub("_", plain)
    joined = _joined(plain) or _joined(_spelt(plain))
    return f"c_{joined}" if joined[:1].isdigit() else joined


def _joined(text: str) -> str:
    return _SEPARATORS.sub("_", text).strip("_").lower()


def _spelt(text: str) -> str:
    # The Unicode names of the letters and symbols of a name without ASCII letters and digits.
    out = ""
    for character in text:
        called = unicodedata.name(character, "")
        kind = unicodedata.category(character)
        if kind[0] == "L" and "-" not in called.rpartition(" ")[2]:
            out += _sound(called)
        elif (kind[0] == "S" or character in _SIGNS) and called:
            out += f" {called} "
        else:
            out += " "
        if len(out) > _LONGEST:
            break
    return out[:_LONGEST]


def _sound(called: str) -> str:
    script, last = called.partition(" ")[0], called.rpartition(" ")[2]
    if script == "CYRILLIC":
        return _CYRILLIC.get(last, last)
    if script == "GREEK":
        return _GREEK.get(last, last[:1])
    return last
