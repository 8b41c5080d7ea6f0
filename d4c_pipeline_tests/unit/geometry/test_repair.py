"""Repair of invalid geometry: the area that each kind of fault leaves, by whichever method."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from d4c_pipeline.geometry import repair

SQUARE = "(0 0, 10 0, 10 10, 0 10, 0 0)"
SMALL, LARGE = "(2 2, 8 2, 8 8, 2 8, 2 2)", "(0 0, 0 10, 10 10, 10 0, 0 0)"


def repaired(wkt: str) -> tuple[object, bool]:
    before = np.array([shapely.from_wkt(wkt)], object)
    after, by_lines = repair.repaired(before)
    assert shapely.is_valid(after).all()
    return after[0], bool(by_lines[0])


@pytest.mark.parametrize(
    ("wkt", "area", "by_lines"),
    [
        pytest.param(f"POLYGON ({SMALL}, {LARGE})", 64.0, True, id="the hole stands before its shell"),
        pytest.param(f"POLYGON ({SMALL}, (0 0, 10 0, 10 10, 0 10, 0 0))", 64.0, True, id="the same, one way round"),
        pytest.param(f"POLYGON ({SQUARE}, (20 0, 30 0, 30 10, 20 10, 20 0))", 200.0, False, id="a part called hole"),
        pytest.param(f"POLYGON ({SQUARE}, (9 1, 12 1, 12 2, 9 2, 9 1))", 101.0, True, id="a hole mostly outside"),
        pytest.param(f"POLYGON ({SQUARE}, (8 1, 11 1, 11 2, 8 2, 8 1))", 98.0, False, id="a hole mostly inside"),
        pytest.param("POLYGON ((0 0, 10 10, 10 0, 0 10, 0 0))", 50.0, False, id="a bow tie"),
        pytest.param(f"POLYGON ({SQUARE}, (1 1, 3 3, 3 1, 1 3, 1 1))", 98.0, False, id="a hole that is a bow tie"),
        pytest.param(
            "POLYGON ((0 0, 6 0, 6 6, 2 6, 2 2, 4 2, 4 4, 0 4, 0 0))", 32.0, False, id="a ring that overlaps itself"
        ),
        pytest.param(f"MULTIPOLYGON (({SQUARE}), ({SQUARE}))", 100.0, False, id="the same part twice"),
        pytest.param(
            f"MULTIPOLYGON (({SQUARE}), ((5 0, 15 0, 15 10, 5 10, 5 0)))", 150.0, False, id="parts that overlap"
        ),
        pytest.param(f"MULTIPOLYGON (({SQUARE}), ({SMALL}))", 100.0, False, id="a part within another"),
        pytest.param(
            f"MULTIPOLYGON (({SMALL}, {LARGE}), ((9 0, 12 0, 12 10, 9 10, 9 0)))", 84.0, True, id="swapped, overlapping"
        ),
        pytest.param(
            f"GEOMETRYCOLLECTION (POINT (1 1), POLYGON ({SMALL}, {LARGE}))", 64.0, True, id="within a collection"
        ),
        pytest.param(f"POLYGON ({SQUARE}, {SQUARE})", 0.0, False, id="a hole as large as its shell"),
    ],
)  # fmt: skip
def test_areas(wkt: str, area: float, by_lines: bool) -> None:
    shape, lines = repaired(wkt)
    assert shapely.area(shape) == pytest.approx(area, rel=1e-12)
    assert lines is by_lines


def test_parts_within_others_are_counted() -> None:
    nested, apart = f"MULTIPOLYGON (({SQUARE}), ({SMALL}))", "MULTIPOLYGON (((0 0, 2 2, 2 0, 0 2, 0 0)))"
    shapes = [shapely.from_wkt(text) for text in (nested, apart, f"POLYGON ({SQUARE}, {LARGE})")]
    assert repair.with_nested_parts(np.array(shapes, object)) == 1


def test_parts_without_extent_are_counted() -> None:
    shapes = [
        shapely.from_wkt(f"MULTIPOLYGON (({SQUARE}), ((20 0, 20 5, 20 0, 20 0)))"),
        shapely.from_wkt("MULTILINESTRING ((0 0, 1 1), (2 2, 2 2))"),
        shapely.from_wkt("POLYGON ((0 0, 1 1, 0 0, 0 0))"),
    ]
    assert repair.collapsed_parts(np.array(shapes, object)) == 2
