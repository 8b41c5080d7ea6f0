"""Guesses the vintage of data at one address: the date that the publisher gives them, in their name or their record."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from d4c_pipeline.drafting.facts import Found
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.vintage import Vintage

# Boundary files of Statistics Canada, `lpr_000b16a_e`, `lfsa000b21a_e`: level, projection, year, language.
_BOUNDARY = re.compile(r"l[a-z]{2,4}_?\d{3}[a-z](?P<year>\d{2})a_[ef]")
_DAY = re.compile(r"(?<!\d)((?:19|20)\d{2})[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")
_YEAR = re.compile(r"(?<!\d)((?:19|20)\d{2})(?!\d)")


def of_name(name: str) -> Found | None:
    """Return the date in the name of a file or a title; None if it has none, or several years."""
    stem = PurePosixPath(name).stem
    if (boundary := _BOUNDARY.search(stem)) is not None:
        return Found(f"20{boundary['year']}", f"{stem}: the year of a boundary file of Statistics Canada")
    if (day := _DAY.search(stem)) is not None:
        return Found("-".join(day.groups()), f"the date in the name {stem}")
    years = set(_YEAR.findall(stem))
    return Found(years.pop(), f"the only year in the name {stem}") if len(years) == 1 else None


def is_vintage(text: str) -> bool:
    """Return whether a stated date is one that a vintage may have."""
    try:
        Vintage.parse(text)
    except D4CError:
        return False
    return True
