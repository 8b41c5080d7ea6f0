"""The texts of the portal in one language, and numbers, dates and sizes as that language writes them.

The texts lie in `words/<language>.yaml`, with the same keys in each. The forms come from Babel (CLDR).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml
from babel import Locale
from babel.dates import format_date
from babel.numbers import NumberPattern, format_decimal, get_group_symbol, parse_pattern

from d4c_pipeline.metadata.published import Tongue
from d4c_pipeline.model.differences import BumpRaised, PartitionChanged
from d4c_pipeline.model.reasons import Reason, code_of

FOLDER = Path(__file__).parent / "words"
_LOCALES: Mapping[Tongue, Locale] = {"en": Locale("en", "CA"), "fr": Locale("fr", "CA")}
_UNITS: Mapping[Tongue, tuple[str, ...]] = {"en": ("B", "kB", "MB", "GB", "TB"), "fr": ("o", "ko", "Mo", "Go", "To")}
_PERCENT: Mapping[Tongue, NumberPattern] = {
    "en": parse_pattern("#,##0.#%"),
    "fr": parse_pattern("#,##0.#\u00a0%"),
}
_GROUPS: Mapping[Tongue, str] = {language: get_group_symbol(locale) for language, locale in _LOCALES.items()}
_STEP = 1000
_LEAST_SHARE = 0.001


@dataclass(frozen=True)
class Words:
    """The texts of a language as nested mappings, and its forms of values."""

    language: Tongue
    texts: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, language: Tongue) -> Words:
        """Return the words of a language; the file is read once."""
        return _read(language)

    def __getitem__(self, key: str) -> Any:
        return self.texts[key]

    @property
    def other(self) -> Tongue:
        """The other language."""
        return "fr" if self.language == "en" else "en"

    def number(self, value: float) -> str:
        """Return a number: `7,972`, `7 972`."""
        if isinstance(value, int):
            # As Babel writes it, twenty times faster: a page has hundreds of whole numbers.
            return f"{value:,}".replace(",", _GROUPS[self.language])
        return format_decimal(value, locale=_LOCALES[self.language])

    def count(self, noun: str, value: int) -> str:
        """Return a number with the noun of `counts` in its plural form."""
        return self.plural(self.texts["counts"][noun], value)

    def plural(self, forms: Mapping[str, str], value: int, **places: str) -> str:
        """Return the form of the plural that CLDR gives for `value`, with `n` and the other places filled."""
        form = _LOCALES[self.language].plural_form(value)
        return forms.get(form, forms["other"]).format(n=self.number(value), **places)

    def size(self, value: int) -> str:
        """Return bytes in units of 1,000: `592 kB`, `592 ko`."""
        amount, unit = float(value), 0
        while amount >= _STEP and unit + 1 < len(_UNITS["en"]):
            amount, unit = amount / _STEP, unit + 1
        digits = 1 if unit and amount < _STEP / 10 else 0
        return f"{self.number(round(amount, digits) if digits else round(amount))}\u00a0{_UNITS[self.language][unit]}"

    def date(self, moment: date | datetime) -> str:
        """Return a day: `1 December 2026`, `1 décembre 2026`."""
        return _date(moment.date() if isinstance(moment, datetime) else moment, self.language)

    def share(self, value: float) -> str:
        """Return a share above zero as a percentage, which is never shown as zero."""
        shown = _PERCENT[self.language].apply(max(value, _LEAST_SHARE), _LOCALES[self.language])
        return f"<\u00a0{shown}" if value < _LEAST_SHARE else shown

    def reason(self, reason: Reason) -> str:
        """Return the reason for a version in this language; a sentence that was recorded as such stays in English."""
        code, arguments = code_of(reason), asdict(reason)
        if isinstance(reason, PartitionChanged) and reason.now is None:
            code = "partition_removed"
        parts, wording = self.texts["reason_parts"], self.texts["reasons"][code]
        places = {name: self._argument(value) for name, value in arguments.items()}
        if (example := arguments.get("example")) is not None:
            places["example"] = parts["example"].format(example=example)
        elif "example" in arguments:
            places["example"] = ""
        if isinstance(reason, BumpRaised):
            places["bump"] = self.texts["versions"].get(reason.bump.lower(), reason.bump)
        return (
            wording.format(**places) if isinstance(wording, str) else self.plural(wording, arguments["count"], **places)
        )

    def _argument(self, value: Any) -> str:
        match value:
            case int() if not isinstance(value, bool):
                return self.number(value)
            case tuple() | None:
                return ", ".join(value or ()) or self.texts["reason_parts"]["none"]
            case _:
                return str(value)

    def check(self, name: str) -> str:
        """Return what a check proves; the name of an unknown check as it is."""
        return self.texts["checks"].get(name, name.replace("_", " "))

    def type_name(self, arrow: str) -> str:
        """Return the name of an Arrow type for readers."""
        return self.texts["types"].get(arrow.partition("[")[0], arrow)


@lru_cache(1_000)
def _date(day: date, language: Tongue) -> str:
    return format_date(day, "long", locale=_LOCALES[language])


@cache
def _read(language: Tongue) -> Words:
    return Words(language, yaml.safe_load((FOLDER / f"{language}.yaml").read_text("utf-8")))
