"""Date formats of strptime (`%d/%m/%Y %H:%M`): the known directives, and those that make a date or a moment.

Parsing text by a format belongs to the room `readers`.
"""

from __future__ import annotations

import re

_DIRECTIVE = re.compile(r"%(-?.)?", re.DOTALL)
KNOWN = frozenset("YymdeHIMSfpbBz%")
_YEAR, _MONTH, _DAY = frozenset("Yy"), frozenset("mbB"), frozenset("de")
_TIME = frozenset("HIMSfpz")


def parts(date_format: str) -> list[str]:
    """Return the directives of a format by their letters (`["d", "m", "Y"]`), without `%%`.

    Raises ValueError for an unknown or repeated directive.
    """
    found: list[str] = []
    for match in _DIRECTIVE.finditer(date_format):
        letter = (match[1] or "").removeprefix("-")
        if letter not in KNOWN:
            raise ValueError(f"date_format knows %Y %y %m %b %B %d %H %I %p %M %S %f %z, not '{match[0]}'")
        if letter != "%":
            found.append(letter)
    for group in (_YEAR, _MONTH, _DAY, "HI", *"pMSfz"):
        if sum(letter in group for letter in found) > 1:
            raise ValueError(f"date_format '{date_format}' names one part twice")
    return found


def check(date_format: str, kind: str | None) -> None:
    """Raise ValueError for a format that does not make the `kind` of a column, `date` or `timestamp`."""
    if kind not in ("date", "timestamp"):
        raise ValueError("date_format wants type: date or timestamp")
    found = set(parts(date_format))
    if not (found & _YEAR and found & _MONTH and found & _DAY):
        raise ValueError(f"date_format '{date_format}' lacks year, month or day")
    if kind == "date" and found & _TIME:
        raise ValueError(f"date_format '{date_format}' has a time: declare type: timestamp")
    if ("I" in found) != ("p" in found):
        raise ValueError("date_format: %I (hours to 12) and %p (AM or PM) go together")
    needed = {"M": "HI", "S": "M", "f": "S", "z": "HI"}
    for letter, others in needed.items():
        if letter in found and not found & set(others):
            raise ValueError(f"date_format '{date_format}' has %{letter} without what it is part of")
