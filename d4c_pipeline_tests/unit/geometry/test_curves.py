"""Curves and surfaces out of WKB: where the vertices lie, what is refused, what neighbours share."""

from __future__ import annotations

import contextlib
import math
import struct

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.geometry import cleaning, curves, projection
from d4c_pipeline.geometry.shapes import Rules, Shapes
from d4c_pipeline.geometry.stream import UnfitError

Points = list[tuple[float, ...]]
SQUARE: Points = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]


def wkb(kind: int, *parts: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}BII", order == "<", kind, len(parts)) + b"".join(parts)


def line(kind: int, points: Points, order: str = "<") -> bytes:
    numbers = [number for point in points for number in point]
    return struct.pack(f"{order}BII{len(numbers)}d", order == "<", kind, len(points), *numbers)


def polygon(points: Points, kind: int = 3, order: str = "<") -> bytes:
    ring = line(kind, points, order)[5:]
    return struct.pack(f"{order}BII", order == "<", kind, 1) + ring


def read(data: bytes, tolerance: float = 0.001, *, footprint: bool = False) -> shapely.Geometry:
    return curves.Reading(tolerance, footprint=footprint).geometry(data)


def clean(*data: bytes | None, **rules: bool) -> Shapes:
    target = projection.Target.of("EPSG:4326")
    return cleaning.clean(pa.array(data, pa.binary()), None, Rules(target, **rules))


