"""Rules for dates stated by a source: which dates may become a vintage.

A date in the future would hide every later vintage, and a placeholder is not a date. Reading the date of a protocol
belongs to its module.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.model.vintage import Vintage

TOLERANCE = timedelta(minutes=15)
"""How far a publisher's clock may be ahead of ours."""

_WRONG_ZONE = timedelta(hours=26)  # the most that two time zones differ: UTC+14 against UTC-12
_PLACEHOLDERS = frozenset({"1969-12-31", "1970-01-01", "1979-12-31", "1980-01-01"})  # zero of Unix, and of zip and FAT


def is_ahead(moment: datetime, now: datetime | None = None) -> bool:
    """Return whether `moment` (time-zone aware) is in the future by more than `TOLERANCE`."""
    return moment > (now or datetime.now(UTC)) + TOLERANCE


def require_dated(moment: datetime, what: str, now: datetime | None = None) -> datetime:
    """Return `moment` (time-zone aware), the source's date of `what`, if it may become a vintage.

    Raises TransientError for a future date that a wrong time zone explains, SourceError for a later date and for the
    zero of a clock.
    """
    present = now or datetime.now(UTC)
    if is_ahead(moment, present):
        ahead = moment - present
        cause = f"{what} is dated {moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {_words(ahead)} in the future"
        if ahead <= _WRONG_ZONE:
            raise TransientError(
                cause,
                "It is accepted at that time; report the wrong clock or time zone to the publisher, or list the vintage"
                " in the dataset's definition",
            )
        raise SourceError(
            cause,
            "Report the wrong clock to the publisher; until then list the vintage in the dataset's definition",
        )
    if f"{moment.astimezone(UTC):%Y-%m-%d}" in _PLACEHOLDERS:
        raise SourceError(
            f"{what} is dated {moment.astimezone(UTC):%Y-%m-%d}, the zero of a clock, not a date of the data",
            "List the vintage in the dataset's definition",
        )
    return moment


def day_of(moment: datetime, what: str) -> Vintage:
    """Return the vintage of the UTC day of `moment`. Raises what `require_dated` raises."""
    return Vintage.of_day(require_dated(moment, what))


def minute_of(moment: datetime, what: str) -> Vintage:
    """Return the vintage of the UTC minute of `moment`. Raises what `require_dated` raises."""
    return Vintage.parse(f"{require_dated(moment, what).astimezone(UTC):%Y-%m-%dT%H%M}")


def _words(ahead: timedelta) -> str:
    if ahead >= timedelta(days=2):
        return f"{ahead.days:,} days"
    minutes = round(ahead.total_seconds() / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"
