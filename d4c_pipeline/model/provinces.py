"""The provinces and territories of Canada: their codes, names, and which of them a value names.

Their places belong to `catalogue.places`, the form of DGUIDs to `dguid`. Codes are those of the Standard Geographical
Classification: https://www.statcan.gc.ca/en/subjects/standard/sgc/2021/index
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.dguid import province_code

COLUMNS = ("pruid", "dguid", "idugd", "province", "prov_terr", "prov", "province_territory", "province_territoire")
"""Names of columns that have the province of a row, the first that has one counts."""
CODED_COLUMNS = frozenset({"pruid", "dguid", "idugd"})
"""Those whose values Statistics Canada defines; in another, the numbers may be a publisher's own."""

_PROVINCES = {
    "10": ("nl", "Newfoundland and Labrador", "Terre-Neuve-et-Labrador"),
    "11": ("pe", "Prince Edward Island", "Île-du-Prince-Édouard"),
    "12": ("ns", "Nova Scotia", "Nouvelle-Écosse"),
    "13": ("nb", "New Brunswick", "Nouveau-Brunswick"),
    "24": ("qc", "Quebec", "Québec"),
    "35": ("on", "Ontario", "Ontario"),
    "46": ("mb", "Manitoba", "Manitoba"),
    "47": ("sk", "Saskatchewan", "Saskatchewan"),
    "48": ("ab", "Alberta", "Alberta"),
    "59": ("bc", "British Columbia", "Colombie-Britannique"),
    "60": ("yt", "Yukon", "Yukon"),
    "61": ("nt", "Northwest Territories", "Territoires du Nord-Ouest"),
    "62": ("nu", "Nunavut", "Nunavut"),
}
NAMES: Mapping[str, Bilingual] = {code: Bilingual(en=en, fr=fr) for code, (_, en, fr) in _PROVINCES.items()}
"""Code of two digits -> its name."""


def _folded(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


_BY_WORD = {_folded(word): code for code, words in _PROVINCES.items() for word in (code, *words)}


def province_of(values: Iterable[str | None]) -> str | None:
    """Return the code of the province that the first of `values` names that names one: code, letters, name or DGUID."""
    for value in values:
        if value and (code := province_code(value) or _BY_WORD.get(_folded(value))) in NAMES:
            return code
    return None
