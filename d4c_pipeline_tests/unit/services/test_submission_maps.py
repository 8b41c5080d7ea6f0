"""The map of an extent: where its rectangle lies, and what has none."""

from __future__ import annotations

import math

from d4c_pipeline.services.submissions.maps import map_of


def test_an_extent_lies_in_its_place() -> None:
    found = map_of([-141, 41, -52, 72])
    assert found is not None
    assert (found.x, found.y, found.across, round(found.down)) == (0, 0, 640, found.height)
    point = map_of([-75.7, 45.4, -75.7, 45.4])
    assert point is not None
    assert (point.across, point.down) == (4, 4)
    assert 460 < point.x < 480
    assert found.dots.count("M") > 400


def test_what_leaves_canada_widens_the_picture_and_the_antimeridian_is_crossed() -> None:
    france = map_of([2, 48, 3, 49])
    assert france is not None
    assert france.x + france.across <= france.width
    across = map_of([170, 40, -130, 60])
    assert across is not None
    assert across.across == round(60 * 640 / (230 + 141), 1)


def test_no_bounds_have_no_map() -> None:
    assert map_of(None) is None
    assert map_of([1, 2, 3]) is None
    assert map_of([0, math.nan, 1, 1]) is None
