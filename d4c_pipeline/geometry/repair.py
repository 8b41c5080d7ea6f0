"""Repairs invalid geometry by GEOS's structure method, or by its linework method if the former loses an area.

The structure method treats the first ring of an area as its shell and all others as holes, unites overlaps and drops
collapsed parts. A "hole" outside of its shell is a separate area, and a "hole" around its shell means that the rings
are in the wrong order: there the linework method is right, which fills areas inside an odd number of rings. Finding
invalid geometry, and geometry of which nothing is left, belongs to `cleaning`.
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
    """Return the repaired `geometries`, empty where nothing is left, and the mask of those repaired by linework.

    The linework method applies if more than half of a hole lies outside of its shell, or more than half of the shell
    lies inside a greater hole.
    """
    after: Geometries = shapely.make_valid(geometries, method="structure", keep_collapsed=False)
    by_lines = np.zeros(len(geometries), np.bool_)
    for row in np.flatnonzero(_suspected(geometries, after)):
        better = _by_lines(geometries[row])
        if better is not None and shapely.area(better) > shapely.area(after[row]):
            after[row], by_lines[row] = better, True
    return after, by_lines


def with_nested_parts(geometries: Geometries) -> int:
    """Return the number of these invalid geometries that are areas with a part within another part.

    Repair unites the parts, since a multi-geometry is the union of its parts; the publisher may have intended a hole.
    """
    several = geometries[shapely.get_type_id(geometries) == _MULTI_POLYGON]
    return sum(str(reason).startswith("Nested shells") for reason in shapely.is_valid_reason(several))


def collapsed_parts(geometries: Geometries) -> int:
    """Return the number of parts without extent in these invalid multi-geometries; repair drops them."""
    several = geometries[shapely.get_num_geometries(geometries) > 1]
    parts = shapely.get_parts(several)
    kinds = shapely.get_type_id(parts)
    nothing = (kinds == _POLYGON) & (shapely.area(parts) == 0) | (kinds == 1) & (shapely.length(parts) == 0)
    return int(nothing.sum())


def _suspected(before: Geometries, after: Geometries) -> npt.NDArray[np.bool_]:
    # Geometries with holes whose area is not shells minus holes, as it is if holes lie inside their shells.
    parts, owners = shapely.get_parts(before, return_index=True)
    kinds = shapely.get_type_id(parts)
    with_holes = np.zeros(len(before), np.bool_)
    with_holes[owners[(kinds == _POLYGON) & (shapely.get_num_interior_rings(parts) > 0)]] = True
    with_holes |= shapely.get_type_id(before) == _COLLECTION
    nominal, areas = shapely.area(before), shapely.area(after)
    return with_holes & (np.abs(areas - nominal) > _ROUNDING * np.maximum(np.abs(nominal), areas))


def _by_lines(geometry: Any) -> Any:
    # None if the structure method interprets the rings correctly.
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
    # Each part is repaired separately: with linework, overlapping parts cut holes into each other.
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
    sizes, size = shapely.area(np.array(holes, object)), shapely.area(shell)
    outside = common < sizes / 2
    around = (sizes > size * (1 + _ROUNDING)) & (common > size / 2)
    return bool((outside & (sizes > 0) | around).any())


def _ring_area(ring: Any) -> Any:
    return shapely.make_valid(shapely.Polygon(ring), method="structure", keep_collapsed=False)


def _areas(geometry: Any) -> Any:
    # The linework method keeps collapsed areas as lines.
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return shapely.multipolygons(parts[shapely.get_type_id(parts) == _POLYGON])
