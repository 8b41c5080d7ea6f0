"""Parser of longitudes and latitudes in degrees, minutes and seconds with hemispheres, in their common spellings.

A text becomes decimal degrees or raises AngleError with the reason; nothing is guessed. `coordinates` parses plain
numbers.
"""

from __future__ import annotations

import re
from typing import Literal

Axis = Literal["longitude", "latitude"]

_SPELLINGS = str.maketrans({
    "º": "°", "˚": "°", "⁰": "°", "∘": "°",
    "′": "'", "’": "'", "‘": "'", "´": "'", "`": "'", "ʹ": "'", "ʼ": "'",
    "″": '"', "”": '"', "“": '"', "ʺ": '"', "„": '"', "˝": '"', "¨": '"',
    "−": "-", "–": "-", "—": "-", "‑": "-", "\u00a0": " ", "\u2009": " ", "\u202f": " ",
})  # fmt: skip
_WORDS = (
    (re.compile(r"deg(?:ree|r[ée])?s?\.?|\bd(?=[\s\d])|(?<=\d)d", re.IGNORECASE), "°"),
    (re.compile(r"min(?:ute)?s?\.?|(?<=\d)m(?=[\s\d])", re.IGNORECASE), "'"),
    (re.compile(r"sec(?:onde?)?s?\.?|''|(?<=\d)s(?=\s*[nsewo]\w*\.?$)", re.IGNORECASE), '"'),
)
_HEMISPHERES: dict[str, tuple[Axis, int]] = {
    "n": ("latitude", 1), "north": ("latitude", 1), "nord": ("latitude", 1),
    "s": ("latitude", -1), "south": ("latitude", -1), "sud": ("latitude", -1),
    "e": ("longitude", 1), "east": ("longitude", 1), "est": ("longitude", 1), "ost": ("longitude", 1),
    "w": ("longitude", -1), "west": ("longitude", -1), "ouest": ("longitude", -1),
}  # fmt: skip
_NUMBER = r"\d+(?:[.,]\d+)?"
_MARKED = re.compile(rf"(?P<d>{_NUMBER})\s*°(?:\s*(?P<m>{_NUMBER})\s*(?:'|(?:'\s*|\s)(?P<s>{_NUMBER})\s*\"?)?)?")
_BARE = re.compile(r"(?P<d>\d+(?:\.\d+)?)(?:[\s:-]+(?P<m>\d+(?:\.\d+)?)(?:[\s:-]+(?P<s>\d+(?:\.\d+)?))?)?")
_LETTERS = re.compile(r"[^\W\d_]+\.?")


class AngleError(ValueError):
    """A text that is not an angle, or is an ambiguous angle; the message states the reason."""


def degrees(text: str, axis: Axis, o_means: str | None = None) -> float:
    """Return `text` in decimal degrees; south and west are negative.

    Reads `45°30'15"N`, `45 30 15.5 N`, `W73.6`, `-73:36:00`, `73° 36,5' Ouest`. `o_means`: meaning of the letter O,
    `west` (French, Spanish) or `east` (German). Raises AngleError for minutes or seconds of 60 or more, a hemisphere of
    the other axis, a sign beside a hemisphere, a longitude without either, and any other ambiguous text.
    """
    plain = text.translate(_SPELLINGS).strip()
    for words, mark in _WORDS:
        plain = words.sub(mark, plain)
    plain, sign = _hemisphere(plain, axis, o_means)
    stated = plain[:1] if plain[:1] in ("+", "-") else ""
    plain = plain.removeprefix(stated).strip()
    if stated == "-" and sign is not None:
        raise AngleError("the angle has both a sign and a hemisphere")
    found = _MARKED.fullmatch(plain)
    if (
        found is None
        and (found := _BARE.fullmatch(plain)) is not None
        and found["m"]
        and not found["s"]
        and sign is None
    ):
        raise AngleError("the text is ambiguous: degrees and minutes or two numbers")
    if found is None:
        raise AngleError("the text is neither a number nor degrees, minutes and seconds")
    if sign is None and not stated and axis == "longitude":
        raise AngleError("the longitude is without sign or hemisphere, and may be east or west")
    size, limit = _size(*(found[part] for part in "dms")), 90 if axis == "latitude" else 180
    if size > limit:
        raise AngleError(f"the angle is more than {limit} degrees")
    return size * (sign if sign is not None else -1 if stated == "-" else 1)


def _hemisphere(text: str, axis: Axis, o_means: str | None) -> tuple[str, int | None]:
    # The text without its hemisphere, which precedes or follows the number, and the hemisphere's sign.
    found = list(_LETTERS.finditer(text))
    if not found:
        return text, None
    word = found[0]
    rest = (text[: word.start()] + text[word.end() :]).strip()
    if len(found) > 1 or not any(map(str.isdigit, rest)) or (word.start() > 0 and word.end() < len(text)):
        raise AngleError("the text is neither a number nor degrees, minutes and seconds")
    name = word[0].lower().rstrip(".")
    if name == "o":
        if o_means is None:
            raise AngleError("O is west in French and east in German (declare processing.o_means)")
        name = o_means
    if name not in _HEMISPHERES:
        raise AngleError(f"{word[0]} is not a hemisphere")
    own_axis, sign = _HEMISPHERES[name]
    if own_axis != axis:
        raise AngleError(f"{word[0]} is a hemisphere of {own_axis}, but the column is declared as {axis}")
    return rest, sign


def _size(whole: str, minutes: str | None, seconds: str | None) -> float:
    parts = [part.replace(",", ".") for part in (whole, minutes, seconds) if part is not None]
    if any("." in part for part in parts[:-1]):
        raise AngleError("a part before the last has decimals")
    numbers = [float(part) for part in parts]
    if any(number >= 60 for number in numbers[1:]):
        raise AngleError("the minutes or seconds are 60 or more")
    return sum(number / 60**power for power, number in enumerate(numbers))
