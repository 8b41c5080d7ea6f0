"""Boxes in degrees out of the forms in which documents state them."""

from __future__ import annotations

import json
from typing import Any


def box(west: float, south: float, east: float, north: float) -> dict[str, float] | None:
    """Return the extent of a declaration; None for a point, and for values that are no degrees."""
    fits = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90
    return (
        {"west": west, "south": south, "east": east, "north": north}
        if fits and (west, south) != (east, north)
        else None
    )


def of_geojson(stated: Any) -> dict[str, float] | None:
    """Return the box of a GeoJSON polygon, which may be JSON in a text; None for anything else."""
    try:
        shape = json.loads(stated) if isinstance(stated, str) else stated
        ring = shape["coordinates"][0]
        east_west, north_south = [float(point[0]) for point in ring], [float(point[1]) for point in ring]
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    return box(min(east_west), min(north_south), max(east_west), max(north_south))
