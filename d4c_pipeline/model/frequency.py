"""How often the source brings new data: an ISO 8601 duration or a word, with its terms in the vocabularies of records.

Declared as `publication.frequency`. Its presentation belongs to `metadata.records` and `portal`.
Sources: http://publications.europa.eu/resource/authority/frequency, ISO 19115 MD_MaintenanceFrequencyCode, and
https://resources.data.gov/schemas/dcat-us/v1.1/iso8601_guidance/
"""

from __future__ import annotations

import calendar
import re
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator

CONTINUAL, IRREGULAR, NOT_PLANNED = "continual", "irregular", "not_planned"
_DURATION = re.compile(r"P([1-9]\d?)([DWMY])")
_EUROPEAN = {
    CONTINUAL: "CONT",
    IRREGULAR: "IRREG",
    NOT_PLANNED: "NEVER",
    "P1D": "DAILY",
    "P1W": "WEEKLY",
    "P2W": "BIWEEKLY",
    "P1M": "MONTHLY",
    "P2M": "BIMONTHLY",
    "P3M": "QUARTERLY",
    "P4M": "ANNUAL_3",
    "P6M": "ANNUAL_2",
    "P1Y": "ANNUAL",
    "P2Y": "BIENNIAL",
    "P3Y": "TRIENNIAL",
    "P4Y": "QUADRENNIAL",
    "P5Y": "QUINQUENNIAL",
    "P10Y": "DECENNIAL",
}
_ISO_19115 = {
    CONTINUAL: "continual",
    IRREGULAR: "irregular",
    NOT_PLANNED: "notPlanned",
    "P1D": "daily",
    "P1W": "weekly",
    "P2W": "fortnightly",
    "P1M": "monthly",
    "P3M": "quarterly",
    "P6M": "biannually",
    "P1Y": "annually",
}


class Freshness(StrEnum):
    """Whether the newest data is that of the present period: `due` for one period after the expected day, then late."""

    CURRENT = "current"
    DUE = "due"
    LATE = "late"


def _frequency(text: str) -> str:
    # One form for a rhythm: 7 days are a week, 12 months a year.
    same = {"P7D": "P1W", "P14D": "P2W", "P12M": "P1Y", "P24M": "P2Y", "P60M": "P5Y"}.get(text, text)
    if same in (CONTINUAL, IRREGULAR, NOT_PLANNED) or _DURATION.fullmatch(same):
        return same
    raise ValueError(
        f"'{text}' is no frequency: write a duration of one unit (P1D, P1W, P1M, P3M, P1Y, P5Y), {CONTINUAL},"
        f" {IRREGULAR} or {NOT_PLANNED}"
    )


Frequency = Annotated[str, AfterValidator(_frequency)]
"""A duration of ISO 8601 with one unit (`P1M`), `continual`, `irregular` or `not_planned`."""


def duration(frequency: str) -> tuple[int, str] | None:
    """Return number and unit (D, W, M, Y) of a frequency, None for a word."""
    found = _DURATION.fullmatch(frequency)
    return None if found is None else (int(found[1]), found[2])


def expected(frequency: str, end: date) -> date | None:
    """Return the day on which the period after the one that ends with `end` is complete; None for a word."""
    found = duration(frequency)
    if found is None:
        return None
    number, unit = found
    if unit in "DW":
        return end + timedelta(days=number * (7 if unit == "W" else 1))
    months = end.month - 1 + number * (12 if unit == "Y" else 1)
    year, month = end.year + months // 12, months % 12 + 1
    last = calendar.monthrange(year, month)[1]
    is_last = end.day == calendar.monthrange(end.year, end.month)[1]
    return date(year, month, last if is_last else min(end.day, last))


def freshness(frequency: str, end: date, today: date) -> Freshness | None:
    """Return the freshness of data whose period ends with `end`; None for a word, which expects no day."""
    first = expected(frequency, end)
    if first is None:
        return None
    second = expected(frequency, first)
    if today <= first:
        return Freshness.CURRENT
    return Freshness.LATE if second is not None and today > second else Freshness.DUE


def european(frequency: str) -> str:
    """Return the code in the EU's frequency vocabulary, which DCAT-AP prescribes for `accrualPeriodicity`."""
    return _EUROPEAN.get(frequency, "OTHER")


def iso_19115(frequency: str) -> str:
    """Return the MD_MaintenanceFrequencyCode of ISO 19139; `asNeeded` for a rhythm that the list lacks."""
    return _ISO_19115.get(frequency, "asNeeded")


def repeating(frequency: str) -> str:
    """Return the repeating interval of ISO 8601 as DCAT-US has it (`R/P1Y`), or `irregular`."""
    if frequency == CONTINUAL:
        return "R/PT1S"
    return "irregular" if duration(frequency) is None else f"R/{frequency}"
