"""Converts REF_DATE, the reference period of a Statistics Canada table, to its first and last day.

Here belongs only the syntax of the text. Selecting the column and reporting bad texts belong to `wds`. https://www.statcan.gc.ca/en/developers/csv/user-guide
"""

from __future__ import annotations

import calendar
import datetime as dt
import re

from d4c_pipeline.processing.statcan.codes import Frequency

# Year, optional month, optional day, in ASCII digits.
_POINT = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?", re.ASCII)
_CALENDAR_YEARS = 1
_GOVERNMENT_YEAR = 4
# In cubes of these frequencies a month means the period that it begins.
_MONTHS_SPANNED = {
    Frequency.EVERY_TWO_MONTHS: 2,
    Frequency.QUARTERLY: 3,
    Frequency.OCCASIONAL_QUARTERLY: 3,
    Frequency.SEMI_ANNUAL: 6,
}


def period(
    text: str, *, frequency: int | None = None, fiscal_year_start: int | None = None
) -> tuple[dt.date, dt.date] | None:
    """Return the first and last day of a reference period, None for a text that is not a period.

    `2021` is the calendar year, `2021-05` the month (in a quarterly cube the quarter that begins with it, likewise for
    periods of two and six months), `2021-05-07` the day (in a weekly cube too: its texts do not state whether the week
    begins or ends there). `A/B` spans from the beginning of A to the end of B. Consecutive years (`2023/2024`) are one
    year that begins in month `fiscal_year_start` of the first (4 government, 8 crops, 9 schools); with 1, both calendar
    years. By default the cube's `frequency` decides: 4 for an annual cube, 1 for others, where such texts are two-year
    estimates.
    """
    first, slash, last = text.strip().partition("/")
    begin = _POINT.fullmatch(first)
    end = _POINT.fullmatch(last) if slash else begin
    if begin is None or end is None:
        return None
    months = 1 if slash else _MONTHS_SPANNED.get(Frequency(frequency), 1) if frequency in set(Frequency) else 1
    try:
        spanned = _first_day(begin), _last_day(end, months)
        if slash and _first_day(end) <= spanned[0]:
            return None
        if slash and begin[2] is None and end[2] is None and int(last) == int(first) + 1:
            month = fiscal_year_start or (_GOVERNMENT_YEAR if frequency == Frequency.ANNUAL else _CALENDAR_YEARS)
            if month != _CALENDAR_YEARS:
                spanned = dt.date(int(first), month, 1), dt.date(int(last), month, 1) - dt.timedelta(days=1)
    except ValueError:  # no such month, no such day
        return None
    return spanned


def _first_day(point: re.Match[str]) -> dt.date:
    return dt.date(int(point[1]), int(point[2] or 1), int(point[3] or 1))


def _last_day(point: re.Match[str], months: int) -> dt.date:
    year = int(point[1])
    if point[2] is None:
        return dt.date(year, 12, 31)
    if point[3] is not None:
        return dt.date(year, int(point[2]), int(point[3]))
    later = int(point[2]) - 1 + months - 1
    dt.date(year, int(point[2]), 1)  # a month 13 is not the January after it
    year, month = year + later // 12, later % 12 + 1
    return dt.date(year, month, calendar.monthrange(year, month)[1])
