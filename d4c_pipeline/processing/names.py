"""Column names: from whatever a source calls a column to snake_case ASCII, the same way every time.

Which column gets a declared name instead is decided in `columns`.

The rule, in order: (1) accents are stripped and ligatures spelt out; whatever is then not an ASCII letter or digit
separates words. (2) A new word begins at a capital after a small letter (`landArea`), at a capitalised word after a
digit (`Pop2021Total`), and at a capitalised word of three or more letters after two or more capitals (`CSDName`; but
`MHn`, `PGAt` and `CDuid` stay whole). (3) Everything is lower-cased, words are joined by single underscores. (4) A name
that would begin with a digit gets `c_` in front; one with nothing left is `column`. Names that meet are told apart by
`_2`, `_3`, ...
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from d4c_pipeline.processing.readers.native import exactly_unique

# NFKD leaves these letters whole.
_LETTERS = {"œ": "oe", "æ": "ae", "ø": "o", "ß": "ss", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
_SPELT_OUT = str.maketrans(
    _LETTERS | {letter.upper(): plain.upper() for letter, plain in _LETTERS.items() if len(letter.upper()) == 1}
)
_SMALL_THEN_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DIGIT_THEN_WORD = re.compile(r"(?<=[0-9])(?=[A-Z][a-z])")
_CAPITALS_THEN_WORD = re.compile(r"(?<=[A-Z]{2})(?=[A-Z][a-z]{2})")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")


def snake_case(name: str) -> str:
    """Return the output name of a column that its source calls `name`: `[a-z][a-z0-9_]*`, see the module's rule.

    Applying it twice changes nothing more.
    """
    decomposed = unicodedata.normalize("NFKD", name.translate(_SPELT_OUT))
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    for boundary in (_SMALL_THEN_CAPITAL, _DIGIT_THEN_WORD, _CAPITALS_THEN_WORD):
        plain = boundary.sub("_", plain)
    joined = _SEPARATORS.sub("_", plain).strip("_").lower()
    if not joined:
        return "column"
    return f"c_{joined}" if joined[0].isdigit() else joined


def unique_snake_case(names: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Return the output names of `names`, no two alike and none of them in `taken`.

    The first of several that meet keeps the plain name, the others get `_2`, `_3`, ... in the order of the source.
    """
    return exactly_unique([snake_case(name) for name in names], taken=tuple(taken))
