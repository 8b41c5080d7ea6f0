"""Defines Statistics Canada's codes: symbols with their meaning in both languages, scalar factors, frequencies.

Applying symbols to rows belongs to `wds` and `census`, periods of REF_DATE to `ref_date`. The legend in the
`_MetaData.csv` of a table takes precedence. Source: the Web Data Service's method getCodeSets (`status`, `symbol`,
`securityLevel` for x, `scalar`, `frequency`), described in https://www.statcan.gc.ca/en/developers/wds/user-guide; its
response is stored as docs/references/code_sets/*.json in the public repository Aryan-Jhaveri/mcp-statcan.
"""

from __future__ import annotations

from enum import IntEnum

# Status: a symbol in place of a value, or the quality of the value.
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
        (
            "value rounded to 0 (zero) where there is a meaningful distinction between true zero and the value that was"
            " rounded"
        ),
        "valeur arrondie à 0 (zéro) là où il y a une distinction importante entre le zéro absolu et la valeur arrondie",
    ),
    "A": ("data quality: excellent", "qualité des données : excellente"),
    "B": ("data quality: very good", "qualité des données : très bonne"),
    "C": ("data quality: good", "qualité des données : bonne"),
    "D": ("data quality: acceptable", "qualité des données : acceptable"),
    "E": ("use with caution", "à utiliser avec prudence"),
}
# Symbol: a further property of a value beside its status.
SYMBOL: dict[str, tuple[str, str]] = {"p": ("preliminary", "provisoire"), "r": ("revised", "révisé")}
# French tables spell one symbol differently (`statusRepresentationFr`).
FRENCH_SYMBOLS = {"<LDD": "<LOD"}
# Census files have both in one column.
CENSUS = STATUS | SYMBOL
# Symbols that can occur in place of a value.
IN_PLACE_OF_A_VALUE = frozenset({"..", "...", "x", "F", "<LOD"})


# Scalar factor: the power of ten to multiply a value by.
SCALAR: dict[int, tuple[str, str]] = {
    0: ("units", "unités"),
    1: ("tens", "dizaines"),
    2: ("hundreds", "centaines"),
    3: ("thousands", "milliers"),
    4: ("tens of thousands", "dizaines de milliers"),
    5: ("hundreds of thousands", "centaines de milliers"),
    6: ("millions", "millions"),
    7: ("tens of millions", "dizaines de millions"),
    8: ("hundreds of millions", "centaines de millions"),
    9: ("billions", "milliards"),
}


class Frequency(IntEnum):
    """The frequency of new periods in a cube: `frequencyCode` of its metadata, all 17 codes of the code set."""

    DAILY = 1
    WEEKLY = 2
    EVERY_TWO_WEEKS = 4
    MONTHLY = 6
    EVERY_TWO_MONTHS = 7
    QUARTERLY = 9
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


# The names of the code set, which a `_MetaData.csv` uses in its language.
_FREQUENCIES = {
    Frequency.DAILY: ("daily", "quotidienne"),
    Frequency.WEEKLY: ("weekly", "hebdomadaire"),
    Frequency.EVERY_TWO_WEEKS: ("biweekly", "aux 2 semaines"),
    Frequency.MONTHLY: ("monthly", "mensuelle"),
    Frequency.EVERY_TWO_MONTHS: ("bimonthly", "aux 2 mois"),
    Frequency.QUARTERLY: ("quarterly", "trimestrielle"),
    Frequency.SEMI_ANNUAL: ("semi-annual", "semestrielle"),
    Frequency.ANNUAL: ("annual", "annuelle"),
    Frequency.EVERY_TWO_YEARS: ("every 2 years", "aux 2 ans"),
    Frequency.EVERY_THREE_YEARS: ("every 3 years", "aux 3 ans"),
    Frequency.EVERY_FOUR_YEARS: ("every 4 years", "aux 4 ans"),
    Frequency.EVERY_FIVE_YEARS: ("every 5 years", "aux 5 ans"),
    Frequency.EVERY_TEN_YEARS: ("every 10 years", "aux 10 ans"),
    Frequency.OCCASIONAL: ("occasional", "occasionnelle"),
    Frequency.OCCASIONAL_QUARTERLY: ("occasional quarterly", "occasionnelle trimestrielle"),
    Frequency.OCCASIONAL_MONTHLY: ("occasional monthly", "occasionnelle mensuelle"),
    Frequency.OCCASIONAL_DAILY: ("occasional daily", "occasionnelle quotidienne"),
}
FREQUENCY_WORDS = {word: frequency for frequency, words in _FREQUENCIES.items() for word in words}
