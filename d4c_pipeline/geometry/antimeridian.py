"""Cuts lines and areas in two at the antimeridian, as RFC 7946 recommends.

A step of more than 180 degrees between two vertices goes the short way round; a ring around a pole is closed over that
pole. Selecting and counting the geometries belongs to `cleaning`. https://www.rfc-editor.org/rfc/rfc7946#section-3.1.9
The package `antimeridian` 0.4.9 leaves a line from 179 to 181 uncut, and refuses heights and geometry collections.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from d4c_pipeline.geometry import repair

_HALF, _WORLD = 180.0, 360.0
_LINES, _AREAS, _COLLECTION = (1, 2, 5), (3, 6), 7
# Longitudes lie in the world from -180 to 180 or in a neighbouring one, to the west or the east.
_WORLDS = (-1, 0, 1)

Geometries = npt.NDArray[np.object_]


def crossing(geometries: Geometries, bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the positions of lines and areas (degrees, longitude first) that cross the antimeridian.

    They either step over it (from 179 to -179) or continue beyond it (from 179 to 181). A step of exactly 360 degrees
    does not cross it: a box of the world stays a box.
    """
    wide = np.flatnonzero((bounds[:, 2] - bounds[:, 0] > _HALF) | (bounds[:, 0] < -_HALF) | (bounds[:, 2] > _HALF))
    found = [row for row in wide if shapely.get_type_id(geometries[row]) not in (-1, 0, 4) and _steps(geometries[row])]
    return np.array(found, np.int64)


def split(geometry: Any) -> Any:
    """Return `geometry` in longitudes from -180 to 180, a multi-geometry cut at the antimeridian.

    Heights stay; GEOS interpolates those of the vertices at the cut.
    """
    kind = shapely.get_type_id(geometry)
    parts = shapely.get_parts(geometry)
    if kind == _COLLECTION:
        return shapely.GeometryCollection([split(part) for part in parts])
    if kind not in (*_LINES, *_AREAS):
        return shapely.transform(geometry, _wrapped, include_z=bool(shapely.has_z(geometry)))
    unwrapped = [_area(part) if kind in _AREAS else _line(part) for part in parts]
    # An area that touches a border of a world along a line leaves that line beside its areas.
    kinds = _AREAS if kind in _AREAS else _LINES
    pieces: list[Any] = []
    for world in _WORLDS:
        west = world * _WORLD - _HALF
        for part in unwrapped:
            left, _, right, _ = shapely.bounds(part)
            # A line along the antimeridian lies in the world to the east of it.
            if right < west or left >= west + _WORLD or (right == west and left < right):
                continue
            piece = shapely.intersection(part, shapely.box(west, -90.0, west + _WORLD, 90.0))
            raised = bool(shapely.has_z(piece))
            moved = shapely.transform(piece, partial(_into_world, world=world), include_z=raised)
            pieces += [piece for piece in shapely.get_parts(moved) if shapely.get_type_id(piece) in kinds]
    return shapely.multipolygons(pieces) if kind in _AREAS else shapely.multilinestrings(pieces)


def _steps(geometry: Any) -> bool:
    lines = shapely.get_parts(geometry)
    if shapely.get_type_id(geometry) == _COLLECTION:
        return any(_steps(part) for part in lines)
    lines = shapely.get_rings(lines) if shapely.get_type_id(geometry) in _AREAS else lines
    for line in lines:
        longitudes = shapely.get_coordinates(line)[:, 0]
        step = np.abs(np.diff(longitudes))
        if ((step > _HALF) & (step < _WORLD)).any() or (np.abs(longitudes) > _HALF).any():
            return True
    return False


def _into_world(coordinates: npt.NDArray[np.float64], *, world: int) -> npt.NDArray[np.float64]:
    coordinates[:, 0] -= world * _WORLD
    coordinates[:, :2] = np.clip(coordinates[:, :2], (-180, -90), (180, 90))  # rounding
    return coordinates


def _unwrapped(line: Any) -> npt.NDArray[np.float64]:
    coordinates = shapely.get_coordinates(line, include_z=bool(shapely.has_z(line)))
    step = np.diff(coordinates[:, 0])
    turns = np.where((np.abs(step) > _HALF) & (np.abs(step) < _WORLD), -np.sign(step), 0.0)
    coordinates[1:, 0] += np.cumsum(turns) * _WORLD
    # Move the line into the world of its middle, so that it reaches no further than the neighbouring worlds.
    middle = (coordinates[:, 0].min() + coordinates[:, 0].max()) / 2
    coordinates[:, 0] -= np.floor((middle + _HALF) / _WORLD) * _WORLD
    return coordinates


def _line(line: Any) -> Any:
    return shapely.LineString(_unwrapped(line))


def _area(polygon: Any) -> Any:
    shell, *holes = (_ring(ring) for ring in shapely.get_rings(polygon))
    around = (shell[:, 0].min() + shell[:, 0].max()) / 2
    for hole in holes:
        # A hole lies in the world of its shell.
        hole[:, 0] += np.round((around - (hole[:, 0].min() + hole[:, 0].max()) / 2) / _WORLD) * _WORLD
    return repair.repaired(np.array([shapely.Polygon(shell, holes)], object))[0][0]


def _wrapped(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # Points move into the world from -180 to 180; 180 stays 180.
    beyond = np.abs(coordinates[:, 0]) > _HALF
    coordinates[beyond, 0] -= np.floor((coordinates[beyond, 0] + _HALF) / _WORLD) * _WORLD
    return coordinates


def _ring(ring: Any) -> npt.NDArray[np.float64]:
    coordinates = _unwrapped(ring)
    if abs(coordinates[-1, 0] - coordinates[0, 0]) < _HALF:
        return coordinates
    pole = 90.0 if coordinates[:, 1].mean() > 0 else -90.0
    over = coordinates[[-1, 0, 0]]  # with their heights
    over[:2, 1] = pole
    return np.vstack([coordinates, over])
