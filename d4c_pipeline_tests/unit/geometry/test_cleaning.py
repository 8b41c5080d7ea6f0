"""Cleaning geometry: what each rule does to a concrete shape, and that it is counted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import shapely

from d4c_pipeline.geometry import cleaning, projection
from d4c_pipeline.geometry import shapes as model
from d4c_pipeline.geometry.stream import UnfitError
from d4c_pipeline.model.errors import DataError


class Cleaned(NamedTuple):
    """What cleaning made of some shapes."""

    shapes: list[object]
    tally: model.Tally
    facts: model.Facts
    batch: model.Shapes


def usual(target: str = "EPSG:4326", **more: bool) -> model.Rules:
    return model.Rules(projection.Target.of(target), **more)


def cleaned(*shapes: object, crs: str = "EPSG:4326", rules: model.Rules | None = None, flavor: str = "iso") -> Cleaned:
    rules = rules or usual()
    wkb = pa.array(shapely.to_wkb(np.array(shapes, object), flavor=flavor, output_dimension=4), pa.binary())
    batch = cleaning.clean(wkb, projection.operation(pyproj.CRS(crs), rules.target), rules)
    facts = model.Facts()
    facts.add(batch)
    tally = model.Tally()
    tally.add(batch.tally)
    promoted = model.promote(batch.wkb, batch.types, facts.promote_mixed(tally))
    return Cleaned(list(shapely.from_wkb(promoted.to_numpy(zero_copy_only=False))), tally, facts, batch)


def test_a_bow_tie_becomes_its_two_halves_and_no_area_is_lost_silently() -> None:
    shapes, tally, *_ = cleaned(shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]))
    assert shapes[0].geom_type == "MultiPolygon"  # type: ignore[attr-defined]
    assert shapes[0].area == 2.0  # type: ignore[attr-defined]
    assert tally.report()["invalid_repaired"] == 1
    assert tally.report()["repaired_area_change"] == 1.0  # its two lobes cancelled each other


@pytest.mark.parametrize(
    "flat", ["POLYGON ((0 0, 1 1, 0 0, 0 0))", "LINESTRING (5 5, 5 5)", "LINESTRING Z (5 5 1, 5 5 9)"]
)
def test_a_geometry_that_repair_leaves_nothing_of_is_refused_with_its_position(flat: str) -> None:
    with pytest.raises(UnfitError, match="1 geometries are invalid, and repair leaves nothing") as raised:
        cleaned(shapely.Point(1, 2), shapely.from_wkt(flat))
    assert raised.value.rows.tolist() == [1]


def test_what_repair_leaves_nothing_of_is_null_and_counted_where_that_is_accepted() -> None:
    lost = shapely.Polygon([(0, 0), (1, 1), (0, 0), (0, 0)])
    shapes, tally, *_ = cleaned(lost, rules=usual(accept_lost=True))
    assert shapes == [None]
    assert (tally.repaired_to_nothing, tally.null_geometries) == (1, 1)


@pytest.mark.parametrize(
    ("wkt", "cut"),
    [
        (
            "MULTILINESTRING ((179 0, -179 0), (180 0, 180 10))",
            "MULTILINESTRING ((179 0, 180 0), (-180 0, -179 0), (-180 0, -180 10))",
        ),
        (
            "GEOMETRYCOLLECTION (POINT (181 1), LINESTRING (179 0, 181 0))",
            "GEOMETRYCOLLECTION (POINT (-179 1), MULTILINESTRING ((179 0, 180 0), (-180 0, -179 0)))",
        ),
    ],
)
def test_nothing_is_lost_at_the_antimeridian(wkt: str, cut: str) -> None:
    shapes, tally, *_ = cleaned(shapely.from_wkt(wkt))
    assert shapely.to_wkt(shapes[0]) == cut
    assert tally.antimeridian_split == 1


@pytest.mark.parametrize(
    ("wkt", "cut"),
    [
        (
            "LINESTRING Z (179 0 10, -179 2 20)",
            "MULTILINESTRING Z ((179 0 10, 180 1 15), (-180 1 15, -179 2 20))",
        ),
        (
            "GEOMETRYCOLLECTION Z (LINESTRING Z (179 0 8, 181 0 9))",
            "GEOMETRYCOLLECTION Z (MULTILINESTRING Z ((179 0 8, 180 0 8.5), (-180 0 8.5, -179 0 9)))",
        ),
    ],
)
def test_heights_stay_at_the_antimeridian(wkt: str, cut: str) -> None:
    shapes, *_ = cleaned(shapely.from_wkt(wkt), rules=usual(keep_z=True))
    assert shapely.to_wkt(shapes[0]) == cut
    without, *_ = cleaned(shapely.from_wkt(wkt))
    assert not shapely.has_z(without[0])


def test_an_area_with_heights_is_cut_in_two() -> None:
    area = shapely.from_wkt("POLYGON Z ((179 0 9, -179 0 7, 179 2 9, 179 0 9))")
    shapes, *_ = cleaned(area, rules=usual(keep_z=True))
    assert [shapely.to_wkt(part) for part in shapely.get_parts(shapes[0])] == [
        "POLYGON Z ((179 2 9, 179 0 9, 180 0 8, 180 1 8, 179 2 9))",
        "POLYGON Z ((-179 0 7, -180 1 8, -180 0 8, -179 0 7))",
    ]


def test_a_cap_with_heights_is_closed_over_its_pole() -> None:
    cap = shapely.from_wkt("POLYGON Z ((-180 70 1, -90 70 2, 0 70 3, 90 70 4, -180 70 1))")
    shapes, *_ = cleaned(cap, rules=usual(keep_z=True))
    assert shapes[0].bounds == (-180, 70, 180, 90)  # type: ignore[attr-defined]
    assert {z for _, _, z in shapely.get_coordinates(shapes[0], include_z=True).tolist()} == {1.0, 2.0, 3.0, 4.0}


def test_an_area_across_the_antimeridian_whose_hole_stands_first_keeps_its_area() -> None:
    swapped = "POLYGON ((175 2, 185 2, 185 8, 175 8, 175 2), (170 0, 170 10, 190 10, 190 0, 170 0))"
    shapes, *_ = cleaned(shapely.from_wkt(swapped))
    assert shapely.area(shapes[0]) == pytest.approx(140.0)


def test_an_area_that_also_touches_the_antimeridian_along_a_line_is_cut() -> None:
    # The hole ends at 180: the cut leaves a line there, which is no area.
    hole = "(175 18, 175 22, 180 22, 180 18, 175 18)"
    shapes, tally, *_ = cleaned(shapely.from_wkt(f"POLYGON ((170 10, -170 10, -170 30, 170 30, 170 10), {hole})"))
    assert shapely.get_type_id(shapes[0]) == shapely.GeometryType.MULTIPOLYGON
    assert shapely.area(shapes[0]) == pytest.approx(20 * 20 - 5 * 4)
    assert tally.antimeridian_split == 1


def test_null_and_empty_geometries_are_null() -> None:
    shapes, tally, facts, batch = cleaned(None, shapely.Point(), shapely.Point(1, 2))
    assert shapes[:2] == [None, None]
    assert (tally.null_geometries, tally.empty_geometries) == (2, 1)
    assert np.isnan(batch.bounds[0]).all()
    assert facts.total_bounds == (1.0, 2.0, 1.0, 2.0)


def test_heights_and_measures_are_dropped() -> None:
    shapes, tally, *_ = cleaned(shapely.Point(1, 2, 3), shapely.from_wkt("LINESTRING M (0 0 5, 1 1 6)"))
    assert [shapely.get_coordinate_dimension(shape) for shape in shapes] == [2, 2]
    assert tally.dimensions_dropped == 2


def test_shells_run_counterclockwise_and_holes_clockwise() -> None:
    clockwise = shapely.Polygon([(0, 0), (0, 4), (4, 4), (4, 0)], holes=[[(1, 1), (2, 1), (2, 2), (1, 2)]])
    shapes, *_ = cleaned(clockwise)
    assert shapes[0].exterior.is_ccw  # type: ignore[attr-defined]
    assert not shapes[0].interiors[0].is_ccw  # type: ignore[attr-defined]


def test_single_geometries_are_promoted_only_beside_multi_ones_of_their_dimension() -> None:
    square = shapely.box(0, 0, 1, 1)
    shapes, tally, facts, _ = cleaned(
        square, shapely.MultiPolygon([square, shapely.box(2, 2, 3, 3)]), shapely.Point(5, 5)
    )
    assert [shape.geom_type for shape in shapes] == ["MultiPolygon", "MultiPolygon", "Point"]  # type: ignore[attr-defined]
    assert facts.type_names == ("MultiPolygon", "Point")
    assert tally.promoted_to_multi == 1
    assert cleaned(square).facts.type_names == ("Polygon",)


def test_longitude_comes_first_whatever_the_authority_says() -> None:
    # Parliament Hill in UTM zone 18N; the authority's order of EPSG:4326 is latitude first.
    shapes, *_ = cleaned(shapely.Point(445_100, 5_030_300), crs="EPSG:26918")
    assert (shapes[0].x, shapes[0].y) == pytest.approx((-75.701, 45.425), abs=0.002)  # type: ignore[attr-defined]


def test_coordinates_in_longitude_and_latitude_are_not_touched() -> None:
    for crs in ("EPSG:4326", "OGC:CRS84"):
        shapes, *_ = cleaned(shapely.Point(-79.38, 43.65), crs=crs)
        assert (shapes[0].x, shapes[0].y) == (-79.38, 43.65)  # type: ignore[attr-defined]


def test_one_operation_for_all_rows_is_chosen_and_named() -> None:
    operation = projection.operation(pyproj.CRS("EPSG:3347"), usual().target)
    assert operation is not None
    assert "NAD83 to WGS 84 (1)" in operation.description


def test_coordinates_out_of_range_are_refused_with_an_example() -> None:
    with pytest.raises(
        DataError, match=r"1 coordinates are no longitude and latitude, for example \(445100\.0, 5030300\.0\)"
    ):
        cleaned(shapely.Point(1, 1), shapely.Point(445_100, 5_030_300))


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="are not numbers"):
        cleaned(shapely.LineString([(0, 0), (1, np.inf)]))


def test_a_coordinate_that_rounding_put_past_the_antimeridian_is_on_it() -> None:
    shapes, *_ = cleaned(shapely.Point(180.0000000001, 90.0))
    assert shapes[0].x == 180.0  # type: ignore[attr-defined]


def test_bytes_that_are_no_geometry_are_refused() -> None:
    with pytest.raises(DataError, match="can't be read"):
        cleaning.clean(pa.array([b"nonsense"]), None, usual())


def test_points_take_the_short_way_to_the_same_result() -> None:
    # The general way is taken as soon as one geometry of a batch is no plain point.
    random = np.random.default_rng(3)
    places = shapely.points(random.uniform(-141, -52, 500), random.uniform(42, 83, 500))
    projected = shapely.transform(
        places, pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3347", always_xy=True).transform, interleaved=False
    )
    some = [*projected, None, shapely.Point()]
    short = cleaned(*some, crs="EPSG:3347")
    general = cleaned(*some, shapely.LineString([(6_000_000, 1_500_000), (7_000_000, 1_500_000)]), crs="EPSG:3347")
    assert short.batch.wkb.equals(general.batch.wkb.slice(0, 502))
    assert np.array_equal(short.batch.bounds, general.batch.bounds[:502], equal_nan=True)
    assert short.batch.places.tolist() == general.batch.places[:502].tolist()
    assert short.batch.types.tolist() == [0] * 500 + [-1, -1]
    assert (short.tally.null_geometries, short.tally.empty_geometries) == (2, 1)
    assert shapely.get_coordinates(short.shapes[0]) == pytest.approx(shapely.get_coordinates(places[0]), abs=1e-9)


def test_a_slice_of_points_is_only_its_own_rows() -> None:
    wkb = pa.array(shapely.to_wkb(shapely.points([1, 2, 3, 4], [5, 6, 7, 8])), pa.binary()).slice(1, 2)
    batch = cleaning.clean(wkb, None, usual())
    assert shapely.to_wkt(shapely.from_wkb(batch.wkb.to_pylist()), trim=True).tolist() == ["POINT (2 6)", "POINT (3 7)"]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("faults", [False, True])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3347"])
def test_areas_take_the_short_way_to_the_same_result(
    monkeypatch: pytest.MonkeyPatch, crs: str, *, faults: bool, turned: bool
) -> None:
    random = np.random.default_rng(9)
    corners = [(0, 0), (3, 0), (3, 1), (1, 1), (1, 2), (0, 2)]  # an L, and the square of its first corners
    origins = random.uniform((-90, 40), (-60, 60), (60, 2)) if crs == "EPSG:4326" else random.uniform(4e6, 5e6, (60, 2))
    some: list[object] = [
        shapely.Polygon(np.array([*corners[:3], (0, 1)] if number % 3 else corners) + origin)
        for number, origin in enumerate(origins)
    ]
    some = [shapely.reverse(area) if turned else area for area in some]
    if faults:
        x, y = origins[0]
        bow_tie = shapely.Polygon([(x, y), (x + 2, y + 2), (x + 2, y), (x, y + 2)])
        hole = shapely.Polygon(
            shapely.box(x, y, x + 9, y + 9).exterior, [shapely.box(x + 1, y + 1, x + 2, y + 2).exterior]
        )
        some = [bow_tie, *some[:20], None, shapely.Polygon(), hole, *some[20:], shapely.reverse(some[1]), bow_tie]
    wkb = pa.array([b"before", *shapely.to_wkb(np.array(some, object)), b"behind"], pa.binary()).slice(1, len(some))
    rules = usual("EPSG:4326")
    operation = projection.operation(pyproj.CRS(crs), rules.target)
    short = cleaning.clean(wkb, operation, rules)
    monkeypatch.setattr(cleaning.rings, "read", lambda _: None)
    general = cleaning.clean(wkb, operation, rules)
    assert short.wkb.equals(general.wkb)
    for fact in ("bounds", "types", "vertices", "places"):
        assert np.array_equal(getattr(short, fact), getattr(general, fact), equal_nan=True), fact
    assert short.tally.report() == general.tally.report()


def test_half_a_point_is_refused() -> None:
    with pytest.raises(DataError, match="are not numbers"):
        cleaned(shapely.from_wkt("POINT (1 NaN)"))


@pytest.mark.parametrize("flavor", ["iso", "extended"])
def test_heights_are_kept_when_declared_and_measures_never(flavor: str) -> None:
    point, line = (
        shapely.Point(445_100, 5_030_300, 87.5),
        shapely.LineString([(445_100, 5_030_300), (445_200, 5_030_300)]),
    )
    shapes, tally, facts, _ = cleaned(point, line, crs="EPSG:26918", rules=usual(keep_z=True), flavor=flavor)
    assert shapes[0].z == 87.5  # type: ignore[attr-defined]
    assert not shapely.has_z(shapes[1])
    assert facts.type_names == ("LineString", "Point Z")
    assert tally.dimensions_dropped == 0
    measured = shapely.from_wkt("POINT ZM (1 2 3 4)")
    shapes, tally, facts, _ = cleaned(measured, rules=usual(keep_z=True), flavor="iso")
    assert shapely.to_wkt(shapes[0], trim=True) == "POINT Z (1 2 3)"
    assert (tally.dimensions_dropped, facts.type_names) == (1, ("Point Z",))


def test_another_crs_can_be_published() -> None:
    shapes, _, facts, batch = cleaned(shapely.Point(-75.7, 45.4), rules=usual("EPSG:3347"))
    assert (shapes[0].x, shapes[0].y) == pytest.approx((7_470_000, 1_180_000), abs=30_000)  # type: ignore[attr-defined]
    assert facts.total_bounds is not None
    assert facts.total_bounds[0] > 7_000_000
    assert batch.places[0] > 0
    assert usual("EPSG:3347").target.degrees(facts.total_bounds)[:2] == pytest.approx((-75.7, 45.4), abs=1e-6)  # type: ignore[index]
    unchanged = cleaned(shapely.Point(7_470_000.25, 1_180_000.5), crs="EPSG:3347", rules=usual("EPSG:3347"))
    assert (unchanged.shapes[0].x, unchanged.shapes[0].y) == (7_470_000.25, 1_180_000.5)  # type: ignore[attr-defined]


def test_what_a_projection_does_not_reach_is_refused() -> None:
    with pytest.raises(DataError, match="are not in the area of EPSG:3347 after the transformation"):
        cleaned(shapely.Point(0, -90), rules=usual("EPSG:3347"))


@pytest.mark.parametrize("shift", [0, 360, -360])
def test_an_area_across_the_antimeridian_is_cut_in_two(shift: int) -> None:
    # Either it steps from 179 to -179, or it goes on to 181 (or -181).
    over = [(179, 50), (181 if shift else -179, 50), (181 if shift else -179, 52), (179, 52)]
    if shift < 0:
        over = [(x - 360, y) for x, y in over]
    shapes, tally, facts, _ = cleaned(shapely.Polygon(over), shapely.Polygon([(0, 0), (1, 0), (1, 1)]))
    assert tally.report()["antimeridian_split"] == 1
    assert sorted(part.bounds for part in shapes[0].geoms) == [(-180, 50, -179, 52), (179, 50, 180, 52)]  # type: ignore[attr-defined]
    assert shapes[0].area == pytest.approx(4)  # type: ignore[attr-defined]
    assert facts.total_bounds == (-180, 0, 180, 52)


def test_a_hole_a_line_and_a_cap_across_the_antimeridian() -> None:
    ring = [(170, 10), (-170, 10), (-170, 30), (170, 30)]
    hole = [(178, 18), (-178, 18), (-178, 22), (178, 22)]
    cap = [(-180, 70), (-90, 70), (0, 70), (90, 70)]
    line = shapely.LineString([(179, 0), (-179, 2), (-178, 2)])
    shapes, tally, *_ = cleaned(shapely.Polygon(ring, [hole]), line, shapely.Polygon(cap))
    assert shapes[0].area == pytest.approx(20 * 20 - 4 * 4)  # type: ignore[attr-defined]
    assert [list(part.coords) for part in shapes[1].geoms] == [  # type: ignore[attr-defined]
        [(179, 0), (180, 1)],
        [(-180, 1), (-179, 2), (-178, 2)],
    ]
    assert shapes[2].bounds == (-180, 70, 180, 90)  # type: ignore[attr-defined]
    assert tally.antimeridian_split == 3
    assert cleaned(line, rules=usual(split=False)).shapes == [line]


def test_boxes_of_the_world_and_of_half_of_it_are_not_cut() -> None:
    for box in (shapely.box(-180, -90, 180, 90), shapely.box(-180, 0, 0, 90)):
        shapes, tally, *_ = cleaned(box)
        assert (shapes[0].area, tally.antimeridian_split) == (box.area, 0)  # type: ignore[attr-defined]


def test_a_point_beyond_the_antimeridian_is_refused() -> None:
    with pytest.raises(DataError, match=r"no longitude and latitude, for example \(190\.0, 45\.0\)"):
        cleaned(shapely.Point(190, 45), shapely.LineString([(0, 0), (1, 1)]))
