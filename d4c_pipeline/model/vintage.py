"""Vintages: the source's own date of the data, ISO 8601 of any precision, and its spelling in addresses.

The meaning of a vintage for a release (its version, what it supersedes) belongs to `release.py` and the ledger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from d4c_pipeline.model.errors import PermanentError

# There are no seconds: no source dates its data more finely than the minute. The colon of ISO 8601's extended
# form is not allowed in a file name or in a partition key that becomes one, so times are written `T0830`.
_FORM = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{2})(?:-(?P<day>\d{2})(?:T(?P<hour>\d{2}):?(?P<minute>\d{2})Z?)?)?)?",
    re.ASCII,
)
VINTAGE_PATTERN = r"\d{4}(?:-\d{2}(?:-\d{2}(?:T\d{4})?)?)?"


@dataclass(frozen=True, order=True)
class Vintage:
    """A date of the data, ordered by its start (UTC); of two dates with the same start, the finer date is later.

    `str(vintage)` is its canonical text (`2021`, `2024-06`, `2025-04-15`, `2025-06-04T1230`) and the partition key.
    """

    start: datetime
    _precision: int
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: str | int) -> Vintage:
        """Read a vintage.

        Raises PermanentError when `text` is not an ISO 8601 date of year, month, day or minute precision.
        """
        return _parsed(str(text))

    @classmethod
    def of_day(cls, moment: datetime) -> Vintage:
        """Return the vintage of the UTC day that `moment` (time-zone aware) falls on."""
        return cls.parse(moment.astimezone(UTC).date().isoformat())

    @property
    def end(self) -> datetime:
        """The last second of the vintage's interval, in UTC."""
        begin = self.start
        match self._precision:
            case 1:
                following = begin.replace(year=begin.year + 1)
            case 2:
                following = (begin + timedelta(days=32)).replace(day=1)
            case 3:
                following = begin + timedelta(days=1)
            case _:
                following = begin + timedelta(minutes=1)
        return following - timedelta(seconds=1)

    def __str__(self) -> str:
        return self.text

    def __format__(self, spec: str) -> str:
        """Format for URL templates: `yyyy`, `yy`, `mm`, `dd` in `spec` are replaced; an empty spec gives the text.

        Raises ValueError for other letters, so that a typing error in a template is found.
        """
        if not spec:
            return self.text
        out = (
            spec.replace("yyyy", f"{self.start:%Y}")
            .replace("yy", f"{self.start:%y}")
            .replace("mm", f"{self.start:%m}")
            .replace("dd", f"{self.start:%d}")
        )
        if re.search(r"[A-Za-z]", out):
            raise ValueError(f"'{spec}' is not a vintage format: use yyyy, yy, mm and dd")
        return out


@lru_cache(maxsize=4096)
def _parsed(raw: str) -> Vintage:
    match = _FORM.fullmatch(raw)
    if match is None:
        raise PermanentError(
            f"'{raw}' is not a vintage",
            "Write an ISO 8601 date of any precision, such as 2021, 2024-06 or 2025-04-15",
        )
    parts = [int(part) for part in match.groups() if part is not None]
    year, month, day, hour, minute = [*parts, 1, 1, 0, 0][:3] + [*parts[3:], 0, 0][:2]
    try:
        start = datetime(year, month, day, hour, minute, tzinfo=UTC)
    except ValueError as error:
        raise PermanentError(f"'{raw}' is not a date: {error}", "Correct the vintage") from error
    return Vintage(start=start, _precision=len(parts), text=raw.replace(":", "").removesuffix("Z"))
