"""Tests whether the texts of a column fit one type of dates, times or moments without a change.

GDAL types such columns itself: it rolls a day that does not exist to the next month, adds midnight to dates among
moments, and drops differing time zones. The rules of each format decide how to read a column that does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, time
from pathlib import Path
from typing import Any

from d4c_pipeline.model.errors import DataError

_MOMENT = re.compile(
    r"(?P<day>[0-9]{4}[-/][0-9]{2}[-/][0-9]{2})?(?:(?P<between>[T ]?)(?P<time>[0-9]{2}:[0-9]{2}(:[0-9]{2})?)"
    r"(?P<fraction>\.[0-9]+)? ?(?P<zone>Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
_UTC = frozenset({"+00", "+0000", "+00:00", "-00:00"})


def misfit(values: Iterable[Any], *, zoned: bool = True) -> str | None:
    """Return the reason why `values` do not fit one type of dates, times or moments; None if they fit.

    `zoned`: the type keeps a time zone, so that zones other than UTC fit. The type keeps milliseconds.
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
        first, second = list(forms.values())[:2]
        return f"as text: {first!r} and {second!r} differ in form or in time zone"
    return None


def refusal(name: str, path: Path, reason: str) -> DataError:
    """Return the error for column `name`, whose values GDAL would change for the `reason` that `misfit` returned."""
    return DataError(
        f"Column {name} of {path.name} can't be read as moments: {reason.removeprefix('as text: ')}",
        f"Declare processing.drop: [{name}], or have the publisher write them alike",
    )


def _exists(day: str | None, clock: str | None) -> bool:
    try:
        if day is not None:
            date.fromisoformat(day.replace("/", "-"))
        if clock is not None:
            time.fromisoformat(clock)
    except ValueError:  # the date or time does not exist
        return False
    return day is not None or clock is not None
