"""Numbers in addresses: decimal notation in ASCII, and nothing else that Python takes for a number."""

from __future__ import annotations

import re

_DECIMAL = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?\s*", re.ASCII)


def decimal_number(text: str) -> float:
    """Return a number in decimal notation. Raises ValueError for any other text, such as `1_0` or `nan`."""
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!r} is no number")
    return float(text)
