"""DGUIDs: Statistics Canada's dissemination geography unique identifiers, checked by their form.

Checking that a geography exists needs a gazetteer and belongs to `processing`.
Source: https://www12.statcan.gc.ca/census-recensement/2021/ref/dict/az/definition-eng.cfm?ID=geo055
"""

from __future__ import annotations

import re

# vintage (4 digits), type (A administrative, S statistical, C combined, Z postal), schema (4 digits), geographic code.
# Digits of the code by schema; a schema that is not listed may have any length from 1 to 11.
_FORM = re.compile(r"(?P<vintage>\d{4})(?P<type>[ASCZ])(?P<schema>\d{4})(?P<code>[0-9A-Z.]{1,11})", re.ASCII)
_SHORT_REGION = re.compile(r"(?P<vintage>\d{4})A[1-6]", re.ASCII)
# Schemas whose geographic codes begin with the code of a province: provinces, census divisions, electoral districts,
# census subdivisions, dissemination areas and blocks, aggregate dissemination areas, designated places.
_WITHIN_PROVINCES = frozenset({"0002", "0003", "0004", "0005", "0006", "0512", "0513", "0515", "0516"})
_CODE_DIGITS = {
    "0000": r"11124",  # Canada
    "0001": r"[1-6]",  # geographical regions
    "0002": r"\d{2}",  # provinces and territories
    "0003": r"\d{4}",  # census divisions
    "0004": r"\d{5}",  # federal electoral districts
    "0005": r"\d{7}",  # census subdivisions
    "0011": r"[A-Z]\d[A-Z]",  # forward sortation areas
    "0512": r"\d{8}",  # dissemination areas
    "0513": r"\d{11}",  # dissemination blocks
    "0516": r"\d{8}",  # aggregate dissemination areas
}


def is_well_formed_dguid(text: str) -> bool:
    """Return whether `text` has the form of a DGUID, with the number of code digits of its schema."""
    if _SHORT_REGION.fullmatch(text):
        return True
    match = _FORM.fullmatch(text)
    if match is None:
        return False
    digits = _CODE_DIGITS.get(match["schema"])
    return digits is None or re.fullmatch(digits, match["code"], re.ASCII) is not None


def province_code(text: str) -> str | None:
    """Return the two digits of the province that a DGUID's geography lies in, None where its schema has none."""
    match = _FORM.fullmatch(text)
    return match["code"][:2] if match is not None and match["schema"] in _WITHIN_PROVINCES else None
