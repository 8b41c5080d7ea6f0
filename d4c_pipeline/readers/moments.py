"""Whether the texts of a column can be dates, times or moments of one kind without a change to any of them.

For columns that GDAL types by itself: it rolls a day that does not exist to the next month, adds midnight to dates
among moments, and forgets time zones that differ. What is done with such a column is for the modules of the formats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, time
from typing import Any

_MOMENT = re.compile(
    r"(?P<day>[0-9]{4}[-/][0-9]{2}[-/][0-9]{2})?(?:(?P<between>[T ]?)(?P<time>[0-9]{2}:[0-9]{2}(:[0-9]{2})?)"
    r"(?P<fraction>\.[0-9]+)? ?(?P<zone>Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
_UTC = frozenset({"+00", "+0000", "+00:00", "-00:00"})


def misfit(values: Iterable[Any], *, zoned: bool = True) -> str | None:
    """Return why these values can't be one type of dates, times or moments, None where they can.

    `zoned`: whether the type keeps a time zone, so that one other than UTC may be stated. Fractions of a second are
    kept to the millisecond.
    """
    forms: dict[tuple[bool, bool, str], str] = {}
    for value in dict.fromkeys(values):
        found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
        if found is None or not _exists(found["day"], found["time"]):
            return f"as text: {value!r} is no date or time"
        if (found["fraction"] or "").rstrip("0")[4:]:
            return f"as text: {value!r} is finer than milliseconds"
        zone = "Z" if found["zone"] in _UTC else found["zone"] or ""
        if zone not in ("", "Z") and not zoned:
            return f"as text: the time zone of {value!r} would be lost"
        forms.setdefault((found["day"] is not None, found["time"] is not None, zone), value)
    if len(forms) > 1:
        one, other = list(forms.values())[:2]
        return f"as text: {one!r} and {other!r} differ in form or in time zone"
    return None


def _exists(day: str | None, clock: str | None) -> bool:
    try:
        if day is not None:
            date.fromisoformat(day.replace("/", "-"))
        if clock is not None:
            time.fromisoformat(clock)
    except ValueError:  # that is the answer
        return False
    return day is not None or clock is not None
