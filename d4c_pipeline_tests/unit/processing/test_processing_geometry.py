"""Cleaning geometry: what each rule does to a concrete shape, and that it is counted."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import shapely

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing import geometry


def cleaned(*shapes: object, crs: str = "EPSG:4326") -> tuple[list[object], geometry.Tally, geometry.GeometryColumn]:
    wkb = pa.chunked_array([pa.array(shapely.to_wkb(np.array(shapes, object)), pa.binary())])
    tally = geometry.Tally()
    column = geometry.clean(wkb, geometry.operation_to_wgs84(pyproj.CRS(crs)), tally)
    column = geometry.promote_mixed(column, tally)
    return list(shapely.from_wkb(column.wkb.to_numpy())), tally, column


def test_a_bow_tie_becomes_its_two_halves_and_no_area_is_lost_silently() -> None:
    shapes, tally, _ = cleaned(shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]))
    assert shapes[0].geom_type == "MultiPolygon"  # type: ignore[attr-defined]
    assert shapes[0].area == 2.0  # type: ignore[attr-defined]
    assert tally.report()["invalid_repaired"] == 1
    assert tally.report()["repaired_area_change"] == 1.0  # its two lobes cancelled each other


def test_what_repair_leaves_nothing_of_is_null_and_counted() -> None:
    shapes, tally, _ = cleaned(shapely.Polygon([(0, 0), (1, 1), (0, 0), (0, 0)]))
    assert shapes == [None]
    assert (tally.repaired_to_nothing, tally.null_geometries) == (1, 1)


def test_null_and_empty_geometries_are_null() -> None:
    shapes, tally, column = cleaned(None, shapely.Point(), shapely.Point(1, 2))
    assert shapes[:2] == [None, None]
    assert (tally.null_geometries, tally.empty_geometries) == (2, 1)
    assert np.isnan(column.bounds[0]).all()
    assert column.total_bounds == (1.0, 2.0, 1.0, 2.0)


def test_heights_and_measures_are_dropped() -> None:
    shapes, tally, _ = cleaned(shapely.Point(1, 2, 3), shapely.from_wkt("LINESTRING M (0 0 5, 1 1 6)"))
    assert [shapely.get_coordinate_dimension(shape) for shape in shapes] == [2, 2]
    assert tally.dimensions_dropped == 2


def test_shells_run_counterclockwise_and_holes_clockwise() -> None:
    clockwise = shapely.Polygon([(0, 0), (0, 4), (4, 4), (4, 0)], holes=[[(1, 1), (2, 1), (2, 2), (1, 2)]])
    shapes, _, _ = cleaned(clockwise)
    assert shapes[0].exterior.is_ccw  # type: ignore[attr-defined]
    assert not shapes[0].interiors[0].is_ccw  # type: ignore[attr-defined]


def test_single_geometries_are_promoted_only_beside_multi_ones_of_their_dimension() -> None:
    square = shapely.box(0, 0, 1, 1)
    shapes, tally, column = cleaned(
        square, shapely.MultiPolygon([square, shapely.box(2, 2, 3, 3)]), shapely.Point(5, 5)
    )
    assert [shape.geom_type for shape in shapes] == ["MultiPolygon", "MultiPolygon", "Point"]  # type: ignore[attr-defined]
    assert column.type_names == ("MultiPolygon", "Point")
    assert tally.promoted_to_multi == 1
    assert cleaned(square)[2].type_names == ("Polygon",)


def test_longitude_comes_first_whatever_the_authority_says() -> None:
    # Parliament Hill in UTM zone 18N; the authority's order of EPSG:4326 is latitude first.
    shapes, _, _ = cleaned(shapely.Point(445_100, 5_030_300), crs="EPSG:26918")
    assert (shapes[0].x, shapes[0].y) == pytest.approx((-75.701, 45.425), abs=0.002)  # type: ignore[attr-defined]


def test_coordinates_in_longitude_and_latitude_are_not_touched() -> None:
    for crs in ("EPSG:4326", "OGC:CRS84"):
        shapes, _, _ = cleaned(shapely.Point(-79.38, 43.65), crs=crs)
        assert (shapes[0].x, shapes[0].y) == (-79.38, 43.65)  # type: ignore[attr-defined]


def test_one_operation_for_all_rows_is_chosen_and_named() -> None:
    operation = geometry.operation_to_wgs84(pyproj.CRS("EPSG:3347"))
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
    shapes, _, _ = cleaned(shapely.Point(180.0000000001, 90.0))
    assert shapes[0].x == 180.0  # type: ignore[attr-defined]


def test_bytes_that_are_no_geometry_are_refused() -> None:
    with pytest.raises(DataError, match="can't be read"):
        geometry.clean(pa.chunked_array([pa.array([b"nonsense"])]), None, geometry.Tally())
