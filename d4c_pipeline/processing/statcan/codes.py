"""Statistics Canada's codes as a reader wants them: symbols with their meaning in both languages, frequencies.

Which rows carry a symbol is `wds`'s and `census`'s business; what REF_DATE spans is `ref_date`'s. The legend of a
table's own `_MetaData.csv` goes before the English of this one. Source: the code sets of the Web Data Service,
https://www.statcan.gc.ca/en/developers/wds/user-guide
"""

from __future__ import annotations

from enum import IntEnum

# Status: what stands in place of a value, or says how good it is.
STATUS: dict[str, tuple[str, str]] = {
    "..": (
        "not available for a specific reference period",
        "indisponible pour une période de référence précise",
    ),
    "...": ("not applicable", "n'ayant pas lieu de figurer"),
    "x": (
        "suppressed to meet the confidentiality requirements of the Statistics Act",
        "confidentiel en vertu des dispositions de la Loi sur la statistique",
    ),
    "F": ("too unreliable to be published", "trop peu fiable pour être publié"),
    "<LOD": ("less than the limit of detection", "inférieur à la limite de détection"),
    "0s": (
        "value rounded to 0 (zero) where there is a meaningful distinction between true zero and the rounded value",
        "valeur arrondie à 0 (zéro) là où il y a une distinction importante entre le zéro absolu et la valeur arrondie",
    ),
    "A": ("data quality: excellent", "qualité des données : excellente"),
    "B": ("data quality: very good", "qualité des données : très bonne"),
    "C": ("data quality: good", "qualité des données : bonne"),
    "D": ("data quality: acceptable", "qualité des données : acceptable"),
    "E": ("use with caution", "à utiliser avec prudence"),
}
# Symbol: what may be said of a value beside its status.
SYMBOL: dict[str, tuple[str, str]] = {"p": ("preliminary", "provisoire"), "r": ("revised", "révisé")}
# In census files one column carries both.
CENSUS = STATUS | SYMBOL
# Those that can stand where a value would.
IN_PLACE_OF_A_VALUE = frozenset({"..", "...", "x", "F", "<LOD"})


class Frequency(IntEnum):
    """How often a cube gets a new period: `frequencyCode` of its metadata."""

    DAILY = 1
    WEEKLY = 2
    EVERY_TWO_WEEKS = 4
    MONTHLY = 6
    EVERY_TWO_MONTHS = 7
    QUARTERLY = 9
    EVERY_FOUR_MONTHS = 10
    SEMI_ANNUAL = 11
    ANNUAL = 12
    EVERY_TWO_YEARS = 13
    EVERY_THREE_YEARS = 14
    EVERY_FOUR_YEARS = 15
    EVERY_FIVE_YEARS = 16
    EVERY_TEN_YEARS = 17
    OCCASIONAL = 18
    OCCASIONAL_QUARTERLY = 19
    OCCASIONAL_MONTHLY = 20
    OCCASIONAL_DAILY = 21


# The words by which a `_MetaData.csv` names them.
FREQUENCY_WORDS = {
    "daily": Frequency.DAILY,
    "weekly": Frequency.WEEKLY,
    "every 2 weeks": Frequency.EVERY_TWO_WEEKS,
    "monthly": Frequency.MONTHLY,
    "every 2 months": Frequency.EVERY_TWO_MONTHS,
    "quarterly": Frequency.QUARTERLY,
    "every 4 months": Frequency.EVERY_FOUR_MONTHS,
    "semi-annual": Frequency.SEMI_ANNUAL,
    "annual": Frequency.ANNUAL,
    "every 2 years": Frequency.EVERY_TWO_YEARS,
    "every 3 years": Frequency.EVERY_THREE_YEARS,
    "every 4 years": Frequency.EVERY_FOUR_YEARS,
    "every 5 years": Frequency.EVERY_FIVE_YEARS,
    "every 10 years": Frequency.EVERY_TEN_YEARS,
    "occasional": Frequency.OCCASIONAL,
    "occasional quarterly": Frequency.OCCASIONAL_QUARTERLY,
    "occasional monthly": Frequency.OCCASIONAL_MONTHLY,
    "occasional daily": Frequency.OCCASIONAL_DAILY,
}