CIRCLE: Points = [(-1, 0), (1, 0), (-1, 0)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_circle_is_a_circle_to_the_tolerance(order: str) -> None:
    made = read(wkb(10, line(8, CIRCLE, order), order=order))
    assert made.geom_type == "Polygon"
    assert math.pi * (1 - 0.003) < made.area < math.pi
    radii = np.hypot(*shapely.get_coordinates(made).T)
    assert np.abs(radii - 1).max() < 1e-12


@given(
    centre=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
    radius=st.floats(0.5, 1e5),
    angles=st.tuples(st.floats(0, 6.28), st.floats(0.1, 3.0), st.floats(0.1, 3.0)),
    turn=st.sampled_from([-1, 1]),
)
def test_chords_stay_within_the_tolerance_and_run_the_same_both_ways(
    centre: tuple[float, float], radius: float, angles: tuple[float, float, float], turn: int
) -> None:
    at = np.cumsum(angles) * turn
    points = [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in at]
    there, back = (shapely.get_coordinates(read(line(8, way), 0.01)) for way in (points, points[::-1]))
    assert (there == back[::-1]).all()
    assert [tuple(there[0]), tuple(there[-1])] == [points[0], points[2]]
    assert points[1] in [tuple(each) for each in there]
    middles = (there[1:] + there[:-1]) / 2
    for vertices, allowed in ((there, 1e-6 * radius + 1e-6), (middles, 0.0101 + 1e-6 * radius)):
        assert np.abs(np.hypot(*(vertices - centre).T) - radius).max() <= allowed
    # The long way round where the arc is more than half of the circle.
    assert shapely.LineString(there).length == pytest.approx(radius * (angles[1] + angles[2]), rel=0.01, abs=0.1)


def test_lines_and_arcs_that_follow_each_other_become_one_line_with_heights_in_step() -> None:
    straight = line(1002, [(-3.0, 0.0, 10.0), (-1.0, 0.0, 10.0)])
    arc = line(1008, [(-1.0, 0.0, 10.0), (0.0, 1.0, 20.0), (1.0, 0.0, 30.0)])
    made = read(wkb(1009, straight, arc))
    assert made.has_z
    assert list(made.coords[0]) == [-3, 0, 10]
    heights = [z for *_, z in made.coords[1:]]
    assert heights == sorted(heights)
    assert heights[len(heights) // 2] == 20


def test_parts_of_a_curve_that_do_not_meet_are_refused() -> None:
    with pytest.raises(curves.CurveError, match="do not meet"):
        read(wkb(9, line(2, [(0, 0), (1, 1)]), line(8, [(5, 5), (6, 6), (7, 5)])))


@pytest.mark.parametrize(
    ("data", "wkt"),
    [
        (line(8, [(0, 0), (1, 0), (2, 0)]), "LINESTRING (0 0, 1 0, 2 0)"),
        (
            wkb(11, line(2, [(0, 0), (1, 1)]), line(8, [(0, 0), (1, 0), (2, 0)])),
            "MULTILINESTRING ((0 0, 1 1), (0 0, 1 0, 2 0))",
        ),
        (
            wkb(12, polygon(SQUARE), wkb(10, line(2, SQUARE))),
            "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 1, 0 0)), ((0 0, 1 0, 1 1, 0 1, 0 0)))",
        ),
        (polygon([(0, 0, 5), (1, 0, 5), (0, 1, 5), (0, 0, 5)], 1017), "POLYGON Z ((0 0 5, 1 0 5, 0 1 5, 0 0 5))"),
        (line(3008, [(0, 0, 5, 9), (1, 0, 5, 9), (2, 0, 5, 9)]), "LINESTRING Z (0 0 5, 1 0 5, 2 0 5)"),
        (line(8, []), "LINESTRING EMPTY"),
    ],
)  # fmt: skip
def test_types(data: bytes, wkt: str) -> None:
    assert read(data).wkt == wkt


def test_a_surface_is_refused_by_name_or_becomes_its_footprint() -> None:
    floor = polygon([(0, 0, 0), (4, 0, 0), (4, 4, 0), (0, 4, 0), (0, 0, 0)], 1003)
    roof = polygon([(0, 0, 9), (4, 0, 9), (4, 4, 9), (0, 4, 9), (0, 0, 9)], 1003)
    wall = polygon([(0, 0, 0), (4, 0, 0), (4, 0, 9), (0, 0, 9), (0, 0, 0)], 1003)
    block = wkb(1015, floor, roof, wall)
    with pytest.raises(UnfitError, match=r"surfaces in space.*multipatch.*PolyhedralSurface") as raised:
        clean(None, block)
    assert raised.value.rows.tolist() == [1]
    made = clean(None, block, footprints=True)
    assert shapely.from_wkb(made.wkb[1].as_py()).area == 16.0
    assert made.tally.report()["surfaces_flattened"] == 1


def test_a_multipatch_of_strips_and_rings_becomes_one_footprint() -> None:
    tin = wkb(1016, polygon([(0, 0, 0), (4, 0, 0), (4, 4, 0), (0, 0, 0)], 1017))
    ring = polygon([(0, 0, 9), (4, 4, 9), (0, 4, 9), (0, 0, 9)], 1003)
    assert read(wkb(1007, tin, ring), footprint=True).equals(shapely.box(0, 0, 4, 4))


def test_walls_alone_cover_no_ground_and_are_not_lost_silently() -> None:
    wall = polygon([(0, 0, 0), (4, 0, 0), (4, 0, 9), (0, 0, 9), (0, 0, 0)], 1003)
    with pytest.raises(UnfitError, match="repair leaves nothing"):
        clean(wkb(1015, wall), footprints=True)


def test_curves_among_straight_geometry_are_straightened_and_counted() -> None:
    made = clean(shapely.to_wkb(shapely.Point(1, 2)), wkb(10, line(8, CIRCLE)), None)
    assert [int(kind) for kind in made.types] == [0, 3, -1]
    assert made.tally.report()["curves_straightened"] == 1
    assert "0.0000001 of degrees" in made.tally.report()["curve_tolerance"]


@pytest.mark.parametrize("order", ["<", ">"])
def test_curves_within_a_collection_are_straightened(order: str) -> None:
    circle = wkb(10, line(8, CIRCLE, order), order=order)
    made = clean(wkb(7, polygon(SQUARE), wkb(7, circle, order=order), order=order), shapely.to_wkb(shapely.Point(1, 2)))
    parts = shapely.get_parts(shapely.from_wkb(made.wkb[0].as_py()))
    assert [part.geom_type for part in parts] == ["Polygon", "GeometryCollection"]
    assert shapely.area(parts[1]) == pytest.approx(3.1416, abs=1e-3)
    assert made.tally.curves_straightened == 1


@pytest.mark.parametrize(
    "data",
    [b"nonsense", b"\x01\x08\x00\x00\x00", line(8, CIRCLE)[:-1], line(8, [(0, 0), (1, 1)] * 2), line(19, CIRCLE)],
)
def test_broken_bytes_are_refused_with_their_position(data: bytes) -> None:
    with pytest.raises(UnfitError, match="1 geometries can't be read") as raised:
        clean(shapely.to_wkb(shapely.Point(1, 2)), data)
    assert raised.value.rows.tolist() == [1]


@given(st.binary(max_size=80))
def test_no_bytes_are_a_bug(data: bytes) -> None:
    for kind in (b"\x01\x0a\x00\x00\x00", b"\x01\x0f\x00\x00\x00", b"\x00\x00\x00\x00\x09", b""):
        with contextlib.suppress(curves.CurveError):
            read(kind + data, footprint=True)
