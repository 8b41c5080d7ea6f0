"""Content negotiation (RFC 9110): the media ranges of `Accept`, the languages of `Accept-Language`, the best offer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_MOST_CHARACTERS, _MOST_RANGES = 4_096, 50
_PART = re.compile(r'\s*([^,;"]*)((?:\s*;\s*[\w!#$&^.+-]+\s*=\s*(?:"[^"]*"|[^,;"\s]*))*)\s*(?:,|$)')
_PARAMETER = re.compile(r';\s*([\w!#$&^.+-]+)\s*=\s*(?:"([^"]*)"|([^,;"\s]*))')


@dataclass(frozen=True)
class Range:
    """An entry of `Accept` or `Accept-Language`: its value in lower case, its quality, its `profile`."""

    value: str
    quality: float
    profile: str | None = None

    def quality_of(self, media_type: str, profile: str | None) -> tuple[int, float]:
        """Return how exactly the range names a media type (0: not at all), and its quality."""
        if self.profile is not None and self.profile != profile:
            return 0, 0.0
        exactness = 4 if self.profile else 3
        kind = media_type.partition("/")[0]
        matched = {media_type: exactness, f"{kind}/*": 2, "*/*": 1}.get(self.value, 0)
        return matched, self.quality


def ranges(header: str) -> list[Range]:
    """Return the entries of a header; what can't be read is left out."""
    found: list[Range] = []
    for part in _PART.finditer(header[:_MOST_CHARACTERS]):
        if not part[1].strip() or len(found) == _MOST_RANGES:
            continue
        parameters = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(part[2])}
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            continue
        if 0 <= quality <= 1:
            found.append(Range(part[1].strip().lower(), quality, parameters.get("profile")))
    return found


def best(header: str, offers: Mapping[str, tuple[str, str | None]]) -> str | None:
    """Return the name of the best offer, None when none is acceptable.

    `offers`: name -> media type and profile, the preferred first. The most exact range decides the quality of an offer;
    of equal offers the first is taken.
    """
    accepted = ranges(header)
    if not header.strip():
        return next(iter(offers))
    chosen, highest = None, 0.0
    for name, (media_type, profile) in offers.items():
        matches = [each.quality_of(media_type, profile) for each in accepted]
        exactness, quality = max(matches, default=(0, 0.0))
        if exactness and quality > highest:
            chosen, highest = name, quality
    return chosen


def language(header: str, known: Sequence[str] = ("en", "fr")) -> str:
    """Return the first known language by quality, by default the first of `known`."""
    for each in sorted(ranges(header), key=lambda entry: -entry.quality):
        if each.quality and (code := each.value.partition("-")[0]) in known:
            return code
    return known[0]
