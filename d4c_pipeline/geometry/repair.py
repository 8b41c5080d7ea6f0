"""Invalid geometry made valid: by GEOS's structure method, or by its linework method where the former loses an area.

Structure takes the first ring of an area for its shell and all others for holes, unites what overlaps and drops what
collapses. Where a "hole" lies outside of its shell it is an area of its own, and where it lies around it the rings
stand in the wrong order: there the linework method is right, which fills what an odd number of rings surrounds. What
is invalid, and what happens to geometry of which nothing is left, is decided in `geometry`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

_POLYGON, _MULTI_POLYGON, _COLLECTION = 3, 6, 7
# Differences of area below this share are rounding.
_ROUNDING = 1e-9

Geometries = npt.NDArray[np.object_]


def repaired(geometries: Geometries) -> tuple[Geometries, npt.NDArray[np.bool_]]:
    """Return invalid `geometries` made valid, and which of them by the linework method; empty where nothing is left.

    The linework method is taken where more than half of a ring that is said to be a hole lies outside of its shell, or
    more than half of the shell within a greater "hole".
    """
    after: Geometries = shapely.make_valid(geometries, method="structure", keep_collapsed=False)
    by_lines = np.zeros(len(geometries), np.bool_)
    for row in np.flatnonzero(_suspected(geometries, after)):
        better = _by_lines(geometries[row])
        if better is not None and shapely.area(better) > shapely.area(after[row]):
            after[row], by_lines[row] = better, True
    return after, by_lines


def with_nested_parts(geometries: Geometries) -> int:
    """Return how many of these invalid geometries are areas with a part within another part.

    Repair unites them, as a multi-geometry is the union of its parts; a publisher may have meant a hole.
    """
    several = geometries[shapely.get_type_id(geometries) == _MULTI_POLYGON]
    return sum(str(reason).startswith("Nested shells") for reason in shapely.is_valid_reason(several))


def collapsed_parts(geometries: Geometries) -> int:
    """Return how many parts of these invalid multi-geometries have no extent, which repair therefore drops."""
    several = geometries[shapely.get_num_geometries(geometries) > 1]
    parts = shapely.get_parts(several)
    kinds = shapely.get_type_id(parts)
    nothing = (kinds == _POLYGON) & (shapely.area(parts) == 0) | (kinds == 1) & (shapely.length(parts) == 0)
    return int(nothing.sum())


def _suspected(before: Geometries, after: Geometries) -> npt.NDArray[np.bool_]:
    # Those with holes whose area did not become shells less holes, as it does where holes lie within their shells.
    parts, owners = shapely.get_parts(before, return_index=True)
    kinds = shapely.get_type_id(parts)
    with_holes = np.zeros(len(before), np.bool_)
    with_holes[owners[(kinds == _POLYGON) & (shapely.get_num_interior_rings(parts) > 0)]] = True
    with_holes |= shapely.get_type_id(before) == _COLLECTION
    nominal, areas = shapely.area(before), shapely.area(after)
    return with_holes & (np.abs(areas - nominal) > _ROUNDING * np.maximum(np.abs(nominal), areas))


def _by_lines(geometry: Any) -> Any:
    # None where the structure method reads the rings as they are meant.
    kind = shapely.get_type_id(geometry)
    if kind == _COLLECTION:
        parts = shapely.get_parts(geometry)
        invalid = ~shapely.is_valid(parts)
        if not invalid.any():
            return None
        parts[invalid], chosen = repaired(parts[invalid])
        return shapely.GeometryCollection([part for part in parts if not part.is_empty]) if chosen.any() else None
    parts = shapely.get_parts(geometry)
    swapped = [_holes_are_areas(part) for part in parts]
    if not any(swapped):
        return None
    # Each part for itself: by their lines, parts that overlap would cut holes into each other.
    made = [
        _areas(shapely.make_valid(part, method="linework")) if lines else shapely.make_valid(
            part, method="structure", keep_collapsed=False
        )
        for part, lines in zip(parts, swapped, strict=True)
    ]  # fmt: skip
    return shapely.union_all(made) if len(made) > 1 else made[0]


def _holes_are_areas(polygon: Any) -> bool:
    shell, *holes = (_ring_area(ring) for ring in shapely.get_rings(polygon))
    if not holes:
        return False
    common = shapely.area(shapely.intersection(np.array(holes, object), shell))
    sizes, whole = shapely.area(np.array(holes, object)), shapely.area(shell)
    outside = common < sizes / 2
    around = (sizes > whole * (1 + _ROUNDING)) & (common > whole / 2)
    return bool((outside & (sizes > 0) | around).any())


def _ring_area(ring: Any) -> Any:
    return shapely.make_valid(shapely.Polygon(ring), method="structure", keep_collapsed=False)


def _areas(geometry: Any) -> Any:
    # The linework method keeps what collapsed as lines.
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return shapely.multipolygons(parts[shapely.get_type_id(parts) == _POLYGON])
