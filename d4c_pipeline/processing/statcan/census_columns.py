"""Recognises the columns of a census file by name: values, symbols of values, members of dimensions, codes.

It recognises the layouts of the censuses of 2011, 2016 and 2021 in both languages. Converting the columns belongs to
`census`. Sources: the README_meta.txt in the zips of 98-401-X2021, 98-401-X2016 and 98-400-X2016, the header
of 98-316-XWE2011, and of the tables 98-10-xxxx (https://www.statcan.gc.ca/en/developers/csv/user-guide).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables.names import snake_case, unique_snake_case

Layout: TypeAlias = Literal["profile", "semi_wide"]
Role: TypeAlias = Literal["value", "symbol", "member", "year", "rate", "text"]

# A reader adds the suffix _2 to the second column of the same name.
_SYMBOLS = re.compile(r"symbol(e?)s?(_\d+)?", re.IGNORECASE)
# 2021: C1_COUNT_TOTAL, C2_CHIFFRE_HOMMES+.
_PROFILE_VALUE = re.compile(r"C\d+_(?P<member>.+)")
# 2021: `Gender (3):Total - Gender[1]`, also with spaces.
_MEMBER_VALUE = re.compile(r"(?P<dimension>.+?) ?\(\d+[A-Z]?\): ?(?P<member>.+?) ?\[\d+\]")
# 2016: `Dim: Age (16): Member ID: [1]: Total - Age (Note: 3)`, `Dim: Sexe (3): Membre ID: [1]: Total - Sexe`.
_VALUE_2016 = re.compile(
    r"Dim ?: ?(?P<dimension>.+?) ?\(\d+[A-Z]?\) ?: ?(?:Member|Membre) ID ?: ?\[\d+\] ?: ?(?P<member>.+)", re.IGNORECASE
)
_DIMENSION_2016 = re.compile(
    r"(?P<part>DIM|(?:Member|Membre) ID|Notes?) ?: ?(?P<dimension>.+?) ?\(\d+[A-Z]?\)", re.IGNORECASE
)
_NOTE_2016 = re.compile(r"\s*\(Notes? ?: ?[\d, ]+\)$", re.IGNORECASE)
_PROFILE_DIMENSION = re.compile(r"(Profile of|Profil d)", re.IGNORECASE)
# 2011: Total,Flag_Total,Male,Flag_Male.
_FLAG_2011 = re.compile(r"(?:Flag|Indicateur)_(?P<member>.+)", re.IGNORECASE)

_MEMBERS = ("CHARACTERISTIC_NAME", "NOM_CARACTÉRISTIQUE", "CHARACTERISTIC", "CARACTÉRISTIQUE", "CARACTÉRISTIQUES")
_YEARS = ("CENSUS_YEAR", "ANNÉE_RECENSEMENT")
# Non-response rates in percent: of the short and the long form (TGN: in French).
_RATES = ("GNR", "GNR_LF", "TNR_SF", "TNR_LF", "TGN", "TGN_FL", "TGN_QL", "TNR_QA", "TNR_QD", "TNR_FC", "TNR_FL")
_SUPPORTED = "Supported: the Census Profile and the tables of 2021 and 2016, and the profile of 2011"


@dataclass(frozen=True)
class Column:
    """A column of the file: its name in the file, its role, its output name.

    `symbol`: the column with the symbols of a value. `level`: the name of the column with the depth of a member in the
    hierarchy. `meaning`: the meaning of a value, in the language of the file.
    """

    source: str
    role: Role
    name: str
    symbol: str | None = None
    level: str | None = None
    meaning: str | None = None


def recognised(names: Sequence[str], layout: Layout) -> list[Column]:
    """Return the columns of a census file in order. Raises DataError when the layout has no value among them."""
    if any(_VALUE_2016.fullmatch(name.strip()) for name in names):
        return _of_2016(names, layout)
    members = _values(names, layout)
    if not members:
        raise DataError(
            f"No column looks like a value of a census file in the layout {layout}; there are {', '.join(names[:20])}."
            f" {_SUPPORTED}",
            "Correct processing.census.layout, or remove processing.census to keep the columns unchanged",
        )
    stems = _stems(names, {position: member for position, (member, _, _) in members.items()})
    symbols = {symbol for _, symbol, _ in members.values() if symbol}
    out: list[Column] = []
    for position, name in enumerate(names):
        if position in members:
            _, symbol, meaning = members[position]
            out.append(Column(name, "value", stems[position], symbol, meaning=meaning))
        elif name in symbols:
            out.append(Column(name, "symbol", name))
        else:
            out.append(_plain(name))
    return out


def _values(names: Sequence[str], layout: Layout) -> dict[int, tuple[str, str | None, str]]:
    # Position of a value -> name of its member, column of its symbol, meaning.
    out: dict[int, tuple[str, str | None, str]] = {}
    pattern = _PROFILE_VALUE if layout == "profile" else _MEMBER_VALUE
    flags = {match["member"].casefold(): name for name in names if (match := _FLAG_2011.fullmatch(name.strip()))}
    for position, name in enumerate(names):
        following = names[position + 1] if position + 1 < len(names) else ""
        if match := pattern.fullmatch(name.strip()):
            meaning = match[0] if layout == "profile" else f"{match['dimension']}: {match['member']}"
            out[position] = (match["member"], following if _SYMBOLS.fullmatch(following.strip()) else None, meaning)
        elif layout == "profile" and (flag := flags.get(name.strip().casefold())) is not None:
            out[position] = (name.strip(), flag, name.strip())
    return out


def _of_2016(names: Sequence[str], layout: Layout) -> list[Column]:
    # The layout of 2016 has no column of symbols: symbols take the place of values.
    found = {at: match for at, name in enumerate(names) if (match := _VALUE_2016.fullmatch(name.strip()))}
    members = {at: _NOTE_2016.sub("", match["member"].strip()) for at, match in found.items()}
    parts = {
        at: match
        for at, name in enumerate(names)
        if at not in found and (match := _DIMENSION_2016.fullmatch(name.strip()))
    }
    is_profile = any(_PROFILE_DIMENSION.match(match["dimension"]) for match in parts.values())
    if layout == "profile" and not is_profile:
        raise DataError(
            "This is a table of the census of 2016 (98-400), not its profile: no dimension has the name Profile of ...",
            "Declare processing.census.layout: semi_wide",
        )
    stems = _stems(names, members)
    out: list[Column] = []
    for position, name in enumerate(names):
        if position in found:
            meaning = f"{found[position]['dimension']}: {members[position]}"
            out.append(Column(name, "value", stems[position], meaning=meaning))
        elif position in parts:
            out.append(_part(name, parts[position]))
        else:
            out.append(_plain(name))
    return _unique(out)


def _part(name: str, match: re.Match[str]) -> Column:
    # The dimension of a profile gets its name in the profile of 2021, for all geographies.
    stem = "CHARACTERISTIC" if _PROFILE_DIMENSION.match(match["dimension"]) else match["dimension"].strip()
    profile = stem == "CHARACTERISTIC"
    match match["part"][0].upper():
        case "D":
            level = f"{snake_case(stem)}_level"
            return Column(name, "member", "CHARACTERISTIC_NAME" if profile else stem, level=level)
        case "M":
            return Column(name, "text", "CHARACTERISTIC_ID" if profile else f"{stem} id")
        case _:
            return Column(name, "text", "CHARACTERISTIC_NOTE" if profile else f"{stem} note")


def _plain(name: str) -> Column:
    plain = name.strip().upper()
    if plain in _MEMBERS:
        return Column(name, "member", name, level="characteristic_level")
    if plain in _YEARS:
        return Column(name, "year", name)
    return Column(name, "rate" if plain in _RATES else "text", name)


def _stems(names: Sequence[str], members: dict[int, str]) -> dict[int, str]:
    # Output names of values, distinct from those of other columns.
    others = [snake_case(name) for position, name in enumerate(names) if position not in members]
    return dict(zip(members, unique_snake_case(list(members.values()), taken=others), strict=True))


def _unique(columns: list[Column]) -> list[Column]:
    # A dimension may have the name of a member of another dimension.
    taken: set[str] = set()
    for column in columns:
        made = {column.name, *([column.level] if column.level else [])}
        if column.role == "value":
            made.add(f"{column.name}_symbol")
        if repeated := {each.casefold() for each in made} & taken:
            raise DataError(
                f"Two columns of the census file get the name {sorted(repeated)[0]}",
                "Remove processing.census to keep the columns unchanged, and name them in processing.columns",
            )
        taken |= {each.casefold() for each in made}
    return columns
