"""The place of a release: its bounds, its declared extent, or the box of the geography that its DGUID names.

The table of boxes and the GeoJSON of a box belong here, the other fields of an item to `stac_item`. Boxes across 180
degrees follow RFC 7946, section 3.1.9: https://datatracker.ietf.org/doc/html/rfc7946#section-3.1.9
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from d4c_pipeline.model.dguid import province_code
from d4c_pipeline.model.errors import DataError

Box = tuple[float, float, float, float]
Origin = Literal["data", "declared", "dguid"]

_CANADA: Box = (-141.03, 41.66, -52.6, 83.15)
# West, south, east, north in degrees, rounded outward to 0.01, by the code of the province or territory. Computed from
# Statistics Canada's boundaries of provinces and territories of 2016, simplified (Open Government Licence -
# Canada 2.0); Ontario extends south to Middle Island, which they lack.
_PROVINCES: dict[str, Box] = {
    "10": (-67.83, 46.61, -52.6, 60.38),  # Newfoundland and Labrador
    "11": (-64.42, 45.95, -61.97, 47.07),  # Prince Edward Island
    "12": (-66.4, 43.39, -59.67, 47.23),  # Nova Scotia
    "13": (-69.06, 44.59, -63.77, 48.09),  # New Brunswick
    "24": (-79.76, 44.99, -57.1, 62.59),  # Quebec
    "35": (-95.16, 41.66, -74.34, 56.86),  # Ontario
    "46": (-102.01, 48.99, -88.98, 60.01),  # Manitoba
    "47": (-110.01, 48.99, -101.36, 60.01),  # Saskatchewan
    "48": (-120.01, 48.99, -109.99, 60.01),  # Alberta
    "59": (-139.06, 48.3, -114.05, 60.01),  # British Columbia
    "60": (-141.03, 59.99, -123.78, 69.65),  # Yukon
    "61": (-136.47, 59.99, -101.98, 78.77),  # Northwest Territories
    "62": (-120.73, 51.6, -61.09, 83.15),  # Nunavut
}
# The geographical regions of Canada, by the provinces and territories in them.
_REGIONS: dict[str, tuple[str, ...]] = {
    "1": ("10", "11", "12", "13"),
    "2": ("24",),
    "3": ("35",),
    "4": ("46", "47", "48"),
    "5": ("59",),
    "6": ("60", "61", "62"),
}
_FORM = re.compile(r"\d{4}[ASCZ](?P<schema>\d{4})(?P<code>.+)", re.ASCII)
_SHORT_REGION = re.compile(r"\d{4}A(?P<region>[1-6])", re.ASCII)


@dataclass(frozen=True)
class Place:
    """A box in degrees (west, south, east, north; `west` > `east`: across 180 degrees) and its origin."""

    box: Box
    origin: Origin

    @property
    def geometry(self) -> dict[str, Any]:
        """The box as GeoJSON. Raises DataError for a box that is not on the globe."""
        return bounds_geometry(self.box)

    @property
    def bbox(self) -> list[float]:
        """The `bbox` of an item; a box across 180 degrees has all longitudes.

        Readers compare `bbox` with a query's box side by side, in Parquet by the covering; a `west` greater than `east`
        never matches there. The geometry has the exact place.
        """
        west, south, east, north = (float(side) for side in self.box)
        return [west, south, east, north] if west <= east else [-180.0, south, 180.0, north]


def place_of(dguid: str, bounds: Box | None = None, extent: Box | None = None) -> Place:
    """Return the place of a release: the `bounds` of its data, else its declared `extent`, else its DGUID's box."""
    if bounds is not None:
        return Place(bounds, "data")
    if extent is not None:
        return Place(extent, "declared")
    return Place(dguid_box(dguid), "dguid")


def dguid_box(dguid: str) -> Box:
    """Return the box of the geography that a DGUID names.

    A geography inside a province has the box of the province; any other geography has the box of Canada.
    """
    if (short := _SHORT_REGION.fullmatch(dguid)) is not None:
        return _around(_REGIONS[short["region"]])
    match = _FORM.fullmatch(dguid)
    if match is None:
        return _CANADA
    if match["schema"] == "0001":
        return _around(_REGIONS.get(match["code"], ()))
    return _PROVINCES.get(province_code(dguid) or "", _CANADA)


def bounds_geometry(bounds: Box) -> dict[str, Any]:
    """Return west, south, east, north (degrees) as GeoJSON: a polygon, or a line or point where the box is flat.

    A box with `west` > `east` lies across 180 degrees and becomes a MultiPolygon. Raises DataError for anything that is
    not a box on the globe.
    """
    west, south, east, north = (float(value) for value in bounds)
    on_globe = all(map(math.isfinite, bounds)) and -180 <= west <= 180 and -180 <= east <= 180
    if not (on_globe and -90 <= south <= north <= 90):
        raise DataError(
            f"The bounds {list(bounds)} are not west, south, east, north in degrees",
            "Check the CRS of the source, or the extent in the dataset's YAML",
        )
    if west > east:
        if south == north or west == 180 or east == -180:
            raise DataError(
                f"The bounds {list(bounds)} across 180 degrees have no area on one side",
                "Correct the extent in the dataset's YAML",
            )
        halves = [_ring(west, south, 180.0, north), _ring(-180.0, south, east, north)]
        return {"type": "MultiPolygon", "coordinates": [[half] for half in halves]}
    if west == east and south == north:
        return {"type": "Point", "coordinates": [west, south]}
    if west == east or south == north:
        return {"type": "LineString", "coordinates": [[west, south], [east, north]]}
    return {"type": "Polygon", "coordinates": [_ring(west, south, east, north)]}


def _ring(west: float, south: float, east: float, north: float) -> list[list[float]]:
    # RFC 7946 requires a counter-clockwise outer ring.
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _around(provinces: tuple[str, ...]) -> Box:
    boxes = [_PROVINCES[code] for code in provinces] or [_CANADA]
    west, south, east, north = zip(*boxes, strict=True)
    return min(west), min(south), max(east), max(north)
